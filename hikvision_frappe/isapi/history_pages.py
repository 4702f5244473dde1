"""One search in a device's history: its conditions, its pages, and how it came to its end.

A page has as many rows as the device likes, whatever was asked for, and the next one begins after the rows that were
*received*. The device's own figure of rows per page (numOfMatches) is not looked at: it lies.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import orjson

from hikvision_frappe.isapi.client import DeviceClient
from hikvision_frappe.isapi.documents import MalformedDocument, Tree, read_document, read_plain_json
from hikvision_frappe.isapi.errors import (
	BadAnswer,
	DeviceBusy,
	NotPermitted,
	NotSupported,
	Rejected,
	SearchTooWide,
	TryAgain,
)

SEARCH = "/ISAPI/AccessControl/AcsEvent?format=json"
SEARCH_LIMITS = "/ISAPI/AccessControl/AcsEvent/capabilities?format=json"
COUNT = "/ISAPI/AccessControl/AcsEventTotalNum?format=json"
STORAGE = "/ISAPI/AccessControl/AcsEvent/StorageCfg?format=json"

# Every device seen gives 30 rows or fewer, and some reject a wish for more.
PAGE_ROWS = 30
# Devices accept this as the end of an open range of serial numbers, and reject 2**32 - 1.
LAST_SERIAL = 999_999_999
# How far the rows may exceed the total that the device tells, before it is a circle.
OVERRUN_ROWS = 10_000
MAX_STALLS = 3
MAX_MINORS = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HistorySettings:
	"""Bounds of one reading.

	max_requests, max_rows: of a whole reading. attempts: how often a window is read again because its totals changed
	meanwhile. retries: of one request that failed for a passing reason; retry_seconds: pause before the first, then
	doubled, with jitter.
	"""

	max_requests: int = 100_000
	max_rows: int = 2_000_000
	attempts: int = 3
	retries: int = 2
	retry_seconds: float = 0.5


class Code(NamedTuple):
	"""What to ask for; 0 means any."""

	major: int
	minor: int


ANYTHING = Code(0, 0)


@dataclass(frozen=True, slots=True)
class Condition:
	"""What rows must fulfil. since, until: as the device writes instants. serials: first and last, inclusive."""

	code: Code
	since: str
	until: str
	serials: tuple[int, int] | None = None

	def fields(self) -> dict[str, Any]:
		fields: dict[str, Any] = {
			"major": self.code.major,
			"minor": self.code.minor,
			"startTime": self.since,
			"endTime": self.until,
			"picEnable": False,
		}
		if self.serials is not None:
			fields["beginSerialNo"], fields["endSerialNo"] = self.serials
		return fields


@dataclass(frozen=True, slots=True)
class Limits:
	"""What a device says of its searches. rows: per page. positions: how many rows a search can reach, if told.

	minors: the minor codes of major 5 that it can be asked for.
	"""

	rows: int = PAGE_ROWS
	positions: int | None = None
	minors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
	"""One answer. rows: as they came, mappings or not. last: whether the device says that there are no more."""

	rows: tuple[Tree, ...]
	total: int | None
	last: bool | None


class TooMuch(Exception):
	"""A bound of the reading is reached: the device's answers do not end."""


