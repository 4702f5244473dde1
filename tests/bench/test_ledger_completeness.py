"""The keeper on a real site: outages and their notices, readings for gaps, watermarks that only tell what is certain."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import frappe
import pytest

from hikvision_frappe.core.event import Source
from hikvision_frappe.core.gaps import Cause
from hikvision_frappe.ledger import completeness
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger.completeness import KeeperSettings, tend
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.ledger.signal import keeper_is_due, wake_keeper
from hikvision_frappe.listener.site import ConnectionState, DeviceReport, ListenerReport
from tests.bench.completeness import (
	AT_ONCE,
	Listener,
	ago,
	begin_now,
	complete_until,
	fetches,
	gap,
	gaps,
	look,
	notices,
	of_device,
	with_manager,
)
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, make_event, make_events

MARGIN = timedelta(seconds=2)


@pytest.fixture(autouse=True)
def clock() -> None:
	with_manager()
	begin_now()


@pytest.fixture
def device() -> str:
	return create_test_device("Gate", history=0).name


def settle(device: str, state: str = "Not Counted", **filters: Any) -> None:
	"""Let the drain have done its work on the device's passes."""
	frappe.db.set_value("Access Event", {"device": device, **filters}, "state", state, update_modified=False)
	frappe.db.commit()


def record(device: str, number: int, at: datetime, **values: Any) -> Any:
	return make_event(device, number, occurred_at=at, received_at=at, live=True, **values)


# Outages.


def test_an_outage_is_told_once_at_its_beginning_and_once_at_its_end(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(minutes=3))
	look()
	look()
	found = gap(device)
	assert (found.until, found.state, found.reason) == (None, "Open", "the device is not heard")
	assert found.since_utc == ago(minutes=3).replace(tzinfo=None)
	assert [subject.startswith("Gate is not heard") for subject in notices(device)] == [True]

	listener.hears(device, ago(seconds=40), ago(seconds=5), Cause.SILENCE)
	look()
	look()
	found = gap(device)
	assert (found.cause, found.until_utc) == ("Silence", ago(seconds=40).replace(tzinfo=None))
	assert ["heard again" in subject for subject in notices(device)] == [False, True]


def test_a_short_break_tells_nobody(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(seconds=90))
	look()
	assert gaps(device) == []
	listener.hears(device, ago(seconds=60), ago(seconds=1))
	look()
	assert gap(device).until is not None
	assert notices(device) == []


def test_an_outage_that_was_none_is_taken_back(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(minutes=3))
	look()
	listener.hears(device, ago(hours=1), ago(seconds=5))
	look()
	found = gap(device)
	assert (found.state, found.since_utc) == ("Recovered", found.until_utc)


def test_an_outage_that_began_later_than_it_seemed_begins_then(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(minutes=9))
	look()
	listener.hears(device, ago(hours=1), ago(minutes=4))
	look()
	assert (gap(device).since_utc, gap(device).until) == (ago(minutes=4).replace(tzinfo=None), None)
	assert len(notices(device)) == 1


def test_nobody_is_missed_who_was_never_heard_or_was_not_asked_since_it_is_only_read(
	listener: Listener,
) -> None:
	never, read = create_test_device().name, create_test_device().name
	listener.hears(read, ago(hours=1), ago(minutes=9))
	frappe.db.set_value("Hikvision Device", read, "mode", "History")
	off = create_test_device().name
	listener.hears(off, ago(hours=1), ago(minutes=9))
	frappe.db.set_value("Hikvision Device", off, "enabled", 0)
	frappe.db.commit()
	look()
	assert not any(gaps(device) for device in (never, read, off))


def test_no_outage_is_told_while_listeners_may_not_have_reported_yet(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(minutes=9))
	assert tend(AT_ONCE, notice_outages=False)
	assert gaps(device) == []


def test_a_notification_that_fails_does_not_keep_the_gap_away(device: str, listener: Listener) -> None:
	notification = frappe.get_doc("Notification", "Device Not Heard")
	condition = notification.condition
	frappe.db.set_value("Notification", notification.name, "condition", "nothing.at.all")
	frappe.db.commit()
	frappe.clear_cache(doctype="Notification")
	try:
		listener.hears(device, ago(hours=1), ago(minutes=9))
		look()
		assert gap(device).until is None
		assert frappe.db.count("Error Log", {"method": ["like", "Hikvision%"]}) == 1
	finally:
		frappe.db.set_value("Notification", notification.name, "condition", condition)
		frappe.db.commit()
		frappe.clear_cache(doctype="Notification")


