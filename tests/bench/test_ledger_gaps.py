"""Gaps on a real site: jumps with the events themselves, breaks with the reports, accepted by HR."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import frappe
import pytest

from hikvision_frappe.core.event import EventKind
from hikvision_frappe.core.gaps import Cause, Contact
from hikvision_frappe.ledger import contacts
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger.instants import site_zone
from hikvision_frappe.ledger.intake import deliver
from tests.bench.completeness import (
	Listener,
	ago,
	begin_now,
	complete_until,
	gap,
	gaps,
	listening,
	look,
	of_device,
)
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, make_event, make_events


@pytest.fixture(autouse=True)
def clock() -> None:
	begin_now()


@pytest.fixture
def device() -> str:
	return create_test_device(history=0).name


def live(device: str, number: int, moment: Any) -> Any:
	return make_event(device, number, occurred_at=moment, received_at=moment, live=True)


# Jumps.


def test_numbers_passed_over_are_a_gap_in_the_transaction_of_the_next_record(device: str) -> None:
	deliver(make_events(device, 3))
	deliver([make_event(device, 6)])
	found = gap(device)
	assert (found.first_serial, found.last_serial, found.epoch) == (4, 5, 1)
	assert (found.expected, found.missing, found.found) == (2, 2, 0)
	assert (found.cause, found.state) == ("Serial Jump", "Open")
	assert (found.until_utc - found.since_utc).total_seconds() == 3
	assert found.since and found.noticed_at


def test_records_in_order_cost_no_statement_more(device: str) -> None:
	deliver(make_events(device, 5))
	with counted_statements() as without:
		deliver(make_events(device, 5, first=6))
	assert not any("Gap" in statement for statement in without)
	with counted_statements() as with_jump:
		deliver([make_event(device, 20)])
	assert sum("Gap" in statement for statement in with_jump) == 1


def test_a_batch_that_is_delivered_again_opens_no_second_gap(device: str) -> None:
	deliver(make_events(device, 2))
	batch = [make_event(device, 5), make_event(device, 9)]
	deliver(batch)
	deliver(batch)
	assert [(each.first_serial, each.last_serial) for each in gaps(device)] == [(3, 4), (6, 8)]


def test_records_of_a_batch_in_any_order_leave_no_gap(device: str) -> None:
	deliver(make_events(device, 2))
	deliver(list(reversed(make_events(device, 4, first=3))))
	assert gaps(device) == []


def test_the_records_arrive_after_all(device: str) -> None:
	deliver(make_events(device, 2))
	deliver([make_event(device, 5)])
	deliver([make_event(device, 3)])
	look()
	assert gap(device).found == 1
	deliver([make_event(device, 4)])
	look()
	assert (gap(device).state, gap(device).missing, gap(device).reason) == (
		"Recovered",
		0,
		"all missing records arrived",
	)


def test_numbers_beyond_every_count_do_not_stop_intake(device: str) -> None:
	deliver(make_events(device, 2))
	assert deliver([make_event(device, 2**40, second=60)]).new == 1
	assert gap(device).expected == 2**31 - 1


def test_a_count_that_began_anew_on_a_device_without_contacts_is_a_gap(device: str) -> None:
	deliver(make_events(device, 9))
	deliver([make_event(device, 1, second=3600)])
	found = gap(device)
	assert (found.after_serial, found.epoch, found.first_serial) == (9, 1, 0)


def test_a_count_that_began_anew_is_a_gap_though_the_device_pushes_heartbeats(listener: Listener) -> None:
	device = create_test_device(mode="Push", history=0).name
	deliver(make_events(device, 9))
	listener.hears(device, ago(minutes=9), ago(minutes=1))
	deliver([make_event(device, 1, second=3600)])
	assert (gap(device).after_serial, gap(device).epoch) == (9, 1)


# Breaks.


def test_the_first_contact_is_no_break(device: str, listener: Listener) -> None:
	listener.hears(device, ago(minutes=9), ago(minutes=8), Cause.LISTENER_START)
	assert gaps(device) == []
	assert of_device(device, "heard_until_utc") == ago(minutes=8).replace(tzinfo=None)


def test_a_contact_that_goes_on_is_one(device: str, listener: Listener) -> None:
	since = ago(minutes=9)
	listener.hears(device, since, ago(minutes=8))
	listener.hears(device, since, ago(minutes=1))
	assert gaps(device) == []
	assert of_device(device, "heard_since_utc") == since.replace(tzinfo=None)


def test_a_break_waits_for_the_next_record(device: str, listener: Listener) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	listener.hears(device, ago(minutes=7), ago(seconds=5), Cause.SILENCE)
	found = gap(device)
	assert (found.cause, found.after_serial, found.epoch) == ("Silence", 3, 1)
	assert (found.since_utc, found.until_utc) == tuple(
		moment.replace(tzinfo=None) for moment in (ago(minutes=8), ago(minutes=7))
	)
	look()
	assert gap(device).reason == "the next record of the device will tell"

	deliver([live(device, 4, ago(minutes=6))])
	look()
	assert (gap(device).state, gap(device).reason) == (
		"Recovered",
		"the numbers go on without a hole: nothing was missed",
	)


def test_numbers_that_go_on_already_leave_no_gap(device: str, listener: Listener) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	deliver([live(device, 4, ago(minutes=6, seconds=30))])
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	assert gaps(device) == []


def test_what_is_told_again_proves_nothing_of_the_time_after_it(device: str, listener: Listener) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	deliver(
		[
			make_event(
				device, 4, occurred_at=ago(minutes=7, seconds=30), received_at=ago(minutes=6), live=False
			)
		]
	)
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	assert gap(device).after_serial == 4


def test_a_gap_remembers_the_clock_by_which_its_records_were_written(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=9), ago(hours=8), clock_offset=3600.0)
	listener.hears(device, ago(hours=7), ago(seconds=5), clock_offset=0.0)
	look()
	assert gap(device).clock_offset == 3600.0
	assert complete_until(device) == ago(hours=9, seconds=2)
	frappe.db.set_value("Hikvision Device", device, "history", 1)
	frappe.db.commit()
	look()
	listener.devices(listener.name, 30.0)
	(task,) = listener.history_tasks(listener.name, 30.0)
	assert (task.clock_offset, task.recorded) == (3600.0, None)


def test_a_record_proves_nothing_by_a_clock_that_was_put_right_meanwhile(
	device: str, listener: Listener
) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(hours=9), ago(hours=8), clock_offset=3600.0)
	told_again = {"received_at": ago(hours=6), "live": False}
	deliver([make_event(device, 4, occurred_at=ago(hours=7, minutes=30), **told_again)])
	listener.hears(device, ago(hours=7), ago(seconds=5), clock_offset=0.0)
	look()
	assert (gap(device).state, gap(device).after_serial) == ("Open", 4)


def test_a_record_of_the_gaps_last_second_is_not_surely_younger(device: str, listener: Listener) -> None:
	"""A device's clock shows whole seconds, so that its offset is known no better."""
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	told_again = {"received_at": ago(minutes=6), "live": False}
	deliver([make_event(device, 4, occurred_at=ago(minutes=6, seconds=59), **told_again)])
	look()
	assert gap(device).reason == "the next record of the device will tell"


