"""Fetch History on a device's form: asking, watching, stopping."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import frappe
import pytest
from frappe.utils import now_datetime

from hikvision_frappe.api import history as api
from hikvision_frappe.hikvision_frappe.doctype.hikvision_history_fetch.hikvision_history_fetch import (
	HikvisionHistoryFetch,
)
from tests.bench.factories import create_test_device, create_test_fetch
from tests.bench.users import create_test_user


@pytest.fixture
def device() -> str:
	return create_test_device("Main Door").name


def fetch_of(name: str) -> Any:
	return frappe.get_doc("Hikvision History Fetch", name)


def test_a_stretch_of_time_is_asked_for(device: str) -> None:
	user = create_test_user("Hikvision Manager")
	frappe.set_user(user)
	fetch = fetch_of(api.ask(device, "2026-03-02 08:00:00", "2026-03-02 17:30:00"))
	assert (fetch.purpose, fetch.state, fetch.asked_by) == ("Asked", "Queued", user)
	assert (fetch.since, fetch.until) == (datetime(2026, 3, 2, 8), datetime(2026, 3, 2, 17, 30))
	assert (fetch.since_utc, fetch.until_utc) == (datetime(2026, 3, 2, 7), datetime(2026, 3, 2, 16, 30))


def test_in_the_repeated_hour_both_readings_of_a_time_are_covered(device: str) -> None:
	repeated = now_datetime().year - 1
	day = f"{repeated}-10-{26 if repeated == 2025 else 25}"
	fetch = fetch_of(api.ask(device, f"{day} 02:15:00", f"{day} 02:45:00"))
	assert fetch.until_utc - fetch.since_utc == timedelta(minutes=90)


def test_the_future_is_left_out(device: str) -> None:
	fetch = fetch_of(api.ask(device, "2026-03-02 08:00:00", "2999-01-01 00:00:00"))
	assert abs(fetch.until - now_datetime()) < timedelta(seconds=30)


@pytest.mark.parametrize(
	("since", "until"),
	[
		("2026-03-02 09:00:00", "2026-03-02 08:00:00"),
		("2026-03-02 08:00:00", "2026-03-02 08:00:00"),
		("2998-01-01 00:00:00", "2999-01-01 00:00:00"),
		("1970-01-01 00:00:00", "2026-03-02 08:00:00"),
		("0001-01-01 00:00:00", "2026-03-02 08:00:00"),
		("yesterday", "2026-03-02 08:00:00"),
		("", "2026-03-02 08:00:00"),
	],
)
def test_what_is_no_stretch_of_time_is_refused(device: str, since: str, until: str) -> None:
	with pytest.raises(frappe.ValidationError):
		api.ask(device, since, until)
	assert not frappe.db.count("Hikvision History Fetch")


@pytest.mark.parametrize("role", ["Hikvision User", "HR User", "Hikvision Agent"])
def test_who_may_only_look_cannot_ask_or_stop(device: str, role: str) -> None:
	running = create_test_fetch(device)
	frappe.set_user(create_test_user(role))
	with pytest.raises(frappe.PermissionError):
		api.ask(device, "2026-03-02 08:00:00", "2026-03-02 09:00:00")
	with pytest.raises(frappe.PermissionError):
		api.cancel(running.name)


@pytest.mark.parametrize(
	("values", "percent", "under_way"),
	[
		({}, None, True),
		({"state": "Running", "rows": 30, "total": 120}, 25, True),
		({"state": "Running", "rows": 130, "total": 120}, 100, True),
		({"state": "Running", "read_until": datetime(2026, 3, 2, 8, 15)}, 25, True),
		({"state": "Complete", "rows": 0}, 100, False),
		({"state": "Unproven", "rows": 60, "total": 120}, 50, False),
		({"state": "Failed"}, None, False),
		({"state": "Failed", "next_attempt_at_utc": datetime(2026, 3, 2, 9)}, None, True),
		({"state": "Cancelled"}, None, False),
	],
)
def test_progress_is_told(device: str, values: dict, percent: int | None, under_way: bool) -> None:
	told = api.progress(create_test_fetch(device, **values).name)
	assert (told["percent"], told["under_way"]) == (percent, under_way)
	assert told["again"] is (under_way and values.get("state") == "Failed")


def test_a_reading_is_stopped_once(device: str) -> None:
	running = create_test_fetch(device, state="Running", rows=40, new_rows=3, leased_by="L")
	frappe.set_user(create_test_user("HR Manager"))
	assert api.cancel(running.name) is True
	running.reload()
	assert (running.state, running.rows, running.leased_by) == ("Cancelled", 40, None)
	assert running.ended_at
	assert api.cancel(running.name) is False


def test_readings_that_ended_long_ago_are_cleared(device: str) -> None:
	kept = [create_test_fetch(device, state="Complete"), create_test_fetch(device)]
	gone = create_test_fetch(device, state="Complete")
	long_ago = now_datetime() - timedelta(days=100)
	for each in (gone, kept[1]):
		frappe.db.set_value("Hikvision History Fetch", each.name, "creation", long_ago)
	HikvisionHistoryFetch.clear_old_logs(90)
	left = frappe.get_all("Hikvision History Fetch", pluck="name")
	assert sorted(left) == sorted(each.name for each in kept)
