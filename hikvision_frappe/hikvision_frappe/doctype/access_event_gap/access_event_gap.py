"""A stretch of time, or of serial numbers, of which nobody can say that every record arrived."""

from __future__ import annotations

import frappe
from frappe.model.document import Document

from hikvision_frappe.ledger.retention import clear_gaps

INDEXES = (("device", "state"), ("state", "since"))


class AccessEventGap(Document):
	@property
	def device_title(self) -> str:
		"""For the words of Notifications, whose subjects have 140 characters."""
		return frappe.db.get_value("Hikvision Device", self.device, "title") or self.device

	@staticmethod
	def clear_old_logs(days: int = 400) -> None:
		"""What Log Settings calls every night: forget gaps that were over so many days ago."""
		clear_gaps(days)


def on_doctype_update() -> None:
	for fields in INDEXES:
		frappe.db.add_index("Access Event Gap", list(fields))
