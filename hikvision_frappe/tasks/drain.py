"""Scheduler entry: the fallback for what a crash, a missing listener or a lost signal left waiting."""

from __future__ import annotations

import frappe

from hikvision_frappe.attendance.drain import something_waits
from hikvision_frappe.attendance.people import replay_known
from hikvision_frappe.ledger.signal import enqueue_drain


def enqueue_if_waiting() -> None:
	"""Queue one drain job for this site when a pass is new or due again; a job already queued is not doubled."""
	if replay_known():
		frappe.db.commit()  # nosemgrep: the drain in another process must see them
	if something_waits():
		enqueue_drain()
