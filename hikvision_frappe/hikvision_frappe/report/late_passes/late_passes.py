"""Report: which passes came after the Attendance of their shift, and what that Attendance would say with them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import frappe
from frappe import _
from frappe.utils import getdate

from hikvision_frappe.attendance.late_passes import (
	MOST_DAYS,
	LateDay,
	LateFilters,
	in_words,
	late_days,
	result_in_words,
)
from hikvision_frappe.hikvision_frappe.report.columns import column

LONGEST_PERIOD = timedelta(days=366)
TEXTS = ("employee", "shift", "department", "device")


def execute(filters: dict[str, Any] | None = None) -> tuple[Any, ...]:
	"""Columns, rows, a sentence where there is nothing to show or too much, and the counts above the rows."""
	asked = _filters(frappe._dict(filters or {}))
	days = late_days(asked)
	return _columns(), [_row(day) for day in days], _message(days, asked), None, _summary(days)


def _filters(given: Any) -> LateFilters:
	since, until = getdate(given.from_date), getdate(given.to_date)
	if since > until:
		frappe.throw(_("The period ends before it begins."))
	if until - since > LONGEST_PERIOD:
		frappe.throw(_("Choose a period of a year at most."))
	return LateFilters(since, until, **{each: given.get(each) or "" for each in TEXTS})


def _columns() -> list[dict[str, Any]]:
	return [
		column("employee", _("Employee"), "Link", 210, options="Employee"),  # shown with the name
		column("day", _("Date"), "Date", 115),
		column("shift", _("Shift"), "Link", 120, options="Shift Type"),
		column("late", _("Late Passes"), "Data", 210),
		column("now", _("Attendance Says"), "Data", 220),
		column("becomes", _("Would Become"), "Data", 235),
		column("refusal", _("Why Not"), "Data", 420),
		column("attendance", _("Attendance"), "Link", 160, options="Attendance"),
		column("department", _("Department"), "Link", 130, options="Department"),
		column("checkin", _("First Check-in"), "Link", 190, options="Employee Checkin"),
	]


def _row(day: LateDay) -> dict[str, Any]:
	return {
		"attendance": day.attendance,
		"employee": day.employee,
		"employee_name": day.employee_name,
		"department": day.department,
		"day": day.day,
		"shift": day.shift,
		"late": ", ".join(in_words(each) for each in day.passes),
		"checkin": day.passes[0].checkin,
		"now": result_in_words(day.now),
		"becomes": result_in_words(day.becomes) if day.becomes else "",
		"refusal": day.refusal,
		"changes_status": bool(day.becomes and day.becomes.status != day.now.status),
	}


def _message(days: list[LateDay], asked: LateFilters) -> str:
	if len(days) == MOST_DAYS:
		return _("Only the newest {0} are shown. Choose a shorter period to see the others.").format(
			MOST_DAYS
		)
	if days:
		return _(
			"Choose rows, then press Cancel and Reprocess: each Attendance is made anew with all its passes."
		)
	if asked.until < date.today():
		return _("Every pass of this period is counted in its Attendance.")
	return _("Every pass so far is counted in its Attendance.")


def _summary(days: list[LateDay]) -> list[dict[str, Any]]:
	if not days:
		return []
	ready = [day for day in days if not day.refusal]
	changing = sum(day.becomes.status != day.now.status for day in ready if day.becomes)
	return [
		{"label": _("Late Passes"), "value": sum(len(day.passes) for day in days), "datatype": "Int"},
		{"label": _("Can Be Reprocessed"), "value": len(ready), "datatype": "Int", "indicator": "Green"},
		{"label": _("Status Would Change"), "value": changing, "datatype": "Int", "indicator": "Orange"},
		{"label": _("Something Stands in the Way"), "value": len(days) - len(ready), "datatype": "Int"},
	]
