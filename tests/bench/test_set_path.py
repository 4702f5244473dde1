"""A backlog becomes Employee Checkins in sets: when it may, what it leaves to the document, and that nobody waits."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import frappe
import pytest
from frappe.custom.doctype.custom_field.custom_field import create_custom_fields
from frappe.custom.doctype.property_setter.property_setter import make_property_setter
from frappe.query_builder.functions import Count
from frappe.utils import now

from hikvision_frappe.attendance.drain import DrainResult, drain, lock_pass
from hikvision_frappe.attendance.facts import STRICT
from hikvision_frappe.attendance.set_listeners import DIFFERENCE, in_one_line, why_not_sets
from hikvision_frappe.attendance.set_names import reserve_names, series_now
from hikvision_frappe.ledger.intake import deliver
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, create_test_employee, create_test_shift, make_event
from tests.bench.other_writer import OtherWriter
from tests.bench.passes import ENTRY, checkins, passes, row, set_setting, states, utc
from tests.bench.processes import bench_command, wait_until

FIRST_CODE = 500
DAY = "2026-03-02"
CHECKIN = "Employee Checkin"
SERIALS = itertools.count(100_000)


@pytest.fixture
def device() -> str:
	return create_test_device("Main Door", doors=ENTRY).name


def staff(count: int, **values: Any) -> list[str]:
	"""Employees with the numbers from FIRST_CODE on."""
	return [create_test_employee(str(FIRST_CODE + number), **values) for number in range(count)]


def backlog(device: str, people: int, *hours: int) -> list[str]:
	"""Passes of everybody at these hours, in order of time."""
	events = [
		make_event(
			device,
			next(SERIALS),
			person=str(FIRST_CODE + number),
			occurred_at=utc(f"{DAY} {hour:02d}:{number // 60:02d}:{number % 60:02d}"),
		)
		for hour in hours or (7,)
		for number in range(people)
	]
	assert not deliver(events).refused
	frappe.db.rollback()
	numbers = {event.serial_no for event in events}
	rows = frappe.get_all(
		"Access Event", {"device": device}, ["name", "serial_no"], order_by="occurred_at_utc"
	)
	return [each.name for each in rows if each.serial_no in numbers]


def drain_in_sets() -> DrainResult:
	result = drain(backlog=1)
	assert result.why_not_sets == []
	return result


# When


def test_nothing_listens_on_a_site_as_it_was_installed() -> None:
	assert why_not_sets() == []


def test_a_backlog_is_settled_in_sets_but_for_the_first_which_hrms_makes(device: str) -> None:
	shift = create_test_shift()
	staff(60, default_shift=shift.name)
	events = backlog(device, 60, 7, 16)
	result = drain()
	assert (result.settled, result.in_sets, result.why_not_sets) == (120, 119, [])
	made = checkins()
	assert [each.access_event for each in made] == events
	assert {(each.shift, each.offshift) for each in made} == {(shift.name, 0)}
	for each in made:
		told = row(each.access_event)
		assert (told.state, told.employee_checkin) == ("Check-in Made", each.name)
		assert (told.employee, told.log_type) == (each.employee, "IN")


def test_few_passes_take_the_document(device: str) -> None:
	staff(3)
	backlog(device, 3)
	result = drain()
	assert (result.settled, result.in_sets) == (3, 0)


RECORDS: list[tuple[str, dict[str, Any]]] = [
	(
		"Server Script",
		{"script_type": "DocType Event", "reference_doctype": CHECKIN, "doctype_event": "After Save"},
	),
	("Webhook", {"webhook_doctype": CHECKIN, "enabled": 1, "webhook_docevent": "after_insert"}),
	("Notification", {"document_type": CHECKIN, "enabled": 1, "event": "New"}),
	("Assignment Rule", {"document_type": CHECKIN}),
	("Workflow", {"document_type": CHECKIN, "is_active": 1}),
	("Energy Point Rule", {"reference_doctype": CHECKIN, "enabled": 1}),
	("Milestone Tracker", {"document_type": CHECKIN}),
	("Service Level Agreement", {"document_type": CHECKIN, "enabled": 1}),
	("Document Naming Rule", {"document_type": CHECKIN}),
	("User Type", {"apply_user_permission_on": CHECKIN}),
]


@pytest.mark.parametrize(("doctype", "values"), RECORDS, ids=[doctype for doctype, _values in RECORDS])
def test_a_record_that_acts_on_new_checkins_is_named(doctype: str, values: dict[str, Any]) -> None:
	if not frappe.db.table_exists(doctype):
		return  # version 16 has no energy points
	insert(doctype, values)
	[reason] = why_not_sets()
	assert "HIK-TEST-Listener" in reason


@pytest.mark.parametrize(
	("doctype", "values"),
	[
		("Server Script", {**RECORDS[0][1], "disabled": 1}),
		("Server Script", {**RECORDS[0][1], "doctype_event": "Before Delete"}),
		("Webhook", {**RECORDS[1][1], "webhook_docevent": "on_trash"}),
		("Notification", {**RECORDS[2][1], "event": "Days After"}),
		("Notification", {**RECORDS[2][1], "document_type": "Attendance"}),
	],
)
def test_what_acts_on_something_else_is_no_listener(doctype: str, values: dict[str, Any]) -> None:
	insert(doctype, values)
	assert why_not_sets() == []


def insert(doctype: str, values: dict[str, Any]) -> None:
	"""A record in this transaction only; the test's end takes it back."""
	values = {"name": "HIK-TEST-Listener", "creation": now(), "modified": now(), **values}
	frappe.db.bulk_insert(doctype, list(values), [tuple(values.values())])


