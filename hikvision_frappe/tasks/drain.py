"""Scheduler entry: the fallback for what a crash, a missing listener or a lost signal left waiting."""

from __future__ import annotations

import frappe

from hikvision_frappe.core.states import EventState


def enqueue_if_waiting() -> None:
	"""Queue one drain job for this site when a row waits; a job already queued is not doubled."""
	if not frappe.db.exists(
		"Access Event", {"state": ["in", [EventState.NEW.value, EventState.FAILED.value]]}
	):
		return
	from hikvision_frappe.ledger.signal import enqueue_drain

	enqueue_drain()
