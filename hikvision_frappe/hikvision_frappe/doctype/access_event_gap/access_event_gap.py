"""A stretch of time, or of serial numbers, of which nobody can say that every record arrived."""

from __future__ import annotations

import frappe
from frappe.model.document import Document

INDEXES = (("device", "state"), ("state", "since"))


class AccessEventGap(Document):
	pass


def on_doctype_update() -> None:
	for fields in INDEXES:
		frappe.db.add_index("Access Event Gap", list(fields))
