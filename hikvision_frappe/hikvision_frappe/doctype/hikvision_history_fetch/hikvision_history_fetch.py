"""One reading of a device's own records: to fill a gap, by the clock, or because somebody asked."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import add_days, now_datetime

from hikvision_frappe.listener.site import HistoryState

INDEXES = (
	("state", "device"),
	("device", "creation"),
	("device", "purpose", "until_utc", "since_utc"),
)


UNDER_WAY = (HistoryState.QUEUED.value, HistoryState.RUNNING.value)


class HikvisionHistoryFetch(Document):
	def cancel_reading(self) -> bool:
		"""Not wanted any more: its reader stops with its next report. False when it had ended already."""
		waits = self.state == HistoryState.FAILED.value and self.next_attempt_at_utc
		if self.state not in UNDER_WAY and not waits:
			return False
		self.update(
			{
				"state": HistoryState.CANCELLED.value,
				"reason": _("Stopped by {0}.").format(frappe.utils.get_fullname()),
				"ended_at": now_datetime(),
				"next_attempt_at_utc": None,
				"leased_by": None,
				"leased_until": None,
			}
		)
		self.save(ignore_permissions=True)  # nobody has the right to write one by hand
		return True

	@staticmethod
	def clear_old_logs(days: int = 90) -> None:
		"""What Log Settings calls every night: forget readings that ended so many days ago."""
		fetch = frappe.qb.DocType("Hikvision History Fetch")
		before = add_days(now_datetime(), -days)
		frappe.qb.from_(fetch).delete().where((fetch.creation < before) & fetch.state.notin(UNDER_WAY)).run()


def on_doctype_update() -> None:
	for fields in INDEXES:
		frappe.db.add_index("Hikvision History Fetch", list(fields))
