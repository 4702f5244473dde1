from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hikvision_frappe.simulator import PROFILES, Faults, LockOut, PartLength, SimulatedDevice, repeated_hour
from tests.simulator.conftest import Starter
from tests.simulator.support import STREAM, Stream, Wire, documents, fetch, login, profile, told, wait_until

INFO = "/ISAPI/System/deviceInfo"


def serials(data: bytes) -> list[int]:
	return [event["AccessControllerEvent"]["serialNo"] for event in told(data)]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_stream_is_cut_in_the_middle_of_a_frame(start: Starter, reset: bool) -> None:
	device = await start()
	async with Stream(device) as stream:
		device.make_pass("1")
		await stream.serials(1)
		assert device.cut_streams(mid_frame=True, reset=reset) == 1
		data = await stream.to_the_end()
		assert stream.reset or not reset
	if not reset:
		assert not data.endswith(b"--MIME_boundary\r\n")
	assert serials(data) == [1]
	await wait_until(lambda: device.open_streams == 0)


async def test_a_cut_between_frames_leaves_whole_ones(start: Starter) -> None:
	device = await start()
	async with Stream(device) as stream:
		device.make_pass("1")
		device.cut_streams(mid_frame=False)
		data = await stream.to_the_end()
	assert data.endswith(b"--MIME_boundary\r\n")
	assert serials(data) == [1]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 6000))
def test_a_stream_ends_after_exactly_so_many_bytes(limit: int) -> None:
	async def scenario() -> bytes:
		device = SimulatedDevice(PROFILES["k1a340"], faults=Faults(cut_after_bytes=limit))
		device.fill_backlog(10)
		async with device, Stream(device) as stream:
			return await stream.to_the_end()

	assert len(asyncio.run(scenario())) == limit


async def test_random_cuts_end_streams_inside_a_frame_and_a_replay_heals_them(start: Starter) -> None:
	device = await start(faults=Faults(cut_chance=0.2), seed=7)
	device.fill_backlog(200)
	for _ in range(5):
		async with Stream(device) as stream:
			seen = serials(await stream.to_the_end())
		assert seen == list(range(1, len(seen) + 1))
		assert not stream.data.endswith(b"--MIME_boundary\r\n")
		await wait_until(lambda: device.open_streams == 0)
	device.faults.cut_chance = 0.0
	async with Stream(device) as stream:
		assert await stream.serials(200) == list(range(1, 201))


async def test_a_half_open_stream_sends_nothing_and_keeps_its_slot(start: Starter) -> None:
	device = await start(profile(heartbeat_seconds=0.02))
	async with Stream(device) as stream:
		await stream.until(bool)
		device.hang()
		while not await stream.silent_for(0.1):
			pass
		device.make_pass("1")
		assert device.cut_streams() == 0
		assert await stream.silent_for(0.1)
		authorization = await login(device, STREAM)
		async with Wire(device) as wire:
			assert (await wire.ask(STREAM, authorization))[0] == 400
	assert device.open_streams == 0


async def test_a_leaked_slot_is_free_again_after_a_reboot(start: Starter) -> None:
	device = await start("k1t344", faults=Faults(leak_slots=True))
	async with Stream(device):
		pass
	await wait_until(lambda: device.open_streams == 0)
	authorization = await login(device, STREAM)
	async with Wire(device) as wire:
		assert (await wire.ask(STREAM, authorization, close=True))[0] == 503
	device.reboot()
	async with Stream(device) as stream:
		await stream.serials(1)


async def test_events_may_come_twice(start: Starter) -> None:
	device = await start(faults=Faults(duplicates=2))
	device.make_pass("1")
	async with Stream(device) as stream:
		device.make_pass("2")
		assert await stream.serials(4) == [1, 1, 2, 2]


async def test_live_events_may_come_in_another_order_and_all_come(start: Starter) -> None:
	device = await start(faults=Faults(reorder=5))
	async with Stream(device) as stream:
		for _ in range(12):
			device.make_pass("1")
		first = await stream.serials(10)
		device.beat()
		everything = await stream.serials(12)
	assert first != sorted(first)
	assert sorted(everything) == list(range(1, 13))


async def test_a_slow_loris_sends_the_same_bytes_in_drops(start: Starter) -> None:
	device = await start(faults=Faults(dribble_bytes=7, dribble_seconds=0.0))
	device.make_pass("1")
	async with Stream(device) as stream:
		sizes = []
		while not told(stream.data):
			before = len(stream.data)
			await stream.until(lambda data, before=before: len(data) > before)
			sizes.append(len(stream.data) - before)
		device.make_pass("2")
		assert await stream.serials(2) == [1, 2]
	assert len(sizes) > 10


