"""Worlds by chance: shifts, who works them, and passes at their edges. Strategies for the differential tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe.utils import now
from hypothesis import strategies as st

from hikvision_frappe.attendance.facts import STRICT
from hikvision_frappe.ledger.intake import deliver
from tests.bench.assignments import create_test_assignment
from tests.bench.factories import create_test_device, create_test_employee, make_event

# Days on which clocks go forward and back somewhere, and one on which they do nowhere.
DAYS = (date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 10), date(2026, 3, 8))
ZONES = ("Europe/Stockholm", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
DIRECTIONS = ("In", "Out", "Alternating", "By Attendance Status", "Not for Attendance")
UNKNOWN = "99999"
HOLIDAYS = "HIK-TEST-Holidays"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Shift:
	"""A Shift Type. start, end: minutes after midnight; an end before the start is on the next day.

	holidays: every day is one; a check-in belongs to its shift all the same.
	"""

	start: int
	end: int
	before: int = 60
	after: int = 60
	strict: bool = False
	holidays: bool = False

	@property
	def edges(self) -> tuple[int, ...]:
		"""Minutes at which something begins or ends."""
		return self.start - self.before, self.start, self.end, self.end + self.after

	def create(self) -> str:
		name = f"HIK-TEST-Chance {next(_numbers)}"
		values = {
			"name": name,
			"start_time": timedelta(minutes=self.start),
			"end_time": timedelta(minutes=self.end),
			"begin_check_in_before_shift_start_time": self.before,
			"allow_check_out_after_shift_end_time": self.after,
			"determine_check_in_and_check_out": STRICT
			if self.strict
			else "Alternating entries as IN and OUT during the same shift",
			"holiday_list": HOLIDAYS if self.holidays else None,
			"creation": now(),
			"modified": now(),
			"owner": "Administrator",
			"modified_by": "Administrator",
		}
		frappe.db.bulk_insert("Shift Type", list(values), [tuple(values.values())])
		return name


@dataclass(frozen=True)
class Assigned:
	"""A Shift Assignment: of which shift, from how many days after the world's day, for how many days (None: open)."""

	shift: int
	first: int
	days: int | None


@dataclass(frozen=True)
class Worker:
	"""An employee. default: which shift, -1 a deleted one, None none. relieved: days after the world's day."""

	default: int | None
	assigned: tuple[Assigned, ...]
	status: str = "Active"
	relieved: int | None = None


@dataclass(frozen=True)
class Moment:
	"""A time on the site's wall: days after the world's day, minutes, seconds, microseconds; fold: the second time."""

	day: int
	minute: int
	second: int
	microsecond: int
	fold: int = 0

	def on(self, day: date) -> datetime:
		offset = timedelta(
			days=self.day, minutes=self.minute, seconds=self.second, microseconds=self.microsecond
		)
		return (datetime.combine(day, time()) + offset).replace(fold=self.fold)


@dataclass(frozen=True)
class Passed:
	"""A pass: whose (-1: a number that nobody has), when, at which reader, and what the person chose there."""

	worker: int
	moment: Moment
	reader: int
	chosen: str = ""


@dataclass(frozen=True)
class World:
	"""by_hand: check-ins that are there before the passes (worker, moment, log type)."""

	day: date
	zone: str
	shifts: tuple[Shift, ...]
	workers: tuple[Worker, ...]
	directions: tuple[str, ...]
	passes: tuple[Passed, ...]
	by_hand: tuple[tuple[int, Moment, str], ...] = ()


@st.composite
def shifts(draw: st.DrawFn) -> Shift:
	quarter = st.integers(0, 95).map(lambda count: count * 15)
	start = draw(quarter)
	end = (start + 15 * draw(st.integers(1, 80))) % 1440
	margin = st.sampled_from((0, 15, 60, 90, 240))
	return Shift(start, end, draw(margin), draw(margin), draw(st.booleans()), draw(st.booleans()))


def chains() -> st.SearchStrategy[tuple[Shift, ...]]:
	"""Shifts back to back: eight hours each, one after the other."""
	return st.sampled_from((0, 60, 360, 1320)).flatmap(
		lambda start: st.sampled_from((0, 30, 120)).map(
			lambda margin: tuple(
				Shift((start + 480 * turn) % 1440, (start + 480 * (turn + 1)) % 1440, margin, margin)
				for turn in range(3)
			)
		)
	)


def some_shifts() -> st.SearchStrategy[tuple[Shift, ...]]:
	return chains() | st.lists(shifts(), min_size=1, max_size=3).map(tuple)


def workers(count: int) -> st.SearchStrategy[Worker]:
	assigned = st.builds(
		Assigned, st.integers(0, count - 1), st.integers(-12, 3), st.none() | st.integers(0, 12)
	)
	return st.builds(
		Worker,
		st.none() | st.integers(-1 if count > 2 else 0, count - 1),
		st.lists(assigned, max_size=3).map(tuple),
		st.sampled_from(("Active", "Active", "Active", "Active", "Inactive", "Suspended", "Left")),
		st.none() | st.integers(-2, 2),
	)


