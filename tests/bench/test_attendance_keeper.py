"""When the keeper makes its rounds, and what its failures do to the drain beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import frappe
import pytest

from hikvision_frappe.attendance import keeper as keeper_module
from hikvision_frappe.attendance.keeper import FAILED_SECONDS, ROUND_SECONDS, STEADY_SECONDS, Keeper
from hikvision_frappe.ledger.signal import keeper_is_due, say_alive, wake_keeper
from hikvision_frappe.tasks.keeper import keep_and_read
from tests.bench.completeness import ago, begin_now, complete_until, gap, gaps, listening, of_device
from tests.bench.factories import create_test_device, create_test_shift
from tests.bench.processes import bench_command, wait_until


class Clock:
	def __init__(self) -> None:
		self.now = 1000.0

	def __call__(self) -> float:
		return self.now


@pytest.fixture
def clock() -> Clock:
	begin_now()
	keeper_is_due()
	return Clock()


@pytest.fixture
def device() -> str:
	return create_test_device(history=0).name


def held_by(device: str) -> str | None:
	return of_device(device, "held_by")


def forget(device: str) -> None:
	frappe.db.set_value("Hikvision Device", device, "held_by", "")
	frappe.db.commit()


def test_rounds_follow_each_other_after_a_pause_or_when_the_keeper_is_woken(
	device: str, clock: Clock
) -> None:
	keeper = Keeper(clock)
	keeper.look()
	assert held_by(device)
	forget(device)
	clock.now += ROUND_SECONDS - 1
	keeper.look()
	assert not held_by(device)
	wake_keeper()
	keeper.look()
	assert held_by(device)
	forget(device)
	clock.now += ROUND_SECONDS
	keeper.look()
	assert held_by(device)


def test_after_an_outage_of_the_site_listeners_get_time_to_report(
	device: str, clock: Clock, site: str
) -> None:
	with listening(site) as listener:
		listener.hears(device, ago(hours=1), ago(minutes=9))
	keeper = Keeper(clock)
	keeper.look()
	assert gaps(device) == []
	clock.now += STEADY_SECONDS
	keeper.interrupted()
	keeper.look()
	assert gaps(device) == []
	clock.now += STEADY_SECONDS
	keeper.look()
	assert gap(device).until is None


def test_a_fault_of_the_keeper_leaves_the_drain_at_work(
	device: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
	keeper = Keeper(clock)
	frappe.db.sql_ddl("alter table `tabAccess Event Gap` rename column reason to lost")
	try:
		keeper.look()
	finally:
		frappe.db.sql_ddl("alter table `tabAccess Event Gap` rename column lost to reason")
	assert "the keeper failed" in caplog.text
	clock.now += FAILED_SECONDS
	keeper.look()
	assert held_by(device)


def test_the_scheduler_makes_a_round_where_no_drain_does(
	device: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
	say_alive()
	keep_and_read()
	assert not held_by(device)
	frappe.cache.delete_value("hikvision_drain_alive")
	keep_and_read()
	assert held_by(device)


def test_the_drain_keeps_watch_beside_its_work(device: str, tmp_path: Path, site: str) -> None:
	begin_now()
	with listening(site) as listener:
		listener.hears(device, ago(hours=1), ago(seconds=5))
	with open(tmp_path / "drain.log", "wb") as log:
		process = subprocess.Popen(
			bench_command("hikvision", "drain"),
			cwd=os.environ["HIKVISION_TEST_SITES"],
			stdout=log,
			stderr=log,
		)
	try:
		wait_until(lambda: complete_until(device), 60, "the keeper")
	finally:
		process.terminate()
		assert process.wait(30) == 0


def test_the_shifts_follow_the_watermarks(device: str, clock: Clock, site: str) -> None:
	shift = create_test_shift()
	with listening(site) as listener:
		listener.hears(device, ago(hours=1), ago(seconds=5))
	keeper_module.keep()
	assert frappe.db.get_value("Shift Type", shift.name, "last_sync_of_checkin") == of_device(
		device, "complete_until"
	)
