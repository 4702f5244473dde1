"""``AcsEvent``: searching the stored records page by page."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from hikvision_frappe.simulator.answers import SubStatus, json_answer, json_status
from hikvision_frappe.simulator.clock import OffsetForm
from hikvision_frappe.simulator.http import Response
from hikvision_frappe.simulator.profile import History as HistoryStyle
from hikvision_frappe.simulator.profile import SerialFilter, WindowOffset
from hikvision_frappe.simulator.records import SimulatedRecord
from hikvision_frappe.simulator.state import DeviceState

_MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)?$")
_SEARCHES_KEPT = 8
_HIGHEST_SERIAL = 3_000_000_000
_FACTORY_ZONE = timezone(timedelta(hours=8))


class Refused(ValueError):
	"""The condition is not acceptable; carries the answer."""

	def __init__(self, sub: SubStatus, message: str) -> None:
		super().__init__(message)
		self.answer = json_status(sub, 400, message)


@dataclass(frozen=True, slots=True)
class _Condition:
	"""What rows must fulfil; serials inclusive.

	start, end: aware instants; or naive wall times of ``zone``, for a device that looks at nothing else.
	nothing: the window is one in which the device finds nothing, whatever there is.
	"""

	major: int
	minor: int
	start: datetime | None
	end: datetime | None
	person: str
	card: str
	serials: tuple[int, int] | None
	newest_first: bool
	zone: tzinfo | None = None
	nothing: bool = False

	def takes(self, record: SimulatedRecord) -> bool:
		return (
			not self.nothing
			and self.major in (0, record.major)
			and self.minor in (0, record.minor)
			and self._is_in_time(record.instant)
			and self.person in ("", record.person)
			and self.card in ("", record.card)
			and (self.serials is None or self.serials[0] <= record.serial_no <= self.serials[1])
		)

	def _is_in_time(self, instant: datetime) -> bool:
		if self.zone is not None:
			instant = instant.astimezone(self.zone).replace(tzinfo=None)
		return (self.start is None or instant >= self.start) and (self.end is None or instant <= self.end)


_SearchKey = tuple[str, _Condition]


class History:
	"""Answers searches of one device."""

	def __init__(self, state: DeviceState) -> None:
		self._state = state
		self._found: OrderedDict[_SearchKey, list[SimulatedRecord]] = OrderedDict()
		self._last_pages: OrderedDict[_SearchKey, list[SimulatedRecord]] = OrderedDict()

	def search(self, body: bytes) -> Response:
		"""One page; rows are ordered by time, as the devices do."""
		try:
			asked = _root(body, "AcsEventCond")
			condition = self._condition(asked)
			position = _integer(asked, "searchResultPosition", 0)
			wanted = _integer(asked, "maxResults", 30)
		except Refused as refusal:
			return refusal.answer
		if self._state.faults.uses_up("busy_searches"):
			return json_status(SubStatus.SEARCH_TIMEOUT, 503)
		key = (str(asked.get("searchID", "")), condition)
		found = self._result(key, position)
		if position and position >= len(found) and self._style.past_end_rejected:
			return json_status(SubStatus.BAD_PARAMETERS, 400, "searchResultPosition")
		cap = self._state.faults.next_page_cap(self._style.page)
		rows = found[position : position + max(0, min(wanted, cap))]
		rows = self._repeated(key, rows, position)
		answer = self._page(key[0], rows, position, len(found))
		answer.cut = self._state.faults.uses_up("cut_answers")
		return answer

	def capabilities(self) -> Response:
		"""The limits of a search."""
		condition = {
			"searchID": {"@min": 1, "@max": 64},
			"searchResultPosition": {"@min": 0, "@max": self._style.positions},
			"maxResults": {"@min": 1, "@max": self._style.page},
			"major": {"@opt": "0,1,2,3,5" if self._style.major_zero else "1,2,3,5"},
			"minorEvent": {"@opt": "1,9,21,22,25,38,39,75,76,150,181"},
			"startTime": {"@min": 1, "@max": 32},
			"endTime": {"@min": 1, "@max": 32},
			"timeReverseOrder": True,
		}
		return json_answer({"AcsEvent": {"AcsEventCond": condition}})

	def count(self, body: bytes) -> Response:
		"""The number of rows of a condition."""
		try:
			condition = self._condition(_root(body, "AcsEventTotalNumCond"))
		except Refused as refusal:
			return refusal.answer
		total = min(
			self._style.positions, sum(condition.takes(record) for record in self._state.log.stored())
		)
		faults = self._state.faults
		return json_answer(
			{"AcsEventTotalNum": {"totalNum": max(0, total + faults.total_error + faults.count_error)}}
		)

	@property
	def _style(self) -> HistoryStyle:
		return self._state.profile.history

	def _result(self, key: _SearchKey, position: int) -> list[SimulatedRecord]:
		if position == 0 or key not in self._found or not self._style.snapshot:
			condition = key[1]
			rows = [record for record in self._state.log.stored() if condition.takes(record)]
			newest_first = condition.newest_first or self._style.newest_first
			rows = sorted(rows, key=lambda row: row.instant, reverse=newest_first)
			_keep(self._found, key, rows[: self._style.positions])
		return self._found[key]

	def _repeated(self, key: _SearchKey, rows: list[SimulatedRecord], position: int) -> list[SimulatedRecord]:
		"""The rows of the page, or those of the page before as the faults will have it."""
		faults = self._state.faults
		before = self._last_pages.get(key, [])
		if position and (faults.uses_up("repeated_pages") or (faults.endless and not rows)):
			return before
		_keep(self._last_pages, key, rows)
		return rows

	def _page(self, search_id: str, rows: list[SimulatedRecord], position: int, found: int) -> Response:
		faults = self._state.faults
		more = faults.endless or position + len(rows) < found
		answer: dict[str, Any] = {
			"searchID": search_id,
			"responseStatusStrg": self._style.no_match if not rows else "MORE" if more else "OK",
			"numOfMatches": len(rows),
		}
		if self._style.totals:
			error = faults.total_error + faults.matches_error if found else 0
			answer["totalMatches"] = max(0, found + error)
		if rows:
			texts: list[Any] = [self._row(row) for row in rows]
			answer["InfoList"] = texts[0] if self._style.single_object and len(texts) == 1 else texts
		return json_answer({"AcsEvent": answer})

	def _row(self, record: SimulatedRecord) -> Any:
		if self._state.faults.uses_up("broken_rows"):
			return "?"
		return self._state.writer.history_row(record)

	def _condition(self, asked: Mapping[str, Any]) -> _Condition:
		for name in ("major", "minor"):
			if name not in asked:
				raise Refused(SubStatus.PARAMETERS_LACK, name)
		major, minor = _integer(asked, "major", 0), _integer(asked, "minor", 0)
		if (major == 0 and not self._style.major_zero) or (major and major not in self._style.majors):
			raise Refused(SubStatus.BAD_JSON_CONTENT, "major")
		if minor == 0 and not self._style.minor_zero:
			raise Refused(SubStatus.INVALID_OPERATION, "minor")
		start, end = self._moment(asked, "startTime"), self._moment(asked, "endTime")
		by_wall = self._style.windows is WindowOffset.IGNORED
		return _Condition(
			major,
			minor,
			self._wall(start) if by_wall else self._instant(start),
			self._wall(end) if by_wall else self._instant(end),
			str(asked.get("employeeNoString", "")),
			str(asked.get("cardNo", "")),
			self._serials(asked),
			bool(asked.get("timeReverseOrder", False)),
			self._state.clock.zone if by_wall else None,
			self._style.windows is WindowOffset.OWN_ONLY and not self._has_own_offsets(start, end),
		)

	def _moment(self, asked: Mapping[str, Any], name: str) -> datetime | None:
		"""A time of the condition, naive when it has no offset; no fraction, no ``Z``."""
		text = asked.get(name)
		if text is None:
			return None
		if not _MOMENT.match(str(text)):
			raise Refused(SubStatus.BAD_JSON_CONTENT, name)
		try:
			return datetime.fromisoformat(str(text))
		except ValueError as error:
			raise Refused(SubStatus.BAD_JSON_CONTENT, name) from error

	def _instant(self, moment: datetime | None) -> datetime | None:
		"""A device with the factory's zone takes a time with that offset for its wall time."""
		if moment is None or (moment.tzinfo and self._state.profile.wording.offset is not OffsetForm.FACTORY):
			return moment
		if moment.tzinfo:
			moment = moment.astimezone(_FACTORY_ZONE).replace(tzinfo=None)
		return moment.replace(tzinfo=self._state.clock.zone)

	def _wall(self, moment: datetime | None) -> datetime | None:
		return None if moment is None else moment.replace(tzinfo=None)

	def _has_own_offsets(self, *moments: datetime | None) -> bool:
		own = self._state.clock.now().astimezone(self._state.clock.zone).utcoffset()
		return all(moment is None or moment.utcoffset() in (None, own) for moment in moments)

	def _serials(self, asked: Mapping[str, Any]) -> tuple[int, int] | None:
		names = ("beginSerialNo", "endSerialNo")
		if not any(name in asked for name in names) or self._style.serials is SerialFilter.IGNORED:
			return None
		if self._style.serials is SerialFilter.REFUSED:
			raise Refused(SubStatus.BAD_JSON_CONTENT, names[0])
		if self._style.serial_pair:
			for name in names:
				if not 0 < _integer(asked, name, 0) <= _HIGHEST_SERIAL:
					raise Refused(SubStatus.BAD_JSON_CONTENT, name)
		return _integer(asked, names[0], 1), _integer(asked, names[1], _HIGHEST_SERIAL)


def _keep(
	kept: OrderedDict[_SearchKey, list[SimulatedRecord]], key: _SearchKey, rows: list[SimulatedRecord]
) -> None:
	kept[key] = rows
	while len(kept) > _SEARCHES_KEPT:
		kept.popitem(last=False)


def _root(body: bytes, name: str) -> Mapping[str, Any]:
	try:
		document = json.loads(body)
	except ValueError as error:
		raise Refused(SubStatus.BAD_JSON_FORMAT, "badJsonFormat") from error
	condition = document.get(name) if isinstance(document, dict) else None
	if not isinstance(condition, dict):
		raise Refused(SubStatus.PARAMETERS_LACK, name)
	return condition


def _integer(asked: Mapping[str, Any], name: str, default: int) -> int:
	value = asked.get(name, default)
	if not isinstance(value, int) or isinstance(value, bool) or value < 0:
		raise Refused(SubStatus.BAD_JSON_CONTENT, name)
	return value