def test_an_outage_that_goes_on_is_accepted_until_now(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(minutes=9))
	look()
	ledger_gaps.accept(gap(device).name, "Under repair.")
	frappe.db.commit()
	look()
	found = gap(device)
	assert found.state == "Accepted" and found.until_utc >= ago(seconds=30).replace(tzinfo=None)
	assert complete_until(device) >= ago(seconds=30)
	assert not any("heard again" in subject for subject in notices(device))


# Gaps that nobody can fill.


def test_an_unrecoverable_gap_alerts_once_and_holds_until_it_is_accepted(
	device: str, listener: Listener
) -> None:
	deliver([record(device, number, ago(minutes=30 - number)) for number in (1, 2, 5)])
	settle(device)
	listener.hears(device, ago(hours=1), ago(seconds=5))
	look()
	look()
	found = gap(device)
	assert (found.state, found.reason, found.alerted) == (
		"Unrecoverable",
		"the device has no history to read",
		1,
	)
	assert [subject.startswith("Passes at Gate may be missing for good") for subject in notices(device)] == [
		True
	]
	assert complete_until(device) == ago(minutes=28) - MARGIN
	assert (of_device(device, "held_by"), of_device(device, "held_by_gap")) == (
		"a gap is not resolved",
		found.name,
	)

	ledger_gaps.accept(found.name, "Asked the guard: nobody passed.")
	frappe.db.commit()
	look()
	assert complete_until(device) >= ago(seconds=20)
	assert (of_device(device, "held_by"), of_device(device, "held_by_gap")) == (
		"the device was heard until then",
		None,
	)
	assert len(notices(device)) == 1


def test_rows_that_arrive_after_the_alert_resolve_the_gap(device: str) -> None:
	deliver([record(device, number, ago(minutes=30 - number)) for number in (1, 2, 4)])
	look()
	assert gap(device).state == "Unrecoverable"
	deliver([record(device, 3, ago(minutes=27))])
	look()
	assert gap(device).state == "Recovered"


def test_a_device_without_numbers_and_history_cannot_tell(device: str, listener: Listener) -> None:
	deliver([make_event(device, None, occurred_at=ago(minutes=50))])
	listener.hears(device, ago(hours=1), ago(minutes=9))
	listener.hears(device, ago(minutes=8), ago(seconds=5))
	look()
	assert (gap(device).state, gap(device).reason) == (
		"Unrecoverable",
		"the device gives its records no numbers and has no history",
	)


# Readings.


def test_a_gap_of_a_device_with_history_is_read_by_number_once(listener: Listener) -> None:
	device = create_test_device().name
	deliver([record(device, number, ago(minutes=30 - number)) for number in (1, 2, 5)])
	look(KeeperSettings())
	assert fetches(device) == []  # they may still come by themselves
	look()
	look()
	(fetch,) = fetches(device)
	assert (fetch.purpose, fetch.state, fetch.gap) == ("Gap", "Queued", gap(device).name)
	assert (fetch.first_serial, fetch.last_serial) == (3, 4)
	assert (gap(device).state, gap(device).reason) == ("Filling", "the device's history will be read")


def test_a_break_is_read_by_its_time(listener: Listener) -> None:
	device = create_test_device().name
	listener.hears(device, ago(hours=1), ago(minutes=9))
	listener.hears(device, ago(minutes=8), ago(seconds=5))
	look()
	(fetch,) = fetches(device)
	assert (fetch.first_serial, fetch.since_utc, fetch.until_utc) == (
		0,
		ago(minutes=9).replace(tzinfo=None),
		ago(minutes=8).replace(tzinfo=None),
	)


def test_many_gaps_of_one_device_are_read_a_few_at_a_time() -> None:
	device = create_test_device().name
	deliver([record(device, number, ago(minutes=90 - number)) for number in range(1, 60, 3)])
	look()
	assert len(fetches(device)) == AT_ONCE.readings
	assert {each.state for each in gaps(device)} == {"Filling", "Open"}


def test_a_device_that_has_no_history_after_all_is_not_asked() -> None:
	device = create_test_device(history_supported="No").name
	frappe.db.set_value("Hikvision Device", device, "history_supported", "No")
	frappe.db.commit()
	deliver([record(device, 1, ago(minutes=3)), record(device, 3, ago(minutes=2))])
	look()
	assert fetches(device) == []
	assert gap(device).state == "Unrecoverable"


