"""When devices were heard: what listeners and heartbeats tell, joined to what is known; a break becomes a gap.

Everything here is part of the caller's transaction. The rows of the devices are locked from ``lock`` on, so that
two listeners that tell of one device, and the keeper, do so one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import frappe

from hikvision_frappe.core.clock import moment_of
from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.core.gaps import INSTANT_TOLERANCE, Break, Cause, Contact, Gap, certain_of, meet
from hikvision_frappe.core.identity import SERIAL_LIMIT, SerialEpoch, numbered_name
from hikvision_frappe.ledger import beats, epochs, gaps
from hikvision_frappe.ledger.instants import aware, naive, utc_now

FIELDS = ("heard_since_utc", "heard_until_utc", "heard_reason")


@dataclass(frozen=True, slots=True)
class Heard:
	"""What is known of a device: its last contact, our clock minus its own, and whether it pushes, or is only read.

	proven_until: up to which its history was read and proven.
	"""

	contact: Contact | None
	offset: timedelta
	pushes: bool = False
	proven_until: datetime | None = None
	is_only_read: bool = False

	@property
	def certain(self) -> Contact | None:
		"""The last contact, as if the device had been heard as long as its history is proven."""
		return certain_of(self.contact, self.proven_until)


def contact_of(row: Any) -> Contact | None:
	"""The contact in a row of Hikvision Device."""
	if not row.heard_until_utc:
		return None
	since, until = aware(row.heard_since_utc or row.heard_until_utc), aware(row.heard_until_utc)
	return Contact(since, until, Cause(row.heard_reason or Cause.RECONNECT.value))


def lock(devices: Iterable[str]) -> dict[str, Heard]:
	"""What is known of the devices, whose rows stay locked until the transaction ends; one statement."""
	device = frappe.qb.DocType("Hikvision Device")
	rows = (
		frappe.qb.from_(device)
		.select(device.name, device.mode, device.clock_offset, device.proven_until_utc)
		.select(*(device[field] for field in FIELDS))
		.where(device.name.isin(sorted(devices) or [""]))
		.orderby(device.name)
		.for_update()
		.run(as_dict=True)
	)
	return {
		row.name: Heard(
			contact_of(row),
			timedelta(seconds=row.clock_offset or 0),
			row.mode == "Push",
			aware(row.proven_until_utc),
			row.mode == "History",
		)
		for row in rows
	}


def join(
	known: Mapping[str, Heard],
	told: Mapping[str, Contact],
	zone: ZoneInfo,
	offsets: Mapping[str, timedelta] | None = None,
) -> dict[str, dict[str, Any]]:
	"""Join newly told contacts to those known, open the gaps between them, and return the columns to write.

	offsets: our clock minus the device's, where it was measured anew.
	"""
	values: dict[str, dict[str, Any]] = {}
	breaks: dict[str, Break] = {}
	for device in told.keys() & known.keys():
		contact, unheard = meet(known[device].certain, told[device])
		values[device] = dict(
			zip(FIELDS, (naive(contact.since), naive(contact.until), contact.reason.value), strict=True)
		)
		if unheard:
			breaks[device] = unheard
	_open_gaps(breaks, known, zone, offsets or {})
	beats.learn(_silences(known, told))
	return values


def _silences(known: Mapping[str, Heard], told: Mapping[str, Contact]) -> dict[str, float]:
	"""Seconds between the last heartbeats of devices that push."""
	return {
		device: (told[device].until - heard.contact.until).total_seconds()
		for device, heard in known.items()
		if heard.pushes and heard.contact and device in told and told[device].until > heard.contact.until
	}


def _open_gaps(
	breaks: Mapping[str, Break],
	known: Mapping[str, Heard],
	zone: ZoneInfo,
	offsets: Mapping[str, timedelta],
) -> None:
	"""A gap for each break, unless an outage stands for it already or the numbers prove that nothing was missed."""
	if not breaks:
		return
	breaks = {device: breaks[device] for device in breaks.keys() - gaps.with_outage(breaks)}
	told = _Told.read(breaks)
	now = utc_now()
	opened = [
		gap
		for device, unheard in sorted(breaks.items())
		if (gap := told.gap(device, unheard, known[device].offset, offsets.get(device), zone, now))
	]
	gaps.insert(opened, zone)
	for gap in opened:
		gaps.changed(gap.device)


@dataclass(frozen=True, slots=True)
class _Told:
	"""What the numbered records of some devices say. newest: the record with the highest number of each device."""

	epochs: Mapping[str, list[SerialEpoch]]
	newest: Mapping[str, Any]

	@classmethod
	def read(cls, devices: Iterable[str]) -> _Told:
		"""Two statements for any number of devices."""
		known = epochs.read(devices)
		names = {device: numbered_name(device, epoch.number, epoch.highest)
			for device, each in known.items() if (epoch := latest_of(each))}  # fmt: skip
		rows = frappe.get_all(
			"Access Event",
			filters={"name": ["in", sorted(names.values()) or [""]]},
			fields=["name", "source", "live", "received_at", "occurred_at_utc", "time_quality"],
		)
		by_name = {row.name: row for row in rows}
		return cls(known, {device: by_name[name] for device, name in names.items() if name in by_name})

	def gap(
		self,
		device: str,
		unheard: Break,
		offset: timedelta,
		new_offset: timedelta | None,
		zone: ZoneInfo,
		now: datetime,
	) -> Gap | None:
		"""The gap of a break; None where its device's newest record was made after it, by its clock before and now.

		Whatever was missed has a smaller number than that record, and intake opens a gap for each such number. Only
		where the count began anew meanwhile, nobody knows what the old one had come to.
		"""
		held = self._before(device, unheard, offset)
		if held is None or held == latest_of(self.epochs[device]) or held.highest == SERIAL_LIMIT:
			newest = self.newest.get(device)
			surely = offset if new_offset is None else min(offset, new_offset)
			if held and newest and is_made_after(newest, unheard.until, surely, zone):
				return None
		return gaps.gap_of_break(device, unheard, held, offset, now)

	def _before(self, device: str, unheard: Break, offset: timedelta) -> SerialEpoch | None:
		"""The latest run of numbers that had begun when the break did.

		Reports lag behind: the very first run may have begun since the last one, as long as that was before the end.
		"""
		numbered = [epoch for epoch in self.epochs.get(device, ()) if epoch.highest]
		begun = [epoch for epoch in numbered if _begins_by(epoch, unheard.since, offset)]
		if begun:
			return begun[-1]
		return next((epoch for epoch in numbered[:1] if _begins_by(epoch, unheard.until, offset)), None)


def _begins_by(epoch: SerialEpoch, moment: datetime, offset: timedelta) -> bool:
	return epoch.first_at is None or epoch.first_at + offset <= moment


def latest_of(each: list[SerialEpoch]) -> SerialEpoch | None:
	"""The run of numbers that a device counts in now; None while no record had a number."""
	numbered = [epoch for epoch in each if epoch.highest]
	return numbered[-1] if numbered else None


def is_made_after(row: Any, moment: datetime, offset: timedelta, zone: ZoneInfo) -> bool:
	"""Whether a record was made after an instant of our clock: told live since then, or with a later instant."""
	if row.source == Source.STREAM.value and row.live == "Yes":
		received = moment_of(row.received_at, zone)
		if received and received > moment:
			return True
	if row.time_quality == TimeQuality.IMPLAUSIBLE.value:
		return False
	return bool(aware(row.occurred_at_utc) + offset > moment + INSTANT_TOLERANCE)
