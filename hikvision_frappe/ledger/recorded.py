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

from hikvision_frappe.core.event import TimeQuality
from hikvision_frappe.core.recorded import ACCESS, LOST, surely_after, surely_before
from hikvision_frappe.ledger.instants import aware, naive

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


def known_records(stretches: Sequence[Stretch]) -> dict[str, datetime]:
	"""See ``HistoryTask.recorded``; by the names of the stretches, those without one left out.

	Two statements for every fifty stretches.
	"""
	after = _known_losses(stretches)
	rows = _each(
		_record_statement(frappe.db.db_type),
		(
			(each.name, *(each.device, begin, each.before), *(each.device, begin))
			for each in stretches
			for begin in [after.get(each.name, BEFORE_ALL)]
		),
	)
	return {name: aware(moment) for name, moment in rows if moment}


def _known_losses(stretches: Sequence[Stretch]) -> dict[str, datetime]:
	"""Until when people know already that each log may have lost its records; naive UTC by the device's clock."""
	rows = _each(
		_loss_statement(frappe.db.db_type),
		((each.name, each.device, naive(each.since)) for each in stretches),
	)
	offsets = {each.name: each.device_offset for each in stretches}
	return {
		name: naive(surely_after(aware(until), clock_offset, offsets[name]))
		for name, until, clock_offset in rows
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
	"""Values: name; device, after, before of the newest from before the stretch; device, after of the oldest."""
	newest = _witness(lambda event: event.occurred_at_utc < Parameter("%s"), Order.desc)
	return str(frappe.qb.select(Parameter("%s"), Coalesce(newest, _witness(None, Order.asc))).get_sql())


def _witness(is_before: Callable[[Any], Any] | None, order: Order) -> Any:
	event = frappe.qb.DocType("Access Event")
	query = (
		frappe.qb.from_(event)
		.select(event.occurred_at_utc)
		.where((event.device == Parameter("%s")) & (event.occurred_at_utc > Parameter("%s")))
		.where((event.major == ACCESS) & (event.time_quality != TimeQuality.IMPLAUSIBLE.value))
		.orderby(event.occurred_at_utc, order=order)
		.limit(1)
	)
	if (
		frappe.db.db_type == "mariadb"
	):  # else it goes through all of the device where more than half of it fits
		query = query.force_index("device_occurred_at_utc_index")
	return query.where(is_before(event)) if is_before else query


@lru_cache(maxsize=2)
def _loss_statement(db_type: str) -> str:
	"""Values: name, device, beginning of the stretch."""
	gap = frappe.qb.DocType("Access Event Gap")
	query = (
		frappe.qb.from_(gap)
		.select(Parameter("%s"), gap.until_utc, gap.clock_offset)
		.where((gap.device == Parameter("%s")) & (gap.since_utc < Parameter("%s")))
		.where(gap.state.isin([state.value for state in LOST]) & gap.until_utc.isnotnull())
		.orderby(gap.until_utc, order=Order.desc)
		.limit(1)
	)
	return str(query.get_sql())
