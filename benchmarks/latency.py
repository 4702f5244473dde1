"""From a pass at a simulated terminal to its committed Employee Checkin, through listener and drain, on a bench.

	.venv/bin/python benchmarks/latency.py [--seconds 30] [--rate 20]

An observer reads new check-ins every few milliseconds, so its own pause is part of the figures. Beside it stands
what a poll of the terminals every 60 seconds could do at best, for the same passes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import on_bench

OBSERVER_PAUSE = 0.01
POLL_SECONDS = 60.0
TERMINALS = 4
EMPLOYEES = 200
PATIENCE = 60.0


Key = tuple[str, int]  # device and serial number


def main() -> None:
	parser = argparse.ArgumentParser(description="pass at a terminal to committed check-in")
	parser.add_argument("--seconds", type=float, default=30)
	parser.add_argument("--rate", type=float, default=20, help="passes per second, all terminals together")
	arguments = parser.parse_args()
	with tempfile.TemporaryDirectory() as folder:
		print(json.dumps(measure(Path(folder), arguments.seconds, arguments.rate)), flush=True)


def measure(folder: Path, seconds: float, rate: float) -> dict[str, float]:
	"""Let people pass and wait until every pass is a check-in; milliseconds and counts."""
	import frappe

	from hikvision_frappe.simulator import PROFILES, SimulatedDevice
	from tests.bench.factories import create_test_employee
	from tests.bench.processes import ListenerProcess, Terminals, register_terminal, wait_until

	frappe.db.set_single_value("Hikvision Settings", "debounce_seconds", 0)
	persons = [str(50_000 + number) for number in range(EMPLOYEES)]
	for person in persons:
		create_test_employee(person)
	devices = [SimulatedDevice(PROFILES["k1t344"]) for _ in range(TERMINALS)]
	observer = Observer()
	with Terminals(*devices) as terminals, ListenerProcess(folder) as listener:
		names = {register_terminal(device).name: device for device in devices}
		wait_until(
			lambda: frappe.db.count("Hikvision Device", {"connection_state": "Connected"}) == TERMINALS, 60
		)
		made = make_passes(terminals, names, persons, seconds * rate, rate, observer)
		observer.watch_until(len(made), PATIENCE)
		listener.stop()
	return summary(made, observer.seen)


def make_passes(
	terminals: Any,
	names: Mapping[str, Any],
	persons: Sequence[str],
	count: float,
	rate: float,
	observer: Observer,
) -> dict[Key, float]:
	"""Pass at a steady rate, observing in the pauses; when each pass was made, in time.time() seconds."""
	dice = random.Random(1)
	made: dict[Key, float] = {}
	begin = time.time()
	for number in range(int(count)):
		while (pause := begin + number / rate - time.time()) > 0:
			observer.look()
			time.sleep(min(OBSERVER_PAUSE, pause))
		name = dice.choice(list(names))
		instant = time.time()
		record = terminals.call(names[name].make_pass, persons[number % len(persons)])
		made[(name, record.serial_no)] = instant
	return made


class Observer:
	"""Sees a check-in when it is committed, as any other reader of the database would."""

	def __init__(self) -> None:
		self.seen: dict[Key, float] = {}

	def look(self) -> None:
		import frappe

		frappe.db.rollback()
		rows = frappe.db.sql(
			"""select e.device, e.serial_no from `tabAccess Event` e
			join `tabEmployee Checkin` c on c.name = e.employee_checkin order by c.creation desc limit 100"""
		)
		now = time.time()
		for device, serial_no in rows:
			self.seen.setdefault((device, int(serial_no)), now)

	def watch_until(self, count: int, seconds: float) -> None:
		"""Look until so many check-ins were seen, at most so long."""
		deadline = time.time() + seconds
		while len(self.seen) < count and time.time() < deadline:
			self.look()
			time.sleep(OBSERVER_PAUSE)


def summary(made: Mapping[Key, float], seen: Mapping[Key, float]) -> dict[str, float]:
	latencies = sorted((seen[key] - instant) * 1000 for key, instant in made.items() if key in seen)
	# Where in its minute the poller stands is chance: every second of it counts alike.
	polled = sorted(
		(POLL_SECONDS - (instant - phase) % POLL_SECONDS) * 1000
		for instant in made.values()
		for phase in range(int(POLL_SECONDS))
	)
	p50 = statistics.median(latencies)
	return {
		"passes": len(made),
		"checkins": len(latencies),
		"p50_ms": round(p50, 1),
		"p99_ms": round(latencies[int(len(latencies) * 0.99)], 1),
		"max_ms": round(latencies[-1], 1),
		"poll_60s_p50_ms": round(statistics.median(polled), 1),
		"poll_60s_p99_ms": round(polled[int(len(polled) * 0.99)], 1),
		"ratio_p50": round(statistics.median(polled) / p50, 1),
	}


if __name__ == "__main__":
	on_bench.main(main)
