"""What the ledger forgets, and what it keeps until somebody has counted it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import frappe

from hikvision_frappe.core.states import EventState
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.ledger.retention import clear_events
from tests.bench.factories import create_test_device, create_test_employee, make_event

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def aged(device: str, serial_no: int, days: int, state: EventState) -> str:
	deliver(
		[make_event(device, serial_no, occurred_at=NOW - timedelta(days=days) + timedelta(seconds=serial_no))]
	)
	name = f"{device}-01-{serial_no:010d}"
	frappe.db.set_value("Access Event", name, "state", state.value)
	frappe.db.commit()
	return name


def test_old_events_go_in_batches_and_waiting_ones_stay() -> None:
	device = create_test_device().name
	for serial_no in range(1, 8):
		aged(device, serial_no, 500, EventState.CHECKED_IN)
	waiting = aged(device, 8, 500, EventState.NEW)
	young = aged(device, 9, 399, EventState.DENIED)
	assert clear_events(400, batch=3) == 7
	assert set(frappe.get_all("Access Event", pluck="name")) == {waiting, young}


def test_a_failed_event_stays_only_while_it_will_be_tried_again() -> None:
	device = create_test_device().name
	retried = aged(device, 1, 500, EventState.FAILED)
	frappe.db.set_value("Access Event", retried, "next_attempt_at", NOW.replace(tzinfo=None))
	frappe.db.commit()
	aged(device, 2, 500, EventState.FAILED)
	aged(device, 3, 500, EventState.UNMATCHED)
	assert clear_events(400) == 2
	assert frappe.get_all("Access Event", pluck="name") == [retried]


def test_a_check_in_outlives_its_event_and_can_still_be_saved() -> None:
	device = create_test_device().name
	event = aged(device, 1, 500, EventState.CHECKED_IN)
	checkin = frappe.get_doc(
		{
			"doctype": "Employee Checkin",
			"employee": create_test_employee(),
			"time": "2026-03-02 08:00:00",
			"access_event": event,
		}
	).insert()
	frappe.db.commit()
	clear_events(400)
	checkin.reload()
	assert checkin.access_event is None
	checkin.device_id = "Corrected"
	checkin.save()


def test_log_settings_does_the_clearing() -> None:
	device = create_test_device().name
	aged(device, 1, 500, EventState.CHECKED_IN)
	settings = frappe.get_doc("Log Settings")
	settings.add_default_logtypes()
	assert {row.ref_doctype: row.days for row in settings.logs_to_clear}["Access Event"] == 400
	settings.logs_to_clear = [row for row in settings.logs_to_clear if row.ref_doctype == "Access Event"]
	settings.clear_logs()
	assert not frappe.get_all("Access Event")


def test_gaps_that_are_over_are_forgotten_and_others_wait_for_somebody() -> None:
	device = create_test_device().name
	deliver([make_event(device, number) for number in (1, 3, 5, 7, 9)])
	gaps = frappe.get_all("Access Event Gap", order_by="first_serial", pluck="name")
	for name, state in zip(gaps, ("Recovered", "Accepted", "Unrecoverable", "Open"), strict=True):
		old = {"state": state, "until_utc": (NOW - timedelta(days=500)).replace(tzinfo=None)}
		frappe.db.set_value("Access Event Gap", name, old)
	frappe.db.commit()
	frappe.get_doc("Access Event Gap", gaps[0]).clear_old_logs(400)
	assert set(frappe.get_all("Access Event Gap", pluck="name")) == set(gaps[2:])
