"""Late passes against HRMS's own attendance: what is listed, what reprocessing does, and where it stops."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import frappe
import pytest
from frappe.utils import now_datetime

from hikvision_frappe.api import late_passes as api
from hikvision_frappe.attendance import late_passes
from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.attendance.late_passes import LateFilters, OutcomeState, late_days, reprocess
from hikvision_frappe.hikvision_frappe.report.late_passes.late_passes import execute
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device
from tests.bench.hr_days import (
	MONDAY,
	attendance_of,
	day_shift,
	insert_row,
	punch,
	run_auto_attendance,
	take_off,
	worker,
)
from tests.bench.passes import passes
from tests.bench.users import create_test_user

WEEK = LateFilters(MONDAY, MONDAY + timedelta(days=6))
TUESDAY = MONDAY + timedelta(days=1)

pytestmark = pytest.mark.usefixtures("hr_data")


def came_late(shift: Any, employee: str | None = None, day: date = MONDAY, processed: bool = True) -> str:
	"""An employee whose OUT came after the Attendance; processed: HRMS has met it since, and skipped it."""
	employee = employee or worker(shift)
	punch(employee, f"{day} 08:00", "IN")
	run_auto_attendance(shift)
	punch(employee, f"{day} 17:00", "OUT")
	if processed:
		run_auto_attendance(shift)
	return employee


def only(filters: LateFilters = WEEK) -> late_passes.LateDay:
	days = late_days(filters)
	assert len(days) == 1
	return days[0]


def checkin(name: str) -> Any:
	frappe.db.rollback()
	return frappe.db.get_value("Employee Checkin", name, "*", as_dict=True)


def comments(name: str) -> str:
	return "\n".join(
		frappe.get_all("Comment", {"reference_name": name, "comment_type": "Info"}, pluck="content")
	)


# What is late


@pytest.mark.parametrize("processed", [True, False])
def test_a_departure_that_came_after_the_attendance_is_listed_with_what_it_changes(
	shift: Any, processed: bool
) -> None:
	employee = came_late(shift, processed=processed)
	day = only()
	assert (day.employee, day.day, day.shift) == (employee, MONDAY, shift.name)
	assert [(each.log_type, each.device, each.skipped) for each in day.passes] == [
		("OUT", "Mobile", processed)
	]
	assert (day.now.status, day.now.hours, day.now.out_time) == ("Absent", 0.0, None)
	assert (day.becomes.status, day.becomes.hours) == ("Present", 9.0)
	assert day.refusal == ""


def test_an_absent_that_was_marked_while_the_passes_were_on_their_way_is_listed(shift: Any) -> None:
	employee = worker(shift)
	run_auto_attendance(shift)
	assert attendance_of(employee).status == "Absent"
	punch(employee, f"{MONDAY} 08:00", "IN")
	punch(employee, f"{MONDAY} 17:00", "OUT")
	day = only()
	assert (len(day.passes), day.becomes.status, day.refusal) == (2, "Present", "")


def test_a_pass_of_a_device_is_listed_with_its_name(shift: Any) -> None:
	device = create_test_device("Main Door", doors=[{"direction": "Out"}])
	other = create_test_device("Back Door")
	employee = worker(shift, attendance_device_id="1001")
	punch(employee, f"{MONDAY} 08:00", "IN")
	run_auto_attendance(shift)
	passes(device.name, "1001", "2026-03-02 16:00:00")
	drain()
	assert only().passes[0].device == "Main Door"
	assert only(LateFilters(*(WEEK.since, WEEK.until), device=device.name)).employee == employee
	assert not late_days(LateFilters(*(WEEK.since, WEEK.until), device=other.name))


def test_what_is_on_time_is_not_listed(shift: Any) -> None:
	employee = worker(shift)
	punch(employee, f"{MONDAY} 08:00", "IN")
	punch(employee, f"{MONDAY} 17:00", "OUT")
	assert not late_days(WEEK)
	run_auto_attendance(shift)
	assert not late_days(WEEK)


def test_a_pass_outside_of_any_shift_is_not_late(shift: Any) -> None:
	employee = came_late(shift)
	reprocess([attendance_of(employee).name])
	punch(employee, f"{MONDAY} 23:30", "OUT")
	assert not late_days(WEEK)


def test_a_pass_that_hr_chose_to_skip_is_not_late(shift: Any) -> None:
	employee = worker(shift)
	punch(employee, f"{MONDAY} 08:00", "IN")
	run_auto_attendance(shift)
	punch(employee, f"{MONDAY} 17:00", "OUT", skip_auto_attendance=1)
	run_auto_attendance(shift)
	assert not late_days(WEEK)


def test_a_pass_that_hr_chose_to_skip_after_hrms_had_is_not_late(
	shift: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
	employee = came_late(shift)
	late = only().passes[0].checkin
	monkeypatch.setitem(frappe.local.flags, "in_test", False)  # Frappe keeps no versions in tests
	for skip in (0, 1):
		document = frappe.get_doc("Employee Checkin", late)
		document.skip_auto_attendance = skip
		document.save()
		frappe.db.commit()
	assert not late_days(WEEK)
	assert attendance_of(employee).status == "Absent"


def test_each_filter_narrows_the_list(shift: Any) -> None:
	other_shift = day_shift()
	first, second = came_late(shift, worker(shift, department="All Departments")), came_late(other_shift)
	period = (WEEK.since, WEEK.until)
	assert {day.employee for day in late_days(WEEK)} == {first, second}
	assert only(LateFilters(*period, employee=first)).employee == first
	assert only(LateFilters(*period, shift=other_shift.name)).employee == second
	assert only(LateFilters(*period, department="All Departments")).employee == first
	assert not late_days(LateFilters(TUESDAY, TUESDAY))


def test_two_shifts_of_a_day_are_two_attendances() -> None:
	morning = day_shift(start_time="06:00:00", end_time="11:00:00", working_hours_threshold_for_half_day=4)
	evening = day_shift(start_time="15:00:00", end_time="20:00:00", working_hours_threshold_for_half_day=4)
	employee = worker(morning, default_shift=None)
	for each in (morning, evening):
		insert_row(
			"Shift Assignment", employee=employee, shift_type=each.name, start_date=MONDAY, end_date=MONDAY,
			status="Active", docstatus=1, company="_Test Company",
		)  # fmt: skip
	for time in ("06:00", "15:00"):
		punch(employee, f"{MONDAY} {time}", "IN")
	for each in (morning, evening):
		run_auto_attendance(each)
	punch(employee, f"{MONDAY} 20:00", "OUT")
	day = only()
	assert (day.shift, day.becomes.status) == (evening.name, "Present")
	untouched = attendance_of(employee, shift=morning.name)
	assert reprocess([day.attendance])[0].state is OutcomeState.DONE
	assert attendance_of(employee, shift=evening.name).status == "Present"
	assert attendance_of(employee, shift=morning.name).name == untouched.name


# Cancel and reprocess


def test_reprocessing_counts_the_late_pass_and_says_who_did_it(shift: Any) -> None:
	employee = came_late(shift)
	old, late = attendance_of(employee), only().passes[0].checkin
	user = create_test_user("HR Manager", "HR User")
	frappe.set_user(user)
	(outcome,) = reprocess([old.name])
	frappe.set_user("Administrator")
	new = attendance_of(employee)
	assert (outcome.state, outcome.made) == (OutcomeState.DONE, new.name)
	assert (outcome.day.now.status, outcome.after.status) == ("Absent", "Present")
	assert (new.status, new.working_hours, new.out_time) == ("Present", 9.0, datetime(2026, 3, 2, 17))
	assert (checkin(late).attendance, checkin(late).skip_auto_attendance) == (new.name, 0)
	assert frappe.db.get_value("Attendance", old.name, "docstatus") == 2
	assert new.owner == user
	assert new.name in comments(old.name) and "OUT 17:00" in comments(old.name)
	assert old.name in comments(new.name) and "Absent" in comments(new.name)
	assert not late_days(WEEK)


def test_reprocessing_again_changes_nothing(shift: Any) -> None:
	employee = came_late(shift)
	old = attendance_of(employee).name
	reprocess([old])
	new = attendance_of(employee)
	assert [each.state for each in reprocess([old, new.name])] == [OutcomeState.NOTHING_TO_DO] * 2
	assert attendance_of(employee).modified == new.modified
	run_auto_attendance(shift)
	assert attendance_of(employee).name == new.name


def test_a_false_absent_becomes_what_the_passes_say(shift: Any) -> None:
	employee = worker(shift)
	run_auto_attendance(shift)
	punch(employee, f"{MONDAY} 08:00", "IN")
	punch(employee, f"{MONDAY} 13:00", "OUT")
	absent = attendance_of(employee).name
	assert attendance_of(employee, TUESDAY).status == "Absent"
	(outcome,) = reprocess([absent])
	assert outcome.after.status == attendance_of(employee).status == "Half Day"
	assert attendance_of(employee, TUESDAY).status == "Absent"  # nothing else was touched


def test_an_overnight_shift_is_made_anew_on_the_day_it_begins() -> None:
	night = day_shift(start_time="22:00:00", end_time="06:00:00")
	employee = worker(night)
	punch(employee, f"{MONDAY} 22:00", "IN")
	run_auto_attendance(night)
	punch(employee, f"{TUESDAY} 06:00", "OUT")
	day = only()
	assert (day.day, day.becomes.hours) == (MONDAY, 8.0)
	reprocess([day.attendance])
	assert attendance_of(employee, MONDAY).status == "Present"
	assert attendance_of(employee, MONDAY).out_time == datetime(2026, 3, 3, 6)


def test_the_late_ones_of_several_days_are_counted_each_on_its_own(shift: Any) -> None:
	employee = worker(shift)
	days = [MONDAY + timedelta(days=number) for number in range(3)]
	for day in days:
		punch(employee, f"{day} 08:00", "IN")
	run_auto_attendance(shift)
	for day in days:
		punch(employee, f"{day} 17:00", "OUT")
	run_auto_attendance(shift)
	outcomes = reprocess([each.attendance for each in late_days(WEEK)])
	assert [each.state for each in outcomes] == [OutcomeState.DONE] * 3
	assert [attendance_of(employee, day).status for day in days] == ["Present"] * 3


def test_what_worked_stays_when_another_one_fails(shift: Any) -> None:
	employees = [came_late(shift) for _ in range(3)]
	names = [attendance_of(employee).name for employee in employees]
	# HRMS refuses the new one: an Attendance of the day stands already.
	rival = insert_row(
		"Attendance", employee=employees[1], attendance_date=MONDAY, status="Present", docstatus=0,
	)  # fmt: skip
	told: list[int] = []
	outcomes = reprocess(names, lambda so_far: told.append(len(so_far)))
	assert [each.state for each in outcomes] == [OutcomeState.DONE, OutcomeState.FAILED, OutcomeState.DONE]
	assert rival in outcomes[1].message and "already marked" in outcomes[1].message
	assert told == [1, 2, 3]
	assert attendance_of(employees[1]).name == names[1]  # as it was, with its check-in
	assert frappe.db.count("Employee Checkin", {"attendance": names[1]}) == 1
	assert attendance_of(employees[2]).status == "Present"


def test_a_check_in_that_hrms_skipped_and_linked_at_the_same_moment_is_not_lost(shift: Any) -> None:
	employee = came_late(shift)
	reprocess([attendance_of(employee).name])
	frappe.db.set_value(
		"Employee Checkin", {"employee": employee}, "skip_auto_attendance", 1, update_modified=False
	)
	punch(employee, f"{MONDAY} 17:30", "OUT")
	(outcome,) = reprocess([attendance_of(employee).name])
	assert (outcome.state, outcome.after.hours) == (OutcomeState.DONE, 9.5)


# Where it stops


def refused(name: str) -> str:
	"""The reason; nothing was changed."""
	before = frappe.db.get_value("Attendance", name, "modified")
	(outcome,) = reprocess([name])
	assert outcome.state is OutcomeState.REFUSED
	assert only().refusal == outcome.message
	assert frappe.db.get_value("Attendance", name, ["modified", "docstatus"]) == (before, 1)
	return outcome.message


@pytest.mark.parametrize("docstatus", [0, 1])
def test_a_salary_slip_of_the_time_locks_its_attendance(shift: Any, docstatus: int) -> None:
	employee = came_late(shift)
	slip = insert_row(
		"Salary Slip", employee=employee, start_date=date(2026, 3, 1), end_date=date(2026, 3, 31),
		docstatus=docstatus,
	)  # fmt: skip
	assert f"Salary slip {slip} was made for this time" in refused(attendance_of(employee).name)


def test_a_salary_slip_of_another_time_locks_nothing(shift: Any) -> None:
	employee = came_late(shift)
	insert_row(
		"Salary Slip", employee=employee, start_date=date(2026, 2, 1), end_date=date(2026, 2, 28), docstatus=1
	)
	assert only().refusal == ""


def test_an_attendance_of_a_leave_stays(shift: Any) -> None:
	employee = worker(shift)
	leave = insert_row(
		"Leave Application",
		employee=employee,
		from_date=MONDAY,
		to_date=MONDAY,
		status="Approved",
		docstatus=1,
	)
	name = insert_row(
		"Attendance", employee=employee, attendance_date=MONDAY, status="On Leave", leave_application=leave,
		docstatus=1,
	)  # fmt: skip
	punch(employee, f"{MONDAY} 08:00", "IN")
	run_auto_attendance(shift)
	assert leave in refused(name)


def test_the_open_half_of_a_half_day_of_leave_is_not_late(shift: Any) -> None:
	employee = worker(shift)
	insert_row(
		"Attendance", employee=employee, attendance_date=MONDAY, status="Half Day", leave_type="Casual Leave",
		half_day_status="Absent", modify_half_day_status=1, docstatus=1,
	)  # fmt: skip
	punch(employee, f"{MONDAY} 13:00", "IN")
	assert not late_days(WEEK)


def test_an_attendance_of_a_request_stays(shift: Any) -> None:
	employee = came_late(shift)
	name = attendance_of(employee).name
	request = insert_row(
		"Attendance Request", employee=employee, from_date=MONDAY, to_date=MONDAY, docstatus=1
	)
	frappe.db.set_value("Attendance", name, "attendance_request", request)
	frappe.db.commit()
	assert request in refused(name)


def test_an_attendance_made_by_hand_stays(shift: Any) -> None:
	employee = worker(shift)
	attendance = frappe.get_doc(
		{
			"doctype": "Attendance",
			"employee": employee,
			"attendance_date": MONDAY,
			"status": "Absent",
			"shift": shift.name,
		}
	)
	attendance.submit()
	frappe.db.commit()
	punch(employee, f"{MONDAY} 08:00", "IN")
	run_auto_attendance(shift)
	assert "by hand" in refused(attendance.name)


def test_a_holiday_has_no_attendance_to_make(shift: Any) -> None:
	employee = came_late(shift)
	take_off(shift, MONDAY)
	assert "holiday" in refused(attendance_of(employee).name)


@pytest.mark.parametrize(
	("change", "words"),
	[
		({"enable_auto_attendance": 0}, "switched off"),
		({"last_sync_of_checkin": datetime(2026, 3, 2, 12)}, "does not count this day yet"),
		({"process_attendance_after": date(2026, 3, 4)}, "counts check-ins only after"),
	],
)
def test_a_shift_that_hrms_would_not_process_is_left_alone(
	shift: Any, change: dict[str, Any], words: str
) -> None:
	employee = came_late(shift)
	frappe.db.set_value("Shift Type", shift.name, change)
	frappe.db.commit()
	frappe.clear_document_cache("Shift Type", shift.name)
	assert words in refused(attendance_of(employee).name)


def test_an_inactive_employee_gets_no_new_attendance(shift: Any) -> None:
	employee = came_late(shift)
	frappe.db.set_value("Employee", employee, "status", "Inactive")
	frappe.db.commit()
	assert "inactive" in refused(attendance_of(employee).name)


# Permissions and jobs


def test_who_may_not_cancel_attendance_reprocesses_nothing(shift: Any) -> None:
	employee = came_late(shift)
	name = attendance_of(employee).name
	for roles in (("Employee",), ("Hikvision Manager",), ("Hikvision User",)):
		frappe.set_user(create_test_user(*roles))
		with pytest.raises(frappe.PermissionError):
			api.reprocess([name])
		with pytest.raises(frappe.PermissionError):
			api.progress("hikvision_late_passes:0")
	frappe.set_user("Administrator")
	assert attendance_of(employee).name == name


def test_a_manager_of_some_employees_sees_and_changes_only_theirs(shift: Any) -> None:
	mine, other = came_late(shift), came_late(shift)
	user = create_test_user("HR User")
	frappe.get_doc(
		{"doctype": "User Permission", "user": user, "allow": "Employee", "for_value": mine}
	).insert()
	frappe.db.commit()
	foreign = attendance_of(other).name
	frappe.set_user(user)
	assert [day.employee for day in late_days(WEEK)] == [mine]
	(outcome,) = reprocess([foreign])
	frappe.set_user("Administrator")
	assert outcome.state is OutcomeState.FAILED
	assert not outcome.day
	assert attendance_of(other).name == foreign


def test_a_few_are_reprocessed_at_once(shift: Any) -> None:
	employee = came_late(shift)
	frappe.set_user(create_test_user("HR Manager", "HR User"))
	answer = api.reprocess(frappe.as_json([attendance_of(employee).name] * 2))
	assert (answer["done"], answer["total"]) == (True, 1)
	assert answer["rows"][0]["before"] == "Absent, 08:00 – ?, 0.0 h"
	assert answer["rows"][0]["after"] == "Present, 08:00 – 17:00, 9.0 h"


def test_many_are_reprocessed_by_a_job_that_tells_how_far_it_is(
	shift: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
	employees = [came_late(shift) for _ in range(3)]
	names = [attendance_of(employee).name for employee in employees]
	monkeypatch.setattr(late_passes, "DIRECTLY", 2)
	user = create_test_user("HR Manager", "HR User")
	frappe.set_user(user)
	job = api.reprocess(names)["job"]
	assert api.progress(job) == {"known": True, "total": 3, "rows": [], "done": False, "error": ""}
	late_passes.run_job(key=job, names=names)  # as the worker calls it
	state = api.progress(job)
	assert state["done"] and [row["state"] for row in state["rows"]] == ["Done"] * 3
	frappe.set_user(create_test_user("HR User"))
	assert api.progress(job) == {"known": False}  # somebody else's
	frappe.set_user("Administrator")
	assert {attendance_of(employee).status for employee in employees} == {"Present"}


@pytest.mark.parametrize("names", ["[]", "{}", [], list("a" * 501)])
def test_a_choice_has_bounds(names: Any) -> None:
	with pytest.raises(frappe.ValidationError):
		api.reprocess(list(map(str, range(501))) if len(names) == 501 else names)


# The report


def test_the_report_shows_a_line_for_each_attendance(shift: Any) -> None:
	employee = came_late(shift)
	columns, rows, message, _chart, summary = execute({"from_date": "2026-03-01", "to_date": "2026-03-31"})
	(row,) = rows
	assert set(row) >= {column["fieldname"] for column in columns}
	assert (row["employee"], row["late"]) == (employee, "OUT 17:00 (Mobile)")
	assert (row["now"], row["becomes"]) == ("Absent, 08:00 – ?, 0.0 h", "Present, 08:00 – 17:00, 9.0 h")
	assert "Cancel and Reprocess" in message
	assert [each["value"] for each in summary] == [1, 1, 1, 0]


def test_an_empty_report_says_that_all_is_well() -> None:
	_columns, rows, message, _chart, summary = execute({"from_date": "2026-03-01", "to_date": "2026-03-31"})
	assert (rows, message, summary) == ([], "Every pass of this period is counted in its Attendance.", [])


@pytest.mark.parametrize("period", [("2026-03-02", "2026-03-01"), ("2020-01-01", "2026-03-01")])
def test_a_period_has_bounds(period: tuple[str, str]) -> None:
	with pytest.raises(frappe.ValidationError):
		execute({"from_date": period[0], "to_date": period[1]})


def test_the_number_of_statements_does_not_grow_with_the_list(shift: Any) -> None:
	came_late(shift)
	late_days(WEEK)
	with counted_statements() as for_one:
		late_days(WEEK)
	for _ in range(4):
		came_late(shift)
	with counted_statements() as for_five:
		assert len(late_days(WEEK)) == 5
	holidays = 3  # of HRMS, for each: is the day a holiday of the employee
	assert len(for_five) <= len(for_one) + 4 * holidays


def test_the_list_is_asked_for_now() -> None:
	today = now_datetime().date()
	_columns, rows, message, *_rest = execute({"from_date": str(today), "to_date": str(today)})
	assert (rows, message) == ([], "Every pass so far is counted in its Attendance.")
