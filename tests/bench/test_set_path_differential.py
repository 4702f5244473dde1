"""What sets write is, field by field, what HRMS's own document writes: held against it over worlds by chance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import frappe
import pytest
from hrms.hr.doctype.shift_assignment.shift_assignment import get_actual_start_end_datetime_of_shift
from hypothesis import HealthCheck, event, example, given, settings

from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.attendance.set_rows import OF_ITS_OWN
from hikvision_frappe.attendance.set_shifts import load_employments, load_shift_book
from tests.bench.factories import clear_test_data
from tests.bench.passes import set_site_zone
from tests.bench.shifts_by_chance import (
	DAYS,
	Assigned,
	Moment,
	Passed,
	Shift,
	Worker,
	World,
	create_by_hand,
	create_holidays,
	create_passes,
	create_workers,
	remove_holidays,
	worlds,
)

NEVER = 10**6  # so many passes never wait: all of them go through the document
TOLD = ("state", "state_reason", "log_type", "employee", "access_person", "attempts")
ON_A_BENCH = settings(
	deadline=None,
	database=None,
	suppress_health_check=[
		HealthCheck.function_scoped_fixture,
		HealthCheck.too_slow,
		HealthCheck.data_too_large,
	],
)

NIGHT = Shift(22 * 60, 6 * 60, before=90, after=120)
DAY = Shift(8 * 60, 17 * 60)
NIGHTS = World(
	DAYS[1],
	"Europe/Stockholm",
	(DAY, NIGHT),
	(
		Worker(0, (Assigned(1, -1, 1),)),
		Worker(None, (Assigned(0, -5, None), Assigned(1, -5, None))),
		Worker(None, ()),
	),
	("In", "Out"),
	tuple(
		Passed(worker, Moment(day, minute, 0, 5), 1 + (minute > 720))
		for worker in range(3)
		for day in (-1, 0, 1)
		for minute in (5, 150, 420, 600, 1100, 1230, 1330)
	),
)


@pytest.fixture(scope="module", autouse=True)
def site_as_before(site_connection: str) -> Iterator[None]:
	before = frappe.db.get_single_value("System Settings", "time_zone")
	remove_holidays()
	create_holidays()
	yield
	remove_holidays()
	set_site_zone(before)


@pytest.mark.timeout(600)
@example(NIGHTS)
@settings(ON_A_BENCH, max_examples=20)
@given(worlds(passes=40))
def test_sets_write_what_the_document_writes(world: World) -> None:
	clear_test_data()
	if frappe.db.get_single_value("System Settings", "time_zone") != world.zone:
		set_site_zone(world.zone)
	create_by_hand(world, create_workers(world))
	create_passes(world)
	drain(limit=1000, backlog=NEVER)
	by_document = outcome()
	take_back()
	result = drain(limit=1000, backlog=1)
	assert result.why_not_sets == []
	assert frappe.get_all("Error Log", {"method": ["like", "Hikvision: check-ins%"]}) == []
	assert outcome() == by_document
	event(f"in sets: {10 * result.in_sets // max(result.settled, 1)}0 %")


def outcome() -> tuple[dict[str, Any], dict[str, Any]]:
	"""Check-ins and ledger rows by event; a check-in's own name is told as its event."""
	frappe.db.rollback()
	rows = frappe.get_all("Employee Checkin", fields=["*"])
	names = {row.name: row.access_event for row in rows if row.access_event}
	made = {
		row.access_event: {field: value for field, value in row.items() if field not in OF_ITS_OWN}
		for row in rows
		if row.access_event
	}
	told = {}
	for row in frappe.get_all("Access Event", fields=["name", "employee_checkin", *TOLD]):
		for name, its_event in names.items():
			row.state_reason = (row.state_reason or "").replace(name, f"<{its_event}>")
		row.employee_checkin = names.get(row.employee_checkin, row.employee_checkin)
		row.access_person = frappe.db.get_value("Access Person", row.access_person, "person_code")
		told[row.pop("name")] = dict(row)
	return made, told


def take_back() -> None:
	"""The ledger and the check-ins as they were before the drain."""
	event_ = frappe.qb.DocType("Access Event")
	frappe.db.delete("Employee Checkin", {"access_event": ["is", "set"]})
	frappe.db.delete("Access Person")
	query = (
		frappe.qb.update(event_)
		.set(event_.state, "New")
		.set(event_.state_reason, "")
		.set(event_.log_type, "")
	)
	query = (
		query.set(event_.employee, None).set(event_.access_person, None).set(event_.employee_checkin, None)
	)
	query.set(event_.attempts, 0).set(event_.next_attempt_at, None).run()
	frappe.db.commit()


@pytest.mark.timeout(600)
@example(NIGHTS)
@settings(ON_A_BENCH, max_examples=60)
@given(worlds(passes=8))
def test_a_shift_is_found_as_hrms_finds_it(world: World) -> None:
	clear_test_data()
	employees = create_workers(world)
	book = load_shift_book(load_employments(employees))
	for each in world.passes:
		employee = employees[each.worker]
		for days in (0, 9):
			moment = each.moment.on(world.day).replace(microsecond=0, fold=0) + timedelta(days=days)
			assert ours(book, employee, moment) == theirs(employee, moment), (employee, moment)


def ours(book: Any, employee: str, moment: Any) -> Any:
	try:
		found = book.shift_at(employee, moment)
	except AttributeError:
		return AttributeError
	return found and (found.name, found.start, found.end, found.actual_start, found.actual_end)


def theirs(employee: str, moment: Any) -> Any:
	try:
		found = get_actual_start_end_datetime_of_shift(employee, moment, True)
	except AttributeError:  # a default shift that was deleted
		return AttributeError
	if not found:
		return None
	return (
		found.shift_type.name,
		found.start_datetime,
		found.end_datetime,
		found.actual_start,
		found.actual_end,
	)
