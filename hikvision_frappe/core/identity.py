"""Which ledger row an event is: the same pass told ten times is one row, two passes in one second are two.

A device numbers its records, but the numbers wrap, restart after a factory reset and are left out by some
answers. The identity of a numbered record is (device, serial epoch, serial number); its instant only picks the
epoch. A record without a number is matched by second, codes and person against the rows of that second.

Everything here is pure. A store (MariaDB through Frappe, or SQLite) loads a ``LedgerView`` under a lock on the
devices concerned, calls ``place``, writes what it says and commits; its unique key on the row's name is the
last word.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from hikvision_frappe.core.event import AccessEvent, TimeQuality

# A record with a smaller number that is this much younger than the highest one belongs to a new epoch.
RESET_EVIDENCE = timedelta(minutes=2)
# The same record retold after its device's zone was changed differs by whole quarters of an hour.
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
	"""What identity needs to know of a row that the ledger holds."""

	name: str
	device: str
	epoch: int | None
	serial_no: int | None
	occurred_at: datetime
	major: int
	minor: int
	person: str = ""
	card_no: str = ""


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

	def in_second_of(self, event: AccessEvent) -> list[Recorded]:
		rows = self._by_second.get((event.device, second(event.occurred_at)), [])
		return sorted(
			(row for row in rows if _same_content(row, event)), key=lambda row: (row.serial_no or 0, row.name)
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
	waiting = [row for row in view.in_second_of(event) if row.serial_no is None]
	_extend_epoch(event, number, view)
	recorded = _recorded(event, name, number)
	if waiting:
		view.remove(waiting[0])
		view.add([recorded])
		return Placement(event, Outcome.ADOPTED, name, number, replaces=waiting[0].name)
	view.add([recorded])
	return Placement(event, Outcome.NEW, name, number)


def _place_unnumbered(event: AccessEvent, view: LedgerView) -> Placement:
	rows = view.in_second_of(event)
	if len(rows) > event.ordinal:
		row = rows[event.ordinal]
		return Placement(event, Outcome.KNOWN, row.name, row.epoch)
	name = unnumbered_name(event)
	_mark_unnumbered(event.device, view)
	view.add([_recorded(event, name, None)])
	return Placement(event, Outcome.NEW, name)


def numbered_name(device: str, epoch: int, serial_no: int) -> str:
	"""The ledger name of a numbered record; sorts by device, epoch and serial number."""
	return f"{device}-{epoch:02d}-{serial_no:010d}"


def unnumbered_name(event: AccessEvent) -> str:
	"""The ledger name of a record without a serial number, from what it says of itself."""
	text = "|".join((str(event.major), str(event.minor), event.person, event.card_no, str(event.ordinal)))
	digest = hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
	return f"{event.device}-t{int(event.occurred_at.timestamp()):010d}-{digest}"


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
	)


def _same_record(row: Recorded, event: AccessEvent) -> bool:
	return _same_content(row, event) and _same_instant(row.occurred_at, event.occurred_at)


def _same_content(row: Recorded, event: AccessEvent) -> bool:
	"""Equal codes; person and card equal or left out by one of the two tellers."""
	if (row.major, row.minor) != (event.major, event.minor):
		return False
	return _compatible(row.person, event.person) and _compatible(row.card_no, event.card_no)


def _compatible(one: str, other: str) -> bool:
	return not one or not other or one == other


def _same_instant(one: datetime, other: datetime) -> bool:
	difference = abs(one - other)
	if difference < timedelta(seconds=1):
		return True
	return difference <= ZONE_SPAN and difference % ZONE_STEP == timedelta(0)


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
	if event.hardware and latest.hardware and event.hardware != latest.hardware:
		of_hardware = [epoch.number for epoch in epochs if epoch.hardware == event.hardware]
		return of_hardware[-1] if of_hardware else latest.number + 1
	if event.time_quality is TimeQuality.IMPLAUSIBLE:
		return latest.number
	if _restarts(event, latest):
		return latest.number + 1
	for epoch in reversed(epochs):
		if not _precedes(event, epoch):
			return epoch.number
	return epochs[0].number


def _restarts(event: AccessEvent, latest: SerialEpoch) -> bool:
	"""A smaller number on a clearly younger record: the count began again."""
	if event.serial_no is None or event.serial_no > latest.highest or latest.highest_at is None:
		return False
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
