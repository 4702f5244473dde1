"""Devices whose streams were heard before contacts were kept."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import frappe

from hikvision_frappe.ledger.instants import naive, site_zone


def execute() -> None:
	"""Let their last heartbeat be the end of a contact, so that what the update kept from being heard is a gap.

	Without it the next contact would be the first one ever, which has nothing before it.
	"""
	zone = site_zone()
	devices = frappe.get_all(
		"Hikvision Device",
		filters={
			"mode": "Stream",
			"last_heartbeat": ["is", "set"],
			"heard_until_utc": ["is", "not set"],
		},
		fields=["name", "last_heartbeat"],
	)
	for device in devices:
		moment = naive(_earliest(device.last_heartbeat, zone))
		heard = {"heard_since_utc": moment, "heard_until_utc": moment}
		frappe.db.set_value("Hikvision Device", device.name, heard, update_modified=False)


def _earliest(time: datetime, zone: ZoneInfo) -> datetime:
	"""The instant of a naive site time, the first one in the repeated hour."""
	return time.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