def test_histories_are_read_every_so_often_from_where_they_were_proven(site: str) -> None:
	device = create_test_device(mode="History", history_minutes=5).name
	look()
	look()
	(first,) = fetches(device)
	assert (first.purpose, first.state) == ("Periodic", "Queued")
	values = {"state": "Complete", "until_utc": ago(minutes=6).replace(tzinfo=None)}
	frappe.db.set_value("Hikvision History Fetch", first.name, values)
	proven = ago(minutes=6).replace(tzinfo=None)
	frappe.db.set_value("Hikvision Device", device, "proven_until_utc", proven)
	frappe.db.commit()
	look()
	(again,) = [each for each in fetches(device) if each.state == "Queued"]
	assert again.since_utc == proven - AT_ONCE.overlap
	assert complete_until(device) == ago(minutes=6) - MARGIN


# Watermarks.


def test_a_quiet_device_is_complete_until_it_was_heard(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(seconds=9))
	look()
	assert complete_until(device) == ago(seconds=9) - MARGIN
	assert of_device(device, "complete_until") is not None


@pytest.mark.parametrize("state", ["New", "Unmatched", "Failed", "Ambiguous Hour"])
def test_a_pass_that_waits_holds_the_watermark_before_it(device: str, listener: Listener, state: str) -> None:
	deliver([record(device, 1, ago(minutes=8)), record(device, 2, ago(minutes=7))])
	settle(device)
	settle(device, state, serial_no=2)
	listener.hears(device, ago(hours=1), ago(seconds=9))
	look()
	assert complete_until(device) == ago(minutes=7) - timedelta(seconds=1)
	assert of_device(device, "held_by") == "a pass waits to be matched or worked off"
	settle(device)
	look()
	assert complete_until(device) == ago(seconds=9) - MARGIN


def test_a_watermark_never_goes_back(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(seconds=9))
	look()
	before = complete_until(device)
	deliver([record(device, 1, ago(minutes=30))])
	look()
	assert complete_until(device) == before
	assert of_device(device, "held_by") == "a pass waits to be matched or worked off"


def test_a_device_whose_clock_is_behind_is_complete_by_its_own_clock(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=1), ago(seconds=9), clock_offset=300.0)
	look()
	assert complete_until(device) == ago(seconds=9) - timedelta(minutes=5) - MARGIN


def test_a_device_that_pushes_without_heartbeats_is_complete_until_its_newest_number() -> None:
	device = create_test_device(mode="Push", history=0).name
	deliver([record(device, 1, ago(minutes=8), source=Source.PUSH)])
	settle(device)
	look()
	assert complete_until(device) == ago(minutes=8)


def test_a_record_that_came_says_nothing_of_the_time_after_its_coming() -> None:
	device = create_test_device(mode="Push", history=0).name
	deliver([make_event(device, 1, occurred_at=ago(minutes=10), received_at=ago(minutes=70))])
	settle(device)
	look()
	assert complete_until(device) == ago(minutes=70)


def test_nothing_is_complete_before_anything_was_heard(device: str) -> None:
	look()
	assert complete_until(device) is None
	assert of_device(device, "held_by") == "nothing was heard of the device yet"


# What it costs, and whom it gets in the way of.


def test_a_round_costs_no_more_for_many_devices(listener: Listener) -> None:
	def statements() -> int:
		listener_report(listener, frappe.get_all("Hikvision Device", pluck="name"))
		with counted_statements() as counted:
			assert tend(AT_ONCE)
		return len(counted)

	create_test_device()
	statements()
	few = statements()
	for _ in range(30):
		create_test_device()
	assert statements() <= few + 1 <= 16  # one more UPDATE for every hundred devices


def listener_report(listener: Listener, devices: list[str]) -> None:
	from hikvision_frappe.core.gaps import Contact

	now = datetime.now(timezone.utc)
	reports = [
		DeviceReport(device, ConnectionState.CONNECTED, now, contact=Contact(ago(hours=1), now))
		for device in devices
	]
	listener.report(ListenerReport(listener.name, now, devices=reports))


