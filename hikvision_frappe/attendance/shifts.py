"""Shift Types follow their devices: how far HRMS may count, and why it may not count further.

A device feeds the shifts it is assigned to, or all of them. ``Shift Type.last_sync_of_checkin`` follows the least
watermark of the shift's devices; it never follows the clock, and never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.query_builder.functions import Count
from frappe.utils import cint, get_system_timezone, now_datetime

from hikvision_frappe.core.clock import everything_before
from hikvision_frappe.core.shift_days import Verdict, end_of_day, is_over, verdict
from hikvision_frappe.core.watermark import HeldBy, shift_watermark
from hikvision_frappe.ledger.completeness import HOLDING
from hikvision_frappe.ledger.gap_words import advice as advice_on_gap

# HRMS counts once an hour, and everybody's check-in reads the Shift Type from the cache: it is not written for less.
STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class FeedingDevice:
	"""An enabled device as shifts see it. complete_until: UTC. until: the same as naive site time. shifts: () = all."""

	name: str
	title: str
	shifts: frozenset[str]
	complete_until: datetime | None
	until: datetime | None
	held_by: str
	gap: str
	mode: str
	connected: bool
	error: str

	def feeds(self, shift: str) -> bool:
		return not self.shifts or shift in self.shifts


@dataclass(frozen=True, slots=True)
class DeviceOnDay:
	"""How one device stands against the end of a shift's day. waiting: its passes that wait to be worked off."""

	device: FeedingDevice
	complete: bool
	waiting: int
	advice: str


@dataclass(frozen=True, slots=True)
class ShiftDay:
	"""One shift on one day. ends: naive site time of the last check-out allowed. advice: what to do, or ""."""

	shift: str
	day: date
	ends: datetime
	verdict: Verdict
	last_sync: datetime | None
	by_clock: bool
	devices: tuple[DeviceOnDay, ...]
	advice: str

	@property
	def until(self) -> datetime | None:
		"""The least watermark of the devices."""
		return shift_watermark(each.device.until for each in self.devices)


# Moving the shifts


def sync_shifts() -> dict[str, datetime]:
	"""Move the shifts whose devices are complete further than they say; returns the new site times by shift.

	One that follows the clock is left alone, and so is one without devices, or with a device that was never heard.
	Part of the caller's transaction.
	"""
	devices = feeding_devices()
	moved = {}
	for shift in shift_types():
		if not shift.enable_auto_attendance or shift.auto_update_last_sync:
			continue
		time = shift_watermark(each.until for each in devices if each.feeds(shift.name))
		if time and (not shift.last_sync_of_checkin or time - shift.last_sync_of_checkin >= STEP):
			_advance(shift.name, time)
			moved[shift.name] = time
	return moved


def _advance(name: str, time: datetime) -> None:
	"""Only forward, and only while the shift still follows its devices, whatever was saved since it was read."""
	shift = frappe.qb.DocType("Shift Type")
	query = (
		frappe.qb.update(shift)
		.set(shift.last_sync_of_checkin, time)
		.where(shift.name == name)
		.where(shift.last_sync_of_checkin.isnull() | (shift.last_sync_of_checkin < time))
	)
	if _has_clock():
		query = query.where(shift.auto_update_last_sync == 0)
	query.run()
	frappe.clear_document_cache("Shift Type", name)  # HRMS counts by the cached document


def shift_types(names: Sequence[str] = ()) -> list[Any]:
	"""The settings by which a shift is counted, of all shifts or of some."""
	fields = [
		"name",
		"start_time",
		"end_time",
		"allow_check_out_after_shift_end_time",
		"enable_auto_attendance",
		"process_attendance_after",
		"last_sync_of_checkin",
	]
	rows = frappe.get_all(
		"Shift Type",
		filters={"name": ["in", names]} if names else {},
		fields=[*fields, "auto_update_last_sync"] if _has_clock() else fields,
		order_by="name",
	)
	for row in rows:
		row.auto_update_last_sync = cint(row.get("auto_update_last_sync"))
	return rows


def _has_clock() -> bool:
	"""Early releases of HRMS 15 cannot move the field by the clock."""
	return bool(frappe.get_meta("Shift Type").has_field("auto_update_last_sync"))


def feeding_devices() -> list[FeedingDevice]:
	"""All enabled devices, by title."""
	zone = ZoneInfo(get_system_timezone())
	assigned: dict[str, set[str]] = {}
	for row in frappe.get_all(
		"Hikvision Device Shift", filters={"parenttype": "Hikvision Device"}, fields=["parent", "shift_type"]
	):
		assigned.setdefault(row.parent, set()).add(row.shift_type)
	rows = frappe.get_all(
		"Hikvision Device",
		filters={"enabled": 1},
		fields=[
			"name",
			"title",
			"mode",
			"complete_until_utc",
			"held_by",
			"held_by_gap",
			"connection_state",
			"last_error",
		],
		order_by="title",
	)
	return [_feeding_device(row, assigned.get(row.name, ()), zone) for row in rows]


def _feeding_device(row: Any, shifts: Iterable[str], zone: ZoneInfo) -> FeedingDevice:
	moment = row.complete_until_utc.replace(tzinfo=timezone.utc) if row.complete_until_utc else None
	return FeedingDevice(
		name=row.name,
		title=row.title,
		shifts=frozenset(shifts),
		complete_until=moment,
		until=everything_before(moment, zone) if moment else None,
		held_by=row.held_by or "",
		gap=row.held_by_gap or "",
		mode=row.mode,
		connected=row.connection_state == "Connected",
		error=row.last_error or "",
	)