@pytest.mark.parametrize("number", [1, 9])
def test_what_is_missing_was_made_after_the_last_record_came_whatever_the_devices_clock(number: int) -> None:
	device = create_test_device(mode="Push", history=0).name
	for each, hours in ((4, 5), (5, 5), (number, 4)):
		deliver([make_event(device, each, occurred_at=ago(hours=hours - 1), received_at=ago(hours=hours))])
	assert [each.since_utc for each in gaps(device) if each.epoch == 1] == [ago(hours=5).replace(tzinfo=None)]


def test_what_is_missing_was_not_made_in_the_future(device: str) -> None:
	deliver([make_event(device, 1, occurred_at=ago(hours=-2))])
	deliver([make_event(device, 3, occurred_at=ago(hours=-3))])
	assert gap(device).until_utc <= ago(seconds=-60).replace(tzinfo=None)


def test_a_jump_says_what_the_break_lost_and_there_is_one_gap(device: str, listener: Listener) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	deliver([live(device, 6, ago(minutes=6, seconds=30))])
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	assert (gap(device).cause, gap(device).first_serial, gap(device).last_serial) == ("Serial Jump", 4, 5)


def test_a_jump_after_the_break_was_noticed_becomes_part_of_it(device: str, listener: Listener) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	deliver([live(device, 6, ago(minutes=5))])
	assert len(gaps(device)) == 2
	look()
	found = gap(device)
	assert (found.cause, found.first_serial, found.last_serial, found.missing) == ("Reconnect", 4, 5, 2)


