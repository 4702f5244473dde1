"""Events a second into the ledger, beside frappe.db.bulk_insert of the same rows in the same run.

The batches of both alternate, so that whatever else the machine does falls on both. Each batch is committed.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import on_bench

BATCH = 500
BATCHES = 40
WARM_UP = 3


def main() -> None:
	import frappe

	from hikvision_frappe.core.event import AccessEvent
	from hikvision_frappe.ledger.site import FrappeSite
	from tests.bench.factories import create_test_device, make_event

	device, peer = create_test_device().name, create_test_device().name
	site = FrappeSite(frappe.local.site)
	start = datetime(2026, 3, 2, 5, tzinfo=timezone.utc)

	def batch(number: int) -> list[AccessEvent]:
		first = number * BATCH + 1
		return [
			make_event(
				device,
				serial_no,
				occurred_at=start + timedelta(seconds=serial_no // 3),
				person=str(1000 + serial_no % 900),
				person_name=f"Person {serial_no % 900}",
			)
			for serial_no in range(first, first + BATCH)
		]

	def deliver(number: int) -> float:
		events = batch(number)
		began = time.perf_counter()
		delivery = site.deliver(events)
		seconds = time.perf_counter() - began
		assert delivery.new == BATCH, delivery
		return seconds

	def bulk_insert(fields: Sequence[str], rows: Sequence[Sequence[object]]) -> float:
		began = time.perf_counter()
		frappe.db.bulk_insert("Access Event", list(fields), rows)
		frappe.db.commit()
		return time.perf_counter() - began

	ours, theirs = [], []
	for number in range(BATCHES + WARM_UP):
		ours.append(deliver(number))
		fields, rows = same_rows(device, peer, number)
		theirs.append(bulk_insert(fields, rows))
	site.close()
	frappe.init(site=site.site, sites_path=".")
	frappe.connect()
	report(ours[WARM_UP:], theirs[WARM_UP:], frappe.db.count("Access Event"))


def same_rows(device: str, peer: str, number: int) -> tuple[list[str], list[tuple[object, ...]]]:
	"""The rows of the batch just delivered, ready to be inserted once more as those of another device."""
	import frappe

	from hikvision_frappe.core.identity import numbered_name

	rows = frappe.get_all(
		"Access Event",
		[
			["device", "=", device],
			["serial_no", ">", number * BATCH],
			["serial_no", "<=", (number + 1) * BATCH],
		],
		["*"],
	)
	fields = [field for field, value in rows[0].items() if value is not None]
	for row in rows:
		row.name, row.device = numbered_name(peer, 1, row.serial_no), peer
	return fields, [tuple(row[field] for field in fields) for row in rows]


def report(ours: list[float], theirs: list[float], stored: int) -> None:
	import frappe

	ours_rate, peer_rate = len(ours) * BATCH / sum(ours), len(theirs) * BATCH / sum(theirs)
	result = {
		"benchmark": "ledger",
		"events_per_second": round(ours_rate),
		"at_least": 4000,
		"batch": BATCH,
		"batches": len(ours),
		"median_ms_per_batch": round(statistics.median(ours) * 1000, 1),
		"bulk_insert_rows_per_second": round(peer_rate),
		"share_of_bulk_insert": round(ours_rate / peer_rate, 2),
		"rows": stored,
		"innodb_flush_log_at_trx_commit": int(frappe.db.sql("select @@innodb_flush_log_at_trx_commit")[0][0]),
	}
	print(f"deliver: {ours_rate:,.0f} events/s, bulk_insert of the same rows: {peer_rate:,.0f} rows/s")
	print(json.dumps(result))


if __name__ == "__main__":
	on_bench.main(main)
