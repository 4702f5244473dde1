"""The soak: it judges honestly, its mishaps end, and a short one loses and doubles nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from hikvision_frappe.core.gaps import Cause, Gap, GapState
from hikvision_frappe.listener.local_site import StoredEvent
from hikvision_frappe.listener.site import IngestMode
from hikvision_frappe.soak.storm import MISHAPS, Storm
from hikvision_frappe.soak.town import (
	KINDS,
	configs_from_text,
	configs_to_text,
	enter,
	kinds_of,
	make_device,
)
from hikvision_frappe.soak.verdict import Made, judge

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)
AT = int(NOON.timestamp())


def made(serial_no: int, **changes: object) -> Made:
	values = {
		"device": "d1",
		"serial_no": serial_no,
		"instant": AT,
		"made_at": AT + 0.5,
		"major": 5,
		"minor": 75,
		"person": "1",
	}
	return Made(**{**values, **changes})  # type: ignore[arg-type]


def row(serial_no: int | None, person: str = "1") -> StoredEvent:
	return StoredEvent(
		f"row-{serial_no}", "d1", 1, serial_no, AT, AT, "", 5, 75, person, "", "pass", "stream", AT, AT
	)


def a_gap(state: GapState, **changes: object) -> Gap:
	values = {
		"name": "1",
		"device": "d1",
		"cause": Cause.RECONNECT,
		"since": NOON - timedelta(hours=2),
		"until": NOON - timedelta(hours=1),
		"noticed_at": NOON,
		"state": state,
	}
	return Gap(**{**values, **changes})  # type: ignore[arg-type]


# The verdict.


def test_a_record_that_is_missing_without_a_word_is_lost() -> None:
	verdict = judge([made(1), made(2)], [row(1)], [])
	assert (verdict.sent, verdict.stored, verdict.lost, verdict.in_gaps) == (2, 1, 1, 0)
	assert not verdict.is_good
	assert verdict.examples == (made(2),)


@pytest.mark.parametrize("state", [GapState.OPEN, GapState.FILLING, GapState.UNRECOVERABLE])
def test_a_record_whose_gap_is_known_is_missing_but_not_lost(state: GapState) -> None:
	by_number = a_gap(state, first_serial=2, last_serial=4)
	by_time = a_gap(state, since=NOON - timedelta(seconds=9), until=None)
	for gap in (by_number, by_time):
		verdict = judge([made(1), made(2)], [row(1)], [gap])
		assert (verdict.lost, verdict.in_gaps) == (0, 1)
		assert verdict.unrecoverable == (state is GapState.UNRECOVERABLE)
		assert verdict.is_good


def test_a_gap_that_claims_to_be_filled_covers_nothing() -> None:
	filled = a_gap(GapState.RECOVERED, first_serial=2, last_serial=2)
	elsewhere = a_gap(GapState.OPEN, device="d2", first_serial=2, last_serial=2)
	assert judge([made(1), made(2)], [row(1)], [filled, elsewhere, a_gap(GapState.OPEN)]).lost == 1


def test_rows_without_a_number_stand_for_records_of_their_second() -> None:
	assert judge([made(1), made(2)], [row(1), row(None)], []).is_good


def test_a_second_row_of_a_record_and_a_row_of_none_are_surplus() -> None:
	assert judge([made(1)], [row(1), row(None)], []).duplicates == 1
	assert judge([made(1)], [row(1), row(3, person="2")], []).duplicates == 1


# The town and its mishaps.


def test_the_same_seed_makes_the_same_town_with_every_kind_in_it() -> None:
	assert kinds_of(200, 7) == kinds_of(200, 7) != kinds_of(200, 8)
	assert set(kinds_of(len(KINDS), 7)) == set(KINDS)


async def test_entries_survive_their_way_to_the_listeners() -> None:
	entered = []
	for number, kind in enumerate(KINDS):
		async with make_device(number, kind, seed=1) as device:
			entered.append(enter(number, kind, device, [8090]).config)
	assert configs_from_text(configs_to_text(entered)) == entered
	assert {config.mode for config in entered} == set(IngestMode)


async def test_what_a_mishap_has_changed_is_as_it_was_when_the_storm_is_over() -> None:
	for number, kind in enumerate(KINDS[:1] + KINDS[-5:]):
		async with make_device(number, kind, seed=1) as device:
			citizen = enter(number, kind, device, [1])
			usual = repr(device.faults)
			for mishap in MISHAPS:
				if not mishap.fits(citizen) or mishap.name == "page caps":
					continue
				storm = Storm([citizen], 1.0, seed=1)
				storm._strike(citizen, mishap)
				await asyncio.sleep(0)
				await storm.end()
				assert repr(device.faults) == usual, mishap.name
				assert storm.counts == {mishap.name: 1}
			assert device.clock.skew == timedelta()


# All of it.


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_a_short_soak_loses_and_doubles_nothing_and_ends_with_its_figures() -> None:
	process = await asyncio.create_subprocess_exec(
		sys.executable,
		"-m",
		"hikvision_frappe.soak",
		*("--minutes", "0.1", "--devices", "14", "--rate", "10", "--mishaps", "1.5", "--seed", "3"),
		stdout=asyncio.subprocess.PIPE,
		cwd=ROOT,
		env={**os.environ, "PYTHONPATH": str(ROOT)},
	)
	try:
		output, _ = await asyncio.wait_for(process.communicate(), 180)
	finally:
		if process.returncode is None:
			process.send_signal(signal.SIGINT)
			await process.wait()
	lines = output.decode().splitlines()
	result = json.loads(lines[-1])
	assert process.returncode == 0, "\n".join(lines)
	assert result["sent"] >= result["stored"] + result["in_gaps"] > 60
	assert (result["lost"], result["duplicates"]) == (0, 0)
	assert result["faults"] == sum(result["faults_by_kind"].values()) > 0
	assert {"gaps", "unrecoverable", "minutes", "devices", "max_rss_mb", "seed"} <= set(result)
