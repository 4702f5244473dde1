"""The HR department: employees, shifts, holidays and leaves; HRMS's own scheduler steps; the attendance they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import frappe
from frappe.utils import now

from tests.bench.factories import COMPANY, create_test_employee, create_test_shift
from tests.bench.two_weeks.calendar import DAYS, END, MONDAY, wall
from tests.bench.two_weeks.truth import PEOPLE, SHIFTS, Person, Shift, Truth


@dataclass(frozen=True)
class AttendanceRow:
	"""What HRMS says of one person and day; ``shift`` without the set's prefix."""

	status: str
	shift: str
	in_time: datetime | None
	out_time: datetime | None
	working_hours: float
	late_entry: bool
	early_exit: bool


Attendances = Mapping[tuple[int, date], AttendanceRow]


@dataclass
class Staff:
	"""One set of employees with shifts of its own. employees: names by person number."""

	prefix: str
	employees: dict[int, str] = field(default_factory=dict)
	shifts: dict[str, str] = field(default_factory=dict)

	@property
	def numbers(self) -> dict[str, int]:
		return {name: number for number, name in self.employees.items()}


def hire(prefix: str, truth: Truth, people: Iterable[Person] = PEOPLE, **shift_values: Any) -> Staff:
	"""Shift Types, holiday lists, employees, assignments and leaves. Committed."""
	staff = Staff(f"HIK-TEST-{prefix} ")
	for shift in SHIFTS:
		staff.shifts[shift.name] = _make_shift(staff.prefix, shift, shift_values)
	for person in people:
		staff.employees[person.number] = _make_employee(staff, person)
	for number, day in sorted(truth.leaves):
		if number in staff.employees:
			_grant_leave(staff.employees[number], day)
	frappe.db.commit()
	return staff


def _make_shift(prefix: str, shift: Shift, values: Mapping[str, Any]) -> str:
	name = prefix + shift.name
	frappe.get_doc(
		{
			"doctype": "Holiday List",
			"holiday_list_name": name,
			"from_date": MONDAY - timedelta(days=365),
			"to_date": MONDAY + timedelta(days=365),
			"holidays": [{"holiday_date": day, "description": "free"} for day in shift.holidays],
		}
	).insert()
	return create_test_shift(
		name,
		start_time=shift.start.isoformat(),
		end_time=shift.end.isoformat(),
		holiday_list=name,
		process_attendance_after=MONDAY,
		**{**shift.rules, **values},
	).name


def _make_employee(staff: Staff, person: Person) -> str:
	first, second = (staff.shifts[shift.name] for shift in person.shifts)
	employee = create_test_employee(default_shift=None if person.assigned else first)
	if not person.assigned:
		return employee
	if first == second:
		_assign(employee, first, DAYS[0] - timedelta(days=7), None)
	else:
		_assign(employee, first, DAYS[0], DAYS[6])
		_assign(employee, second, DAYS[7], DAYS[13])
	return employee


def _assign(employee: str, shift: str, first: date, last: date | None) -> None:
	row = {
		"name": f"{employee}-{first:%m%d}",
		"employee": employee,
		"shift_type": shift,
		"company": COMPANY,
		"status": "Active",
		"docstatus": 1,
		"start_date": first,
		"end_date": last,
		"creation": now(),
		"modified": now(),
		"owner": "Administrator",
		"modified_by": "Administrator",
	}
	frappe.db.bulk_insert("Shift Assignment", list(row), [tuple(row.values())])


def _grant_leave(employee: str, day: date) -> None:
	"""What a submitted Leave Application leaves behind."""
	frappe.get_doc(
		{
			"doctype": "Attendance",
			"employee": employee,
			"attendance_date": day,
			"status": "On Leave",
			"leave_type": "Leave Without Pay",
			"company": COMPANY,
		}
	).submit()


