"""The whole way on a real site: simulated terminal → listener process → ledger → drain process → check-in."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import frappe
import psutil
import pytest

from hikvision_frappe.ledger import listen
from hikvision_frappe.ledger.devices import push_url
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.factories import create_test_employee
from tests.bench.processes import ListenerProcess, Outage, Terminals, register_terminal, wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def terminals() -> Iterator[Terminals]:
	devices = SimulatedDevice(PROFILES["k1t344"]), SimulatedDevice(PROFILES["k1t323-push"])
	with Terminals(*devices) as running:
		yield running


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerProcess]:
	with ListenerProcess(tmp_path) as process:
		yield process


def checkins(**filters: Any) -> list[Any]:
	return frappe.get_all(
		"Employee Checkin", filters=filters, fields=["name", "employee", "time", "log_type", "access_event"]
	)


def passes_of(terminal: SimulatedDevice) -> int:
	return sum(record.person != "" for record in terminal.log)


def assert_all_counted(terminal: SimulatedDevice, device: Any) -> None:
	"""Ledger = what the terminal made, check-ins = its passes, nothing twice."""
	wait_until(
		lambda: frappe.db.count("Access Event", {"device": device.name}) >= len(terminal.log),
		60,
		"the ledger",
	)
	wait_until(lambda: frappe.db.count("Access Event", {"state": "New"}) == 0, 60, "the drain")
	assert frappe.db.count("Access Event", {"device": device.name}) == len(terminal.log)
	events = [row.access_event for row in checkins()]
	assert len(events) == len(set(events)) == passes_of(terminal)


def connection_state(device: Any) -> str:
	return frappe.db.get_value("Hikvision Device", device.name, "connection_state")


def crowd(size: int) -> Iterator[str]:
	"""Numbers of new employees, each to pass once: HRMS knows one check-in per person and second."""
	numbers = [str(2000 + number) for number in range(size)]
	for number in numbers:
		create_test_employee(number)
	return iter(numbers)


def make_passes(terminals: Terminals, terminal: SimulatedDevice, people: Iterator[str], count: int) -> None:
	for person in itertools.islice(people, count):
		terminals.call(terminal.make_pass, person)


def test_a_pass_on_a_stream_becomes_one_checkin(terminals: Terminals, listener: ListenerProcess) -> None:
	terminal = terminals.devices[0]
	employee = create_test_employee("1001")
	device = register_terminal(terminal)
	wait_until(lambda: connection_state(device) == "Connected", what="the stream")

	terminals.call(terminal.make_pass, "1001", with_door_events=True)

	(checkin,) = wait_until(checkins, 10, "the check-in")
	assert (checkin.employee, checkin.log_type) == (employee, "IN")
	assert frappe.db.get_value("Access Event", checkin.access_event, "employee_checkin") == checkin.name
	assert frappe.db.get_value("Hikvision Device", device.name, "serial_number") == terminal.serial_number
	assert_all_counted(terminal, device)


def test_a_pass_pushed_to_the_listeners_port_becomes_one_checkin(
	terminals: Terminals, listener: ListenerProcess
) -> None:
	terminal = terminals.devices[1]
	create_test_employee("1002")
	device = register_terminal(terminal, mode="Push")
	url = push_url(
		f"http://127.0.0.1:{listener.push_port}", device.push_key, device.get_password("push_secret")
	)
	wait_until(lambda: frappe.cache.hgetall("hikvision_listeners"), 30, "the listener")

	terminals.call(terminal.push_to, url)
	terminals.call(terminal.make_pass, "1002")

	wait_until(lambda: len(checkins()) == 1, 30, "the check-in")
	assert_all_counted(terminal, device)
	assert device.get_password("push_secret") not in listener.log_text()


def test_a_power_cut_of_the_listener_loses_nothing_and_doubles_nothing(
	terminals: Terminals, tmp_path: Path
) -> None:
	terminal = terminals.devices[0]
	people = crowd(120)
	device = register_terminal(terminal)
	listener = ListenerProcess(tmp_path, "--lease-seconds=2")
	for round_number in range(3):
		with listener:
			wait_until(lambda: connection_state(device) == "Connected", 60, "the stream")
			make_passes(terminals, terminal, people, 40)
			wait_until(
				lambda made=round_number * 40: frappe.db.count("Access Event") > made + 5, 30, "some events"
			)
			listener.kill()
			frappe.db.set_value(
				"Hikvision Device", device.name, "connection_state", "", update_modified=False
			)
			frappe.db.commit()
	with listener:
		assert_all_counted(terminal, device)


def test_sigterm_ends_listener_and_drain_and_gives_the_devices_back(
	terminals: Terminals, listener: ListenerProcess
) -> None:
	device = register_terminal(terminals.devices[0])
	wait_until(lambda: connection_state(device) == "Connected", what="the stream")

	assert listener.stop() == 0

	frappe.db.rollback()
	assert not frappe.db.get_value("Hikvision Device", device.name, "leased_by")
	assert terminals.devices[0].open_streams == 0


def test_a_listener_that_is_killed_leaves_no_drain_behind(
	terminals: Terminals, listener: ListenerProcess
) -> None:
	device = register_terminal(terminals.devices[0])
	wait_until(lambda: connection_state(device) == "Connected", what="the stream")
	wait_until(lambda: "draining" in listener.log_text(), what="the drain")

	(drain,) = listener.kill_alone()

	wait_until(lambda: not psutil.pid_exists(drain), 20, "the end of the drain")


def test_a_wrong_password_stops_at_once_and_saving_the_right_one_goes_on(
	terminals: Terminals, listener: ListenerProcess
) -> None:
	terminal = terminals.devices[0]
	device = register_terminal(terminal, password="not-the-password")
	wait_until(lambda: connection_state(device) == "Stopped", what="the refusal")
	assert len(terminal.login_failures) == 1
	assert frappe.db.get_value("Hikvision Device", device.name, "last_error")

	device.reload()
	device.password = terminal.password
	device.save()
	frappe.db.commit()

	wait_until(lambda: connection_state(device) == "Connected", what="the stream")


def test_a_second_listener_waits_and_takes_over(terminals: Terminals, tmp_path: Path) -> None:
	terminal = terminals.devices[0]
	create_test_employee("1001")
	device = register_terminal(terminal)
	with ListenerProcess(tmp_path, "--lease-seconds=6") as first:
		wait_until(lambda: connection_state(device) == "Connected", what="the stream")
		with ListenerProcess(tmp_path, "--lease-seconds=6") as second:
			wait_until(
				lambda: len(frappe.cache.hgetall("hikvision_listeners")) >= 2, 30, "the second listener"
			)
			assert terminal.open_streams == 1
			first.kill()
			terminals.call(terminal.make_pass, "1001")
			wait_until(lambda: len(checkins()) == 1, 60, "the pass through the second listener")
			assert_all_counted(terminal, device)
			assert second.stop() == 0


def test_a_site_in_maintenance_is_waited_for(terminals: Terminals, listener: ListenerProcess) -> None:
	terminal = terminals.devices[0]
	people = crowd(5)
	device = register_terminal(terminal)
	wait_until(lambda: connection_state(device) == "Connected", what="the stream")

	with site_config(maintenance_mode=1):
		make_passes(terminals, terminal, people, 5)
		wait_until(lambda: listener.status()["spool"]["depth"] >= 5, 30, "the spool")
		assert frappe.db.count("Access Event", {"kind": "pass"}) == 0

	wait_until(lambda: frappe.db.count("Access Event") == len(terminal.log), 60, "the ledger")


def test_a_database_that_goes_away_is_waited_for(terminals: Terminals, tmp_path: Path) -> None:
	terminal = terminals.devices[0]
	people = crowd(40)
	device = register_terminal(terminal)
	with Outage(frappe.conf.db_host, int(frappe.conf.db_port)) as outage:
		database = {"FRAPPE_DB_HOST": "127.0.0.1", "FRAPPE_DB_PORT": str(outage.port)}
		with ListenerProcess(tmp_path, environment=database) as listener:
			wait_until(lambda: connection_state(device) == "Connected", what="the stream")
			for _ in range(2):
				outage.begin()
				make_passes(terminals, terminal, people, 10)
				wait_until(lambda: listener.status()["spool"]["depth"] > 0, 30, "the spool")
				outage.end()
				make_passes(terminals, terminal, people, 10)
			assert_all_counted(terminal, device)


def test_redis_that_goes_away_costs_no_event(terminals: Terminals, tmp_path: Path) -> None:
	terminal = terminals.devices[0]
	people = crowd(20)
	device = register_terminal(terminal)
	cache, queue = urlsplit(frappe.conf.redis_cache), urlsplit(frappe.conf.redis_queue)
	with Outage(cache.hostname, cache.port) as no_cache, Outage(queue.hostname, queue.port) as no_queue:
		redis = {
			"FRAPPE_REDIS_CACHE": f"redis://127.0.0.1:{no_cache.port}",
			"FRAPPE_REDIS_QUEUE": f"redis://127.0.0.1:{no_queue.port}",
		}
		with ListenerProcess(tmp_path, environment=redis):
			wait_until(lambda: connection_state(device) == "Connected", what="the stream")
			no_cache.begin()
			no_queue.begin()
			make_passes(terminals, terminal, people, 10)
			wait_until(
				lambda: frappe.db.count("Access Event") == len(terminal.log), 60, "the ledger without Redis"
			)
			no_cache.end()
			no_queue.end()
			make_passes(terminals, terminal, people, 10)
			assert_all_counted(terminal, device)


class site_config:
	"""Values in the site's configuration file for the length of a block."""

	def __init__(self, **values: Any) -> None:
		self.values = values
		self.path = Path(frappe.get_site_path("site_config.json"))

	def __enter__(self) -> None:
		self.before = self.path.read_text()
		self.path.write_text(json.dumps({**json.loads(self.before), **self.values}))

	def __exit__(self, *_: object) -> None:
		self.path.write_text(self.before)


def test_a_drain_that_cannot_be_started_is_tried_again_and_ends_nothing(
	tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
	monkeypatch.setattr(listen, "RESTART_SECONDS", (0.05, 0.05))
	program, lived = tmp_path / "drain", tmp_path / "lived"

	async def scene() -> None:
		stop = asyncio.Event()
		keeping = asyncio.create_task(listen.keep_running([str(program)], stop))
		await asyncio.sleep(0.2)
		program.write_text(f"#!/bin/sh\ntouch {lived}\nexec sleep 60\n")
		program.chmod(0o755)
		for _ in range(200):
			if lived.exists() or keeping.done():
				break
			await asyncio.sleep(0.05)
		stop.set()
		await keeping

	asyncio.run(scene())
	assert lived.exists()
