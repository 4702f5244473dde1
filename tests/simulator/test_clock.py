from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from hikvision_frappe.simulator.clock import DeviceClock, OffsetForm, repeated_hour

AT = datetime(2026, 7, 16, 23, 5, 9, tzinfo=timezone.utc)


@pytest.mark.parametrize(
	("form", "text"),
	[
		(OffsetForm.COLON, "2026-07-16T18:05:09-05:00"),
		(OffsetForm.BARE, "2026-07-16T18:05:09-0500"),
		(OffsetForm.UNPADDED, "2026-07-16T18:05:09-5:00"),
		(OffsetForm.SIGNLESS, "2026-07-16T18:05:0905:00"),
		(OffsetForm.ZULU, "2026-07-16T23:05:09Z"),
		(OffsetForm.NONE, "2026-07-16T18:05:09"),
		(OffsetForm.FACTORY, "2026-07-16T18:05:09+08:00"),
	],
)
def test_an_instant_is_written_in_each_form(form: OffsetForm, text: str) -> None:
	assert DeviceClock("America/Bogota").text(AT, form) == text


def test_a_space_may_stand_between_date_and_time() -> None:
	assert DeviceClock("UTC").text(AT, OffsetForm.NONE, " ") == "2026-07-16 23:05:09"


@pytest.mark.parametrize(
	("zone", "text"),
	[
		("America/Bogota", "CST+5:00:00"),
		("Asia/Kolkata", "CST-5:30:00"),
		("Europe/Bratislava", "CST-1:00:00DST01:00:00,M3.5.0/02:00:00,M10.5.0/03:00:00"),
		("America/New_York", "CST+5:00:00DST01:00:00,M3.2.0/02:00:00,M11.1.0/02:00:00"),
		("Australia/Sydney", "CST-10:00:00DST01:00:00,M10.1.0/02:00:00,M4.1.0/03:00:00"),
	],
)
def test_the_zone_is_told_the_posix_way_where_minus_is_east(zone: str, text: str) -> None:
	assert DeviceClock(zone).posix_zone() == text


def test_a_zone_without_daylight_saving_can_be_set() -> None:
	clock = DeviceClock("UTC")
	assert clock.set_posix_zone("CST-3:00:00")
	assert clock.text(AT).endswith("T02:05:09+03:00")
	assert not clock.set_posix_zone("Europe/Bratislava")


def test_a_jump_moves_the_clock_and_setting_it_moves_it_back() -> None:
	clock = DeviceClock("UTC")
	clock.jump(-3600)
	assert abs(datetime.now(timezone.utc) - clock.now() - timedelta(hours=1)) < timedelta(seconds=2)
	clock.set(datetime.now(timezone.utc))
	assert abs(datetime.now(timezone.utc) - clock.now()) < timedelta(seconds=2)


@pytest.mark.parametrize(
	"zone", ["Europe/Bratislava", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe"]
)
def test_the_repeated_hour_is_two_instants_with_one_wall_time(zone: str) -> None:
	first, second = (moment.astimezone(ZoneInfo(zone)) for moment in repeated_hour(zone, 2026))
	assert first.replace(tzinfo=None, fold=0) == second.replace(tzinfo=None, fold=0)
	assert first.astimezone(timezone.utc) < second.astimezone(timezone.utc)


def test_a_zone_without_daylight_saving_repeats_no_hour() -> None:
	with pytest.raises(ValueError, match="no repeated hour"):
		repeated_hour("Asia/Tokyo", 2026)
