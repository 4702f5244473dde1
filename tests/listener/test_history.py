"""Readings of history: what the terminal holds is in the ledger once, and each task ends with the truth about it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from listener_support import a_pass, until
from running import QUICK_HISTORY, MoodySite, Running, streaming, with_stream

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.core.gaps import GapState
from hikvision_frappe.listener.history import HistorySettings, read_due_histories
from hikvision_frappe.listener.local_history import HistoryFetch
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import (
	ConnectionState,
	Delivery,
	DeviceConfig,
	HistoryReport,
	HistoryState,
	HistoryTask,
	IngestMode,
	SiteUnavailable,
)
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.digest import LockOut
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.profile import PROFILES

HISTORIES = ["k1t344", "k1a340", "kv6124", "k2702", "k1t341am-old"]
ENDED = {HistoryState.PROVEN, HistoryState.UNPROVEN, HistoryState.FAILED, HistoryState.CANCELLED}
HOUR = timedelta(hours=1)


def now() -> datetime:
	return datetime.now(timezone.utc)


def with_history(device: SimulatedDevice, key: str = "gate", **changes) -> DeviceConfig:
	"""The simulated device entered as one whose history is read and nothing else, unless changed."""
	return streaming(device, key, **{"mode": IngestMode.HISTORY, "history": True, **changes})


def records(device: SimulatedDevice) -> Counter:
	return Counter((int(each.instant.timestamp()), each.person) for each in device.log)


def stored(it: Running, key: str = "gate") -> Counter:
	return Counter((row.occurred_second, row.person) for row in it.rows() if row.device == key)


def ask(it: Running, hours: float = 6.0, ago: float = 4.0, device: str = "gate") -> str:
	"""Ask for the last hours, up to some seconds ago, so that it is over."""
	end = now() - timedelta(seconds=ago)
	return it.ledger.ask_history(device, end - timedelta(hours=hours), end)


def fetch(it: Running, name: str) -> HistoryFetch:
	return next(each for each in it.ledger.fetches() if each.name == name)


async def until_ended(it: Running, name: str, seconds: float = 15.0) -> HistoryFetch:
	await until(lambda: fetch(it, name).state in ENDED, seconds)
	return fetch(it, name)


@asynccontextmanager
async def reading(
	tmp_path: Path, profile: str = "k1t344", rows: int = 50, faults: Faults | None = None, **changes
) -> AsyncIterator[tuple[SimulatedDevice, Running]]:
	"""A terminal with a backlog, and a listener that may read it."""
	async with SimulatedDevice(PROFILES[profile], faults=faults) as device:
		device.fill_backlog(rows, [f"{number:04d}" for number in range(7)])
		async with Running(tmp_path, [with_history(device, **changes)]) as it:
			yield device, it


# A task's life.


@pytest.mark.parametrize("profile", HISTORIES)
async def test_the_history_of_any_kind_of_terminal_is_read_and_proven(profile: str, tmp_path: Path) -> None:
	async with reading(tmp_path, profile, rows=70) as (device, it):
		ended = await until_ended(it, ask(it))
		assert ended.state is HistoryState.PROVEN
		assert ended.reason == ""
		assert (ended.rows, ended.new, ended.total) == (70, 70, 70)
		assert ended.read_until == ended.until
		assert ended.numbered is PROFILES[profile].history.serial_in_rows
		assert stored(it) == records(device)
		assert not device.login_failures


async def test_progress_is_told_on_the_way_and_counts_only_what_is_committed(tmp_path: Path) -> None:
	slow = Faults(answer_delay=0.02)
	async with reading(tmp_path, rows=400, faults=slow) as (_, it):
		name = ask(it)
		await until_ended(it, name)
		told = [report for report in it.site.told if report.task == name]
		rows = [report.rows for report in told]
		assert told[0].state is HistoryState.RUNNING
		assert len(told) > 3
		assert rows == sorted(rows)
		assert any(0 < number < 400 for number in rows)
		assert told[-1].state is HistoryState.PROVEN
		assert told[-1].supported


async def test_totals_that_do_not_agree_leave_a_reading_unproven_with_its_reason(tmp_path: Path) -> None:
	async with reading(tmp_path, faults=Faults(total_error=3)) as (device, it):
		ended = await until_ended(it, ask(it))
		assert ended.state is HistoryState.UNPROVEN
		assert ended.reason
		assert stored(it) == records(device)


async def test_records_that_the_site_refuses_leave_a_reading_unproven(tmp_path: Path) -> None:
	async with reading(tmp_path) as (_, it):
		it.site.refuses = {7, 8}
		ended = await until_ended(it, ask(it))
		assert ended.state is HistoryState.UNPROVEN
		assert "refuses 2 of the records" in ended.reason
		assert len(it.rows()) == 48


async def test_a_log_that_was_cleared_is_not_taken_for_the_proof_that_nothing_happened(
	tmp_path: Path,
) -> None:
	async with reading(tmp_path) as (device, it):
		assert (await until_ended(it, ask(it))).state is HistoryState.PROVEN
		device.make_pass("lost")
		device.reset_serial()
		ended = await until_ended(it, ask(it, ago=0.0))
		assert ended.state is HistoryState.UNPROVEN
		assert "cleared" in ended.reason


async def test_a_stretch_that_is_not_over_is_never_called_complete(tmp_path: Path) -> None:
	async with reading(tmp_path) as (_, it):
		name = it.ledger.ask_history("gate", now() - HOUR, now() + HOUR)
		ended = await until_ended(it, name)
		assert ended.state is HistoryState.UNPROVEN
		assert "not over yet" in ended.reason


async def test_a_stretch_that_has_just_ended_is_waited_for(tmp_path: Path) -> None:
	async with reading(tmp_path) as (device, it):
		device.make_pass("last")
		name = it.ledger.ask_history("gate", now() - HOUR, now())
		assert (await until_ended(it, name)).state is HistoryState.PROVEN
		assert stored(it) == records(device)


async def test_a_device_without_history_is_found_out(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["nvr-typeb"]) as device:
		config = streaming(device, history=True)
		async with Running(tmp_path, [config]) as it:
			name = ask(it)
			ended = await until_ended(it, name)
			assert ended.state is HistoryState.FAILED
			last = it.site.told[-1]
			assert (last.supported, last.retry) == (False, False)
			await it.until_state(ConnectionState.CONNECTED)  # its stream has nothing to do with it


async def test_a_device_that_is_off_fails_with_a_retry_and_is_read_when_it_is_on(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.fill_backlog(20)
		await device.stop()
		async with Running(tmp_path, [with_history(device)]) as it:
			name = ask(it)
			await until(lambda: fetch(it, name).state is HistoryState.FAILED)
			assert "cannot be reached" in fetch(it, name).reason
			assert it.site.told[-1].retry
			await it.until_state(ConnectionState.RETRYING)
			await device.start()
			await until(lambda: fetch(it, name).state is HistoryState.PROVEN, seconds=30.0)
			assert fetch(it, name).attempts >= 2
			assert len(it.rows()) == 20
			await it.until_state(ConnectionState.CONNECTED)


async def test_another_terminal_at_the_address_fills_no_gap(tmp_path: Path) -> None:
	async with reading(tmp_path, serial_number="DS-ANOTHER") as (_, it):
		ended = await until_ended(it, ask(it))
		assert ended.state is HistoryState.FAILED
		assert "Another terminal answers" in ended.reason
		assert not it.site.told[-1].retry
		assert it.rows() == []
		assert it.track().state is ConnectionState.STOPPED


async def test_a_terminal_that_is_entered_elsewhere_is_not_read_for_two_devices(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.fill_backlog(5)
		known = with_history(device, "hall", serial_number=device.serial_number)
		async with Running(tmp_path, [with_history(device), known]) as it:
			ended = await until_ended(it, ask(it))
			assert "already entered as Device hall" in ended.reason
			assert (await until_ended(it, ask(it, device="hall"))).state is HistoryState.PROVEN
			assert {row.device for row in it.rows()} == {"hall"}


# Logins.


async def test_a_wrong_password_is_tried_once_by_readings_and_stream_together(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.fill_backlog(5)
		wrong = streaming(device, password="wrong-password", history=True)
		for _ in range(3):
			async with Running(tmp_path, [wrong]) as it:
				ended = await until_ended(it, ask(it))
				assert ended.state is HistoryState.FAILED
				assert "refuses user or password" in ended.reason
				await it.until_state(ConnectionState.STOPPED)
		assert len(device.login_failures) == 1
		async with Running(tmp_path, [replace(wrong, revision="2", address=streaming(device).address)]) as it:
			assert (await until_ended(it, ask(it))).state is HistoryState.PROVEN


async def test_a_wrong_password_of_a_device_without_stream_is_tried_once(tmp_path: Path) -> None:
	async with reading(tmp_path, password="wrong-password") as (device, it):
		for _ in range(3):
			await until_ended(it, ask(it))
		assert it.track().state is ConnectionState.STOPPED
		assert len(device.login_failures) == 1
		assert "wrong-password" not in repr(it.site.told)


async def test_a_locked_account_is_left_alone_until_the_lock_has_ended(tmp_path: Path) -> None:
	device = SimulatedDevice(
		PROFILES["k1t344"], faults=Faults(refuse_logins=1), lock_out=LockOut(max_tries=1, seconds=1.0)
	)
	quick = replace(QUICK_HISTORY, lock_margin=0.5)
	async with device, Running(tmp_path, [with_history(device)], history=quick) as it:
		name = ask(it)
		await until(lambda: fetch(it, name).state is HistoryState.FAILED)
		assert "locked itself" in fetch(it, name).reason
		assert it.site.told[-1].retry
		assert it.track().state is ConnectionState.RETRYING
		for _ in range(3):  # asked for by people meanwhile
			await until_ended(it, ask(it))
		assert len(device.login_failures) == 1
		await until(lambda: fetch(it, name).state is HistoryState.PROVEN, seconds=40.0)
		assert len(device.login_failures) == 1


@pytest.mark.parametrize("profile", HISTORIES)
@pytest.mark.parametrize("single_nonce", [False, True], ids=["many nonces", "a single nonce"])
async def test_stream_and_readings_do_not_spoil_each_others_login(
	profile: str, single_nonce: bool, tmp_path: Path
) -> None:
	known = with_stream(profile, replay=0)
	known = replace(known, digest=replace(known.digest, single_nonce=single_nonce))
	async with (
		SimulatedDevice(known) as device,
		Running(tmp_path, [streaming(device, history=True)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.fill_backlog(100)
		for round_number in range(4):
			name = ask(it)
			device.cut_streams()
			device.make_pass(f"live{round_number}")
			ended = await until_ended(it, name)
			assert ended.state is HistoryState.PROVEN, ended.reason
		await it.until_state(ConnectionState.CONNECTED)
		await until(lambda: device.open_streams == 1)
		assert not device.login_failures


# The site and the listener come and go.


async def test_while_the_site_is_away_a_reading_keeps_its_place(tmp_path: Path) -> None:
	slow = Faults(answer_delay=0.02)
	async with reading(tmp_path, rows=300, faults=slow) as (device, it):
		name = ask(it)
		await until(lambda: it.rows())
		it.site.down = True
		await asyncio.sleep(0.3)
		seen = len(device.requests)
		await asyncio.sleep(0.3)
		assert len(device.requests) == seen  # it waits and does not read on into nowhere
		it.site.down = False
		assert (await until_ended(it, name)).state is HistoryState.PROVEN
		assert fetch(it, name).attempts == 1
		assert stored(it) == records(device)


async def test_a_fault_of_the_sites_code_costs_no_row(tmp_path: Path, caplog) -> None:
	async with reading(tmp_path, rows=200, faults=Faults(answer_delay=0.02)) as (device, it):
		name = ask(it)
		await until(lambda: it.rows())
		it.site.broken = True
		await until(lambda: "the site failed with TypeError" in caplog.text)
		it.site.broken = False
		assert (await until_ended(it, name)).state is HistoryState.PROVEN
		assert stored(it) == records(device)
	assert "personal data of xxx" not in caplog.text


class StoppingSite(MoodySite):
	"""Wants no reading any more, once it has some rows."""

	def __init__(self, site: LocalSite) -> None:
		super().__init__(site)
		self.unwanted = False

	def report_history(self, report: HistoryReport) -> bool:
		return super().report_history(report) and not self.unwanted


async def test_a_reading_that_is_not_wanted_any_more_stops(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.02)) as device:
		device.fill_backlog(3_000)
		site = StoppingSite(LocalSite(tmp_path / "ledger.sqlite3", [with_history(device)]))
		async with Running(tmp_path, [with_history(device)], site=site) as it:
			ask(it, hours=10)
			await until(lambda: it.rows())
			site.unwanted = True
			site.site.set_devices([replace(with_history(device), history=False, mode=IngestMode.PUSH)])
			await until(lambda: not it.parts.readings)
			assert len(it.rows()) < 3_000


@pytest.mark.parametrize("change", ["disabled", "changed"])
async def test_a_device_that_is_disabled_or_changed_stops_being_read(change: str, tmp_path: Path) -> None:
	slow = Faults(answer_delay=0.02)
	async with reading(tmp_path, rows=2_000, faults=slow) as (device, it):
		name = ask(it)
		await until(lambda: it.rows())
		if change == "disabled":
			it.ledger.set_devices([])
			await until(lambda: not it.parts.readings)
			assert len(it.rows()) < 2_000
		else:
			device.faults.answer_delay = 0.0
			it.ledger.set_devices([with_history(device, revision="2")])
			assert (await until_ended(it, name)).state is HistoryState.PROVEN
			assert stored(it) == records(device)


async def test_a_stopped_listener_keeps_what_was_read_and_another_goes_on_there(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.01)) as device:
		device.fill_backlog(400, seconds_between=120.0)
		config = with_history(device)
		slices = replace(QUICK_HISTORY, slice=timedelta(hours=2))
		async with Running(tmp_path, [config], name="first", history=slices) as first:
			name = ask(first, hours=14)
			await until(lambda: fetch(first, name).read_until)
			began = time.monotonic()
			await first.end()
			assert time.monotonic() - began < 1.0
			reached = fetch(first, name).read_until
			kept = len(first.rows())
			assert 0 < kept < 400
			assert first.site.told[-1].state is HistoryState.RUNNING
		spool = tmp_path / "other" / "spool.sqlite3"
		async with Running(tmp_path, [config], name="second", spool_path=spool, history=slices) as second:
			ended = await until_ended(second, name)
			assert ended.state is HistoryState.PROVEN
			assert ended.read_until > reached
			assert stored(second) == records(device)
			assert second.site.told[-1].new == 400 - kept


async def test_a_stop_without_a_site_is_quick_and_loses_nothing(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.01)) as device:
		device.fill_backlog(300)
		async with Running(tmp_path, [with_history(device)], stop_seconds=0.3) as it:
			name = ask(it)
			await until(lambda: it.rows())
			it.site.down = True
			await asyncio.sleep(0.1)
			began = time.monotonic()
			await it.end()
			assert time.monotonic() - began < 2.5
		async with Running(tmp_path, [with_history(device)]) as again:
			assert (await until_ended(again, name)).state is HistoryState.PROVEN
			assert stored(again) == records(device)


async def test_a_reading_whose_listener_died_is_taken_over_when_its_lease_has_run_out(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.02)) as device:
		device.fill_backlog(400)
		config = with_history(device)
		async with Running(tmp_path, [config], name="first", lease_seconds=0.5) as first:
			name = ask(first)
			await until(lambda: first.rows())
			spool = tmp_path / "other" / "spool.sqlite3"
			async with Running(
				tmp_path, [config], name="second", lease_seconds=0.5, spool_path=spool
			) as second:
				await asyncio.sleep(0.7)  # longer than a lease, which the first renews
				assert not second.site.told
				await first.die()
				assert (await until_ended(second, name)).state is HistoryState.PROVEN
				assert stored(second) == records(device)


async def test_only_so_many_devices_are_read_at_a_time_and_all_in_the_end(tmp_path: Path) -> None:
	devices = [SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.01)) for _ in range(7)]
	for device in devices:
		await device.start()
		device.fill_backlog(60)
	configs = [with_history(device, f"D{number}") for number, device in enumerate(devices)]
	most = 0
	async with Running(tmp_path, configs, history=replace(QUICK_HISTORY, readers=2)) as it:
		names = [ask(it, device=config.key) for config in configs]
		while any(fetch(it, name).state not in ENDED for name in names):
			most = max(most, len(it.parts.readings))
			await asyncio.sleep(0.01)
		assert most == 2
		assert {fetch(it, name).state for name in names} == {HistoryState.PROVEN}
		assert len(it.rows()) == 420
	for device in devices:
		await device.stop()


async def test_a_device_that_answers_slowly_keeps_no_other_waiting_for_long(tmp_path: Path) -> None:
	patient = replace(QUICK_HISTORY, readers=1, reader_patience=0.3)
	slow = SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=1.0))
	async with slow, SimulatedDevice(PROFILES["k1t344"]) as quick:
		slow.fill_backlog(300)
		quick.fill_backlog(10)
		configs = [with_history(slow, "slow"), with_history(quick, "quick")]
		async with Running(tmp_path, configs, history=patient) as it:
			first = ask(it, device="slow")
			await until(lambda: it.parts.readings)
			assert (await until_ended(it, ask(it, device="quick"))).state is HistoryState.PROVEN
			assert fetch(it, first).state is HistoryState.RUNNING


@pytest.mark.parametrize("seconds", [0, 120, -120, 3_600, -3_600])
async def test_a_clock_that_went_wrong_among_the_records_hides_none(seconds: int, tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.make_pass("right", at=now() - timedelta(minutes=9))
		device.jump_clock(seconds)
		device.make_pass("wrong", at=device.clock.now() - timedelta(minutes=5))
		async with Running(tmp_path, [with_history(device)]) as it:
			ended = await until_ended(it, ask(it, hours=1 / 6))
			assert ended.state is HistoryState.PROVEN
			assert ended.read_until == ended.until
			assert {row.person for row in it.rows()} == {"right", "wrong"}
			assert abs(it.track().clock_offset + seconds) < 2


class RememberingSite(MoodySite):
	"""Knows what the device's clock was when the records were made."""

	clock_offset = 0.0

	def history_tasks(self, listener: str, lease_seconds: float) -> Sequence[HistoryTask]:
		tasks = super().history_tasks(listener, lease_seconds)
		return [replace(task, clock_offset=self.clock_offset) for task in tasks]


