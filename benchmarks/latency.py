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
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.on_bench import ensure_bench, test_site  # noqa: E402

OBSERVER_PAUSE = 0.01
POLL_SECONDS = 60.0
TERMINALS = 4
EMPLOYEES = 200
PATIENCE = 60.0


def main() -> None:
	parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
	parser.add_argument("--seconds", type=float, default=30)
	parser.add_argument("--rate", type=float, default=20, help="passes per second, all terminals together")
	arguments = parser.parse_args()
	ensure_bench()
	with test_site(), tempfile.TemporaryDirectory() as folder:
		print(json.dumps(measure(Path(folder), arguments.seconds, arguments.rate)))


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
	with Terminals(*devices) as terminals, ListenerProcess(folder) as listener:
		names = {register_terminal(device).name: device for device in devices}
		wait_until(
			lambda: frappe.db.count("Hikvision Device", {"connection_state": "Connected"}) == TERMINALS, 60
		)
		made = make_passes(terminals, names, persons, seconds, rate)
		seen = observe_rest(made)
		assert listener.stop() == 0
	return summary(made, seen)


def make_passes(terminals, names, persons, seconds, rate):
	"""Pass at a steady rate while observing; {(device, serial number): instant made}, time.time() seconds."""
	dice = random.Random(1)
	waiting = list(persons)
	made: dict[tuple[str, int], float] = {}
	observer.reset()
	begin = time.time()
	for number in range(int(seconds * rate)):
		due = begin + number / rate
		while (pause := due - time.time()) > 0:
			observer.look()
			time.sleep(min(OBSERVER_PAUSE, max(pause, 0)))
		if not waiting:
			waiting = list(persons)
		person = waiting.pop(dice.randrange(len(waiting)))
		name = dice.choice(list(names))
		instant = time.time()
		record = terminals.call(names[name].make_pass, person)
		made[(name, record.serial)] = instant
	return made


def observe_rest(made):
	"""Go on looking until every pass has its check-in, or PATIENCE is over."""
	deadline = time.time() + PATIENCE
	while len(observer.seen) < len(made) and time.time() < deadline:
		observer.look()
		time.sleep(OBSERVER_PAUSE)
	return observer.seen


class Observer:
	"""Sees a check-in when it is committed, as any other reader of the database would."""

	def __init__(self) -> None:
		self.reset()

	def reset(self) -> None:
		self.seen: dict[tuple[str, int], float] = {}
		self._known: set[str] = set()

	def look(self) -> None:
		import frappe

		frappe.db.rollback()
		rows = frappe.db.sql(
			"""select e.name, e.device, e.serial_no from `tabAccess Event` e
			join `tabEmployee Checkin` c on c.name = e.employee_checkin order by c.creation desc limit 100"""
		)
		now = time.time()
		for name, device, serial_no in rows:
			if name not in self._known:
				self._known.add(name)
				self.seen[(device, int(serial_no))] = now


observer = Observer()


def summary(made: dict, seen: dict) -> dict[str, float]:
	latencies = sorted((seen[key] - instant) * 1000 for key, instant in made.items() if key in seen)
	first = min(made.values())
	polled = sorted((POLL_SECONDS - (instant - first) % POLL_SECONDS) * 1000 for instant in made.values())
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
	main()
