"""What the tests of the device protocol share: streams put together byte by byte, and cut at will."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hikvision_frappe.core.event import Source
from hikvision_frappe.isapi.framing import Part, PartFramer
from hikvision_frappe.isapi.parsing import ParseContext

FIXTURES = Path(__file__).parents[1] / "fixtures" / "isapi"
PAYLOADS = Path(__file__).parents[3] / "shared" / "payloads" / "isapi"
NOW = datetime(2026, 5, 4, 8, 0, 30, tzinfo=timezone.utc)
STREAM = ParseContext("GATE-1", "Europe/Bratislava", True, Source.STREAM)
PUSH = ParseContext("GATE-1", "Europe/Bratislava", True, Source.PUSH)
HISTORY = ParseContext("GATE-1", "Europe/Bratislava", True, Source.HISTORY)


def fixture(name: str) -> bytes:
	return (FIXTURES / name).read_bytes()


def event_body(serial_no: int = 1, minor: int = 75, indent: str | None = "\t", **inner: Any) -> bytes:
	"""A notification as terminals print it; ``inner`` adds to or replaces fields of the event."""
	fields = {"majorEventType": 5, "subEventType": minor, "serialNo": serial_no, **inner}
	document = {
		"ipAddress": "192.0.2.64",
		"dateTime": "2026-05-04T10:00:00+02:00",
		"eventType": "AccessControllerEvent",
		"eventState": "active",
		"AccessControllerEvent": fields,
	}
	separators = (", ", ":\t") if indent else (",", ":")
	return json.dumps(document, indent=indent, separators=separators, ensure_ascii=False).encode()


def alert_body(event_type: str = "videoloss", state: str = "inactive", newline: str = "\n") -> bytes:
	"""An XML notification as recorders print it."""
	lines = (
		'<EventNotificationAlert version="1.0" xmlns="http://www.std-cgi.com/ver20/XMLSchema">',
		"<ipAddress>192.0.2.65</ipAddress>",
		"<channelID/>",
		"<dateTime>2026-05-04T10:00:00+02:00</dateTime>",
		"<activePostCount></activePostCount>",
		f"<eventType>{event_type}</eventType>",
		f"<eventState>{state}</eventState>",
		"</EventNotificationAlert>",
	)
	return newline.join(lines).encode()


@dataclass
class StreamWriter:
	"""Frames bodies as one kind of device does."""

	boundary: str = "MIME_boundary"
	newline: bytes = b"\r\n"
	with_length: bool = True
	delimiter_first: bool = False
	nested_headers: bool = False
	written: list[bytes] = field(default_factory=list)

	@property
	def delimiter(self) -> bytes:
		return b"--" + self.boundary.encode() + self.newline

	def begin(self) -> bytes:
		return b"" if self.delimiter_first else self.delimiter

	def part(self, body: bytes, content_type: str = "application/json", length: int | None = None) -> bytes:
		headers = [f"Content-Type: {content_type}".encode()]
		if self.with_length or length is not None:
			headers.append(b"Content-Length: %d" % (len(body) if length is None else length))
		block = self.newline.join([*headers, b"", body, b""])
		if self.nested_headers:
			block = self._nested() + block
		return self.delimiter + block if self.delimiter_first else block + self.delimiter

	def _nested(self) -> bytes:
		kind = b"Content-Type: multipart/form-data; boundary=" + self.boundary.encode()
		name = b'Content-Disposition: form-data; name="Event"'
		return self.newline + kind + self.newline + self.delimiter + name + self.newline + self.delimiter


def cut(data: bytes, positions: Iterable[int]) -> Iterator[bytes]:
	"""The data in pieces that end at these positions."""
	start = 0
	for position in sorted({position for position in positions if 0 < position < len(data)}):
		yield data[start:position]
		start = position
	yield data[start:]


def framed(chunks: Iterable[bytes], framer: PartFramer | None = None, close: bool = True) -> list[Part]:
	framer = framer or PartFramer()
	parts = [part for chunk in chunks for part in framer.feed(chunk)]
	return parts + framer.close() if close else parts


def bodies(parts: Sequence[Part]) -> list[bytes]:
	return [part.body for part in parts]
