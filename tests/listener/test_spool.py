"""The spool: what it acknowledged is there, whatever happens to the process or the disk."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from listener_support import a_pass, until

from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.spool import EventMemory, Spool, SpoolUnavailable, SpoolUnusable

WRITER = Path(__file__).with_name("spool_writer.py")


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
	spool = await Spool.open(tmp_path / "spool" / "spool.sqlite3")
	yield spool
	await spool.close()


async def test_what_was_appended_is_taken_in_order(spool: Spool) -> None:
	await spool.append([a_pass(1), a_pass(2)])
	await spool.append([a_pass(3)])
	batch = await spool.take(10)
	assert [event.serial_no for event in batch.events] == [1, 2, 3]
	assert batch.events[0] == a_pass(1, received_at=batch.events[0].received_at)


async def test_a_taken_event_stays_until_it_is_acknowledged(spool: Spool) -> None:
	await spool.append([a_pass(1), a_pass(2)])
	first = await spool.take(1)
	assert (await spool.take(1)).ids == first.ids
	await spool.acknowledge(first)
	assert [event.serial_no for event in (await spool.take(10)).events] == [2]
	assert spool.depth == 1


async def test_events_survive_a_close(tmp_path: Path) -> None:
	path = tmp_path / "spool.sqlite3"
	spool = await Spool.open(path)
	await spool.append([a_pass(1)])
	await spool.close()
	spool = await Spool.open(path)
	assert spool.depth == 1
	await asyncio.wait_for(spool.wait_for_work(), 1)
	assert (await spool.take(5)).events[0].serial_no == 1
	await spool.close()


async def test_a_refused_event_is_set_aside_with_its_reason(spool: Spool) -> None:
	await spool.append([a_pass(1), a_pass(2), a_pass(3)])
	batch = await spool.take(10)
	await spool.acknowledge(batch, {1: "unknown device gate"})
	(kept,) = await spool.set_aside()
	assert kept.reason == "unknown device gate"
	assert json.loads(kept.event)["serial_no"] == 2
	assert (spool.depth, spool.set_aside_depth) == (0, 1)


async def test_a_row_that_nobody_can_read_is_set_aside_and_blocks_nothing(tmp_path: Path) -> None:
	path = tmp_path / "spool.sqlite3"
	spool = await Spool.open(path)
	await spool.append([a_pass(1), a_pass(2)])
	await spool.close()
	with sqlite3.connect(path) as connection:
		connection.execute("UPDATE waiting SET event = '{\"kind\":' WHERE id = 1")
	connection.close()
	spool = await Spool.open(path)
	batch = await spool.take(10)
	assert [event.serial_no for event in batch.events] == [2]
	assert (spool.depth, spool.set_aside_depth) == (1, 1)
	await spool.close()


async def test_a_replay_of_what_the_site_has_is_not_stored_again(spool: Spool) -> None:
	await spool.append([a_pass(1)])
	await spool.acknowledge(await spool.take(10))
	assert await spool.append([a_pass(1, live=False), a_pass(2)]) == 1
	assert spool.counts.repeated == 1


async def test_a_replay_of_what_still_waits_is_not_stored_again(spool: Spool) -> None:
	await spool.append([a_pass(1)])
	assert await spool.append([a_pass(1, live=False)]) == 0
	assert spool.depth == 1


async def test_a_replay_of_what_was_refused_is_offered_again(spool: Spool) -> None:
	await spool.append([a_pass(1)])
	await spool.acknowledge(await spool.take(10), {0: "unknown device gate"})
	assert await spool.append([a_pass(1)]) == 1


def test_the_memory_of_known_events_is_bounded_and_forgets_the_oldest() -> None:
	memory = EventMemory(limit=10)
	for serial in range(1, 21):
		memory.add(a_pass(serial))
	assert a_pass(1) not in memory
	assert a_pass(20) in memory
	assert a_pass(20, person="8") not in memory
	assert a_pass(None) not in memory


async def test_the_file_is_readable_by_its_owner_alone(spool: Spool, tmp_path: Path) -> None:
	await spool.append([a_pass(1)])
	folder = tmp_path / "spool"
	assert stat.S_IMODE(folder.stat().st_mode) == 0o700
	assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


async def test_a_second_process_cannot_use_the_same_spool(spool: Spool, tmp_path: Path) -> None:
	script = (
		"import asyncio, sys; from pathlib import Path; from hikvision_frappe.listener.spool import Spool\n"
		"asyncio.run(Spool.open(Path(sys.argv[1])))"
	)
	process = await asyncio.create_subprocess_exec(
		sys.executable,
		"-c",
		script,
		str(tmp_path / "spool" / "spool.sqlite3"),
		stderr=asyncio.subprocess.PIPE,
		env={**os.environ, "PYTHONPATH": str(WRITER.parents[2])},
	)
	_, error = await process.communicate()
	assert process.returncode == 1
	assert b"SpoolUnusable: Another process uses the spool" in error


async def test_a_spool_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
	path = tmp_path / "spool.sqlite3"
	connection = sqlite3.connect(path)
	connection.execute("PRAGMA user_version = 99")
	connection.close()
	with pytest.raises(SpoolUnusable, match="newer version"):
		await Spool.open(path)


async def test_a_damaged_file_is_named_and_kept(tmp_path: Path) -> None:
	path = tmp_path / "spool.sqlite3"
	path.write_bytes(b"this is no database, whatever its name says" * 100)
	with pytest.raises(SpoolUnusable, match="damaged"):
		await Spool.open(path)
	assert path.stat().st_size == 4300


async def test_a_full_disk_refuses_appends_and_recovers_once_there_is_room(tmp_path: Path) -> None:
	spool = await Spool.open(tmp_path / "spool.sqlite3", max_bytes=64 * 1024, interval=0.0)
	stored = 0
	with pytest.raises(SpoolUnavailable, match="Make room"):
		for serial in range(1, 2_000):
			await spool.append([a_pass(serial)])
			stored += 1
	assert stored > 50
	assert "Make room" in spool.fault
	batch = await spool.take(500)
	assert len(batch) == spool.depth == stored
	await spool.acknowledge(batch)
	assert await spool.append([a_pass(5_000)]) == 1
	assert spool.fault == ""
	await spool.close()


async def test_in_a_full_spool_one_group_still_acknowledges_what_makes_room(tmp_path: Path) -> None:
	spool = await Spool.open(tmp_path / "spool.sqlite3", max_bytes=64 * 1024, interval=0.02)
	with pytest.raises(SpoolUnavailable):
		for serial in range(1, 2_000, 20):
			await spool.append([a_pass(number) for number in range(serial, serial + 20)])
	batch = await spool.take(500)
	many = [a_pass(number) for number in range(3_000, 3_020)]
	results = await asyncio.gather(spool.append(many), spool.acknowledge(batch), return_exceptions=True)
	assert results == [20, None]
	await spool.close()


async def test_a_caller_that_gives_up_after_the_commit_leaves_the_counts_right(spool: Spool) -> None:
	caller = asyncio.create_task(spool.append([a_pass(1)]))
	await asyncio.sleep(0)
	caller.cancel()
	await asyncio.wait_for(spool.wait_for_work(), 5)
	assert spool.depth == 1


async def test_a_thousand_callers_at_once_share_few_commits_and_none_waits_long(spool: Spool) -> None:
	waits: list[float] = []

	async def append(serial: int) -> None:
		started = time.perf_counter()
		await spool.append([a_pass(serial)])
		waits.append(time.perf_counter() - started)

	async def one_after_another(worker: int) -> None:
		for number in range(20):
			await append(worker * 1_000 + number)

	await asyncio.gather(*(one_after_another(worker) for worker in range(50)))
	assert spool.depth == 1_000
	assert sorted(waits)[500] < 0.25  # generous: the figure itself is benchmarks/push_port.py


async def test_nothing_acknowledged_is_lost_or_doubled_by_many_kills(tmp_path: Path) -> None:
	path = tmp_path / "spool.sqlite3"
	site = LocalSite(":memory:")
	acknowledged: set[int] = set()
	dice = random.Random(20)
	for round_number in range(20):
		acknowledged |= await asyncio.to_thread(append_until_killed, path, round_number, dice)
		await forward_some(path, site, dice)
	await forward_all(path, site)
	stored = [row.serial_no for row in site.rows()]
	assert len(stored) == len(set(stored))
	assert acknowledged <= set(stored)
	assert len(acknowledged) > 100
	site.close()


def append_until_killed(path: Path, round_number: int, dice: random.Random) -> set[int]:
	"""Run a writer, kill -9 it at some moment after its first acknowledgement; what it had printed by then."""
	process = subprocess.Popen(
		[sys.executable, str(WRITER), str(path), str(round_number * 1_000_000 + 1)],
		stdout=subprocess.PIPE,
		env={**os.environ, "PYTHONPATH": str(WRITER.parents[2])},
	)
	assert process.stdout is not None
	first = process.stdout.readline()
	time.sleep(dice.uniform(0, 0.05))
	process.send_signal(signal.SIGKILL)
	rest = process.stdout.read()
	process.wait(10)
	lines = (first + rest).split(b"\n")[:-1]  # what follows the last line end was cut by the kill
	return {int(line) for line in lines}


async def forward_some(path: Path, site: LocalSite, dice: random.Random) -> None:
	"""Deliver a batch and, half of the time, die before the acknowledgement."""
	spool = await Spool.open(path, interval=0.0)
	batch = await spool.take(200)
	site.deliver(batch.events)
	if dice.random() < 0.5:
		await spool.acknowledge(batch)
	await spool.close()


async def forward_all(path: Path, site: LocalSite) -> None:
	spool = await Spool.open(path, interval=0.0)
	while spool.depth:
		batch = await spool.take(500)
		site.deliver(batch.events)
		await spool.acknowledge(batch)
	await until(lambda: spool.depth == 0)
	await spool.close()
