"""Numbers nobody has, and what mapping, ignoring and merging them does to their passes."""

from __future__ import annotations

import frappe
import pytest

from hikvision_frappe.api import people as api
from hikvision_frappe.attendance.drain import drain
from tests.bench.factories import create_test_device, create_test_employee
from tests.bench.passes import ENTRY, checkins, passes, row, set_setting, states
from tests.bench.users import create_test_user

MORNING, NOON, EVENING = "2026-03-02 07:00:00", "2026-03-02 11:00:00", "2026-03-02 16:00:00"


@pytest.fixture
def device() -> str:
	return create_test_device("Main Door", doors=ENTRY).name


@pytest.fixture
def other_device() -> str:
	return create_test_device("Back Door", doors=ENTRY).name


def person_of(code: str) -> frappe._dict:
	frappe.db.rollback()
	return frappe.db.get_value("Access Person", {"person_code": code}, "*", as_dict=True)


def commit_and_drain() -> None:
	frappe.db.commit()
	drain()


def test_an_unknown_number_waits_as_one_person_with_its_count_and_name(
	device: str, other_device: str
) -> None:
	events = passes(device, "88", MORNING, NOON, person_name="Ana Novak")
	events += passes(other_device, "88", EVENING)
	drain()
	person = person_of("88")
	assert (person.status, person.person_name, person.waiting_events) == ("Unmatched", "Ana Novak", 3)
	assert str(person.last_pass) == "2026-03-02 17:00:00"
	assert {row(event).access_person for event in events} == {person.name}
	seen = api.waiting_by_device(person.name)
	assert [(each.title, each.events, each.waiting) for each in seen] == [
		("Back Door", 1, 1),
		("Main Door", 2, 2),
	]


def test_mapping_a_number_replays_all_its_passes(device: str) -> None:
	employee = create_test_employee()
	events = passes(device, "88", MORNING, NOON)
	drain()
	person = person_of("88").name
	answer = api.map_person(person, employee)
	commit_and_drain()
	assert answer == {"person": person, "waiting": 0}
	assert {row(event).state for event in events} == {"Check-in Made"}
	assert {row(event).access_person for event in events} == {person}
	assert [made.employee for made in checkins()] == [employee, employee]
	assert person_of("88").waiting_events == 0


def test_setting_the_employee_on_the_form_does_the_same(device: str) -> None:
	employee = create_test_employee()
	[event] = passes(device, "88", MORNING)
	drain()
	document = frappe.get_doc("Access Person", person_of("88").name)
	document.employee = employee
	document.save()
	commit_and_drain()
	assert (document.status, row(event).state) == ("Matched", "Check-in Made")


def test_a_number_can_be_one_person_here_and_another_there(device: str, other_device: str) -> None:
	here, there = create_test_employee(), create_test_employee()
	[first] = passes(device, "5", MORNING)
	[second] = passes(other_device, "5", NOON)
	drain()
	holder = api.map_person(person_of("5").name, here, frappe.as_json([device]))
	commit_and_drain()
	assert (row(first).employee, row(second).state) == (here, "Unmatched")
	assert holder["waiting"] == 1
	api.map_person(person_of("5").name, there, [other_device])
	commit_and_drain()
	assert row(second).employee == there
	assert person_of("5") is None, "nothing waits for the number any more"
	[third] = passes(device, "5", EVENING)
	drain()
	assert (row(third).employee, row(third).access_person) == (here, holder["person"])


def test_a_new_number_joins_the_employees_existing_person(device: str, other_device: str) -> None:
	employee = create_test_employee()
	passes(device, "5", MORNING)
	drain()
	own = api.map_person(person_of("5").name, employee, [device])["person"]
	frappe.db.commit()
	[event] = passes(other_device, "77", NOON)
	commit_and_drain()
	answer = api.map_person(person_of("77").name, employee)
	commit_and_drain()
	assert answer["person"] == own
	assert person_of("77").name == own
	assert (row(event).state, row(event).access_person) == ("Check-in Made", own)


@pytest.mark.parametrize("roles", [("HR Manager",), ("HR User", "Hikvision User")])
def test_who_may_map_may_also_join_numbers(device: str, other_device: str, roles: tuple[str, ...]) -> None:
	employee = create_test_employee()
	passes(device, "5", MORNING)
	[event] = passes(other_device, "77", NOON)
	drain()
	frappe.set_user(create_test_user(*roles))
	own = api.map_person(person_of("5").name, employee, [device])["person"]
	frappe.db.commit()
	assert api.map_person(person_of("77").name, employee)["person"] == own
	frappe.db.commit()
	frappe.set_user("Administrator")
	drain()
	assert (row(event).state, row(event).access_person) == ("Check-in Made", own)
	assert frappe.db.count("Access Person") == 1


def test_a_second_number_on_all_devices_is_kept_beside_the_first(device: str) -> None:
	employee = create_test_employee()
	for code, time in (("5", MORNING), ("6", EVENING)):
		passes(device, code, time)
		drain()
		api.map_person(person_of(code).name, employee)
		commit_and_drain()
	assert [made.employee for made in checkins()] == [employee, employee]
	assert frappe.db.count("Access Person", {"employee": employee}) == 2


