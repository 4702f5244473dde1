"""Recovery of a backlog: histories of simulated terminals into the ledger, and from there into Employee Checkin.

	.venv/bin/python benchmarks/backlog.py [--events 100000] [--sample 2000]

First part: a real listener reads 50 terminals, proves each reading complete, and the ledger holds the events. Second part,
on as many events: passes that wait in the ledger become check-ins in sets, beside HRMS's own function.

The sample of HRMS's function (in process, one commit for each check-in) is taken in parts between the parts of the
backlog, so that whatever else the machine does hits both alike. All the while the sets are written, another process
makes check-ins through HRMS's document; how long these take is told alone and during the sets, with the part of it
in which they wait for their name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import on_bench  # noqa: E402
from benchmarks.backlog_history import history_part  # noqa: E402

DEVICES = 50
EMPLOYEES = 1_000
PASSES_A_DAY = 4
PARTS = 4
FIRST_CODE = 100_000
FIRST_DAY = datetime(2026, 3, 2, 6, tzinfo=timezone.utc)
DELIVERY = 500
SECONDS_ALONE = 10.0


def main() -> None:
	parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
	parser.add_argument("--events", type=int, default=100_000, help="passes that wait in the ledger")
	parser.add_argument("--sample", type=int, default=2_000, help="check-ins made by HRMS's function")
	arguments = parser.parse_args()
	recovered = history_part(arguments.events, DEVICES)
	say(json.dumps(recovered))
	from tests.bench.factories import clear_test_data

	clear_test_data()
	checkins = checkin_part(arguments.events, arguments.sample)
	print(json.dumps({"benchmark": "backlog", "history_to_ledger": recovered, "ledger_to_checkin": checkins}))


def checkin_part(events: int, sample: int) -> dict[str, Any]:
	"""From the ledger to Employee Checkin: check-ins a second of the sets and of HRMS, and the other writer's waits."""
	from tests.bench.factories import create_test_employee
	from tests.bench.other_writer import OtherWriter

	employees = prepare_people()
	begin = time.perf_counter()
	fill_ledger(prepare_devices(), events)
	say(f"{events} passes of {DEVICES} devices in the ledger after {time.perf_counter() - begin:.0f} s")
	others = [create_test_employee(default_shift=employees.shift) for _number in range(20)]
	seconds, theirs, during = 0.0, 0.0, []
	with OtherWriter(others) as writer:
		alone = waits_alone(writer)
		for part in range(PARTS):
			theirs += hrms_in_process(part * sample // PARTS, (part + 1) * sample // PARTS)
			writer.begin()
			seconds += drained(events // PARTS if part < PARTS - 1 else events)
			during += writer.end()
	check(events)
	return summary(events / seconds, sample / theirs, alone, during)


class People:
	"""Employees with numbers from FIRST_CODE on: one half has assignments, the other a default shift."""

	def __init__(self) -> None:
		from tests.bench.factories import create_test_employee, create_test_shift

		self.shift = create_test_shift().name
		early = create_test_shift(start_time="06:00:00", end_time="14:00:00").name
		for number in range(EMPLOYEES):
			shift = self.shift if number % 2 else None
			name = create_test_employee(str(FIRST_CODE + number), default_shift=shift)
			if not shift:
				assign(name, early)


def prepare_people() -> People:
	return People()


def assign(employee: str, shift: str) -> None:
	from tests.bench.assignments import create_test_assignment

	create_test_assignment(employee, shift, FIRST_DAY.date() - timedelta(days=30))


def prepare_devices() -> list[str]:
	from tests.bench.factories import create_test_device

	doors = [{"reader_no": 1, "direction": "In"}, {"reader_no": 2, "direction": "Out"}]
	return [create_test_device(doors=doors).name for _number in range(DEVICES)]


def fill_ledger(devices: Sequence[str], events: int) -> None:
	"""Days of work: in, out, in, out of everybody, at any of the devices."""
	from hikvision_frappe.ledger.intake import deliver
	from tests.bench.factories import make_event

	chance = random.Random(7)  # noqa: S311 - the same passes in every run
	serials = dict.fromkeys(devices, 0)
	batch = []
	for number in range(events):
		device = chance.choice(devices)
		serials[device] += 1
		turn, person = divmod(number, EMPLOYEES)
		day, hour = divmod(turn, PASSES_A_DAY)
		batch.append(
			make_event(
				device,
				serials[device],
				person=str(FIRST_CODE + person),
				occurred_at=FIRST_DAY + timedelta(days=day, hours=hour * 3, seconds=person),
				reader_no=1 + hour % 2,
			)
		)
		if len(batch) == DELIVERY or number == events - 1:
			assert not deliver(batch).refused
			batch = []


def drained(events: int) -> float:
	"""Seconds in which the drain settles at least so many of the passes, in slices as its loop does."""
	from hikvision_frappe.attendance.drain import drain
	from hikvision_frappe.attendance.loop import SLICE_EVENTS, SLICE_SECONDS

	begin, settled = time.perf_counter(), 0
	more = True
	while more and settled < events:
		result = drain(SLICE_EVENTS, SLICE_SECONDS)
		assert not result.why_not_sets, result.why_not_sets
		settled, more = settled + result.settled, result.more
	return time.perf_counter() - begin


def hrms_in_process(first: int, last: int) -> float:
	"""Seconds that HRMS's function needs for check-ins of the same people, on days before the backlog."""
	import frappe
	from hrms.hr.doctype.employee_checkin.employee_checkin import add_log_based_on_employee_field

	begin = time.perf_counter()
	for number in range(first, last):
		moment = FIRST_DAY.replace(tzinfo=None) - timedelta(days=10) + timedelta(minutes=number)
		add_log_based_on_employee_field(
			str(FIRST_CODE + number % EMPLOYEES), str(moment), device_id="Door", log_type="IN"
		)
		frappe.db.commit()
	return time.perf_counter() - begin


def waits_alone(writer: Any) -> list[Any]:
	writer.begin()
	time.sleep(SECONDS_ALONE)
	return writer.end()


def check(events: int) -> None:
	import frappe

	frappe.db.rollback()
	made = frappe.db.count("Employee Checkin", {"access_event": ["is", "set"]})
	assert made == events, f"{made} check-ins of {events} passes"


def summary(ours: float, theirs: float, alone: Sequence[Any], during: Sequence[Any]) -> dict[str, Any]:
	import frappe

	return {
		"checkins_per_second": round(ours),
		"hrms_in_process_per_second": round(theirs, 1),
		"times_hrms_in_process": round(ours / theirs, 1),
		"other_writer_ms": {"alone": percentiles(alone), "during": percentiles(during)},
		"innodb_flush_log_at_trx_commit": int(frappe.db.sql("select @@innodb_flush_log_at_trx_commit")[0][0]),
		"processors": os.cpu_count(),
		"targets": {"times_hrms_in_process": 5, "other_writer_p99_ms": 50},
	}


def percentiles(waits: Sequence[Any]) -> dict[str, float]:
	from tests.bench.other_writer import percentile

	return {
		"checkins": len(waits),
		"p50": percentile([each.whole for each in waits], 50),
		"p99": percentile([each.whole for each in waits], 99),
		"name_p99": percentile([each.name for each in waits], 99),
	}


def say(text: str) -> None:
	print(text, flush=True)


if __name__ == "__main__":
	on_bench.main(main)