@contextmanager
def meta_of_the_site() -> Iterator[None]:
	"""Changes to Employee Checkin's form, taken back afterwards."""
	try:
		yield
	finally:
		frappe.db.rollback()
		frappe.db.delete("Property Setter", {"doc_type": CHECKIN})
		frappe.db.commit()
		frappe.clear_cache(doctype=CHECKIN)


@pytest.mark.parametrize(
	("field", "property_", "value", "kind"),
	[
		("device_id", "reqd", 1, "Check"),
		("device_id", "default", "Somewhere", "Text"),
		("device_id", "in_global_search", 1, "Check"),
		("log_type", "options", "\nIN\nOUT\nBREAK", "Text"),
		(None, "autoname", "hash", "Data"),
		(None, "autoname", "CI-.employee.-.####", "Data"),
	],
)
def test_a_changed_form_is_a_listener(field: str | None, property_: str, value: Any, kind: str) -> None:
	with meta_of_the_site():
		make_property_setter(CHECKIN, field, property_, value, kind, for_doctype=field is None)
		frappe.clear_cache(doctype=CHECKIN)
		[reason] = why_not_sets()
		assert (field or value) in reason


def test_a_look_of_the_form_is_no_listener() -> None:
	with meta_of_the_site():
		make_property_setter(CHECKIN, "device_id", "label", "Door", "Data")
		make_property_setter(CHECKIN, "latitude", "hidden", 1, "Check")
		frappe.clear_cache(doctype=CHECKIN)
		assert why_not_sets() == []


def test_a_field_of_the_site_gets_its_default_as_from_the_document_and_one_that_is_fetched_takes_the_document(
	device: str,
) -> None:
	fields = [
		{"fieldname": "hik_test_kind", "fieldtype": "Select", "options": "Door\nGate", "label": "Kind"},
		{"fieldname": "hik_test_paid", "fieldtype": "Check", "default": "1", "label": "Paid"},
		{"fieldname": "hik_test_note", "fieldtype": "Small Text", "label": "Note"},
	]
	fetched = {
		"fieldname": "hik_test_branch",
		"fieldtype": "Data",
		"label": "Branch",
		"fetch_from": "employee.branch",
	}
	try:
		create_custom_fields({CHECKIN: fields})
		staff(3)
		backlog(device, 3)
		assert drain_in_sets().in_sets == 2
		assert {(each.hik_test_kind, each.hik_test_paid, each.hik_test_note) for each in checkins()} == {
			("Door", 1, None)
		}
		create_custom_fields({CHECKIN: [fetched]})
		assert "hik_test_branch" in why_not_sets()[0]
	finally:
		for field in (*fields, fetched):
			frappe.delete_doc(
				"Custom Field", f"{CHECKIN}-{field['fieldname']}", force=True, ignore_missing=True
			)
			if field["fieldname"] in frappe.db.get_table_columns(CHECKIN):
				frappe.db.sql_ddl(f"alter table `tab{CHECKIN}` drop column `{field['fieldname']}`")
		frappe.clear_cache(doctype=CHECKIN)


@pytest.mark.parametrize("doctype", [CHECKIN, "*"])
def test_a_hook_of_another_app_is_named(doctype: str) -> None:
	frappe.get_doc("User", "Administrator").run_method("nothing")  # loads Frappe's registry of hooks
	registry = frappe.local.doc_events_hooks
	before = registry.get(doctype, {})
	registry[doctype] = {**before, "after_insert": ["other_app.checkins.mirror"]}
	try:
		[reason] = why_not_sets()
	finally:
		registry[doctype] = before
	assert "other_app.checkins.mirror" in reason


