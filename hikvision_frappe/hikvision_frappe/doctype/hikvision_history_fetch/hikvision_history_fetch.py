"""One reading of a device's own records: to fill a gap, by the clock, or because somebody asked."""

from __future__ import annotations

import frappe
from frappe.model.document import Document
from frappe.utils import add_days, now_datetime

from hikvision_frappe.listener.site import HistoryState

INDEXES = (("state", "device"), ("device", "creation"))


UNDER_WAY = (HistoryState.QUEUED.value, HistoryState.RUNNING.value)


class HikvisionHistoryFetch(Document):
	@staticmethod
	def clear_old_logs(days: int = 90) -> None:
		"""What Log Settings calls every night: forget readings that ended so many days ago."""
		fetch = frappe.qb.DocType("Hikvision History Fetch")
		before = add_days(now_datetime(), -days)
		frappe.qb.from_(fetch).delete().where((fetch.creation < before) & fetch.state.notin(UNDER_WAY)).run()


def on_doctype_update() -> None:
	for fields in INDEXES:
		frappe.db.add_index("Hikvision History Fetch", list(fields))
