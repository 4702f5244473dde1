"""What the Bulk Manual Punch form asks for: who may have passed, try refused rows again, what was told since."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import frappe
from frappe import _
from frappe.utils import cint, get_datetime

from hikvision_frappe.attendance import manual_punch
from hikvision_frappe.attendance.manual_punch import DOCTYPE, Search


@frappe.whitelist(methods=["POST"])
def propose(
	from_time: str = "",
	to_time: str = "",
	shift: str = "",
	department: str = "",
	branch: str = "",
	device: str = "",
	usual: int | str = 0,
	ways: list[str] | str = "IN",
	in_at: str = "",
	out_at: str = "",
) -> dict[str, Any]:
	"""Rows for the passes that are probably missing, and how many people were left out for which reason.

	Returns {"rows": [{"employee", "employee_name", "log_type", "time", "shift", "shift_time"}], "present", "on_leave",
	"without_time", "cut_off"}. Times are naive site times. in_at, out_at: instead of the shift's beginning and end.
	"""
	frappe.has_permission(DOCTYPE, "create", throw=True)
	frappe.has_permission("Employee", "read", throw=True)
	if not from_time or not to_time:
		frappe.throw(_("Say first from when until when."))
	since, until = get_datetime(from_time), get_datetime(to_time)
	if not since < until <= since + manual_punch.LONGEST_OUTAGE:
		frappe.throw(
			_("The time must have an end, at most {0} days later.").format(manual_punch.LONGEST_OUTAGE.days)
		)
	if cint(usual) and not device:
		frappe.throw(_("Choose the device first."))
	at = {way: get_datetime(time) for way, time in (("IN", in_at), ("OUT", out_at)) if time}
	search = Search(
		since,
		until,
		shift,
		department,
		branch,
		device,
		bool(cint(usual)),
		_ways(ways),
		_within(at, since, until),
	)
	return asdict(manual_punch.propose(search))


def _ways(ways: list[str] | str) -> tuple[str, ...]:
	chosen = frappe.parse_json(ways) if isinstance(ways, str) and ways.startswith("[") else ways
	chosen = [chosen] if isinstance(chosen, str) else chosen
	return tuple(way for way in ("IN", "OUT") if way in chosen)


def _within(at: dict[str, Any], since: Any, until: Any) -> dict[str, Any]:
	for time in at.values():
		if not since <= time <= until:
			frappe.throw(_("{0} is not within the time of this document.").format(time))
	return at


@frappe.whitelist(methods=["POST"])
def retry(name: str) -> None:
	"""Try the refused and the waiting rows of a submitted document again."""
	frappe.has_permission(DOCTYPE, "submit", throw=True)
	document = frappe.get_doc(DOCTYPE, name)
	document.check_permission("submit")
	frappe.has_permission("Employee Checkin", "create", throw=True)
	if document.docstatus != 1:
		frappe.throw(_("Only a submitted document has check-ins."))
	manual_punch.retry(name)


@frappe.whitelist()
def told_since(name: str) -> int:
	"""How many of its employees have passes by now that a terminal told, of the same time and way."""
	frappe.has_permission(DOCTYPE, "read", throw=True)
	frappe.has_permission(DOCTYPE, "read", doc=name, throw=True)
	return manual_punch.told_since(name)
