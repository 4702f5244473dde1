"""Shift Completeness: for any shift and day, whether all passes are in, and what it waits for if not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import frappe
from frappe import _
from frappe.utils import getdate

from hikvision_frappe.attendance.shifts import DeviceOnDay, ShiftDay, explain, held_by_words
from hikvision_frappe.core.shift_days import Verdict
from hikvision_frappe.hikvision_frappe.report.columns import column

MOST_DAYS = 31


def execute(filters: dict[str, Any] | None = None) -> tuple[Any, ...]:
	filters = frappe._dict(filters or {})
	found = explain(_days(filters), [filters.shift] if filters.shift else ())
	if filters.only_incomplete:
		found = [each for each in found if each.verdict not in (Verdict.COMPLETE, Verdict.NOT_OVER)]
	rows = [row for each in found for row in _rows(each)]
	return _columns(), rows, None, None, _summary(found)


def _days(filters: Any) -> list[date]:
	first, last = getdate(filters.from_date), getdate(filters.to_date)
	if not filters.from_date or not filters.to_date or last < first:
		frappe.throw(_("Choose a first and a last day."))
	if (last - first).days >= MOST_DAYS:
		frappe.throw(_("Choose at most {0} days.").format(MOST_DAYS))
	return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _rows(each: ShiftDay) -> list[dict[str, Any]]:
	"""The shift's day itself, and its devices below."""
	parent = f"{each.day}/{each.shift}"
	head = {
		"id": parent,
		"indent": 0,
		"label": each.shift,
		"shift": each.shift,
		"day": each.day,
		"verdict": each.verdict.value,
		"verdict_label": _(each.verdict.value),
		"complete_until": each.until,
		"ends": each.ends,
		"last_sync": each.last_sync,
		"by_clock": each.by_clock,
		"held_by": _in_short(each),
		"advice": each.advice,
	}
	return [head, *(_device_row(device, parent, each.verdict) for device in each.devices)]


def _in_short(each: ShiftDay) -> str:
	if each.verdict not in (Verdict.WAITING, Verdict.TOO_EARLY):
		return ""
	waiting = [device for device in each.devices if not device.complete]
	return _("{0} of {1} devices").format(len(waiting), len(each.devices))


def _device_row(each: DeviceOnDay, parent: str, verdict: Verdict) -> dict[str, Any]:
	state = (
		_("Complete") if each.complete else _("Never Heard") if each.device.until is None else _("Not Yet")
	)
	return {
		"id": f"{parent}/{each.device.name}",
		"parent_id": parent,
		"indent": 1,
		"label": each.device.title,
		"device": each.device.name,
		"complete": each.complete,
		"holds": not each.complete and verdict is not Verdict.NOT_OVER,
		"verdict_label": state,
		"complete_until": each.device.until,
		"held_by": "" if each.complete else held_by_words(each.device),
		"gap": "" if each.complete else each.device.gap,
		"waiting": each.waiting,
		"advice": each.advice,
	}


def _summary(found: list[ShiftDay]) -> list[dict[str, Any]]:
	if not found:
		return []

	def number(which: Verdict) -> int:
		return sum(each.verdict is which for each in found)

	too_early = number(Verdict.TOO_EARLY)
	return [
		{
			"value": number(Verdict.COMPLETE),
			"label": _("Complete"),
			"datatype": "Int",
			"indicator": "Green",
		},
		{
			"value": number(Verdict.WAITING),
			"label": _("Waiting"),
			"datatype": "Int",
			"indicator": "Orange" if number(Verdict.WAITING) else "Green",
		},
		{
			"value": too_early,
			"label": _("Counted Too Early"),
			"datatype": "Int",
			"indicator": "Red" if too_early else "Green",
		},
		{"value": number(Verdict.NOT_OVER), "label": _("Not Over"), "datatype": "Int"},
	]


def _columns() -> list[dict[str, Any]]:
	return [
		column("label", _("Shift and Its Devices"), "Data", 200),
		column("day", _("Day"), "Date", 120),
		column("verdict_label", _("Verdict"), "Data", 160),
		column("held_by", _("Held By"), "Data", 240),
		column("advice", _("What to Do"), "Data", 480),
		column("complete_until", _("Complete Until"), "Datetime", 150),
		column("ends", _("Last Check-out"), "Datetime", 150),
		column("gap", _("Gap"), "Link", 110, options="Access Event Gap"),
		column("waiting", _("Passes Waiting"), "Int", 120),
		column("last_sync", _("Last Sync of Checkin"), "Datetime", 170),
	]
