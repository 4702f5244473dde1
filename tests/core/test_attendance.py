from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.attendance import (
	REASON_TEXTS,
	AttendanceSettings,
	EmployeeFacts,
	EmployeeStatus,
	PassFacts,
	Reason,
	decide,
)
from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.direction import Direction, DoorRule
from hikvision_frappe.core.people import Resolution, Standing
from hikvision_frappe.core.states import EventState

LJUBLJANA = ZoneInfo("Europe/Ljubljana")
SETTINGS = AttendanceSettings(LJUBLJANA)
EIGHT = datetime(2026, 5, 4, 6, 0, tzinfo=timezone.utc)  # 08:00 in Ljubljana
MATCHED = Resolution(Standing.MATCHED, "EMP-1", "PERSON-1")
ENTRY = DoorRule(Direction.IN)


def facts(**changes) -> PassFacts:
	values = {
		"occurred_at": EIGHT,
		"person": "42",
		"resolution": MATCHED,
		"employee": EmployeeFacts("EMP-1"),
		"rule": ENTRY,
	}
	return PassFacts(**{**values, **changes})


def log(seconds: int = 0, log_type=LogType.IN, event="E-0") -> Checkin:
	moment = EIGHT + timedelta(seconds=seconds)
	return Checkin(f"CKIN{seconds:+}", at_site(moment, LJUBLJANA).time, log_type, moment, event)


def test_a_pass_of_an_active_employee_is_counted_at_site_time():
	decision = decide(facts(), SETTINGS)
	assert decision.state is EventState.CHECKED_IN
	assert (decision.time, decision.log_type) == (datetime(2026, 5, 4, 8, 0), LogType.IN)


def test_a_lost_clock_is_never_counted():
	assert decide(facts(plausible=False), SETTINGS).state is EventState.IMPLAUSIBLE_TIME


def test_a_door_that_is_not_for_attendance_asks_for_nobodys_name():
	nobody = facts(
		rule=DoorRule(Direction.NOT_COUNTED), resolution=Resolution(Standing.UNKNOWN), employee=None
	)
	assert decide(nobody, SETTINGS).state is EventState.NOT_COUNTED


def test_visitors_and_ignored_numbers_are_not_counted():
	assert decide(facts(user_type="Visitor"), SETTINGS).reason is Reason.VISITOR
	ignored = facts(resolution=Resolution(Standing.IGNORED), employee=None)
	assert decide(ignored, SETTINGS).reason is Reason.PERSON_IGNORED
	assert decide(facts(user_type="administrators"), SETTINGS).state is EventState.CHECKED_IN


def test_an_unknown_number_waits_for_somebody_to_map_it():
	decision = decide(facts(resolution=Resolution(Standing.UNKNOWN), employee=None), SETTINGS)
	assert decision.state is EventState.UNMATCHED
	assert "42" in decision.text()


def test_an_ambiguous_number_names_those_who_have_it():
	resolution = Resolution(Standing.AMBIGUOUS, candidates=("EMP-1", "EMP-2"))
	decision = decide(facts(resolution=resolution, employee=None), SETTINGS)
	assert decision.state is EventState.UNMATCHED
	assert "EMP-1, EMP-2" in decision.text()


@pytest.mark.parametrize(
	("status", "state"),
	[
		(EmployeeStatus.INACTIVE, EventState.EMPLOYEE_INACTIVE),
		(EmployeeStatus.SUSPENDED, EventState.EMPLOYEE_SUSPENDED),
		(EmployeeStatus.LEFT, EventState.EMPLOYEE_LEFT),
	],
)
def test_an_employee_who_is_not_active_has_a_state_of_its_own(status, state):
	assert decide(facts(employee=EmployeeFacts("EMP-1", status)), SETTINGS).state is state


def test_a_pass_of_the_last_working_day_counts_however_late_it_is_told():
	left = EmployeeFacts("EMP-1", EmployeeStatus.LEFT, date(2026, 5, 4))
	assert decide(facts(employee=left), SETTINGS).state is EventState.CHECKED_IN
	# 23:30 UTC on the fourth is the fifth in Ljubljana.
	late = facts(employee=left, occurred_at=datetime(2026, 5, 4, 23, 30, tzinfo=timezone.utc))
	decision = decide(late, SETTINGS)
	assert decision.state is EventState.EMPLOYEE_LEFT
	assert "2026-05-04" in decision.text()


def test_a_second_read_names_the_counted_pass():
	decision = decide(facts(checkins=[log(-20)]), SETTINGS)
	assert (decision.state, decision.checkin) == (EventState.DOUBLE_READ, "CKIN-20")
	assert "60" in decision.text()


