"""The fault list on a real site: what goes wrong with the database, Redis, the site and the listeners themselves.

A terminal makes passes before, during and after; it tells nothing again by itself. In the end the ledger holds each
record once, each pass is one check-in, no gap is left, and people were told nothing: none of it lasted long.
``docs/faults.md`` lists the faults and their tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import frappe
import pytest

from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.completeness import gaps, notices, of_device, with_manager
from tests.bench.factories import create_test_employee
from tests.bench.processes import ListenerProcess, Outage, Terminals, register_terminal, wait_until
from tests.bench.test_listen import site_config

pytestmark = pytest.mark.timeout(240)

MODEL = PROFILES["k1t344"]
FORGETFUL = replace(MODEL, stream=replace(MODEL.stream, replay=0, heartbeat_seconds=1.0))
EACH = 5  # passes before, during and after


class Scene:
	"""A terminal, its device, the listener with the drain beside it, and ways to take things away from them."""

	def __init__(self, terminals: Terminals, folder: Path, stack: ExitStack) -> None:
		self.terminals, self.terminal = terminals, terminals.devices[0]
		self._folder, self._stack, self._people = folder, stack, 0
		self.database = stack.enter_context(Outage(frappe.conf.db_host, int(frappe.conf.db_port)))
		cache, queue = urlsplit(frappe.conf.redis_cache), urlsplit(frappe.conf.redis_queue)
		self.redis = [
			stack.enter_context(Outage(str(each.hostname), int(each.port or 0))) for each in (cache, queue)
		]
		self.listener = self.another_listener()
		self.device: str = register_terminal(self.terminal).name
		wait_until(lambda: of_device(self.device, "heard_until_utc"), 60, "the first contact")

	def another_listener(self) -> ListenerProcess:
		environment = {
			"FRAPPE_DB_HOST": "127.0.0.1",
			"FRAPPE_DB_PORT": str(self.database.port),
			"FRAPPE_REDIS_CACHE": f"redis://127.0.0.1:{self.redis[0].port}",
			"FRAPPE_REDIS_QUEUE": f"redis://127.0.0.1:{self.redis[1].port}",
		}
		process = ListenerProcess(self._folder, "--lease-seconds=5", environment=environment)
		return self._stack.enter_context(process)

	def passes(self, count: int = EACH) -> None:
		for _ in range(count):
			self._people += 1
			number = str(3000 + self._people)
			create_test_employee(number)
			self.terminals.call(self.terminal.make_pass, number)

	def stored(self) -> int:
		return int(frappe.db.count("Access Event", {"device": self.device}))

	def in_the_ledger(self) -> None:
		"""Until everything is stored; a record that is told live says what was missed before it."""
		wait_until(lambda: self.stored() >= len(self.terminal.log), 90, self.listener.log_text())

	def connected(self) -> None:
		wait_until(lambda: self.terminals.call(lambda: self.terminal.open_streams) == 1, 60, "the stream")

	def assert_complete(self) -> None:
		log = self.terminal.log
		wait_until(lambda: all(gap.state == "Recovered" for gap in gaps(self.device)), 60, "the gaps")
		wait_until(lambda: not frappe.db.count("Access Event", {"state": "New"}), 60, "the drain")
		serials = frappe.get_all("Access Event", {"device": self.device}, pluck="serial_no")
		assert sorted(serials) == sorted(record.serial_no for record in log)
		events = frappe.get_all("Employee Checkin", pluck="access_event")
		assert len(events) == len(set(events)) == sum(record.person != "" for record in log)
		linked = frappe.get_all("Access Event", {"employee_checkin": ["is", "set"]}, pluck="name")
		assert sorted(linked) == sorted(events)
		assert notices(self.device) == []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
	with_manager()
	with ExitStack() as stack:
		terminals = stack.enter_context(Terminals(SimulatedDevice(FORGETFUL)))
		yield Scene(terminals, tmp_path, stack)


def the_database_is_away(scene: Scene) -> None:
	scene.database.begin()
	scene.passes()
	wait_until(lambda: scene.listener.status()["spool"]["depth"] > 0, 30, "the spool")
	scene.database.end()


def the_database_restarts_again_and_again(scene: Scene) -> None:
	for _ in range(4):
		scene.passes(2)
		scene.database.begin()
		scene.database.end()


def somebody_locks_the_device(scene: Scene) -> None:
	"""As a backup or a long report may; every writer waits for the row."""
	frappe.db.sql("select name from `tabHikvision Serial Epoch` where device = %s for update", scene.device)
	for _ in range(3):
		scene.terminals.call(scene.terminal.make_event, 5, 21)
	time.sleep(2)
	assert scene.listener.status()["spool"]["depth"] > 0
	frappe.db.rollback()
	scene.passes()


def redis_is_away(scene: Scene) -> None:
	for each in scene.redis:
		each.begin()
	scene.passes()
	scene.in_the_ledger()
	for each in scene.redis:
		each.end()


def the_site_migrates(scene: Scene) -> None:
	with site_config(maintenance_mode=1):
		scene.passes()
		wait_until(lambda: scene.listener.status()["spool"]["depth"] >= EACH, 30, "the spool")


def the_power_fails(scene: Scene) -> None:
	"""The listener and the drain die at once, whatever they were at; records are made until they are back."""
	for _ in range(2):
		scene.passes(3)
		scene.listener.kill()
		scene.passes(2)
		scene.listener.start()
		scene.connected()


def the_first_of_two_listeners_dies(scene: Scene) -> None:
	scene.another_listener()
	wait_until(lambda: len(frappe.cache.hgetall("hikvision_listeners") or {}) >= 2, 60, "the second listener")
	assert scene.terminals.call(lambda: scene.terminal.open_streams) == 1
	scene.listener.kill()
	began = time.monotonic()
	scene.passes()
	scene.connected()
	assert time.monotonic() - began < 60


FAULTS: dict[str, Callable[[Scene], None]] = {
	"database away": the_database_is_away,
	"database restart": the_database_restarts_again_and_again,
	"database lock wait": somebody_locks_the_device,
	"Redis down": redis_is_away,
	"migrate in progress": the_site_migrates,
	"kill -9 of listener and drain": the_power_fails,
	"two listeners at once": the_first_of_two_listeners_dies,
}


@pytest.mark.parametrize("name", FAULTS)
def test_after_each_fault_of_the_list_each_pass_is_one_checkin_and_no_gap_is_left(
	name: str, scene: Scene
) -> None:
	scene.passes()
	scene.in_the_ledger()
	FAULTS[name](scene)
	scene.connected()
	time.sleep(1)
	scene.passes()
	scene.in_the_ledger()
	scene.assert_complete()