def test_the_waiting_passes_are_found_by_an_index(device: str) -> None:
	deliver(make_events(device, 200))
	query = completeness._waiting_query().get_sql()
	(plan,) = frappe.db.sql(f"explain {query}", as_dict=True)
	assert (plan.key, plan.type) == ("state_occurred_at_utc_index", "range")
	assert completeness.waiting_since() == {device: make_event(device, 1).occurred_at}


def test_two_keepers_do_not_get_in_each_others_way(site: str, device: str) -> None:
	entered, leave = threading.Event(), threading.Event()

	def hold() -> None:
		from hikvision_frappe.ledger.alone import alone

		frappe.init(site=site, sites_path=".")
		frappe.connect()
		with alone(completeness.LOCK_NAME) as is_alone:
			assert is_alone
			entered.set()
			leave.wait(10)
		frappe.destroy()

	other = threading.Thread(target=hold)
	other.start()
	assert entered.wait(10)
	assert not tend(AT_ONCE)
	leave.set()
	other.join(10)
	assert tend(AT_ONCE)


def test_a_keeper_that_is_woken_knows_it_once() -> None:
	keeper_is_due()
	wake_keeper()
	assert keeper_is_due()
	assert not keeper_is_due()


def test_a_device_that_came_to_push_without_heartbeats_is_neither_missed_nor_held(
	device: str, listener: Listener
) -> None:
	listener.hears(device, ago(hours=1), ago(minutes=20))
	frappe.db.set_value("Hikvision Device", device, "mode", "Push")
	frappe.db.commit()
	deliver([record(device, 1, ago(minutes=8), source=Source.PUSH)])
	settle(device)
	look()
	assert gaps(device) == []
	assert complete_until(device) == ago(minutes=8)


def a_loss_with_two_names(device: str, listener: Listener) -> None:
	"""A jump that people were told of, and a break whose next record has still to show that it is the same loss."""
	deliver([record(device, 1, ago(minutes=30))])
	listener.hears(device, ago(hours=1), ago(minutes=9))
	listener.hears(device, ago(minutes=8), ago(seconds=5))
	deliver([record(device, 5, ago(minutes=8, seconds=30)).retold(live=False)])
	look()
	states = {each.cause: each.state for each in gaps(device)}
	assert states == {"Serial Jump": "Unrecoverable", "Reconnect": "Open"}
	assert len(notices(device)) == 1


def test_a_loss_that_has_two_names_is_told_once(device: str, listener: Listener) -> None:
	a_loss_with_two_names(device, listener)
	deliver([record(device, 6, ago(minutes=5))])
	look()
	look()
	found = gap(device)
	assert (found.cause, found.state, found.missing) == ("Reconnect", "Unrecoverable", 3)
	assert len(notices(device)) == 1


def test_a_loss_that_has_two_names_is_accepted_once(device: str, listener: Listener) -> None:
	a_loss_with_two_names(device, listener)
	(jump,) = [each.name for each in gaps(device) if each.cause == "Serial Jump"]
	ledger_gaps.accept(jump, "Nobody was there.")
	frappe.db.commit()
	deliver([record(device, 6, ago(minutes=5))])
	look()
	assert {(each.state, each.remark) for each in gaps(device)} == {("Accepted", "Nobody was there.")}
	assert {each.accepted_by for each in gaps(device)} == {frappe.session.user}
	assert len(notices(device)) == 1


def test_a_break_that_missed_more_than_people_were_told_of_is_told(device: str, listener: Listener) -> None:
	a_loss_with_two_names(device, listener)
	deliver([record(device, 9, ago(minutes=5))])
	look()
	assert (gap(device).state, gap(device).missing) == ("Unrecoverable", 6)
	assert len(notices(device)) == 2


def test_a_reading_for_a_jump_becomes_one_for_the_break_that_caused_it(listener: Listener) -> None:
	device = create_test_device().name
	deliver([record(device, number, ago(minutes=30 - number)) for number in (1, 2)])
	listener.hears(device, ago(hours=1), ago(minutes=9))
	listener.hears(device, ago(minutes=8), ago(seconds=5))
	deliver([record(device, 5, ago(minutes=8, seconds=30)).retold(live=False)])
	look()
	assert sorted(each.first_serial for each in fetches(device)) == [0, 3]
	deliver([record(device, 6, ago(minutes=5))])
	look()
	assert (gap(device).cause, gap(device).first_serial, gap(device).last_serial) == ("Reconnect", 3, 5)
	assert {each.gap for each in fetches(device)} == {gap(device).name}
