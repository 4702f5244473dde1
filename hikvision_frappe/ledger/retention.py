"""How the ledger forgets: old events go in small commits, except those that still wait for the drain."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import frappe
from pypika.terms import NullValue

from hikvision_frappe.core.states import EventState

BATCH = 2_000


def clear_events(days: int, batch: int = BATCH) -> int:
	"""Delete events older than so many days and return how many; check-ins keep all but their link.

	Events in state New are kept whatever their age: nobody has counted them yet. Commits after every batch, so
	that a long clearing never keeps intake waiting.
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
	return frappe.get_all(
		"Access Event",
		filters={"occurred_at_utc": ["<", before], "state": ["!=", EventState.NEW.value]},
		pluck="name",
		limit=batch,
		order_by=None,
	)


def _unlink_checkins(names: list[str]) -> None:
	checkin = frappe.qb.DocType("Employee Checkin")
	(
		frappe.qb.update(checkin)
		.set(checkin.access_event, NullValue())
		.where(checkin.access_event.isin(names))
		.run()
	)
