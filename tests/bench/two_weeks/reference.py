"""What HRMS itself makes of the truth when everything is told at once, by its own documents and nothing of ours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import frappe

from tests.bench.factories import clear_test_data
from tests.bench.two_weeks import hr
from tests.bench.two_weeks.calendar import DAYS, END, START, wall
from tests.bench.two_weeks.truth import SHIFTS, Shift, Truth


def attendance_of_perfect_delivery(
	punches: Iterable[tuple[int, datetime, bool]], truth: Truth, clock: Any
) -> hr.Attendances:
	"""The attendance of a second staff, whose check-ins are all there before HRMS looks.

	punches: (person, UTC instant as the terminals showed it, whether out). Leaves no documents behind.
	"""
	clock.move_to(START)
	staff = hr.hire("Reference", truth)
	clock.move_to(END)
	for person, moment, out in punches:
		_insert_checkin(staff.employees[person], moment, out)
	frappe.db.commit()
	for moment, shift in sorted((_closes(shift, day), shift.name) for day in DAYS for shift in SHIFTS):
		_process_until(staff.shifts[shift], moment)
	for shift in SHIFTS:
		_process_until(staff.shifts[shift.name], wall(END))
	made = hr.attendance_of(staff)
	clear_test_data()
	hr.dismiss()
	return made


def _insert_checkin(employee: str, moment: datetime, out: bool) -> None:
	frappe.get_doc(
		{
			"doctype": "Employee Checkin",
			"employee": employee,
			"time": wall(moment),
			"log_type": "OUT" if out else "IN",
		}
	).insert()


def _closes(shift: Shift, day: Any) -> datetime:
	"""When the last check-out of the shift of that day is taken, on the wall."""
	after = timedelta(minutes=shift.rules.get("allow_check_out_after_shift_end_time", 60))
	return wall(shift.ends(day)) + after + timedelta(minutes=1)


def _process_until(name: str, moment: datetime) -> None:
	frappe.db.set_value("Shift Type", name, "last_sync_of_checkin", moment)
	frappe.get_doc("Shift Type", name).process_auto_attendance()
	frappe.db.commit()
