"""Which shift a check-in belongs to, as HRMS finds it, from what is in memory.

HRMS asks the database again and again for one check-in: for the shift at its time, the one before and the one after.
Here assignments and default shifts of all employees of a set are read once. What a shift's window is, and which of
several shifts holds a time, is still answered by HRMS's own functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any

import frappe
from frappe.utils import getdate
from hrms.hr.doctype.shift_assignment import shift_assignment as hrms

# What is asked of HRMS; a version that lacks one of them writes no sets.
HRMS_FUNCTIONS = ("get_exact_shift", "get_shift_details", "get_shift_for_time")

DAY = timedelta(days=1)
LONGEST_SEARCH = 366  # HRMS looks at so many assignments before or after a time
# Beyond so many days from its first and last day, an assignment answers alike on every day: HRMS compares dates that
# lie few days apart.
UNLIKE_DAYS = 10


@dataclass(frozen=True, slots=True)
class Employment:
	"""What HRMS takes from the Employee. default_shift: "" when there is none."""

	name: str
	employee_name: str | None
	default_shift: str


@dataclass(frozen=True, slots=True)
class FoundShift:
	"""The shift of a check-in, in naive site time. overtime_type: what newer versions keep, else None."""

	name: str
	start: datetime
	end: datetime
	actual_start: datetime
	actual_end: datetime
	overtime_type: str | None = None


def missing_functions() -> list[str]:
	"""What this version of HRMS lacks of HRMS_FUNCTIONS."""
	return [name for name in HRMS_FUNCTIONS if not hasattr(hrms, name)]


class Direction(Enum):
	"""Where to look for the nearest shift when there is none at a time."""

	FORWARD = 1
	REVERSE = -1


def load_employments(employees: Iterable[str]) -> dict[str, Employment]:
	"""What HRMS takes from these Employees, in one query."""
	rows = frappe.get_all(
		"Employee",
		filters={"name": ["in", list(employees) or [""]]},
		fields=["name", "employee_name", "default_shift"],
	)
	return {row.name: Employment(row.name, row.employee_name, row.default_shift or "") for row in rows}


def load_shift_book(employments: Mapping[str, Employment]) -> ShiftBook:
	"""The active assignments of these employees, in one query."""
	fields = ["name", "employee", "shift_type", "start_date", "end_date"]
	if frappe.get_meta("Shift Assignment").has_field("overtime_type"):
		fields.append("overtime_type")
	rows = frappe.get_all(
		"Shift Assignment",
		filters={"employee": ["in", list(employments) or [""]], "docstatus": 1, "status": "Active"},
		fields=fields,
		order_by="name",
	)
	book = ShiftBook({name: each.default_shift for name, each in employments.items()})
	for row in rows:
		book.assignments[row.employee].append(row)
	return book


@dataclass(slots=True)
class ShiftBook:
	"""Assignments and default shifts of some employees; asked for one check-in after the other."""

	default_shifts: Mapping[str, str]
	assignments: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
	_nothing_found: set[tuple[Any, ...]] = field(default_factory=set)

	def shift_at(self, employee: str, moment: datetime) -> FoundShift | None:
		"""The shift that a check-in of the employee at a naive site time belongs to; None: off shift.

		Raises what HRMS raises, for instance where the default shift was deleted.
		"""
		current = self._at_or_near(employee, moment, Direction.FORWARD)
		after = (
			self._at_or_near(employee, current.start_datetime + DAY, Direction.FORWARD) if current else None
		)
		before_from = (current.end_datetime if current else moment) - DAY
		before = self._at_or_near(employee, before_from, Direction.REVERSE)
		if current:
			_share_margins(before, current)
			_share_margins(current, after)
		found = hrms.get_exact_shift([before, current, after], moment)
		return _found(found) if found else None

	def _at_or_near(self, employee: str, moment: datetime, direction: Direction) -> Any:
		"""The shift at a moment; without one, and without a default shift, the nearest that is assigned."""
		found = self._at(employee, moment)
		if found or self.default_shifts.get(employee):
			return found
		return self._nearest_assigned(employee, moment, direction)

	def _at(self, employee: str, moment: datetime) -> Any:
		assigned = [row for row in self.assignments.get(employee, ()) if _may_hold(row, moment.date())]
		found = hrms.get_shift_for_time(assigned, moment) if assigned else None
		return found or hrms.get_shift_details(self.default_shifts.get(employee), moment)

	def _nearest_assigned(self, employee: str, moment: datetime, direction: Direction) -> Any:
		"""The nearest day on which an assigned shift holds the same time of the day."""
		for day in self._days_assigned(employee, moment.date(), direction):
			like = (employee, moment.time(), self._likeness(employee, day))
			if like in self._nothing_found:
				continue
			if found := self._at(employee, datetime.combine(day, moment.time())):
				return found
			self._nothing_found.add(like)
		return None

	def _days_assigned(self, employee: str, today: date, direction: Direction) -> Iterator[date]:
		"""The days of the assignments that begin before or after a day, in the order in which HRMS looks."""
		forward = direction is Direction.FORWARD
		rows = [
			row
			for row in self.assignments.get(employee, ())
			if (row.start_date > today if forward else row.start_date < today)
		]
		rows.sort(key=lambda row: row.start_date, reverse=not forward)
		for row in rows[:LONGEST_SEARCH]:
			first, last = row.start_date, (row.end_date or getdate()) + DAY
			yield from _days(first, last) if forward else reversed(_days(first, min(last, today)))

	def _likeness(self, employee: str, day: date) -> tuple[Any, ...]:
		"""Equal for days on which the employee's assignments answer alike at the same time of the day."""
		return tuple(
			(
				row.name,
				_clipped((day - row.start_date).days),
				row.end_date and _clipped((row.end_date - day).days),
			)
			for row in self.assignments.get(employee, ())
			if _may_hold(row, day)
		)


def _may_hold(row: Any, day: date) -> bool:
	"""Whether the assignment's days, or the margins around its shifts, may reach into a day."""
	return row.start_date <= day + DAY and (row.end_date is None or row.end_date >= day - DAY)


def _clipped(days: int) -> int:
	return max(-UNLIKE_DAYS, min(days, UNLIKE_DAYS))


def _days(first: date, last: date) -> list[date]:
	"""From the one day to the other, both included."""
	return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _share_margins(earlier: Any, later: Any) -> None:
	"""Where the time to check out after one shift reaches into the time to check in before the next.

	No shift's margin reaches into another shift; what is left between the two belongs to the later one.
	"""
	if earlier and later:
		later.actual_start = max(later.actual_start, earlier.end_datetime)
		earlier.actual_end = min(earlier.actual_end, later.actual_start)


def _found(details: Any) -> FoundShift:
	return FoundShift(
		details.shift_type.name,
		details.start_datetime,
		details.end_datetime,
		details.actual_start,
		details.actual_end,
		details.get("overtime_type") or None,
	)
