"""Short words for tests about passes: let people pass, look what became of it."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import frappe

from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import make_event

ENTRY = [{"direction": "In"}]
_serials = itertools.count(1)


def passes(device: str, person: str, *times: str, **values: Any) -> list[str]:
	"""Deliver passes at UTC times like ``2026-03-02 07:00:00``; the names of their ledger rows in that order."""
	events = [
		make_event(device, next(_serials), person=person, occurred_at=utc(time), **values) for time in times
	]
	assert not deliver(events).refused
	frappe.db.rollback()
	serials = [event.serial_no for event in events]
	rows = frappe.get_all(
		"Access Event", {"device": device, "serial_no": ["in", serials]}, ["name", "serial_no"]
	)
	by_serial = {row.serial_no: row.name for row in rows}
	return [by_serial[serial] for serial in serials]


def utc(time: str) -> datetime:
	return datetime.fromisoformat(time).replace(tzinfo=timezone.utc)


def row(name: str) -> Any:
	"""The ledger row as committed now."""
	frappe.db.rollback()
	return frappe.db.get_value("Access Event", name, "*", as_dict=True)


def states(device: str) -> Counter[str]:
	frappe.db.rollback()
	return Counter(frappe.get_all("Access Event", {"device": device}, pluck="state"))


def checkins(**filters: Any) -> list[Any]:
	"""Check-ins as committed now, in order of time."""
	frappe.db.rollback()
	return frappe.get_all("Employee Checkin", filters=filters, fields=["*"], order_by="time, name")


def make_due() -> None:
	"""Let the next attempt of every failed pass be due."""
	frappe.db.set_value(
		"Access Event", {"state": "Failed"}, "next_attempt_at", "2000-01-01", update_modified=False
	)
	frappe.db.commit()


def set_site_zone(zone: str) -> str:
	"""Change the site's time zone and return the one it had. Committed."""
	before = frappe.db.get_single_value("System Settings", "time_zone")
	frappe.db.set_single_value("System Settings", "time_zone", zone)
	frappe.db.commit()
	frappe.clear_cache()
	return before


def set_setting(doctype: str, **values: Any) -> None:
	"""Change a Single and let every cache know. Committed."""
	for field, value in values.items():
		frappe.db.set_single_value(doctype, field, value)
	frappe.db.commit()
	frappe.clear_document_cache(doctype, doctype)
	frappe.local.cache.clear()
