"""The ledger: every record that a device told us, once. Rows are written by intake and the drain alone."""

from __future__ import annotations

import frappe
from frappe.model.document import Document

from hikvision_frappe.isapi.codes import meaning_of
from hikvision_frappe.ledger.retention import clear_events

INDEXES = (
	("device", "serial_no"),
	("device", "occurred_at_utc"),
	("state", "occurred_at_utc"),
	("person_code", "device"),
	("employee", "occurred_at"),
)


class AccessEvent(Document):
	@property
	def meaning(self) -> str:
		"""The vendor codes in words."""
		return meaning_of(self.major, self.minor)

	@staticmethod
	def clear_old_logs(days: int = 400) -> None:
		"""What Log Settings calls every night: forget events older than so many days."""
		clear_events(days)


def on_doctype_update() -> None:
	for fields in INDEXES:
		frappe.db.add_index("Access Event", list(fields))