def test_an_ignored_number_is_not_counted_and_can_be_taken_back(device: str) -> None:
	[event] = passes(device, "88", MORNING)
	drain()
	person = person_of("88").name
	api.ignore_people(frappe.as_json([person]))
	commit_and_drain()
	assert (row(event).state, person_of("88").waiting_events) == ("Not Counted", 0)
	[later] = passes(device, "88", NOON)
	drain()
	assert row(later).state == "Not Counted"
	api.stop_ignoring([person])
	commit_and_drain()
	assert {row(event).state, row(later).state} == {"Unmatched"}
	assert person_of("88").waiting_events == 2


def test_an_attendance_device_id_entered_later_replays_what_waits(device: str) -> None:
	employee = create_test_employee()
	[event] = passes(device, "88", MORNING)
	drain()
	document = frappe.get_doc("Employee", employee)
	document.attendance_device_id = "88"
	document.save()
	commit_and_drain()
	assert (row(event).state, row(event).employee) == ("Check-in Made", employee)


def test_leading_zeros_are_forgiven_only_when_the_site_says_so(device: str) -> None:
	employee = create_test_employee("0042")
	[event] = passes(device, "42", MORNING)
	drain()
	person = person_of("42")
	assert (row(event).state, person.suggested_employee) == ("Unmatched", employee)
	assert "leading zeros" in person.suggestion
	set_setting("Hikvision Settings", match_ignoring_leading_zeros=1)
	[next_event] = passes(device, "42", NOON)
	drain()
	assert (row(next_event).state, row(next_event).employee) == ("Check-in Made", employee)


def test_a_name_that_only_one_employee_has_is_suggested(device: str) -> None:
	employee = create_test_employee(employee_name="Ana Novak")
	create_test_employee(employee_name="Jan Kos")
	create_test_employee(employee_name="Jan Kos")
	passes(device, "1", MORNING, person_name="ana  novak")
	passes(device, "2", MORNING, person_name="Jan Kos")
	drain()
	assert person_of("1").suggested_employee == employee
	assert person_of("2").suggested_employee is None


def test_several_people_are_mapped_at_once_or_none(device: str) -> None:
	one, two = create_test_employee(), create_test_employee()
	passes(device, "1", MORNING)
	passes(device, "2", MORNING)
	drain()
	first, second = person_of("1").name, person_of("2").name
	pairs = [{"person": first, "employee": one}, {"person": second, "employee": "nobody"}]
	with pytest.raises(frappe.DoesNotExistError):
		api.map_people(frappe.as_json(pairs))
	frappe.db.rollback()
	assert person_of("1").status == "Unmatched"
	pairs[1]["employee"] = two
	assert api.map_people(frappe.as_json(pairs)) == 2
	commit_and_drain()
	assert states(device) == {"Check-in Made": 2}


def test_an_employee_who_does_not_exist_is_no_owner_of_a_number(device: str) -> None:
	passes(device, "88", MORNING)
	drain()
	document = frappe.get_doc("Access Person", person_of("88").name)
	document.employee = "nobody"
	with pytest.raises(frappe.LinkValidationError):
		document.save()


def test_a_person_for_whom_events_wait_cannot_be_deleted(device: str) -> None:
	passes(device, "88", MORNING)
	drain()
	with pytest.raises(frappe.LinkExistsError):
		frappe.delete_doc("Access Person", person_of("88").name)


def test_only_who_may_write_people_and_read_employees_maps_them(device: str) -> None:
	employee = create_test_employee()
	passes(device, "88", MORNING)
	drain()
	person = person_of("88").name
	for roles in (["Employee"], ["Hikvision User"]):
		frappe.set_user(create_test_user(*roles))
		with pytest.raises(frappe.PermissionError):
			api.map_person(person, employee)
	frappe.set_user(create_test_user("HR Manager"))
	api.map_person(person, employee)
	frappe.set_user("Administrator")
	commit_and_drain()
	assert len(checkins()) == 1


def test_a_number_mapped_while_the_drain_reads_is_not_left_behind(device: str) -> None:
	"""The drain's facts are older than the mapping; it asks again before it calls anybody unmatched."""
	from hikvision_frappe.attendance import drain as module
	from hikvision_frappe.attendance.facts import load_facts

	employee = create_test_employee()
	[event] = passes(device, "88", MORNING)
	stale = load_facts(module._load_passes([event]))
	frappe.get_doc(
		{"doctype": "Access Person", "person_code": "88", "employee": employee, "status": "Matched"}
	).insert()
	frappe.db.commit()
	module._settle(event, stale.rules, stale)
	assert row(event).state == "Check-in Made"


def test_no_devices_as_a_form_sends_it_means_everywhere(device: str) -> None:
	(event,) = passes(device, "4711", MORNING)
	drain()
	employee = create_test_employee()

	api.map_person(person_of("4711").name, employee, devices="")

	commit_and_drain()
	assert frappe.db.get_value("Access Event", event, "employee") == employee
