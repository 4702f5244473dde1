"""1,000 alert streams in one listener, and the same with a thread per device: connecting, memory, CPU.

.venv/bin/python benchmarks/streams.py [--devices 1000] [--rate 200] [--seconds 20] [--no-peer]

Three processes: simulated terminals, the production listener (streams, parsing, spool with fsync, delivery to a site
that counts; what a ledger costs is measured by ``ledger.py``), and this one, which measures. The peer is what
integrations of the field do: one thread per device that reads the stream with requests and counts what it parsed; it
stores nothing, so it does less. CPU is of the steady phase, in percent of one core; connecting is printed apart
(``connect_cpu_seconds``), as it is mostly digest handshakes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from common import Cost, Role, finish, many_files, roles_end, say

PASSWORD = "Bench-12345"
CONNECT_LIMIT_SECONDS = 30.0
SETTLE_SECONDS = 2.0


def main() -> None:
	parser = argparse.ArgumentParser()
	parser.add_argument("--devices", type=int, default=1000)
	parser.add_argument("--rate", type=float, default=200.0, help="events per second, all devices together")
	parser.add_argument("--seconds", type=float, default=15.0, help="of the steady phase")
	parser.add_argument("--no-peer", action="store_true")
	options = parser.parse_args()
	many_files()
	devices = Role(__file__, "devices", options.devices, options.rate)
	with tempfile.TemporaryDirectory() as folder, roles_end([devices]):
		ports = Path(folder) / "ports.json"
		ports.write_text(json.dumps(devices.read()))
		ours = run_against(Role(__file__, "listener", ports, folder), devices, options)
		peer = None if options.no_peer else run_against(Role(__file__, "peer", ports), devices, options)
	report(ours, peer, options)


def run_against(role: Role, devices: Role, options: argparse.Namespace) -> dict:
	"""Wait until the process has connected, let people pass, measure it, stop it."""
	with roles_end([role]):
		connected = role.read()
		connect_cpu = role.cpu_seconds()
		devices.tell("go")
		time.sleep(SETTLE_SECONDS)
		cost: Cost = role.cost_of(options.seconds)
		devices.tell("stop")
		made = devices.read()
		time.sleep(SETTLE_SECONDS)
		role.tell("stop")
		received = role.read()
	return {**connected, **received, **made, "connect_cpu": connect_cpu, "cost": cost}


def report(ours: dict, peer: dict | None, options: argparse.Namespace) -> None:
	figures = {
		"devices": options.devices,
		"connected": ours["connected"],
		"seconds_to_connect": float(ours["seconds"]),
		"connect_cpu_seconds": ours["connect_cpu"],
		"events_per_second": ours["made"] / (options.seconds + SETTLE_SECONDS),
		"made": ours["made"],
		"delivered": ours["received"],
		"rss_mb": ours["cost"].rss_mb,
		"cpu_percent": ours["cost"].cpu_percent,
	}
	if peer:
		figures |= {
			"peer_connected": peer["connected"],
			"peer_seconds_to_connect": float(peer["seconds"]),
			"peer_received": peer["received"],
			"peer_rss_mb": peer["cost"].rss_mb,
			"peer_cpu_percent": peer["cost"].cpu_percent,
			"rss_ratio": ours["cost"].rss_mb / peer["cost"].rss_mb,
			"cpu_ratio": ours["cost"].cpu_percent / max(peer["cost"].cpu_percent, 0.01),
		}
	finish(**figures)


# The terminals.


async def run_devices(number: int, rate: float) -> None:
	from dataclasses import replace

	from hikvision_frappe.simulator.device import SimulatedDevice
	from hikvision_frappe.simulator.fleet import Arrivals, Fleet
	from hikvision_frappe.simulator.profile import PROFILES

	profile = PROFILES["k1t344"]
	profile = replace(profile, stream=replace(profile.stream, replay=0))  # the same work for both readers
	fleet = Fleet(
		[SimulatedDevice(profile, password=PASSWORD) for _ in range(number)],
		[f"{person:05d}" for person in range(5_000)],
		rate,
		Arrivals.STEADY,
	)
	async with fleet:
		say([device.port for device in fleet.devices])
		made = 0
		while (word := await asyncio.to_thread(sys.stdin.readline)) != "":
			if word == "go\n":
				fleet.resume()
			else:
				await fleet.pause()
				total = sum(len(device.log) for device in fleet.devices)
				say({"made": total - made})
				made = total


# The listener.


async def run_listener(ports: Path, folder: Path) -> None:
	from hikvision_frappe.core.event import AccessEvent
	from hikvision_frappe.isapi.address import DeviceAddress
	from hikvision_frappe.listener.local_site import LocalSite
	from hikvision_frappe.listener.site import (
		ConnectionState,
		Delivery,
		DeviceConfig,
		IngestMode,
		ListenerReport,
	)
	from hikvision_frappe.listener.supervisor import NO_PORT, Listener, ListenerSettings

	devices = [
		DeviceConfig(
			f"D{port}",
			f"Terminal {port}",
			"1",
			IngestMode.STREAM,
			DeviceAddress("127.0.0.1", port, "admin", PASSWORD, zone="America/Bogota"),
		)
		for port in json.loads(ports.read_text())
	]

	class CountingSite(LocalSite):
		"""Devices and leases as ever; a delivery is counted, each event once, and so are states."""

		def __init__(self) -> None:
			super().__init__(":memory:", devices)
			self.taken: set[tuple[str, int | None]] = set()
			self.reported = 0

		def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
			before = len(self.taken)
			self.taken.update((event.device, event.serial_no) for event in events)
			new = len(self.taken) - before
			return Delivery(new=new, known=len(events) - new)

		def report(self, report: ListenerReport) -> None:
			self.reported += len(report.devices)

	site = CountingSite()
	settings = ListenerSettings(folder / "spool.sqlite3", push_port=NO_PORT, status_port=NO_PORT)
	listener = Listener(site, settings)
	stop = asyncio.Event()
	began = time.monotonic()
	running = asyncio.create_task(listener.run(stop))

	def connected() -> int:
		return sum(track.state is ConnectionState.CONNECTED for track in listener.tracks.values())

	while connected() < len(devices) and time.monotonic() - began < CONNECT_LIMIT_SECONDS:
		await asyncio.sleep(0.1)
	say({"connected": connected(), "seconds": time.monotonic() - began})
	await asyncio.to_thread(sys.stdin.readline)
	say({"received": len(site.taken)})
	stop.set()
	await running


# The peer: a thread per device.


def run_peer(ports: Path) -> None:
	numbers = json.loads(ports.read_text())
	peer = Peer(len(numbers))
	began = time.monotonic()
	threading.stack_size(256 * 1024)
	for port in numbers:
		threading.Thread(target=peer.read_stream, args=(port,), daemon=True).start()
	while peer.connected < len(numbers) and time.monotonic() - began < CONNECT_LIMIT_SECONDS:
		time.sleep(0.1)
	say({"connected": peer.connected, "seconds": time.monotonic() - began})
	sys.stdin.readline()
	say({"received": peer.received})


class Peer:
	"""Counts what its threads read."""

	def __init__(self, number: int) -> None:
		self._lock = threading.Lock()
		self.connected = 0
		self.received = 0

	def read_stream(self, port: int) -> None:
		import requests
		from requests.auth import HTTPDigestAuth

		url = f"http://127.0.0.1:{port}/ISAPI/Event/notification/alertStream"
		login = HTTPDigestAuth("admin", PASSWORD)
		headers = {"Connection": "close"}
		with requests.get(url, auth=login, headers=headers, stream=True, timeout=(10, 120)) as response:
			response.raise_for_status()
			with self._lock:
				self.connected += 1
			held = b""
			while chunk := response.raw.read1(65536):  # iter_content would wait for a full chunk
				*parts, held = (held + chunk).split(b"--MIME_boundary")
				for part in parts:
					self._parse(part)

	def _parse(self, part: bytes) -> None:
		_, _, body = part.partition(b"\r\n\r\n")
		if body.strip() and "AccessControllerEvent" in json.loads(body):
			with self._lock:
				self.received += 1


if __name__ == "__main__":
	many_files()
	match sys.argv[1:]:
		case ["devices", number, rate]:
			asyncio.run(run_devices(int(number), float(rate)))
		case ["listener", ports, folder]:
			asyncio.run(run_listener(Path(ports), Path(folder)))
		case ["peer", ports]:
			run_peer(Path(ports))
		case _:
			main()
