"""Parts out of a device's endless multipart stream, however it is cut, and whatever its framing gets wrong.

No multipart library does it: they want the boundary of the HTTP header (missing, in another case, or with dashes
already), right Content-Lengths, CRLF line ends, and the delimiter *after* a part before they give the part away,
which here may come a heartbeat later.

What is relied upon instead:

* The delimiter is a line that begins with two dashes, as the body itself shows it; case does not count.
* A body that begins with ``{``, ``[`` or ``<`` ends where its JSON value or root element ends, so it is given away
  with its last byte; no Content-Length is needed. If it never ends, the next delimiter ends it, even one that the
  broken body runs into without a line end between them. (Never within a picture: there it may be the picture's.)
* Any other body (a picture) ends at its Content-Length when a delimiter or a nested header block follows there, and
  otherwise at the next delimiter.
* Between bodies, header blocks may be nested and repeated; those after the last delimiter count.

No decision depends on where the input was cut: an undecided one waits for more bytes. Work is linear in the input,
and never more than one part (``max_part_bytes``) and one chunk is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from hikvision_frappe.isapi.scanning import DocumentScanner, scanner_for

MAX_PART_BYTES = 4 * 1024 * 1024
MAX_LINE_BYTES = 8 * 1024
MAX_DELIMITER_LINE_BYTES = 300
MAX_HEADERS = 64

_BLANKS = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DELIMITER_NAME = re.compile(rb"--[0-9A-Za-z'()+_,./:=?<> -]+")
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTENT_LENGTH = re.compile(r"\d{1,12}", re.ASCII)
_NESTED_HEADER = b"content-type: multipart/"
# What may follow a delimiter's name on its line, up to where it has been read.
_LINE_REST = rb"-{0,2}[ \t\r]{0,8}(?:\n|\Z)"
_NEVER = re.compile(rb"(?!)")
# A body may be followed by its own line end and by an empty line.
_LONGEST_LINE_END = 4


@dataclass(frozen=True, slots=True)
class Part:
	"""One body part. headers: names in lower case, the last value of each. body: without the line end that belongs to
	the delimiter."""

	headers: Mapping[str, str]
	body: bytes


class _State(Enum):
	LINES = "between bodies"
	SNIFF = "at the beginning of a body"
	DOCUMENT = "inside JSON or XML"
	COUNTED = "inside a body with a Content-Length"
	SEARCH = "inside a body that the next delimiter ends"
	LOST = "inside something unknown"


class PartFramer:
	"""Cuts the bytes of one connection into parts.

	dropped_bytes, resyncs: what did not belong to any part and was skipped, and how often that began.
	"""

	__slots__ = (
		"_buffer",
		"_closing",
		"_crlf",
		"_delimiter",
		"_delimiter_anywhere",
		"_headers",
		"_known",
		"_max_part_bytes",
		"_scanner",
		"_searched",
		"_start",
		"_state",
		"dropped_bytes",
		"resyncs",
	)

	def __init__(self, max_part_bytes: int = MAX_PART_BYTES) -> None:
		self._max_part_bytes = max_part_bytes
		self._buffer = bytearray()
		self._start = 0  # of the line or body at hand
		self._searched = 0  # within a body: no delimiter begins before this position
		self._state = _State.LINES
		self._headers: dict[str, str] = {}
		self._scanner: DocumentScanner | None = None
		self._delimiter = b""
		self._delimiter_anywhere = _NEVER  # the delimiter and its line's end, in any case
		self._known = False  # the delimiter has been seen twice
		self._crlf = True  # line ends of the last header block
		self._closing = False
		self.dropped_bytes = 0
		self.resyncs = 0

	@property
	def held_bytes(self) -> int:
		"""How many bytes wait for more."""
		return len(self._buffer)

	def feed(self, data: bytes) -> list[Part]:
		"""Take the next bytes, of any number, and return the parts that they complete."""
		self._buffer += data
		parts = self._advance()
		self._forget_consumed()
		return parts

	def close(self) -> list[Part]:
		"""Say that nothing follows; return what the end itself completes. An unfinished part is dropped."""
		self._closing = True
		parts = self._advance()
		self.dropped_bytes += len(self._buffer) - self._start
		self._buffer = bytearray()
		self._start = self._searched = 0
		return parts

	def _advance(self) -> list[Part]:
		parts: list[Part] = []
		while True:
			before = (self._state, self._start)
			part = self._step()
			if part is not None:
				parts.append(part)
			elif before == (self._state, self._start):
				return parts

	def _step(self) -> Part | None:
		"""Do one thing; no part and an unchanged position mean that more bytes are needed."""
		if self._state is _State.DOCUMENT:
			return self._read_document()
		if self._state is _State.COUNTED:
			return self._read_counted()
		if self._state is _State.SEARCH:
			return self._read_until_delimiter()
		if self._state is _State.LINES:
			self._read_line()
		elif self._state is _State.SNIFF:
			self._sniff()
		else:
			self._skip_to_delimiter()
		return None

	def _forget_consumed(self) -> None:
		if self._start:
			del self._buffer[: self._start]
			self._searched = max(self._searched - self._start, 0)
			self._start = 0

	# Between bodies

	def _read_line(self) -> None:
		buffer, start = self._buffer, self._start
		if buffer.startswith((b"{", b"<"), start):
			self._begin_document(start)
			return
		end = self._line_end(start, MAX_LINE_BYTES)
		if end is not None:
			self._take_line(bytes(buffer[start:end]), min(end + 1, len(buffer)))
		elif len(buffer) - start > MAX_LINE_BYTES:
			self._lose()

	def _take_line(self, line: bytes, following: int) -> None:
		if not line.strip(_BLANKS):
			if self._headers:
				self._state = _State.SNIFF
				self._crlf = line.endswith(b"\r")
		elif name := _delimiter_name(line):
			self._learn(name)
			self._headers = {}
			self._searched = following
		elif not self._take_header(line):
			self._lose()
			return
		self._start = following

	def _learn(self, name: bytes) -> None:
		self._known = name == self._delimiter
		if not self._known:
			self._delimiter = name
			self._delimiter_anywhere = re.compile(re.escape(name) + _LINE_REST, re.IGNORECASE)

	def _take_header(self, line: bytes) -> bool:
		name, colon, value = line.partition(b":")
		name = name.strip()
		if not colon or not _HEADER_NAME.fullmatch(name) or len(self._headers) >= MAX_HEADERS:
			return False
		self._headers[name.decode("ascii").lower()] = value.strip().decode("latin-1")
		return True

	def _line_end(self, start: int, longest: int) -> int | None:
		"""Where the line at ``start`` ends; None when the end is not there (yet) or the line is too long."""
		end = self._buffer.find(b"\n", start, start + longest + 1)
		if end >= 0:
			return end
		if self._closing and start < len(self._buffer) <= start + longest:
			return len(self._buffer)
		return None

	# At the beginning of a body

	def _sniff(self) -> None:
		if self._headers.get("content-type", "").lower().startswith("multipart/"):
			self._headers = {}  # a nested header block: the parts follow
			self._state = _State.LINES
			return
		position = self._first_sign()
		if position is None:
			return
		if self._buffer.startswith((b"{", b"[", b"<"), position):
			self._begin_document(position)
		else:
			self._begin_opaque()

	def _first_sign(self) -> int | None:
		"""Position of the first byte that is neither blank nor byte order mark; None when it is not there yet."""
		window = bytes(self._buffer[self._start : self._start + MAX_LINE_BYTES])
		rest = window.lstrip(_BLANKS)
		if len(rest) <= len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(rest):
			return None if len(window) < MAX_LINE_BYTES else self._start
		if rest.startswith(_BYTE_ORDER_MARK):
			rest = rest[len(_BYTE_ORDER_MARK) :]
		return self._start + len(window) - len(rest)

	def _begin_document(self, position: int) -> None:
		self._start = position
		self._searched = max(self._searched, position)
		self._scanner = scanner_for(self._buffer[position])
		self._state = _State.DOCUMENT

	def _begin_opaque(self) -> None:
		self._searched = self._start
		usable = 0 < self._content_length() <= self._max_part_bytes
		self._state = _State.COUNTED if usable else _State.SEARCH

	def _content_length(self) -> int:
		text = self._headers.get("content-length", "")
		return int(text) if _CONTENT_LENGTH.fullmatch(text) else 0

	# Inside a body

	def _read_document(self) -> Part | None:
		assert self._scanner is not None
		limit, is_delimiter = self._find_delimiter()
		size = self._scanner.scan(self._buffer, self._start, limit)
		if size is not None and size <= self._max_part_bytes:
			return self._finish(self._start + size)
		if size is not None or self._is_too_long(limit):
			self._lose()
		elif is_delimiter:
			return self._finish(self._before_line_end(limit))
		return None

	def _read_counted(self) -> Part | None:
		end = self._start + self._content_length()
		ends_here = self._ends_at(end)
		if ends_here:
			return self._finish(end)
		if ends_here is False:
			self._state = _State.SEARCH
		elif self._closing:
			self._lose()  # broken off, or its length was wrong and events stand behind it
		return None

	def _read_until_delimiter(self) -> Part | None:
		limit, is_delimiter = self._find_delimiter()
		if self._is_too_long(limit):
			self._lose()
		elif is_delimiter:
			return self._finish(self._before_line_end(limit))
		return None

	def _is_too_long(self, limit: int) -> bool:
		return limit - self._start > self._max_part_bytes + len(b"\r\n")

	def _ends_at(self, end: int) -> bool | None:
		"""Whether a body ends at this position, judged by what follows; None when that is not there yet."""
		if len(self._buffer) < end:
			return None
		window = bytes(self._buffer[end : end + _LONGEST_LINE_END + MAX_DELIMITER_LINE_BYTES + 1])
		rest = window.lstrip(b"\r\n")
		line_end = len(window) - len(rest)
		if line_end > _LONGEST_LINE_END or (window and self._splits_line_end(end)):
			return False
		if rest[: len(_NESTED_HEADER)].lower() == _NESTED_HEADER:
			return True
		line, line_feed, _ = rest.partition(b"\n")
		if line_feed:
			return self._is_delimiter(line)
		undecided = self._may_become_delimiter(line) or _NESTED_HEADER.startswith(line.lower())
		if self._closing or not undecided:
			return undecided
		return None

	def _splits_line_end(self, end: int) -> bool:
		"""Whether a length takes in the delimiter's line end, or half of it: then it is wrong."""
		following = self._buffer[end : end + 1]
		if following == b"\n":
			return self._crlf and self._buffer.endswith(b"\r", self._start, end)
		return following == b"-" and self._buffer.endswith(b"\n", self._start, end)

	def _before_line_end(self, end: int) -> int:
		for line_end in (b"\r\n", b"\n") if self._crlf else (b"\n",):
			if self._buffer.endswith(line_end, self._start, end):
				return end - len(line_end)
		return end

	def _finish(self, end: int) -> Part | None:
		part = Part(self._headers, bytes(self._buffer[self._start : end]))
		self._headers = {}
		self._scanner = None
		self._start = end
		self._state = _State.LINES
		return part if part.body.strip(_BLANKS) else None

	# Delimiters

	def _find_delimiter(self) -> tuple[int, bool]:
		"""Where the next delimiter line of the current body begins, and True.

		Without one: how far the body reaches at least, and False.
		"""
		while True:
			position = self._next_dashes()
			if position is None:
				return len(self._buffer) - self._dashes_begun(), False
			end = self._line_end(position, MAX_DELIMITER_LINE_BYTES)
			if end is None:
				line = bytes(self._buffer[position : position + MAX_DELIMITER_LINE_BYTES + 1])
				if not self._closing and self._may_become_delimiter(line):
					self._searched = position
					return position, False
			elif self._is_delimiter(bytes(self._buffer[position:end])):
				self._searched = position
				return position, True
			self._searched = position + 1

	def _next_dashes(self) -> int | None:
		"""Where the next line that may be a delimiter starts."""
		at_start = self._state is _State.SEARCH and self._searched == self._start
		if at_start and self._buffer.startswith(b"--", self._start):
			return self._start
		found = self._buffer.find(b"\n--", max(self._searched - 1, self._start))
		after_line = found + 1 if found >= 0 else None
		attached = self._attached_delimiter(after_line)
		if attached is not None:
			return attached
		if after_line is None:
			self._searched = max(self._searched, len(self._buffer) - 2 - self._dashes_begun())
		return after_line

	def _attached_delimiter(self, before: int | None) -> int | None:
		"""Where the known delimiter follows a broken body without a line end; not looked for within pictures."""
		if self._state is _State.SEARCH:
			return None
		end = len(self._buffer) if before is None else before
		match = self._delimiter_anywhere.search(self._buffer, max(self._searched, self._start), end)
		return match.start() if match else None

	def _dashes_begun(self) -> int:
		"""How many bytes at the buffer's end may belong to the next delimiter line."""
		if self._closing:
			return 0
		if self._state is _State.SEARCH:
			return 1 if self._buffer.endswith(b"\n-", self._start) else 0
		name = self._delimiter or b"--"
		tail = bytes(self._buffer[max(self._start, len(self._buffer) - len(name) + 1) :]).lower()
		begun = tail.find(b"-")
		if begun < 0:
			return 0
		return next((size for size in range(len(tail) - begun, 0, -1) if tail.endswith(name[:size])), 0)

	def _is_delimiter(self, line: bytes) -> bool:
		name = _delimiter_name(line)
		return bool(name) and (not self._expects_name() or name == self._delimiter)

	def _may_become_delimiter(self, line: bytes) -> bool:
		"""Whether a line of which this is the beginning can still be a delimiter."""
		if len(line) < 2:
			return b"--".startswith(line)
		if not _delimiter_name(line):
			return not line.strip(b"-") and len(line) <= MAX_DELIMITER_LINE_BYTES
		begun = line.rstrip(_BLANKS).lower()
		return (
			not self._expects_name()
			or self._delimiter in (begun, begun.rstrip(b"-"))
			or (self._delimiter.startswith(begun))
		)

	def _expects_name(self) -> bool:
		"""Whether only the known delimiter counts. A name seen once may have been part of the rubbish."""
		return self._known if self._state is _State.LOST else bool(self._delimiter)

	# Lost

	def _lose(self) -> None:
		"""Give up what is at hand and look for the next delimiter."""
		self.resyncs += 1
		self._headers = {}
		self._scanner = None
		self._searched = self._start
		self._state = _State.LOST

	def _skip_to_delimiter(self) -> None:
		limit, is_delimiter = self._find_delimiter()
		if is_delimiter:
			self._state = _State.LINES
		elif limit > self._start and self._buffer[limit - 1 : limit] == b"\n":
			limit -= 1  # the next line may be the delimiter
		self.dropped_bytes += limit - self._start
		self._start = limit


def _delimiter_name(line: bytes) -> bytes:
	"""A delimiter line in lower case without what may end it: blanks, closing dashes; b"" if it is no such line."""
	if not line.startswith(b"--") or len(line) > MAX_DELIMITER_LINE_BYTES:
		return b""
	name = line.rstrip(_BLANKS).rstrip(b"-").lower()
	return name if _DELIMITER_NAME.fullmatch(name) else b""
