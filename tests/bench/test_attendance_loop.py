"""The drain as processes: side by side, killed, and through outages of what it needs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import frappe
import pytest

from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import create_test_device, create_test_employee, make_event
from tests.bench.passes import ENTRY, checkins, passes, row, states
from tests.bench.processes import Outage, bench_command, wait_until

PEOPLE = 20
KILLS = 12


class DrainProcess:
	"""``bench hikvision drain`` on the test site; use as a context manager."""

	def __init__(self, *arguments: str, environment: dict[str, str] | None = None, code: str = "") -> None:
		command = bench_command("hikvision", "drain", *arguments)
		if code:
			command = [command[0], "-c", code]
		self.process = subprocess.Popen(
			command,
			cwd=os.environ["HIKVISION_TEST_SITES"],
			env={**os.environ, **(environment or {})},
			stdout=subprocess.PIPE,
			stderr=subprocess.STDOUT,
			text=True,
		)

	def __enter__(self) -> DrainProcess:
		return self

	def __exit__(self, *_: object) -> None:
		if self.process.poll() is None:
			self.process.kill()
		self.process.wait(10)
		if self.process.stdout:
			self.process.stdout.close()

	def wait(self, seconds: float = 60) -> str:
		"""Its output, once it ended well."""
		output, _errors = self.process.communicate(timeout=seconds)
		assert self.process.returncode == 0, output
		return output

	def terminate(self) -> str:
		self.process.send_signal(signal.SIGTERM)
		return self.wait(15)

	def kill(self) -> None:
		self.process.kill()
		self.process.wait(10)


@pytest.fixture
def device() -> str:
	for number in range(PEOPLE):
		create_test_employee(str(3000 + number))
	return create_test_device(doors=ENTRY).name


def fill_ledger(device: str, count: int, first: int = 1) -> None:
	events = [
		make_event(device, number, person=str(3000 + number % PEOPLE), second=number * 60)
		for number in range(first, first + count)
	]
	assert deliver(events).new == count


def waiting(device: str) -> int:
	return frappe.db.count("Access Event", {"device": device, "state": "New"})


def assert_each_pass_has_its_checkin(device: str, count: int) -> None:
	"""Exactly one check-in for each pass, and both name each other."""
	assert states(device) == Counter({"Check-in Made": count})
	links = Counter(made.access_event for made in checkins())
	assert len(links) == count and set(links.values()) == {1}
	rows = frappe.get_all("Access Event", {"device": device}, ["name", "employee_checkin"])
	assert {row.employee_checkin for row in rows} == {made.name for made in checkins()}


def test_several_drains_at_once_make_each_checkin_once(device: str) -> None:
	fill_ledger(device, 120)
	with DrainProcess("--once") as one, DrainProcess("--once") as two, DrainProcess("--once") as three:
		for process in (one, two, three):
			process.wait()
	with DrainProcess("--once") as last:
		last.wait()
	assert_each_pass_has_its_checkin(device, 120)


UNGUARDED = """
import os, frappe
from hikvision_frappe.attendance import drain
drain.LOCK_NAME = str(os.getpid())  # as if the database had given the lock to everybody
frappe.init(site=os.environ["HIKVISION_TEST_SITE"], sites_path=".")
frappe.connect()
while (result := drain.drain(limit=30)).more or result.left:
	pass
