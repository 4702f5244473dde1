"""The serial epochs of devices: read under the lock that intake holds, written back where they changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import frappe
from pypika import Parameter

from hikvision_frappe.core.identity import LedgerView, SerialEpoch
from hikvision_frappe.ledger.instants import aware, naive, utc_now

DOCTYPE = "Hikvision Serial Epoch"


class _Row(NamedTuple):
	"""The columns that intake reads, in the order of reading. epochs: on row 1, how many rows there are."""

	device: str
	number: int
	epochs: int
	highest: int
	highest_at: datetime | None
	first_at: datetime | None
	hardware: str | None
	unnumbered: int


def epoch_name(device: str, number: int) -> str:
	"""The name of a device's epoch row."""
	return f"{device}-{number:02d}"


def lock(devices: Iterable[str]) -> dict[str, list[SerialEpoch]]:
	"""The epochs of each device that exists, its row 1 locked until the commit.

	Locks by primary key in sorted order: no gaps are locked, and two batches never wait for each other in a ring.
	Must be the first statement of its transaction, so that what is read afterwards is not older than the lock.
	"""
	names = sorted(epoch_name(device, 1) for device in devices)
	first = [_Row(*row) for row in frappe.db.sql(_lock_statement(len(names), frappe.db.db_type), names)]
	further = _further([row.device for row in first if row.epochs > 1])
	found = {row.device: [_epoch(row)] for row in first}
	for row in further:
		found[row.device].append(_epoch(row))
	return found


def read(devices: Iterable[str] | None = None) -> dict[str, list[SerialEpoch]]:
	"""The epochs of these devices, or of all, as committed; no lock, one statement."""
	epoch = frappe.qb.DocType(DOCTYPE)
	query = frappe.qb.from_(epoch).select(*_Row._fields).orderby(epoch.device, epoch.number)
	if devices is not None:
		query = query.where(epoch.device.isin(sorted(devices) or [""]))
	found: dict[str, list[SerialEpoch]] = {}
	for row in query.run():
		found.setdefault(row[0], []).append(_epoch(_Row(*row)))
	return found


@lru_cache(maxsize=64)
def _lock_statement(count: int, db_type: str) -> str:
	"""Built once for each number of devices: for a single push the building costs more than the query."""
	epoch = frappe.qb.DocType(DOCTYPE)
	marks = [Parameter("%s")] * count
	query = frappe.qb.from_(epoch).select(*_Row._fields).where(epoch.name.isin(marks)).orderby(epoch.name)
	return str(query.for_update().get_sql())


def _further(devices: list[str]) -> list[_Row]:
	"""Epochs from the second on; a device has them after a reset or a change of hardware."""
	if not devices:
		return []
	epoch = frappe.qb.DocType(DOCTYPE)
	query = (
		frappe.qb.from_(epoch).select(*_Row._fields).where(epoch.device.isin(devices) & (epoch.number > 1))
	)
	return [_Row(*row) for row in query.orderby(epoch.device, epoch.number).run()]


def _epoch(row: _Row) -> SerialEpoch:
	return SerialEpoch(
		number=row.number,
		highest=row.highest,
		highest_at=aware(row.highest_at),
		first_at=aware(row.first_at),
		hardware=row.hardware or "",
		unnumbered=bool(row.unnumbered),
	)


def save(view: LedgerView, before: Mapping[str, list[SerialEpoch]]) -> None:
	"""Write the epochs that differ from what was locked: at most one INSERT and one UPDATE."""
	added: list[tuple[str, SerialEpoch]] = []
	changed: dict[str, dict[str, Any]] = {}
	for device in sorted(view.touched):
		known = before[device]
		now = view.epochs[device]
		added += [(device, epoch) for epoch in now[len(known) :]]
		for old, new in zip(known, now, strict=False):
			values = _difference(_values(old), _values(new))
			if new.number == 1 and len(now) > len(known):
				values["epochs"] = len(now)
			if values:
				changed[epoch_name(device, new.number)] = values
	_insert(added)
	_update(changed)


def has_more(view: LedgerView, before: Mapping[str, list[SerialEpoch]]) -> bool:
	"""Whether a count began anew since the epochs were locked."""
	return any(len(view.epochs[device]) > len(before[device]) for device in view.touched)


def _insert(added: list[tuple[str, SerialEpoch]]) -> None:
	if not added:
		return
	stamp = naive(utc_now())
	rows = [
		{
			"name": epoch_name(device, epoch.number),
			"device": device,
			"number": epoch.number,
			"epochs": 1,
			**_values(epoch),
			"creation": stamp,
			"modified": stamp,
			"owner": "Administrator",
			"modified_by": "Administrator",
		}
		for device, epoch in added
	]
	frappe.db.bulk_insert(DOCTYPE, list(rows[0]), [tuple(row.values()) for row in rows])


def _update(changed: dict[str, dict[str, Any]]) -> None:
	if len(changed) == 1:
		(name, values), *_ = changed.items()
		frappe.db.sql(_update_statement(tuple(values), frappe.db.db_type), [*values.values(), name])
	elif changed:
		frappe.db.bulk_update(DOCTYPE, changed, chunk_size=len(changed), update_modified=False)


@lru_cache(maxsize=8)
def _update_statement(fields: tuple[str, ...], db_type: str) -> str:
	epoch = frappe.qb.DocType(DOCTYPE)
	query = frappe.qb.update(epoch).where(epoch.name == Parameter("%s"))
	for field in fields:
		query = query.set(epoch[field], Parameter("%s"))
	return str(query.get_sql())


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
	return {field: value for field, value in after.items() if value != before[field]}


def _values(epoch: SerialEpoch) -> dict[str, Any]:
	return {
		"highest": epoch.highest,
		"highest_at": naive(epoch.highest_at),
		"first_at": naive(epoch.first_at),
		"hardware": epoch.hardware,
		"unnumbered": int(epoch.unnumbered),
	}
