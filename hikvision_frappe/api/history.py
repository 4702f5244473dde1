"""Read a device's history because somebody asks: begin, watch, stop."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.utils import get_datetime

from hikvision_frappe.api.events import ROLES
from hikvision_frappe.ledger import history
from hikvision_frappe.ledger.devices import reads_history
from hikvision_frappe.ledger.instants import site_zone
from hikvision_frappe.ledger.listeners import live_listeners
from hikvision_frappe.ledger.signal import REDIS_TROUBLE
from hikvision_frappe.listener.site import HistoryState

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
	"next_attempt_at_utc",
)


def must_decide() -> None:
	"""Raise PermissionError for whoever does not answer for attendance or for devices."""
	if not ROLES & set(frappe.get_roles()):
		frappe.throw(_("Only {0} may do this.").format(", ".join(sorted(ROLES))), frappe.PermissionError)


@frappe.whitelist(methods=["POST"])
def ask(device: str, since: str, until: str) -> str:
	"""Have the device's own records of a stretch of time read, and whatever is new stored; returns the reading's name.

	since, until: naive site time; an end that is still to come means now. In the repeated hour both readings of a time
	are covered.
	"""
	must_decide()
	frappe.get_doc("Hikvision Device", device).check_permission("read")
	if reason := obstacle(device):
		frappe.throw(reason)
	zone = site_zone()
	name = history.ask(
		device, _instant(since, zone, fold=0), _instant(until, zone, fold=1), frappe.session.user
	)
	begin_soon()
	return name


def begin_soon() -> None:
	"""A live listener looks every few seconds; without one a job reads, and the scheduler's minute is not waited for."""
	if not live_listeners():
		frappe.db.after_commit.add(_begin_without_listener)


def _begin_without_listener() -> None:
	with suppress(*REDIS_TROUBLE):
		history.enqueue_reader()


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
	if not row.host or not row.user:
		return _("The device's address and login are needed to read its history: enter them on its form.")
	if not reads_history(row):
		return _("Reading its history is switched off: tick Fill Gaps from Its History on the device's form.")
	if row.history_supported == "No":
		return _("The device has no history that can be read.")
	return ""


@frappe.whitelist()
def progress(fetch: str) -> dict[str, Any]:
	"""How far a reading is: its fields, "percent" (None while nobody can tell), "under_way", and "again" when it
	failed and is tried again by itself."""
	frappe.has_permission("Hikvision History Fetch", "read", doc=fetch, throw=True)
	return newest({"name": fetch}) or {}


@frappe.whitelist(methods=["POST"])
def cancel(fetch: str) -> bool:
	"""Stop a reading; what was read so far is kept. False when it had ended already."""
	must_decide()
	frappe.has_permission("Hikvision History Fetch", "read", doc=fetch, throw=True)
	return frappe.get_doc("Hikvision History Fetch", fetch, for_update=True).cancel_reading()


def newest(filters: dict[str, Any]) -> dict[str, Any] | None:
	"""The reading that fits and is under way, or the newest one, as ``progress`` gives it."""
	for states in ({"state": ["in", history.UNDER_WAY]}, {}):
		rows = frappe.get_all(
			"Hikvision History Fetch",
			filters={**filters, **states},
			fields=list(SHOWN_FIELDS),
			order_by="creation desc",
			limit=1,
		)
		if rows:
			row = rows[0]
			waits = row.pop("next_attempt_at_utc") is not None
			again = waits and row.state == HistoryState.FAILED.value
			under_way = again or row.state in history.UNDER_WAY
			return {**row, "percent": percent(row), "under_way": under_way, "again": again}
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


def _instant(text: str, zone: ZoneInfo, *, fold: int) -> datetime:
	"""The instant of a site time; fold: the first or the second one in the repeated hour."""
	try:
		time = get_datetime(text)
		return time.replace(tzinfo=zone, microsecond=0, fold=fold).astimezone(timezone.utc)
	except (ValueError, TypeError, OverflowError, AttributeError):
		frappe.throw(_("{0} is not a time.").format(text))
