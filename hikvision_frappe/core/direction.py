"""Which way a pass goes: from the door it was made at, or from what the person chose on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import SiteMoment, elapsed


class Direction(str, Enum):
	"""What a door or reader is for. Values are the options of Device Door.direction."""

	IN = "In"
	OUT = "Out"
	BY_STATUS = "By Attendance Status"  # what the person pressed: check in, break out, ...
	ALTERNATING = "Alternating"
	NOT_COUNTED = "Not for Attendance"


# attendanceStatus in lower case; firmwares differ in the letter case of "overTimeOut".
STATUS_LOG_TYPES = {
	"checkin": LogType.IN,
	"breakin": LogType.IN,
	"overtimein": LogType.IN,
	"checkout": LogType.OUT,
	"breakout": LogType.OUT,
	"overtimeout": LogType.OUT,
}


@dataclass(frozen=True, slots=True)
class DoorRule:
	"""One row of a device's doors. A number left out (None) stands for every door, or every reader.

	fallback: for BY_STATUS, when the person chose nothing.
	"""

	direction: Direction
	door_no: int | None = None
	reader_no: int | None = None
	fallback: LogType = LogType.NONE


def rule_for(door_no: int | None, reader_no: int | None, rules: Iterable[DoorRule]) -> DoorRule | None:
	"""The row that applies to a pass at this door and reader, the most particular first.

	Order: door and reader, door, reader, every door; at last, where the device left a number out (many face
	terminals tell no door), the row that nothing speaks against. Rows of one rank that say different things
	decide nothing, and the next rank is not asked: that would be a guess.
	"""
	rules = list(rules)
	ranks = [(door_no, reader_no), (door_no, None), (None, reader_no), (None, None)]
	for rank in dict.fromkeys(ranks):
		found = [rule for rule in rules if (rule.door_no, rule.reader_no) == rank]
		if found:
			return _only(found)
	return _only([rule for rule in rules if _not_contradicted(rule, door_no, reader_no)])


def _only(rules: Sequence[DoorRule]) -> DoorRule | None:
	same = rules and all(
		(rule.direction, rule.fallback) == (rules[0].direction, rules[0].fallback) for rule in rules
	)
	return rules[0] if same else None


def _not_contradicted(rule: DoorRule, door_no: int | None, reader_no: int | None) -> bool:
	door = rule.door_no is None or door_no is None or rule.door_no == door_no
	reader = rule.reader_no is None or reader_no is None or rule.reader_no == reader_no
	return door and reader


def log_type_for(
	rule: DoorRule | None,
	attendance_status: str,
	moment: SiteMoment,
	checkins: Iterable[Checkin],
	alternate_within: timedelta,
) -> LogType:
	"""The log type of a pass under a rule; NONE where nothing says it.

	checkins: the employee's others, in any order, of at least ``alternate_within`` before the pass.
	"""
	if rule is None or rule.direction is Direction.NOT_COUNTED:
		return LogType.NONE
	if rule.direction is Direction.BY_STATUS:
		return STATUS_LOG_TYPES.get(attendance_status.strip().lower(), rule.fallback)
	if rule.direction is Direction.ALTERNATING:
		return alternated(moment, checkins, alternate_within)
	return LogType.IN if rule.direction is Direction.IN else LogType.OUT


def alternated(moment: SiteMoment, checkins: Iterable[Checkin], within: timedelta) -> LogType:
	"""The opposite of the last log with a direction in the time before, else IN."""
	before = [
		(elapsed(checkin, moment), checkin.log_type)
		for checkin in checkins
		if checkin.log_type is not LogType.NONE and timedelta(0) < elapsed(checkin, moment) <= within
	]
	if not before:
		return LogType.IN
	return min(before, key=lambda pair: pair[0])[1].opposite
