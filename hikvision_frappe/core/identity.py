"""Which ledger row an event is: the same pass told ten times is one row, two passes in one second are two.

A device numbers its records, but the numbers wrap, restart after a factory reset and are left out by some
answers. The identity of a numbered record is (device, serial epoch, serial number); its instant only picks the
epoch. A record without a number is matched by second, codes and person against the rows of that second:
equal rows of one second have the slots 0, 1, 2, ...; a record without a number names its slot (``ordinal``),
the numbered ones fill the slots from 0 upwards. So the number of rows depends on what was told, never on the
order of telling.

Everything here is pure. A store (MariaDB through Frappe, or SQLite) loads a ``LedgerView`` under a lock on the
devices concerned, calls ``place``, writes what it says and commits; its unique key on the row's name is the
last word.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from hikvision_frappe.core.event import AccessEvent, TimeQuality

# The number after which devices begin again at 1, as their documents say.
SERIAL_LIMIT = 100_000
# A record with a smaller number that is this much younger than the highest one belongs to a new epoch.
RESET_EVIDENCE = timedelta(minutes=2)
# One whose number is smaller by more than this needs no such distance: no device makes so many in two minutes.
FAR_BELOW = 1_000
# The same record retold after its device's zone was changed differs by whole quarters of an hour, while the
# wall clock time in its text stays the same.
ZONE_STEP = timedelta(minutes=15)
ZONE_SPAN = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class SerialEpoch:
	"""One run of a device's serial numbers between two restarts of the count.

	highest_at, first_at: UTC instants of plausible records only; None until there is one.
	unnumbered: whether the device ever sent a record without a serial number (a hint for the store).
	"""

	number: int
	highest: int = 0
	highest_at: datetime | None = None
	first_at: datetime | None = None
	hardware: str = ""
	unnumbered: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
	"""What identity needs to know of a row that the ledger holds.

	occurred_text: the time as the device wrote it, "" when the store does not load it.
	"""

	name: str
	device: str
	epoch: int | None
	serial_no: int | None
	occurred_at: datetime
	major: int
	minor: int
	person: str = ""
	card_no: str = ""
	occurred_text: str = ""


class Outcome(str, Enum):
	NEW = "new"  # insert a row with this name
	KNOWN = "known"  # the row is there already
	ADOPTED = "adopted"  # a row without a serial number turned out to be this record: rename it


@dataclass(frozen=True, slots=True)
class Placement:
	"""What to do with one event. ``replaces`` is the old name of an adopted row."""

	event: AccessEvent
	outcome: Outcome
	name: str
	epoch: int | None = None
	replaces: str = ""


@dataclass(slots=True)
class LedgerView:
	"""The part of the ledger that a batch touches; ``place`` keeps it up to date while it goes."""

	epochs: dict[str, list[SerialEpoch]] = field(default_factory=dict)
	_by_serial: dict[tuple[str, int], list[Recorded]] = field(default_factory=lambda: defaultdict(list))
	_by_second: dict[tuple[str, datetime], list[Recorded]] = field(default_factory=lambda: defaultdict(list))
	touched: set[str] = field(default_factory=set)  # devices whose epochs changed

	def add(self, rows: Iterable[Recorded]) -> None:
		for row in rows:
			if row.serial_no is not None:
				self._by_serial[(row.device, row.serial_no)].append(row)
			self._by_second[(row.device, second(row.occurred_at))].append(row)

	def remove(self, row: Recorded) -> None:
		self._by_second[(row.device, second(row.occurred_at))].remove(row)
		if row.serial_no is not None:
			self._by_serial[(row.device, row.serial_no)].remove(row)

	def with_serial(self, device: str, serial_no: int) -> list[Recorded]:
		return self._by_serial.get((device, serial_no), [])

	def in_second_of(self, record: AccessEvent | Recorded) -> list[Recorded]:
		"""The rows of that second which may be told by the same or another way, in a stable order."""
		rows = self._by_second.get((record.device, second(record.occurred_at)), [])
		return sorted(
			(row for row in rows if _same_content(row, record)),
			key=lambda row: (row.epoch or 0, row.serial_no or 0, row.name),
		)

	def device_epochs(self, device: str) -> list[SerialEpoch]:
		return self.epochs.setdefault(device, [])


def second(moment: datetime) -> datetime:
	"""The instant without its fraction: devices report whole seconds, and not always the same way."""
	return moment.replace(microsecond=0)


def place(events: Sequence[AccessEvent], view: LedgerView) -> list[Placement]:
	"""Say for each event which row it is, in order; repeated events within the batch are found too."""
	return [_place_one(event, view) for event in events]


def _place_one(event: AccessEvent, view: LedgerView) -> Placement:
	if event.serial_no is None:
		return _place_unnumbered(event, view)
	for row in view.with_serial(event.device, event.serial_no):
		if _same_record(row, event):
			return Placement(event, Outcome.KNOWN, row.name, row.epoch)
	number = _choose_epoch(event, view)
	name = numbered_name(event.device, number, event.serial_no)
	waiting = _row_of_next_slot(event, view)
	_extend_epoch(event, number, view)
	recorded = _recorded(event, name, number)
	if waiting is not None:
		view.remove(waiting)
		view.add([recorded])
		return Placement(event, Outcome.ADOPTED, name, number, replaces=waiting.name)
	view.add([recorded])
	return Placement(event, Outcome.NEW, name, number)


def _row_of_next_slot(event: AccessEvent, view: LedgerView) -> Recorded | None:
	"""The row without a number in the slot that this numbered event fills; equal content before left-out."""
	waiting = [row for row in view.in_second_of(event) if row.serial_no is None]
	waiting.sort(key=lambda row: not _equal_content(row, event))
	for row in waiting:
		if row.name == unnumbered_name(row, slot=len(_numbered(view.in_second_of(row)))):
			return row
	return None


def _place_unnumbered(event: AccessEvent, view: LedgerView) -> Placement:
	rows = view.in_second_of(event)
	numbered = _numbered(rows)
	if event.ordinal < len(numbered):
		row = numbered[event.ordinal]
		return Placement(event, Outcome.KNOWN, row.name, row.epoch)
	name = unnumbered_name(event, slot=event.ordinal)
	if any(row.name == name for row in rows):
		return Placement(event, Outcome.KNOWN, name)
	_mark_unnumbered(event.device, view)
	view.add([_recorded(event, name, None)])
	return Placement(event, Outcome.NEW, name)


def _numbered(rows: Iterable[Recorded]) -> list[Recorded]:
	return [row for row in rows if row.serial_no is not None]


def numbered_name(device: str, epoch: int, serial_no: int) -> str:
	"""The ledger name of a numbered record; sorts by device, epoch and serial number."""
	return f"{device}-{epoch:02d}-{serial_no:010d}"


def unnumbered_name(record: AccessEvent | Recorded, slot: int) -> str:
	"""The ledger name of a record without a serial number, from what it says of itself and its slot."""
	text = "|".join((str(record.major), str(record.minor), record.person, record.card_no, str(slot)))
	digest = hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
	return f"{record.device}-t{int(record.occurred_at.timestamp()):010d}-{digest}"


def _recorded(event: AccessEvent, name: str, epoch: int | None) -> Recorded:
	return Recorded(
		name=name,
		device=event.device,
		epoch=epoch,
		serial_no=event.serial_no,
		occurred_at=event.occurred_at,
		major=event.major,
		minor=event.minor,
		person=event.person,
		card_no=event.card_no,
		occurred_text=event.occurred_text,
	)


def _same_record(row: Recorded, event: AccessEvent) -> bool:
	return _same_content(row, event) and _same_instant(row, event)


def _same_content(row: Recorded, record: AccessEvent | Recorded) -> bool:
	"""Equal codes; person and card equal, or left out by one of two tellers of which one gives numbers.

	Two records without numbers come in the same form, so what differs between them is a difference.
	"""
	if (row.major, row.minor) != (record.major, record.minor):
		return False
	if row.serial_no is None and record.serial_no is None:
		return _equal_content(row, record)
	return _compatible(row.person, record.person) and _compatible(row.card_no, record.card_no)


def _equal_content(row: Recorded, record: AccessEvent | Recorded) -> bool:
	return (row.person, row.card_no) == (record.person, record.card_no)


def _compatible(one: str, other: str) -> bool:
	return not one or not other or one == other


def _same_instant(row: Recorded, event: AccessEvent) -> bool:
	"""Within a second; or moved by a change of zone, which leaves the wall clock time as it was.

	A time that cannot be read gives another instant at each telling, but always the same text.
	"""
	if event.time_quality is TimeQuality.IMPLAUSIBLE and row.occurred_text == event.occurred_text:
		return True
	difference = abs(row.occurred_at - event.occurred_at)
	if difference < timedelta(seconds=1):
		return True
	if difference > ZONE_SPAN or difference % ZONE_STEP != timedelta(0):
		return False
	return _compatible(_wall_clock(row.occurred_text), _wall_clock(event.occurred_text))


def _wall_clock(text: str) -> str:
	"""The digits of date and time of day, without the offset, however they are punctuated."""
	return re.sub(r"\D", "", text[:19])


def _choose_epoch(event: AccessEvent, view: LedgerView) -> int:
	"""The epoch for a record that the ledger does not hold: by its number and instant, in a free slot."""
	epochs = view.device_epochs(event.device)
	if not epochs:
		return 1
	occupied = {row.epoch for row in view.with_serial(event.device, event.serial_no or 0)}
	likely = _likely_epoch(event, epochs)
	if likely not in occupied:
		return likely
	free = [epoch.number for epoch in epochs if epoch.number not in occupied]
	return free[-1] if free else epochs[-1].number + 1


def _likely_epoch(event: AccessEvent, epochs: Sequence[SerialEpoch]) -> int:
	latest = epochs[-1]
	if not _same_hardware(event.hardware, latest.hardware):
		of_hardware = [epoch.number for epoch in epochs if _is_hardware(event.hardware, epoch.hardware)]
		return of_hardware[-1] if of_hardware else latest.number + 1
	if event.time_quality is TimeQuality.IMPLAUSIBLE:
		return latest.number
	if _restarts(event, latest):
		return latest.number + 1
	for epoch in reversed(epochs):
		if not _precedes(event, epoch):
			return epoch.number
	return epochs[0].number


def _same_hardware(one: str, other: str) -> bool:
	return not one or not other or _is_hardware(one, other)


def _is_hardware(one: str, other: str) -> bool:
	"""A push names the tail (``shortSerialNumber``) of the serial number that deviceInfo gives in full."""
	return bool(one and other) and (one.endswith(other) or other.endswith(one))


def _restarts(event: AccessEvent, latest: SerialEpoch) -> bool:
	"""A smaller number on a clearly younger record: the count began again. Or a far smaller one, as after a wrap or a
	reset, on a record that is no older."""
	if event.serial_no is None or event.serial_no > latest.highest or latest.highest_at is None:
		return False
	if latest.highest - event.serial_no > FAR_BELOW:
		return event.occurred_at >= latest.highest_at
	return event.occurred_at > latest.highest_at + RESET_EVIDENCE


def _precedes(event: AccessEvent, epoch: SerialEpoch) -> bool:
	"""Whether the record is older than the epoch; near its beginning the number decides."""
	if epoch.first_at is None:
		return False
	if event.occurred_at < epoch.first_at - RESET_EVIDENCE:
		return True
	return event.occurred_at <= epoch.first_at and (event.serial_no or 0) > epoch.highest + 1


def _extend_epoch(event: AccessEvent, number: int, view: LedgerView) -> None:
	epochs = view.device_epochs(event.device)
	position = next((i for i, epoch in enumerate(epochs) if epoch.number == number), len(epochs))
	if position == len(epochs):
		unnumbered = bool(epochs and epochs[-1].unnumbered)
		epochs.append(SerialEpoch(number, hardware=event.hardware, unnumbered=unnumbered))
		view.touched.add(event.device)
	extended = _extended(epochs[position], event)
	if extended != epochs[position]:
		epochs[position] = extended
		view.touched.add(event.device)


def _extended(epoch: SerialEpoch, event: AccessEvent) -> SerialEpoch:
	serial_no = event.serial_no or 0
	moment = None if event.time_quality is TimeQuality.IMPLAUSIBLE else event.occurred_at
	if serial_no > epoch.highest:
		epoch = replace(epoch, highest=serial_no, highest_at=moment)
	if moment is not None and (epoch.first_at is None or moment < epoch.first_at):
		epoch = replace(epoch, first_at=moment)
	if event.hardware and not epoch.hardware:
		epoch = replace(epoch, hardware=event.hardware)
	return epoch


def _mark_unnumbered(device: str, view: LedgerView) -> None:
	epochs = view.device_epochs(device)
	if not epochs:
		epochs.append(SerialEpoch(1))
	if not epochs[-1].unnumbered:
		epochs[-1] = replace(epochs[-1], unnumbered=True)
		view.touched.add(device)
