"""The number by which one device knows a person."""

import frappe
from frappe.model.document import Document


class AccessPersonNumber(Document):
	pass


def on_doctype_update() -> None:
	"""A number on a device is one person's; the database says so also to two writers at once."""
	frappe.db.add_unique(
		"Access Person Number", ["device", "person_code"], constraint_name="device_person_code"
	)