@st.composite
def moments(draw: st.DrawFn, known: Sequence[Shift]) -> Moment:
	"""Any time of a few days, more often than not at the edge of a shift."""
	minutes = st.integers(0, 1439)
	edges = st.sampled_from([edge for shift in known for edge in shift.edges])
	return Moment(
		draw(st.integers(-2, 2)),
		draw(edges | minutes),
		draw(st.sampled_from((0, 0, 1, 30, -1))),
		draw(st.sampled_from((0, 0, 1, 999_999))),
		draw(st.integers(0, 1)),
	)


@st.composite
def worlds(draw: st.DrawFn, passes: int) -> World:
	known = draw(some_shifts())
	people = draw(st.lists(workers(len(known)), min_size=1, max_size=4))
	directions = draw(st.lists(st.sampled_from(DIRECTIONS), min_size=1, max_size=3))
	passed = st.builds(
		Passed,
		st.integers(-1, len(people) - 1),
		moments(known),
		st.integers(1, len(directions)),
		st.sampled_from(("", "checkIn", "checkOut")),
	)
	by_hand = st.tuples(st.integers(0, len(people) - 1), moments(known), st.sampled_from(("IN", "OUT", "")))
	given = draw(st.lists(passed, min_size=passes // 2, max_size=passes))
	repeated = draw(st.lists(st.sampled_from(given), max_size=passes // 5))
	return World(
		draw(st.sampled_from(DAYS)),
		draw(st.sampled_from(ZONES)),
		known,
		tuple(people),
		tuple(directions),
		tuple(given + repeated),
		tuple(draw(st.lists(by_hand, max_size=3))),
	)


def create_holidays() -> None:
	"""A Holiday List on which every day around the worlds' days is a holiday. Committed."""
	document = frappe.get_doc(
		{
			"doctype": "Holiday List",
			"holiday_list_name": HOLIDAYS,
			"from_date": min(DAYS) - timedelta(days=4),
			"to_date": max(DAYS) + timedelta(days=4),
		}
	)
	for day in DAYS:
		for offset in range(-3, 4):
			document.append(
				"holidays", {"holiday_date": day + timedelta(days=offset), "description": "Holiday"}
			)
	document.insert()
	frappe.db.commit()


def remove_holidays() -> None:
	frappe.db.delete("Holiday", {"parent": HOLIDAYS})
	frappe.db.delete("Holiday List", {"name": HOLIDAYS})
	frappe.db.commit()


def create_workers(world: World) -> list[str]:
	"""Write shifts, employees and assignments; the employees' names. Their numbers are 7001, 7002 ... Committed."""
	names = [shift.create() for shift in world.shifts]
	created = []
	for number, worker in enumerate(world.workers, 7001):
		default = {None: None, -1: "HIK-TEST-Deleted"}.get(worker.default) or (
			names[worker.default] if worker.default is not None and worker.default >= 0 else None
		)
		relieving = world.day + timedelta(days=worker.relieved) if worker.relieved is not None else None
		employee = create_test_employee(
			str(number), default_shift=default, status=worker.status, relieving_date=relieving
		)
		for each in worker.assigned:
			first = world.day + timedelta(days=each.first)
			last = first + timedelta(days=each.days) if each.days is not None else None
			create_test_assignment(employee, names[each.shift], first, last)
		created.append(employee)
	frappe.db.commit()
	return created


def create_passes(world: World) -> None:
	"""Deliver the passes to the ledger, all of one device."""
	doors: list[dict[str, Any]] = [
		{"door_no": 1, "reader_no": reader, "direction": direction, "fallback": "IN"}
		for reader, direction in enumerate(world.directions, 1)
	]
	device = create_test_device(doors=doors).name
	zone = ZoneInfo(world.zone)
	events = [
		make_event(
			device,
			serial,
			person=str(7001 + each.worker) if each.worker >= 0 else UNKNOWN,
			occurred_at=each.moment.on(world.day).replace(tzinfo=zone).astimezone(timezone.utc),
			reader_no=each.reader,
			attendance_status=each.chosen,
		)
		for serial, each in enumerate(world.passes, 1)
	]
	assert not deliver(events).refused
	frappe.db.rollback()


def create_by_hand(world: World, employees: Sequence[str]) -> None:
	"""Check-ins of a mobile or of HR, as far as HRMS takes them. Committed."""
	for worker, moment, log_type in world.by_hand:
		document = frappe.get_doc(
			{
				"doctype": "Employee Checkin",
				"employee": employees[worker],
				"time": moment.on(world.day).replace(fold=0),
				"log_type": log_type,
			}
		)
		try:
			document.insert()
			frappe.db.commit()
		except Exception:  # an inactive employee, a deleted shift, a second log: HRMS's own refusals
			frappe.db.rollback()
	frappe.clear_messages()
