"""Every way in which a device was seen to write an instant."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.event import TimeQuality
from hikvision_frappe.isapi.times import UnreadableTime, read_device_time

RECEIVED = datetime(2026, 7, 20, 12, 0, tzinfo=timezone.utc)


def read(text, zone="Europe/Bratislava", trust_offset=True, received_at=RECEIVED):
	return read_device_time(text, zone, trust_offset, received_at)


def utc(*parts):
	return datetime(*parts, tzinfo=timezone.utc)


@pytest.mark.parametrize(
	("text", "moment"),
	[
		("2026-07-16T19:23:13-05:00", utc(2026, 7, 17, 0, 23, 13)),
		("2026-07-16T19:23:13+08:30", utc(2026, 7, 16, 10, 53, 13)),
		("2026-07-16T19:23:13Z", utc(2026, 7, 16, 19, 23, 13)),
		("2026-07-16T19:23:13z", utc(2026, 7, 16, 19, 23, 13)),
		("2026-07-16T19:23:13-6:00", utc(2026, 7, 17, 1, 23, 13)),
		("2026-07-16T19:23:13-0300", utc(2026, 7, 16, 22, 23, 13)),
		("2026-07-16T19:23:13+02", utc(2026, 7, 16, 17, 23, 13)),
		("2026-07-16 19:23:13 +02:00", utc(2026, 7, 16, 17, 23, 13)),
		("2026-07-16T19:23:13.250+02:00", utc(2026, 7, 16, 17, 23, 13, 250000)),
		("2026-7-6T9:23:13+02:00", utc(2026, 7, 6, 7, 23, 13)),
		("  2026-07-16T19:23:13+02:00\n", utc(2026, 7, 16, 17, 23, 13)),
		("2026-07-16T11:47:1500:00", utc(2026, 7, 16, 11, 47, 15)),
	],
)
def test_a_written_offset_is_exact(text, moment):
	time = read(text)
	assert (time.moment, time.quality, time.text) == (moment, TimeQuality.EXACT, text)


@pytest.mark.parametrize("text", ["2026-07-16T19:23:13", "2026-07-16 19:23:13", "2026-07-16T19:23:13+99:00"])
def test_without_a_usable_offset_the_zone_of_the_device_is_assumed(text):
	time = read(text)
	assert (time.moment, time.quality) == (utc(2026, 7, 16, 17, 23, 13), TimeQuality.ZONE_ASSUMED)


def test_a_distrusted_offset_leaves_only_the_wall_time():
	time = read("2026-07-14T11:33:19+08:00", "America/Sao_Paulo", trust_offset=False)
	assert (time.moment, time.quality) == (utc(2026, 7, 14, 14, 33, 19), TimeQuality.ZONE_ASSUMED)


def test_an_offset_that_lost_its_sign_gets_the_sign_of_the_zone():
	east = read("2026-07-16T11:47:1502:00", "Europe/Bratislava")
	west = read("2026-07-16T11:47:1503:00", "America/Sao_Paulo")
	neither = read("2026-07-16T11:47:1505:00", "Europe/Bratislava")
	assert (east.moment, east.quality) == (utc(2026, 7, 16, 9, 47, 15), TimeQuality.EXACT)
	assert (west.moment, west.quality) == (utc(2026, 7, 16, 14, 47, 15), TimeQuality.EXACT)
	assert (neither.moment, neither.quality) == (utc(2026, 7, 16, 9, 47, 15), TimeQuality.ZONE_ASSUMED)


@pytest.mark.parametrize(
	"text",
	["1970-01-01T00:00:07+00:00", "1999-12-31T23:00:00Z", "2026-07-22T12:00:00Z", "2037-06-01T00:00:00"],
)
def test_the_time_of_a_lost_clock_is_kept_and_marked(text):
	time = read(text)
	assert time.quality is TimeQuality.IMPLAUSIBLE
	assert time.moment.year == int(text[:4])


def test_a_clock_a_few_hours_ahead_is_still_plausible():
	assert read("2026-07-21T11:00:00Z").quality is TimeQuality.EXACT


@pytest.mark.parametrize("minutes_later", [0, 2, 29])
def test_a_live_time_in_the_repeated_hour_is_the_nearer_of_the_two(minutes_later):
	first, second = utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30)
	for moment in (first, second):
		received = moment + timedelta(minutes=minutes_later)
		assert read("2026-10-25T02:30:00", received_at=received).moment == moment


def test_an_old_time_in_the_repeated_hour_is_the_first_of_the_two():
	assert read("2026-10-25T02:30:00", received_at=utc(2026, 10, 28)).moment == utc(2026, 10, 25, 0, 30)


def test_a_time_in_the_hour_that_spring_skips_counts_as_winter_time():
	time = read("2026-03-29T02:30:00", received_at=utc(2026, 3, 29, 2))
	assert time.moment == utc(2026, 3, 29, 1, 30)


def test_a_leap_second_is_the_last_second_of_its_minute():
	assert read("2016-12-31T23:59:60Z").moment == utc(2016, 12, 31, 23, 59, 59)


@pytest.mark.parametrize(
	"text",
	[
		"", "yesterday", "2026-07-16", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-07-16T25:00:00Z",
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-07-16T19:23:13Z" * 9,
		"٢٠٢٦-07-16T19:23:13Z",
	],
)  # fmt: skip
def test_what_is_no_time_is_unreadable(text):
	with pytest.raises(UnreadableTime):
		read(text)


@given(st.text(max_size=70))
def test_no_text_does_any_harm(text):
	try:
		time = read(text)
	except UnreadableTime:
		return
	assert time.moment.tzinfo is timezone.utc


@given(st.datetimes(datetime(2000, 1, 2), datetime(2026, 7, 19)), st.integers(-14 * 60, 14 * 60))
def test_a_whole_text_comes_back_as_the_same_instant(wall, minutes):
	moment = wall.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
	time = read(moment.isoformat())
	assert (time.moment, time.quality) == (moment, TimeQuality.EXACT)
