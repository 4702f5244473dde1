"""A backlog becomes Employee Checkins in sets: when it may, what it leaves to the document, and that nobody waits."""

from __future__ import annotations

from typing import Any

import pytest

from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.attendance.set_listeners import why_not_sets
from tests.bench.factories import create_test_device, create_test_employee, create_test_shift
from tests.bench.passes import ENTRY, checkins, passes, row

FIRST_CODE = 500
DAY = "2026-03-02"


@pytest.fixture
def device() -> str:
	return create_test_device("Main Door", doors=ENTRY).name


def staff(count: int, **values: Any) -> list[str]:
	"""Employees with the numbers from FIRST_CODE on."""
	return [create_test_employee(str(FIRST_CODE + number), **values) for number in range(count)]


def backlog(device: str, people: int, hours: tuple[int, ...] = (7,)) -> list[str]:
	return [
		name
		for number in range(people)
		for name in passes(
			device, str(FIRST_CODE + number), *(f"{DAY} {hour:02d}:{number % 60:02d}:00" for hour in hours)
		)
	]


def test_nothing_listens_on_a_site_as_it_was_installed() -> None:
	assert why_not_sets() == []


def test_a_backlog_is_settled_in_sets_but_for_the_first_which_hrms_makes(device: str) -> None:
	shift = create_test_shift()
	staff(60, default_shift=shift.name)
	events = backlog(device, 60, (7, 16))
	result = drain()
	assert (result.settled, result.in_sets, result.why_not_sets) == (120, 119, [])
	made = checkins()
	assert sorted(each.access_event for each in made) == sorted(events)
	assert {(each.shift, each.offshift) for each in made} == {(shift.name, 0)}
	for each in made:
		told = row(each.access_event)
		assert (told.state, told.employee_checkin) == ("Check-in Made", each.name)
		assert (told.employee, told.log_type) == (each.employee, "IN")
