"""A device's history (AcsEvent): everything that it recorded in a range, and whether that is proven to be all.

The instants of a range are by the *device's* clock. Rows come in the device's order, which is that of time on every
device seen. What counts as proof is told at ``WindowReading``, and for ranges of numbers at ``HistoryReader.read``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from hikvision_frappe.core.event import AccessEvent, EventKind, TimeQuality, as_utc
from hikvision_frappe.isapi.answers import Storage, read_storage
from hikvision_frappe.isapi.client import DeviceClient
from hikvision_frappe.isapi.codes import minors_of
from hikvision_frappe.isapi.documents import Tree
from hikvision_frappe.isapi.errors import BadAnswer, NotPermitted, NotSupported, Rejected, SearchTooWide
from hikvision_frappe.isapi.history_pages import (
	ANYTHING,
	LAST_SERIAL,
	MAX_MINORS,
	STORAGE,
	Code,
	Condition,
	Endpoint,
	HistorySettings,
	Limits,
	Search,
	TooMuch,
	serial_of,
)
from hikvision_frappe.isapi.history_reading import Key, Limit, RowReader, Unproven, WindowReading, key_of
from hikvision_frappe.isapi.history_windows import (
	SECOND,
	RepeatedHour,
	Window,
	WindowText,
	stretches,
	texts_for,
)
from hikvision_frappe.isapi.parsing import ParseContext, with_ordinals

__all__ = [
	"Finding",
	"HistoryPage",
	"HistoryReader",
	"HistorySettings",
	"Range",
	"Storage",
	"Unproven",
]

MAJORS = (5, 1, 2, 3)
ACCESS = 5
# What no clock of a device is outside of, for rows asked for by number.
ALL_TIME = Window(datetime(1970, 1, 2, tzinfo=timezone.utc), datetime(2037, 12, 30, tzinfo=timezone.utc))
PAGE_OF_EVENTS = 500


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


_UNFINISHED = Finding(False, Unproven.UNFINISHED.value, 0, None, None)


class _Progress:
	"""Where a reading stands: the sums over its finished windows, and what was seen against it."""

	def __init__(self, limit: Limit, until: datetime) -> None:
		self.limit = limit
		self.told: set[Key] = set()
		self.doubts: list[Unproven] = []
		self.read_until: datetime | None = None
		self._end = until + SECOND
		self._rows = 0
		self._totals = 0
		self._totals_known = True
		self._numbered = self._unnumbered = 0

	def page(
		self, events: tuple[AccessEvent, ...], rows: int, total: int | None, until: datetime | None = None
	) -> HistoryPage:
		"""Some rows of a window that is not finished. rows, total: of this window."""
		if until is not None:
			self._advance(until)
		return HistoryPage(
			events, self._rows + rows, None if total is None else self._totals + total, self.read_until
		)

	def finish(self, rows: int, total: int | None, reader: RowReader, doubt: Unproven | None) -> None:
		"""A window is done."""
		self._rows += rows
		self._totals += total or 0
		self._totals_known = self._totals_known and total is not None
		self._numbered += len(reader.numbers)
		self._unnumbered += reader.unnumbered
		if doubt is not None:
			self.doubts.append(doubt)

	def absorb(self, other: _Progress) -> None:
		"""Another one's windows belong to this reading."""
		self._rows += other._rows
		self._totals += other._totals
		self._totals_known = self._totals_known and other._totals_known
		self._numbered += other._numbered
		self._unnumbered += other._unnumbered
		self.doubts += other.doubts

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
		return Finding(not self.doubts, reason, self._rows, total, numbered)

	def _advance(self, until: datetime) -> None:
		until = min(until, self._end)
		self.read_until = until if self.read_until is None else max(self.read_until, until)