def test_a_second_read_at_an_alternating_door_does_not_send_the_person_home():
	rule = DoorRule(Direction.ALTERNATING)
	assert decide(facts(rule=rule, checkins=[log(-20)]), SETTINGS).state is EventState.DOUBLE_READ
	decision = decide(facts(rule=rule, checkins=[log(-3600)]), SETTINGS)
	assert (decision.state, decision.log_type) == (EventState.CHECKED_IN, LogType.OUT)


def test_a_log_made_by_hand_at_the_same_time_is_not_made_again():
	by_hand = log(0, event="")
	decision = decide(facts(checkins=[by_hand]), SETTINGS)
	assert (decision.state, decision.checkin) == (EventState.ALREADY_RECORDED, by_hand.name)
	other_way = log(0, LogType.OUT, event="")
	assert decide(facts(checkins=[other_way]), SETTINGS).state is EventState.CHECKED_IN


def test_the_repeated_hour_is_left_to_a_person_only_when_it_matters():
	second = datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc)
	first = second - timedelta(hours=1)
	earlier = Checkin("CKIN", at_site(first, LJUBLJANA).time, LogType.IN, first, "E-0")
	leaving = facts(occurred_at=second, rule=DoorRule(Direction.OUT), checkins=[earlier])
	decision = decide(leaving, SETTINGS)
	assert (decision.state, decision.checkin) == (EventState.AMBIGUOUS_HOUR, "CKIN")
	alone = facts(occurred_at=second, rule=DoorRule(Direction.OUT))
	assert decide(alone, SETTINGS).state is EventState.CHECKED_IN


def test_a_device_without_rows_leaves_the_way_to_the_shift():
	assert decide(facts(rule=None), SETTINGS).log_type is LogType.NONE


def test_each_reason_has_words_that_its_values_fill():
	assert set(REASON_TEXTS) == set(Reason)


seconds = st.integers(-4 * 3600, 4 * 3600)
checkins = st.lists(
	st.builds(log, seconds, st.sampled_from(LogType), st.sampled_from(["", "E-9"])), max_size=4
)
many_facts = st.builds(
	facts,
	occurred_at=seconds.map(lambda s: datetime(2026, 10, 25, 1, tzinfo=timezone.utc) + timedelta(seconds=s)),
	resolution=st.builds(Resolution, st.sampled_from(Standing), st.just("EMP-1")),
	employee=st.none()
	| st.builds(EmployeeFacts, st.just("EMP-1"), st.sampled_from(EmployeeStatus), st.none() | st.dates()),
	rule=st.none() | st.builds(DoorRule, st.sampled_from(Direction)),
	checkins=checkins,
	attendance_status=st.sampled_from(["", "undefined", "checkIn", "overTimeOut"]),
	user_type=st.sampled_from(["", "normal", "visitor"]),
	plausible=st.booleans(),
)


@given(many_facts)
def test_every_pass_gets_one_final_state_with_words(some):
	decision = decide(some, SETTINGS)
	assert decision.text() and "{" not in decision.text()
	assert decision.state not in (EventState.NEW, EventState.FAILED)
	if decision.state is EventState.CHECKED_IN:
		assert some.resolution.standing is Standing.MATCHED and some.plausible


@given(st.lists(st.tuples(seconds, st.sampled_from(["IN", "OUT", "ALT"])), max_size=15))
def test_in_any_order_hrms_is_never_asked_for_a_duplicate(passes):
	rules = {
		"IN": DoorRule(Direction.IN),
		"OUT": DoorRule(Direction.OUT),
		"ALT": DoorRule(Direction.ALTERNATING),
	}
	midnight = datetime(2026, 10, 25, 1, tzinfo=timezone.utc)
	made: list[Checkin] = []
	for number, (offset, rule) in enumerate(passes):
		at = midnight + timedelta(seconds=offset)
		decision = decide(facts(occurred_at=at, rule=rules[rule], checkins=list(made)), SETTINGS)
		if decision.state is EventState.CHECKED_IN:
			made.append(Checkin(str(number), decision.time, decision.log_type, at, f"E-{number}"))
	keys = [(checkin.time, checkin.log_type) for checkin in made]
	assert len(set(keys)) == len(keys)


def test_a_real_pass_beside_one_written_down_by_hand_is_already_recorded():
	by_hand = Checkin("CKIN-1", datetime(2026, 5, 4, 8, 0, 30), LogType.IN, by_hand=True)
	decision = decide(facts(checkins=[by_hand]), SETTINGS)
	assert decision.state is EventState.ALREADY_RECORDED
	assert decision.reason is Reason.PUNCHED_BY_HAND
	assert decision.checkin == "CKIN-1"
	assert decision.text() == "HR wrote this pass down by hand: check-in CKIN-1, within 60 seconds of it."


def test_a_real_pass_far_from_one_written_down_by_hand_counts():
	by_hand = Checkin("CKIN-1", datetime(2026, 5, 4, 8, 5), LogType.IN, by_hand=True)
	assert decide(facts(checkins=[by_hand]), SETTINGS).state is EventState.CHECKED_IN
