"""Two weeks of fifty people, with every kind of outage: HRMS calls nobody absent who was there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime

import frappe
import pytest

from tests.bench.factories import clear_test_data
from tests.bench.two_weeks import hr
from tests.bench.two_weeks.calendar import DAYS, START, at, wall
from tests.bench.two_weeks.faults import EVERYTHING_WRONG
from tests.bench.two_weeks.frozen import SimulatedClock, simulated_clock
from tests.bench.two_weeks.hr import Attendances
from tests.bench.two_weeks.reference import attendance_of_perfect_delivery
from tests.bench.two_weeks.truth import SHIFTS, Truth, two_weeks
from tests.bench.two_weeks.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_right: dict[int, Attendances] = {}


@pytest.fixture
def clock(site: str) -> Iterator[SimulatedClock]:
	hr.dismiss()
	with simulated_clock(START) as frozen:
		yield frozen
	hr.dismiss()


def right_attendance(world: World, truth: Truth, clock: SimulatedClock) -> Attendances:
	"""What HRMS makes of the same punches when nothing goes wrong; made once for all tests."""
	if not _right:
		clear_test_data()
		hr.dismiss()
		_right[0] = attendance_of_perfect_delivery(world.punches(), truth, clock)
	return _right[0]


def wrongs(made: Attendances, right: Attendances, days: list[date]) -> Counter[str]:
	"""In how many ways people were done wrong."""
	found: Counter[str] = Counter()
	for key, row in right.items():
		if key[1] not in days:
			continue
		told = made.get(key)
		if told is None:
			found["missing"] += 1
		elif told.status != row.status:
			found[f"false {told.status}"] += 1
		elif row.out_time and not told.out_time:
			found["missing OUT"] += 1
		elif told != row:
			found["other times"] += 1
	found["made up"] = sum(key not in right for key in made if key[1] in days)
	return +found


def assert_no_shift_is_ahead_of_what_is_known(
	world: World, now: datetime, before: dict[str, datetime | None]
) -> dict[str, datetime | None]:
	"""Last Sync of Checkin never goes back, and never beyond a record that nobody has counted or accepted as lost."""
	syncs = hr.last_syncs(world.staff)
	for shift in SHIFTS:
		sync, earlier = syncs[shift.name], before.get(shift.name)
		if sync is None:
			assert earlier is None
			continue
		assert earlier is None or sync >= earlier, f"{shift.name} went back at {now}"
		missing = world.outstanding(shift.name, now)
		assert missing is None or sync <= wall(missing.shown), (
			f"{shift.name} at {now}: {sync} is beyond {missing}"
		)
	return syncs


def assert_every_record_is_in_the_ledger_once(world: World) -> None:
	for terminal in world.terminals.values():
		told = world.told[terminal.key]
		lost = told.accepted - told.committed  # of what HR had accepted, some was told after all
		serials = frappe.get_all("Access Event", {"device": terminal.key}, pluck="serial_no")
		expected = Counter(record.serial for record in terminal.records if record.serial not in lost)
		if terminal.kind.history_numbered and terminal.door != "office":
			assert Counter(serials) == expected, terminal.door
		assert len(serials) == len(expected), terminal.door


def assert_every_punch_is_one_checkin(world: World) -> None:
	rows = frappe.get_all("Employee Checkin", fields=["employee", "time", "log_type", "access_event"])
	expected = Counter(
		(world.staff.employees[person], wall(moment), "OUT" if out else "IN")
		for person, moment, out in world.punches()
	)
	assert Counter((row.employee, row.time, row.log_type) for row in rows) == expected
	events = [row.access_event for row in rows if row.access_event]
	assert len(events) == len(set(events))


def test_after_two_weeks_of_outages_attendance_is_what_it_would_be_without_any(
	site: str, clock: SimulatedClock
) -> None:
	truth = two_weeks()
	with World(site, truth, EVERYTHING_WRONG, clock) as world:
		syncs: dict[str, datetime | None] = {}
		for now in world.steps():
			syncs = assert_no_shift_is_ahead_of_what_is_known(world, now, syncs)
		made = hr.attendance_of(world.staff)
		assert_every_record_is_in_the_ledger_once(world)
		assert_every_punch_is_one_checkin(world)
		states = Counter(frappe.get_all("Access Event Gap", pluck="state"))
		assert states.keys() == {"Recovered", "Accepted"}, states
		assert states["Accepted"] == 1, "what nobody could tell any more: the Thursday evening at the yard"
		assert states["Recovered"] > 10
		skipped = frappe.get_all("Employee Checkin", {"skip_auto_attendance": 1}, pluck="name")
		assert not skipped, "they came after their Attendance"
	right = right_attendance(world, truth, clock)
	assert not wrongs(made, right, DAYS)
	assert made == right


def test_moved_by_the_clock_the_same_outages_make_people_absent_who_were_there(
	site: str, clock: SimulatedClock
) -> None:
	"""The negative control: the comparison above can fail, and does where a shift does not wait for its devices."""
	truth, days = two_weeks(), DAYS[:5]
	with World(site, truth, EVERYTHING_WRONG, clock, auto_update_last_sync=1) as world:
		for _ in world.steps(until=at(6, "00:00")):
			pass
		made = hr.attendance_of(world.staff)
	found = wrongs(made, right_attendance(world, truth, clock), days)
	assert found["false Absent"] > 5
	assert found["false Half Day"] > 5
