"""Notifications a second through the site's push route, beside Frappe's own ping on the same server.

Each push is authenticated, parsed, inserted and committed before its answer. Four clients with keep-alive; ping and
push take turns on the same connections, so that whatever else the machine does, and however the connections are
spread over the workers, falls on both. Every round connects anew.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import statistics
import sys
import time
from datetime import datetime, timedelta, timezone

import on_bench

CLIENTS = 4
ROUNDS = 15
SECONDS = 1.0
WARM_UP = 1.5


def notification(serial_no: int) -> bytes:
	moment = datetime(2026, 3, 2, 6, tzinfo=timezone.utc) + timedelta(seconds=serial_no)
	return json.dumps(
		{
			"ipAddress": "192.0.2.60",
			"portNo": 8090,
			"protocol": "HTTP",
			"macAddress": "00:00:5e:00:53:01",
			"channelID": 1,
			"dateTime": moment.isoformat(),
			"activePostCount": 1,
			"eventType": "AccessControllerEvent",
			"eventState": "active",
			"eventDescription": "Access Controller Event",
			"AccessControllerEvent": {
				"deviceName": "Access Controller",
				"majorEventType": 5,
				"subEventType": 75,
				"name": "Ana Berg",
				"cardReaderNo": 1,
				"doorNo": 1,
				"employeeNoString": str(1000 + serial_no % 900),
				"serialNo": serial_no,
				"userType": "normal",
				"currentVerifyMode": "cardOrFaceOrFp",
				"currentEvent": True,
				"attendanceStatus": "checkIn",
			},
		}
	).encode()


class Client:
	"""Sends as fast as answers come; runs in a process of its own, as devices do."""

	def __init__(self, number: int, port: int, site: str, path: str) -> None:
		self.number = number
		self.port = port
		self.site = site
		self.path = path
		self.serial_no = number
		self.connection: http.client.HTTPConnection | None = None

	def run(self, what: str, seconds: float, anew: bool) -> tuple[int, list[float]]:
		if anew and self.connection:
			self.connection.close()
		if anew or self.connection is None:
			self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
		connection = self.connection
		answered, latencies = 0, []
		end = time.perf_counter() + seconds
		while (began := time.perf_counter()) < end:
			if what == "ping":
				connection.request("GET", "/api/method/ping", headers={"Host": self.site})
			else:
				self.serial_no += 1  # as a device counts: a number passed over would be a gap each time
				headers = {"Host": self.site, "Content-Type": "application/json"}
				connection.request("POST", self.path, notification(self.serial_no), headers)
			response = connection.getresponse()
			response.read()
			assert response.status == 200, (what, response.status)
			answered += 1
			latencies.append(time.perf_counter() - began)
		return answered, latencies


def client_process(client: Client, orders: multiprocessing.Queue, answers: multiprocessing.Queue) -> None:
	while (order := orders.get()) is not None:
		answers.put(client.run(*order))


def main() -> None:
	import frappe

	from tests.bench.factories import create_test_device
	from tests.bench.web import WebServer

	frappe.db.set_single_value("Hikvision Settings", "push_rate_limit", 100_000)  # counted, never reached
	devices = [create_test_device(mode="Push", host="", user="", password="") for _ in range(CLIENTS)]
	frappe.db.commit()
	by_method = "--method" in sys.argv
	paths = []
	for device in devices:
		token = f"{device.push_key}.{device.get_password('push_secret')}"
		paths.append(
			f"/api/method/hikvision_frappe.api.push.event?token={token}"
			if by_method
			else f"/hikvision/event/{token}"
		)
	with WebServer() as server:
		rates, latencies, pushed = measure(server.port, server.site, paths)
	frappe.db.rollback()
	assert frappe.db.count("Access Event") == pushed, "an acknowledged push is missing"
	report(rates, latencies, pushed, by_method)


def measure(
	port: int, site: str, paths: list[str]
) -> tuple[dict[str, list[float]], dict[str, list[float]], int]:
	answers: multiprocessing.Queue = multiprocessing.Queue()
	orders: list[multiprocessing.Queue] = [multiprocessing.Queue() for _ in paths]
	clients = [Client(number, port, site, path) for number, path in enumerate(paths)]
	processes = [
		multiprocessing.Process(target=client_process, args=(client, order, answers), daemon=True)
		for client, order in zip(clients, orders, strict=True)
	]
	for process in processes:
		process.start()

	def turn(what: str, seconds: float) -> tuple[int, list[float]]:
		for order in orders:
			order.put((what, seconds, what == "ping"))
		results = [answers.get(timeout=120) for _ in orders]
		return sum(count for count, _ in results), [each for _, times in results for each in times]

	turn("ping", WARM_UP)
	pushed = turn("push", WARM_UP)[0]
	rates: dict[str, list[float]] = {"ping": [], "push": []}
	latencies: dict[str, list[float]] = {"ping": [], "push": []}
	for _ in range(ROUNDS):
		for what in ("ping", "push"):
			count, times = turn(what, SECONDS)
			rates[what].append(count / SECONDS)
			latencies[what] += times
			pushed += count if what == "push" else 0
	for order in orders:
		order.put(None)
	for process in processes:
		process.join(10)
	return rates, latencies, pushed


def report(
	rates: dict[str, list[float]], latencies: dict[str, list[float]], pushed: int, by_method: bool
) -> None:
	import frappe

	push, ping = statistics.mean(rates["push"]), statistics.mean(rates["ping"])
	flush = int(frappe.db.sql("select @@innodb_flush_log_at_trx_commit")[0][0])
	print(f"push {push:.0f}/s, ping {ping:.0f}/s, innodb_flush_log_at_trx_commit = {flush}")
	result = {
		"benchmark": "push",
		"door": "method" if by_method else "route",
		"pushes_per_second": round(push),
		"pings_per_second": round(ping),
		"share_of_ping": round(push / ping, 3),
		"at_least": 0.8,
		"push_p50_ms": round(statistics.median(latencies["push"]) * 1000, 1),
		"push_p99_ms": round(sorted(latencies["push"])[int(len(latencies["push"]) * 0.99)] * 1000, 1),
		"clients": CLIENTS,
		"stored": pushed,
		"innodb_flush_log_at_trx_commit": flush,
	}
	print(json.dumps(result))


if __name__ == "__main__":
	on_bench.main(main)
