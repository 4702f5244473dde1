"""How far the shifts are complete, for the Shift Type form and the workspace."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import frappe
from frappe.utils import getdate, now_datetime

from hikvision_frappe.attendance import shifts
from hikvision_frappe.core.shift_days import Verdict
from hikvision_frappe.core.watermark import shift_watermark

# The card on the workspace and the report begin with these days.
LOOK_BACK = timedelta(days=1)


@frappe.whitelist()
def of_shift(shift: str) -> dict[str, Any]:
	"""Which devices feed the shift and how far they are, for its form.

	Returns {"devices": [{"name", "title", "until", "held_by"}] with the least complete first, "until": naive site time
	or None, "follows_clock": whether HRMS moves it by the clock although devices feed it}.
	"""
	frappe.has_permission("Access Event Gap", "read", throw=True)
	frappe.has_permission("Shift Type", "read", doc=shift, throw=True)
	feeding = [each for each in shifts.feeding_devices() if each.feeds(shift)]
	feeding.sort(key=lambda each: (each.until is not None, each.until or 0))
	return {
		"devices": [
			{
				"name": each.name,
				"title": each.title,
				"until": each.until,
				"held_by": shifts.held_by_words(each),
			}
			for each in feeding
		],
		"until": shift_watermark(each.until for each in feeding),
		"follows_clock": shifts.follows_the_clock(shift),
	}


@frappe.whitelist(methods=["POST"])
def follow_devices(shift: str) -> None:
	"""Let the shift follow its devices, and no longer the clock; needs the right to write the Shift Type."""
	frappe.has_permission("Shift Type", "write", doc=shift, throw=True)
	shifts.follow_devices(shift)


@frappe.whitelist()
def incomplete_shifts() -> dict[str, Any]:
	"""The number card: how many days of shifts, yesterday's and today's, are over and wait, or were counted too early."""
	frappe.has_permission("Access Event Gap", "read", throw=True)
	today = getdate(now_datetime())
	found = shifts.explain([today - LOOK_BACK, today])
	waiting = [each for each in found if each.verdict in (Verdict.WAITING, Verdict.TOO_EARLY)]
	return {
		"value": len(waiting),
		"fieldtype": "Int",
		"route": ["query-report", "Shift Completeness"],
		"route_options": {"only_incomplete": 1},
	}