def follows_the_clock(shift: str) -> bool:
	"""Whether HRMS moves the shift by the clock although devices feed it."""
	row = next(iter(shift_types([shift])), None)
	if row is None or not row.enable_auto_attendance or not row.auto_update_last_sync:
		return False
	return any(each.feeds(shift) for each in feeding_devices())


def follow_devices(shift: str) -> None:
	"""From now on the shift's Last Sync of Checkin follows its devices, and no longer the clock."""
	document = frappe.get_doc("Shift Type", shift)
	document.check_permission("write")
	document.auto_update_last_sync = 0
	document.save()
	document.add_comment("Info", _("Last Sync of Checkin follows the access control devices"))


# Explaining them


def explain(days: Sequence[date], shifts: Sequence[str] = (), now: datetime | None = None) -> list[ShiftDay]:
	"""Every given day of every shift with auto attendance (or of the named ones), newest day first.

	now: naive site time.
	"""
	now = now or now_datetime()
	devices, waiting = feeding_devices(), waiting_passes()
	gaps = _gaps([each.gap for each in devices if each.gap])
	found = []
	for row in shift_types(shifts):
		if not row.enable_auto_attendance and not shifts:
			continue
		feeding = [each for each in devices if each.feeds(row.name)]
		found += [_shift_day(row, day, feeding, waiting, gaps, now) for day in days]
	return sorted(found, key=lambda each: (-each.day.toordinal(), each.shift))


def _shift_day(
	row: Any,
	day: date,
	feeding: Sequence[FeedingDevice],
	waiting: dict[str, int],
	gaps: dict[str, Any],
	now: datetime,
) -> ShiftDay:
	allowance = timedelta(minutes=cint(row.allow_check_out_after_shift_end_time))
	ends = end_of_day(day, row.start_time, row.end_time, allowance)
	decided = verdict(ends, now, row.last_sync_of_checkin, [each.until for each in feeding])
	on_day = []
	for each in feeding:
		complete = is_over(each.until, ends)
		todo = "" if complete or decided is Verdict.NOT_OVER else what_to_do(each, waiting, gaps)
		on_day.append(DeviceOnDay(each, complete, waiting.get(each.name, 0), todo))
	return ShiftDay(
		shift=row.name,
		day=day,
		ends=ends,
		verdict=decided,
		last_sync=row.last_sync_of_checkin,
		by_clock=bool(row.auto_update_last_sync),
		devices=tuple(on_day),
		advice=_advice_on_shift(row, day, decided),
	)


def _advice_on_shift(row: Any, day: date, decided: Verdict) -> str:
	if not row.enable_auto_attendance:
		return _("Auto attendance is off: HRMS makes no attendance of this shift.")
	if decided is Verdict.NO_DEVICE:
		return _("No enabled device feeds this shift: name it on a device, or leave a device without shifts.")
	if row.auto_update_last_sync:
		return _(
			"The shift follows the clock: people are called absent although their passes may be on the way. Let it follow its devices."
		)
	if not row.process_attendance_after:
		return _("Set Process Attendance After in the shift: until then HRMS counts nothing.")
	if day < row.process_attendance_after:
		return _("The day lies before Process Attendance After: HRMS leaves it alone.")
	if decided is Verdict.TOO_EARLY:
		return _(
			"Last Sync of Checkin stands further than the devices: set by hand, or by the clock before. Check this day's attendance again when the devices are complete."
		)
	return ""


def what_to_do(device: FeedingDevice, waiting: dict[str, int], gaps: dict[str, Any]) -> str:
	"""What lets the device's watermark go on."""
	if device.until is None or device.held_by == HeldBy.NOTHING_HEARD.value:
		return _(
			"It was never heard. Press Test connection on its form; name the shifts it feeds, or switch it off, if these shifts shall not wait for it."
		)
	if device.held_by == HeldBy.WAITING.value:
		return _("{0} passes wait: say whose numbers they are, or set them aside.").format(
			waiting.get(device.name, 0)
		)
	if device.held_by == HeldBy.GAP.value and device.gap in gaps:
		return advice_on_gap(gaps[device.gap])
	if device.connected:
		return _("Nothing to do: it is heard.")
	if device.mode == "History":
		return _("Nothing to do: its history is read from time to time.")
	return device.error or _("It is not heard now: check its power and network.")


def held_by_words(device: FeedingDevice) -> str:
	"""Why the device is not complete further, translated."""
	if device.until is None:
		return _(HeldBy.NOTHING_HEARD.value)
	return _(device.held_by) if device.held_by else ""


def waiting_passes() -> dict[str, int]:
	"""How many passes of each device wait to be worked off or matched."""
	event = frappe.qb.DocType("Access Event")
	query = (
		frappe.qb.from_(event)
		.select(event.device, Count("*"))
		.where(event.state.isin([each.value for each in HOLDING]))
		.groupby(event.device)
	)
	return dict(query.run())


def _gaps(names: Sequence[str]) -> dict[str, Any]:
	if not names:
		return {}
	rows = frappe.get_all(
		"Access Event Gap",
		filters={"name": ["in", names]},
		fields=["name", "state", "reason", "cause", "since", "until"],
	)
	return {row.name: row for row in rows}
