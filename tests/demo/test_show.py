"""The demo: it ends by itself, counts honestly, and says so in its last line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from hikvision_frappe.demo.verdict import judge
from hikvision_frappe.listener.local_site import StoredEvent
from hikvision_frappe.simulator.records import SimulatedRecord

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)


def record(serial_no: int) -> SimulatedRecord:
	return SimulatedRecord(
		device="SIM", serial_no=serial_no, epoch=0, instant=NOON, made_at=NOON, major=5, minor=75, person="1"
	)


def row(serial_no: int) -> StoredEvent:
	at = NOON.timestamp()
	return StoredEvent(
		f"gate-01-{serial_no}",
		"gate",
		1,
		serial_no,
		at,
		int(at),
		"",
		5,
		75,
		"1",
		"",
		"pass",
		"stream",
		at,
		at,
	)


def test_lost_and_doubled_records_are_found_by_comparison() -> None:
	records = [("gate", record(1)), ("gate", record(2)), ("gate", record(3))]
	twice = replace(row(1), name="gate-02-1")
	verdict = judge(records, [row(1), twice, row(2)], {("gate", 1): NOON.timestamp() + 0.5}, reconnects=4)
	assert (verdict.sent, verdict.stored, verdict.lost, verdict.duplicates) == (3, 3, 1, 1)
	assert verdict.p50_ms == 500.0
	assert not verdict.is_good


def test_a_row_with_another_person_or_instant_is_both_lost_and_surplus() -> None:
	verdict = judge([("gate", record(1))], [replace(row(1), person="2")], {}, reconnects=0)
	assert (verdict.lost, verdict.duplicates) == (1, 1)


async def test_a_short_demo_loses_and_doubles_nothing_and_ends_with_its_figures() -> None:
	process = await asyncio.create_subprocess_exec(
		sys.executable,
		"-m",
		"hikvision_frappe.demo",
		"--seconds",
		"5",
		stdout=asyncio.subprocess.PIPE,
		cwd=ROOT,
		env={**os.environ, "PYTHONPATH": str(ROOT)},
	)
	output, _ = await asyncio.wait_for(process.communicate(), 60)
	lines = output.decode().splitlines()
	result = json.loads(lines[-1])
	assert process.returncode == 0
	assert set(result) == {"sent", "stored", "lost", "duplicates", "p50_ms", "p99_ms", "reconnects"}
	assert result["sent"] == result["stored"] >= 30
	assert (result["lost"], result["duplicates"]) == (0, 0)
	assert result["reconnects"] >= 1
	assert any("http://127.0.0.1:" in line and "Status page" in line for line in lines)
