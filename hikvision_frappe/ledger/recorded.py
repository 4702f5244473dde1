"""Which records the logs of devices must still hold: looked up for readings of their histories, before they are lent.

A SELECT for each reading, with its limits written into it, and many of them in one statement: where the limits come
from a table, MariaDB goes through all records of the device to find one. Each of these finds it in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import frappe
from pypika import Order, Parameter
from pypika.functions import Coalesce

from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.core.recorded import ACCESS, LOST, surely_after, surely_before
from hikvision_frappe.ledger.instants import aware, certainly_after, naive, site_zone

CHUNK = 50  # readings in one statement: each opens the table twice
BEFORE_ALL = datetime(1900, 1, 1)


@dataclass(frozen=True, slots=True)
class Stretch:
	"""What a reading asks a device for. since: UTC by our clock. The offsets are our clock minus the device's, seconds:
	device_offset now, gap_offset when the gap began that the reading is for, 0 without one.
	"""

	name: str
	device: str
	since: datetime
	device_offset: float = 0.0
	gap_offset: float = 0.0

	@property
	def before(self) -> datetime:
		"""A naive second, UTC by the device's clock, that is no later than the beginning."""
		return naive(surely_before(self.since, self.device_offset, self.gap_offset)).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class _Loss:
	"""What people know that a log may have lost. since, until: naive UTC by the device's clock; over: naive site time."""

	since: datetime = BEFORE_ALL
	until: datetime = BEFORE_ALL
	over: datetime = BEFORE_ALL


def known_records(stretches: Sequence[Stretch]) -> dict[str, datetime]:
	"""See ``HistoryTask.recorded``; by the names of the stretches, those without one left out.

	Two statements for every fifty stretches.
	"""
	losses = _known_losses(stretches)
	rows = _each(
		_record_statement(frappe.db.db_type),
		(
			(each.name, *known, each.before, *known)
			for each in stretches
			for lost in [losses.get(each.name, _Loss())]
			for known in [(each.device, lost.since, lost.until, lost.over)]
		),
	)
	return {name: aware(moment) for name, moment in rows if moment}


def _known_losses(stretches: Sequence[Stretch]) -> dict[str, _Loss]:
	"""What people know already that each log may have lost."""
	rows = _each(
		_loss_statement(frappe.db.db_type),
		((each.name, each.device, naive(each.since)) for each in stretches),
	)
	offsets = {each.name: each.device_offset for each in stretches}
	zone = site_zone() if rows else None
	return {
		name: _Loss(
			naive(surely_before(aware(since), clock_offset, offsets[name])),
			naive(surely_after(aware(until), clock_offset, offsets[name])),
			certainly_after(aware(until), zone),
		)
		for name, since, until, clock_offset in rows
		if zone
	}


def _each(statement: str, values: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
	"""What a SELECT gives with each of the values, a chunk of them in one statement."""
	values, found = list(values), []
	for start in range(0, len(values), CHUNK):
		chunk = values[start : start + CHUNK]
		union = " UNION ALL ".join([f"({statement})"] * len(chunk))
		found += frappe.db.sql(union, [value for each in chunk for value in each])
	return found


@lru_cache(maxsize=2)
def _record_statement(db_type: str) -> str:
	"""Values: name; device, the loss and before, of the newest from before the stretch; device, the loss, of the oldest."""
	newest = _witness(lambda event: event.occurred_at_utc < Parameter("%s"), Order.desc)
	return str(frappe.qb.select(Parameter("%s"), Coalesce(newest, _witness(None, Order.asc))).get_sql())


def _witness(is_before: Callable[[Any], Any] | None, order: Order) -> Any:
	"""A log that told a record when the loss was over held it then; what is pushed need not be in the log."""
	event = frappe.qb.DocType("Access Event")
	is_made_after = event.occurred_at_utc > Parameter("%s")
	is_told_after = (event.received_at >= Parameter("%s")) & (event.source != Source.PUSH.value)
	query = (
		frappe.qb.from_(event)
		.select(event.occurred_at_utc)
		.where((event.device == Parameter("%s")) & (event.occurred_at_utc > Parameter("%s")))
		.where(is_made_after | is_told_after)
		.where((event.major == ACCESS) & (event.time_quality != TimeQuality.IMPLAUSIBLE.value))
		.orderby(event.occurred_at_utc, order=order)
		.limit(1)
	)
	if frappe.db.db_type == "mariadb":
		# Else it goes through all of the device where more than half of it fits.
		query = query.force_index("device_occurred_at_utc_index")
	return query.where(is_before(event)) if is_before else query


@lru_cache(maxsize=2)
def _loss_statement(db_type: str) -> str:
	"""Values: name, device, beginning of the stretch."""
	gap = frappe.qb.DocType("Access Event Gap")
	query = (
		frappe.qb.from_(gap)
		.select(Parameter("%s"), gap.since_utc, gap.until_utc, gap.clock_offset)
		.where((gap.device == Parameter("%s")) & (gap.since_utc < Parameter("%s")))
		.where(gap.state.isin([state.value for state in LOST]) & gap.until_utc.isnotnull())
		.orderby(gap.until_utc, order=Order.desc)
		.limit(1)
	)
	return str(query.get_sql())
