"""The listener as a whole: sites that come and go, two listeners, clean stops and sudden deaths."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from listener_support import SECRET, a_device, push_body, until
from running import Running, quick, streaming

from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import ConnectionState
from hikvision_frappe.listener.spool import SpoolUnusable
from hikvision_frappe.listener.supervisor import Listener
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.profile import PROFILES
from hikvision_frappe.simulator.push import PushTiming

PROCESS = Path(__file__).with_name("listener_process.py")


async def push(port: int, serial_no: int, key: str = "gate") -> int:
	"""Post one pass; the HTTP status, or 0 when nobody answered."""
	url = f"http://127.0.0.1:{port}/hikvision/event/key{key}.{SECRET}"
	try:
		async with aiohttp.ClientSession() as session, session.post(url, data=push_body(serial_no)) as answer:
			return answer.status
	except aiohttp.ClientError:
		return 0


async def push_until_taken(port: int, serial_no: int) -> None:
	for _ in range(200):
		if await push(port, serial_no) == 200:
			return
		await asyncio.sleep(0.02)
	raise AssertionError("the push was never taken")


async def test_a_push_goes_through_to_the_ledger(tmp_path: Path) -> None:
	async with Running(tmp_path, [a_device()]) as it:
		await push_until_taken(it.parts.push.port, 7)
		await it.until_stored(1)
		assert it.rows()[0].source == "push"


async def test_the_same_pass_told_by_stream_and_push_is_one_row(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device, Running(tmp_path, [streaming(device)]) as it:
		await it.until_state(ConnectionState.CONNECTED)
		device.push_to(f"http://127.0.0.1:{it.parts.push.port}/hikvision/event/keygate.{SECRET}")
		for number in range(10):
			device.make_pass(f"{number}")
		await until(lambda: it.track().events + it.parts.spool.counts.repeated >= 20)
		await until(lambda: it.parts.spool.depth == 0)
		assert len(it.rows()) == len(device.log) == 10


@pytest.mark.parametrize("profile", ["k1t341am-old", "k1t344"])
async def test_broken_pushes_are_refused_and_told_again_whole(profile: str, tmp_path: Path) -> None:
	faults = Faults(malformed_every=3)
	timing = PushTiming(first_retry=0.01, longest_retry=0.05)
	async with (
		SimulatedDevice(PROFILES[profile], faults=faults, push_timing=timing) as device,
		Running(tmp_path, [a_device()]) as it,
	):
		await push_until_taken(it.parts.push.port, 999_999)
		device.push_to(f"http://127.0.0.1:{it.parts.push.port}/hikvision/event/keygate.{SECRET}")
		for number in range(12):
			device.make_pass(f"{number}")
		await it.until_stored(13)
		await until(lambda: it.parts.spool.depth == 0)
		assert Counter(row.serial_no for row in it.rows()) == Counter(
			[999_999, *(record.serial_no for record in device.log)]
		)
		assert it.track().malformed > 0


async def test_without_a_site_at_the_start_pushes_are_asked_for_patience_until_devices_are_known(
	tmp_path: Path,
) -> None:
	it = Running(tmp_path, [a_device()])
	it.site.down = True
	async with it:
		assert await push(it.parts.push.port, 1) == 503
		await until(lambda: "cannot answer" in it.listener.site_error)
		it.site.down = False
		await push_until_taken(it.parts.push.port, 1)
		await it.until_stored(1)
		await until(lambda: it.listener.site_error == "")


async def test_while_the_site_is_away_everything_is_spooled_and_afterwards_delivered(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device), a_device("hall")]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		it.site.down = True
		device.make_pass("1")
		device.cut_streams()
		device.make_pass("2")
		assert await push(it.parts.push.port, 9, "hall") == 200
		await until(lambda: it.parts.spool.depth == 3)
		assert it.rows() == []
		await until(lambda: "migration in progress" in it.parts.forwarder.error)
		it.site.down = False
		await it.until_stored(3)
		await until(lambda: it.parts.errors == [])


async def test_a_fault_of_the_sites_code_costs_no_event(tmp_path: Path, caplog) -> None:
	async with Running(tmp_path, [a_device()]) as it:
		await push_until_taken(it.parts.push.port, 1)
		await it.until_stored(1)
		it.site.broken = True
		assert await push(it.parts.push.port, 2) == 200
		await until(lambda: "TypeError" in it.parts.forwarder.error)
		it.site.broken = False
		await it.until_stored(2)
	assert "personal data of xxx" not in caplog.text  # texts of errors may hold anything


async def test_an_event_that_the_site_refuses_is_set_aside_and_holds_nothing_up(tmp_path: Path) -> None:
	async with Running(tmp_path, [a_device()]) as it:
		it.site.refuses = {2}
		for serial in (1, 2, 3):
			await push_until_taken(it.parts.push.port, serial)
		await it.until_stored(2)
		await until(lambda: it.parts.spool.set_aside_depth == 1)
		(kept,) = await it.parts.spool.set_aside()
		assert kept.reason == "never"
		assert [row.serial_no for row in it.rows()] == [1, 3]


async def test_a_clean_stop_hands_over_what_is_spooled_and_gives_up_the_leases(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.fill_backlog(300)
		await until(lambda: it.track().events > 0)
		await it.end()
		assert len(it.rows()) == it.parts.spool.counts.appended > 0
		assert it.ledger.devices("another", 10)[0].leased
		assert it.site.reports[-1].spool_depth == 0


async def test_a_stop_without_a_site_is_bounded_and_keeps_the_spool(tmp_path: Path) -> None:
	async with Running(tmp_path, [a_device()], stop_seconds=0.3) as it:
		await push_until_taken(it.parts.push.port, 1)
		await it.until_stored(1)
		it.site.down = True
		assert await push(it.parts.push.port, 2) == 200
		began = time.monotonic()
		await it.end()
		assert time.monotonic() - began < 3.0
	async with Running(tmp_path, [a_device()]) as again:
		await again.until_stored(2)


async def test_a_second_listener_waits_and_takes_over_when_the_first_dies(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		first = Running(tmp_path, [streaming(device)], name="first", lease_seconds=0.6)
		other_spool = tmp_path / "other"
		async with first:
			await first.until_state(ConnectionState.CONNECTED)
			second = Running(
				tmp_path,
				[streaming(device)],
				name="second",
				lease_seconds=0.6,
				spool_path=other_spool / "spool.sqlite3",
			)
			async with second:
				await until(lambda: second.listener.tracks)
				await asyncio.sleep(0.8)  # longer than a lease, which the first renews
				assert second.track().state is ConnectionState.WAITING
				assert device.open_streams == 1
				assert second.site.reports == [] or not second.site.reports[-1].devices
				await first.die()
				device.make_pass("1")
				await second.until_state(ConnectionState.CONNECTED)
				await second.until_stored(1)
				assert device.open_streams == 1


async def test_a_lease_shorter_than_the_pause_between_two_polls_is_kept_all_the_same(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		config = streaming(device)
		async with Running(tmp_path, [config], lease_seconds=1.8, poll_seconds=30.0) as first:
			await first.until_state(ConnectionState.CONNECTED)
			another = LocalSite(tmp_path / "ledger.sqlite3", [config])
			for _ in range(22):
				await asyncio.sleep(0.1)
				assert not another.devices("another", 1.8)[0].leased
			another.close()


async def test_a_second_listener_takes_over_at_once_after_a_clean_stop(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)], name="first") as first,
	):
		await first.until_state(ConnectionState.CONNECTED)
		await first.end()
		spool = tmp_path / "other" / "spool.sqlite3"
		async with Running(tmp_path, [streaming(device)], name="second", spool_path=spool) as second:
			await second.until_state(ConnectionState.CONNECTED)


async def test_a_restarted_listener_is_the_same_listener(tmp_path: Path) -> None:
	assert quick(tmp_path / "a").listener_name == quick(tmp_path / "a").listener_name
	assert quick(tmp_path / "a").listener_name != quick(tmp_path / "b").listener_name


async def test_two_listeners_cannot_share_a_spool(tmp_path: Path) -> None:
	async with Running(tmp_path, []) as it:
		site = LocalSite(":memory:")
		with pytest.raises(SpoolUnusable, match="Another process"):
			await Listener(site, it.listener.settings).run(asyncio.Event())


async def test_a_taken_port_ends_the_listener_with_its_error_and_frees_the_spool(tmp_path: Path) -> None:
	async with Running(tmp_path, []) as it:
		settings = quick(tmp_path / "other.sqlite3", push_port=it.parts.push.port)
		for _ in range(2):
			with pytest.raises(OSError, match="address already in use"):
				await Listener(LocalSite(":memory:"), settings).run(asyncio.Event())


async def test_the_site_hears_of_changes_and_never_of_secrets(tmp_path: Path, caplog) -> None:
	caplog.set_level(logging.DEBUG)
	async with (
		SimulatedDevice(PROFILES["k1t344"], password="very-secret-password") as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await until(lambda: it.site.reports and it.site.reports[-1].devices)
		await it.until_state(ConnectionState.CONNECTED)
		device.push_to(f"http://127.0.0.1:{it.parts.push.port}/hikvision/event/keygate.{SECRET}")
		device.make_pass("0042", name="Ada Example")
		await it.until_stored(1)
		states = lambda: [each.state for report in it.site.reports for each in report.devices]  # noqa: E731
		await until(lambda: ConnectionState.CONNECTED in states())
		report = it.site.reports[-1]
		assert report.push_address == f"http://127.0.0.1:{it.parts.push.port}"
		told = repr(it.site.reports)
	assert "very-secret-password" not in caplog.text + told
	assert SECRET not in caplog.text + told
	assert "Ada Example" not in caplog.text + told


async def test_a_listener_killed_between_delivery_and_acknowledgement_loses_and_doubles_nothing(
	tmp_path: Path,
) -> None:
	async with SimulatedDevice(PROFILES["k1t341am-old"], zone="UTC") as device:
		acknowledged: set[int] = set()
		serial = 0
		for lives_for in (1, 2, 1, 3, 1, 2):
			process, port = await start_listener(tmp_path, device.port, lives_for)
			while process.returncode is None and serial < 500:
				device.make_pass(f"{serial}")
				serial += 1
				if await push(port, serial, "hall") == 200:
					acknowledged.add(serial)
				await asyncio.sleep(0.005)
			await process.wait()
			assert process.returncode == -signal.SIGKILL
		process, _ = await start_listener(tmp_path, device.port, 0)
		ledger = LocalSite(tmp_path / "ledger.sqlite3")
		await until(
			lambda: len(of(ledger, "gate")) >= len(device.log) and acknowledged <= set(of(ledger, "hall"))
		)
		process.terminate()
		assert await process.wait() == 0
		for key in ("gate", "hall"):
			assert len(of(ledger, key)) == len(set(of(ledger, key)))
		assert sorted(of(ledger, "gate")) == [record.serial_no for record in device.log]
		assert acknowledged
		ledger.close()


def of(ledger: LocalSite, key: str) -> list[int]:
	return [row.serial_no for row in ledger.rows() if row.device == key and row.serial_no]


async def start_listener(
	folder: Path, device_port: int, lives_for: int
) -> tuple[asyncio.subprocess.Process, int]:
	process = await asyncio.create_subprocess_exec(
		sys.executable,
		str(PROCESS),
		str(folder),
		str(device_port),
		str(lives_for),
		stdout=asyncio.subprocess.PIPE,
		stderr=asyncio.subprocess.DEVNULL,
		env={**os.environ, "PYTHONPATH": str(PROCESS.parents[2])},
	)
	assert process.stdout is not None
	return process, int(await process.stdout.readline())


async def test_terminals_that_accept_and_never_answer_keep_no_other_out(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as good, SimulatedDevice(PROFILES["k1t344"]) as mute:
		mute.faults.mute = True
		devices = [streaming(mute, f"mute{number}") for number in range(20)] + [streaming(good, "good")]
		async with Running(tmp_path, devices, handshakes=4, handshake_patience=0.1) as it:
			await it.until_state(ConnectionState.CONNECTED, "good")


async def test_a_stream_that_ended_by_itself_is_begun_again(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		(stream,) = [task for task in asyncio.all_tasks() if task.get_name() == "stream gate"]
		stream.cancel()
		device.make_pass("1")
		await until(lambda: stream.done() and device.open_streams == 1)
		device.make_pass("2")
		await it.until_stored(2)
