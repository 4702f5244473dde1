"""Names for a set of check-ins from the series that HRMS names them by, without making anybody wait.

The counter of a series stays locked from the first name that a transaction takes until it ends. So a set takes its
names beforehand, all at once, in a transaction that does nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import frappe
from frappe.model.naming import getseries, parse_naming_series

CHECKIN = "Employee Checkin"
DATE_PARTS = frozenset({"YY", "YYYY", "MM", "DD", "WW"})


@dataclass(frozen=True, slots=True)
class SeriesAt:
	"""A naming series at a moment. key: of its counter in tabSeries; digits: at least so many in the number."""

	key: str
	digits: int
	suffix: str = ""

	def name(self, number: int) -> str:
		return f"{self.key}{number:0{self.digits}d}{self.suffix}"


def is_plain_series(autoname: str) -> bool:
	"""Whether names are made of a counter, fixed text and today's date alone, so that they need no document."""
	parts = [part for part in autoname.split(".") if part]
	meta, parsers = frappe.get_meta(CHECKIN), frappe.get_hooks("naming_series_variables", {})
	plain = all(
		part in DATE_PARTS
		or part.startswith("#")
		or not (part == "timestamp" or "{" in part or part in parsers or part in meta.get_valid_columns())
		for part in parts
	)
	return ":" not in autoname and plain and sum(part.startswith("#") for part in parts) == 1


def series_now() -> SeriesAt:
	"""The series of Employee Checkin as its next name would be made now."""
	given: list[tuple[str, int]] = []

	def counter(key: str, digits: int) -> str:
		given.append((key, digits))
		return ""

	text = parse_naming_series(frappe.get_meta(CHECKIN).autoname, number_generator=counter)
	[(key, digits)] = given
	return SeriesAt(key, digits, text[len(key) :])


def reserve_names(count: int) -> list[str]:
	"""So many names that nobody else gets, in order; committed at once, so call it outside of any transaction.

	A name that is not used leaves a hole in the series, as every check-in that HRMS refuses after naming it may.
	"""
	if not count:
		return []
	series = series_now()
	last = _advance(series.key, count) or _begin(series, count)
	frappe.db.commit()  # nosemgrep: the counter must not stay locked while the set is written
	return [series.name(number) for number in range(last - count + 1, last + 1)]


def _advance(key: str, count: int) -> int:
	"""The counter after it moved on, its row locked from here; 0 when there is no such counter yet."""
	series = frappe.qb.DocType("Series")
	frappe.qb.update(series).set(series.current, series.current + count).where(series.name == key).run()
	rows = frappe.qb.from_(series).select(series.current).where(series.name == key).run()
	return rows[0][0] if rows else 0


def _begin(series: SeriesAt, count: int) -> int:
	"""The first names of a month: Frappe makes the counter."""
	first = int(getseries(series.key, series.digits))
	return _advance(series.key, count - 1) if count > 1 else first
