"""What an administrator types: `hikvision simulate`, its removal, and `hikvision status`, each as a process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import frappe
import pytest

from tests.bench.factories import create_test_device, create_test_employee
from tests.bench.processes import ListenerProcess, bench_command, wait_until

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
