"""Where a JSON value or an XML element ends, found byte by byte as it arrives.

Neither scanner judges its input: a parser does that afterwards. They only find the end of what is well formed, in
time linear in the input however often it is cut, and look at nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Whatever stands before the next bracket: whole texts without escapes, and all that is no text.
_JSON_PLAIN = re.compile(rb'[^"{}\[\]]*(?:"[^"\\]*"[^"{}\[\]]*)*')
_JSON_IN_TEXT = re.compile(rb'["\\]')
_COMMENT, _CDATA = b"<!--", b"<![CDATA["
_BLANKS = re.compile(rb"[ \t\r\n\x00]*")


class JsonScanner:
	"""Finds the end of one JSON object or array."""

	__slots__ = ("_depth", "_in_text", "_offset")

	def __init__(self) -> None:
		self._offset = 0
		self._depth = 0
		self._in_text = False

	def scan(self, buffer: bytes | bytearray, start: int, limit: int) -> int | None:
		"""Size of the value that begins at ``start``, or None when it does not end before ``limit``.

		Called again with the same value further on, it goes on where it stopped; ``start`` may have moved with
		the buffer.
		"""
		position = start + self._offset
		while position < limit:
			if self._in_text:
				position, more_needed = self._leave_text(buffer, position, limit)
				if more_needed:
					break
				continue
			plain = _JSON_PLAIN.match(buffer, position, limit)
			assert plain is not None  # it matches nothing, too
			position = plain.end()
			if position < limit:
				position += 1
				if self._takes(buffer[position - 1]):
					return position - start
		self._offset = position - start
		return None

	def _takes(self, sign: int) -> bool:
		"""Note a bracket, or the beginning of a text with escapes or without its end; True at the last bracket."""
		if sign in b"{[":
			self._depth += 1
		elif sign in b"}]":
			self._depth -= 1
			return self._depth <= 0
		else:
			self._in_text = True
		return False

	def _leave_text(self, buffer: bytes | bytearray, position: int, limit: int) -> tuple[int, bool]:
		"""Go to the next quote or over the next escape; also whether more bytes are needed for it."""
		sign = _JSON_IN_TEXT.search(buffer, position, limit)
		if sign is None:
			return limit, True
		if sign[0] == b'"':
			self._in_text = False
			return sign.end(), False
		if sign.end() >= limit:
			return sign.start(), True
		return sign.end() + 1, False


class XmlScanner:
	"""Finds the end of one root element, with the declaration and comments before it. deepest: nesting seen."""

	__slots__ = ("_depth", "_offset", "_terminator", "_what", "deepest")

	def __init__(self) -> None:
		self._offset = 0
		self._depth = 0
		self._what = b""  # begin of the markup whose terminator is looked for
		self._terminator = b""
		self.deepest = 0

	def scan(self, buffer: bytes | bytearray, start: int, limit: int) -> int | None:
		"""As ``JsonScanner.scan``, for an element."""
		position = start + self._offset
		while position < limit:
			sought = self._terminator or b"<"
			found = buffer.find(sought, position, limit)
			if found < 0:
				position = max(position, limit - len(sought) + 1)
				break
			if not self._terminator:
				if not self._enter_markup(bytes(buffer[found : min(found + len(_CDATA), limit)])):
					position = found
					break
				position = found + len(self._what)
				continue
			position = found + len(sought)
			if self._leave_markup(buffer[found - 1]):
				return position - start
		self._offset = position - start
		return None

	def _enter_markup(self, head: bytes) -> bool:
		"""Note what kind of markup begins; False when more bytes are needed to tell."""
		if head.startswith(_COMMENT):
			self._what, self._terminator = _COMMENT, b"-->"
		elif head.startswith(_CDATA):
			self._what, self._terminator = _CDATA, b"]]>"
		elif _COMMENT.startswith(head) or _CDATA.startswith(head):
			return False
		elif head.startswith(b"<?"):
			self._what, self._terminator = b"<?", b"?>"
		else:
			self._what = head[:2] if head[1:2] in (b"!", b"/") else b"<"
			self._terminator = b">"
		return True

	def _leave_markup(self, last: int) -> bool:
		"""Note the end of a piece of markup, ``last`` being the byte before it; True when the root is complete."""
		what, self._what, self._terminator = self._what, b"", b""
		if what == b"</":
			self._depth -= 1
			return self._depth <= 0
		if what != b"<":
			return False
		if last == ord("/"):
			return self._depth == 0
		self._depth += 1
		self.deepest = max(self.deepest, self._depth)
		return False


DocumentScanner = JsonScanner | XmlScanner


def scanner_for(first: int) -> DocumentScanner:
	"""The scanner for a document with this first byte."""
	return XmlScanner() if first == ord("<") else JsonScanner()


def split_documents(body: bytes, most: int, longest: int) -> Iterator[bytes]:
	"""The JSON values and XML documents that follow one another in a body, at most so many.

	The last one may be unfinished, or have more than ``longest`` bytes, which are not looked through then. Text
	between documents ends the search.
	"""
	position = 0
	for _ in range(most):
		blanks = _BLANKS.match(body, position)
		assert blanks is not None  # it matches nothing, too
		position = blanks.end()
		if body[position : position + 1] not in (b"{", b"[", b"<"):
			return
		size = scanner_for(body[position]).scan(body, position, min(position + longest, len(body)))
		if size is None:
			yield body[position:]
			return
		yield body[position : position + size]
		position += size
