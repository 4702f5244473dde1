"""Which listeners live: a note in Redis per listener; losing it harms nothing but the desk's answer."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import frappe
from frappe.utils import get_datetime, now_datetime

from hikvision_frappe.ledger.signal import REDIS_TROUBLE
from hikvision_frappe.listener.site import ListenerReport

KEY = "hikvision_listeners"
FRESH = timedelta(seconds=60)
FORGET = timedelta(days=1)


def remember_listener(report: ListenerReport) -> None:
	"""Note that the listener lives, where devices can post to it and how much waits in its spool."""
	note = {
		"listener": report.listener,
		"seen_at": str(now_datetime()),
		"push_address": report.push_address,
		"spool_depth": report.spool_depth,
	}
	with suppress(*REDIS_TROUBLE):
		frappe.cache.hset(KEY, report.listener, note)


def forget_listener(name: str) -> None:
	"""A listener that stopped cleanly is gone at once."""
	with suppress(*REDIS_TROUBLE):
		frappe.cache.hdel(KEY, name)


def live_listeners() -> list[dict[str, Any]]:
	"""What each listener seen within the last minute said of itself; times are naive site time."""
	notes = frappe.cache.hgetall(KEY) or {}
	now = now_datetime()
	for name, note in list(notes.items()):
		if now - get_datetime(note["seen_at"]) > FORGET:
			frappe.cache.hdel(KEY, name)
	return [note for note in notes.values() if now - get_datetime(note["seen_at"]) <= FRESH]
