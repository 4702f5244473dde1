"""HRMS's own functions for one shift of one employee. The differences between its versions end here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import frappe
from frappe.utils import flt
from hrms.hr.doctype.employee_checkin.employee_checkin import mark_attendance_and_link_log

LOG_FIELDS = (
	"name",
	"employee",
	"log_type",
	"time",
	"shift",
	"shift_start",
	"shift_end",
	"shift_actual_start",
	"shift_actual_end",
	"device_id",
)


@dataclass(frozen=True, slots=True)
class DayResult:
	"""What the check-ins of one shift amount to. in_time, out_time: naive site time. hours: worked."""

	status: str
	hours: float
	late_entry: bool
	early_exit: bool
	in_time: datetime | None
	out_time: datetime | None


def log_fields() -> list[str]:
	"""The fields of Employee Checkin that HRMS's functions read."""
	overtime = ["overtime_type"] if frappe.get_meta("Employee Checkin").has_field("overtime_type") else []
	return [*LOG_FIELDS, *overtime]


class WorkingDays:
	"""Whether HRMS makes attendance of a day for an employee: no holiday, or a shift that counts holidays too.

	HRMS is asked once for all employees who share a list of holidays: it loads the whole Employee for each.
	"""

	def __init__(self, employees: Iterable[str]) -> None:
		self._groups = _holiday_groups(list(employees))
		self._known: dict[tuple[Any, ...], bool] = {}

	def has(self, shift: Any, employee: str, day: date) -> bool:
		key = (shift.name, self._groups.get(employee, employee), day)
		if key not in self._known:
			self._known[key] = bool(shift.should_mark_attendance(employee, day))
		return self._known[key]


def _holiday_groups(employees: list[str]) -> dict[str, Any]:
	"""What decides about an employee's holidays. Version 16 assigns lists to people by documents of their own."""
	if not employees or frappe.db.exists("DocType", "Holiday List Assignment"):
		return {}
	rows = frappe.get_all("Employee", {"name": ["in", employees]}, ["name", "company", "holiday_list"])
	return {row.name: (row.company, row.holiday_list) for row in rows}


def result_of(shift: Any, logs: Sequence[Any]) -> DayResult:
	"""What HRMS makes of these logs of one employee and one shift, in order of time; nothing is written."""
	return DayResult(*shift.get_attendance(list(logs), *_thresholds(shift, logs)))


def make_attendance(shift: Any, logs: Sequence[Any]) -> Any:
	"""Submit the Attendance of these logs and link them; the document, or None when HRMS refused it.

	A refusal is written down by HRMS as a comment on every log, and the logs are marked to be skipped.
	"""
	result = result_of(shift, logs)
	arguments = [
		list(logs),
		result.status,
		logs[0].shift_start.date(),
		result.hours,
		result.late_entry,
		result.early_exit,
		result.in_time,
		result.out_time,
		shift.name,
	]
	if "overtime_type" in inspect.signature(mark_attendance_and_link_log).parameters:
		arguments.append(logs[0].get("overtime_type"))
	return mark_attendance_and_link_log(*arguments)


def _thresholds(shift: Any, logs: Sequence[Any]) -> tuple[float, ...]:
	"""Version 16 hands them in, halved on a half holiday; version 15 reads them itself."""
	if len(inspect.signature(shift.get_attendance).parameters) == 1:
		return ()
	share = 2 if shift.is_half_holiday(logs[0].employee, logs[0].shift_start.date()) else 1
	return (
		flt(shift.working_hours_threshold_for_absent) / share,
		flt(shift.working_hours_threshold_for_half_day) / share,
	)
