"""The first half of ``backlog.py``: from the histories of simulated terminals into the ledger, by a real listener."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common  # noqa: E402

SECONDS_BETWEEN = 20.0  # records of a terminal
PATIENCE = 600.0
PERSONS = tuple(str(100_000 + number) for number in range(1_000))


def history_part(events: int, devices: int) -> dict[str, Any]:
	"""Events a second from the moment the readings are asked for until the last one is proven complete.

	The terminals are one process, the listener another; the ledger is the bench's database. Each terminal answers with
	30 rows a page and wants a login and a connection for each, as they do.
	"""
	terminals = common.Role(__file__, "terminals", devices, events // devices)
	with common.roles_end([terminals]), tempfile.TemporaryDirectory() as folder:
		names = register(terminals.read())
		before = terminals.cpu_seconds()
		figures = recover(Path(folder), names, events // devices * devices)
		return {**figures, "cpu_seconds_of_terminals": round(terminals.cpu_seconds() - before, 1)}


def register(ports: list[int]) -> list[str]:
	from tests.bench.factories import create_test_device

	login = {"host": "127.0.0.1", "user": "admin", "password": "Sim-12345", "time_zone": "UTC"}
	return [create_test_device(mode="Push", history=1, port=port, **login).name for port in ports]


def recover(folder: Path, devices: list[str], events: int) -> dict[str, Any]:
	import frappe

	from hikvision_frappe.ledger import history
	from tests.bench.processes import ListenerProcess, wait_until

	now = datetime.now(timezone.utc)
	since = now - timedelta(seconds=SECONDS_BETWEEN * events / len(devices) + 3_600)
	with ListenerProcess(folder, "--no-drain") as listener:
		wait_until(
			lambda: frappe.db.count("Hikvision Device", {"leased_by": ["is", "set"]}) == len(devices), 60
		)
		begin, used = time.perf_counter(), listener.cpu_seconds()
		for device in devices:
			history.ask(device, since, now, "Administrator")
		frappe.db.commit()
		wait_until(lambda: ended() == len(devices), PATIENCE, "the readings")
		seconds, used = time.perf_counter() - begin, listener.cpu_seconds() - used
		listener.stop()
	frappe.db.rollback()
	states = frappe.get_all("Hikvision History Fetch", pluck="state")
	return {
		"events_per_second": round(events / seconds),
		"events": events,
		"in_ledger": frappe.db.count("Access Event"),
		"complete_readings": states.count("Complete"),
		"devices": len(devices),
		"seconds": round(seconds, 1),
		"cpu_seconds_of_listener": round(used, 1),
	}


def ended() -> int:
	import frappe

	return frappe.db.count("Hikvision History Fetch", {"state": ["not in", ["Queued", "Running"]]})


async def serve_terminals(devices: int, each: int) -> None:
	from hikvision_frappe.simulator import PROFILES, SimulatedDevice

	common.many_files()
	terminals = [SimulatedDevice(PROFILES["k1t344"], zone="UTC") for _ in range(devices)]
	for terminal in terminals:
		await terminal.start()
		terminal.fill_backlog(each, PERSONS, SECONDS_BETWEEN)
	common.say([terminal.port for terminal in terminals])
	await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
	for terminal in terminals:
		await terminal.stop()


if __name__ == "__main__":
	assert sys.argv[1] == "terminals"
	asyncio.run(serve_terminals(int(sys.argv[2]), int(sys.argv[3])))
