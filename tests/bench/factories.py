"""Documents for tests, made without the seconds that some of them take in the desk."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta, timezone
from typing import Any

import frappe
from frappe.utils import now

from hikvision_frappe.core.event import AccessEvent, EventKind, Source

COMPANY = "_Test Company"
EMPLOYEE_PREFIX = "HIK-TEST-"
# Written by the app; every row on a test site is a test's.
OWN_TABLES = (
	"Access Event",
	"Access Event Gap",
	"Access Person",
	"Access Person Number",
	"Bulk Manual Punch",
	"Bulk Manual Punch Employee",
	"Hikvision Device",
	"Hikvision Device Door",
	"Hikvision Device Shift",
	"Hikvision History Fetch",
	"Hikvision Serial Epoch",
	"Employee Checkin",
	"Attendance",
)
_numbers = itertools.count(1)


def create_test_device(title: str = "", doors: list[dict[str, Any]] | None = None, **values: Any) -> Any:
	"""A saved Hikvision Device; the password is ``Secret123`` unless given. Committed."""
	number = next(_numbers)
	device = frappe.get_doc(
		{
			"doctype": "Hikvision Device",
			"title": title or f"Door {number}",
			"mode": "Stream",
			"host": "127.0.0.1",
			"port": 8000,
			"user": "admin",
			"password": "Secret123",
			"time_zone": "Europe/Stockholm",
			"doors": doors or [],
			**values,
		}
	).insert()
	frappe.db.commit()
	return device


def create_test_employee(attendance_device_id: str | None = None, **values: Any) -> str:
	"""The name of an active employee, written to the database directly (the document takes 0.4 s). Committed."""
	number = next(_numbers)
	name = f"{EMPLOYEE_PREFIX}{number:05d}"
	row = {
		"name": name,
		"employee": name,
		"employee_name": f"Test Person {number}",
		"first_name": "Test",
		"last_name": f"Person {number}",
		"status": "Active",
		"company": COMPANY,
		"gender": "Other",
		"date_of_birth": date(1990, 1, 1),
		"date_of_joining": date(2020, 1, 1),
		"attendance_device_id": attendance_device_id,
		"creation": now(),
		"modified": now(),
		"owner": "Administrator",
		"modified_by": "Administrator",
		"naming_series": "HR-EMP-",
		"lft": 0,
		"rgt": 0,
		**values,
	}
	frappe.db.bulk_insert("Employee", list(row), [tuple(row.values())])
	frappe.db.commit()
	return name


def create_test_shift(name: str = "", **values: Any) -> Any:
	"""A Shift Type from 08:00 to 17:00 with auto attendance. Committed."""
	shift = frappe.get_doc(
		{
			"doctype": "Shift Type",
			"__newname": name or f"HIK-TEST-Shift {next(_numbers)}",
			"start_time": "08:00:00",
			"end_time": "17:00:00",
			"enable_auto_attendance": 1,
			**values,
		}
	).insert()
	frappe.db.commit()
	return shift


def create_test_gap(device: str, minutes: int | None = 30, **values: Any) -> Any:
	"""An open gap from 2026-03-02 08:00 site time (07:00 UTC), through its document; None: it goes on. Committed."""
	since = values.pop("since", datetime(2026, 3, 2, 8))
	until = None if minutes is None else since + timedelta(minutes=minutes)
	hour = timedelta(hours=1)
	gap = frappe.get_doc(
		{
			"doctype": "Access Event Gap",
			"device": device,
			"cause": "Silence" if until is None else "Reconnect",
			"state": "Open",
			"reason": "the device is not heard"
			if until is None
			else "the next record of the device will tell",
			"since": since,
			"since_utc": since - hour,
			"until": until,
			"until_utc": until - hour if until else None,
			"noticed_at": since,
			"noticed_at_utc": since - hour,
			**values,
		}
	).insert()
	frappe.db.commit()
	return gap


def create_test_fetch(device: str, **values: Any) -> Any:
	"""A reading of 2026-03-02 08:00 to 09:00 site time that is queued, through its document. Committed."""
	fetch = frappe.get_doc(
		{
			"doctype": "Hikvision History Fetch",
			"device": device,
			"purpose": "Asked",
			"state": "Queued",
			"since": datetime(2026, 3, 2, 8),
			"since_utc": datetime(2026, 3, 2, 7),
			"until": datetime(2026, 3, 2, 9),
			"until_utc": datetime(2026, 3, 2, 8),
			**values,
		}
	).insert()
	frappe.db.commit()
	return fetch


def make_event(device: str, serial_no: int | None, **values: Any) -> AccessEvent:
	"""A pass (5/75, face) as the parser would give it; ``second`` moves it from 2026-03-02 07:00 UTC."""
	seconds = values.pop("second", serial_no or 0)
	occurred_at = values.pop(
		"occurred_at", datetime(2026, 3, 2, 7, tzinfo=timezone.utc) + timedelta(seconds=seconds)
	)
	defaults: dict[str, Any] = {
		"major": 5,
		"minor": 75,
		"kind": EventKind.PASS,
		"occurred_at": occurred_at,
		"occurred_text": occurred_at.isoformat(),
		"received_at": occurred_at + timedelta(seconds=1),
		"source": Source.STREAM,
		"person": "1001",
		"person_name": "Test Person",
		"door_no": 1,
		"reader_no": 1,
	}
	return AccessEvent(device=device, serial_no=serial_no, **{**defaults, **values})


def make_events(device: str, count: int, first: int = 1, **values: Any) -> list[AccessEvent]:
	"""Consecutive passes, one a second."""
	return [make_event(device, number, **values) for number in range(first, first + count)]


def clear_test_data() -> None:
	"""Remove what factories and the app made, and put the settings back. Commits."""
	for doctype in OWN_TABLES:
		frappe.db.delete(doctype)
	frappe.db.delete("Employee", {"name": ["like", f"{EMPLOYEE_PREFIX}%"]})
	frappe.db.delete("Shift Type", {"name": ["like", "HIK-TEST-%"]})
	frappe.db.delete("Shift Assignment", {"employee": ["like", f"{EMPLOYEE_PREFIX}%"]})
	frappe.db.delete("Location", {"name": ["like", "HIK-TEST-%"]})
	frappe.db.delete("Comment", {"reference_doctype": ["in", OWN_TABLES]})
	frappe.db.delete("__Auth", {"doctype": "Hikvision Device"})
	frappe.db.delete("Error Log")
	frappe.db.delete("Notification Log", {"document_type": "Access Event Gap"})
	_reset_settings()
	frappe.db.commit()
	frappe.clear_cache(doctype="Hikvision Settings")
	frappe.cache.delete_keys("hikvision_push")


def _reset_settings() -> None:
	frappe.db.delete("Singles", {"doctype": "Hikvision Settings"})
	frappe.new_doc("Hikvision Settings").save()
