"""Read a device's history because somebody asks: begin, watch, stop."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.utils import get_datetime, get_system_timezone, now_datetime

from hikvision_frappe.api.events import ROLES
from hikvision_frappe.listener.site import HistoryState

UNDER_WAY = (HistoryState.QUEUED.value, HistoryState.RUNNING.value)
SHOWN_FIELDS = (
	"name",
	"device",
	"purpose",
	"gap",
	"state",
	"reason",
	"since",
	"until",
	"rows",
	"new_rows",
	"total",
	"read_until",
	"started_at",
	"ended_at",
	"attempts",
)


def must_decide() -> None:
	"""Raise PermissionError for whoever does not answer for attendance or for devices."""
	if not ROLES & set(frappe.get_roles()):
		frappe.throw(_("Only {0} may do this.").format(", ".join(sorted(ROLES))), frappe.PermissionError)


@frappe.whitelist(methods=["POST"])
def ask(device: str, since: str, until: str) -> str:
	"""Have the device's own records of a stretch of time read, and whatever is new stored; returns the reading's name.

	since, until: naive site time; an end that is still to come means now. In the repeated hour both readings of a time
	are covered. One that is under way for the same stretch is not begun twice.
	"""
	must_decide()
	frappe.get_doc("Hikvision Device", device).check_permission("read")
	begin, end = _time(since), min(_time(until), now_datetime().replace(microsecond=0))
	if begin >= end:
		frappe.throw(_("The beginning must lie before the end, and not in the future."))
	return _queue({"device": device, "purpose": "Asked", "since": begin, "until": end})


def ask_for_gap(gap: Any) -> str:
	"""The name of a new reading for an Access Event Gap, or of the one that is under way."""
	until = gap.until or now_datetime().replace(microsecond=0)
	values = {"device": gap.device, "purpose": "Gap", "gap": gap.name, "since": gap.since, "until": until}
	if gap.first_serial and gap.last_serial:
		values |= {"first_serial": gap.first_serial, "last_serial": gap.last_serial}
	return _queue(values)


def _queue(values: dict[str, Any]) -> str:
	if reason := obstacle(values["device"]):
		frappe.throw(reason)
	same = {"gap": values["gap"]} if values.get("gap") else values
	if running := frappe.db.get_value("Hikvision History Fetch", {**same, "state": ["in", UNDER_WAY]}):
		return running
	zone = ZoneInfo(get_system_timezone())
	document = frappe.get_doc(
		{
			"doctype": "Hikvision History Fetch",
			"state": HistoryState.QUEUED.value,
			"asked_by": frappe.session.user,
			"since_utc": _utc(values["since"], zone, fold=0),
			"until_utc": _utc(values["until"], zone, fold=1),
			**values,
		}
	)
	return document.insert(
		ignore_permissions=True
	).name  # nobody makes one by hand; who may ask was looked at


def obstacle(device: str) -> str:
	"""Why the device's history cannot be read, in words with what to do; "" when it can."""
	row = frappe.db.get_value(
		"Hikvision Device",
		device,
		["enabled", "host", "user", "mode", "history", "history_supported"],
		as_dict=True,
	)
	if not row.enabled:
		return _("The device is switched off.")
	if not (row.history or row.mode == "History"):
		return _("Reading its history is switched off: tick Fill Gaps from Its History on the device's form.")
	if not row.host or not row.user:
		return _("The device's address and login are needed to read its history: enter them on its form.")
	if row.history_supported == "No":
		return _("The device has no history that can be read.")
	return ""


@frappe.whitelist()
def progress(fetch: str) -> dict[str, Any]:
	"""How far a reading is: its fields, "percent" (None while nobody can tell) and "under_way"."""
	frappe.has_permission("Hikvision History Fetch", "read", doc=fetch, throw=True)
	return newest({"name": fetch}) or {}


@frappe.whitelist(methods=["POST"])
def cancel(fetch: str) -> bool:
	"""Stop a reading; what was read so far is kept. False when it had ended already."""
	must_decide()
	frappe.has_permission("Hikvision History Fetch", "read", doc=fetch, throw=True)
	document = frappe.get_doc("Hikvision History Fetch", fetch, for_update=True)
	return document.cancel_reading()


def newest(filters: dict[str, Any]) -> dict[str, Any] | None:
	"""The reading that fits and is under way, or the newest one, as ``progress`` gives it."""
	for states in ({"state": ["in", UNDER_WAY]}, {}):
		rows = frappe.get_all(
			"Hikvision History Fetch",
			filters={**filters, **states},
			fields=list(SHOWN_FIELDS),
			order_by="creation desc",
			limit=1,
		)
		if rows:
			row = rows[0]
			return {**row, "percent": percent(row), "under_way": row.state in UNDER_WAY}
	return None


def percent(row: Any) -> int | None:
	"""How much is read, by the device's own total, else by time; None while neither is known."""
	if row.state == HistoryState.PROVEN.value:
		return 100
	if row.total:
		return min(100, round(100 * (row.rows or 0) / row.total))
	if row.read_until and row.until > row.since:
		return min(100, max(0, round(100 * ((row.read_until - row.since) / (row.until - row.since)))))
	return None


def _time(text: str) -> datetime:
	try:
		time = get_datetime(text)
	except (ValueError, TypeError, OverflowError):
		time = None
	if time is None:
		frappe.throw(_("{0} is not a time.").format(text))
	return time.replace(tzinfo=None, microsecond=0)


def _utc(time: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
	"""The instant of a site time as the database keeps it; fold: the first or the second one in the repeated hour."""
	return time.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc).replace(tzinfo=None)
