"""What is worth telling the site, and when."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from hikvision_frappe.core.gaps import Cause, Contact
from hikvision_frappe.listener.reporter import ReportFilter
from hikvision_frappe.listener.site import ConnectionState, DeviceReport

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)
WELL = DeviceReport("gate", ConnectionState.CONNECTED, since=NOW)


def test_a_report_is_chosen_until_it_was_sent_and_then_not_again() -> None:
	chooser = ReportFilter(progress_seconds=30.0)
	assert chooser.choose([WELL], 0.0) == [WELL]
	assert chooser.choose([WELL], 1.0) == [WELL]
	chooser.sent([WELL], 1.0)
	assert chooser.choose([WELL], 100.0) == []


def test_mere_progress_is_told_once_in_each_period() -> None:
	chooser = ReportFilter(progress_seconds=30.0)
	chooser.sent([WELL], 0.0)
	sent = 0
	for second in range(300):
		busy = replace(WELL, events=second, last_event=NOW, contact=None)
		if chooser.choose([busy], float(second)):
			chooser.sent([busy], float(second))
			sent += 1
	assert sent == 10


def test_a_change_of_state_is_told_at_once() -> None:
	chooser = ReportFilter()
	chooser.sent([WELL], 1.0)
	lost = replace(WELL, state=ConnectionState.RETRYING, error="off")
	assert chooser.choose([lost], 1.1) == [lost]


def test_a_new_contact_is_told_at_once_and_one_that_goes_on_in_its_turn() -> None:
	chooser = ReportFilter(progress_seconds=15.0)
	first = replace(WELL, contact=Contact(NOW, NOW, Cause.LISTENER_START))
	chooser.sent([WELL], 0.0)
	assert chooser.choose([first], 0.1) == [first]
	chooser.sent([first], 0.1)
	longer = replace(WELL, contact=Contact(NOW, NOW + timedelta(seconds=9), Cause.LISTENER_START))
	turns = [tenth for tenth in range(1, 151) if chooser.choose([longer], tenth / 10 + 0.1)]
	assert turns
	assert turns[0] > 1
	other = replace(WELL, contact=Contact(NOW + timedelta(seconds=9), NOW + timedelta(seconds=9)))
	assert chooser.choose([other], 0.2) == [other]


def test_the_progress_of_many_devices_is_spread_over_the_period() -> None:
	chooser = ReportFilter(progress_seconds=15.0)
	devices = [replace(WELL, device=f"D{number}") for number in range(1_000)]
	chooser.sent(devices, 0.0)
	told: Counter[int] = Counter()
	for second in range(5, 50, 5):
		due = chooser.choose([replace(device, events=second) for device in devices], float(second))
		chooser.sent(due, float(second))
		told[second] = len(due)
	assert max(told.values()) < 450
	assert sum(told.values()) > 2_500


def test_a_device_that_is_no_longer_entered_is_new_when_it_comes_back() -> None:
	chooser = ReportFilter()
	chooser.sent([WELL], 1.0)
	chooser.forget_others([])
	assert chooser.choose([WELL], 1.1) == [WELL]
