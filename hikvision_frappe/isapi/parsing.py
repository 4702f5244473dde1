"""Typed messages out of the bodies that devices send, on the stream and as HTTP push.

The content decides and not its Content-Type, which some firmwares get wrong: ``{`` or ``[`` is JSON, ``<`` is XML,
a delimiter line is multipart. Fields are looked for inside ``AccessControllerEvent`` first and then beside it, under
the names of notifications (majorEventType, subEventType, dateTime) and of history rows (major, minor, time).

Filler that some firmwares write into unused fields is taken for absent: "", null, "null", "undefined" and "invalid"
in texts, 0 in numbers, only zeros in a card number, 0 in the numeric ``employeeNo``. ``employeeNoString`` "0" is kept:
if it is a person, a pass must not be lost in silence.

An event whose time cannot be read is kept as well: ``received_at`` stands in, marked IMPLAUSIBLE.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from hikvision_frappe.core.event import AccessEvent, Source, TimeQuality
from hikvision_frappe.isapi.codes import kind_of
from hikvision_frappe.isapi.documents import (
	MAX_BYTES,
	MalformedDocument,
	Tree,
	read_document,
	read_json,
	read_plain_json,
	storable,
)
from hikvision_frappe.isapi.framing import Part, PartFramer
from hikvision_frappe.isapi.messages import Heartbeat, Message, Notice
from hikvision_frappe.isapi.scanning import split_documents
from hikvision_frappe.isapi.times import DeviceTime, UnreadableTime, read_device_time, zone_named

# Real notifications have half a kilobyte, so that 4 MiB never hold so many.
MAX_PIECES = 10_000
MAX_OUTER_FIELDS = 200
MAX_FORM_FIELDS = 50
PIECE_BYTES = 64 * 1024
MAX_PERSON, MAX_NAME, MAX_CARD, MAX_WORD = 64, 140, 64, 64
MAX_DOOR = 65535
MAX_SERIAL = 2**63 - 1

_BLANKS = b" \t\r\n\x00"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FILLER = frozenset({"", "null", "(null)", "undefined", "invalid"})
_WRAPPERS = ("EventNotificationAlert", "event_log", "Event")
_NESTED = "AccessControllerEvent"
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_MULTIPART = re.compile(rb"\s*(--|content-type\s*:\s*multipart/)", re.IGNORECASE)
_ATTENDANCE = {
	status.lower(): status
	for status in ("checkIn", "checkOut", "breakOut", "breakIn", "overtimeIn", "overtimeOut")
}

_Record = Mapping[str, Any]
T = TypeVar("T")


class MalformedPayload(ValueError):
	"""Nothing in a body could be understood."""


class TooManyPieces(MalformedPayload):
	"""A body has more parts, documents or notifications than are read. None is: whoever takes some must have all."""


@dataclass(frozen=True, slots=True)
class ParseContext:
	"""What the sender's configuration says about its texts.

	device: key of the device. zone: IANA name; raises ValueError or KeyError when it does not exist.
	trust_offset: False when only the wall time is to be believed. hardware: serial number, when known for certain.
	"""

	device: str
	zone: str
	trust_offset: bool
	source: Source
	hardware: str = ""

	def __post_init__(self) -> None:
		zone_named(self.zone)


def parse_push(body: bytes, content_type: str, context: ParseContext, received_at: datetime) -> list[Message]:
	"""Read the body of a notification that a device posted: JSON, XML, a form, multipart with or without pictures.

	content_type: only a hint. received_at: aware. Raises MalformedPayload when no part can be understood.
	"""
	if body.lstrip(_BLANKS + _BYTE_ORDER_MARK)[:1] in (b"{", b"[", b"<"):
		return parse_document(body, context, received_at)
	if _MULTIPART.match(body) or "multipart/" in content_type.lower():
		return _first_understood(_multipart_bodies(body), context, received_at)
	return _first_understood(_form_bodies(body), context, received_at)


def parse_document(body: bytes, context: ParseContext, received_at: datetime) -> list[Message]:
	"""Read one part: a JSON or XML document, or several in a row.

	received_at: aware. Raises MalformedPayload when nothing can be understood; an unfinished document after a
	whole one is left out.
	"""
	messages: list[Message] = []
	problem = "none of its documents is one"
	for document in _documents(body.removeprefix(_BYTE_ORDER_MARK)):
		try:
			tree = read_document(document) if isinstance(document, bytes) else document
			records = list(_unwrap(tree, depth=0))
		except MalformedDocument as error:
			problem = str(error)
			continue
		messages.extend(_read_message(record, context, received_at) for record in records)
	if not messages:
		raise MalformedPayload(f"no notification in {len(body)} bytes: {problem}")
	return with_ordinals(messages)


def _documents(body: bytes) -> Iterator[Tree | bytes]:
	"""The documents of a body: the tree of an ordinary one, else the bytes of each, still to be read."""
	plain = read_plain_json(body)
	if plain is not None:
		yield plain
	else:
		yield from _bounded(split_documents(body, MAX_PIECES + 1, MAX_BYTES))


def read_event(row: _Record, context: ParseContext, received_at: datetime) -> AccessEvent | None:
	"""One access event from its fields, nested or flat, of a notification or a history row; None if it is none."""
	return _read_event(_inside_out(row), context, received_at)


def with_ordinals(messages: Iterable[Message]) -> list[Message]:
	"""The same messages; equal events without a serial number are numbered in order, so that two stay two."""
	messages = list(messages)
	if len(messages) == 1:
		return messages
	seen: Counter[tuple[object, ...]] = Counter()
	numbered: list[Message] = []
	for message in messages:
		if isinstance(message, AccessEvent) and message.serial_no is None:
			second = message.occurred_at.replace(microsecond=0)
			content = (second, message.major, message.minor, message.person, message.card_no)
			if seen[content]:
				message = message.retold(ordinal=seen[content])
			seen[content] += 1
		numbered.append(message)
	return numbered


# Bodies within a push


def _multipart_bodies(body: bytes) -> Iterator[bytes]:
	for part in _bounded(_parts(body)):
		if part.body[:1] in (b"{", b"[", b"<"):
			yield part.body
		elif part.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
			yield from _form_bodies(part.body)


def _parts(body: bytes) -> Iterator[Part]:
	"""Piece by piece, so that a body of a million parts is never a million objects."""
	framer = PartFramer(max_part_bytes=max(len(body), 1))
	for start in range(0, len(body), PIECE_BYTES):
		yield from framer.feed(body[start : start + PIECE_BYTES])
	yield from framer.close()


def _form_bodies(body: bytes) -> Iterator[bytes]:
	try:
		fields = parse_qsl(
			body.decode("ascii"), strict_parsing=True, max_num_fields=MAX_FORM_FIELDS, errors="replace"
		)
	except ValueError:
		return
	for _, value in fields:
		if value.lstrip()[:1] in ("{", "[", "<"):
			yield value.encode("utf-8")


def _bounded(pieces: Iterable[T]) -> Iterator[T]:
	for number, piece in enumerate(pieces):
		if number >= MAX_PIECES:
			raise TooManyPieces(f"more than {MAX_PIECES} pieces in one body")
		yield piece


def _first_understood(bodies: Iterable[bytes], context: ParseContext, received_at: datetime) -> list[Message]:
	"""All messages of those bodies that can be understood; raises MalformedPayload if none can."""
	messages: list[Message] = []
	problem = MalformedPayload("no JSON, XML, form or multipart part")
	for body in bodies:
		try:
			messages.extend(parse_document(body, context, received_at))
		except TooManyPieces:
			raise
		except MalformedPayload as error:
			problem = error
	if not messages:
		raise problem
	return with_ordinals(messages)


# Documents to records


def _unwrap(value: Tree, depth: int) -> Iterator[_Record]:
	"""The notifications inside lists, wrappers and texts that hold a document once more."""
	if depth > 4:
		return
	if isinstance(value, list):
		for item in _bounded(value):
			yield from _unwrap(item, depth + 1)
	elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
		yield from _unwrap(read_json(value), depth + 1)
	elif isinstance(value, dict):
		yield from _unwrap_mapping(value, depth)


def _unwrap_mapping(value: dict[str, Tree], depth: int) -> Iterator[_Record]:
	if _is_notification(value):
		yield from _one_per_event(value)
		return
	wrapped = [value[name] for name in _WRAPPERS if name in value]
	if not wrapped and len(value) == 1:
		wrapped = list(value.values())  # a list element around several alerts, whatever its name
	for inner in wrapped:
		yield from _unwrap(inner, depth + 1)


def _is_notification(value: _Record) -> bool:
	return not value.keys().isdisjoint(("eventType", "majorEventType", "major", _NESTED))


def _one_per_event(value: dict[str, Tree]) -> Iterator[_Record]:
	nested = value.get(_NESTED)
	if not isinstance(nested, list):
		yield value
		return
	outer = dict(islice(value.items(), MAX_OUTER_FIELDS))
	for inner in _bounded(nested):
		yield {**outer, _NESTED: inner}


# Records to messages


def _read_message(record: _Record, context: ParseContext, received_at: datetime) -> Message:
	fields = _inside_out(record)
	event = _read_event(fields, context, received_at)
	if event is not None:
		return event
	notice = _read_notice(fields, context, received_at)
	if _is_heartbeat(notice):
		return Heartbeat(context.device, notice.received_at, notice.occurred_at)
	return notice


def _inside_out(record: _Record) -> _Record:
	"""Outer and inner fields as one mapping; where both have a name, the inner one counts."""
	nested = record.get(_NESTED)
	return {**record, **nested} if isinstance(nested, Mapping) else record


def _read_event(fields: _Record, context: ParseContext, received_at: datetime) -> AccessEvent | None:
	major = _number(_first(fields, "majorEventType", "major"), 1)
	if major is None:
		return None
	minor = _number(_first(fields, "subEventType", "minor"), 0) or 0
	time = _read_time(fields, context, received_at)
	return AccessEvent(
		device=context.device,
		major=major,
		minor=minor,
		kind=kind_of(major, minor),
		occurred_at=time.moment,
		occurred_text=time.text,
		received_at=received_at.astimezone(timezone.utc),
		source=context.source,
		time_quality=time.quality,
		serial_no=_number(fields.get("serialNo"), 1),
		live=_read_live(fields, context),
		person=_read_person(fields),
		person_name=_text(fields.get("name"), MAX_NAME),
		card_no=_read_card(fields),
		door_no=_number(fields.get("doorNo"), 1, MAX_DOOR),
		reader_no=_number(fields.get("cardReaderNo"), 1, MAX_DOOR),
		user_type=_text(fields.get("userType"), MAX_WORD),
		attendance_status=_read_attendance_status(fields),
		verify_mode=_text(fields.get("currentVerifyMode"), MAX_WORD),
		hardware=context.hardware,
	)


def _read_time(fields: _Record, context: ParseContext, received_at: datetime) -> DeviceTime:
	text = _text(_first(fields, "dateTime", "time"), MAX_WORD)
	try:
		return read_device_time(text, context.zone, context.trust_offset, received_at)
	except UnreadableTime:
		return DeviceTime(received_at.astimezone(timezone.utc), text, TimeQuality.IMPLAUSIBLE)


def _read_live(fields: _Record, context: ParseContext) -> bool | None:
	if context.source is Source.HISTORY:
		return False
	value = fields.get("currentEvent")
	if isinstance(value, bool):
		return value
	return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())


def _read_person(fields: _Record) -> str:
	"""The person's number as text, leading zeros kept; the numeric field only when there is no text."""
	person = _text(fields.get("employeeNoString"), MAX_PERSON)
	if person:
		return person
	number = _text(fields.get("employeeNo"), MAX_PERSON)
	return "" if number == "0" else number