async def test_an_unauthorized_storm_refuses_right_logins_for_a_while(start: Starter) -> None:
	device = await start(faults=Faults(unauthorized=2))
	assert [(await fetch(device, INFO))[0] for _ in range(3)] == [401, 401, 200]
	device.faults.unauthorized = -1
	assert [(await fetch(device, INFO))[0] for _ in range(3)] == [401, 401, 401]
	assert not device.login_failures


async def test_two_refused_logins_count_for_the_lock_out(start: Starter) -> None:
	device = await start(faults=Faults(refuse_logins=2), lock_out=LockOut(max_tries=3))
	assert [(await fetch(device, INFO))[0] for _ in range(3)] == [401, 401, 200]
	assert len(device.login_failures) == 2
	assert not any(failure.locked for failure in device.login_failures)


async def test_a_mute_device_accepts_and_never_answers(start: Starter) -> None:
	device = await start(faults=Faults(mute=True))
	async with Wire(device) as wire:
		await wire.send(INFO)
		assert await wire.silent_for(0.1)


async def test_an_answer_may_be_late(start: Starter) -> None:
	device = await start(faults=Faults(answer_delay=0.1))
	async with Wire(device) as wire:
		await wire.send(INFO)
		assert await wire.silent_for(0.03)
		await wire.until(lambda data: b"401" in data)
	device.faults.answer_delay = 0.01
	device.make_pass("1")
	async with Stream(device) as stream:
		assert await stream.serials(1) == [1]


async def test_broken_parts_stand_among_whole_ones(start: Starter) -> None:
	device = await start(faults=Faults(malformed_every=2))
	device.fill_backlog(6)
	async with Stream(device) as stream:
		assert await stream.serials(6) == [1, 2, 3, 4, 5, 6]
	assert stream.data.count(b"Content-Type application json") == 3


@pytest.mark.parametrize("length", [PartLength.WRONG, PartLength.MISSING])
async def test_the_length_of_a_part_may_lie_or_be_missing(start: Starter, length: PartLength) -> None:
	device = await start(faults=Faults(part_length=length))
	device.make_pass("1")
	async with Stream(device) as stream:
		await stream.serials(1)
	part = stream.data.split(b"--MIME_boundary\r\n")[1]
	head, body = part.split(b"\r\n\r\n", 1)
	said = re.search(rb"Content-Length: (\d+)", head)
	assert (said and int(said[1])) == (len(body) - 2 + 17 if length is PartLength.WRONG else None)


async def test_a_picture_of_three_megabytes_comes_whole(start: Starter) -> None:
	device = await start(faults=Faults(picture_bytes=3_000_000))
	async with Stream(device) as stream:
		device.make_pass("1")
		device.make_door_event()
		assert await stream.serials(2) == [1, 2]
	head, picture = stream.data.split(b"Content-ID: pictureImage\r\n\r\n")
	assert b"Content-Length: 3000000\r\n" in head
	assert picture.split(b"\r\n--MIME_boundary\r\n")[0].endswith(b"\xff\xd9")
	assert documents(head)[-1]["AccessControllerEvent"]["picturesNumber"] == 1


async def test_a_client_that_does_not_read_costs_little_memory(start: Starter) -> None:
	device = await start(faults=Faults(picture_bytes=200_000))
	device.fill_backlog(1000)
	async with Stream(device):
		await wait_until(lambda: device.bytes_waiting > 0)
		assert device.bytes_waiting < 1_000_000


def test_a_clock_that_jumps_back_numbers_on() -> None:
	device = SimulatedDevice(PROFILES["k1t344"])
	first = device.make_pass("1")
	device.jump_clock(-7200)
	second = device.make_pass("1")
	assert second.serial_no == first.serial_no + 1
	assert timedelta(hours=1, minutes=59) < first.instant - second.instant < timedelta(hours=2, minutes=1)


async def test_the_repeated_hour_is_told_with_two_offsets(start: Starter) -> None:
	device = await start("k1a340")
	for moment in repeated_hour("Europe/Bratislava", 2026):
		device.make_pass("1", at=moment)
	async with Stream(device) as stream:
		await stream.serials(2)
	assert [event["dateTime"] for event in told(stream.data)] == [
		"2026-10-25T02:30:00+02:00",
		"2026-10-25T02:30:00+01:00",
	]
