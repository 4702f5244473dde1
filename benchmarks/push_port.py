"""The listener's push port: posts per second, each answered after its fsync, and how long an answer takes.

.venv/bin/python benchmarks/push_port.py [--seconds 10] [--connections 16] [--devices 200]

Three processes: the production listener (push port, spool, a ledger on SQLite that is filled meanwhile), a client with
keep-alive connections that post one notification after the other, and this one.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from common import Role, finish, many_files, roles_end, say

SECRET = "benchmark-secret"
WARM_UP_SECONDS = 1.0


def main() -> None:
	parser = argparse.ArgumentParser()
	parser.add_argument("--seconds", type=float, default=10.0)
	parser.add_argument("--connections", type=int, default=16)
	parser.add_argument("--devices", type=int, default=200, help="each may push 50/s on average")
	options = parser.parse_args()
	with tempfile.TemporaryDirectory() as folder:
		listener = Role(__file__, "listener", folder, options.devices)
		with roles_end([listener]):
			port = listener.read()
			client = Role(__file__, "client", port, options.devices, options.connections, options.seconds)
			with roles_end([client]):
				client.read()
				cost = listener.cost_of(max(options.seconds - 1.0, 0.5))
				told = client.read()
			listener.tell("stop")
			stored = listener.read()
	finish(
		pushes_per_second=told["answered"] / told["seconds"],
		p50_ms=told["p50_ms"],
		p99_ms=told["p99_ms"],
		answered=told["answered"],
		refused=told["refused"],
		stored=stored["stored"],
		lost=told["acknowledged_in_all"] - stored["stored"],
		connections=options.connections,
		cpu_percent=cost.cpu_percent,
		rss_mb=cost.rss_mb,
	)


async def run_listener(folder: Path, number: int) -> None:
	from hikvision_frappe.isapi.address import DeviceAddress
	from hikvision_frappe.listener.local_site import LocalSite
	from hikvision_frappe.listener.site import DeviceConfig, IngestMode
	from hikvision_frappe.listener.supervisor import ANY_PORT, NO_PORT, Listener, ListenerSettings

	secret_hash = hashlib.sha256(SECRET.encode()).hexdigest()
	devices = [
		DeviceConfig(
			f"D{index}",
			f"Terminal {index}",
			"1",
			IngestMode.PUSH,
			DeviceAddress("127.0.0.1", 80, "admin", "unused"),
			push_key=f"K{index}",
			push_secret_hash=secret_hash,
		)
		for index in range(number)
	]
	site = LocalSite(folder / "ledger.sqlite3", devices)
	settings = ListenerSettings(
		folder / "spool.sqlite3", push_host="127.0.0.1", push_port=ANY_PORT, status_port=NO_PORT
	)
	listener = Listener(site, settings)
	stop = asyncio.Event()
	running = asyncio.create_task(listener.run(stop))
	while not listener.tracks:
		await asyncio.sleep(0.05)
	assert listener.parts is not None
	say(listener.parts.push.port)
	await asyncio.to_thread(sys.stdin.readline)
	while listener.parts.spool.depth:
		await asyncio.sleep(0.05)
	say({"stored": len(site.rows())})
	stop.set()
	await running


async def run_client(port: int, devices: int, connections: int, seconds: float) -> None:
	client = Client(port, itertools.cycle(range(devices)))
	tasks = [asyncio.create_task(client.post_for_ever()) for _ in range(connections)]
	await asyncio.sleep(WARM_UP_SECONDS)
	client.waits.clear()
	say("warm")
	began = time.perf_counter()
	await asyncio.sleep(seconds)
	elapsed, waits = time.perf_counter() - began, sorted(client.waits)
	client.stop = True
	await asyncio.gather(*tasks)
	say(
		{
			"answered": len(waits),
			"seconds": elapsed,
			"p50_ms": waits[len(waits) // 2] * 1e3,
			"p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
			"refused": client.refused,
			"acknowledged_in_all": client.acknowledged,
		}
	)


class Client:
	"""Posts as terminals do, over keep-alive connections, with as little work of its own as possible."""

	def __init__(self, port: int, devices: itertools.cycle) -> None:
		self._port = port
		self._devices = devices
		self._serials = itertools.count(1)
		self.waits: list[float] = []
		self.acknowledged = 0
		self.refused = 0
		self.stop = False

	async def post_for_ever(self) -> None:
		reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
		while not self.stop:
			began = time.perf_counter()
			writer.write(self._request())
			status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
			if status != 200:
				self.refused += 1
				reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
				continue
			await reader.readuntil(b"}")
			self.waits.append(time.perf_counter() - began)
			self.acknowledged += 1
		writer.close()

	def _request(self) -> bytes:
		serial = next(self._serials)
		moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
		event = {
			"deviceName": "Gate",
			"majorEventType": 5,
			"subEventType": 75,
			"cardReaderKind": 1,
			"cardReaderNo": 1,
			"doorNo": 1,
			"verifyNo": 136,
			"employeeNoString": f"{serial % 5000:05d}",
			"serialNo": serial,
			"userType": "normal",
			"currentVerifyMode": "faceOrFpOrCardOrPw",
			"currentEvent": True,
			"frontSerialNo": serial - 1,
			"attendanceStatus": "undefined",
			"label": "",
			"statusValue": 0,
			"mask": "no",
			"picturesNumber": 0,
			"purePwdVerifyEnable": True,
		}
		body = json.dumps(
			{
				"ipAddress": "192.0.2.7",
				"portNo": 80,
				"protocol": "HTTP",
				"macAddress": "00:00:5e:00:53:07",
				"channelID": 1,
				"dateTime": moment,
				"activePostCount": 1,
				"eventType": "AccessControllerEvent",
				"eventState": "active",
				"eventDescription": "Access Controller Event",
				"AccessControllerEvent": event,
			},
			indent="\t",
		).encode()
		head = (
			f"POST /hikvision/event/K{next(self._devices)}.{SECRET} HTTP/1.1\r\nHost: listener\r\n"
			f'Content-Type: application/json; charset="UTF-8"\r\nContent-Length: {len(body)}\r\n\r\n'
		)
		return head.encode() + body


if __name__ == "__main__":
	many_files()
	match sys.argv[1:]:
		case ["listener", folder, number]:
			asyncio.run(run_listener(Path(folder), int(number)))
		case ["client", port, devices, connections, seconds]:
			asyncio.run(run_client(int(port), int(devices), int(connections), float(seconds)))
		case _:
			main()
