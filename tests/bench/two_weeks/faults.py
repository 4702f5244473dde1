"""What went wrong in the two weeks. All spells begin and end on a whole step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.bench.two_weeks.calendar import at


@dataclass(frozen=True)
class Spell:
	"""From ``since`` (exclusive) to ``until`` (inclusive), UTC."""

	since: datetime
	until: datetime

	def covers(self, moment: datetime) -> bool:
		return self.since < moment <= self.until


@dataclass(frozen=True)
class ClockError:
	"""For a spell the terminal's clock shows so many seconds more (less, if negative) than it is."""

	spell: Spell
	seconds: int


@dataclass(frozen=True)
class Faults:
	"""Everything that goes wrong, by terminal where it is one terminal's.

	off: without power: it records nothing, and people take another door. cut: it records, and nobody hears it.
	tells_again: after these instants a stream that comes back begins with what was missed. loses: parts of what is
	pushed that never arrive. listener_down: nobody listens at all. maintenance: the site takes nothing.
	database_restarts: at these steps the listener's connection dies in the middle of its work.
	"""

	off: dict[str, list[Spell]] = field(default_factory=dict)
	cut: dict[str, list[Spell]] = field(default_factory=dict)
	tells_again: dict[str, list[datetime]] = field(default_factory=dict)
	loses: dict[str, list[Spell]] = field(default_factory=dict)
	clock_errors: dict[str, list[ClockError]] = field(default_factory=dict)
	listener_down: list[Spell] = field(default_factory=list)
	maintenance: list[Spell] = field(default_factory=list)
	database_restarts: frozenset[datetime] = frozenset()

	def clock_error(self, door: str, moment: datetime) -> timedelta:
		for error in self.clock_errors.get(door, ()):
			if error.spell.covers(moment):
				return timedelta(seconds=error.seconds)
		return timedelta(0)


def covered(spells: list[Spell], moment: datetime) -> bool:
	return any(spell.covers(moment) for spell in spells)


def spell(day: int, since: str, last_day: int, until: str) -> Spell:
	return Spell(at(day, since), at(last_day, until))


NOTHING_WRONG = Faults()

EVERYTHING_WRONG = Faults(
	off={"gate": [spell(10, "09:00", 10, "13:00")]},
	cut={
		"gate": [spell(1, "07:00", 1, "11:00"), spell(5, "04:00", 5, "09:00")],
		"yard": [spell(3, "16:00", 3, "20:00"), spell(8, "05:00", 8, "10:00")],
		"packing": [spell(2, "13:00", 2, "23:00"), spell(10, "13:00", 11, "03:00")],
		"dock": [spell(9, "21:00", 10, "04:00")],
		"office": [spell(8, "06:00", 8, "22:00")],
		"canteen": [spell(7, "06:00", 7, "10:00"), spell(10, "21:00", 11, "07:00")],
	},
	tells_again={"yard": [at(8, "10:00")]},
	loses={"dock": [spell(4, "21:00", 5, "09:00"), spell(11, "20:00", 12, "08:00")]},
	clock_errors={"gate": [ClockError(spell(7, "03:00", 9, "03:00"), -600)]},
	listener_down=[spell(2, "23:00", 3, "07:00"), spell(12, "01:00", 12, "07:00")],
	maintenance=[spell(3, "12:00", 3, "15:00"), spell(8, "22:00", 9, "01:00")],
	database_restarts=frozenset({at(7, "12:00"), at(9, "10:00"), at(11, "09:00")}),
)
