"""Shift Types follow the least complete of their devices, never the clock; the report says why they wait."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
import pytest
from frappe.utils import add_to_date, get_datetime, now_datetime
from hrms.hr.doctype.shift_assignment.shift_assignment import get_shift_details

from hikvision_frappe.api import shifts as api
from hikvision_frappe.attendance.shifts import explain, feeding_devices, sync_shifts
from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.shift_days import Verdict
from hikvision_frappe.core.watermark import HeldBy
from hikvision_frappe.hikvision_frappe.report.shift_completeness.shift_completeness import execute
from hikvision_frappe.ledger.intake import deliver
from tests.bench.counting import counted_statements
from tests.bench.factories import (
	create_test_device,
	create_test_gap,
	create_test_shift,
	make_event,
)
from tests.bench.users import create_test_user

STOCKHOLM = ZoneInfo("Europe/Stockholm")
DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 11, tzinfo=timezone.utc)  # 12:00 on the site's wall
NEXT_MORNING = datetime(2026, 3, 3, 6, tzinfo=timezone.utc)
TOMORROW = datetime(2026, 3, 3, 9)


def complete(device: Any, moment: datetime | None, held_by: HeldBy = HeldBy.CONTACT, gap: str = "") -> None:
	"""Let the keeper have said this of the device."""
	values = {
		"complete_until_utc": moment.replace(tzinfo=None) if moment else None,
		"complete_until": at_site(moment, STOCKHOLM).time if moment else None,
		"held_by": held_by.value,
		"held_by_gap": gap or None,
	}
	frappe.db.set_value("Hikvision Device", device.name, values, update_modified=False)
	frappe.db.commit()


def create_device(until: datetime | None, *shifts: str, **values: Any) -> Any:
	device = create_test_device(shifts=[{"shift_type": shift} for shift in shifts], **values)
	if until:
		complete(device, until)
	return device


def last_sync(shift: Any) -> datetime | None:
	return frappe.db.get_value("Shift Type", shift.name, "last_sync_of_checkin")


# Following


def test_a_shift_follows_the_least_complete_of_its_devices() -> None:
	day, night = create_test_shift(), create_test_shift(start_time="22:00:00", end_time="06:00:00")
	create_device(NOON, day.name)
	create_device(NEXT_MORNING, day.name, night.name)
	assert sync_shifts() == {
		day.name: datetime(2026, 3, 2, 12),
		night.name: datetime(2026, 3, 3, 7),
	}
	assert last_sync(day) == datetime(2026, 3, 2, 12)
	assert last_sync(night) == datetime(2026, 3, 3, 7)


def test_a_device_without_shifts_feeds_all_of_them() -> None:
	shift = create_test_shift()
	create_device(NEXT_MORNING, shift.name)
	create_device(NOON)
	sync_shifts()
	assert last_sync(shift) == datetime(2026, 3, 2, 12)


def test_a_device_of_another_shift_or_switched_off_does_not_hold_it() -> None:
	shift, other = create_test_shift(), create_test_shift()
	create_device(NEXT_MORNING, shift.name)
	create_device(NOON, other.name)
	create_device(NOON, shift.name, enabled=0)
	sync_shifts()
	assert last_sync(shift) == datetime(2026, 3, 3, 7)


def test_a_device_that_was_never_heard_holds_its_shifts() -> None:
	shift = create_test_shift()
	create_device(NEXT_MORNING, shift.name)
	create_device(None, shift.name)
	assert sync_shifts() == {}
	assert last_sync(shift) is None


def test_a_shift_without_devices_is_left_alone() -> None:
	shift, other = create_test_shift(), create_test_shift(last_sync_of_checkin="2026-01-01 00:00:00")
	create_device(NOON, shift.name)
	sync_shifts()
	assert last_sync(other) == datetime(2026, 1, 1)


def test_it_never_goes_back() -> None:
	shift = create_test_shift(last_sync_of_checkin="2026-03-02 18:00:00")
	device = create_device(NOON)
	assert sync_shifts() == {}
	assert last_sync(shift) == datetime(2026, 3, 2, 18)
	complete(device, NEXT_MORNING)
	sync_shifts()
	assert last_sync(shift) == datetime(2026, 3, 3, 7)


@pytest.mark.parametrize("setting", [{"auto_update_last_sync": 1}, {"enable_auto_attendance": 0}])
def test_a_shift_that_follows_the_clock_or_is_not_counted_is_left_alone(setting: dict[str, int]) -> None:
	shift = create_test_shift(**setting)
	create_device(NOON)
	assert sync_shifts() == {}
	assert last_sync(shift) is None


def test_it_follows_the_devices_and_not_the_clock() -> None:
	shift = create_test_shift()
	create_device(NOON)
	sync_shifts()
	assert sync_shifts() == {}  # nothing new was heard, whatever time it is
	assert last_sync(shift) == datetime(2026, 3, 2, 12)


def test_hrms_counts_by_what_was_written() -> None:
	shift = create_test_shift()
	device = create_device(NOON)
	sync_shifts()
	frappe.db.commit()
	assert get_datetime(frappe.get_cached_doc("Shift Type", shift.name).last_sync_of_checkin).hour == 12
	complete(device, NEXT_MORNING)
	sync_shifts()
	frappe.db.commit()
	assert get_datetime(frappe.get_cached_doc("Shift Type", shift.name).last_sync_of_checkin).hour == 7


def test_seconds_are_not_worth_writing() -> None:
	shift = create_test_shift()
	device = create_device(NOON)
	sync_shifts()
	complete(device, NOON + timedelta(seconds=59))
	assert sync_shifts() == {}
	complete(device, NOON + timedelta(seconds=60))
	assert sync_shifts() == {shift.name: datetime(2026, 3, 2, 12, 1)}


def test_in_the_repeated_hour_it_waits_for_the_second_time() -> None:
	shift = create_test_shift()
	device = create_device(datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc))  # 02:30 for the first time
	sync_shifts()
	assert last_sync(shift) == datetime(2026, 10, 25, 2, 0)
	complete(device, datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc))  # and for the second
	sync_shifts()
	assert last_sync(shift) == datetime(2026, 10, 25, 2, 30)


def test_a_rollback_takes_it_back() -> None:
	shift = create_test_shift()
	create_device(NOON)
	sync_shifts()
	frappe.db.rollback()
	assert last_sync(shift) is None


def test_statements_do_not_grow_with_devices_and_shifts() -> None:
	create_test_shift()
	create_device(None)
	sync_shifts()
	with counted_statements() as few:
		sync_shifts()
	for _number in range(4):
		create_device(None, create_test_shift().name)
	with counted_statements() as many:
		sync_shifts()
	assert len(few) == len(many) <= 4


# Explaining


@pytest.mark.parametrize(
	("start", "end", "allowance"),
	[("08:00:00", "17:00:00", 60), ("22:00:00", "06:00:00", 90), ("14:00:00", "23:30:00", 60)],
)
def test_a_day_ends_where_hrms_ends_it(start: str, end: str, allowance: int) -> None:
	shift = create_test_shift(start_time=start, end_time=end, allow_check_out_after_shift_end_time=allowance)
	create_device(NOON)
	explained = explain([DAY], [shift.name], TOMORROW)[0]
	hrms = get_shift_details(shift.name, get_datetime(f"{DAY} {start}"))
	assert explained.ends == hrms.actual_end


def test_it_says_which_device_holds_a_shift_and_why() -> None:
	shift = create_test_shift(process_attendance_after="2026-03-01")
	good = create_device(NEXT_MORNING, title="Good")
	never = create_device(None, title="Never")
	holed = create_test_device("Holed")
	gap = create_test_gap(holed.name, state="Unrecoverable", reason="the device has no history to read")
	complete(holed, NOON, HeldBy.GAP, gap.name)
	waits = create_test_device("Waits")
	complete(waits, NOON, HeldBy.WAITING)
	deliver([make_event(waits.name, 1), make_event(waits.name, 2)])
	told = explain([DAY], now=TOMORROW)
	assert [each.shift for each in told] == [shift.name]
	assert told[0].verdict is Verdict.WAITING
	assert told[0].until is None
	devices = {each.device.name: each for each in told[0].devices}
	assert devices[good.name].complete and devices[good.name].advice == ""
	assert "never heard" in devices[never.name].advice
	assert "enter their check-ins by hand" in devices[holed.name].advice
	assert devices[holed.name].device.gap == gap.name
	assert devices[waits.name].waiting == 2
	assert devices[waits.name].advice.startswith("2 passes wait")


def test_an_outage_is_named_with_the_error_of_the_device() -> None:
	create_test_shift()
	device = create_device(NOON)
	frappe.db.set_value("Hikvision Device", device.name, "last_error", "No route to the terminal.")
	assert explain([DAY], now=TOMORROW)[0].devices[0].advice == "No route to the terminal."


def test_a_shift_that_is_not_over_asks_for_nothing() -> None:
	create_test_shift()
	create_device(NOON)
	told = explain([DAY], now=datetime(2026, 3, 2, 12))[0]
	assert told.verdict is Verdict.NOT_OVER
	assert told.devices[0].advice == ""


def test_a_day_that_was_counted_by_the_clock_is_named() -> None:
	shift = create_test_shift(auto_update_last_sync=1)
	frappe.db.set_value("Shift Type", shift.name, "last_sync_of_checkin", "2026-03-02 20:00:00")
	create_device(NOON)
	told = explain([DAY], now=TOMORROW)[0]
	assert told.verdict is Verdict.TOO_EARLY and told.by_clock
	assert "follows the clock" in told.advice


@pytest.mark.parametrize(
	("values", "words"),
	[
		({}, "Process Attendance After"),
		({"process_attendance_after": "2026-03-03"}, "before Process Attendance After"),
		({"enable_auto_attendance": 0}, "Auto attendance is off"),
		({"process_attendance_after": "2026-03-01"}, ""),
	],
)
def test_settings_that_keep_hrms_from_counting_are_named(values: dict[str, Any], words: str) -> None:
	shift = create_test_shift(**values)
	create_device(NOON)
	told = explain([DAY], [shift.name], TOMORROW)[0]
	assert words in told.advice if words else told.advice == ""


def test_the_report_has_a_row_for_each_shift_and_day_and_below_it_its_devices() -> None:
	shift = create_test_shift()
	create_device(NOON, title="Door A")
	create_device(NEXT_MORNING, title="Door B")
	columns, rows, _message, _chart, summary = execute({"from_date": "2026-03-01", "to_date": "2026-03-02"})
	assert {column["fieldname"] for column in columns} >= {"label", "day", "verdict_label", "complete_until"}
	heads = [row for row in rows if not row["indent"]]
	assert [(row["shift"], str(row["day"]), row["verdict"]) for row in heads] == [
		(shift.name, "2026-03-02", "Waiting"),
		(shift.name, "2026-03-01", "Complete"),
	]
	below = [row for row in rows if row.get("parent_id") == heads[0]["id"]]
	assert [(row["label"], row["verdict_label"]) for row in below] == [
		("Door A", "Not Yet"),
		("Door B", "Complete"),
	]
	assert heads[0]["held_by"] == "1 of 2 devices"
	assert [(each["label"], each["value"]) for each in summary][:2] == [("Complete", 1), ("Waiting", 1)]
	only = execute({"from_date": "2026-03-01", "to_date": "2026-03-02", "only_incomplete": 1})[1]
	assert {row["id"] for row in only if not row["indent"]} == {heads[0]["id"]}


@pytest.mark.parametrize(
	("first", "last"), [("2026-03-02", "2026-03-01"), ("2026-01-01", "2026-03-01"), (None, None)]
)
def test_the_report_is_bounded(first: str | None, last: str | None) -> None:
	with pytest.raises(frappe.ValidationError):
		execute({"from_date": first, "to_date": last})


def test_the_report_of_a_site_without_shifts_or_devices_is_empty() -> None:
	assert execute({"from_date": "2026-03-01", "to_date": "2026-03-02"})[1] == []
	create_test_shift()
	rows = execute({"from_date": "2026-03-02", "to_date": "2026-03-02"})[1]
	assert [row["verdict"] for row in rows] == ["No Device"]


# The form and the workspace


def test_the_form_names_the_least_complete_device_first() -> None:
	shift = create_test_shift()
	create_device(NEXT_MORNING, title="Good")
	create_device(NOON, title="Behind")
	told = api.of_shift(shift.name)
	assert [each["title"] for each in told["devices"]] == ["Behind", "Good"]
	assert told["until"] == datetime(2026, 3, 2, 12)
	assert not told["follows_clock"]
	create_device(None, title="Never")
	told = api.of_shift(shift.name)
	assert told["devices"][0]["title"] == "Never" and told["until"] is None


def test_one_click_lets_a_shift_follow_its_devices() -> None:
	shift = create_test_shift(auto_update_last_sync=1)
	create_device(NOON)
	assert api.of_shift(shift.name)["follows_clock"]
	frappe.set_user(create_test_user("HR Manager"))
	api.follow_devices(shift.name)
	assert not api.of_shift(shift.name)["follows_clock"]
	frappe.set_user("Administrator")
	sync_shifts()
	assert last_sync(shift) == datetime(2026, 3, 2, 12)


@pytest.mark.parametrize("role", ["Hikvision Manager", "Employee"])
def test_who_may_not_write_shifts_cannot(role: str) -> None:
	shift = create_test_shift(auto_update_last_sync=1)
	create_device(NOON)
	frappe.set_user(create_test_user(role))
	with pytest.raises(frappe.PermissionError):
		api.follow_devices(shift.name)
	assert frappe.db.get_value("Shift Type", shift.name, "auto_update_last_sync") == 1


def test_the_card_counts_the_days_that_wait() -> None:
	create_test_shift(start_time="00:00:00", end_time="00:30:00", begin_check_in_before_shift_start_time=0)
	assert api.incomplete_shifts()["value"] == 0  # no device
	long_ago = add_to_date(now_datetime(), days=-3).replace(microsecond=0, tzinfo=timezone.utc)
	device = create_device(long_ago)
	assert api.incomplete_shifts()["value"] >= 1
	complete(device, long_ago + timedelta(days=4))
	assert api.incomplete_shifts()["value"] == 0


def test_devices_come_with_their_shifts_and_watermarks() -> None:
	shift = create_test_shift()
	create_device(NOON, shift.name, title="A")
	create_device(None, title="B")
	one, other = feeding_devices()
	assert (one.title, one.shifts, one.complete_until) == ("A", frozenset({shift.name}), NOON)
	assert other.feeds("anything") and other.until is None
