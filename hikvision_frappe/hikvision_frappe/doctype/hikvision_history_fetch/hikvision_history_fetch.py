"""One reading of a device's own records: to fill a gap, by the clock, or because somebody asked."""

from __future__ import annotations

import frappe
from frappe.model.document import Document

INDEXES = (("state", "device"), ("device", "creation"))


class HikvisionHistoryFetch(Document):
	pass


def on_doctype_update() -> None:
	for fields in INDEXES:
		frappe.db.add_index("Hikvision History Fetch", list(fields))
