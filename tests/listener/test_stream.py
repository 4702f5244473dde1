"""Streams against simulated terminals: what the device has is in the ledger once, and the device is treated well."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from listener_support import until
from running import QUICK_STREAMS, MoodySite, Running, streaming, with_stream

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.isapi.client import DeviceClient
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.silence import SilenceSettings
from hikvision_frappe.listener.site import ConnectionState, Delivery, DeviceConfig
from hikvision_frappe.simulator.clock import repeated_hour
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.digest import LockOut
from hikvision_frappe.simulator.faults import Faults, PartLength
from hikvision_frappe.simulator.profile import PROFILES


class CountingSite(MoodySite):
	"""Takes everything and counts how often each event was told."""

	def __init__(self, device: DeviceConfig) -> None:
		super().__init__(LocalSite(":memory:", [device]))
		self.taken: Counter[int | None] = Counter()

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		self.taken.update(event.serial_no for event in events)
		return Delivery(new=len(events), known=0)


STREAMING_PROFILES = ["k1t344", "k1a340", "kv6124", "k2702", "k1t341am-old", "nvr-typeb"]


def expected(device: SimulatedDevice) -> Counter:
	return Counter((each.serial_no, int(each.instant.timestamp()), each.person) for each in device.log)


def stored(it: Running, key: str = "gate") -> Counter:
	return Counter((row.serial_no, row.occurred_second, row.person) for row in it.rows() if row.device == key)


@pytest.mark.parametrize("profile", STREAMING_PROFILES)
async def test_what_happens_at_any_kind_of_terminal_is_stored_once(profile: str, tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES[profile]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		for number in range(10):
			device.make_pass(f"{number:04d}", with_door_events=True)
		await it.until_stored(len(device.log))
		assert stored(it) == expected(device)
		assert it.track().identity.model == device.profile.model
		assert it.track().clock_offset is not None


async def test_streams_cut_in_the_middle_of_a_frame_lose_and_double_nothing(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"], faults=Faults(duplicates=2)) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		for round_number in range(8):
			await it.until_state(ConnectionState.CONNECTED)
			for number in range(5):
				device.make_pass(f"{round_number}{number}")
			device.cut_streams(mid_frame=True, reset=round_number % 2 == 1)
			await until(lambda wanted=round_number + 1: it.track().reconnects >= wanted)
		await it.until_stored(len(device.log))
		assert stored(it) == expected(device)
		assert it.parts.spool.counts.repeated > 0


async def test_a_replay_at_reconnect_is_not_sent_to_the_site_again(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		device.fill_backlog(50)
		await it.until_stored(50)
		await until(lambda: it.parts.spool.depth == 0)
		device.cut_streams()
		await until(lambda: it.parts.spool.counts.repeated >= 50)
		assert it.parts.forwarder.known == 0


@pytest.mark.parametrize("length", list(PartLength))
async def test_pictures_and_wrong_lengths_do_not_stop_the_events_between(
	length: PartLength, tmp_path: Path
) -> None:
	faults = Faults(picture_bytes=60_000, part_length=length)
	async with (
		SimulatedDevice(PROFILES["k1a340"], faults=faults) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		for number in range(9):
			device.make_pass(f"{number}")
		await it.until_stored(9)
		assert stored(it) == expected(device)


@pytest.mark.parametrize("profile", STREAMING_PROFILES)
async def test_broken_parts_are_counted_and_cost_no_event_between_them(profile: str, tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES[profile], faults=Faults(malformed_every=2)) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		for number in range(10):
			device.make_pass(f"{number:04d}")
		await it.until_stored(len(device.log))
		assert stored(it) == expected(device)
		assert it.track().malformed >= 5


async def test_a_backlog_of_100000_is_stored_once(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.fill_backlog(100_000)
		site = CountingSite(streaming(device))
		async with Running(tmp_path, [], site=site) as it:
			await until(lambda: len(site.taken) == 100_000, seconds=120.0)
			await until(lambda: it.parts.spool.depth == 0)
	assert set(site.taken.values()) == {1}


@pytest.mark.parametrize("profile", ["k1a340", "k1t341am-old"])
async def test_the_repeated_hour_of_autumn_is_stored_as_the_two_instants_it_was(
	profile: str, tmp_path: Path
) -> None:
	zone = "Europe/Bratislava"
	async with (
		SimulatedDevice(PROFILES[profile], zone=zone) as device,
		Running(tmp_path, [streaming(device, zone=zone)]) as it,
	):
		for moment in repeated_hour(zone, 2025):
			device.make_pass("1", at=moment)
		await it.until_stored(len(device.log))
		assert stored(it) == expected(device)


async def test_a_leaked_slot_is_waited_for_until_the_device_has_freed_it(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"], faults=Faults(leak_slots=True)) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.cut_streams()
		await until(lambda: "somebody else" in it.track().error)
		device.make_pass("1")
		device.reboot()
		await it.until_stored(len(device.log))
		await it.until_state(ConnectionState.CONNECTED)
		assert stored(it) == expected(device)
		assert not device.login_failures


@pytest.mark.parametrize(
	"faults",
	[
		Faults(dribble_bytes=50, dribble_seconds=0.0),
		Faults(reorder=7, duplicates=2),
		Faults(picture_bytes=3_000_000),
	],
	ids=["in drops", "out of order and twice", "with pictures of 3 MB"],
)
async def test_events_are_stored_once_however_they_come(faults: Faults, tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"], faults=replace(faults)) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		for number in range(14):
			device.make_pass(f"{number}")
		await it.until_stored(14)
		await until(lambda: it.parts.spool.depth == 0)
		assert stored(it) == expected(device)
		assert it.track().malformed == 0


@pytest.mark.parametrize("seconds", [7200, -7200])
async def test_a_clock_that_jumps_loses_and_doubles_nothing(seconds: int, tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.make_pass("1")
		device.jump_clock(seconds)
		device.make_pass("2")
		await it.until_stored(len(device.log))
		device.cut_streams()
		await until(lambda: it.track().reconnects >= 1 and it.parts.spool.counts.repeated >= 2)
		await until(lambda: it.parts.spool.depth == 0)
		assert stored(it) == expected(device)


async def test_what_had_come_when_the_listener_stops_is_stored(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(with_stream("k1t344", replay=0)) as device,
		Running(tmp_path, [streaming(device)], pulse_seconds=60.0) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		await until(lambda: it.track().heartbeats)  # that one did not wait for the pulse, and the pass does
		device.make_pass("1")
		await until(lambda: it.parts.streams._around.pulse._next is not None)
		await it.end()
		assert stored(it) == expected(device)


async def test_a_half_open_stream_of_a_device_with_heartbeats_is_opened_anew(tmp_path: Path) -> None:
	profile = with_stream("k1t344", heartbeat_seconds=0.05)
	settings = replace(QUICK_STREAMS, silence=SilenceSettings(floor=0.4, regular_after=2))
	async with (
		SimulatedDevice(profile) as device,
		Running(tmp_path, [streaming(device)], stream=settings) as it,
	):
		await until(lambda: it.track().heartbeats >= 3)
		device.hang()
		device.make_pass("0007")
		await it.until_stored(1)
		assert it.track().reconnects == 1


async def test_silence_of_a_device_without_heartbeats_is_asked_about_and_not_taken_for_death(
	tmp_path: Path,
) -> None:
	profile = with_stream("nvr-typeb", heartbeat_seconds=1_000.0, seconds=None)
	settings = replace(QUICK_STREAMS, silence=SilenceSettings(floor=0.05, probes=1_000))
	async with (
		SimulatedDevice(profile) as device,
		Running(tmp_path, [streaming(device)], stream=settings) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		before = len(device.requests)
		await until(lambda: len(device.requests) >= before + 5)
		assert it.track().reconnects == 0
		assert device.open_streams == 1


async def test_a_device_that_answers_for_a_dead_stream_is_not_believed_for_ever(tmp_path: Path) -> None:
	profile = with_stream("nvr-typeb", heartbeat_seconds=1_000.0, seconds=None)
	settings = replace(QUICK_STREAMS, silence=SilenceSettings(floor=0.05, probes=3))
	async with (
		SimulatedDevice(profile) as device,
		Running(tmp_path, [streaming(device)], stream=settings) as it,
	):
		await until(lambda: it.track().reconnects >= 1)


async def test_a_wrong_password_is_tried_once_and_then_waits_for_a_person(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		wrong = streaming(device, password="wrong-password")
		async with Running(tmp_path, [wrong]) as it:
			await it.until_state(ConnectionState.STOPPED)
			seen = len(device.requests)
			await asyncio.sleep(0.3)  # several readings of the devices
			assert len(device.login_failures) == 1
			assert len(device.requests) == seen
			assert "refuses user or password" in it.track().error
			assert "4 tries are left" in it.track().error
			assert "wrong-password" not in it.track().error
			it.ledger.set_devices([streaming(device, revision="2")])
			await it.until_state(ConnectionState.CONNECTED)
			assert it.track().error == ""
			assert len(device.login_failures) == 1


async def test_a_listener_restarted_again_and_again_tries_a_wrong_password_once(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		for _ in range(6):  # five refusals lock the device
			async with Running(tmp_path, [streaming(device, password="wrong-password")]) as it:
				await it.until_state(ConnectionState.STOPPED)
				assert "refuses user or password" in it.track().error
				await it.die()
		assert len(device.login_failures) == 1
		kept = next((tmp_path / "spool").glob("*.refused-logins.json"))
		assert "wrong-password" not in kept.read_text()
		assert kept.stat().st_mode & 0o077 == 0
		async with Running(tmp_path, [streaming(device, revision="2")]) as it:
			await it.until_state(ConnectionState.CONNECTED)
			assert kept.read_text() == "{}"


async def test_a_device_that_was_switched_off_and_on_at_the_site_is_tried_again(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"], faults=Faults(refuse_logins=1)) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.STOPPED)
		it.ledger.set_devices([])
		await until(lambda: "gate" not in it.listener.tracks)
		it.ledger.set_devices([streaming(device)])
		await it.until_state(ConnectionState.CONNECTED)


async def test_a_storm_of_401_ends_after_one_refused_login(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1a340"], faults=Faults(unauthorized=-1)) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.STOPPED)
		assert sum(request.authorized for request in device.requests) == 1


async def test_a_locked_account_is_left_alone_until_the_lock_has_ended(tmp_path: Path) -> None:
	device = SimulatedDevice(
		PROFILES["k1t344"], faults=Faults(refuse_logins=1), lock_out=LockOut(max_tries=1, seconds=1.0)
	)
	async with device, Running(tmp_path, [streaming(device)]) as it:
		await it.until_state(ConnectionState.RETRYING)
		assert "locked itself" in it.track().error
		assert it.track().retry_at is not None
		it.ledger.set_devices([streaming(device, revision="2")])  # a change does not end the lock
		await it.until_state(ConnectionState.CONNECTED)
		assert len(device.login_failures) == 1


async def test_a_taken_stream_slot_is_waited_for_and_never_doubled(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		other = DeviceClient(streaming(device).address)
		async with other.alert_stream(), Running(tmp_path, [streaming(device)]) as it:
			await it.until_state(ConnectionState.RETRYING)
			assert "somebody else" in it.track().error
			assert device.open_streams == 1
			device.cut_streams()
			await it.until_state(ConnectionState.CONNECTED)
			assert device.open_streams == 1
		await other.close()


async def test_another_terminal_at_the_address_is_named_and_nothing_is_stored_for_the_wrong_device(
	tmp_path: Path,
) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as one,
		SimulatedDevice(PROFILES["k1t344"]) as two,
	):
		moved = streaming(two, "gate", serial_number=one.serial_number)
		hall = streaming(two, "hall", serial_number=two.serial_number)
		async with Running(tmp_path, [moved, hall]) as it:
			await it.until_state(ConnectionState.STOPPED, "gate")
			await it.until_state(ConnectionState.CONNECTED, "hall")
			assert f"{two.serial_number}, which is entered as Device hall" in it.track("gate").error
			assert it.track("gate").identity is None
			two.make_pass("1")
			await it.until_stored(1)
			assert {row.device for row in it.rows()} == {"hall"}


async def test_a_device_that_moved_is_recognised_by_its_serial_number(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], serial_number="DS-MOVED-1") as device:
		device.make_pass("1")
		async with Running(tmp_path, [streaming(device, serial_number="DS-MOVED-1")]) as it:
			await it.until_stored(1)
			await device.stop()
			device.port = 0
			await device.start()
			new = streaming(device, serial_number="DS-MOVED-1", revision="2")
			it.ledger.set_devices([new])
			await until(lambda: it.parts.spool.counts.repeated == 1)
			await it.until_state(ConnectionState.CONNECTED)
			assert len(it.rows()) == 1


async def test_one_terminal_entered_twice_gets_one_stream(tmp_path: Path) -> None:
	profile = with_stream("k1t344", slots=4)
	async with SimulatedDevice(profile) as device:
		twice = [streaming(device, "gate"), streaming(device, "hall")]
		async with Running(tmp_path, twice) as it:
			await until(
				lambda: (
					{it.track("gate").state, it.track("hall").state}
					== {ConnectionState.CONNECTED, ConnectionState.STOPPED}
				)
			)
			assert device.open_streams == 1
			assert "already connected as" in it.track("gate").error + it.track("hall").error


async def test_a_changed_device_is_connected_anew_and_a_learned_serial_number_changes_nothing(
	tmp_path: Path,
) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		since = it.track().connected_since
		it.ledger.set_devices([streaming(device, serial_number=device.serial_number)])
		await asyncio.sleep(0.2)
		assert it.track().connected_since == since
		it.ledger.set_devices([streaming(device, revision="2")])
		await until(lambda: it.track().connected_since not in (None, since))
		assert device.open_streams == 1


async def test_a_removed_device_is_let_go(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		SimulatedDevice(PROFILES["k1t344"]) as other,
		Running(tmp_path, [streaming(device), streaming(other, "hall")]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		it.ledger.set_devices([streaming(other, "hall")])
		await until(lambda: device.open_streams == 0)
		assert "gate" not in it.listener.tracks


async def test_a_stop_closes_every_stream(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		async with Running(tmp_path, [streaming(device)]) as it:
			await it.until_state(ConnectionState.CONNECTED)
		await until(lambda: device.open_streams == 0)


async def test_an_unknown_time_zone_stops_with_a_sentence(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device, zone="Middle/Earth")]) as it,
	):
		await it.until_state(ConnectionState.STOPPED)
		assert "no time zone" in it.track().error
		await until(lambda: device.open_streams == 0)


async def test_a_device_that_is_off_is_tried_until_it_is_on(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		await device.stop()
		async with Running(tmp_path, [streaming(device)]) as it:
			await it.until_state(ConnectionState.RETRYING)
			assert "cannot be reached" in it.track().error
			await device.start()
			await it.until_state(ConnectionState.CONNECTED)


async def test_a_rebooted_device_is_found_again(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["kv6124"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.make_pass("1")
		device.reboot()
		await it.until_stored(len(device.log))
		assert stored(it) == expected(device)


async def test_a_reset_count_is_no_repetition(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)]) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		for number in range(3):
			device.make_pass(f"{number}")
		await it.until_stored(3)
		device.reset_serial()
		device.jump_clock(600)
		for number in range(3):
			device.make_pass(f"{number}")
		await it.until_stored(6)
		assert [row.epoch for row in it.rows()] == [1, 1, 1, 2, 2, 2]


async def test_while_the_spool_is_full_nothing_more_is_read_and_nothing_is_lost(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)], spool_max_bytes=512 * 1024) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		it.site.down = True
		device.fill_backlog(3_000)
		await until(lambda: "Make room" in it.track().error)
		assert it.track().state is ConnectionState.CONNECTED
		assert it.parts.spool.depth < 3_000
		it.site.down = False
		await it.until_stored(3_000)
		await until(lambda: not it.parts.spool.fault and it.track().error == "")
		assert stored(it) == expected(device)
