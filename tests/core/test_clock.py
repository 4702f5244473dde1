from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.checkin import Checkin
from hikvision_frappe.core.clock import at_site, elapsed, everything_before, moment_of, unsure_beside

LJUBLJANA = ZoneInfo("Europe/Ljubljana")
UTC = timezone.utc
# On 25 October 2026 the wall showed 02:00 to 03:00 twice: from 00:00 UTC and again from 01:00 UTC.
FIRST_HALF_PAST_TWO = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
SECOND_HALF_PAST_TWO = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)

zones = st.sampled_from(
	["UTC", "Europe/Ljubljana", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"]
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
around_the_hour = st.integers(-3 * 3600, 3 * 3600).map(
	lambda seconds: SECOND_HALF_PAST_TWO + timedelta(seconds=seconds)
)


def checkin_at(moment: datetime, **values) -> Checkin:
	return Checkin("C", at_site(moment, LJUBLJANA).time, moment=moment, event="E", **values)


def test_an_instant_becomes_the_time_on_the_sites_wall():
	moment = at_site(datetime(2026, 7, 1, 6, 0, 1, 999, tzinfo=UTC), LJUBLJANA)
	assert moment.time == datetime(2026, 7, 1, 8, 0, 1)
	assert not moment.repeated


def test_a_device_in_another_zone_gives_the_same_wall_time():
	kolkata = datetime(2026, 7, 1, 11, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
	assert at_site(kolkata, LJUBLJANA).time == datetime(2026, 7, 1, 8, 0)


def test_a_naive_time_is_no_instant():
	with pytest.raises(ValueError):
		at_site(datetime(2026, 7, 1), LJUBLJANA)


@pytest.mark.parametrize(
	("moment", "expected"),
	[
		(datetime(2026, 10, 24, 23, 59, 59, tzinfo=UTC), datetime(2026, 10, 25, 1, 59, 59)),
		(datetime(2026, 10, 25, 0, 0, tzinfo=UTC), datetime(2026, 10, 25, 2, 0)),
		(FIRST_HALF_PAST_TWO, datetime(2026, 10, 25, 2, 0)),
		(datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC), datetime(2026, 10, 25, 2, 0)),
		(SECOND_HALF_PAST_TWO, datetime(2026, 10, 25, 2, 30)),
		(datetime(2026, 10, 25, 2, 30, tzinfo=UTC), datetime(2026, 10, 25, 3, 30)),
		(datetime(2026, 3, 29, 1, 0, tzinfo=UTC), datetime(2026, 3, 29, 3, 0)),
	],
)
def test_a_watermark_waits_at_the_repeated_hour_until_it_is_gone_through_again(moment, expected):
	assert everything_before(moment, LJUBLJANA) == expected


@given(st.one_of(moments, around_the_hour), st.integers(1, 4 * 3600), zones.map(ZoneInfo))
def test_nothing_later_ever_stands_before_a_watermark_in_site_time(moment, seconds, zone):
	told = everything_before(moment, zone)
	later = moment + timedelta(seconds=seconds)
	assert told <= at_site(moment, zone).time
	assert told <= at_site(later, zone).time
	assert told <= everything_before(later, zone)


def test_the_hour_in_autumn_is_repeated_and_the_hours_beside_it_are_not():
	for minutes, repeated in ((-31, False), (-30, True), (89, True), (90, False)):
		moment = at_site(FIRST_HALF_PAST_TWO + timedelta(minutes=minutes), LJUBLJANA)
		assert moment.repeated is repeated, moment


def test_a_naive_time_in_the_repeated_hour_has_no_single_instant():
	assert moment_of(datetime(2026, 10, 25, 2, 30), LJUBLJANA) is None
	assert moment_of(datetime(2026, 10, 25, 3, 0), LJUBLJANA) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)


def test_a_naive_time_in_the_skipped_hour_has_an_instant_all_the_same():
	assert moment_of(datetime(2026, 3, 29, 2, 30), LJUBLJANA) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@given(moments, zones)
def test_wall_time_and_back_is_the_same_second_or_honestly_unknown(moment, zone):
	at = at_site(moment, ZoneInfo(zone))
	expected = None if at.repeated else moment.replace(microsecond=0)
	assert moment_of(at.time, ZoneInfo(zone)) == expected


def test_outside_the_repeated_hour_nothing_is_unsure():
	moment = at_site(FIRST_HALF_PAST_TWO - timedelta(days=1), LJUBLJANA)
	assert unsure_beside(moment, [Checkin("C", moment.time)]) is None


def test_two_passes_an_hour_apart_that_show_the_same_time_are_unsure():
	first = checkin_at(FIRST_HALF_PAST_TWO)
	assert unsure_beside(at_site(SECOND_HALF_PAST_TWO, LJUBLJANA), [first]) is first


def test_a_departure_that_would_stand_before_its_arrival_is_unsure():
	arrival = checkin_at(FIRST_HALF_PAST_TWO)
	departure = at_site(SECOND_HALF_PAST_TWO - timedelta(minutes=20), LJUBLJANA)
	assert departure.time < arrival.time
	assert unsure_beside(departure, [arrival]) is arrival


def test_passes_in_the_right_order_within_the_repeated_hour_are_sure():
	arrival = checkin_at(FIRST_HALF_PAST_TWO)
	assert unsure_beside(at_site(SECOND_HALF_PAST_TWO + timedelta(minutes=20), LJUBLJANA), [arrival]) is None


def test_a_log_by_hand_within_the_repeated_hour_leaves_it_unsure():
	by_hand = Checkin("H", datetime(2026, 10, 25, 2, 10))
	assert unsure_beside(at_site(FIRST_HALF_PAST_TWO, LJUBLJANA), [by_hand]) is by_hand


@given(st.lists(around_the_hour, unique_by=lambda moment: moment.replace(microsecond=0), max_size=8))
def test_what_is_let_through_stands_in_hrms_in_the_order_it_happened(passes):
	counted: list[Checkin] = []
	for moment in passes:
		if unsure_beside(at_site(moment, LJUBLJANA), counted) is None:
			counted.append(checkin_at(moment))
	by_instant = sorted(counted, key=lambda checkin: checkin.moment)
	times = [checkin.time for checkin in by_instant]
	assert times == sorted(set(times))


def test_time_between_is_real_time_even_when_the_wall_says_otherwise():
	since = checkin_at(FIRST_HALF_PAST_TWO)
	assert elapsed(since, at_site(SECOND_HALF_PAST_TWO, LJUBLJANA)) == timedelta(hours=1)
