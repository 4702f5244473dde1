"""``ResponseStatus`` and ``userCheck`` bodies, and the vendor's sub-status codes that the simulator needs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hikvision_frappe.simulator.cjson import print_cjson
from hikvision_frappe.simulator.http import Response
from hikvision_frappe.simulator.profile import SlotRefusal, Unsupported

NAMESPACE = "http://www.isapi.org/ver20/XMLSchema"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
JSON_PLAIN = "application/json"

_STATUS_TEXT = {1: "OK", 2: "Device Busy", 4: "Invalid Operation", 5: "Invalid Format", 6: "Invalid Content"}


class SubStatus(Enum):
	"""(subStatusCode, statusCode, errorCode)"""

	OK = ("ok", 1, 1)
	SEARCH_TIMEOUT = ("searchTimeout", 2, 0x2000000E)
	NOT_SUPPORT = ("notSupport", 4, 0x40000001)
	METHOD_NOT_ALLOWED = ("methodNotAllowed", 4, 0x40000004)
	INVALID_OPERATION = ("invalidOperation", 4, 0x40000006)
	BAD_XML_FORMAT = ("badXmlFormat", 5, 0x50000001)
	BAD_JSON_FORMAT = ("badJsonFormat", 5, 0x50000002)
	BAD_PARAMETERS = ("badParameters", 6, 0x60000001)
	BAD_XML_CONTENT = ("badXmlContent", 6, 0x60000003)
	BAD_JSON_CONTENT = ("badJsonContent", 6, 0x60000017)
	PARAMETERS_LACK = ("MessageParametersLack", 6, 0x60000019)
	DEPLOY_EXCEED_MAX = ("deployExceedMax", 6, 0x60006018)


def xml_document(root: str, members: Mapping[str, Any], version: str = "2.0", declared: bool = True) -> bytes:
	"""A flat or nested XML document; None members are left out."""
	text = f'<{root} version="{version}" xmlns="{NAMESPACE}">\n{_members(members)}</{root}>\n'
	return ((DECLARATION if declared else "") + text).encode()


def _members(members: Mapping[str, Any]) -> str:
	text = ""
	for name, value in members.items():
		for item in value if isinstance(value, list) else [value]:
			text += _member(name, item)
	return text


def _member(name: str, value: Any) -> str:
	if value is None:
		return ""
	if isinstance(value, Mapping):
		return _element(name, value)
	content = str(value).lower() if isinstance(value, bool) else escape(str(value))
	return f"<{name}>{content}</{name}>\n"


def _element(name: str, value: Mapping[str, Any]) -> str:
	"""Members whose names begin with @ are attributes, as in capability documents."""
	attributes = "".join(f" {key[1:]}={quoteattr(str(text))}" for key, text in value.items() if key[0] == "@")
	children = _members({key: item for key, item in value.items() if key[0] != "@"})
	return f"<{name}{attributes}>\n{children}</{name}>\n" if children else f"<{name}{attributes}/>\n"


def xml_status(sub: SubStatus, http_status: int = 200, path: str = "", message: str = "") -> Response:
	"""A ResponseStatus in XML."""
	code, status, error = sub.value
	members: dict[str, Any] = {
		"requestURL": path,
		"statusCode": status,
		"statusString": _STATUS_TEXT[status],
		"subStatusCode": code,
	}
	if sub is not SubStatus.OK:
		members |= {"errorCode": error, "errorMsg": message or code}
	return Response(http_status, xml_document("ResponseStatus", members))


def json_status(sub: SubStatus, http_status: int = 200, message: str = "") -> Response:
	"""A ResponseStatus in JSON."""
	code, status, error = sub.value
	members: dict[str, Any] = {
		"statusCode": status,
		"statusString": _STATUS_TEXT[status],
		"subStatusCode": code,
	}
	if sub is not SubStatus.OK:
		members |= {"errorCode": error, "errorMsg": message or code}
	return json_answer(members, http_status)


def json_answer(members: Mapping[str, Any], http_status: int = 200) -> Response:
	"""A JSON answer in the device's layout."""
	return Response(http_status, print_cjson(members).encode(), JSON_PLAIN)


def unsupported(how: Unsupported, json: bool) -> Response:
	"""What a device says about a function it does not have."""
	status = json_status if json else xml_status
	if how is Unsupported.OK_200:
		return status(SubStatus.NOT_SUPPORT, 200)
	if how is Unsupported.FORBIDDEN:
		return status(SubStatus.NOT_SUPPORT, 403)
	if how is Unsupported.METHOD_NOT_ALLOWED:
		return status(SubStatus.METHOD_NOT_ALLOWED, 405)
	return not_found()


def not_found() -> Response:
	"""The web server's own page for a path that does not exist."""
	page = (
		"<!DOCTYPE html>\n<html><head><title>Document Error: Not Found</title></head>\n"
		"<body><h2>Access Error: 404 -- Not Found</h2>\n</body></html>\n"
	)
	return Response(404, page.encode(), "text/html")


def slot_refused(how: SlotRefusal) -> Response:
	"""The answer to one stream too many."""
	if how is SlotRefusal.BAD_REQUEST:
		return xml_status(SubStatus.INVALID_OPERATION, 400)
	members = {"statusValue": 503, "subStatusCode": "deployExceedMax", "errorMsg": "deployExceedMax"}
	return Response(503, xml_document("ResponseStatus", members), close=True)


def user_check(status: int, tries_left: int, locked_seconds: int = 0) -> bytes:
	"""The ``userCheck`` document of a 401, or of ``/ISAPI/Security/userCheck``."""
	if status == 200:
		return xml_document(
			"userCheck",
			{
				"statusValue": 200,
				"statusString": "OK",
				"isDefaultPassword": False,
				"isRiskPassword": False,
				"isActivated": True,
			},
		)
	return xml_document(
		"userCheck",
		{
			"statusValue": status,
			"statusString": "Unauthorized",
			"isActivated": True,
			"lockStatus": "lock" if locked_seconds else "unlock",
			"unlockTime": locked_seconds,
			"retryLoginTime": 0 if locked_seconds else tries_left,
		},
	)


def html_401() -> bytes:
	"""The page older cameras send with a 401."""
	return (
		b"<!DOCTYPE html>\n<html><head><title>Document Error: Unauthorized</title></head>\n"
		b"<body><h2>Access Error: 401 -- Unauthorized</h2>\n<p>Authentication Error</p>\n</body></html>\n"
	)
