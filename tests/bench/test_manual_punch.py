"""Passes written down by hand: the check-ins they become, the rows that are refused, and the real passes beside them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import frappe
import pytest
from frappe.utils import add_to_date, now_datetime

from hikvision_frappe.api import manual_punch as api
from hikvision_frappe.attendance import manual_punch
from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.attendance.late_passes import LateFilters, late_days
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
from tests.bench.passes import checkins, passes, row, set_setting
from tests.bench.users import create_test_user

FROM, TO = "2026-03-02 07:00:00", "2026-03-02 18:00:00"
TUESDAY = MONDAY + timedelta(days=1)

pytestmark = pytest.mark.usefixtures("hr_data")


def a_punch(*rows: tuple[str, str, str], **values: Any) -> Any:
	"""A draft with rows (employee, time of that Monday, way). Committed."""
	document = frappe.get_doc(
		{
			"doctype": "Bulk Manual Punch",
			"reason": "Main Door without power",
			"from_time": FROM,
			"to_time": TO,
			"employees": [
				{"employee": employee, "time": time if " " in time else f"{MONDAY} {time}", "log_type": way}
				for employee, time, way in rows
			],
			**values,
		}
	).insert()
	frappe.db.commit()
	return document


def submit(document: Any) -> Any:
	"""Submit as a request does: the check-ins are made once it is committed."""
	document.submit()
	frappe.db.commit()
	document.reload()
	return document


def states(document: Any) -> list[str]:
	frappe.db.rollback()
	document.reload()
	return [each.state for each in document.employees]


# From a document to check-ins


def test_each_row_becomes_a_check_in_that_names_the_document(shift: Any) -> None:
	employee = worker(shift)
	document = submit(a_punch((employee, "08:00", "IN"), (employee, "17:00", "OUT")))
	made = checkins(employee=employee)
	assert [(each.log_type, each.device_id, each.shift) for each in made] == [
		("IN", f"Manual: {document.name}", shift.name),
		("OUT", f"Manual: {document.name}", shift.name),
	]
	assert [each.employee_checkin for each in document.employees] == [each.name for each in made]
	assert (document.status, document.made, document.unmade) == ("Done", 2, 0)


def test_hrms_makes_the_attendance_of_them(shift: Any) -> None:
	employee = worker(shift)
	submit(a_punch((employee, "08:00", "IN"), (employee, "17:00", "OUT")))
	run_auto_attendance(shift)
	assert (attendance_of(employee).status, attendance_of(employee).working_hours) == ("Present", 9.0)


def test_punches_of_a_day_that_is_counted_already_are_late_passes(shift: Any) -> None:
	employee = worker(shift)
	run_auto_attendance(shift)
	submit(a_punch((employee, "08:00", "IN"), (employee, "17:00", "OUT")))
	(day,) = late_days(LateFilters(MONDAY, MONDAY))
	assert (day.now.status, day.becomes.status, day.refusal) == ("Absent", "Present", "")


def test_who_did_it_and_when_stays_with_the_document(shift: Any) -> None:
	user = create_test_user("HR User")
	employee = worker(shift)
	frappe.set_user(user)
	document = submit(a_punch((employee, "08:00", "IN")))
	frappe.set_user("Administrator")
	assert (document.owner, document.submitted_by) == (user, user)
	assert document.submitted_at <= now_datetime()
	assert frappe.db.get_value("Employee Checkin", {"employee": employee}, "owner") == user


def test_nothing_can_be_changed_after_the_submit(shift: Any) -> None:
	employee = worker(shift)
	document = submit(a_punch((employee, "08:00", "IN")))
	for change in (
		lambda: document.set("reason", "another one"),
		lambda: document.employees[0].set("time", "2026-03-02 07:30:00"),
		lambda: document.append("employees", {"employee": employee, "time": FROM, "log_type": "OUT"}),
	):
		change()
		with pytest.raises(frappe.UpdateAfterSubmitError):
			document.save()
		document.reload()


def test_a_refused_row_says_why_and_the_others_are_made(shift: Any) -> None:
	gone, here = worker(shift), worker(shift)
	document = a_punch((gone, "08:00", "IN"), (here, "08:00", "IN"))
	frappe.db.set_value("Employee", gone, "status", "Inactive")
	frappe.db.commit()
	submit(document)
	assert states(document) == ["Refused", "Check-in Made"]
	assert gone in document.employees[0].message
	assert (document.status, document.made, document.unmade) == ("Needs Attention", 1, 1)

	frappe.db.set_value("Employee", gone, "status", "Active")
	frappe.db.commit()
	api.retry(document.name)
	assert states(document) == ["Check-in Made"] * 2
	assert (document.status, document.employees[0].message) == ("Done", "")
	assert len(checkins()) == 2


@pytest.mark.parametrize(
	("values", "state"),
	[
		({"status": "Suspended"}, "Refused"),
		({"status": "Left", "relieving_date": "2026-03-01"}, "Refused"),
		({"status": "Left", "relieving_date": "2026-03-02"}, "Check-in Made"),
	],
)
def test_who_was_not_there_any_more_gets_no_check_in(shift: Any, values: dict[str, Any], state: str) -> None:
	employee = worker(shift)
	document = a_punch((employee, "08:00", "IN"))
	frappe.db.set_value("Employee", employee, values)
	frappe.db.commit()
	assert states(submit(document)) == [state]


def test_a_pass_that_is_there_already_is_not_made_twice(shift: Any) -> None:
	employee = worker(shift)
	document = a_punch((employee, "08:00", "IN"), (employee, "08:00", "OUT"))
	known = punch(employee, f"{MONDAY} 08:00:40", "IN")
	assert states(submit(document)) == ["Already There", "Check-in Made"]
	assert known in document.employees[0].message
	assert (document.status, len(checkins(employee=employee))) == ("Done", 2)


def test_work_that_was_stopped_halfway_goes_on_without_making_anything_twice(
	shift: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
	employees = [worker(shift) for _ in range(4)]
	document = a_punch(*((employee, "08:00", "IN") for employee in employees))
	monkeypatch.setattr(manual_punch, "DIRECTLY_SECONDS", 0.0)
	submit(document)
	assert (states(document), document.status) == (["Waiting"] * 4, "Waiting")
	first = document.employees[0].name
	manual_punch._settle(document.name, first, manual_punch.load_rules())  # killed after this one
	manual_punch._settle(document.name, first, manual_punch.load_rules())
	assert states(document) == ["Check-in Made", *["Waiting"] * 3]
	assert manual_punch.make_checkins(document.name)  # the job
	assert manual_punch.make_checkins(document.name)  # and again
	assert states(document) == ["Check-in Made"] * 4
	assert len(checkins()) == 4


def test_a_location_is_taken_from_the_device(shift: Any) -> None:
	employee = worker(shift)
	somewhere = create_test_device("Gate", latitude=46.05, longitude=14.5)
	nowhere = create_test_device("Back Door")
	set_setting("HR Settings", allow_geolocation_tracking=1)
	try:
		refused = submit(a_punch((employee, "08:00", "IN"), device=nowhere.name))
		made = submit(a_punch((employee, "17:00", "OUT"), device=somewhere.name))
	finally:
		set_setting("HR Settings", allow_geolocation_tracking=0)
	assert "latitude and longitude" in refused.employees[0].message
	assert states(made) == ["Check-in Made"]
	assert checkins(employee=employee)[0].latitude == 46.05


# What a document must be


@pytest.mark.parametrize(
	("times", "rows", "words"),
	[
		({"from_time": TO, "to_time": FROM}, (), "ends before it begins"),
		({"from_time": "2026-01-01 00:00:00"}, (), "at most 14 days"),
		({}, (("06:59:59", "IN"),), "Row 1"),
		({}, (("08:00", "IN"), ("08:00", "IN")), "Rows 1 and 2"),
	],
)
def test_a_document_that_cannot_be_right_is_refused(
	shift: Any, times: dict[str, str], rows: tuple[tuple[str, str], ...], words: str
) -> None:
	employee = worker(shift)
	with pytest.raises(frappe.ValidationError, match=words):
		a_punch(*((employee, time, way) for time, way in rows), **times)


def test_nobody_passed_in_the_future(shift: Any) -> None:
	now = now_datetime()
	soon = str(add_to_date(now, hours=1))
	with pytest.raises(frappe.ValidationError, match="has not come yet"):
		a_punch(
			(worker(shift), soon, "IN"),
			from_time=add_to_date(now, hours=-1),
			to_time=add_to_date(now, hours=2),
		)


def test_a_reason_and_somebody_who_passed_are_needed(shift: Any) -> None:
	with pytest.raises(frappe.MandatoryError):
		a_punch((worker(shift), "08:00", "IN"), reason="")
	with pytest.raises(frappe.ValidationError, match="Get Employees"):
		a_punch().submit()


def test_one_document_has_an_end(shift: Any) -> None:
	employee = worker(shift)
	begin = datetime(2026, 3, 2, 7)
	rows = ((employee, str(begin + timedelta(seconds=second)), "IN") for second in range(501))
	with pytest.raises(frappe.ValidationError, match="At most 500"):
		a_punch(*rows)


def test_a_copy_of_a_document_has_nothing_made_yet(shift: Any) -> None:
	document = submit(a_punch((worker(shift), "08:00", "IN")))
	copy = frappe.copy_doc(document)
	copy.docstatus = 0  # as the desk copies
	copy.insert()
	assert (copy.status, copy.made, copy.submitted_by) == ("Draft", 0, None)
	assert (copy.employees[0].state, copy.employees[0].employee_checkin) == ("Waiting", None)


# Back again


def test_cancelling_deletes_the_check_ins(shift: Any) -> None:
	employee, other = worker(shift), worker(shift)
	theirs = punch(other, f"{MONDAY} 08:00", "IN")
	document = submit(a_punch((employee, "08:00", "IN"), (other, "08:00", "IN")))
	document.cancel()
	frappe.db.commit()
	assert states(document) == ["Taken Back", "Already There"]
	assert document.status == "Cancelled"
	assert "was deleted" in document.employees[0].message
	assert [each.name for each in checkins()] == [theirs]


def test_cancelling_is_refused_whole_once_attendance_was_made(shift: Any) -> None:
	counted, other = worker(shift), worker(shift, default_shift=None)
	document = submit(a_punch((counted, "08:00", "IN"), (other, "08:00", "IN")))
	run_auto_attendance(shift)
	with pytest.raises(frappe.LinkExistsError, match=attendance_of(counted).name):
		document.cancel()
	frappe.db.rollback()
	assert states(document) == ["Check-in Made"] * 2
	assert (document.docstatus, len(checkins())) == (1, 2)


def test_a_check_in_made_by_hand_is_not_deleted_behind_its_document(shift: Any) -> None:
	document = submit(a_punch((worker(shift), "08:00", "IN")))
	with pytest.raises(frappe.LinkExistsError):
		frappe.delete_doc("Employee Checkin", document.employees[0].employee_checkin)


# Beside real passes


@pytest.fixture
def door() -> str:
	return create_test_device("Main Door", doors=[{"direction": "In"}]).name


def test_a_real_pass_at_nearly_the_same_time_is_already_recorded(shift: Any, door: str) -> None:
	employee = worker(shift, attendance_device_id="1001")
	document = submit(a_punch((employee, "08:00", "IN"), device=door))
	near, far = passes(door, "1001", "2026-03-02 07:00:30", "2026-03-02 07:05:00")  # 08:00:30, 08:05
	drain()
	by_hand = document.employees[0].employee_checkin
	assert (row(near).state, row(near).employee_checkin) == ("Already Recorded", by_hand)
	assert "by hand" in row(near).state_reason
	assert row(far).state == "Check-in Made"
	assert len(checkins(employee=employee)) == 2
	assert api.told_since(document.name) == 1


def test_a_real_pass_without_a_direction_is_the_one_written_down(shift: Any) -> None:
	device = create_test_device("Main Door").name
	loose = day_shift(
		determine_check_in_and_check_out="Alternating entries as IN and OUT during the same shift"
	)
	employee = worker(loose, attendance_device_id="1001")
	submit(a_punch((employee, "08:00", "IN"), device=device))
	(near,) = passes(device, "1001", "2026-03-02 07:00:30")
	drain()
	assert row(near).state == "Already Recorded"


def test_a_punch_beside_a_real_pass_makes_no_second_check_in(shift: Any, door: str) -> None:
	employee = worker(shift, attendance_device_id="1001")
	document = a_punch((employee, "08:00", "IN"), device=door)
	passes(door, "1001", "2026-03-02 07:00:30")
	drain()
	assert states(submit(document)) == ["Already There"]
	assert len(checkins(employee=employee)) == 1


def test_real_passes_count_once_the_ones_by_hand_are_taken_back(shift: Any, door: str) -> None:
	employee = worker(shift, attendance_device_id="1001")
	document = submit(a_punch((employee, "08:00", "IN"), device=door))
	(near,) = passes(door, "1001", "2026-03-02 07:00:30")
	drain()
	document.cancel()
	frappe.db.commit()
	assert row(near).state == "New"
	drain()
	assert row(near).state == "Check-in Made"
	assert [each.time for each in checkins(employee=employee)] == [datetime(2026, 3, 2, 8, 0, 30)]


# Who may have passed


def proposed(**values: Any) -> list[tuple[str, str, datetime]]:
	rows = api.propose(**{"from_time": FROM, "to_time": TO, "ways": ["IN", "OUT"], **values})["rows"]
	return [(each["employee"], each["log_type"], each["time"]) for each in rows]


def test_the_beginning_and_end_of_each_ones_shift_are_proposed(shift: Any) -> None:
	employee = worker(shift)
	assert proposed(shift=shift.name) == [
		(employee, "IN", datetime(2026, 3, 2, 8)),
		(employee, "OUT", datetime(2026, 3, 2, 17)),
	]
	assert proposed(shift=shift.name, ways="IN") == [(employee, "IN", datetime(2026, 3, 2, 8))]
	assert proposed(shift=shift.name, from_time="2026-03-02 09:00:00") == [
		(employee, "OUT", datetime(2026, 3, 2, 17))
	]


def test_a_night_shift_ends_the_day_after(shift: Any) -> None:
	night = day_shift(start_time="22:00:00", end_time="06:00:00")
	employee = worker(night)
	until = f"{TUESDAY} 07:00:00"
	assert proposed(shift=night.name, from_time=f"{MONDAY} 21:00:00", to_time=until) == [
		(employee, "IN", datetime(2026, 3, 2, 22)),
		(employee, "OUT", datetime(2026, 3, 3, 6)),
	]
	# Down from midnight on: only the departure is missing.
	assert proposed(shift=night.name, from_time=f"{TUESDAY} 00:00:00", to_time=until) == [
		(employee, "OUT", datetime(2026, 3, 3, 6))
	]


def test_an_assignment_counts_before_the_default_shift_and_both_shifts_of_a_day_count(shift: Any) -> None:
	early = day_shift(start_time="07:00:00", end_time="11:00:00")
	late = day_shift(start_time="13:00:00", end_time="17:30:00")
	employee = worker(shift)
	for each in (early, late):
		insert_row(
			"Shift Assignment", employee=employee, shift_type=each.name, start_date=MONDAY, end_date=MONDAY,
			status="Active", docstatus=1,
		)  # fmt: skip
	times = [time for who, _way, time in proposed() if who == employee]
	assert [f"{time:%H:%M}" for time in times] == ["07:00", "11:00", "13:00", "17:30"]
	assert not proposed(shift=shift.name)


def test_who_passed_somewhere_is_on_leave_or_has_no_shift_then_is_left_out(shift: Any) -> None:
	present, away, missing = (worker(shift) for _ in range(3))
	loose = worker(shift, default_shift=None)
	punch(present, f"{MONDAY} 08:00", "IN")
	leave = {"status": "Approved", "docstatus": 1, "from_date": MONDAY, "to_date": MONDAY}
	insert_row("Leave Application", employee=away, **leave)
	found = api.propose(from_time=FROM, to_time=TO, ways=["IN"])
	assert [each["employee"] for each in found["rows"]] == [missing]
	assert (found["present"], found["on_leave"]) == (1, 1)
	assert found["without_time"] >= 1
	assert loose in {who for who, _way, _time in proposed(in_at=f"{MONDAY} 08:15:00")}


def test_half_a_day_of_leave_leaves_the_other_half(shift: Any) -> None:
	employee = worker(shift)
	leave = {
		"status": "Approved",
		"docstatus": 1,
		"from_date": MONDAY,
		"to_date": MONDAY,
		"half_day_date": MONDAY,
	}
	insert_row("Leave Application", employee=employee, **leave)
	assert {who for who, _way, _time in proposed(shift=shift.name)} == {employee}


def test_a_holiday_has_nobody_to_pass(shift: Any) -> None:
	worker(shift)
	take_off(shift, MONDAY)
	assert not proposed(shift=shift.name)


def test_only_those_who_usually_pass_at_a_device_are_proposed(shift: Any, door: str) -> None:
	regular = worker(shift, attendance_device_id="1001")
	worker(shift, attendance_device_id="1002")  # was there once
	passes(door, "1001", "2026-02-24 07:00:00", "2026-02-25 07:00:00")
	passes(door, "1002", "2026-02-24 07:00:00")
	drain()
	assert {who for who, _way, _time in proposed(device=door, usual=1)} == {regular}
	assert len({who for who, _way, _time in proposed(device=door)}) == 2


@pytest.mark.parametrize("values", [{"to_time": "2026-04-02 00:00:00"}, {"to_time": FROM}, {"usual": 1}, {"from_time": ""},
	{"in_at": "2026-03-02 06:00:00"}])  # fmt: skip
def test_a_search_has_bounds(values: dict[str, Any]) -> None:
	with pytest.raises(frappe.ValidationError):
		proposed(**values)


# Permissions


def test_only_hr_writes_passes_down(shift: Any) -> None:
	employee = worker(shift)
	document = a_punch((employee, "08:00", "IN"))
	rights = ("read", "write", "create", "submit", "cancel")
	expected = {
		"HR Manager": set(rights),
		"HR User": set(rights),
		"Hikvision Manager": {"read"},
		"Hikvision User": set(),
		"Hikvision Agent": set(),
		"Employee": set(),
	}
	for role, allowed in expected.items():
		frappe.set_user(create_test_user(role))
		assert {right for right in rights if frappe.has_permission("Bulk Manual Punch", right)} == allowed, (
			role
		)
		if "submit" not in allowed:
			with pytest.raises(frappe.PermissionError):
				api.retry(document.name)
			with pytest.raises(frappe.PermissionError):
				api.propose(from_time=FROM, to_time=TO)
			with pytest.raises(frappe.PermissionError):
				frappe.get_doc("Bulk Manual Punch", document.name).submit()
	frappe.set_user("Administrator")
	assert not checkins(employee=employee)


def test_an_employee_whom_the_user_may_not_touch_is_refused(shift: Any) -> None:
	mine, other = worker(shift), worker(shift)
	document = a_punch((mine, "08:00", "IN"), (other, "08:00", "IN"))
	user = create_test_user("HR User")
	frappe.get_doc(
		{"doctype": "User Permission", "user": user, "allow": "Employee", "for_value": mine}
	).insert()
	frappe.db.commit()
	frappe.set_user(user)
	assert {who for who, _way, _time in proposed(shift=shift.name)} == {mine}
	with pytest.raises(frappe.PermissionError):
		submit(document)
	frappe.set_user("Administrator")
	frappe.db.rollback()
	assert not checkins()
