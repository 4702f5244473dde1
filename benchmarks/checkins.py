"""From the ledger to Employee Checkins: our drain beside HRMS's own function and beside one REST call per punch.

	.venv/bin/python benchmarks/checkins.py [--rounds 5] [--punches 200]

The drain goes through HRMS's document, as it does with what comes live; in sets, as it does with a backlog, is told
beside it. All make the same check-ins of employees with the same shift, in turns, so that whatever else the machine does
hits each alike; a figure is the median of its rounds. HRMS's function is called in process with a commit each; REST
is one client against one web worker, as punch scripts do it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import on_bench  # noqa: E402

EMPLOYEES = 50
FIRST_CODE = 70_000
FIRST_PUNCH = datetime(2026, 3, 2, 7, tzinfo=timezone.utc)
HRMS_FUNCTION = "hrms.hr.doctype.employee_checkin.employee_checkin.add_log_based_on_employee_field"
PATIENCE = 60.0
NO_BACKLOG = 10**6


def main() -> None:
	parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
	parser.add_argument("--rounds", type=int, default=5)
	parser.add_argument("--punches", type=int, default=200, help="check-ins of each kind in a round")
	arguments = parser.parse_args()
	site = os.environ["HIKVISION_TEST_SITE"]
	print(json.dumps(measure(site, arguments.rounds, arguments.punches)))


def measure(site: str, rounds: int, punches: int) -> dict[str, Any]:
	"""Check-ins per second of each way, their ratios and SQL statements per check-in."""
	device = prepare_people()
	calendar = Calendar()
	with web_server(site) as connection:
		ways: dict[str, Callable[[list[tuple[str, datetime]]], float]] = {
			"drain": lambda made: drained(device, made, NO_BACKLOG),
			"sets": lambda made: drained(device, made, 1),
			"hrms_in_process": in_process,
			"rest": lambda made: over_rest(connection, made),
		}
		for way in ways.values():
			way(calendar.punches(EMPLOYEES))  # warm
		rates: dict[str, list[float]] = {name: [] for name in ways}
		for _round in range(rounds):
			for name, way in ways.items():
				rates[name].append(punches / way(calendar.punches(punches)))
	statements = {
		name: statements_of(ways[name], calendar.punches(EMPLOYEES))
		for name in ("drain", "sets", "hrms_in_process")
	}
	check_nothing_is_missing(calendar.given)
	return summary(rates, statements)


def prepare_people() -> str:
	"""Employees with a default shift of their own kind, and one entry; returns the device."""
	import frappe

	from tests.bench.factories import create_test_device, create_test_employee, create_test_shift

	shift = create_test_shift()
	for number in range(EMPLOYEES):
		create_test_employee(str(FIRST_CODE + number), default_shift=shift.name)
	key, secret = "hikvisionbenchm", "hikvisionsecret"
	user = frappe.get_doc("User", "Administrator")
	user.api_key, user.api_secret = key, secret
	user.save()
	frappe.db.commit()
	return create_test_device(doors=[{"direction": "In"}]).name


class Calendar:
	"""Punches that were never made before: everybody each five minutes, on and on."""

	def __init__(self) -> None:
		self.given = 0

	def punches(self, count: int) -> list[tuple[str, datetime]]:
		"""(person number, UTC instant) of the next punches."""
		numbers = range(self.given, self.given + count)
		self.given += count
		return [
			(
				str(FIRST_CODE + number % EMPLOYEES),
				FIRST_PUNCH + timedelta(minutes=5 * (number // EMPLOYEES), seconds=number % EMPLOYEES),
			)
			for number in numbers
		]


def drained(device: str, punches: list[tuple[str, datetime]], backlog: int) -> float:
	"""Seconds that the drain needs, in sets from ``backlog`` punches on; filling the ledger is not counted here (see ledger.py)."""
	import frappe

	from hikvision_frappe.attendance.drain import drain
	from hikvision_frappe.ledger.intake import deliver
	from tests.bench.factories import make_event

	first = frappe.db.count("Access Event") + 1
	deliver(
		[
			make_event(device, first + number, person=person, occurred_at=moment)
			for number, (person, moment) in enumerate(punches)
		]
	)
	begin = time.perf_counter()
	result = drain(limit=len(punches), backlog=backlog)
	seconds = time.perf_counter() - begin
	assert result.states == {"Check-in Made": len(punches)}, result
	return seconds


def in_process(punches: list[tuple[str, datetime]]) -> float:
	"""Seconds that HRMS's function needs, called in this process, with one commit per punch."""
	import frappe
	from hrms.hr.doctype.employee_checkin.employee_checkin import add_log_based_on_employee_field

	begin = time.perf_counter()
	for person, moment in punches:
		add_log_based_on_employee_field(person, site_text(moment), device_id="Door", log_type="IN")
		frappe.db.commit()
	return time.perf_counter() - begin


