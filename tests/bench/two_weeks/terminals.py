"""The terminals: they write down who passed, and tell it in the ways that terminals have.

A terminal keeps every record and numbers it. What it tells live, again, or when asked depends on its kind; what of
that arrives, on the faults. Nothing here is the product's, but for the messages that a listener hands to its site.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from hikvision_frappe.core.event import AccessEvent, EventKind, Source
from hikvision_frappe.core.gaps import Cause, Contact, beat
from hikvision_frappe.listener.site import HistoryTask
from tests.bench.two_weeks.calendar import ZONE, wall
from tests.bench.two_weeks.faults import Faults, covered
from tests.bench.two_weeks.truth import PEOPLE, Passage, Truth

HEARTBEAT = timedelta(minutes=1)
HEARTBEAT_LIMIT = timedelta(minutes=5)
# A stream that is opened anew has missed the seconds in which nobody had noticed that it was lost.
RECONNECT_TIME = timedelta(seconds=20)
REPLAYED_BESIDES = 20  # of what it had told before
DENIED = "0099"


class Telling(str, Enum):
	"""How a terminal tells what happens, while it happens."""

	STREAM = "stream"
	PUSH = "push"  # lost when nobody takes it
	QUEUED_PUSH = "queued push"  # kept until somebody takes it, and told twice then
	SILENT = "silent"


@dataclass(frozen=True)
class Kind:
	"""heartbeats: of a terminal that pushes. history: whether it can be asked; numbered: whether with numbers."""

	telling: Telling
	heartbeats: bool = False
	history: bool = False
	history_numbered: bool = True

	@property
	def mode(self) -> str:
		if self.telling is Telling.STREAM:
			return "Stream"
		return "History" if self.telling is Telling.SILENT else "Push"


KINDS = {
	"gate": Kind(Telling.STREAM, history=True),
	"yard": Kind(Telling.STREAM),
	"packing": Kind(Telling.QUEUED_PUSH, heartbeats=True),
	"dock": Kind(Telling.PUSH, history=True),
	"office": Kind(Telling.SILENT, history=True),
	"canteen": Kind(Telling.STREAM, history=True, history_numbered=False),
}


@dataclass(frozen=True)
class Record:
	"""serial: numbered by the terminal. at: the instant it was; shown: the instant its clock said."""

	serial: int
	at: datetime
	shown: datetime
	kind: EventKind
	major: int
	minor: int
	person: str = ""
	out: bool = False
	again: bool = False

	@property
	def is_pass(self) -> bool:
		return self.kind is EventKind.PASS


class Terminal:
	"""One terminal on one site. key: of its Hikvision Device."""

	def __init__(self, door: str, key: str, records: Sequence[Record], faults: Faults) -> None:
		self.door, self.key, self.kind = door, key, KINDS[door]
		self.records, self.faults = records, faults
		self.contact: Contact | None = None
		self._opened: datetime | None = None
		self._told: set[int] = set()
		self._dice = random.Random(door)

	def reachable(self, moment: datetime) -> bool:
		return not covered(self.faults.cut.get(self.door, []), moment) and not covered(
			self.faults.off.get(self.door, []), moment
		)

	def clock_offset(self, moment: datetime) -> float:
		return -self.faults.clock_error(self.door, moment).total_seconds()

	def tell(self, since: datetime, until: datetime, heard: bool, reason: Cause) -> list[AccessEvent]:
		"""What arrives at the listener in a step, when it is ``heard``; keeps the contact as a listener does."""
		if self.kind.telling is Telling.STREAM:
			return self._stream(since, until, heard, reason)
		if self.kind.telling is Telling.SILENT:
			return []
		if heard and self.kind.heartbeats:
			self._heartbeats(since, until)
		return self._push(since, until, heard)

	def _stream(self, since: datetime, until: datetime, heard: bool, reason: Cause) -> list[AccessEvent]:
		if not heard:
			self._opened = None
			return []
		told: list[AccessEvent] = []
		if self._opened is None:
			self._opened = since + RECONNECT_TIME
			self.contact = Contact(self._opened, until, reason)
			if since in self.faults.tells_again.get(self.door, ()):
				told += self._again(since, until)
		assert self.contact
		self.contact = Contact(self.contact.since, until, self.contact.reason)
		news = [record for record in self._between(self._opened, until) if record.at > since]
		return told + self._events(news, until, Source.STREAM, live=True)

	def _again(self, since: datetime, until: datetime) -> list[AccessEvent]:
		before = [record for record in self.records if record.at <= since]
		missed = [record for record in before if record.serial not in self._told]
		known = [record for record in before if record.serial in self._told][-REPLAYED_BESIDES:]
		return self._events([*known, *missed], until, Source.STREAM, live=False)

	def _push(self, since: datetime, until: datetime, heard: bool) -> list[AccessEvent]:
		news = self._between(since, until)
		if self.kind.telling is Telling.QUEUED_PUSH:
			if not heard:
				return []
			news = [
				record for record in self.records if record.at <= until and record.serial not in self._told
			]
			late = [record for record in news if record.at <= since]
			return self._events([*news, *late], until, Source.PUSH, live=None)
		if not heard:
			return []
		if covered(self.faults.loses.get(self.door, []), until):
			news = self._without_losses(news)
		return self._events(news, until, Source.PUSH, live=None)

	def _without_losses(self, records: Iterable[Record]) -> list[Record]:
		"""Some arrive; what was read twice arrives twice or not at all."""
		arrived, fate = [], {"": True}
		for record in records:
			if not record.again:
				fate[record.person] = self._dice.random() < 0.6
			if fate[record.person]:
				arrived.append(record)
		return arrived

	def _heartbeats(self, since: datetime, until: datetime) -> None:
		moment = since
		while moment < until:
			moment += HEARTBEAT
			self.contact = beat(self.contact, moment, HEARTBEAT_LIMIT)

	def answer(self, task: HistoryTask, now: datetime) -> tuple[list[AccessEvent], list[int]]:
		"""The records that a reader gets for a task, by its numbers or its stretch of time; and their true numbers."""
		records = [record for record in self.records if record.at <= now]
		if task.first_serial is not None:
			last = task.last_serial or records[-1].serial if records else 0
			records = [record for record in records if task.first_serial <= record.serial <= last]
		else:
			# Read widened, and by the terminal's clock.
			offset = timedelta(seconds=self.clock_offset(now))
			first, last_moment = (task.resume_from or task.since) - offset, task.until - offset
			widened = timedelta(seconds=60)
			records = [each for each in records if first - widened <= each.shown <= last_moment + widened]
		events = self._events(records, now, Source.HISTORY, live=None, numbered=self.kind.history_numbered)
		return events, [record.serial for record in records]

	def _between(self, since: datetime, until: datetime) -> list[Record]:
		return [record for record in self.records if since < record.at <= until]

	def _events(
		self,
		records: Iterable[Record],
		now: datetime,
		source: Source,
		live: bool | None,
		numbered: bool = True,
	) -> list[AccessEvent]:
		equal: Counter[Any] = Counter()
		events = []
		for record in records:
			content = (record.shown, record.major, record.minor, record.person)
			if source is not Source.HISTORY:
				self._told.add(record.serial)
			events.append(
				AccessEvent(
					device=self.key,
					major=record.major,
					minor=record.minor,
					kind=record.kind,
					occurred_at=record.shown,
					occurred_text=record.shown.astimezone(ZONE).isoformat(),
					received_at=now,
					source=source,
					serial_no=record.serial if numbered else None,
					live=live,
					person=record.person,
					door_no=1,
					reader_no=2 if record.out else 1,
					ordinal=0 if numbered else equal[content],
				)
			)
			equal[content] += 1
		return events


def write_down(truth: Truth, faults: Faults) -> dict[str, list[Record]]:
	"""The records of every terminal: passes, doors that open, and now and then a stranger's card."""
	dice = random.Random("doors")
	happened: dict[str, list[tuple[datetime, Passage | None, EventKind]]] = defaultdict(list)
	for passage in truth.passages:
		door = _door_in_use(passage, faults)
		happened[door].append((passage.at, passage, EventKind.PASS))
		if not passage.again and dice.random() < 0.5:
			happened[door].append((passage.at + timedelta(seconds=2), None, EventKind.DOOR))
		if dice.random() < 0.03:
			happened[door].append((passage.at + timedelta(seconds=7), None, EventKind.DENIAL))
	return {door: _numbered(door, entries, faults) for door, entries in happened.items()}


def _door_in_use(passage: Passage, faults: Faults) -> str:
	if not covered(faults.off.get(passage.door, []), passage.at):
		return passage.door
	person = PEOPLE[passage.person - PEOPLE[0].number]
	shift = person.shift_on(wall(passage.at).date())
	return next(door for door in shift.doors if door != passage.door)


CODES = {EventKind.PASS: (5, 75), EventKind.DOOR: (5, 21), EventKind.DENIAL: (5, 9)}


def _numbered(
	door: str, entries: Iterable[tuple[datetime, Passage | None, EventKind]], faults: Faults
) -> list[Record]:
	records = []
	ordered = sorted(entries, key=lambda entry: entry[0])
	for serial, (moment, passage, kind) in enumerate(ordered, start=1001):
		major, minor = CODES[kind]
		shown = (moment + faults.clock_error(door, moment)).replace(microsecond=0)
		person = str(passage.person) if passage else (DENIED if kind is EventKind.DENIAL else "")
		out, again = (passage.out, passage.again) if passage else (False, False)
		records.append(Record(serial, moment, shown, kind, major, minor, person, out, again))
	return records