class HourlyJobs:
	"""HRMS's hourly_long events in the order of its hooks, as a fresh background job runs them.

	Counting a shift again does nothing while no check-in waits for it and its Last Sync of Checkin has passed no end of
	a shift since. Most hours are like that, and HRMS takes long to find it out: such runs are left out. Every Monday,
	and at the end, all shifts are counted, whatever we think of it.
	"""

	def __init__(self, staff: Staff) -> None:
		self.staff = staff
		self._counted: dict[str, int] = {}

	def run(self, now: datetime) -> None:
		"""now: UTC."""
		from hrms.hr.doctype.shift_type.shift_type import (
			process_auto_attendance_for_all_shifts,
			update_last_sync_of_checkin,
		)

		frappe.db.rollback()
		frappe.local.cache.clear()
		frappe.db.value_cache.clear()
		update_last_sync_of_checkin()
		if now == END or wall(now).isoweekday() == 1 and wall(now).hour == 0:
			process_auto_attendance_for_all_shifts()
		else:
			for shift in self._with_news():
				frappe.get_cached_doc("Shift Type", shift).process_auto_attendance()
		frappe.db.commit()
		frappe.local.message_log = []

	def _with_news(self) -> list[str]:
		"""The shifts of which HRMS may have something to count now."""
		late = set(frappe.db.sql_list(CHECKINS_TO_COUNT))
		found = []
		for shift in SHIFTS:
			name = self.staff.shifts[shift.name]
			passed = _ends_passed(shift, frappe.get_cached_doc("Shift Type", name).last_sync_of_checkin)
			if name in late or passed != self._counted.get(name):
				found.append(name)
			self._counted[name] = passed
		return found


CHECKINS_TO_COUNT = """
	select distinct checkin.shift from `tabEmployee Checkin` checkin
	join `tabShift Type` shift on shift.name = checkin.shift
	where checkin.attendance is null and checkin.skip_auto_attendance = 0 and checkin.offshift = 0
	and checkin.shift_actual_end < shift.last_sync_of_checkin
"""


def _ends_passed(shift: Shift, last_sync: datetime | None) -> int:
	"""How many times the last check-out of the shift was due by then."""
	if last_sync is None:
		return 0
	after = timedelta(minutes=shift.rules.get("allow_check_out_after_shift_end_time", 60))
	days = [*DAYS, DAYS[-1] + timedelta(days=1)]
	return sum(wall(shift.ends(day) + after) < last_sync for day in days)


def attendance_of(staff: Staff) -> dict[tuple[int, date], AttendanceRow]:
	"""Submitted attendance of the two weeks by person and day."""
	frappe.db.rollback()
	rows = frappe.get_all(
		"Attendance",
		filters={
			"employee": ["in", list(staff.employees.values())],
			"docstatus": 1,
			"attendance_date": ["in", DAYS],
		},
		fields=["*"],
	)
	numbers = staff.numbers
	return {(numbers[row.employee], row.attendance_date): _attendance_row(staff, row) for row in rows}


def _attendance_row(staff: Staff, row: Any) -> AttendanceRow:
	return AttendanceRow(
		status=row.status,
		shift=(row.shift or "").removeprefix(staff.prefix),
		in_time=row.in_time,
		out_time=row.out_time,
		working_hours=round(row.working_hours or 0, 2),
		late_entry=bool(row.late_entry),
		early_exit=bool(row.early_exit),
	)


def last_syncs(staff: Staff) -> dict[str, datetime | None]:
	"""``last_sync_of_checkin`` by the shift's own name, as committed now."""
	frappe.db.rollback()
	rows = frappe.get_all(
		"Shift Type", {"name": ["like", f"{staff.prefix}%"]}, ["name", "last_sync_of_checkin"]
	)
	return {row.name.removeprefix(staff.prefix): row.last_sync_of_checkin for row in rows}


def write_down(staff: Staff, gap: Any, punches: Iterable[tuple[int, datetime, bool]]) -> None:
	"""A Bulk Manual Punch for passes (person, UTC, whether out) that nobody can tell any more. Committed."""
	rows = [
		{"employee": staff.employees[person], "time": wall(moment), "log_type": "OUT" if out else "IN"}
		for person, moment, out in punches
	]
	document = frappe.get_doc(
		{
			"doctype": "Bulk Manual Punch",
			"reason": "The terminal was cut off.",
			"device": gap.device,
			"gap": gap.name,
			"from_time": min(row["time"] for row in rows),
			"to_time": max(row["time"] for row in rows) + timedelta(seconds=1),
			"employees": rows,
		}
	)
	document.submit()
	frappe.db.commit()
	assert frappe.db.get_value("Bulk Manual Punch", document.name, "made") == len(rows)


def dismiss() -> None:
	"""Remove the holiday lists and leaves; the rest goes with the other test data."""
	names = frappe.get_all("Holiday List", {"name": ["like", "HIK-TEST-%"]}, pluck="name")
	frappe.db.delete("Holiday", {"parent": ["in", names or [""]]})
	frappe.db.delete("Holiday List", {"name": ["in", names or [""]]})
	frappe.db.commit()
