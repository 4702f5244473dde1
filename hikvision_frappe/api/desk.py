"""What the desk asks of the app as a whole."""

from __future__ import annotations

import frappe


def may_open() -> bool:
	"""Whether the app's tile is shown to the user on the apps screen."""
	return bool(frappe.has_permission("Hikvision Device", "read"))
