"""A device, a listener and a history reader in memory: everything between a record's making and the ledger but sockets.

The device keeps the truth. What it tells is bytes that the real parser reads; what the listener claims to have heard
is the real ``DeviceContact``; what is stored is the real ``LocalSite``. Time is virtual and moves when told.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from hikvision_frappe.core.event import AccessEvent, Source
from hikvision_frappe.core.gaps import Cause
from hikvision_frappe.core.identity import SERIAL_LIMIT
from hikvision_frappe.isapi.address import DeviceAddress
from hikvision_frappe.isapi.parsing import ParseContext, parse_document, read_event, with_ordinals
from hikvision_frappe.listener.contact import DeviceContact, is_told_again
from hikvision_frappe.listener.site import DeviceConfig, HistoryTask, IngestMode

START = datetime(2026, 3, 2, 7, 30, tzinfo=timezone.utc)
KEY = "gate"
WIDEN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Kind:
	"""What a device can do. replay: stored records that a new stream gets, None for all. numbered_history: its rows have
	serial numbers. capacity: records it keeps."""

	name: str
	mode: IngestMode
	replay: int | None = 0
	heartbeats: bool = False
	history: bool = False
	numbered_history: bool = True
	capacity: int = 100_000
	history_seconds: float = 0.0

	@property
	def tells_numbers(self) -> bool:
		return self.mode is not IngestMode.HISTORY or self.numbered_history

	def __str__(self) -> str:
		return self.name


KINDS = (
	Kind("stream without replay", IngestMode.STREAM),
	Kind("stream with the last 10", IngestMode.STREAM, replay=10),
	Kind("stream with all", IngestMode.STREAM, replay=None),
	Kind("stream that forgets", IngestMode.STREAM, replay=None, capacity=5),
	Kind("stream + history", IngestMode.STREAM, history=True),
	Kind("stream + history that forgets", IngestMode.STREAM, replay=2, history=True, capacity=5),
	Kind(
		"stream + history without numbers", IngestMode.STREAM, replay=3, history=True, numbered_history=False
	),
	Kind("stream + history read every 5 min", IngestMode.STREAM, history=True, history_seconds=300.0),
	Kind("push", IngestMode.PUSH),
	Kind("push that forgets", IngestMode.PUSH, capacity=5),
	Kind("push + heartbeats", IngestMode.PUSH, heartbeats=True),
	Kind("push + heartbeats + history", IngestMode.PUSH, heartbeats=True, history=True),
	Kind("push + history", IngestMode.PUSH, history=True),
	Kind("push + history without numbers", IngestMode.PUSH, history=True, numbered_history=False),
	Kind("history", IngestMode.HISTORY, history=True, history_seconds=60.0),
	Kind(
		"history without numbers",
		IngestMode.HISTORY,
		history=True,
		numbered_history=False,
		history_seconds=60.0,
	),
)


@dataclass(frozen=True, slots=True)
class Truth:
	"""One record as it was made. made_at: real time; occurred_at: what the device's clock said. run: of the count."""

	position: int
	run: int
	serial_no: int
	made_at: datetime
	occurred_at: datetime
	person: str
	hardware: str

	@property
	def content(self) -> tuple[int, str]:
		return int(self.occurred_at.timestamp()), self.person


class Door:
	"""The device: a log, a clock that may be wrong, a count that may begin again."""

	def __init__(self, kind: Kind, first_serial: int) -> None:
		self.kind = kind
		self.log: list[Truth] = []
		self.cleared_at = 0
		self.skew = timedelta()
		self.hardware_number = 1
		self.run = 1
		self.last_serial = first_serial
		self.pushed_until = 0

	@property
	def hardware(self) -> str:
		return f"DS-K1T34420240101V040300ENGN{self.hardware_number:07d}"

	def make(self, now: datetime, person: str) -> Truth:
		if self.last_serial == SERIAL_LIMIT:
			self.last_serial, self.run = 0, self.run + 1
		self.last_serial += 1
		record = Truth(len(self.log), self.run, self.last_serial, now, now + self.skew, person, self.hardware)
		self.log.append(record)
		return record

	@property
	def start(self) -> int:
		"""Position of the oldest record that it still has."""
		return max(self.cleared_at, len(self.log) - self.kind.capacity)

	def stored(self) -> list[Truth]:
		return self.log[self.start :]

	def clear(self) -> None:
		self.cleared_at = self.pushed_until = len(self.log)

	def forget_all(self, first_serial: int) -> None:
		self.clear()
		self.run += 1
		self.last_serial = first_serial

	def next_push(self) -> Truth | None:
		self.pushed_until = max(self.pushed_until, self.start)
		return self.log[self.pushed_until] if self.pushed_until < len(self.log) else None

	def doubts(self, task: HistoryTask) -> bool:
		"""Whether the reader could not prove what is found: ``HistoryReader._doubt_of_beginning``, in short."""
		stored = self.stored()
		if task.first_serial is not None and self.kind.numbered_history and task.last_serial is not None:
			wanted = {*range(task.first_serial, task.last_serial + 1)}
			if wanted <= {each.serial_no for each in stored}:
				return False
		since = task.since + min(self.clocks_of(task)) - WIDEN
		if any(each.occurred_at < since for each in stored):
			return False
		oldest = min((each.occurred_at.replace(microsecond=0) for each in stored), default=None)
		if task.recorded is not None and (oldest is None or oldest > task.recorded):
			return True
		if oldest is None or (self.kind.numbered_history and any(each.serial_no == 1 for each in stored)):
			return False
		return self.kind.numbered_history or len(stored) >= self.kind.capacity

	def found(self, task: HistoryTask) -> list[Truth]:
		"""What its history tells of a task, by its numbers where it has them, else by its time."""
		if task.first_serial is not None and self.kind.numbered_history:
			last = task.last_serial or SERIAL_LIMIT
			return [each for each in self.stored() if task.first_serial <= each.serial_no <= last]
		windows = [(task.since + clock - WIDEN, task.until + clock + WIDEN) for clock in self.clocks_of(task)]
		return [
			each
			for each in self.stored()
			if any(since <= each.occurred_at <= until for since, until in windows)
		]

	def clocks_of(self, task: HistoryTask) -> set[timedelta]:
		"""How far ahead of ours its clock may have been then: a reader looks there as well."""
		return {self.skew, timedelta(seconds=-task.clock_offset), timedelta()}


