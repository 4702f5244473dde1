"""``AcsEvent``: searching the stored records page by page."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hikvision_frappe.simulator.answers import SubStatus, json_answer, json_status
from hikvision_frappe.simulator.http import Response
from hikvision_frappe.simulator.records import SimulatedRecord
from hikvision_frappe.simulator.state import DeviceState

_MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d)?$")
_SEARCHES_KEPT = 8
_HIGHEST_SERIAL = 3_000_000_000


class Refused(ValueError):
	"""The condition is not acceptable; carries the answer."""

	def __init__(self, sub: SubStatus, message: str) -> None:
		super().__init__(message)
		self.answer = json_status(sub, 400, message)


@dataclass(frozen=True, slots=True)
class _Condition:
	"""What rows must fulfil; instants are aware, serials inclusive."""

	major: int
	minor: int
	start: datetime | None
	end: datetime | None
	person: str
	card: str
	serials: tuple[int, int] | None
	newest_first: bool

	def takes(self, record: SimulatedRecord) -> bool:
		return (
			self.major in (0, record.major)
			and self.minor in (0, record.minor)
			and (self.start is None or record.instant >= self.start)
			and (self.end is None or record.instant <= self.end)
			and self.person in ("", record.person)
			and self.card in ("", record.card)
			and (self.serials is None or self.serials[0] <= record.serial_no <= self.serials[1])
		)


class History:
	"""Answers searches of one device; the result of a search is fixed when its first page is asked for."""

	def __init__(self, state: DeviceState) -> None:
		self._state = state
		self._found: OrderedDict[tuple[str, _Condition], list[SimulatedRecord]] = OrderedDict()

	def search(self, body: bytes) -> Response:
		"""One page; rows are ordered by time, as the devices do."""
		try:
			asked = _root(body, "AcsEventCond")
			condition = self._condition(asked)
			position = _integer(asked, "searchResultPosition", 0)
			wanted = _integer(asked, "maxResults", 30)
		except Refused as refusal:
			return refusal.answer
		search_id = str(asked.get("searchID", ""))
		found = self._result(search_id, condition, position)
		cap = self._state.faults.next_page_cap(self._state.profile.history.page)
		rows = found[position : position + max(0, min(wanted, cap))]
		return self._page(search_id, rows, position, len(found))

	def capabilities(self) -> Response:
		"""The limits of a search."""
		history = self._state.profile.history
		condition = {
			"searchID": {"@min": 1, "@max": 64},
			"searchResultPosition": {"@min": 0, "@max": self._state.profile.log_capacity},
			"maxResults": {"@min": 1, "@max": history.page},
			"major": {"@opt": "0,1,2,3,5" if history.major_zero else "1,2,3,5"},
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
		total = sum(condition.takes(record) for record in self._state.log.stored())
		return json_answer({"AcsEventTotalNum": {"totalNum": total + self._state.faults.total_error}})

	def _result(self, search_id: str, condition: _Condition, position: int) -> list[SimulatedRecord]:
		key = (search_id, condition)
		if position == 0 or key not in self._found:
			rows = [record for record in self._state.log.stored() if condition.takes(record)]
			self._found[key] = sorted(rows, key=lambda row: row.instant, reverse=condition.newest_first)
			while len(self._found) > _SEARCHES_KEPT:
				self._found.popitem(last=False)
		return self._found[key]

	def _page(self, search_id: str, rows: list[SimulatedRecord], position: int, found: int) -> Response:
		more = position + len(rows) < found
		answer: dict[str, Any] = {
			"searchID": search_id,
			"responseStatusStrg": "NO MATCH" if not rows else "MORE" if more else "OK",
			"numOfMatches": len(rows),
			"totalMatches": max(0, found + (self._state.faults.total_error if found else 0)),
		}
		if rows:
			answer["InfoList"] = [self._state.writer.history_row(row) for row in rows]
		return json_answer({"AcsEvent": answer})

	def _condition(self, asked: Mapping[str, Any]) -> _Condition:
		history = self._state.profile.history
		for name in ("major", "minor"):
			if name not in asked:
				raise Refused(SubStatus.PARAMETERS_LACK, name)
		major = _integer(asked, "major", 0)
		if major == 0 and not history.major_zero:
			raise Refused(SubStatus.BAD_JSON_CONTENT, "major")
		return _Condition(
			major,
			_integer(asked, "minor", 0),
			self._moment(asked, "startTime"),
			self._moment(asked, "endTime"),
			str(asked.get("employeeNoString", "")),
			str(asked.get("cardNo", "")),
			_serials(asked, history.serial_pair),
			bool(asked.get("timeReverseOrder", False)),
		)

	def _moment(self, asked: Mapping[str, Any], name: str) -> datetime | None:
		"""An instant of the condition, in the device's zone when it has no offset; no fraction, no ``Z``."""
		text = asked.get(name)
		if text is None:
			return None
		if not _MOMENT.match(str(text)):
			raise Refused(SubStatus.BAD_JSON_CONTENT, name)
		try:
			moment = datetime.fromisoformat(str(text))
		except ValueError as error:
			raise Refused(SubStatus.BAD_JSON_CONTENT, name) from error
		return moment if moment.tzinfo else moment.replace(tzinfo=self._state.clock.zone)


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


def _serials(asked: Mapping[str, Any], must_be_a_pair: bool) -> tuple[int, int] | None:
	names = ("beginSerialNo", "endSerialNo")
	if not any(name in asked for name in names):
		return None
	if must_be_a_pair:
		for name in names:
			if not 0 < _integer(asked, name, 0) <= _HIGHEST_SERIAL:
				raise Refused(SubStatus.BAD_JSON_CONTENT, name)
	return _integer(asked, names[0], 1), _integer(asked, names[1], _HIGHEST_SERIAL)