class HistoryReader:
	"""Reads the history of one device; ``prepare`` first, and again when its clock may have changed.

	clock_offset: our UTC minus the device's, seconds. finding: of the last reading, once it is exhausted.
	One reading at a time. Methods raise IsapiError.
	"""

	def __init__(
		self, client: DeviceClient, context: ParseContext, settings: HistorySettings | None = None
	) -> None:
		self._client = client
		self._context = context
		self._settings = settings or HistorySettings()
		self._endpoint = Endpoint(client, self._settings)
		self._limits: Limits | None = None
		self._codes: tuple[Code, ...] = ()
		self._all_codes = True
		self._texts: tuple[WindowText, ...] = ()
		self.clock_offset = 0.0
		self.finding = _UNFINISHED

	async def prepare(self) -> None:
		"""Learn the device's clock and what it can be asked for. Raises NotSupported when it has no history."""
		clock = await self._client.clock()
		self.clock_offset = clock.offset_seconds
		self._texts = tuple(dict.fromkeys(texts_for(self._context, clock)))
		if self._limits is None:
			self._limits = await self._read_limits()
		if not self._codes:
			self._codes = await self._find_codes(self._limits)

	async def storage(self) -> Storage:
		"""How the device keeps its records; ``Storage()`` when it does not tell."""
		try:
			return read_storage(await self._client.request("GET", STORAGE))
		except (NotSupported, NotPermitted, Rejected):
			return Storage()

	async def read(self, wanted: Range) -> AsyncIterator[HistoryPage]:
		"""Everything in the range, page by page; then ``finding`` says whether it is proven to be all.

		A range of time ends a second before the device's present, if it would go beyond: the last page's
		``read_until`` tells. A range of numbers is proven by the numbers themselves: each of a closed range was given,
		with a time within the range; or all from the first on without a hole, and their total agrees. If not, the
		range of time is read as well (other numbers too), and the proof is that of the time. Events are given once
		each, though windows may be read again; rows counts what the device gave for the proof.
		"""
		if not self._texts:
			await self.prepare()
		self.finding = _UNFINISHED
		self._endpoint.begin()
		window = self._window(wanted)
		progress = _Progress(Limit((self._limits or Limits()).positions), window.until)
		try:
			async for page in self._read_range(wanted, window, progress):
				yield page
		except TooMuch:
			progress.doubts.insert(0, Unproven.ENDLESS)
		if not self._all_codes:
			progress.doubts.append(Unproven.CODES_REFUSED)
		self.finding = progress.finding

	# What the device can be asked for

	async def _read_limits(self) -> Limits:
		try:
			return await self._endpoint.limits()
		except (NotSupported, NotPermitted, Rejected, BadAnswer):
			return Limits()

	async def _find_codes(self, limits: Limits) -> tuple[Code, ...]:
		"""The kinds of records to ask for; 0 for all of them is refused by some firmwares, as major or as minor."""
		try:
			await self._try(ANYTHING)
			return (ANYTHING,)
		except (NotSupported, Rejected) as error:
			refused = error
		taken = [Code(major, 0) for major in MAJORS if await self._takes(Code(major, 0), refused)]
		self._all_codes = len(taken) == len(MAJORS)
		if taken:
			return tuple(taken)
		minors = limits.minors or minors_of(ACCESS, EventKind.PASS)
		by_minor = [Code(ACCESS, minor) for minor in minors[:MAX_MINORS]]
		if isinstance(refused, NotSupported) or not await self._takes(by_minor[0], refused):
			raise NotSupported("The device gives no access to its history.", "Rely on its stream or push.")
		return tuple(by_minor)

	async def _takes(self, code: Code, refused: NotSupported | Rejected) -> bool:
		"""Whether the device answers to this code; one that knows no history at all is asked only once more."""
		if isinstance(refused, NotSupported) and code.major != ACCESS:
			return False
		try:
			await self._try(code)
		except (NotSupported, Rejected):
			return False
		return True

	async def _try(self, code: Code) -> None:
		now = self._present()
		window = Window(now - timedelta(minutes=1), now)
		condition = self._conditions(window, code)[0]
		await self._endpoint.page("0", 0, 1, condition)

	# Windows

	def _present(self) -> datetime:
		"""The last second that is over, by the device's clock."""
		now = datetime.now(timezone.utc) - timedelta(seconds=self.clock_offset)
		return now.replace(microsecond=0) - SECOND

	def _window(self, wanted: Range) -> Window:
		since = max(as_utc(wanted.since).replace(microsecond=0), ALL_TIME.since)
		until = min(as_utc(wanted.until).replace(microsecond=0), ALL_TIME.until)
		present = self._present()
		if since <= present < until:
			until = present
		return Window(since, max(since, until))

	def _conditions(
		self, window: Window, code: Code, serials: tuple[int, int] | None = None
	) -> list[Condition]:
		"""The ways to ask for a window; only one where they would be the same text."""
		ways = [
			Condition(code, text.write(window.since), text.write(window.until), serials)
			for text in self._texts
		]
		return list(dict.fromkeys(ways))

	# Reading

	async def _read_range(
		self, wanted: Range, window: Window, progress: _Progress
	) -> AsyncIterator[HistoryPage]:
		if wanted.first_serial is not None and self._codes == (ANYTHING,):
			numbers = _Numbers(wanted.first_serial, wanted.last_serial)
			async for page in self._read_numbers(numbers, window, progress):
				yield page
			if numbers.proven:
				yield progress.milestone(window.until)
				return
		for stretch in stretches(window, self._texts[0].zone):
			if isinstance(stretch, Window):
				async for page in self._read_window(stretch, progress):
					yield page
			else:
				async for page in self._read_repeated_hour(stretch, progress):
					yield page

	async def _read_window(
		self, window: Window, progress: _Progress, repeat: timedelta | None = None
	) -> AsyncIterator[HistoryPage]:
		for code in self._codes:
			async for page in self._read_code(window, code, progress, repeat):
				yield page
		yield progress.milestone(window.until)

	async def _read_code(
		self, window: Window, code: Code, progress: _Progress, repeat: timedelta | None
	) -> AsyncIterator[HistoryPage]:
		"""One kind of records of a window, in halves of halves where it holds more than a search gives."""
		alone = len(self._codes) == 1
		pending = [window]
		while pending:
			part = pending.pop()
			rows = RowReader(self._context, part, progress.told, repeat)
			reading = self._new_reading(rows, self._conditions(part, code), progress.limit)
			async for events in reading.pages():
				yield progress.page(events, reading.rows, reading.total, rows.progress if alone else None)
			if reading.split:
				pending += reversed(part.halves())
				continue
			progress.finish(reading.rows, reading.total, rows, reading.doubt)
			self._prefer(reading.condition, part)
			if alone and pending:
				yield progress.milestone(part.until)

	def _new_reading(self, rows: RowReader, conditions: list[Condition], limit: Limit) -> WindowReading:
		page_rows = (self._limits or Limits()).rows
		return WindowReading(self._endpoint, self._settings, page_rows, limit, rows, conditions)

	def _prefer(self, condition: Condition, window: Window) -> None:
		"""The way in which rows were found is the only one from now on."""
		if condition != self._conditions(window, condition.code)[0]:
			self._texts = self._texts[1:]

	async def _read_numbers(
		self, numbers: _Numbers, window: Window, progress: _Progress
	) -> AsyncIterator[HistoryPage]:
		"""Ask for numbers within the time, and then whatever the time: a clock may have been set in between."""
		for where in (window, ALL_TIME):
			rows = RowReader(self._context, where, progress.told)
			condition = self._conditions(where, ANYTHING, numbers.asked)[0]
			page_rows = (self._limits or Limits()).rows
			search = Search(self._endpoint, condition, page_rows, self._settings.max_rows)
			try:
				async for page in search.pages():
					if not numbers.hold(page):
						return  # the device does not look at the numbers
					events = rows.read(page)
					numbers.note(events, window)
					yield progress.page(events, search.rows, search.total)
			except (NotSupported, Rejected, SearchTooWide):
				return
			if where is window and numbers.are_complete(search):
				numbers.proven = True
				progress.finish(search.rows, search.total, rows, None)
				return

	async def _read_repeated_hour(
		self, hour: RepeatedHour, progress: _Progress
	) -> AsyncIterator[HistoryPage]:
		"""Both passes of the hour; where rows tell no offset, the window in which they were found dates them.

		A device that looks at the wall time alone gives the same rows twice: then their order must tell the passes.
		"""
		first = await self._collect(hour.first, hour.amount, progress)
		second = await self._collect(hour.second, hour.amount, progress)
		events = [*first.events, *second.events]
		progress.absorb(first.progress)
		if await self._is_same_hour(hour, first, second):
			events = _dated_by_order(first.events, hour.amount)
			progress.doubts += second.progress.doubts
		else:
			progress.absorb(second.progress)
		new = [event for event in events if key_of(event) not in progress.told]
		progress.told.update(key_of(event) for event in new)
		for start in range(0, len(new), PAGE_OF_EVENTS):
			yield progress.page(tuple(new[start : start + PAGE_OF_EVENTS]), 0, 0)
		yield progress.milestone(hour.second.until)

	async def _collect(self, window: Window, repeat: timedelta, progress: _Progress) -> _Collected:
		found = _Collected(_Progress(progress.limit, window.until), [])
		async for page in self._read_window(window, found.progress, repeat):
			found.events += page.events
		return found

	async def _is_same_hour(self, hour: RepeatedHour, first: _Collected, second: _Collected) -> bool:
		if not first.events or [_told(one) for one in first.events] != [_told(one) for one in second.events]:
			return False
		if self._codes != (ANYTHING,):
			return True
		whole = self._conditions(Window(hour.first.since, hour.second.until), ANYTHING)[0]
		return await self._endpoint.count(whole) != first.progress.rows + second.progress.rows


@dataclass(slots=True)
class _Collected:
	progress: _Progress
	events: list[AccessEvent]


class _Numbers:
	"""The serial numbers that are wanted, and those that were found with a time in the range."""

	def __init__(self, first: int, last: int | None) -> None:
		self._first = first
		self._last = last
		self._found: set[int] = set()
		self.asked = (first, LAST_SERIAL if last is None else last)
		self.proven = False

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


def _dated_by_order(events: Sequence[AccessEvent], amount: timedelta) -> list[AccessEvent]:
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
