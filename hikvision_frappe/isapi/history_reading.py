"""Reading one window of a device's history until it is proven complete, or clear why it cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum

from hikvision_frappe.core.event import AccessEvent, TimeQuality
from hikvision_frappe.isapi.documents import Tree
from hikvision_frappe.isapi.errors import NotSupported, Rejected, SearchTooWide
from hikvision_frappe.isapi.history_pages import (
	ANYTHING,
	Condition,
	Endpoint,
	HistorySettings,
	Page,
	Search,
	new_search_id,
)
from hikvision_frappe.isapi.history_windows import Window
from hikvision_frappe.isapi.parsing import ParseContext, read_event

Key = tuple[object, ...]
# Searches that are cut off reach a thousand rows or more; fewer are a total that lies.
LEAST_LIMIT = 100


class Unproven(str, Enum):
	"""Why a reading is not proven complete; sentences fit to be shown."""

	UNFINISHED = "The reading did not come to its end."
	TOTALS_DIFFER = "The device counts another number of records than it gives."
	TOTALS_CHANGED = "The device's totals changed during each attempt to read."
	NO_TOTALS = "The device tells no totals to compare with."
	TOO_FULL = "A single second holds more records than the device gives in one search."
	UNREADABLE_ROWS = "Some of the device's records cannot be read."
	REPEATED_ROWS = "The device gives the same records again instead of the next ones."
	ENDS_EARLY = "The device refuses to give the rest of its records."
	ENDLESS = "The device's answers do not come to an end."
	CODES_REFUSED = "The device does not tell every kind of record."
	EMPTIED = "The device holds no record at all: its log was cleared, or it keeps none."
	BEGINS_LATER = "The device's records begin within the range: earlier ones may be overwritten or deleted."


@dataclass(slots=True)
class Limit:
	"""How many rows a search reaches: told by the device, or learned from a search that reached no further."""

	rows: int | None = None

	def learn(self, rows: int) -> bool:
		"""Take a limit from a search that ended too early; False if it is too low for one, or others reach further."""
		if rows < LEAST_LIMIT or (self.rows is not None and rows < self.rows):
			return False
		self.rows = rows
		return True

	def cuts_off(self, total: int | None) -> bool:
		return self.rows is not None and total is not None and total >= self.rows


@dataclass(slots=True)
class RowReader:
	"""Events out of the rows of one window, numbered among their equals over all of its pages.

	told: keys of the events given already in this reading, so that none is given twice. repeat: how much later the
	second pass of a repeated hour is, when the window is one of the two.
	"""

	context: ParseContext
	window: Window
	told: set[Key]
	repeat: timedelta | None = None
	unreadable: int = 0
	numbers: set[int] = field(default_factory=set)
	unnumbered: int = 0
	latest: datetime | None = None
	ascending: bool | None = None
	_equals: Counter[Key] = field(default_factory=Counter)

	def begin(self) -> None:
		"""The window is read from its beginning."""
		self.unreadable = self.unnumbered = 0
		self.numbers.clear()
		self._equals.clear()
		self.latest = self.ascending = None

	def read(self, rows: Sequence[Tree]) -> tuple[AccessEvent, ...]:
		"""The events not given before; rows that are none are counted."""
		received_at = datetime.now(timezone.utc)
		events = []
		for row in rows:
			event = read_event(row, self.context, received_at) if isinstance(row, dict) else None
			if event is None or _is_undated(event):
				self.unreadable += 1
				continue
			event, key = self._identified(event)
			if key not in self.told:
				self.told.add(key)
				events.append(event)
		return tuple(events)

	@property
	def progress(self) -> datetime:
		"""Everything before this instant is read, provided that the rows come ordered by time."""
		if not self.ascending or self.latest is None:
			return self.window.since
		return min(max(self.latest, self.window.since), self.window.until)

	@property
	def is_without_holes(self) -> bool:
		"""Whether all rows are numbered, and no number between them is missing."""
		if not self.numbers or self.unnumbered or self.unreadable:
			return False
		return max(self.numbers) - min(self.numbers) + 1 == len(self.numbers)

	def _identified(self, event: AccessEvent) -> tuple[AccessEvent, Key]:
		if self.repeat is not None and event.time_quality is TimeQuality.ZONE_ASSUMED:
			event = _moved_into(self.window, event, self.repeat)
		self._follow(event)
		key = key_of(event)
		if event.serial_no is not None:
			self.numbers.add(event.serial_no)
			return event, key
		self.unnumbered += 1
		ordinal = self._equals[key]
		self._equals[key] += 1
		return (event.retold(ordinal=ordinal), (*key[:-1], ordinal)) if ordinal else (event, key)

	def _follow(self, event: AccessEvent) -> None:
		"""Watch the order of the rows: it is known once two instants differ."""
		if event.time_quality is TimeQuality.IMPLAUSIBLE:
			return
		if self.latest is not None and event.occurred_at != self.latest and self.ascending is not False:
			self.ascending = event.occurred_at > self.latest
		self.latest = event.occurred_at


def key_of(event: AccessEvent) -> Key:
	"""What tells an event from the others of one reading."""
	if event.serial_no is not None:
		return (event.serial_no, event.occurred_text)
	second = event.occurred_at.replace(microsecond=0)
	return (second, event.major, event.minor, event.person, event.card_no, event.ordinal)


def _is_undated(event: AccessEvent) -> bool:
	"""A row without number and readable time has no identity: it would be another one at each reading."""
	return event.serial_no is None and event.occurred_at == event.received_at


def _moved_into(window: Window, event: AccessEvent, repeat: timedelta) -> AccessEvent:
	for shift in (timedelta(), repeat, -repeat):
		if window.holds(event.occurred_at + shift):
			return event.retold(occurred_at=event.occurred_at + shift) if shift else event
	return event


class WindowReading:
	"""One window and one kind of code, read until proven, or a few times.

	conditions: the ways to ask for it; the second one is tried when the first finds nothing, or is rejected. After ``pages``: split: it holds
	more than a search gives, and must be read in halves; what it gave stays given. doubt: why it is not proven. rows,
	total: of the last attempt. condition: the way in which rows were found.

	Proof is the agreement of two figures that the device makes in different ways, with nothing seen against it: the
	rows received (the search came to its own end, no row was repeated or unreadable, every page told the same total)
	and its count of them (AcsEventTotalNum), asked for afterwards. Where it does not count, the total of the search
	stands in. Where its count is another but the total of the search agrees, the serial numbers must be without a
	hole. One figure alone proves nothing.
	"""

	def __init__(
		self,
		endpoint: Endpoint,
		settings: HistorySettings,
		page_rows: int,
		limit: Limit,
		rows: RowReader,
		conditions: Sequence[Condition],
	) -> None:
		self._endpoint = endpoint
		self._settings = settings
		self._page_rows = page_rows
		self._limit = limit
		self._conditions = list(conditions)
		self._search = self._new_search()
		self.reader = rows
		self.split = False
		self.doubt: Unproven | None = Unproven.UNFINISHED
		self.count: int | None = None

	@property
	def window(self) -> Window:
		return self.reader.window

	@property
	def condition(self) -> Condition:
		return self._conditions[0]

	@property
	def rows(self) -> int:
		return self._search.rows

	@property
	def total(self) -> int | None:
		return self._search.total if self.count is None else self.count

	async def pages(self) -> AsyncIterator[tuple[AccessEvent, ...]]:
		"""The events of each page that were not given before; again and again until the totals stand still."""
		for _ in range(self._settings.attempts):
			async for events in self._attempt():
				yield events
			if self.split or not await self._is_worth_another():
				return

	async def _attempt(self) -> AsyncIterator[tuple[AccessEvent, ...]]:
		self._search = self._new_search()
		self.reader.begin()
		try:
			async for rows in self._search.pages():
				if self._is_divisible and self._limit.cuts_off(self._search.total):
					self.split = True
					return
				yield self.reader.read(rows)
		except SearchTooWide:
			self.split = self._is_divisible
			if not self.split:
				raise
		except Rejected:
			if len(self._conditions) == 1:
				raise
			del self._conditions[0]
			self.doubt = Unproven.UNFINISHED
			return
		if not self.split:
			await self._conclude()

	def _new_search(self) -> Search:
		return Search(self._endpoint, self.condition, self._page_rows, self._settings.max_rows)

	@property
	def _is_divisible(self) -> bool:
		return self.window.seconds > 1

	async def _conclude(self) -> None:
		search = self._search
		self.count = await self._endpoint.count(self.condition)
		cut_off = self._was_cut_off()
		if cut_off and self._is_divisible:
			self.split = True
		elif cut_off or self._limit.cuts_off(search.total):
			self.doubt = Unproven.TOO_FULL
		else:
			self.doubt = self._doubt()

	def _was_cut_off(self) -> bool:
		"""Whether the search reached only a part: it was refused the rest, or the count is larger than its total."""
		search = self._search
		if search.reach is not None:
			return self._limit.learn(search.reach)
		if not search.ended or not search.steady or search.repeated:
			return False
		if self._limit.cuts_off(search.rows):
			return True
		if self.count is None:
			return False
		return search.rows == search.total and self.count > search.rows and self._limit.learn(search.rows)

	def _doubt(self) -> Unproven | None:
		search = self._search
		if search.repeated:
			return Unproven.REPEATED_ROWS
		if not search.ended:
			return Unproven.ENDS_EARLY
		if not search.steady:
			return Unproven.TOTALS_CHANGED
		if search.total is None and self.count is None:
			return Unproven.NO_TOTALS
		if not self._totals_agree():
			return Unproven.TOTALS_DIFFER
		return Unproven.UNREADABLE_ROWS if self.reader.unreadable else None

	def _totals_agree(self) -> bool:
		search = self._search
		if self.count == search.rows:
			return True
		return self.count is None and search.total == search.rows

	def _numbers_agree(self) -> bool:
		"""Whether the total of the search is confirmed by the numbers, where the count is another."""
		only_this = self.condition.code == ANYTHING and self.reader.is_without_holes
		return only_this and self._search.total == self._search.rows

	async def _is_worth_another(self) -> bool:
		"""Whether to read again: the device was changing while it was read, or can be asked in another way."""
		if not self.rows and len(self._conditions) > 1:
			return await self._finds_otherwise()
		if self.doubt in (Unproven.UNFINISHED, Unproven.REPEATED_ROWS, Unproven.TOTALS_CHANGED):
			return True
		if self.doubt is not Unproven.TOTALS_DIFFER:
			return False
		if (await self._first_page(self.condition)).total != self._search.total:
			return True
		if self._numbers_agree():
			self.doubt = None
		return False

	async def _finds_otherwise(self) -> bool:
		"""Whether the next way to ask finds rows of this window; then it is the way from now on."""
		try:
			page = await self._first_page(self._conditions[1])
		except (Rejected, NotSupported):
			return False
		reader = self.reader
		events = RowReader(reader.context, reader.window, set(), reader.repeat).read(page.rows)
		if not events or not all(self.window.holds(event.occurred_at) for event in events):
			return False
		del self._conditions[0]
		return True

	async def _first_page(self, condition: Condition) -> Page:
		return await self._endpoint.page(new_search_id(), 0, self._page_rows, condition)
