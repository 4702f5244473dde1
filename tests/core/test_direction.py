from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.direction import Direction, DoorRule, log_type_for, rule_for

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)
UTC_ZONE = ZoneInfo("UTC")
HOURS_16 = timedelta(hours=16)

IN, OUT = DoorRule(Direction.IN), DoorRule(Direction.OUT)
ENTRY_READER = DoorRule(Direction.IN, door_no=1, reader_no=1)
EXIT_READER = DoorRule(Direction.OUT, door_no=1, reader_no=2)


def log_type(rule, status="", checkins=(), at=NOON):
	return log_type_for(rule, status, at_site(at, UTC_ZONE), checkins, HOURS_16)


def checkin(hours_before: float, kind: LogType) -> Checkin:
	moment = NOON - timedelta(hours=hours_before)
	return Checkin(f"C{hours_before}", moment.replace(tzinfo=None), kind, moment)


def test_door_and_reader_say_more_than_the_door_and_the_door_more_than_the_reader():
	door, reader, every = (
		DoorRule(Direction.OUT, door_no=1),
		DoorRule(Direction.IN, reader_no=1),
		DoorRule(Direction.ALTERNATING),
	)
	rules = [every, reader, door, ENTRY_READER]
	assert rule_for(1, 1, rules) is ENTRY_READER
	assert rule_for(1, 3, rules) is door
	assert rule_for(2, 1, rules) is reader
	assert rule_for(2, 2, rules) is every


def test_a_device_without_rows_says_nothing():
	assert rule_for(1, 1, []) is None
	assert log_type(None) is LogType.NONE


def test_a_pass_at_a_door_nobody_described_has_no_row():
	assert rule_for(2, 1, [ENTRY_READER, EXIT_READER]) is None


def test_a_terminal_that_tells_no_door_is_found_by_its_reader():
	assert rule_for(None, 2, [ENTRY_READER, EXIT_READER]) is EXIT_READER


def test_a_terminal_that_tells_neither_uses_its_only_row():
	assert rule_for(None, None, [ENTRY_READER]) is ENTRY_READER
	assert rule_for(None, None, [ENTRY_READER, EXIT_READER]) is None


def test_two_rows_for_the_same_place_that_disagree_decide_nothing():
	assert rule_for(1, 1, [IN, OUT]) is None
	assert rule_for(1, 1, [IN, DoorRule(Direction.IN)]) == IN


numbers = st.none() | st.integers(1, 3)
rules = st.builds(DoorRule, direction=st.sampled_from(Direction), door_no=numbers, reader_no=numbers)


@given(
	numbers, numbers, st.lists(rules, max_size=6).flatmap(lambda r: st.tuples(st.just(r), st.permutations(r)))
)
def test_the_order_of_the_rows_decides_nothing(door, reader, orders):
	one, other = (rule_for(door, reader, order) for order in orders)
	assert (one and one.direction) == (other and other.direction)


@given(numbers, numbers, st.lists(rules, max_size=6))
def test_a_row_never_applies_to_another_door_or_reader(door, reader, rows):
	rule = rule_for(door, reader, rows)
	if rule is not None:
		assert rule.door_no is None or door is None or rule.door_no == door
		assert rule.reader_no is None or reader is None or rule.reader_no == reader


@pytest.mark.parametrize(
	("status", "expected"),
	[
		("checkIn", LogType.IN),
		("breakIn", LogType.IN),
		("overtimeIn", LogType.IN),
		("checkOut", LogType.OUT),
		("breakOut", LogType.OUT),
		("overtimeOut", LogType.OUT),
		("overTimeOut", LogType.OUT),
		(" CHECKOUT ", LogType.OUT),
		("undefined", LogType.NONE),
		("", LogType.NONE),
	],
)
def test_the_attendance_status_gives_the_way(status, expected):
	assert log_type(DoorRule(Direction.BY_STATUS), status) is expected


def test_where_nobody_pressed_a_key_the_doors_fallback_is_taken():
	rule = DoorRule(Direction.BY_STATUS, fallback=LogType.IN)
	assert log_type(rule, "undefined") is LogType.IN
	assert log_type(rule, "checkOut") is LogType.OUT


def test_an_entry_is_in_whatever_was_pressed():
	assert log_type(IN, "checkOut") is LogType.IN
	assert log_type(OUT, "checkIn") is LogType.OUT


def test_an_alternating_door_gives_the_opposite_of_the_last_log():
	rule = DoorRule(Direction.ALTERNATING)
	logs = [checkin(1, LogType.OUT), checkin(4, LogType.IN)]
	assert log_type(rule, checkins=logs) is LogType.IN
	assert log_type(rule, checkins=[checkin(1, LogType.IN)]) is LogType.OUT


def test_an_alternating_door_starts_with_in_and_forgets_yesterday():
	rule = DoorRule(Direction.ALTERNATING)
	assert log_type(rule) is LogType.IN
	assert log_type(rule, checkins=[checkin(17, LogType.IN)]) is LogType.IN
	assert log_type(rule, checkins=[checkin(16, LogType.IN)]) is LogType.OUT


def test_an_alternating_door_looks_neither_ahead_nor_at_logs_without_a_way():
	rule = DoorRule(Direction.ALTERNATING)
	assert log_type(rule, checkins=[checkin(-1, LogType.IN), checkin(1, LogType.NONE)]) is LogType.IN


@given(st.lists(st.integers(0, 15 * 60), unique=True, max_size=12))
def test_passes_in_order_alternate_beginning_with_in(minutes):
	rule = DoorRule(Direction.ALTERNATING)
	logs: list[Checkin] = []
	for minute in sorted(minutes):
		moment = NOON + timedelta(minutes=minute)
		kind = log_type(rule, checkins=logs, at=moment)
		logs.append(Checkin(str(minute), moment.replace(tzinfo=None), kind, moment))
	assert [log.log_type for log in logs] == [LogType.IN, LogType.OUT] * (len(logs) // 2) + (
		[LogType.IN] * (len(logs) % 2)
	)
