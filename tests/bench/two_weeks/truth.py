"""What really happened: who passed which door when. Nothing here knows how it was told, or to whom."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from tests.bench.two_weeks.calendar import BANK_HOLIDAY, DAYS, SUNDAYS, WEEKENDS, instant

ALTERNATING = "Alternating entries as IN and OUT during the same shift"
STRICT = "Strictly based on Log Type in Employee Checkin"
FIRST_AND_LAST = "First Check-in and Last Check-out"
EVERY_VALID = "Every Valid Check-in and Check-out"
SEED = 20261019


@dataclass(frozen=True)
class Shift:
	"""A shift as HR sets it up. rules: fields of the Shift Type. doors: devices that its people use."""

	name: str
	start: time
	end: time
	doors: tuple[str, ...]
	holidays: tuple[date, ...]
	rules: dict[str, Any]

	def begins(self, day: date) -> datetime:
		return instant(day, self.start)

	def ends(self, day: date) -> datetime:
		return instant(day if self.end > self.start else day + timedelta(days=1), self.end)


def _shift(
	name: str,
	start: str,
	end: str,
	doors: str,
	*,
	strict: bool,
	every: bool,
	holidays: Sequence[date],
	**rules: Any,
) -> Shift:
	rules |= {
		"determine_check_in_and_check_out": STRICT if strict else ALTERNATING,
		"working_hours_calculation_based_on": EVERY_VALID if every else FIRST_AND_LAST,
		"enable_late_entry_marking": 1,
		"enable_early_exit_marking": 1,
	}
	return Shift(
		name, time.fromisoformat(start), time.fromisoformat(end), tuple(doors.split()), tuple(holidays), rules
	)


WORKDAYS_ONLY = (*WEEKENDS, BANK_HOLIDAY)
DAY = _shift(
	"Day", "08:00", "17:00", "gate yard", strict=False, every=False, holidays=WORKDAYS_ONLY,
	late_entry_grace_period=10, early_exit_grace_period=15,
	working_hours_threshold_for_half_day=5, working_hours_threshold_for_absent=2,
)  # fmt: skip
EARLY = _shift(
	"Early", "06:00", "14:00", "packing canteen", strict=True, every=False, holidays=WORKDAYS_ONLY,
	late_entry_grace_period=5, working_hours_threshold_for_half_day=4,
)  # fmt: skip
LATE = _shift(
	"Late", "14:00", "22:00", "packing gate", strict=True, every=True, holidays=WORKDAYS_ONLY,
	early_exit_grace_period=20, working_hours_threshold_for_half_day=4, working_hours_threshold_for_absent=1,
)  # fmt: skip
NIGHT = _shift(
	"Night", "22:00", "06:00", "dock gate", strict=True, every=False, holidays=SUNDAYS,
	late_entry_grace_period=15, working_hours_threshold_for_half_day=4,
	begin_check_in_before_shift_start_time=90, allow_check_out_after_shift_end_time=120,
)  # fmt: skip
OFFICE = _shift(
	"Office", "09:00", "16:00", "office canteen", strict=False, every=True, holidays=WORKDAYS_ONLY,
	late_entry_grace_period=30, working_hours_threshold_for_half_day=5.5,
)  # fmt: skip
SHIFTS = (DAY, EARLY, LATE, NIGHT, OFFICE)


@dataclass(frozen=True)
class Person:
	"""number: also the one that terminals know. shifts: of the first and of the second week.

	assigned: by Shift Assignments; else the first shift is the default shift of the employee.
	"""

	number: int
	shifts: tuple[Shift, Shift]
	assigned: bool = True

	def shift_on(self, day: date) -> Shift:
		return self.shifts[min(1, (day - DAYS[0]).days // 7)]


def _people() -> Iterator[Person]:
	groups = [
		(12, (DAY, DAY), True),
		(10, (DAY, DAY), False),
		(7, (LATE, LATE), True),
		(7, (NIGHT, NIGHT), True),
		(4, (EARLY, LATE), True),
		(4, (LATE, EARLY), True),
		(3, (OFFICE, OFFICE), True),
		(3, (OFFICE, OFFICE), False),
	]
	number = 5001
	for size, shifts, assigned in groups:
		for _ in range(size):
			yield Person(number, shifts, assigned)
			number += 1


PEOPLE = tuple(_people())


@dataclass(frozen=True)
class Passage:
	"""Somebody went through a door. again: the terminal read the same person twice."""

	person: int
	at: datetime
	out: bool
	door: str
	again: bool = False


@dataclass
class Truth:
	"""Everything that happened, in order of time. leaves: (person, day) on which somebody had leave."""

	passages: list[Passage] = field(default_factory=list)
	leaves: set[tuple[int, date]] = field(default_factory=set)


class Days:
	"""Makes up what people do on a working day, the same for the same seed."""

	def __init__(self, seed: int) -> None:
		self.random = random.Random(seed)

	def of(self, person: Person, day: date) -> list[Passage] | None:
		"""The passages of a person on one day; None for a day of leave."""
		kind = self.random.choices(
			["works", "away", "leave", "forgets out", "forgets in", "leaves early", "looks in"],
			[88, 3.5, 2.5, 2, 1, 2, 1],
		)[0]
		if kind == "leave":
			return None
		if kind == "away":
			return []
		return sorted(self._at_work(person, day, kind), key=lambda passage: passage.at)

	def _at_work(self, person: Person, day: date, kind: str) -> Iterator[Passage]:
		shift = person.shift_on(day)
		begins = shift.begins(day) + self._minutes(-20, 8)
		if self.random.random() < 0.06:
			begins += self._minutes(15, 45)
		ends = shift.ends(day) + self._minutes(-5, 25)
		if kind == "leaves early":
			ends = begins + self._minutes(150, 260)
		if kind == "looks in":
			ends = begins + self._minutes(20, 80)
		if kind != "forgets in":
			yield from self._passage(person, shift, begins, out=False)
		if kind == "works" and self.random.random() < 0.2:
			pause = begins + self._minutes(150, 180)
			yield from self._passage(person, shift, pause, out=True)
			yield from self._passage(person, shift, pause + self._minutes(15, 40), out=False)
		if kind != "forgets out":
			yield from self._passage(person, shift, ends, out=True)

	def _passage(self, person: Person, shift: Shift, moment: datetime, out: bool) -> Iterator[Passage]:
		door = self.random.choices(shift.doors, [2, 1])[0]
		yield Passage(person.number, moment, out, door)
		if self.random.random() < 0.12:
			again = moment + timedelta(seconds=self.random.randint(2, 30))
			yield Passage(person.number, again, out, door, again=True)

	def _minutes(self, least: int, most: int) -> timedelta:
		return timedelta(seconds=self.random.randint(least * 60, most * 60))


def two_weeks(seed: int = SEED) -> Truth:
	"""What fifty people did in two weeks, and most of them on the Monday after it.

	A terminal without history is complete over a quiet weekend with its first record after that.
	"""
	days, truth = Days(seed), Truth()
	for day in DAYS:
		for person in PEOPLE:
			if day in person.shift_on(day).holidays:
				continue
			passages = days.of(person, day)
			if passages is None:
				truth.leaves.add((person.number, day))
			else:
				truth.passages += passages
	for person in PEOPLE:
		if person.shifts[0] == person.shifts[1] != NIGHT:
			truth.passages += days.of(person, DAYS[-1] + timedelta(days=1)) or []
	truth.passages.sort(key=lambda passage: passage.at)
	return truth