@pytest.mark.parametrize("hours", [-2, 2, -48, 48])
async def test_records_of_a_clock_that_was_put_right_since_are_found(hours: int, tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["kv6124"]) as device:
		device.make_pass("first", at=now() - timedelta(days=30))
		device.make_pass("wrong", at=now() - timedelta(minutes=9) + timedelta(hours=hours))
		site = RememberingSite(LocalSite(tmp_path / "ledger.sqlite3", [with_history(device)]))
		site.clock_offset = -hours * 3600.0
		async with Running(tmp_path, [with_history(device)], site=site) as it:
			ended = await until_ended(it, ask(it, hours=1 / 6), 60.0)
			assert (ended.state, ended.read_until) == (HistoryState.PROVEN, ended.until)
			assert {row.person for row in it.rows()} == {"wrong"}


@pytest.mark.parametrize("years", [-3, 3])
async def test_a_clock_that_is_years_wrong_costs_no_years_of_reading(years: int, tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.make_pass("right")
		device.jump_clock(years * 365 * 86_400)
		device.make_pass("wrong")
		async with Running(tmp_path, [with_history(device)]) as it:
			ended = await until_ended(it, ask(it, hours=1.0, ago=-2.0), 60.0)
			assert (ended.state, ended.read_until) == (HistoryState.PROVEN, ended.until)
			assert {row.person for row in it.rows()} == {"right", "wrong"}
			assert len(device.requests) < 100


# Gaps, end to end.


async def hear_a_pass(folder: Path, device: SimulatedDevice, config: DeviceConfig) -> None:
	"""A listener hears one, and ends."""
	async with Running(folder, [config]) as it:
		await it.until_state(ConnectionState.CONNECTED)
		device.make_pass("before")
		await it.until_stored(1)
		await until(lambda: it.track().heartbeats > 3 and it.parts.spool.depth == 0)


async def test_what_was_missed_while_nobody_listened_is_read_from_history_by_itself(tmp_path: Path) -> None:
	profile = with_stream("k1t344", replay=0, heartbeat_seconds=0.1)
	async with SimulatedDevice(profile) as device:
		config = streaming(device, history=True)
		await hear_a_pass(tmp_path, device, config)
		for number in range(40):
			device.make_pass(f"missed{number}")
		await asyncio.sleep(2.1)  # two contacts that are closer are one
		async with Running(tmp_path, [config]) as it:
			await it.until_state(ConnectionState.CONNECTED)
			device.make_pass("after")
			await until(
				lambda: (gaps := it.ledger.gaps()) and all(gap.state is GapState.RECOVERED for gap in gaps),
				seconds=30.0,
			)
			assert len(it.rows()) == 42


async def test_a_device_of_which_only_the_history_is_read_is_read_again_and_again(tmp_path: Path) -> None:
	async with reading(tmp_path, rows=10, history_seconds=0.3) as (device, it):
		await until(lambda: len(it.rows()) == 10)
		await it.until_state(ConnectionState.CONNECTED)
		assert it.track().identity.serial_number == device.serial_number
		assert it.track().clock_offset is not None
		assert it.track().events == 10
		device.make_pass("new")
		await until(lambda: len(it.rows()) == 11)
		assert device.open_streams == 0


async def test_a_log_that_was_wiped_between_two_readings_is_not_called_complete(tmp_path: Path) -> None:
	"""Its rows have no numbers, and nobody had read what it held: it looks like a log that is new."""
	async with reading(tmp_path, "kv6124", rows=10, history_seconds=0.3) as (device, it):
		await until(lambda: len(it.rows()) == 10)
		await until(lambda: it.ledger.fetches()[-1].state is HistoryState.PROVEN)
		lost = device.make_pass("lost")
		device.reset_serial()
		device.make_pass("kept")
		proven = it.ledger.fetches()[-1].name
		await until(lambda: it.ledger.fetches()[-1].name != proven)
		ended = await until_ended(it, it.ledger.fetches()[-1].name)
		assert ended.state is HistoryState.UNPROVEN
		assert "records begin within the range" in ended.reason
		assert it.ledger.watermarks()["gate"].moment < lost.instant
		assert stored(it) == records(device) - Counter([(int(lost.instant.timestamp()), "lost")])


async def test_a_log_that_was_wiped_in_a_break_proves_nothing_of_it_and_all_of_what_follows(
	tmp_path: Path,
) -> None:
	"""The gap waits for a person, and quiet readings are complete though the log is empty."""
	profile = with_stream("k1t344", replay=0, heartbeat_seconds=0.1)
	unnumbered = tuple(name for name in profile.wording.inner_fields if name != "serialNo")
	profile = replace(
		profile,
		history=replace(profile.history, serial_in_rows=False),
		wording=replace(profile.wording, inner_fields=unnumbered),
	)
	async with SimulatedDevice(profile) as device:
		config = streaming(device, history=True)
		await hear_a_pass(tmp_path, device, config)
		device.make_pass("lost")
		device.reset_serial()
		await asyncio.sleep(2.1)
		async with Running(tmp_path, [config]) as it:
			await until(lambda: [gap.state for gap in it.ledger.gaps()] == [GapState.UNRECOVERABLE], 30.0)
			gap = it.ledger.gaps()[0]
			assert it.ledger.fetches()[0].state is HistoryState.UNPROVEN
			assert it.ledger.accept_gap(gap.name, "an administrator cleared the log")
			quiet = it.ledger.ask_history("gate", gap.until, now())
			assert (await until_ended(it, quiet)).state is HistoryState.PROVEN
			again = it.ledger.ask_history("gate", gap.since, now())
			assert (await until_ended(it, again)).state is HistoryState.UNPROVEN


async def test_a_device_whose_history_is_not_to_be_read_is_left_alone(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device, Running(tmp_path, [streaming(device)]) as it:
		await it.until_state(ConnectionState.CONNECTED)
		ask(it)
		await asyncio.sleep(0.3)
		assert not it.site.told


# Without a listener.


class OwnedSite(MoodySite):
	"""Closed once, by whoever was given it."""

	closed = 0

	def close(self) -> None:
		self.closed += 1


QUICK = HistorySettings(poll_seconds=0.05, gather_seconds=0.05, report_seconds=0.05, least_wait=0.02)


async def test_what_is_due_is_read_without_a_listener_and_that_ends(tmp_path: Path) -> None:
	devices = [SimulatedDevice(PROFILES["k1t344"]) for _ in range(3)]
	for device in devices:
		await device.start()
		device.fill_backlog(40)
	configs = [with_history(device, f"D{number}") for number, device in enumerate(devices)]
	ledger = LocalSite(tmp_path / "ledger.sqlite3", configs)
	site = OwnedSite(ledger)
	end = now() - timedelta(seconds=4)
	for config in [*configs, configs[0]]:
		ledger.ask_history(config.key, end - 6 * HOUR, end)
	await asyncio.wait_for(read_due_histories(site, "job", QUICK), 20)
	assert {each.state for each in ledger.fetches()} == {HistoryState.PROVEN}
	assert len(ledger.rows()) == 120
	assert site.closed == 1
	assert ledger.devices("another", 10)[0].leased
	for device in devices:
		await device.stop()


async def test_a_job_tries_each_task_once_and_ends(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		await device.stop()
		ledger = LocalSite(tmp_path / "ledger.sqlite3", [with_history(device)])
		end = now() - timedelta(seconds=4)
		ledger.ask_history("gate", end - HOUR, end)
		await asyncio.wait_for(read_due_histories(OwnedSite(ledger), "job", QUICK), 20)
		(ended,) = ledger.fetches()
		assert ended.state is HistoryState.FAILED
		assert ended.attempts == 1


async def test_a_job_reads_no_device_that_a_listener_holds(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		ledger = LocalSite(tmp_path / "ledger.sqlite3", [with_history(device)])
		ledger.devices("listener", 60.0)
		end = now() - timedelta(seconds=4)
		ledger.ask_history("gate", end - HOUR, end)
		await asyncio.wait_for(read_due_histories(OwnedSite(ledger), "job", QUICK), 20)
		assert ledger.fetches()[0].state is HistoryState.QUEUED
		assert not device.requests


async def test_a_job_that_is_cancelled_keeps_what_was_read_and_gives_up_its_leases(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.02)) as device:
		device.fill_backlog(2_000)
		ledger = LocalSite(tmp_path / "ledger.sqlite3", [with_history(device)])
		end = now() - timedelta(seconds=4)
		ledger.ask_history("gate", end - 6 * HOUR, end)
		site = OwnedSite(ledger)
		job = asyncio.create_task(read_due_histories(site, "job", QUICK))
		await until(lambda: ledger.rows())
		job.cancel()
		began = time.monotonic()
		await asyncio.gather(job, return_exceptions=True)
		assert time.monotonic() - began < 1.0
		assert ledger.fetches()[0].rows == len(ledger.rows()) > 0
		assert site.closed == 1
		assert ledger.devices("another", 10)[0].leased


async def test_jobs_one_after_another_try_a_wrong_password_once(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		ledger = LocalSite(tmp_path / "ledger.sqlite3", [with_history(device, password="wrong-password")])
		settings = replace(QUICK, refused_logins=tmp_path / "refused.json")
		for _ in range(3):
			end = now() - timedelta(seconds=4)
			ledger.ask_history("gate", end - HOUR, end)
			await asyncio.wait_for(read_due_histories(OwnedSite(ledger), "job", settings), 20)
		assert len(device.login_failures) == 1
		assert {each.state for each in ledger.fetches()} == {HistoryState.FAILED}


async def test_a_job_without_a_site_says_so(tmp_path: Path) -> None:
	site = OwnedSite(LocalSite(tmp_path / "ledger.sqlite3"))
	site.down = True
	with pytest.raises(SiteUnavailable):
		await asyncio.wait_for(read_due_histories(site, "job", QUICK), 20)
	assert site.closed == 1


# Live events go first.


class HoldingSite(MoodySite):
	"""Notes how many readings' rows are told before a live event that came meanwhile."""

	def __init__(self, site: LocalSite) -> None:
		super().__init__(site)
		self.order: list[str] = []

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		self.order.append(events[0].source.value)
		time.sleep(0.02)
		return super().deliver(events)


async def test_a_live_event_waits_for_one_delivery_of_history_at_most(tmp_path: Path) -> None:
	devices = [SimulatedDevice(PROFILES["k1t344"]) for _ in range(4)]
	for device in devices:
		await device.start()
		device.fill_backlog(1_500)
	configs = [with_history(device, f"D{number}") for number, device in enumerate(devices)]
	site = HoldingSite(LocalSite(tmp_path / "ledger.sqlite3", configs))
	async with Running(tmp_path, configs, site=site, history=replace(QUICK_HISTORY, batch=30)) as it:
		for config in configs:
			ask(it, device=config.key)
		await until(lambda: len(site.order) > 20)
		behind = len(site.order)
		await it.parts.spool.append([a_pass(9_999, device="D0")])
		await until(lambda: "stream" in site.order)
		assert site.order.index("stream") - behind <= 4
	for device in devices:
		await device.stop()
