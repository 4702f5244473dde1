"""How the ledger forgets: old events go in small commits, except those that the drain will still take.

Gaps go when they are over, and the readings of history that nobody is at; both are few.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import frappe
from pypika.terms import NullValue

from hikvision_frappe.core.gaps import GapState
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


def clear_gaps(days: int) -> None:
	"""Delete gaps that ended so many days ago and are recovered or accepted; what somebody must look at stays."""
	before = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=days)
	gap, fetch = frappe.qb.DocType("Access Event Gap"), frappe.qb.DocType("Hikvision History Fetch")
	over = gap.state.isin([GapState.RECOVERED.value, GapState.ACCEPTED.value])
	while names := (
		frappe.qb.from_(gap)
		.select(gap.name)
		.where(over & (gap.until_utc < before))
		.limit(BATCH)
		.run(pluck=True)
	):
		frappe.qb.update(fetch).set(fetch.gap, NullValue()).where(fetch.gap.isin(names)).run()
		frappe.db.delete("Access Event Gap", {"name": ["in", names]})
		frappe.db.commit()  # nosemgrep: one small transaction per batch is the point


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