def over_rest(connection: http.client.HTTPConnection, punches: list[tuple[str, datetime]]) -> float:
	"""Seconds for one request per punch over one kept connection."""
	begin = time.perf_counter()
	for person, moment in punches:
		call(connection, person, site_text(moment))
	return time.perf_counter() - begin


def call(connection: http.client.HTTPConnection, person: str, timestamp: str) -> None:
	body = urlencode(
		{"employee_field_value": person, "timestamp": timestamp, "device_id": "Door", "log_type": "IN"}
	)
	headers = {
		"Host": os.environ["HIKVISION_TEST_SITE"],
		"Authorization": "token hikvisionbenchm:hikvisionsecret",
		"Content-Type": "application/x-www-form-urlencoded",
	}
	connection.request("POST", f"/api/method/{HRMS_FUNCTION}", body, headers)
	answer = connection.getresponse()
	text = answer.read()
	assert answer.status == 200, text[-500:]


def site_text(moment: datetime) -> str:
	import frappe

	from hikvision_frappe.core.clock import to_site_time

	return str(to_site_time(moment, frappe.utils.get_system_timezone()))


@contextmanager
def web_server(site: str) -> Iterator[http.client.HTTPConnection]:
	"""Frappe's own web application with one worker, and a connection to it."""
	from tests.bench.processes import free_port

	port = free_port()
	command = [
		sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1",
		"--timeout", "120", "--log-level", "error", "frappe.app:application",
	]  # fmt: skip
	server = subprocess.Popen(command, cwd=os.environ["HIKVISION_TEST_SITES"])
	try:
		connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
		wait_for(connection, site)
		yield connection
	finally:
		server.terminate()
		server.wait(20)


def wait_for(connection: http.client.HTTPConnection, site: str) -> None:
	deadline = time.monotonic() + PATIENCE
	while True:
		try:
			connection.request("GET", "/api/method/ping", headers={"Host": site})
			answer = connection.getresponse()
			answer.read()
			assert answer.status == 200, f"ping answered {answer.status}"
			return
		except (ConnectionError, http.client.HTTPException):
			connection.close()
			if time.monotonic() > deadline:
				raise
			time.sleep(0.1)


def statements_of(way: Callable[[list[tuple[str, datetime]]], float], punches: list[Any]) -> float:
	"""SQL statements per check-in, commits included; the ledger's intake is not counted."""
	import frappe

	sent = 0
	original, deliver_done = frappe.db.sql, [way is in_process]

	def counted(query: Any, *arguments: Any, **options: Any) -> Any:
		nonlocal sent
		sent += deliver_done[0]
		if "get_lock" in str(query):
			deliver_done[0] = True
		return original(query, *arguments, **options)

	frappe.db.sql = counted
	try:
		way(punches)
	finally:
		frappe.db.sql = original
	return round(sent / len(punches), 1)


def check_nothing_is_missing(punches: int) -> None:
	import frappe

	frappe.db.rollback()
	made = frappe.db.count("Employee Checkin")
	assert made == punches, f"{made} check-ins of {punches} punches"


def summary(rates: dict[str, list[float]], statements: dict[str, float]) -> dict[str, Any]:
	import frappe

	median = {name: statistics.median(values) for name, values in rates.items()}
	flush = frappe.db.sql("select @@innodb_flush_log_at_trx_commit")[0][0]
	return {
		"benchmark": "checkins",
		"drain_per_second": round(median["drain"], 1),
		"sets_per_second": round(median["sets"], 1),
		"hrms_in_process_per_second": round(median["hrms_in_process"], 1),
		"rest_per_second": round(median["rest"], 1),
		"share_of_hrms_in_process": round(median["drain"] / median["hrms_in_process"], 3),
		"times_rest": round(median["drain"] / median["rest"], 2),
		"statements_per_checkin": statements["drain"],
		"statements_per_checkin_in_sets": statements["sets"],
		"statements_per_checkin_hrms": statements["hrms_in_process"],
		"innodb_flush_log_at_trx_commit": flush,
		"targets": {"share_of_hrms_in_process": 0.8, "times_rest": 2.0},
	}


if __name__ == "__main__":
	on_bench.main(main)