def test_tracked_locations_and_any_other_user_take_the_document() -> None:
	set_setting("HR Settings", allow_geolocation_tracking=1)
	try:
		assert len(why_not_sets()) == 1
	finally:
		set_setting("HR Settings", allow_geolocation_tracking=0)
	frappe.set_user("test@erpnext.com")
	assert "test@erpnext.com" in why_not_sets()[0]


def test_a_backlog_that_somebody_listens_to_goes_one_by_one_and_says_why(device: str) -> None:
	staff(2)
	backlog(device, 2)
	insert("Milestone Tracker", {"document_type": CHECKIN, "track_field": "log_type"})
	frappe.db.commit()
	try:
		result = drain(backlog=1)
	finally:
		frappe.db.delete("Milestone Tracker")
		frappe.db.delete("Milestone", {"reference_type": CHECKIN})
		frappe.db.commit()
	assert (result.settled, result.in_sets) == (2, 0)
	assert "HIK-TEST-Listener" in result.why_not_sets[0]


def test_the_status_says_how_backlogs_are_written() -> None:
	assert in_one_line().endswith("in sets")
	insert("Milestone Tracker", {"document_type": CHECKIN})
	assert "HIK-TEST-Listener" in in_one_line()


def test_a_checkin_that_hrms_writes_otherwise_ends_the_sets_for_a_while(
	device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
	"""A version of HRMS that nobody has seen yet, played by one of its functions."""
	from hrms.hr.doctype.employee_checkin import employee_checkin

	def in_the_yard(document: Any) -> None:
		document.device_id = "The Yard"

	staff(4)
	backlog(device, 4)
	monkeypatch.setattr(employee_checkin, "set_geolocation_from_coordinates", in_the_yard)
	try:
		result = drain(backlog=1)
		assert (result.settled, result.in_sets) == (4, 0)
		assert "device_id" in why_not_sets()[0]
		assert frappe.db.count("Error Log", {"method": ["like", "Hikvision:%"]}) == 1
	finally:
		frappe.cache.delete_value(DIFFERENCE)
	assert {each.device_id for each in checkins()} == {"The Yard"}


# What


def test_states_and_reasons_are_those_of_the_document(device: str) -> None:
	staff(3)
	create_test_employee("600", status="Inactive")
	backlog(device, 3)
	[double] = passes(device, str(FIRST_CODE + 1), f"{DAY} 07:00:20")
	[inactive] = passes(device, "600", f"{DAY} 07:01:00")
	[visitor] = passes(device, "601", f"{DAY} 07:02:00", user_type="visitor")
	assert drain_in_sets().in_sets == 5
	assert (row(double).state, row(inactive).state, row(visitor).state) == (
		"Double Read",
		"Employee Inactive",
		"Not Counted",
	)
	[first] = checkins(employee=row(double).employee)
	assert row(double).employee_checkin == first.name
	assert first.name in row(double).state_reason


def test_numbers_that_nobody_has_wait_in_sets_too(device: str) -> None:
	unknown = passes(device, "9001", *(f"{DAY} {hour:02d}:00:00" for hour in range(1, 9)))
	drain(limit=1)
	person = frappe.get_doc("Access Person", {"person_code": "9001"})
	assert drain_in_sets().in_sets == 7
	assert states(device) == {"Unmatched": 8}
	assert {row(name).access_person for name in unknown} == {person.name}
	assert frappe.db.get_value("Access Person", person.name, "waiting_events") == 8
	person.update({"employee": create_test_employee(), "status": "Matched"})
	person.save()
	frappe.db.commit()
	assert drain_in_sets().states == {"Check-in Made": 8}


def test_a_doubtful_pass_takes_the_document_with_the_later_ones_of_its_employee(device: str) -> None:
	shift = create_test_shift(determine_check_in_and_check_out=STRICT)
	create_test_employee("42", default_shift=shift.name)
	create_test_employee("43", default_shift=shift.name)
	gate = create_test_device("Gate", doors=[{"reader_no": 1, "direction": "In"}]).name
	passes(gate, "43", f"{DAY} 06:30:00")
	[undirected] = passes(gate, "42", f"{DAY} 07:00:00", reader_no=2)
	[after] = passes(gate, "42", f"{DAY} 08:00:00")
	passes(gate, "43", f"{DAY} 09:00:00")
	result = drain_in_sets()
	assert (result.settled, result.in_sets) == (4, 1)  # the first is HRMS's, two more are left to it
	assert (row(undirected).state, row(after).state) == ("Failed", "Check-in Made")
	assert "Gate" in row(undirected).state_reason


def test_a_deleted_default_shift_and_a_name_with_markup_stop_nobody_else(device: str) -> None:
	staff(5)
	create_test_employee("700", default_shift="HIK-TEST-Deleted")
	create_test_employee("701", employee_name="<b>Bold</b> & Sons")
	backlog(device, 5)
	[deleted] = passes(device, "700", f"{DAY} 07:30:00")
	[markup] = passes(device, "701", f"{DAY} 07:31:00")
	result = drain_in_sets()
	assert (result.in_sets, result.states["Check-in Made"]) == (4, 6)
	assert (row(deleted).state, row(markup).state) == ("Failed", "Check-in Made")


def test_a_log_that_somebody_makes_between_plan_and_writing_is_recognised(device: str) -> None:
	employees = staff(5)
	events = backlog(device, 5)
	with at_the_statement("update `tabSeries`", lambda: by_hand(employees[3], f"{DAY} 08:00:03"), 2):
		result = drain_in_sets()
	assert (result.settled, result.in_sets) == (5, 3)
	assert row(events[3]).state in ("Already Recorded", "Double Read")
	assert len(checkins()) == 5


def test_a_pass_that_somebody_works_on_is_left_alone(device: str) -> None:
	staff(5)
	events = backlog(device, 5)
	frappe.db.commit()
	with another_connection() as other:
		with used(other):
			assert lock_pass(events[2])
		frappe.db.sql("set innodb_lock_wait_timeout = 1")
		result = drain_in_sets()
		frappe.db.sql("set innodb_lock_wait_timeout = 50")
	assert (result.settled, result.in_sets, result.left) == (4, 3, 1)
	assert row(events[2]).state == "New"
	assert drain().settled == 1


def test_a_set_that_cannot_be_written_goes_one_by_one(device: str) -> None:
	"""The counter was set back by hand, so that the names are taken."""
	employees = staff(6)
	series = series_now()
	taken = reserve_names(8)
	for number, name in enumerate(taken[4:]):
		by_hand(employees[number], f"2026-01-05 08:00:0{number}", name)
	set_current(series.key, current(series.key) - 8)
	events = backlog(device, 6)
	result = drain_in_sets()
	assert result.in_sets == 0 and result.settled == 6
	assert {row(name).state for name in events} == {"Check-in Made", "Failed"}
	assert len(checkins(access_event=["is", "set"])) == list(result.states.values())[0]


def current(key: str) -> int:
	series = frappe.qb.DocType("Series")
	return frappe.qb.from_(series).select(series.current).where(series.name == key).run()[0][0]


def set_current(key: str, number: int) -> None:
	series = frappe.qb.DocType("Series")
	frappe.qb.update(series).set(series.current, number).where(series.name == key).run()
	frappe.db.commit()


def by_hand(employee: str, moment: str, name: str | None = None) -> None:
	"""A check-in of somebody else, committed; under a name of its own where one is given."""
	values = {"doctype": CHECKIN, "employee": employee, "time": moment, "log_type": "IN"}
	frappe.get_doc(values).insert() if name is None else frappe.get_doc(values).insert(set_name=name)
	frappe.db.commit()


# Names, locks, statements


def test_names_go_on_where_hrms_left_off_and_hrms_goes_on_after_them(device: str) -> None:
	employees = staff(4)
	by_hand(employees[0], "2026-01-05 08:00:00")
	backlog(device, 4)
	drain_in_sets()
	by_hand(employees[0], "2026-01-06 08:00:00")
	names = sorted(each.name for each in checkins())
	numbers = [int(name.rsplit("-", 1)[1]) for name in names]
	assert numbers == list(range(numbers[0], numbers[0] + 6))
	assert len({name.rsplit("-", 1)[0] for name in names}) == 1
	assert len(names[0].rsplit("-", 1)[1]) == 6


def test_the_first_names_of_a_month_begin_at_one() -> None:
	series = series_now()
	before = current(series.key) if frappe.db.exists("Series", {"name": series.key}) else None
	frappe.db.delete("Series", {"name": series.key})
	frappe.db.commit()
	try:
		assert reserve_names(3) == [series.name(number) for number in (1, 2, 3)]
		assert reserve_names(1) == [series.name(4)]
		assert reserve_names(0) == []
	finally:
		set_current(series.key, max(before or 0, 4))


def test_while_a_set_is_written_others_name_and_insert_their_checkins_at_once(device: str) -> None:
	employees = staff(30)
	somebody = create_test_employee()
	backlog(device, 30)
	waited = []

	def insert_as_somebody_else() -> None:
		with another_connection() as other, used(other):
			frappe.db.sql("set innodb_lock_wait_timeout = 1")
			for employee, moment in (
				(somebody, "2026-01-05 08:00:00"),
				(employees[5], "2026-01-05 08:00:00"),
			):
				begin = time.perf_counter()
				by_hand(employee, moment)
				waited.append(time.perf_counter() - begin)

	with at_the_statement("update `tabAccess Event`", insert_as_somebody_else, occurrence=2):
		assert drain_in_sets().in_sets == 29
	assert len(waited) == 2 and max(waited) < 1
	assert len(checkins()) == 32


def test_a_set_needs_as_many_statements_however_many_passes_it_has(device: str) -> None:
	shift = create_test_shift()
	staff(90, default_shift=shift.name)
	counts = []
	for hour, people in ((5, 90), (8, 20), (11, 90)):
		backlog(device, people, hour)
		with counted_statements() as statements:
			assert drain_in_sets().in_sets == people - 1
		counts.append(len(statements))
	_warm, few, many = counts
	assert many == few, statements[-60:]


def test_others_who_insert_all_the_while_meet_no_deadlock(device: str) -> None:
	employees = staff(100, default_shift=create_test_shift().name)
	for hour in (5, 8, 11, 14):
		backlog(device, 100, hour)
	with OtherWriter(employees[:50]) as writer:
		writer.begin()
		result = drain()
		latencies = writer.end()
	assert (result.settled, result.in_sets) == (400, 399)
	assert latencies
	assert len(checkins(access_event=["is", "set"])) == 400


@pytest.mark.timeout(300)
def test_a_drain_that_is_killed_leaves_nothing_half_done(device: str) -> None:
	staff(120, default_shift=create_test_shift().name)
	for hour in range(4, 16):
		backlog(device, 120, hour)
	everything = 120 * 12
	for delay in (0.05, 0.2, 0.4):
		done = settled()
		with subprocess.Popen(bench_command("hikvision", "drain", "--once"), cwd=".") as process:
			wait_until(
				lambda done=done: settled() > done or process.poll() is not None, 60, "the drain to begin"
			)
			time.sleep(delay)  # somewhere within the next set
			process.kill()
		assert_nothing_is_half_done()
	# The database notices after a moment that the last one is gone, and gives its lock to the next.
	wait_until(lambda: drain() and settled() == everything, 120, "everything to be settled")
	assert_nothing_is_half_done()


def settled() -> int:
	return frappe.db.count("Access Event", {"state": "Check-in Made"})


def assert_nothing_is_half_done() -> None:
	"""Check-ins and the ledger's links say the same, row by row, whenever somebody looks."""
	for _look in range(3):
		frappe.db.rollback()  # a transaction sees both sides as of one moment
		checkin, event = frappe.qb.DocType(CHECKIN), frappe.qb.DocType("Access Event")
		both = (
			frappe.qb.from_(checkin)
			.join(event)
			.on((checkin.access_event == event.name) & (event.employee_checkin == checkin.name))
			.select(Count("*"))
			.where(event.state == "Check-in Made")
			.run()[0][0]
		)
		assert frappe.db.count(CHECKIN, {"access_event": ["is", "set"]}) == both
		assert frappe.db.count("Access Event", {"state": "Check-in Made"}) == both


@contextmanager
def another_connection() -> Iterator[Any]:
	"""A second connection to the site, closed afterwards."""
	mine = frappe.local.db
	frappe.connect(set_admin_as_user=False)
	other, frappe.local.db = frappe.local.db, mine
	try:
		yield other
	finally:
		other.rollback()
		other.close()


@contextmanager
def used(connection: Any) -> Iterator[None]:
	"""Within the block Frappe works on this connection."""
	mine, frappe.local.db = frappe.local.db, connection
	try:
		yield
	finally:
		frappe.local.db = mine


@contextmanager
def at_the_statement(beginning: str, do: Callable[[], None], occurrence: int = 1) -> Iterator[None]:
	"""Do something, on another connection, once before a statement that begins so; on this one the set goes on."""
	database, seen = frappe.db, 0
	original = database.sql
	mine = frappe.local.db

	def watching(query: Any, *args: Any, **kwargs: Any) -> Any:
		nonlocal seen
		if str(query).lower().startswith(beginning.lower()):
			seen += 1
			if seen == occurrence:
				frappe.connect(set_admin_as_user=False)
				other = frappe.local.db
				try:
					do()
				finally:
					other.close()
					frappe.local.db = mine
		return original(query, *args, **kwargs)

	database.sql = watching
	try:
		yield
	finally:
		database.sql = original
	assert seen >= occurrence
