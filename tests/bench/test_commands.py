"""What an administrator types: `hikvision simulate`, `status` and `backfill`, each as a process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import frappe
import pytest
from click.testing import CliRunner
from frappe.utils import now_datetime

from hikvision_frappe.commands import listen
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.factories import create_test_device, create_test_employee, make_event
from tests.bench.processes import ListenerProcess, Terminals, bench_command, register_terminal, wait_until

pytestmark = pytest.mark.timeout(180)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
	"""Run `bench --site SITE hikvision ...` to its end."""
	return subprocess.run(
		bench_command("hikvision", *arguments),
		cwd=os.environ["HIKVISION_TEST_SITES"],
		capture_output=True,
		text=True,
		timeout=120,
	)


def test_simulated_passes_become_checkins_and_are_taken_away_again(tmp_path: Path) -> None:
	numbered, unnumbered = create_test_employee("4711"), create_test_employee()
	others = frappe.get_all("Employee", {"status": "Active", "name": ["not in", [numbered, unnumbered]]})
	people = str(len(others) + 2)
	with ListenerProcess(tmp_path):
		wait_until(lambda: frappe.cache.hgetall("hikvision_listeners"), 30, "the listener")
		ran = bench("simulate", "--yes", "--devices=4", "--rate=6", "--seconds=10", f"--employees={people}")
		assert ran.returncode == 0, ran.stderr
		assert "records were made" in ran.stdout and "No listener runs yet" not in ran.stdout
		wait_until(lambda: frappe.db.count("Access Event") and not waiting(), 60, "the drain")
	devices = frappe.get_all("Hikvision Device", fields=["mode", "enabled", "serial_number"])
	assert sorted(device.mode for device in devices) == ["Push", "Stream", "Stream", "Stream"]
	assert not any(device.enabled for device in devices)
	assert not frappe.db.count("Access Event", {"state": ["in", ["Unmatched", "Failed"]]})
	assert {numbered, unnumbered} <= set(frappe.get_all("Employee Checkin", pluck="employee"))

	removed = bench("simulate", "--remove")

	assert removed.returncode == 0 and "4 simulated devices removed" in removed.stdout, removed.stderr
	frappe.db.rollback()
	for doctype in ("Hikvision Device", "Access Event", "Access Person", "Employee Checkin"):
		assert frappe.db.count(doctype) == 0, doctype
	assert frappe.db.count("Comment", {"reference_doctype": "Access Event"}) == 0


@pytest.mark.parametrize("seconds", ["0", "-5"])
def test_a_listener_without_a_lease_to_speak_of_is_refused(seconds: str) -> None:
	"""It would ask the site for its devices without a pause."""
	refused = CliRunner().invoke(listen, [f"--lease-seconds={seconds}"])
	assert refused.exit_code == 2
	assert "--lease-seconds" in refused.output


def waiting() -> int:
	return frappe.db.count("Access Event", {"state": "New"})


def test_status_tells_a_monitor_when_a_person_is_needed(tmp_path: Path) -> None:
	device = create_test_device("Back Door", mode="Push")
	assert bench("status").returncode == 0
	frappe.db.set_value(
		"Hikvision Device", device.name, {"connection_state": "Stopped", "last_error": "Look here."}
	)
	frappe.db.commit()
	told = bench("status")
	assert told.returncode == 1
	assert "device Back Door (push, 127.0.0.1:8000): Stopped, no event yet, Look here." in told.stdout
	create_test_device("Front Door")
	assert "No listener runs" in bench("status").stdout


def test_status_tells_how_complete_devices_are_and_what_nobody_can_fill() -> None:
	device = create_test_device("Side Door", mode="Push", host="").name
	frappe.db.set_value(
		"Hikvision Device",
		device,
		{"complete_until": "2026-03-02 08:00:00", "held_by": "a gap is not resolved"},
	)
	frappe.db.commit()
	told = bench("status")
	assert told.returncode == 0
	assert "complete until 2026-03-02 08:00:00: a gap is not resolved" in told.stdout
	deliver([make_event(device, 1), make_event(device, 3)])
	assert "gaps Open: 1" in bench("status").stdout
	frappe.db.set_value("Access Event Gap", {"device": device}, "state", "Unrecoverable")
	frappe.db.commit()
	told = bench("status")
	assert told.returncode == 1 and "gaps Unrecoverable: 1" in told.stdout


@pytest.fixture
def history() -> Iterator[Terminals]:
	"""A terminal with passes of the last hour, which nobody was told of."""
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as terminals:
		terminals.call(terminals.devices[0].fill_backlog, 45)
		yield terminals


def backfill(*arguments: str) -> subprocess.CompletedProcess[str]:
	begin = str(now_datetime() - timedelta(hours=2))[:16]
	return bench("backfill", f"--from={begin}", *arguments)


def test_a_history_is_read_from_the_command_line(history: Terminals) -> None:
	terminal = history.devices[0]
	device = register_terminal(terminal, title="Stairs").name
	told = backfill("--device=Stairs")
	assert told.returncode == 0, told.stdout + told.stderr
	assert f"Stairs: {len(terminal.log)} records, {len(terminal.log)} new, proven complete" in told.stdout
	frappe.db.rollback()
	assert frappe.db.count("Access Event", {"device": device}) == len(terminal.log)
	assert "0 new, proven complete" in backfill("--all-devices").stdout
	frappe.db.rollback()
	assert not frappe.db.get_value("Hikvision Device", device, "leased_by")


def test_a_listener_that_holds_the_device_reads_it_for_the_command(
	history: Terminals, tmp_path: Path
) -> None:
	terminal = history.devices[0]
	device = register_terminal(terminal, title="Stairs").name
	with ListenerProcess(tmp_path):
		wait_until(lambda: frappe.db.get_value("Hikvision Device", device, "heard_until_utc"), 60, "contact")
		holder = frappe.db.get_value("Hikvision Device", device, "leased_by")
		told = backfill("--device=Stairs")
		frappe.db.rollback()
		assert frappe.db.get_value("Hikvision Device", device, "leased_by") == holder
	assert told.returncode == 0, told.stdout + told.stderr
	assert "proven complete" in told.stdout


def test_what_is_not_proven_is_said_and_is_no_success(history: Terminals) -> None:
	history.devices[0].faults.total_error = 3
	register_terminal(history.devices[0], title="Stairs")
	create_test_device("Cellar", port=1)
	told = backfill("--all-devices")
	assert told.returncode == 1
	assert "Stairs: 45 records, 45 new, unproven:" in told.stdout
	assert "Cellar: 0 records, 0 new, failed:" in told.stdout


@pytest.mark.parametrize(
	("arguments", "why"),
	[
		(["--from=2026-03-01"], "Name devices"),
		(["--from=2026-03-01", "--device=Nobody"], "No enabled device is called Nobody"),
		(["--from=yesterday", "--device=Roof"], "is not a time"),
		(["--from=2026-03-02", "--to=2026-03-01", "--device=Roof"], "The end must be later"),
	],
)
def test_what_is_typed_wrong_is_explained(arguments: list[str], why: str) -> None:
	create_test_device("Roof")
	told = bench("backfill", *arguments)
	assert told.returncode != 0 and why in told.stderr
	assert "Traceback" not in told.stderr
