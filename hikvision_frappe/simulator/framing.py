"""Multipart bytes: the endless ones of an alertStream and the finite ones of a push."""

from __future__ import annotations

from hikvision_frappe.simulator.faults import PartLength
from hikvision_frappe.simulator.profile import Pushing, Streaming

# Smallest JPEG that viewers take for one: start of image, and the end of it after the padding.
_JPEG_START = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
_JPEG_END = bytes.fromhex("ffd9")
_BOUNDARY_LIKE = b"\r\n--MIME_boundarx\r\nContent-Length: 7\r\n\r\n"


def jpeg(size: int) -> bytes:
	"""About ``size`` bytes that look like a JPEG and, inside, a little like a boundary and like NULs."""
	filling = max(0, size - len(_JPEG_START) - len(_JPEG_END))
	pattern = b"\x00\x11\x22" * 400 + _BOUNDARY_LIKE
	return _JPEG_START + (pattern * (filling // len(pattern) + 1))[:filling] + _JPEG_END


class StreamFramer:
	"""Turns documents into the parts of one alertStream, in a profile's style."""

	def __init__(self, style: Streaming) -> None:
		self._style = style
		self._line = style.newline.encode()
		self._delimiter = style.delimiter.encode() + self._line

	def content_type(self) -> str:
		"""Value of the answer's Content-Type header."""
		boundary = self._style.boundary
		return "multipart/mixed" if boundary is None else f"multipart/mixed; boundary={boundary}"

	def opening(self) -> bytes:
		"""Bytes before the first part."""
		return self._delimiter if self._style.trailing_delimiter else b""

	def part(
		self,
		body: bytes,
		content_type: str,
		name: str | None = None,
		picture: bytes = b"",
		length: PartLength = PartLength.RIGHT,
	) -> bytes:
		"""One part, and the picture's part after it; ``name`` is None for a heartbeat."""
		frame = self._one(self._headers(name, content_type), body, length, inner=name is not None)
		if picture:
			frame += self._one(picture_headers(), picture, length)
		return frame

	def malformed(self, body: bytes) -> bytes:
		"""A part whose headers and JSON are both broken."""
		return self._wrap(b"Content-Type application json" + self._line * 2 + body[: len(body) // 2])

	def _one(self, headers: list[str], body: bytes, length: PartLength, inner: bool = False) -> bytes:
		lines = list(headers)
		counted = _counted(body, length) if self._style.part_length else None
		if counted is not None:
			lines.insert(_length_position(lines), f"Content-Length: {counted}")
		head = b"".join(line.encode() + self._line for line in lines)
		end = b"" if not self._style.trailing_delimiter and body.endswith(self._line) else self._line
		return self._wrap((self._inner_block() if inner else b"") + head + self._line + body + end)

	def _wrap(self, content: bytes) -> bytes:
		if self._style.trailing_delimiter:
			return content + self._delimiter
		return self._delimiter + content

	def _headers(self, name: str | None, content_type: str) -> list[str]:
		lines = [f"Content-Type: {content_type}"]
		if name is not None and self._style.disposition and not self._style.inner_headers:
			lines.insert(0, f'Content-Disposition: form-data; name="{name}"')
		return lines

	def _inner_block(self) -> bytes:
		"""The second set of headers that some intercoms put before an event."""
		if not self._style.inner_headers:
			return b""
		boundary = self._style.delimiter.removeprefix("--")
		kind = f"Content-Type: multipart/form-data; boundary={boundary}".encode()
		name = b'Content-Disposition: form-data; name="Event"'
		return self._line + kind + self._line + self._delimiter + name + self._line + self._delimiter


def push_body(
	style: Pushing,
	document: bytes,
	content_type: str,
	picture: bytes = b"",
	length: PartLength = PartLength.RIGHT,
) -> bytes:
	"""The multipart body of one push, closing delimiter included."""
	delimiter = style.delimiter.encode()
	name = f'Content-Disposition: form-data; name="{style.part_name}"'
	body = delimiter + b"\r\n" + _push_part([name, f"Content-Type: {content_type}"], document, length)
	if picture:
		body += delimiter + b"\r\n" + _push_part(picture_headers(), picture, length)
	return body + delimiter + b"--\r\n"


def picture_headers() -> list[str]:
	"""Headers of a picture's part, without its length."""
	return [
		'Content-Disposition: form-data; name="Picture"; filename="Picture.jpg"',
		"Content-Type: image/jpeg",
		"Content-ID: pictureImage",
	]


def _push_part(headers: list[str], body: bytes, length: PartLength) -> bytes:
	counted = _counted(body, length)
	if counted is not None:
		headers = [*headers, f"Content-Length: {counted}"]
	return "".join(f"{line}\r\n" for line in headers).encode() + b"\r\n" + body + b"\r\n"


def _length_position(headers: list[str]) -> int:
	"""The length follows the type, before a picture's Content-ID."""
	return next(place for place, line in enumerate(headers) if line.startswith("Content-Type")) + 1


def _counted(body: bytes, length: PartLength) -> int | None:
	if length is PartLength.MISSING:
		return None
	return len(body) + (17 if length is PartLength.WRONG else 0)
