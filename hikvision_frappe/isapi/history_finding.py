"""What a reading of a history is asked for, what it has so far, and what it has found in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hikvision_frappe.core.event import AccessEvent, TimeQuality, as_utc
from hikvision_frappe.isapi.documents import Tree
from hikvision_frappe.isapi.history_pages import LAST_SERIAL, Search, serial_of
from hikvision_frappe.isapi.history_reading import Key, Limit, RowReader, Unproven
from hikvision_frappe.isapi.history_windows import SECOND, Window
from hikvision_frappe.isapi.parsing import with_ordinals


@dataclass(frozen=True, slots=True)
class Range:
	"""What to read: the seconds from ``since`` to ``until``, both inclusive, UTC by the device's clock.

	first_serial, last_serial: only these numbers are wanted, inclusive; the seconds say where to look for them when
	the device cannot be asked for numbers. last_serial None: everything from the first on. Raises ValueError.
	"""

	since: datetime
	until: datetime
	first_serial: int | None = None
	last_serial: int | None = None

	def __post_init__(self) -> None:
		if as_utc(self.until) < as_utc(self.since):
			raise ValueError("the range ends before it begins")
		if self.first_serial is None and self.last_serial is not None:
			raise ValueError("a last number needs a first one")
		if self.first_serial is not None and not 1 <= self.first_serial <= (self.last_serial or LAST_SERIAL):
			raise ValueError("no range of numbers")


@dataclass(frozen=True, slots=True)
class HistoryPage:
	"""Some rows. rows: read so far in this reading. total: how many there are as far as the device told, or None.

	read_until: UTC by the device's clock; everything before it is read. A reading that broke off goes on there: it is
	a second's beginning, so that equal rows of one second are numbered anew from the first.
	"""

	events: tuple[AccessEvent, ...]
	rows: int
	total: int | None
	read_until: datetime | None


@dataclass(frozen=True, slots=True)
class Finding:
	"""What a whole reading is worth. reason: why it is not proven, "" when it is.

	rows, total: received, and told by the device (None without totals). numbered: whether the rows carry serial
	numbers, None when there were none.
	"""

	proven: bool
	reason: str
	rows: int
	total: int | None
	numbered: bool | None


UNFINISHED = Finding(False, Unproven.UNFINISHED.value, 0, None, None)


class Progress:
	"""Where a reading stands: the sums over its finished windows, and what was seen against it."""

	def __init__(self, limit: Limit, until: datetime) -> None:
		self.limit = limit
		self.told: set[Key] = set()
		self.doubts: list[Unproven] = []
		self.read_until: datetime | None = None
		self._end = until + SECOND
		self._rows = 0
		self._open_rows = 0  # of the window that is not finished
		self._totals = 0
		self._totals_known = True
		self._numbered = self._unnumbered = 0

	def page(
		self, events: tuple[AccessEvent, ...], rows: int, total: int | None, until: datetime | None = None
	) -> HistoryPage:
		"""Some rows of a window that is not finished. rows, total: of this window."""
		if until is not None:
			self._advance(until)
		self._open_rows = rows
		return HistoryPage(
			events, self._rows + rows, None if total is None else self._totals + total, self.read_until
		)

	def finish(self, rows: int, total: int | None, reader: RowReader, doubt: Unproven | None) -> None:
		"""A window is done."""
		self._rows += rows
		self._open_rows = 0
		self._totals += total or 0
		self._totals_known = self._totals_known and total is not None
		self._numbered += len(reader.numbers)
		self._unnumbered += reader.unnumbered
		if doubt is not None:
			self.doubts.append(doubt)

	def absorb(self, other: Progress) -> None:
		"""Another one's windows belong to this reading."""
		self._rows += other._rows
		self._totals += other._totals
		self._totals_known = self._totals_known and other._totals_known
		self._numbered += other._numbered
		self._unnumbered += other._unnumbered
		self.doubts += other.doubts

	def give_up(self) -> None:
		"""The device's answers do not end: what it says of totals is worth nothing."""
		self.doubts.insert(0, Unproven.ENDLESS)
		self._totals_known = False

	def milestone(self, until: datetime) -> HistoryPage:
		"""Everything up to and with this second is read."""
		self._advance(until + SECOND)
		return HistoryPage((), self._rows, self._totals if self._totals_known else None, self.read_until)

	@property
	def rows(self) -> int:
		return self._rows

	@property
	def finding(self) -> Finding:
		reason = self.doubts[0].value if self.doubts else ""
		numbered = not self._unnumbered if self._numbered or self._unnumbered else None
		total = self._totals if self._totals_known else None
		return Finding(not self.doubts, reason, self._rows + self._open_rows, total, numbered)

	def _advance(self, until: datetime) -> None:
		until = min(until, self._end)
		self.read_until = until if self.read_until is None else max(self.read_until, until)


@dataclass(slots=True)
class Pass:
	"""One pass of an hour that the clock shows twice: what was found in it."""

	progress: Progress
	events: list[AccessEvent] = field(default_factory=list)

	def is_retold_by(self, other: Pass) -> bool:
		"""Whether the device gave the very same rows, of which there are some, for the other pass as well."""
		return bool(self.events) and [_told(one) for one in self.events] == [
			_told(one) for one in other.events
		]


class Numbers:
	"""The serial numbers that are wanted, and those that were found with a time in the range."""

	def __init__(self, first: int, last: int | None) -> None:
		self._first = first
		self._last = last
		self._found: set[int] = set()
		self.asked = (first, LAST_SERIAL if last is None else last)
		self.proven = False

	@property
	def are_bounded(self) -> bool:
		"""Whether there is a last number; without one, every earlier count of the device would belong to it too."""
		return self._last is not None

	def hold(self, rows: Sequence[Tree]) -> bool:
		"""Whether all rows carry numbers that were asked for."""
		numbers = [serial_of(row) for row in rows]
		return all(number is not None and self.asked[0] <= number <= self.asked[1] for number in numbers)

	def note(self, events: Iterable[AccessEvent], window: Window) -> None:
		self._found.update(
			event.serial_no
			for event in events
			if event.serial_no is not None and window.holds(event.occurred_at)
		)

	def are_complete(self, search: Search) -> bool:
		if self._last is not None:
			return len(self._found) == self._last - self._first + 1
		without_holes = bool(self._found) and len(self._found) == max(self._found) - self._first + 1
		agreed = search.ended and search.steady and search.total == search.rows == len(self._found)
		return without_holes and agreed


def _told(event: AccessEvent) -> tuple[object, ...]:
	"""What the device said of a row, whatever instant it was taken for."""
	return (event.serial_no, event.occurred_text, event.major, event.minor, event.person, event.card_no)


def dated_by_order(events: Sequence[AccessEvent], amount: timedelta) -> list[AccessEvent]:
	"""The second pass of the hour begins where times without offset go back."""
	dated: list[AccessEvent] = []
	previous: datetime | None = None
	passed = False
	for event in events:
		if event.time_quality is TimeQuality.ZONE_ASSUMED:
			passed = passed or (previous is not None and event.occurred_at < previous)
			previous = event.occurred_at
			event = event.retold(occurred_at=previous + amount if passed else previous, ordinal=0)
		dated.append(event)
	return [event for event in with_ordinals(dated) if isinstance(event, AccessEvent)]
