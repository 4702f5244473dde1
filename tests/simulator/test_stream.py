from __future__ import annotations

from dataclasses import replace

import pytest

from hikvision_frappe.simulator import PROFILES
from hikvision_frappe.simulator.profile import SlotRefusal
from tests.simulator.conftest import Starter
from tests.simulator.support import STREAM, Stream, Wire, documents, fetch, login, profile, told, wait_until


def current(data: bytes) -> list[bool]:
	return [event["AccessControllerEvent"]["currentEvent"] for event in told(data)]


async def test_a_new_stream_is_told_the_whole_log_first_and_then_what_happens(start: Starter) -> None:
	device = await start("k1t344")
	for person in "123":
		device.make_pass(person)
	async with Stream(device) as stream:
		assert await stream.serials(3) == [1, 2, 3]
		device.make_pass("4")
		assert await stream.serials(4) == [1, 2, 3, 4]
		assert current(stream.data) == [False, False, False, True]
	assert [record.live for record in device.log] == [False, False, False, True]


async def test_a_device_may_replay_only_its_last_records(start: Starter) -> None:
	device = await start("kv6124")
	device.fill_backlog(25)
	async with Stream(device) as stream:
		assert await stream.serials(10) == list(range(16, 26))


async def test_a_device_replays_only_what_it_still_stores(start: Starter) -> None:
	device = await start(replace(PROFILES["k1a340"], log_capacity=5))
	device.fill_backlog(12)
	async with Stream(device) as stream:
		assert await stream.serials(5) == [8, 9, 10, 11, 12]


async def test_the_head_of_the_answer_has_no_length_and_the_profiles_boundary(start: Starter) -> None:
	async with Stream(await start("nvr-typeb")) as stream:
		assert "Content-Type: multipart/mixed; boundary=boundary" in stream.head
		assert "Content-Length" not in stream.head
	async with Stream(await start("kv6124")) as stream:
		assert "Content-Type: multipart/mixed\r\n" in stream.head


async def test_heartbeats_come_after_silence(start: Starter) -> None:
	device = await start(profile("k1t344", heartbeat_seconds=0.05))
	async with Stream(device) as stream:
		await stream.until(lambda data: data.count(b'"videoloss"') >= 3)
	beats = documents(stream.data)
	assert {(beat["portNo"], beat["activePostCount"], beat["eventState"]) for beat in beats} == {
		(80, 1, "inactive")
	}


async def test_a_heartbeat_may_name_another_channel_than_events(start: Starter) -> None:
	device = await start("k1a340")
	async with Stream(device) as stream:
		await stream.until(lambda data: bool(documents(data)))
		device.make_pass("1")
		await stream.serials(1)
	beat, event = documents(stream.data)[:2]
	assert (beat["channelID"], "channelID" in event) == (3, False)


async def test_a_recorder_speaks_xml_and_ends_the_stream_by_itself(start: Starter) -> None:
	device = await start(profile("nvr-typeb", seconds=0.2, heartbeat_seconds=0.05))
	async with Stream(device) as stream:
		data = await stream.to_the_end()
	assert b"<eventType>videoloss</eventType>" in data
	assert b"\r" not in data


async def test_a_chunked_stream_is_the_same_stream(start: Starter) -> None:
	device = await start(profile(chunked=True))
	device.make_pass("1")
	async with Stream(device) as stream:
		await stream.serials(1)
		assert "Transfer-Encoding: chunked" in stream.head


@pytest.mark.parametrize(
	("refusal", "status", "word"),
	[
		(SlotRefusal.BAD_REQUEST, 400, b"invalidOperation"),
		(SlotRefusal.DEPLOY_EXCEED_MAX, 503, b"deployExceedMax"),
	],
)
async def test_a_second_stream_is_refused_and_the_first_goes_on(
	start: Starter, refusal: SlotRefusal, status: int, word: bytes
) -> None:
	device = await start(profile(refusal=refusal))
	async with Stream(device) as stream:
		authorization = await login(device, STREAM)
		async with Wire(device) as wire:
			answered, head = await wire.ask(STREAM, authorization)
			assert answered == status
			assert word in await wire.body(head)
		device.make_pass("1")
		assert await stream.serials(1) == [1]


async def test_the_slot_is_free_when_the_client_has_gone(start: Starter) -> None:
	device = await start()
	for _ in range(3):
		async with Stream(device):
			assert device.open_streams == 1
		await wait_until(lambda: device.open_streams == 0)


async def test_old_firmware_knows_the_stream_only_by_its_old_path(start: Starter) -> None:
	old = "/Event/notification/alertStream"
	device = await start(profile(paths=(old,)))
	async with Wire(device) as wire:
		assert (await wire.ask(STREAM))[0] == 404
	device.make_pass("1")
	async with Stream(device, old) as stream:
		assert await stream.serials(1) == [1]


async def test_arming_may_be_a_record_itself(start: Starter) -> None:
	device = await start(profile(logs_arming=True))
	async with Stream(device):
		pass
	await wait_until(lambda: len(device.log) == 2)
	assert [(record.major, record.minor) for record in device.log] == [(3, 121), (3, 122)]


async def test_a_notification_that_is_no_record_is_told_to_open_streams_alone(start: Starter) -> None:
	device = await start("nvr-typeb")
	async with Stream(device) as stream:
		device.make_notification("VMD", "active", 2)
		await stream.until(lambda data: b"<eventType>VMD</eventType>" in data)
	assert not device.log


async def test_a_backlog_of_100000_is_read_whole_and_in_order(start: Starter) -> None:
	device = await start()
	device.fill_backlog(100_000, ["1", "2", "3"])
	count, last, tail = 0, 0, b""
	async with Stream(device) as stream:
		while count < 100_000:
			stream.data = tail
			size = len(tail)
			await stream.until(lambda data, size=size: len(data) > size)
			*lines, tail = stream.data.split(b"\n")
			for line in lines:
				if line.startswith(b'\t\t"serialNo"'):
					count, serial = count + 1, int(line.split(b"\t")[-1].rstrip(b","))
					assert serial == last + 1
					last = serial
	assert last == 100_000


async def test_a_device_without_a_stream_says_so_after_the_login(start: Starter) -> None:
	status, body = await fetch(await start("k1t323-push"), STREAM)
	assert (status, b"notSupport" in body) == (403, True)
