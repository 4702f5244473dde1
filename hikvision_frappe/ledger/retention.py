"""How the ledger forgets: old events go in small commits, except those that the drain will still take."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import frappe
from pypika.terms import NullValue

from hikvision_frappe.core.states import EventState

BATCH = 2_000


def clear_events(days: int, batch: int = BATCH) -> int:
	"""Delete events older than so many days and return how many; check-ins keep all but their link.

	Kept whatever their age: New ones, and Failed ones that will be tried again. Failed ones that were given up and
	those that wait for a person go with the rest. Commits after every batch, so that a long clearing never keeps
	intake waiting.
	"""
	before = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=days)
	cleared = 0
	while names := _oldest(before, batch):
		_unlink_checkins(names)
		frappe.db.delete("Access Event", {"name": ["in", names]})
		frappe.db.commit()  # nosemgrep: one small transaction per batch is the point
		cleared += len(names)
	return cleared


def _oldest(before: datetime, batch: int) -> list[str]:
	event = frappe.qb.DocType("Access Event")
	to_be_retried = (event.state == EventState.FAILED.value) & event.next_attempt_at.isnotnull()
	waits = (event.state == EventState.NEW.value) | to_be_retried
	found = (
		frappe.qb.from_(event)
		.select(event.name)
		.where(event.occurred_at_utc < before)
		.where(waits.negate())
		.limit(batch)
		.run()
	)
	return [name for (name,) in found]


def _unlink_checkins(names: list[str]) -> None:
	checkin = frappe.qb.DocType("Employee Checkin")
	(
		frappe.qb.update(checkin)
		.set(checkin.access_event, NullValue())
		.where(checkin.access_event.isin(names))
		.run()
	)
