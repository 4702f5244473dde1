"""From the ledger to Employee Checkins, in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import frappe
import pytest
import redis
from frappe.utils.background_jobs import get_job, is_job_enqueued

from hikvision_frappe.attendance import loop
from hikvision_frappe.attendance.drain import drain, lock_pass, something_waits
from hikvision_frappe.attendance.facts import STRICT
from hikvision_frappe.attendance.failures import MAX_ATTEMPTS, next_attempt
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.ledger.signal import DRAIN_JOB, DRAIN_JOB_ID
from hikvision_frappe.tasks.drain import enqueue_if_waiting
from tests.bench.factories import create_test_device, create_test_employee, create_test_shift, make_events
from tests.bench.passes import (
	ENTRY,
	checkins,
	make_due,
	passes,
	row,
	set_setting,
	set_site_zone,
	states,
)

MORNING = "2026-03-02 07:00:00"  # 08:00 in Stockholm


@pytest.fixture
def device() -> str:
	return create_test_device("Main Door", doors=ENTRY).name


@pytest.fixture
def employee() -> str:
	return create_test_employee("42")


@pytest.fixture
def geolocation() -> Iterator[None]:
	set_setting("HR Settings", allow_geolocation_tracking=1)
	yield
	set_setting("HR Settings", allow_geolocation_tracking=0)


@pytest.fixture
def ljubljana() -> Iterator[None]:
	before = set_site_zone("Europe/Ljubljana")
	yield
	set_site_zone(before)


OTHER_APP = "frappe.hikvision_test_app"  # Frappe takes hooks of installed apps only


@pytest.fixture
def other_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
	"""The doc_events that another app registers for Employee Checkin; its functions are in this module."""
	monkeypatch.setitem(sys.modules, OTHER_APP, sys.modules[__name__])
	frappe.get_doc("User", "Administrator").run_method("nothing")  # loads Frappe's registry of hooks
	registry = frappe.local.doc_events_hooks
	before = registry.get("Employee Checkin", {})
	registry["Employee Checkin"] = {event: list(handlers) for event, handlers in before.items()}
	yield registry["Employee Checkin"]
	registry["Employee Checkin"] = before


def test_a_pass_becomes_one_checkin_and_only_once(device: str, employee: str) -> None:
	[event] = passes(device, "42", MORNING)
	assert drain().settled == 1
	assert drain().settled == 0
	[made] = checkins()
	assert (made.employee, made.time, made.log_type) == (employee, datetime(2026, 3, 2, 8), "IN")
	assert (made.device_id, made.access_event) == ("Main Door", event)
	told = row(event)
	assert (told.state, told.employee, told.employee_checkin) == ("Check-in Made", employee, made.name)


def test_hrms_finds_the_shift_as_for_any_other_checkin(device: str) -> None:
	shift = create_test_shift()
	create_test_employee("7", default_shift=shift.name)
	passes(device, "7", MORNING)
	drain()
	[made] = checkins()
	assert (made.shift, made.offshift) == (shift.name, 0)


def test_a_replayed_event_makes_no_second_checkin(device: str, employee: str) -> None:
	events = make_events(device, 3, person="42", second=0)[:1]
	deliver(events)
	drain()
	deliver(events)
	drain()
	assert len(checkins()) == 1


@pytest.mark.parametrize(
	("values", "state"),
	[
		({"status": "Inactive"}, "Employee Inactive"),
		({"status": "Suspended"}, "Employee Suspended"),
		({"status": "Left", "relieving_date": date(2026, 3, 1)}, "Employee Left"),
		({"status": "Left", "relieving_date": date(2026, 3, 2)}, "Check-in Made"),
		({"status": "Left"}, "Employee Left"),
	],
)
def test_an_employee_who_is_not_active_has_a_state_of_its_own(
	device: str, values: dict[str, Any], state: str
) -> None:
	name = create_test_employee("42", **values)
	[event] = passes(device, "42", MORNING)
	drain()
	told = row(event)
	assert (told.state, told.employee) == (state, name)
	assert name in told.state_reason or state == "Check-in Made"


def test_a_second_read_names_the_checkin_of_the_first(device: str, employee: str) -> None:
	first, second = passes(device, "42", MORNING, "2026-03-02 07:00:30")
	drain()
	assert row(second).state == "Double Read"
	assert row(second).employee_checkin == row(first).employee_checkin


def test_a_second_read_that_was_told_before_the_first_is_found_too(device: str, employee: str) -> None:
	[late] = passes(device, "42", "2026-03-02 07:00:30")
	drain()
	[early] = passes(device, "42", MORNING)
	drain()
	assert (row(late).state, row(early).state) == ("Check-in Made", "Double Read")


def test_a_log_made_by_hand_is_recognised(device: str, employee: str) -> None:
	by_hand = frappe.get_doc(
		{"doctype": "Employee Checkin", "employee": employee, "time": "2026-03-02 08:00:00", "log_type": "IN"}
	).insert()
	frappe.db.commit()
	[event] = passes(device, "42", MORNING)
	drain()
	assert (row(event).state, row(event).employee_checkin) == ("Already Recorded", by_hand.name)
	assert len(checkins()) == 1


def test_visitors_and_doors_not_for_attendance_are_not_counted(employee: str) -> None:
	canteen = create_test_device(doors=[{"direction": "Not for Attendance"}]).name
	entry = create_test_device(doors=ENTRY).name
	[lunch] = passes(canteen, "42", MORNING)
	[visit] = passes(entry, "42", MORNING, user_type="visitor")
	drain()
	assert {row(lunch).state, row(visit).state} == {"Not Counted"}
	assert checkins() == []


def test_directions_come_from_doors_and_readers(employee: str) -> None:
	gate = create_test_device(
		doors=[
			{"door_no": 1, "reader_no": 1, "direction": "In"},
			{"door_no": 1, "reader_no": 2, "direction": "Out"},
			{"door_no": 2, "direction": "By Attendance Status", "fallback": "IN"},
		]
	).name
	passes(gate, "42", "2026-03-02 07:00:00", door_no=1, reader_no=1)
	passes(gate, "42", "2026-03-02 11:00:00", door_no=1, reader_no=2)
	passes(gate, "42", "2026-03-02 12:00:00", door_no=2, attendance_status="undefined")
	passes(gate, "42", "2026-03-02 16:00:00", door_no=2, attendance_status="overTimeOut")
	drain()
	assert [made.log_type for made in checkins()] == ["IN", "OUT", "IN", "OUT"]


def test_an_alternating_door_alternates_whatever_the_order_of_arrival(employee: str) -> None:
	door = create_test_device(doors=[{"direction": "Alternating"}]).name
	passes(door, "42", "2026-03-02 16:00:00")
	passes(door, "42", "2026-03-02 07:00:00", "2026-03-02 07:00:20", "2026-03-02 11:00:00")
	passes(door, "42", "2026-03-02 12:00:00")
	drain()
	assert [made.log_type for made in checkins()] == ["IN", "OUT", "IN", "OUT"]
	assert states(door) == {"Check-in Made": 4, "Double Read": 1}


def test_a_device_in_another_zone_gives_the_sites_time(employee: str) -> None:
	kolkata = create_test_device(doors=ENTRY, time_zone="Asia/Kolkata").name
	passes(kolkata, "42", "2026-07-01 06:00:00", occurred_text="2026-07-01T11:30:00+05:30")
	drain()
	assert checkins()[0].time == datetime(2026, 7, 1, 8)


def test_the_repeated_hour_waits_for_a_person_only_when_it_matters(ljubljana: None) -> None:
	create_test_employee("42")
	create_test_employee("43")
	gate = create_test_device(
		doors=[{"reader_no": 1, "direction": "In"}, {"reader_no": 2, "direction": "Out"}]
	).name
	# 02:30 summer time, then 02:10 winter time, forty minutes later.
	[arrival] = passes(gate, "42", "2026-10-25 00:30:00", reader_no=1)
	[departure] = passes(gate, "42", "2026-10-25 01:10:00", reader_no=2)
	[alone] = passes(gate, "43", "2026-10-25 01:10:00", reader_no=2)
	drain()
	assert (row(arrival).state, row(departure).state) == ("Check-in Made", "Ambiguous Hour")
	assert row(arrival).employee_checkin in row(departure).state_reason
	assert row(alone).state == "Check-in Made"
	assert [made.time for made in checkins()] == [
		datetime(2026, 10, 25, 2, 10),
		datetime(2026, 10, 25, 2, 30),
	]


def test_the_same_time_on_the_wall_an_hour_later_is_no_duplicate_error(ljubljana: None) -> None:
	create_test_employee("42")
	door = create_test_device(doors=ENTRY).name
	first, second = passes(door, "42", "2026-10-25 00:30:00", "2026-10-25 01:30:00")
	drain()
	assert (row(first).state, row(second).state) == ("Check-in Made", "Ambiguous Hour")


def test_coordinates_of_the_device_are_given_when_hr_tracks_locations(geolocation: None) -> None:
	create_test_employee("42")
	here = create_test_device(doors=ENTRY, latitude=46.05, longitude=14.5).name
	nowhere = create_test_device("Back Door", doors=ENTRY).name
	[told] = passes(here, "42", MORNING)
	[untold] = passes(nowhere, "42", "2026-03-02 16:00:00")
	drain()
	[made] = checkins()
	assert (made.access_event, made.latitude, made.longitude) == (told, 46.05, 14.5)
	assert row(untold).state == "Failed"
	assert "Back Door" in row(untold).state_reason


def test_a_strict_shift_asks_for_the_direction_of_the_door() -> None:
	shift = create_test_shift(determine_check_in_and_check_out=STRICT)
	create_test_employee("42", default_shift=shift.name)
	device = create_test_device("Side Door")
	[event] = passes(device.name, "42", MORNING)
	drain()
	assert row(event).state == "Failed"
	assert shift.name in row(event).state_reason and "Side Door" in row(event).state_reason
	device.append("doors", {"direction": "In"})
	device.save()
	frappe.db.commit()
	make_due()
	drain()
	assert row(event).state == "Check-in Made"


def test_an_alternating_shift_takes_a_pass_without_direction() -> None:
	shift = create_test_shift()
	create_test_employee("42", default_shift=shift.name)
	passes(create_test_device().name, "42", MORNING)
	drain()
	assert [made.log_type for made in checkins()] == [""]


def note_place(document: Any, method: str) -> None:
	"""What another app might do before a check-in is saved."""
	document.device_id = f"{document.device_id} (seen)"


def refuse_everybody(document: Any, method: str) -> None:
	frappe.throw("No check-ins on Mondays.")


def stumble(document: Any, method: str) -> None:
	raise KeyError("a bug of another app")


def reach_out(document: Any, method: str) -> None:
	raise redis.exceptions.ConnectionError("of another app's queue")


def commit_too_early(document: Any, method: str) -> None:
	frappe.db.commit()
	raise KeyError("after its own commit")


def test_hooks_of_other_apps_run(other_app: dict[str, list[str]], device: str, employee: str) -> None:
	other_app["validate"] = [f"{OTHER_APP}.note_place"]
	passes(device, "42", MORNING)
	drain()
	assert checkins()[0].device_id == "Main Door (seen)"


def test_what_another_app_refuses_stays_on_its_pass_with_its_words(
	other_app: dict[str, list[str]], device: str, employee: str
) -> None:
	other_app["validate"] = [f"{OTHER_APP}.refuse_everybody"]
	[event] = passes(device, "42", MORNING)
	drain()
	told = row(event)
	assert told.state == "Failed" and "No check-ins on Mondays." in told.state_reason
	assert told.attempts == 1 and told.next_attempt_at
	assert frappe.db.count("Error Log") == 0
	other_app["validate"] = []
	make_due()
	drain()
	told = row(event)
	assert (told.state, told.attempts, told.next_attempt_at) == ("Check-in Made", 0, None)


def test_a_bug_in_another_app_is_logged_once_tried_again_and_then_waits_for_a_person(
	other_app: dict[str, list[str]], device: str, employee: str
) -> None:
	other_app["after_insert"] = [f"{OTHER_APP}.stumble"]
	[event] = passes(device, "42", MORNING)
	for _attempt in range(MAX_ATTEMPTS):
		make_due()
		drain()
	told = row(event)
	assert (told.state, told.attempts, told.next_attempt_at) == ("Failed", MAX_ATTEMPTS, None)
	assert "KeyError" in told.state_reason
	assert frappe.get_all("Error Log", {"reference_name": event}, pluck="reference_doctype") == [
		"Access Event",
		"Access Event",
	]
	assert checkins() == [] and not something_waits()


def test_a_pass_outlives_an_outage_of_any_length(
	other_app: dict[str, list[str]], device: str, employee: str
) -> None:
	other_app["after_insert"] = [f"{OTHER_APP}.reach_out"]
	[event] = passes(device, "42", MORNING)
	for _attempt in range(MAX_ATTEMPTS + 3):
		drain()
		assert row(event).next_attempt_at is not None
		make_due()
	assert (row(event).state, row(event).attempts) == ("Failed", MAX_ATTEMPTS + 3)
	assert "by itself" in row(event).state_reason
	other_app["after_insert"] = []
	drain()
	assert row(event).state == "Check-in Made" and len(checkins()) == 1


def test_pauses_between_attempts_grow_are_scattered_and_end() -> None:
	now = datetime(2026, 3, 2, 8)
	for attempts, longest in ((1, 30), (2, 60), (3, 120), (4, 240)):
		pauses = {(next_attempt(attempts, now) - now).total_seconds() for _ in range(200)}
		assert 0 <= min(pauses) < longest / 4 and longest / 2 < max(pauses) <= longest
	assert next_attempt(MAX_ATTEMPTS, now) is None


def test_an_app_that_commits_before_it_fails_makes_no_second_checkin(
	other_app: dict[str, list[str]], device: str, employee: str
) -> None:
	other_app["after_insert"] = [f"{OTHER_APP}.commit_too_early"]
	[event] = passes(device, "42", MORNING)
	drain()
	assert row(event).state == "Failed"
	other_app["after_insert"] = []
	make_due()
	drain()
	[made] = checkins()
	assert (row(event).state, row(event).employee_checkin) == ("Check-in Made", made.name)


def test_a_default_shift_that_was_deleted_stops_nobody_else(device: str, employee: str) -> None:
	create_test_employee("13", default_shift="HIK-TEST-Deleted")
	[broken] = passes(device, "13", MORNING)
	[sound] = passes(device, "42", "2026-03-02 07:05:00")
	drain()
	assert (row(broken).state, row(sound).state) == ("Failed", "Check-in Made")


def test_a_device_whose_doors_cannot_be_understood_stops_no_other_device(device: str, employee: str) -> None:
	odd = create_test_device(doors=ENTRY).name
	frappe.db.set_value("Hikvision Device Door", {"parent": odd}, "direction", "Sideways")
	frappe.db.commit()
	[broken] = passes(odd, "42", MORNING)
	[sound] = passes(device, "42", "2026-03-02 16:00:00")
	drain()
	assert (row(broken).state, row(sound).state) == ("Failed", "Check-in Made")


def test_a_status_that_the_site_invented_counts_as_active(device: str) -> None:
	create_test_employee("42", status="On Notice")
	[event] = passes(device, "42", MORNING)
	drain()
	assert row(event).state == "Check-in Made"


def test_a_pass_that_somebody_works_on_is_left_alone(device: str, employee: str) -> None:
	locked, free = passes(device, "42", MORNING, "2026-03-02 16:00:00")
	frappe.db.commit()
	mine = frappe.local.db
	try:
		frappe.connect()
		other = frappe.local.db
		assert lock_pass(locked)
		frappe.local.db = mine
		result = drain()
	finally:
		other.rollback()
		other.close()
		frappe.local.db = mine
	assert (result.settled, result.left) == (1, 1)
	assert (row(locked).state, row(free).state) == ("New", "Check-in Made")
	drain()
	assert row(locked).state == "Check-in Made"


def test_while_one_drain_works_another_does_nothing(device: str, employee: str) -> None:
	from hikvision_frappe.attendance import drain as module

	[event] = passes(device, "42", MORNING)
	mine = frappe.local.db
	try:
		frappe.connect()
		with module.alone(module.LOCK_NAME) as alone:
			other = frappe.local.db
			assert alone
			frappe.local.db = mine
			assert drain().busy
			frappe.local.db = other
	finally:
		other.close()
		frappe.local.db = mine
	assert row(event).state == "New"
	assert drain().settled == 1


def test_a_drain_stops_at_its_limit_and_says_so(device: str, employee: str) -> None:
	passes(device, "42", *(f"2026-03-02 {hour:02d}:00:00" for hour in range(6, 12)))
	first = drain(limit=4)
	assert (first.settled, first.more) == (4, True)
	assert [made.time.hour for made in checkins()] == [7, 8, 9, 10]
	second = drain(limit=4)
	assert (second.settled, second.more) == (2, False)


def test_the_background_job_goes_on_until_nothing_waits(
	device: str, employee: str, monkeypatch: pytest.MonkeyPatch
) -> None:
	monkeypatch.setattr(loop, "SLICE_EVENTS", 4)
	passes(device, "42", *(f"2026-03-02 {hour:02d}:00:00" for hour in range(6, 17)))
	result = frappe.get_attr(DRAIN_JOB)()
	assert (result.settled, result.more) == (11, False)
	assert len(checkins()) == 11


def test_the_sweep_queues_a_job_only_for_what_is_due(
	other_app: dict[str, list[str]], device: str, employee: str
) -> None:
	other_app["validate"] = [f"{OTHER_APP}.refuse_everybody"]
	passes(device, "42", MORNING)
	assert sweep_queues_a_job()
	drain()
	assert not sweep_queues_a_job()
	make_due()
	assert sweep_queues_a_job()


def sweep_queues_a_job() -> bool:
	"""Whether the sweep queues a job where none is queued."""
	if job := get_job(DRAIN_JOB_ID):
		job.delete()
	enqueue_if_waiting()
	return is_job_enqueued(DRAIN_JOB_ID)


def test_the_sweep_finds_a_number_that_was_entered_past_the_document(device: str) -> None:
	employee = create_test_employee()
	[event] = passes(device, "88", MORNING)
	drain()
	assert row(event).state == "Unmatched"
	frappe.db.set_value("Employee", employee, "attendance_device_id", "88")
	frappe.db.commit()
	enqueue_if_waiting()
	drain()
	assert (row(event).state, row(event).employee) == ("Check-in Made", employee)


def test_a_drain_stops_when_its_time_is_up(device: str, employee: str) -> None:
	passes(device, "42", *(f"2026-03-02 {hour:02d}:00:00" for hour in range(6, 12)))
	result = drain(time_budget=1e-6)
	assert (result.settled, result.more) == (0, True)


def test_passes_of_years_are_settled_in_one_go(employee: str) -> None:
	door = create_test_device(doors=[{"direction": "Alternating"}]).name
	passes(door, "42", *(f"202{year}-0{month}-02 07:00:00" for year in range(2, 6) for month in range(1, 8)))
	assert drain().settled == 28
	assert {made.log_type for made in checkins()} == {"IN"}


class Statements:
	"""Counts the statements that a block sends to the database."""

	def __enter__(self) -> Statements:
		self.sent: list[str] = []
		self._original = frappe.db.sql

		def counted(query: Any, *args: Any, **kwargs: Any) -> Any:
			self.sent.append(str(query))
			return self._original(query, *args, **kwargs)

		frappe.db.sql = counted
		return self

	def __exit__(self, *_: object) -> None:
		frappe.db.sql = self._original

	def __len__(self) -> int:
		return len(self.sent)


def test_facts_are_read_once_for_a_batch_and_few_statements_are_sent_for_each_pass(device: str) -> None:
	shift = create_test_shift()
	for code in range(100, 160):
		create_test_employee(str(code), default_shift=shift.name)
	counts = []
	for hour, people in ((7, 20), (12, 20), (15, 60)):
		for code in range(100, 100 + people):
			passes(device, str(code), f"2026-03-02 {hour:02d}:00:00")
		with Statements() as statements:
			assert drain().settled == people
		counts.append(len(statements))
	_warm, few, many = counts
	each, rest = (many - few) / 40, few - (many - few) / 2
	assert each <= 15, statements.sent[-30:]
	assert rest <= 20