def test_a_restart_of_the_device_is_named_as_the_cause(device: str, listener: Listener) -> None:
	deliver(make_events(device, 3))
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	boot = make_event(
		device, 4, occurred_at=ago(minutes=7, seconds=30), major=2, minor=1024, kind=EventKind.OTHER
	)
	deliver([boot, live(device, 5, ago(minutes=5))])
	look()
	assert (gap(device).cause, gap(device).state) == ("Reboot", "Recovered")


def test_a_count_that_began_anew_within_the_break_proves_nothing(device: str, listener: Listener) -> None:
	deliver([make_event(device, number, occurred_at=ago(minutes=10 - number / 60)) for number in (1, 2, 3)])
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	deliver([live(device, 1, ago(minutes=6, seconds=30))])
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	assert (gap(device).after_serial, gap(device).epoch) == (3, 1)
	look()
	assert gap(device).state == "Unrecoverable"
	assert "count anew" in gap(device).reason


def test_two_listeners_that_overlap_leave_no_gap(device: str, listener: Listener, site: str) -> None:
	with listening(site, "another") as other:
		listener.hears(device, ago(minutes=9), ago(minutes=6))
		other.hears(device, ago(minutes=7), ago(minutes=3), Cause.LISTENER_START)
		listener.hears(device, ago(minutes=9), ago(minutes=5))
		other.hears(device, ago(minutes=7), ago(minutes=1), Cause.LISTENER_START)
	assert gaps(device) == []
	assert of_device(device, "heard_until_utc") == ago(minutes=1).replace(tzinfo=None)


def test_contacts_of_many_devices_cost_a_fixed_number_of_statements(listener: Listener, site: str) -> None:

	names = [create_test_device().name for _ in range(12)]
	for name in names:
		listener.hears(name, ago(minutes=9), ago(minutes=8))
	counts = []
	for some in (names[:2], names[2:]):
		told = {name: ledger_contact(minutes=5) for name in some}
		with counted_statements() as statements:
			contacts.join(contacts.lock(told), told, site_zone())
		frappe.db.commit()
		counts.append(len(statements))
	assert counts[1] <= counts[0] <= 6
	assert frappe.db.count("Access Event Gap") == 12


def ledger_contact(**span: float) -> Any:

	return Contact(ago(**span), ago(**span) + timedelta(minutes=1))


# HR.


def test_a_gap_is_accepted_with_a_remark_and_says_by_whom(device: str) -> None:
	deliver(make_events(device, 2))
	deliver([make_event(device, 5)])
	look()
	name = gap(device).name
	with pytest.raises(frappe.MandatoryError):
		ledger_gaps.accept(name, "  ")
	ledger_gaps.accept(name, "The door was taken down.")
	frappe.db.commit()
	found = gap(device)
	assert (found.state, found.accepted_by, found.remark) == (
		"Accepted",
		"Administrator",
		"The door was taken down.",
	)
	assert found.accepted_at
	assert frappe.db.count("Comment", {"reference_name": name, "comment_type": "Info"}) == 1
	with pytest.raises(frappe.ValidationError):
		ledger_gaps.accept(name, "Again.")
	look()
	assert gap(device).state == "Accepted"


def test_what_was_accepted_while_the_keeper_judged_stays_accepted(device: str) -> None:

	deliver(make_events(device, 2))
	deliver([make_event(device, 5)])
	(read,) = ledger_gaps.unresolved([device])
	ledger_gaps.accept(read.name, "Known.")
	frappe.db.commit()
	ledger_gaps.update([read], site_zone())
	ledger_gaps.save_document(read, site_zone())
	frappe.db.commit()
	assert gap(device).state == "Accepted"


def test_the_first_record_ever_may_come_between_a_report_and_the_break(
	device: str, listener: Listener
) -> None:
	listener.hears(device, ago(minutes=9), ago(minutes=8))
	deliver([live(device, 57, ago(minutes=7, seconds=50)), live(device, 58, ago(minutes=6))])
	listener.hears(device, ago(minutes=7), ago(seconds=5))
	assert gaps(device) == []
