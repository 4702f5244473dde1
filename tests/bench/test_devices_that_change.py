"""What becomes of gaps, readings and watermarks when people change a device, or stop a reading."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import frappe
import pytest
from frappe.utils import now_datetime

from hikvision_frappe.core.event import Source
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.patches import remember_when_devices_were_heard
from tests.bench.completeness import (
	Listener,
	ago,
	begin_now,
	complete_until,
	fetches,
	gap,
	gaps,
	look,
)
from tests.bench.factories import create_test_device, make_event


@pytest.fixture(autouse=True)
def clock() -> None:
	begin_now()


def with_jump(**values: Any) -> str:
	"""A device whose numbers 2 and 3 are missing."""
	device = create_test_device("Gate", **values).name
	deliver(
		[make_event(device, number, occurred_at=ago(minutes=30), source=Source.PUSH) for number in (1, 4)]
	)
	return device


def change(device: str, **values: Any) -> None:
	document = frappe.get_doc("Hikvision Device", device)
	document.update(values)
	document.save()
	frappe.db.commit()


def state_of(device: str) -> tuple[str, list[str]]:
	return gap(device).state, [each.state for each in fetches(device)]


def test_a_reading_for_a_gap_that_somebody_stopped_is_not_begun_again_by_itself() -> None:
	device = with_jump()
	look()
	assert state_of(device) == ("Filling", ["Queued"])
	frappe.get_doc("Hikvision History Fetch", fetches(device)[0].name).cancel_reading()
	frappe.db.commit()
	look()
	look()
	assert state_of(device) == ("Open", ["Cancelled"])


def test_a_gap_does_not_wait_for_a_history_that_may_not_be_read_any_more() -> None:
	device = with_jump()
	look()
	change(device, history=0)
	look()
	assert state_of(device) == ("Unrecoverable", ["Cancelled"])
	change(device, history=1)
	look()
	assert [each.state for each in fetches(device)] == ["Cancelled"]  # a person decides from here


def test_a_device_that_pushes_and_has_no_password_is_not_asked_for_its_history() -> None:
	device = with_jump(mode="Push", password="")
	look()
	assert state_of(device) == ("Unrecoverable", [])


def test_a_device_that_was_read_and_is_streamed_now_has_a_gap_between(listener: Listener) -> None:
	device = create_test_device("Gate", mode="History").name
	frappe.db.set_value("Hikvision Device", device, "proven_until_utc", naive(ago(minutes=15)))
	change(device, mode="Stream", history=0)
	listener.hears(device, ago(minutes=1), ago(seconds=1))
	found = gap(device)
	assert (found.since_utc, found.until_utc) == (naive(ago(minutes=15)), naive(ago(minutes=1)))
	look()
	assert complete_until(device) <= ago(minutes=15)


def test_an_outage_that_ended_as_the_device_came_to_be_read_is_not_the_next_one(listener: Listener) -> None:
	device = create_test_device("Gate").name
	listener.hears(device, ago(hours=1), ago(minutes=5))
	look()
	change(device, mode="History")
	look()
	first = gap(device)
	assert first.until_utc is not None
	change(device, mode="Stream")
	back = datetime.now(timezone.utc) + timedelta(minutes=1)
	listener.hears(device, back, back)
	_first, second = gaps(device)
	assert (second.since_utc, second.until_utc) == (first.until_utc, naive(back))


def naive(moment: datetime) -> datetime:
	return moment.astimezone(timezone.utc).replace(tzinfo=None)


def test_an_outage_ends_when_the_device_pushes_without_heartbeats_instead(listener: Listener) -> None:
	device = create_test_device("Gate", history=0).name
	deliver([make_event(device, 1, occurred_at=ago(minutes=30), received_at=ago(minutes=30), live=True)])
	listener.hears(device, ago(hours=1), ago(minutes=20))
	look()
	change(device, mode="Push")
	look()
	assert gap(device).until is None
	deliver(
		[make_event(device, 2, occurred_at=ago(minutes=3), received_at=ago(minutes=3), source=Source.PUSH)]
	)
	look()
	look()
	found = gap(device)
	assert naive(ago(minutes=4)) < found.until_utc < naive(ago(minutes=3))
	assert found.state == "Recovered"


def test_what_was_accepted_while_the_keeper_found_its_cause_stays() -> None:
	device = with_jump(history=0)
	name = gap(device).name
	ledger_gaps.accept(name, "The terminal was replaced")
	frappe.db.commit()
	ledger_gaps.delete([name])
	frappe.db.commit()
	assert gap(device).state == "Accepted"


def test_what_an_update_kept_from_being_heard_is_a_gap(site: str, listener: Listener) -> None:
	device, silent = create_test_device("Gate", history=0).name, create_test_device("Never heard").name
	before = now_datetime().replace(microsecond=0) - timedelta(minutes=20)
	frappe.db.set_value("Hikvision Device", device, "last_heartbeat", before)
	remember_when_devices_were_heard.execute()
	frappe.db.commit()
	listener.hears(device, ago(minutes=1), ago(seconds=1))
	assert gap(device).since == before
	listener.hears(silent, ago(minutes=1), ago(seconds=1))
	assert gaps(silent) == []
