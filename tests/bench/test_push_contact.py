"""Heartbeats of pushing devices at the site's own door: until when a device was heard, and when it was not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import frappe
import pytest

from hikvision_frappe.ledger import beats
from hikvision_frappe.ledger.completeness import tend
from hikvision_frappe.ledger.push import Notification, forget_device, receive
from tests.bench.completeness import AT_ONCE, gap, gaps, of_device
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device

HEARTBEAT = b'{"dateTime": "2026-03-02T08:00:00+01:00", "eventType": "heartBeat", "eventState": "active"}'


@pytest.fixture
def device() -> Any:
	frappe.cache.delete_value(beats.KEY)
	return create_test_device(mode="Push", host="", user="", password="")


def beat(device: Any, *, noted: bool = True) -> None:
	"""A heartbeat; noted: so long after the last one that it is written down."""
	if noted:
		frappe.cache.delete_keys("hikvision_push_noted")
	token = f"{device.push_key}.{device.get_password('push_secret')}"
	frappe.db.rollback()
	assert receive(Notification(token, "POST", "127.0.0.1", HEARTBEAT, "application/json")).status == 200


def was_heard(device: Any, **span: float) -> datetime:
	"""Let the last heartbeat have been so long ago."""
	moment = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None) - timedelta(**span)
	since = {"heard_since_utc": moment - timedelta(hours=1)}
	frappe.db.set_value("Hikvision Device", device.name, {"heard_until_utc": moment, **since})
	frappe.db.commit()
	return moment


def test_heartbeats_that_follow_each_other_are_one_contact(device: Any) -> None:
	beat(device)
	before = was_heard(device, seconds=40)
	beat(device)
	assert of_device(device.name, "heard_since_utc") == before - timedelta(hours=1)
	age = datetime.now(timezone.utc).replace(tzinfo=None) - of_device(device.name, "heard_until_utc")
	assert age < timedelta(seconds=20)
	assert gaps(device.name) == []


def test_a_heartbeat_that_comes_too_late_opens_a_gap(device: Any) -> None:
	beat(device)
	before = was_heard(device, minutes=6)
	beat(device)
	found = gap(device.name)
	assert (found.cause, found.since_utc, found.state) == ("Silence", before, "Open")


def test_a_device_with_long_pauses_is_not_missed_within_them(device: Any) -> None:
	beat(device)
	for _ in range(3):
		was_heard(device, minutes=10)
		beat(device)
	assert len(gaps(device.name)) == 1  # before its interval was known
	was_heard(device, minutes=25)
	beat(device)
	assert len(gaps(device.name)) == 1


def test_a_device_that_stops_beating_has_an_outage_after_three_intervals(device: Any) -> None:
	beat(device)
	for _ in range(2):
		was_heard(device, minutes=2)
		beat(device)
	was_heard(device, minutes=5, seconds=30)
	tend(AT_ONCE)
	was_heard(device, minutes=7)
	tend(AT_ONCE)
	assert gap(device.name).until is None


def test_heartbeats_between_two_notes_cost_no_statement(device: Any) -> None:
	beat(device)
	heard = of_device(device.name, "heard_until_utc")
	with counted_statements() as statements:
		beat(device, noted=False)
	assert not [each for each in statements if "heard" in each.lower()]
	assert of_device(device.name, "heard_until_utc") == heard


def push(device: Any, body: bytes) -> int:
	token = f"{device.push_key}.{device.get_password('push_secret')}"
	frappe.db.rollback()
	return receive(Notification(token, "POST", "127.0.0.1", body, "application/json")).status


def a_pass(number: int) -> bytes:
	content = {"serialNo": number, "majorEventType": 5, "subEventType": 75, "employeeNoString": "1001"}
	event = {"dateTime": "2026-03-02T08:00:00+01:00", "eventType": "AccessControllerEvent"}
	return json.dumps({**event, "eventState": "active", "AccessControllerEvent": content}).encode()


def test_a_heartbeat_proves_nothing_while_a_refused_pass_waits_for_its_repetition(device: Any) -> None:
	beat(device)
	before = was_heard(device, seconds=40)
	frappe.db.set_single_value("Hikvision Settings", "push_rate_limit", 1)
	frappe.db.commit()
	forget_device(device.push_key)
	statuses = {push(device, a_pass(number)) for number in range(1, 9)}
	assert 429 in statuses
	frappe.db.set_single_value("Hikvision Settings", "push_rate_limit", 0)
	frappe.db.commit()
	forget_device(device.push_key)
	beat(device)
	assert of_device(device.name, "heard_until_utc") == before

	assert push(device, a_pass(8)) == 200
	beat(device)
	assert of_device(device.name, "heard_until_utc") > before
	assert all(each.cause == "Serial Jump" for each in gaps(device.name))


def test_a_refused_pass_that_is_never_repeated_ends_the_contact(device: Any) -> None:
	beat(device)
	before = was_heard(device, seconds=40)
	assert push(device, b"{") == 400
	key = frappe.cache.make_key(f"hikvision_push_refused:{device.name}")
	frappe.cache.set(key, str(float(frappe.cache.get(key)) - 601))
	beat(device)
	assert gap(device.name).since_utc == before
	beat(device)
	assert len(gaps(device.name)) == 1