@dataclass(frozen=True, slots=True)
class Said:
	"""A notification on the wire."""

	body: bytes
	live: bool


def said(record: Truth, live: bool) -> Said:
	inner = {
		"majorEventType": 5,
		"subEventType": 75,
		"employeeNoString": record.person,
		"serialNo": record.serial_no,
		"currentEvent": live,
	}
	text = record.occurred_at.isoformat(timespec="seconds")
	body = {"dateTime": text, "eventType": "AccessControllerEvent", "AccessControllerEvent": inner}
	return Said(json.dumps(body).encode(), live)


def row(record: Truth, numbered: bool) -> dict[str, object]:
	fields: dict[str, object] = {
		"major": 5,
		"minor": 75,
		"time": record.occurred_at.isoformat(timespec="seconds"),
		"employeeNoString": record.person,
	}
	if numbered:
		fields["serialNo"] = record.serial_no
	return fields


@dataclass(slots=True)
class Spool:
	"""Survives the process. taken and settled count what this process stored, and what of it has left."""

	waiting: deque[AccessEvent] = field(default_factory=deque)
	older: int = 0  # of those that wait, from before this process
	taken: int = 0
	left: int = 0

	def append(self, events: Sequence[AccessEvent]) -> int:
		self.waiting.extend(events)
		self.taken += len(events)
		return self.taken

	def drop(self, count: int) -> None:
		for _ in range(count):
			self.waiting.popleft()
			if self.older:
				self.older -= 1
			else:
				self.left += 1

	@property
	def settled(self) -> int:
		return -1 if self.older else self.left

	def reopen(self) -> None:
		self.older, self.taken, self.left = len(self.waiting), 0, 0


class Ear:
	"""The listener's side of one device, in one process after the other."""

	def __init__(self, door: Door) -> None:
		self.door = door
		self.spool = Spool()
		self.wire: deque[Said] | None = None  # of the open stream, in the order of sending
		self.contact = DeviceContact()
		self.clock_offset: float | None = None

	def restart(self) -> None:
		"""Another process: what the last one had not stored is gone."""
		self.wire = None
		self.spool.reopen()
		self.contact = DeviceContact()

	# Streams.

	def connect(self, now: datetime) -> None:
		door = self.door
		count = len(door.stored()) if door.kind.replay is None else door.kind.replay
		replay = door.stored()[-count:] if count else []
		self.wire = deque(said(record, live=False) for record in replay)
		self.clock_offset = -door.skew.total_seconds()
		self.contact.begin(now)

	def lose(self, reason: Cause) -> None:
		self.wire = None
		self.contact.lost(reason)

	def made(self, record: Truth) -> None:
		if self.wire is not None:
			self.wire.append(said(record, live=True))

	def hear(self, parts: Sequence[Said], now: datetime) -> None:
		events = [event for part in parts for event in self._parse(part, Source.STREAM, now)]
		mark = self.spool.append(events) if events else None
		self.contact.heard(now, mark, replayed=is_told_again(events, self.clock_offset))

	# Pushes.

	def take_push(self, record: Truth, now: datetime) -> None:
		self.contact.push_began(now)
		live = now - record.made_at < timedelta(seconds=30)
		events = self._parse(said(record, live), Source.PUSH, now)
		self.contact.push_stored(now, self.spool.append(events), heartbeat=False)

	def refuse_push(self, now: datetime) -> None:
		self.contact.push_began(now)
		self.contact.push_refused(now)

	def take_heartbeat(self, now: datetime) -> None:
		self.contact.push_began(now)
		self.contact.push_stored(now, None, heartbeat=True)

	def _parse(self, part: Said, source: Source, now: datetime) -> list[AccessEvent]:
		context = ParseContext(KEY, "UTC", True, source, self.door.hardware)
		return [event for event in parse_document(part.body, context, now) if isinstance(event, AccessEvent)]


@dataclass(slots=True)
class Reading:
	"""A history reader at work: what the device answered, and how much of it is handed over."""

	task: HistoryTask
	events: list[AccessEvent]
	proven: bool
	delivered: int = 0
	new: int = 0


def begin_reading(door: Door, task: HistoryTask, now: datetime) -> Reading:
	context = ParseContext(KEY, "UTC", True, Source.HISTORY, door.hardware)
	rows = [row(record, door.kind.numbered_history) for record in door.found(task)]
	rows.sort(key=lambda each: str(each["time"]))
	events = [event for each in rows if (event := read_event(each, context, now)) is not None]
	events = [event for event in with_ordinals(events) if isinstance(event, AccessEvent)]
	return Reading(task, events, not door.doubts(task))


def config_of(kind: Kind) -> DeviceConfig:
	return DeviceConfig(
		KEY,
		kind.name,
		"1",
		kind.mode,
		DeviceAddress("127.0.0.1", 1, "admin", "none"),
		history=kind.history,
		history_seconds=kind.history_seconds,
	)


def without_number(event: AccessEvent) -> AccessEvent:
	return replace(event, serial_no=None)