frappe.destroy()
"""


def test_without_the_site_lock_the_locks_on_rows_still_keep_checkins_single(device: str) -> None:
	fill_ledger(device, 120)
	with DrainProcess(code=UNGUARDED) as one, DrainProcess(code=UNGUARDED) as two:
		one.wait()
		two.wait()
	assert_each_pass_has_its_checkin(device, 120)


IN_A_LOOP = """
import os, threading
from hikvision_frappe.attendance import loop
loop.SLICE_EVENTS = 60  # too few for a set, of which a kill in time would be rare
loop.run_drain_loop(os.environ["HIKVISION_TEST_SITE"], threading.Event())
"""


def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(device: str) -> None:
	dice = random.Random(7)
	count = 60 * KILLS
	fill_ledger(device, count)
	kills = 0
	while kills < KILLS and waiting(device):
		before = waiting(device)
		with DrainProcess(code=IN_A_LOOP) as process:
			wait_until(lambda before=before: waiting(device) < before, what="the first check-in")
			time.sleep(dice.uniform(0, 0.25))
			process.kill()
		kills += 1
		frappe.db.rollback()
	assert kills >= 5
	with DrainProcess("--once") as process:
		wait_until(lambda: not lock_is_held(), what="the dead drain's lock")
		process.wait()
	if waiting(device):
		with DrainProcess("--once") as process:
			process.wait()
	assert_each_pass_has_its_checkin(device, count)


def lock_is_held() -> bool:
	name = f"hikvision_drain:{frappe.conf.db_name}"[:64]
	return frappe.db.sql("select is_used_lock(%s)", (name,))[0][0] is not None


def test_it_settles_a_pass_soon_after_the_commit_and_ends_at_sigterm(device: str) -> None:
	with DrainProcess() as process:
		[first] = passes(device, "3000", "2026-03-02 07:00:00")
		wait_until(lambda: frappe.db.get_value("Access Event", first, "state") == "Check-in Made")
		took = []
		for hour in range(8, 13):
			[name] = passes(device, "3000", f"2026-03-02 {hour:02d}:00:00")
			begin = time.monotonic()
			wait_until(
				lambda name=name: frappe.db.get_value("Access Event", name, "state") == "Check-in Made"
			)
			took.append(time.monotonic() - begin)
		assert sorted(took)[2] < 0.5, took
		assert "stopped" in process.terminate()


def test_web_workers_can_see_that_a_drain_lives(device: str) -> None:
	from hikvision_frappe.ledger.signal import ALIVE_KEY

	frappe.cache.delete_value(ALIVE_KEY)
	with DrainProcess() as process:
		wait_until(lambda: frappe.cache.exists(ALIVE_KEY))
		process.terminate()


def test_killed_database_connections_are_replaced(device: str) -> None:
	with DrainProcess() as process:
		for round_ in range(3):
			fill_ledger(device, 40, first=1 + round_ * 40)
			wait_until(lambda round_=round_: len(checkins()) > round_ * 40)
			kill_other_connections()
		wait_until(lambda: not waiting(device), 60)
		process.terminate()
	assert_each_pass_has_its_checkin(device, 120)
	assert frappe.db.count("Error Log") == 0


def kill_other_connections() -> None:
	mine = frappe.db.sql("select connection_id()")[0][0]
	for (number,) in frappe.db.sql("select id from information_schema.processlist where id != %s", (mine,)):
		try:
			frappe.db.sql(f"kill {int(number)}")
		except Exception as error:
			assert error.args[0] == 1094, error  # it ended by itself


def test_an_outage_of_the_database_is_waited_out(device: str) -> None:
	host, port = frappe.conf.db_host or "127.0.0.1", int(frappe.conf.db_port or 3306)
	with Outage(host, port) as outage:
		through_proxy = {"FRAPPE_DB_HOST": "127.0.0.1", "FRAPPE_DB_PORT": str(outage.port)}
		with DrainProcess(environment=through_proxy) as process:
			fill_ledger(device, 20)
			wait_until(lambda: not waiting(device))
			outage.begin()
			fill_ledger(device, 20, first=21)
			time.sleep(2.5)
			assert process.process.poll() is None
			assert waiting(device) == 20
			outage.end()
			wait_until(lambda: not waiting(device), 40)
			output = process.terminate()
	assert "the site cannot be worked on" in output and "can be worked on again" in output
	assert_each_pass_has_its_checkin(device, 40)


def test_without_redis_it_looks_by_itself(device: str) -> None:
	url = frappe.conf.redis_cache.rsplit(":", 1)
	with Outage("127.0.0.1", int(url[1])) as outage:
		address = f"redis://127.0.0.1:{outage.port}"
		environment = {
			"FRAPPE_REDIS_CACHE": address, "FRAPPE_REDIS_QUEUE": address, "FRAPPE_REDIS_SOCKETIO": address,
		}  # fmt: skip
		with DrainProcess(environment=environment) as process:
			fill_ledger(device, 20)
			wait_until(lambda: not waiting(device))
			outage.begin()
			fill_ledger(device, 20, first=21)
			wait_until(lambda: not waiting(device), 40)
			outage.end()
			fill_ledger(device, 20, first=41)
			wait_until(lambda: not waiting(device), 40)
			process.terminate()
	assert_each_pass_has_its_checkin(device, 60)


def test_a_migration_is_waited_out(device: str) -> None:
	config = Path(frappe.local.site_path, "site_config.json").resolve()
	before = config.read_text()
	with DrainProcess() as process:
		fill_ledger(device, 5)
		wait_until(lambda: not waiting(device))
		try:
			config.write_text(json.dumps(json.loads(before) | {"maintenance_mode": 1}))
			time.sleep(2.5)
			fill_ledger(device, 5, first=6)
			time.sleep(2)
			assert waiting(device) == 5
		finally:
			config.write_text(before)
		wait_until(lambda: not waiting(device))
		process.terminate()


def test_while_another_transaction_holds_the_series_the_pass_waits_and_does_not_fail(device: str) -> None:
	create_the_series()
	[event] = passes(device, "3000", "2026-03-02 07:00:00")
	with rival_connection() as rival, DrainProcess() as process:
		rival.sql("select current from tabSeries where name like 'EMP-CKIN-%' for update")
		wait_until(series_is_waited_for, what="the drain to wait for the series")
		assert frappe.db.get_value("Access Event", event, "state") == "New"
		rival.rollback()
		wait_until(lambda: not waiting(device))
		process.terminate()
	assert frappe.db.get_value("Access Event", event, ["state", "attempts"]) == ("Check-in Made", 0)


def test_a_deadlock_is_tried_again_and_leaves_no_mark(device: str) -> None:
	create_the_series()
	[event] = passes(device, "3000", "2026-03-02 07:00:00")
	with rival_connection() as rival, DrainProcess() as process:
		rival.sql(
			"update tabEmployee set modified = now() where name like 'HIK-TEST-%'"
		)  # makes it the heavier
		rival.sql("select current from tabSeries where name like 'EMP-CKIN-%' for update")
		wait_until(series_is_waited_for, what="the drain to wait for the series")
		rival.sql("select name from `tabAccess Event` where name = %s for update", (event,))
		rival.rollback()
		wait_until(lambda: not waiting(device))
		process.terminate()
	assert frappe.db.get_value("Access Event", event, ["state", "attempts"]) == ("Check-in Made", 0)
	assert frappe.db.count("Error Log") == 0


def test_a_pass_whose_person_is_locked_lets_the_others_go_first(device: str) -> None:
	passes(device, "88", "2026-03-02 06:00:00")
	drain()
	[held] = passes(device, "88", "2026-03-02 07:00:00")
	[free] = passes(device, "3000", "2026-03-02 08:00:00")
	frappe.db.sql("set session innodb_lock_wait_timeout = 1")
	try:
		with rival_connection() as rival:
			rival.sql("select name from `tabAccess Person` where person_code = '88' for update")
			for _slice in range(2):
				drain(time_budget=0.5)
	finally:
		frappe.db.sql("set session innodb_lock_wait_timeout = 50")
	assert row(free).state == "Check-in Made"
	assert (row(held).state, row(held).attempts) == ("New", 0)
	frappe.db.set_value("Access Event", held, "next_attempt_at", "2000-01-01")
	frappe.db.commit()
	drain()
	assert (row(held).state, row(held).next_attempt_at) == ("Unmatched", None)


@contextmanager
def rival_connection() -> Iterator[Any]:
	"""A second database connection; ``frappe.db`` stays the first."""
	mine = frappe.local.db
	frappe.connect()
	rival, frappe.local.db = frappe.local.db, mine
	try:
		yield rival
	finally:
		rival.close()


def create_the_series() -> None:
	"""The first check-in of a month creates the row that all others lock."""
	employee = frappe.db.get_value("Employee", {"attendance_device_id": "3001"})
	frappe.get_doc({"doctype": "Employee Checkin", "employee": employee, "time": "2026-01-01"}).insert()
	frappe.db.commit()


def series_is_waited_for() -> bool:
	running = frappe.db.sql("select info from information_schema.processlist where info is not null")
	return any("tabSeries" in info and "FOR UPDATE" in info for (info,) in running)
