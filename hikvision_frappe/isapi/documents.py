"""JSON and XML bodies of devices as plain trees of mappings, lists and values, hardened against hostile input."""

from __future__ import annotations

import json
import re
from xml.etree.ElementTree import Element, ParseError  # noqa: S405  (types only; defusedxml parses)

import defusedxml.ElementTree
import orjson
from defusedxml import DefusedXmlException

from hikvision_frappe.isapi.scanning import XmlScanner

# A notification has a kilobyte or two; a parsed tree takes up to thirty times the room of its text.
MAX_BYTES = 1024 * 1024
MAX_NESTING = 64
MAX_DIGITS = 20

# What neither a database nor XML can hold: control characters, lone surrogates, noncharacters.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n\x00"

Tree = dict[str, "Tree"] | list["Tree"] | str | int | float | bool | None


class MalformedDocument(ValueError):
	"""A body that is neither JSON nor XML, unfinished, longer than 1 MiB, or nested too deeply."""


def read_document(body: bytes) -> Tree:
	"""One JSON value or XML element as a tree; XML becomes ``{local name of the root: children or text}``.

	Namespaces and attributes are left out; repeated children become a list. Integers of more than 20 digits, NaN
	and infinities become None. Raises MalformedDocument.
	"""
	if len(body) > MAX_BYTES:
		raise MalformedDocument("longer than 1 MiB")
	body = body.strip(_BLANKS).removeprefix(_BYTE_ORDER_MARK)
	text = _decode(body)
	return _read_xml(body, text) if text.startswith("<") else read_json(text)


def read_plain_json(body: bytes) -> Tree:
	"""The one JSON value of an ordinary body, fast; None when it needs the patience of ``read_document``.

	That is: anything but strict JSON in UTF-8, or several documents. Integers of more than 64 bits become floats.
	"""
	if len(body) > MAX_BYTES:
		return None
	try:
		value: Tree = orjson.loads(body)
	except orjson.JSONDecodeError:
		return None
	return value


def read_json(text: str) -> Tree:
	"""A JSON value out of text, as ``read_document`` does it."""
	try:
		value: Tree = json.loads(text, strict=False, parse_int=_bounded_int, parse_constant=lambda _: None)
	except RecursionError:
		raise MalformedDocument("JSON nested too deeply") from None
	except ValueError as error:
		raise MalformedDocument(f"JSON: {getattr(error, 'msg', 'unreadable')}") from None
	return value


def storable(text: str) -> str:
	"""Text without what a database cannot hold: NUL, control characters, lone surrogates."""
	return text if text.isprintable() else _UNSTORABLE.sub("", text)


def _decode(body: bytes) -> str:
	"""Text of a body: UTF-8, else the GBK family of older firmwares, else whatever is left of it."""
	for encoding in ("utf-8", "gb18030"):
		try:
			return body.decode(encoding)
		except UnicodeDecodeError:
			continue
	return body.decode("utf-8", errors="replace")


def _bounded_int(digits: str) -> int | None:
	return int(digits) if len(digits) <= MAX_DIGITS else None


def _read_xml(body: bytes, text: str) -> Tree:
	scanner = XmlScanner()
	scanner.scan(body, 0, len(body))
	if scanner.deepest > MAX_NESTING:
		raise MalformedDocument("XML nested too deeply")
	try:
		root = defusedxml.ElementTree.fromstring(storable(text), forbid_dtd=True)
	except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
		raise MalformedDocument(f"XML: {type(error).__name__}") from None
	return {_local_name(root): _plain(root)}


def _local_name(element: Element) -> str:
	return element.tag.rpartition("}")[2]


def _plain(element: Element) -> Tree:
	if not len(element):
		return (element.text or "").strip()
	children: dict[str, Tree] = {}
	for child in element:
		name, value = _local_name(child), _plain(child)
		present = children.get(name)
		if name not in children:
			children[name] = value
		elif isinstance(present, list):
			present.append(value)
		else:
			children[name] = [present, value]
	return children