def _read_card(fields: _Record) -> str:
	card = _text(fields.get("cardNo"), MAX_CARD)
	return card if card.strip("0") else ""


def _read_attendance_status(fields: _Record) -> str:
	"""checkIn, checkOut, breakOut, breakIn, overtimeIn or overtimeOut in this spelling; an unknown one as it is."""
	status = _text(fields.get("attendanceStatus"), MAX_WORD)
	return _ATTENDANCE.get(status.lower(), status)


def _read_notice(fields: _Record, context: ParseContext, received_at: datetime) -> Notice:
	time = _read_time(fields, context, received_at)
	return Notice(
		device=context.device,
		received_at=received_at.astimezone(timezone.utc),
		event_type=_text(fields.get("eventType"), MAX_WORD),
		event_state=_text(fields.get("eventState"), MAX_WORD),
		description=_text(fields.get("eventDescription"), MAX_NAME),
		occurred_at=None if time.quality is TimeQuality.IMPLAUSIBLE else time.moment,
	)


def _is_heartbeat(notice: Notice) -> bool:
	"""Devices use a video loss that is over as their sign of life; some have a type of its own."""
	kind = notice.event_type.lower()
	return kind == "heartbeat" or (kind == "videoloss" and notice.event_state.lower() != "active")


# Values


def _first(fields: _Record, *names: str) -> object:
	for name in names:
		value = fields.get(name)
		if value is not None:
			return value
	return None


def _text(value: object, longest: int) -> str:
	"""A text without filler, control characters and surrounding blanks, cut to ``longest`` characters."""
	if isinstance(value, bool) or not isinstance(value, (str, int)):
		return ""
	text = storable(str(value)).strip()
	return "" if text.lower() in _FILLER else text[:longest]


def _number(value: object, least: int, most: int = MAX_SERIAL) -> int | None:
	"""A whole number within bounds, from a number or its text; None for anything else."""
	if isinstance(value, bool):
		return None
	if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_SERIAL:
		value = int(value)
	if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
		value = int(value)
	if isinstance(value, int) and least <= value <= most:
		return value
	return None
