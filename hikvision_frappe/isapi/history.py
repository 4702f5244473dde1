"""A device's history (AcsEvent): everything that it recorded in a range, and whether that is proven to be all.

The instants of a range are by the *device's* clock. Rows come in the device's order, which is that of time on every
device seen. What counts as proof is told at ``WindowReading``, and for ranges of numbers at ``HistoryReader.read``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from hikvision_frappe.core.event import EventKind, TimeQuality, as_utc
from hikvision_frappe.isapi.answers import Storage, read_storage
from hikvision_frappe.isapi.client import DeviceClient
from hikvision_frappe.isapi.codes import minors_of
from hikvision_frappe.isapi.documents import Tree
from hikvision_frappe.isapi.errors import (
	BadAnswer,
	DeviceBusy,
	NotPermitted,
	NotSupported,
	Rejected,
	SearchTooWide,
)
from hikvision_frappe.isapi.history_finding import (
	UNFINISHED,
	Finding,
	HistoryPage,
	Numbers,
	Pass,
	Progress,
	Range,
	dated_by_order,
)
from hikvision_frappe.isapi.history_pages import (
	ANYTHING,
	MAX_MINORS,
	STORAGE,
	Code,
	Condition,
	Endpoint,
	HistorySettings,
	Limits,
	Search,
	TooMuch,
	new_search_id,
	serial_of,
)
from hikvision_frappe.isapi.history_reading import Limit, RowReader, Unproven, WindowReading, key_of
from hikvision_frappe.isapi.history_windows import (
	SECOND,
	RepeatedHour,
	Window,
	WindowText,
	stretches,
	texts_for,
)
from hikvision_frappe.isapi.parsing import ParseContext, read_event
from hikvision_frappe.isapi.times import zone_named

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
# Where to look for older records; clocks that were lost say 1970, which proves nothing.
EARLIEST = datetime(2000, 1, 2, tzinfo=timezone.utc)
OLDER_SPANS = (timedelta(days=30), timedelta(days=3660))
# A device may fail at what is good to know, and still give its history.
_TELLS_NOTHING = (NotSupported, NotPermitted, Rejected, BadAnswer, DeviceBusy)


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
		self.finding = UNFINISHED

	async def prepare(self) -> None:
		"""Learn the device's clock and what it can be asked for. Raises NotSupported when it has no history."""
		self._endpoint.begin()
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
		except _TELLS_NOTHING:
			return Storage()

	async def read(self, wanted: Range, *, recorded: datetime | None = None) -> AsyncIterator[HistoryPage]:
		"""Everything in the range, page by page; then ``finding`` says whether it is proven to be all.

		A range of time ends a second before the device's present, if it would go beyond: the last page's
		``read_until`` tells. A range of numbers is proven by the numbers themselves: each of a closed range was given,
		with a time within the range; or all from the first on without a hole, and their total agrees. If not, the
		range of time is read as well (other numbers too), and the proof is that of the time. For a range of time the
		device must also hold something older, or everything that it ever recorded: logs lose their oldest records.
		recorded: the instant, UTC by the device's clock, of a record that it is known to have made. A log that is empty,
		or begins later, has lost that one and nobody knows how many besides, though it was never full or counts from 1.

		Events are given once each, though windows may be read again; rows counts what the device gave for the proof.
		"""
		if not self._texts:
			await self.prepare()
		self.finding = UNFINISHED
		self._endpoint.begin()
		window = self._window(wanted)
		progress = Progress(Limit((self._limits or Limits()).positions), window.until)
		try:
			async for page in self._read_range(wanted, window, progress, recorded):
				yield page
		except TooMuch:
			progress.give_up()
		if not self._all_codes:
			progress.doubts.append(Unproven.CODES_REFUSED)
		self.finding = progress.finding

	# What the device can be asked for

	async def _read_limits(self) -> Limits:
		try:
			return await self._endpoint.limits()
		except _TELLS_NOTHING:
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
			raise NotSupported(
				f"The device gives no access to its history: {refused.what}", "Rely on its stream or push."
			)
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
		await self._endpoint.page(new_search_id(), 0, 1, condition)

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

	# How far back the device's log goes

	async def _doubt_of_beginning(
		self, window: Window, limit: Limit, recorded: datetime | None
	) -> Unproven | None:
		"""Why a record of the window may have been lost to newer ones, to a timer, or with the whole log.

		None when the log still holds one from before the window. Else it must reach back to the record that is known,
		and hold its very first one; where rows have no numbers, or there are none, it must never have been full and
		delete nothing by timer.
		"""
		for span in OLDER_SPANS:
			since = max(window.since - span, EARLIEST)
			if since < window.since and (await self._first_rows(Window(since, window.since - SECOND)))[0]:
				return None
		oldest, total = await self._first_rows(Window(EARLIEST, ALL_TIME.until))
		if not oldest:
			is_emptied = recorded is not None or (await self.storage()).deletes_by_timer
			return Unproven.EMPTIED if is_emptied else None
		if recorded is not None and not await self._reaches_back_to(recorded):
			return Unproven.BEGINS_LATER
		numbers = [serial_of(row) for row in oldest]
		if 1 in numbers:
			return None
		was_never_full = limit.rows is not None and total < limit.rows
		is_whole = was_never_full and not any(numbers) and not (await self.storage()).deletes_by_timer
		return None if is_whole else Unproven.BEGINS_LATER

	async def _reaches_back_to(self, recorded: datetime) -> bool:
		"""Whether the log holds a record that is surely of this second or an earlier one; of any kind."""
		until = max(as_utc(recorded).replace(microsecond=0), EARLIEST)
		rows, _ = await self._first_rows(Window(EARLIEST, until))
		return any(self._latest_instant(row) < until + SECOND for row in rows)

	def _latest_instant(self, row: Tree) -> datetime:
		"""The instant of a row; the later one where its wall time has two, the end of all time where it tells none."""
		event = read_event(row, self._context, datetime.now(timezone.utc)) if isinstance(row, dict) else None
		if event is None or event.time_quality is TimeQuality.IMPLAUSIBLE:
			return ALL_TIME.until
		if event.time_quality is TimeQuality.EXACT:
			return event.occurred_at
		wall_time = event.occurred_at.astimezone(zone_named(self._context.zone))
		return wall_time.replace(fold=1).astimezone(timezone.utc)

	async def _first_rows(self, window: Window) -> tuple[list[Tree], int]:
		"""The first rows of each kind in a window, asked for in any of the ways; and how many there are."""
		found: list[Tree] = []
		total = 0
		for code in self._codes:
			for condition in self._conditions(window, code):
				with suppress(Rejected, NotSupported):
					page = await self._endpoint.page(new_search_id(), 0, self._page_rows, condition)
					if page.rows:
						found += page.rows
						total += page.total or len(page.rows)
						break
		return found, total

	@property
	def _page_rows(self) -> int:
		return (self._limits or Limits()).rows

	# Reading

	async def _read_range(
		self, wanted: Range, window: Window, progress: Progress, recorded: datetime | None
	) -> AsyncIterator[HistoryPage]:
		if wanted.first_serial is not None and self._codes == (ANYTHING,):
			numbers = Numbers(wanted.first_serial, wanted.last_serial)
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
		if self._all_codes and not progress.doubts:
			doubt = await self._doubt_of_beginning(window, progress.limit, recorded)
			progress.doubts += [doubt] if doubt else []

	async def _read_window(
		self, window: Window, progress: Progress, repeat: timedelta | None = None
	) -> AsyncIterator[HistoryPage]:
		for code in self._codes:
			async for page in self._read_code(window, code, progress, repeat):
				yield page
		yield progress.milestone(window.until)

	async def _read_code(
		self, window: Window, code: Code, progress: Progress, repeat: timedelta | None
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
		return WindowReading(self._endpoint, self._settings, self._page_rows, limit, rows, conditions)

	def _prefer(self, condition: Condition, window: Window) -> None:
		"""The way in which rows were found is the only one from now on."""
		if condition != self._conditions(window, condition.code)[0]:
			self._texts = self._texts[1:]

	async def _read_numbers(
		self, numbers: Numbers, window: Window, progress: Progress
	) -> AsyncIterator[HistoryPage]:
		"""Ask for numbers within the time, and then whatever the time: a clock may have been set in between."""
		for where in (window, ALL_TIME) if numbers.are_bounded else (window,):
			rows = RowReader(self._context, where, progress.told)
			condition = self._conditions(where, ANYTHING, numbers.asked)[0]
			search = Search(self._endpoint, condition, self._page_rows, self._settings.max_rows)
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

	async def _read_repeated_hour(self, hour: RepeatedHour, progress: Progress) -> AsyncIterator[HistoryPage]:
		"""Both passes of the hour; where rows tell no offset, the window in which they were found dates them.

		A device that looks at the wall time alone gives the same rows twice: then their order must tell the passes.
		"""
		first = await self._collect(hour.first, hour.amount, progress)
		second = await self._collect(hour.second, hour.amount, progress)
		events = [*first.events, *second.events]
		progress.absorb(first.progress)
		if await self._is_same_hour(hour, first, second):
			events = dated_by_order(first.events, hour.amount)
			progress.doubts += second.progress.doubts
		else:
			progress.absorb(second.progress)
		new = [event for event in events if key_of(event) not in progress.told]
		progress.told.update(key_of(event) for event in new)
		for start in range(0, len(new), PAGE_OF_EVENTS):
			yield progress.page(tuple(new[start : start + PAGE_OF_EVENTS]), 0, 0)
		yield progress.milestone(hour.second.until)

	async def _collect(self, window: Window, repeat: timedelta, progress: Progress) -> Pass:
		found = Pass(Progress(progress.limit, window.until))
		async for page in self._read_window(window, found.progress, repeat):
			found.events += page.events
		return found

	async def _is_same_hour(self, hour: RepeatedHour, first: Pass, second: Pass) -> bool:
		if not first.is_retold_by(second):
			return False
		if self._codes != (ANYTHING,):
			return True
		whole = self._conditions(Window(hour.first.since, hour.second.until), ANYTHING)[0]
		return await self._endpoint.count(whole) != first.progress.rows + second.progress.rows