class Endpoint:
	"""Asks a device for pages and counts; counts the requests, and repeats those that failed for a passing reason."""

	def __init__(self, client: DeviceClient, settings: HistorySettings) -> None:
		self._client = client
		self._settings = settings
		self._requests = 0
		self._counts = True  # whether the device is known to count

	def begin(self) -> None:
		"""A new reading has its own bounds."""
		self._requests = 0

	async def page(self, search_id: str, position: int, rows: int, condition: Condition) -> Page:
		wish = {"searchID": search_id, "searchResultPosition": position, "maxResults": rows}
		body = orjson.dumps({"AcsEventCond": {**wish, **condition.fields()}})

		async def ask() -> Page:
			return read_page(await self._client.request("POST", SEARCH, body))

		return await self._patiently(ask)

	async def count(self, condition: Condition) -> int | None:
		"""How many rows the device says it has; None when it does not count, or cannot now."""
		if not self._counts:
			return None
		body = orjson.dumps({"AcsEventTotalNumCond": condition.fields()})

		async def ask() -> int | None:
			return _read_count(await self._client.request("POST", COUNT, body))

		try:
			return await self._patiently(ask)
		except NotSupported:
			self._counts = False
		except (Rejected, NotPermitted, BadAnswer, DeviceBusy):
			pass
		return None

	async def limits(self) -> Limits:
		"""Raises IsapiError."""
		return read_limits(await self._patiently(lambda: self._client.request("GET", SEARCH_LIMITS)))

	async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
		for attempt in range(self._settings.retries):
			self._spend()
			try:
				return await ask()
			except SearchTooWide:
				raise
			except TryAgain:
				await asyncio.sleep(self._settings.retry_seconds * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
		self._spend()
		return await ask()

	def _spend(self) -> None:
		self._requests += 1
		if self._requests > self._settings.max_requests:
			raise TooMuch


class Search:
	"""One search with an identifier of its own; iterate ``pages``, then read how it ended.

	rows: received. total: told with the first page. steady: every page told the same total. ended: the device came to
	the end of it by its own word. repeated: it gave rows twice, so others may be missing. reach: the position that it
	refused, though more rows should follow.
	"""

	def __init__(self, endpoint: Endpoint, condition: Condition, page_rows: int, max_rows: int) -> None:
		self._endpoint = endpoint
		self._condition = condition
		self._page_rows = page_rows
		self._max_rows = max_rows
		self._id = new_search_id()
		self._seen: set[tuple[int, str]] = set()
		self._previous: tuple[Tree, ...] = ()
		self.rows = 0
		self.total: int | None = None
		self.steady = True
		self.ended = False
		self.repeated = False
		self.reach: int | None = None

	async def pages(self) -> AsyncIterator[tuple[Tree, ...]]:
		"""The rows, page by page; raises TooMuch, Rejected by the first page, and what a client does."""
		stalls = 0
		while not self.ended and stalls < MAX_STALLS:
			page = await self._next()
			if page is None:
				return
			if self._stands_still(page):
				stalls += 1
				continue
			stalls = 0
			self.rows += len(page.rows)
			self._previous = page.rows
			self._ensure_bounded()
			if page.rows or not self.rows:
				yield page.rows
			self.ended = self._is_last(page)
		self.repeated = self.repeated or stalls > 0

	async def _next(self) -> Page | None:
		"""The page after the rows received; None when the device refuses to go on."""
		try:
			page = await self._endpoint.page(self._id, self.rows, self._page_rows, self._condition)
		except Rejected:
			if not self.rows:
				raise
			self.ended = self.total is not None and self.rows >= self.total
			self.reach = None if self.ended else self.rows
			return None
		if not self.rows:
			self.total = page.total
		elif page.rows and page.total is not None and page.total != self.total:
			self.steady = False
		return page

	def _is_last(self, page: Page) -> bool:
		if not page.rows:
			return True
		expected = self.total is None or self.rows >= self.total
		return expected and page.last is True

	def _stands_still(self, page: Page) -> bool:
		"""Whether a page brings nothing new: empty though more is promised, or told before."""
		if not page.rows:
			return page.last is False
		keys = [(number, _time(row)) for row in page.rows if (number := serial_of(row)) is not None]
		if len(keys) < len(page.rows):
			return self._is_previous(page)
		new = set(keys) - self._seen
		self._seen |= new
		if new and len(new) < len(keys):
			self.repeated = True
		return not new

	def _is_previous(self, page: Page) -> bool:
		"""Whether a page of rows without numbers was told before.

		Its time goes back then. Where all is one second, equal rows may follow each other, but no more of them than
		the total, unless the device calls them its last.
		"""
		if page.rows != self._previous:
			return False
		if _time(page.rows[0]) != _time(page.rows[-1]):
			return True
		return self.total is not None and self.rows >= self.total and page.last is not True

	def _ensure_bounded(self) -> None:
		bound = self._max_rows if not self.total else min(self._max_rows, self.total + OVERRUN_ROWS)
		if self.rows > bound:
			raise TooMuch


def new_search_id() -> str:
	"""Devices keep the rows of a search under its identifier, so that none may serve twice."""
	return str(uuid.uuid4())


def serial_of(row: Tree) -> int | None:
	"""The serial number of a row; 0 is filler."""
	return _whole(row.get("serialNo")) or None if isinstance(row, dict) else None


def _time(row: Tree) -> str:
	return str(row.get("time")) if isinstance(row, dict) else ""


def read_page(body: bytes) -> Page:
	"""One answer of AcsEvent. Raises BadAnswer."""
	answer = _inside(_read(body), "AcsEvent")
	rows = answer.get("InfoList")
	status = answer.get("responseStatusStrg")
	total = _whole(answer.get("totalMatches"))
	if rows is None and status is None and total is None:
		raise BadAnswer("The device's answer to a search of its history cannot be read.")
	return Page(_as_rows(rows), total, _says_last(status))


def _as_rows(rows: Tree) -> tuple[Tree, ...]:
	"""A list; some firmwares give a single row without one, and nothing at all as null or ""."""
	if isinstance(rows, list):
		return tuple(rows)
	return (rows,) if rows else ()


def _says_last(status: Tree) -> bool | None:
	word = "".join(status.split()).upper() if isinstance(status, str) else ""
	return {"OK": True, "NOMATCH": True, "NOMATCHES": True, "MORE": False}.get(word)


def _read_count(body: bytes) -> int:
	count = _whole(_inside(_read(body), "AcsEventTotalNum").get("totalNum"))
	if count is None:
		raise BadAnswer("The device's count of its history cannot be read.")
	return count


def read_limits(body: bytes) -> Limits:
	"""The answer of AcsEvent/capabilities; defaults for whatever it does not tell."""
	try:
		answer = _inside(_read(body), "AcsEvent")
	except BadAnswer:
		return Limits()
	asked = _inside(answer, "AcsEventCond")
	limits = Limits(
		positions=_most(asked.get("searchResultPosition")), minors=_minors(asked.get("minorEvent"))
	)
	rows = _most(asked.get("maxResults"))
	return replace(limits, rows=min(rows, PAGE_ROWS)) if rows else limits


def _most(bounds: Tree) -> int | None:
	return _whole(bounds.get("@max")) or None if isinstance(bounds, dict) else None


def _minors(options: Tree) -> tuple[int, ...]:
	"""Codes from ``{"@opt": "1,9,21"}``, or from a list of them."""
	told = options.get("@opt") if isinstance(options, dict) else None
	texts = told.split(",") if isinstance(told, str) else told if isinstance(told, list) else []
	codes = {_whole(text.strip() if isinstance(text, str) else text) for text in texts}
	return tuple(sorted(code for code in codes if code))[:MAX_MINORS]


def _read(body: bytes) -> Tree:
	plain = read_plain_json(body)
	if plain is not None:
		return plain
	try:
		return read_document(body)
	except MalformedDocument:
		raise BadAnswer("The device's answer from its history cannot be read.") from None


def _inside(tree: Tree | Mapping[str, Tree], root: str) -> Mapping[str, Tree]:
	"""The mapping under a root, or the tree itself when the root is left out."""
	if not isinstance(tree, Mapping):
		raise BadAnswer("The device's answer from its history cannot be read.")
	inner = tree.get(root)
	return inner if isinstance(inner, dict) else tree


def _whole(value: Tree) -> int | None:
	if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
		value = int(value)
	return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
