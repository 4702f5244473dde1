"""One run of a device's serial numbers; row 1 of a device is also what intake locks."""

from __future__ import annotations

import frappe
from frappe.model.document import Document

from hikvision_frappe.ledger.epochs import epoch_name


class HikvisionSerialEpoch(Document):
	pass


def create_first_epoch(device: str) -> None:
	"""Row 1 of a new device, so that its first events have a row to lock."""
	frappe.get_doc(
		{"doctype": "Hikvision Serial Epoch", "name": epoch_name(device, 1), "device": device, "number": 1}
	).insert(ignore_permissions=True)
