"""A device's notification, from the token to the ledger."""

from __future__ import annotations

import frappe

DEVICE_CACHE = "hikvision_push_device"


def forget_device(push_key: str) -> None:
	"""Drop what is remembered of a device, when its document changes; readers see the change at once."""
	if push_key:
		frappe.cache.hdel(DEVICE_CACHE, push_key)
