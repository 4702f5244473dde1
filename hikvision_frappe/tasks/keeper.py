"""Scheduler entry: the fallback for rounds of the keeper, and for readings, where no listener lives."""

from __future__ import annotations

import frappe

from hikvision_frappe.attendance.keeper import keep
from hikvision_frappe.ledger import history
from hikvision_frappe.ledger.listeners import live_listeners
from hikvision_frappe.ledger.signal import drain_lives


def keep_and_read() -> None:
	"""Make a round unless a drain lives, which makes them all the time; have readings done that no listener does."""
	if not frappe.get_all("Hikvision Device", filters={"enabled": 1}, limit=1):
		return
	if not drain_lives():
		keep()
	if not live_listeners() and history.due_devices():
		history.enqueue_reader()
