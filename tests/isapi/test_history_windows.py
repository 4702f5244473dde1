"""Windows cover each second once, and are written as the device writes time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.isapi.answers import DeviceClock
from hikvision_frappe.isapi.history_windows import (
	SECOND,
	RepeatedHour,
	Window,
	WindowText,
	stretches,
	texts_for,
)
from hikvision_frappe.isapi.parsing import ParseContext, Source

AT = datetime(2026, 5, 4, 8, 0, tzinfo=timezone.utc)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1), timezones=st.just(timezone.utc)).map(
	lambda moment: moment.replace(microsecond=0)
)
zones = st.sampled_from(
	[
		"UTC",
		"Europe/Bratislava",
		"America/Bogota",
		"Australia/Lord_Howe",
		"America/New_York",
		"Asia/Kathmandu",
	]
).map(ZoneInfo)


def context(trust_offset=True):
	return ParseContext("GATE-1", "Europe/Bratislava", trust_offset, Source.HISTORY)


def clock(offset, moment=AT):
	return DeviceClock(moment, 0.0, "", "NTP", None if offset is None else timedelta(hours=offset))


@given(st.integers(2, 10_000_000))
def test_halves_share_no_second_and_leave_none_out(seconds):
	window = Window(AT, AT + timedelta(seconds=seconds - 1))
	earlier, later = window.halves()
	assert window.seconds == seconds == earlier.seconds + later.seconds
	assert (earlier.since, later.until) == (window.since, window.until)
	assert later.since - earlier.until == SECOND
	assert abs(earlier.seconds - later.seconds) <= 1


def test_a_second_has_no_halves():
	with pytest.raises(ValueError):
		Window(AT, AT).halves()


@given(moments, st.integers(0, 3 * 366 * 86_400), zones)
def test_stretches_cover_the_window_once(since, seconds, zone):
	window = Window(since, since + timedelta(seconds=seconds))
	following = None
	for stretch in stretches(window, zone):
		parts = [stretch.first, stretch.second] if isinstance(stretch, RepeatedHour) else [stretch]
		for part in parts:
			assert following in (None, part.since)
			assert part.seconds >= 1
			following = part.until + SECOND
			assert (
				isinstance(stretch, RepeatedHour) or window.since <= part.since <= part.until <= window.until
			)
	assert following is not None
	assert following > window.until


def test_the_repeated_hour_is_a_stretch_of_its_own():
	window = Window(datetime(2025, 10, 25, tzinfo=timezone.utc), datetime(2025, 10, 27, tzinfo=timezone.utc))
	before, hour, after = stretches(window, ZoneInfo("Europe/Bratislava"))
	assert (before.since, after.until) == (window.since, window.until)
	assert hour.first.since == datetime(2025, 10, 26, 0, tzinfo=timezone.utc)
	assert hour.second.since == datetime(2025, 10, 26, 1, tzinfo=timezone.utc)
	assert (hour.amount, hour.first.seconds, hour.second.seconds) == (timedelta(hours=1), 3600, 3600)


def test_a_window_within_the_repeated_hour_gets_all_of_it():
	moment = datetime(2025, 10, 26, 1, 30, tzinfo=timezone.utc)
	(hour,) = stretches(Window(moment, moment), ZoneInfo("Europe/Bratislava"))
	assert hour.first.since == datetime(2025, 10, 26, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
	("text", "written"),
	[
		(WindowText(ZoneInfo("Europe/Bratislava")), "2026-05-04T10:00:00+02:00"),
		(WindowText(ZoneInfo("America/Bogota")), "2026-05-04T03:00:00-05:00"),
		(WindowText(ZoneInfo("Asia/Kathmandu")), "2026-05-04T13:45:00+05:45"),
		(WindowText(timezone.utc), "2026-05-04T08:00:00+00:00"),
		(WindowText(ZoneInfo("Europe/Bratislava"), timedelta(hours=8)), "2026-05-04T10:00:00+08:00"),
		(WindowText(timezone(timedelta(hours=-3, minutes=-30))), "2026-05-04T04:30:00-03:30"),
	],
)
def test_an_instant_is_written_with_seconds_and_an_offset(text, written):
	assert text.write(AT) == written


@pytest.mark.parametrize(
	("told", "trusted", "written", "otherwise"),
	[
		(2, True, "2026-01-01T01:00:00+01:00", "2026-01-01T02:00:00+02:00"),
		(None, True, "2026-01-01T01:00:00+01:00", "2026-01-01T02:00:00+02:00"),
		(-5, True, "2025-12-31T19:00:00-05:00", "2025-12-31T19:00:00-05:00"),
		(8, False, "2026-01-01T01:00:00+08:00", "2026-01-01T01:00:00+08:00"),
		(None, False, "2026-01-01T01:00:00+01:00", "2026-01-01T01:00:00+01:00"),
	],
)
def test_a_winters_instant_in_summer_is_written_as_the_device_would(told, trusted, written, otherwise):
	winter = datetime(2026, 1, 1, tzinfo=timezone.utc)
	texts = texts_for(context(trusted), clock(told))
	assert [text.write(winter) for text in texts] == [written, otherwise]
