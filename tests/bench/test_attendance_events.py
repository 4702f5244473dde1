"""What HR can do about an event by hand, and who may."""

from __future__ import annotations

from datetime import datetime

import frappe
import pytest

from hikvision_frappe.api import events as api
from hikvision_frappe.attendance.drain import drain
from tests.bench.factories import create_test_device, create_test_employee
from tests.bench.passes import ENTRY, checkins, passes, row
from tests.bench.users import create_test_user

MORNING = "2026-03-02 07:00:00"


@pytest.fixture
def device() -> str:
	return create_test_device("Main Door", doors=ENTRY).name


@pytest.fixture
def employee() -> str:
	return create_test_employee("42")


@pytest.fixture
def hr() -> str:
	return create_test_user("HR Manager")


def comments(event: str) -> list[str]:
	return frappe.get_all("Comment", {"reference_name": event}, pluck="content", order_by="creation")


def test_a_double_read_can_be_counted_with_a_reason(device: str, employee: str, hr: str) -> None:
	_first, second = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	frappe.set_user(hr)
	made = api.count_anyway(second, log_type="OUT", reason="Forgot the keys")
	frappe.db.commit()
	told = row(second)
	assert (told.state, told.employee_checkin, told.log_type) == ("Check-in Made", made, "OUT")
	assert "Forgot the keys" in told.state_reason
	assert "Forgot the keys" in comments(second)[-1]
	assert [(each.log_type, each.access_event) for each in checkins()][-1] == ("OUT", second)


def test_a_leavers_pass_can_be_counted(device: str, hr: str) -> None:
	create_test_employee("42", status="Left")
	[event] = passes(device, "42", MORNING)
	drain()
	frappe.set_user(hr)
	api.count_anyway(event, reason="Last day was not entered")
	assert len(frappe.get_all("Employee Checkin")) == 1


def test_a_pass_with_a_lost_clock_needs_a_time(device: str, employee: str) -> None:
	from hikvision_frappe.core.event import TimeQuality

	[event] = passes(device, "42", "1970-01-01 00:00:10", time_quality=TimeQuality.IMPLAUSIBLE)
	drain()
	assert row(event).state == "Implausible Time"
	with pytest.raises(frappe.ValidationError):
		api.count_anyway(event, reason="The camera saw him")
	frappe.db.rollback()
	api.count_anyway(event, time="2026-03-02 08:05:00", log_type="IN", reason="The camera saw him")
	frappe.db.commit()
	assert checkins()[0].time == datetime(2026, 3, 2, 8, 5)


def test_the_passes_of_nobody_need_an_employee(device: str) -> None:
	employee = create_test_employee()
	[event] = passes(device, "99", MORNING)
	drain()
	with pytest.raises(frappe.ValidationError):
		api.count_anyway(event, reason="Guest badge")
	frappe.db.rollback()
	api.count_anyway(event, reason="Guest badge", employee=employee)
	frappe.db.commit()
	assert row(event).employee == employee
	assert frappe.db.get_value("Access Person", {"person_code": "99"}, "waiting_events") == 0


def test_a_reason_is_needed(device: str, employee: str) -> None:
	_first, second = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	for call in (lambda: api.count_anyway(second), lambda: api.ignore([second], " ")):
		with pytest.raises(frappe.MandatoryError):
			call()
		frappe.db.rollback()


def test_what_hrms_refuses_changes_nothing(device: str) -> None:
	create_test_employee("42", status="Inactive")
	[event] = passes(device, "42", MORNING)
	drain()
	with pytest.raises(frappe.ValidationError):
		api.count_anyway(event, reason="Was there")
	frappe.db.rollback()
	assert (row(event).state, checkins()) == ("Employee Inactive", [])


def test_a_counted_pass_is_not_counted_again(device: str, employee: str) -> None:
	[event] = passes(device, "42", MORNING)
	drain()
	with pytest.raises(frappe.ValidationError):
		api.count_anyway(event, reason="Twice")


def test_events_are_set_aside_and_taken_back(device: str) -> None:
	events = passes(device, "99", MORNING, "2026-03-02 16:00:00")
	drain()
	assert api.ignore(frappe.as_json(events), "Window cleaner") == 2
	frappe.db.commit()
	assert {row(event).state for event in events} == {"Not Counted"}
	assert "Window cleaner" in comments(events[0])[-1]
	assert frappe.db.get_value("Access Person", {"person_code": "99"}, "waiting_events") == 0
	assert drain().settled == 0
	create_test_employee("99")
	assert api.replay(events) == 2
	frappe.db.commit()
	drain()
	assert {row(event).state for event in events} == {"Check-in Made"}


def test_the_form_offers_what_the_state_and_the_users_rights_allow(device: str, employee: str) -> None:
	counted, double = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	assert api.actions(counted) == ["undo"]
	assert api.actions(double) == ["replay", "count", "ignore"]
	frappe.set_user(create_test_user("Hikvision Manager"))
	assert api.actions(double) == ["replay", "ignore"]
	frappe.set_user(create_test_user("Hikvision User"))
	assert api.actions(double) == []


def test_replay_leaves_final_states_alone(device: str, employee: str) -> None:
	counted, double = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	assert api.replay([counted, double]) == 1
	frappe.db.commit()
	drain()
	assert (row(counted).state, row(double).state) == ("Check-in Made", "Double Read")


def test_a_checkin_can_be_taken_back_until_attendance_stands_on_it(
	device: str, employee: str, hr: str
) -> None:
	first, second = passes(device, "42", MORNING, "2026-03-02 16:00:00")
	drain()
	frappe.set_user(hr)
	api.undo(first, "Badge was lent")
	frappe.db.commit()
	assert (row(first).state, row(first).employee_checkin) == ("Not Counted", None)
	assert "Badge was lent" in row(first).state_reason
	frappe.db.set_value("Employee Checkin", row(second).employee_checkin, "attendance", "HR-ATT-X")
	with pytest.raises(frappe.LinkExistsError):
		api.undo(second, "Too late")
	frappe.db.rollback()
	assert row(second).state == "Check-in Made"


def test_a_checkin_deleted_in_hrms_leaves_an_event_that_can_be_replayed(device: str, employee: str) -> None:
	[event] = passes(device, "42", MORNING)
	drain()
	frappe.delete_doc("Employee Checkin", row(event).employee_checkin)
	frappe.db.commit()
	assert (row(event).state, row(event).employee_checkin) == ("Not Counted", None)
	api.replay([event])
	frappe.db.commit()
	drain()
	assert row(event).state == "Check-in Made" and len(checkins()) == 1


def test_only_those_who_answer_for_attendance_may_act(device: str, employee: str) -> None:
	_first, second = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	for role in ("Employee", "Hikvision User"):
		frappe.set_user(create_test_user(role))
		for call in (
			lambda: api.replay([second]),
			lambda: api.ignore([second], "No"),
			lambda: api.count_anyway(second, reason="Yes"),
			lambda: api.undo(second, "No"),
		):
			with pytest.raises(frappe.PermissionError):
				call()


def test_making_a_checkin_needs_the_right_to_make_checkins(device: str, employee: str) -> None:
	_first, second = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	frappe.set_user(create_test_user("Hikvision Manager"))
	with pytest.raises(frappe.PermissionError):
		api.count_anyway(second, reason="I say so")


def test_no_more_than_a_bounded_number_at_once(device: str) -> None:
	with pytest.raises(frappe.ValidationError):
		api.replay([str(number) for number in range(501)])
