"""A listener that holds 50 streams is killed (-9): until the second one holds all of them, and what was lost.

	.venv/bin/python benchmarks/failover.py [--devices 50] [--events 10] [--lease 45]

Both listeners are processes on one local ledger; the second stands by. The terminals replay nothing, so that what they
write down while nobody listens is in the ledger only when their histories were read. Without Frappe; the last line is
one JSON object. ``taken_over_s`` is the time from the kill until every terminal has a stream again, ``complete_s``
until the ledger has every record.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import finish, many_files, say  # noqa: E402
from hikvision_frappe.isapi.address import DeviceAddress  # noqa: E402
from hikvision_frappe.listener.local_site import LocalSite  # noqa: E402
from hikvision_frappe.listener.site import DeviceConfig, IngestMode  # noqa: E402
from hikvision_frappe.listener.supervisor import (  # noqa: E402
	NO_PORT,
	Listener,
	ListenerSettings,
)
from hikvision_frappe.simulator import PROFILES, SimulatedDevice  # noqa: E402

MOST_SECONDS = 180.0


def main() -> None:
	parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
	parser.add_argument("--devices", type=int, default=50)
	parser.add_argument(
		"--events", type=int, default=10, help="of each device: before the kill, and after it"
	)
	parser.add_argument("--lease", type=float, default=45.0, help="seconds, as listeners have by default")
	arguments = parser.parse_args()
	many_files()
	asyncio.run(measure(arguments.devices, arguments.events, arguments.lease))


async def measure(count: int, events: int, lease: float) -> None:
	profile = replace(PROFILES["k1t344"], stream=replace(PROFILES["k1t344"].stream, replay=0))
	devices = [SimulatedDevice(profile) for _ in range(count)]
	with tempfile.TemporaryDirectory() as folder:
		async with contextlib.AsyncExitStack() as stack:
			for device in devices:
				await stack.enter_async_context(device)
			ledger = LocalSite(Path(folder) / "ledger.sqlite3")
			stack.callback(ledger.close)
			ports = ",".join(str(device.port) for device in devices)
			first = await start(Path(folder), "first", lease, ports)
			stack.push_async_callback(end, first)
			await until(lambda: open_streams(devices) == count)
			second = await start(Path(folder), "second", lease, ports)
			stack.push_async_callback(end, second)
			await make_passes(devices, events)
			await until(lambda: stored(ledger) == count * events)
			first.send_signal(signal.SIGKILL)
			await first.wait()
			killed = time.monotonic()
			await until(lambda: open_streams(devices) == 0)
			await make_passes(devices, events)
			await until(lambda: open_streams(devices) == count)
			taken_over = time.monotonic() - killed
			await make_passes(devices, 1)
			total = sum(len(device.log) for device in devices)
			await until(lambda: stored(ledger) >= total)
			complete = time.monotonic() - killed
			rows = ledger.rows()
			doubled = len(rows) - len({(row.device, row.serial_no) for row in rows})
			finish(
				benchmark="failover",
				devices=count,
				lease_s=lease,
				taken_over_s=taken_over,
				complete_s=complete,
				sent=total,
				stored=len(rows),
				lost=total - len(rows) + doubled,
				duplicates=doubled,
			)


async def make_passes(devices: list[SimulatedDevice], number: int) -> None:
	for index in range(number):
		for device in devices:
			device.make_pass(f"{index:04d}")
		await asyncio.sleep(0.02)


def open_streams(devices: list[SimulatedDevice]) -> int:
	return sum(device.open_streams for device in devices)


def stored(ledger: LocalSite) -> int:
	return len(ledger.rows())


async def until(condition: Callable[[], bool]) -> None:
	deadline = time.monotonic() + MOST_SECONDS
	while not condition():
		if time.monotonic() > deadline:
			raise SystemExit("not within three minutes")
		await asyncio.sleep(0.05)


async def start(folder: Path, name: str, lease: float, ports: str) -> asyncio.subprocess.Process:
	"""A listener in a process of its own, at work."""
	process = await asyncio.create_subprocess_exec(
		sys.executable, __file__, "listen", str(folder), name, str(lease), ports,
		stdout=asyncio.subprocess.PIPE,
		stderr=asyncio.subprocess.DEVNULL,
		env={**os.environ, "PYTHONPATH": str(ROOT)},
	)  # fmt: skip
	assert process.stdout is not None
	await process.stdout.readline()
	return process


async def end(process: asyncio.subprocess.Process) -> None:
	if process.returncode is None:
		process.terminate()
		await process.wait()


async def listen(folder: Path, name: str, lease: float, ports: list[int]) -> None:
	"""The other processes of the benchmark: a listener as it is by default, but for its ports."""
	stop = asyncio.Event()
	asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
	site = LocalSite(folder / "ledger.sqlite3", [config(number, port) for number, port in enumerate(ports)])
	settings = ListenerSettings(
		folder / f"{name}.sqlite3", push_port=NO_PORT, status_port=NO_PORT, name=name, lease_seconds=lease
	)
	listener = Listener(site, settings)
	running = asyncio.create_task(listener.run(stop))
	await listener.ready.wait()
	say({"ready": name})
	await running


def config(number: int, port: int) -> DeviceConfig:
	address = DeviceAddress(host="127.0.0.1", port=port, user="admin", password="Sim-12345", zone="UTC")
	return DeviceConfig(
		key=f"gate{number:03d}",
		title=f"Gate {number}",
		revision="1",
		mode=IngestMode.STREAM,
		address=address,
		history=True,
	)


if __name__ == "__main__":
	if len(sys.argv) > 1 and sys.argv[1] == "listen":
		_, _, folder_, name_, lease_, ports_ = sys.argv
		asyncio.run(listen(Path(folder_), name_, float(lease_), [int(port) for port in ports_.split(",")]))
	else:
		main()
