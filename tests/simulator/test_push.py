from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from hikvision_frappe.simulator import PROFILES, Faults, PartLength, Profile, PushTiming
from hikvision_frappe.simulator.digest import DigestFlavour, DigestGate, Verdict
from hikvision_frappe.simulator.profile import Acknowledgement, PushForm
from tests.simulator.conftest import Starter
from tests.simulator.support import Receiver, documents, wait_until

QUICK = PushTiming(timeout=0.2, first_retry=0.01, longest_retry=0.02)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
SERVER_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
EMPTY_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


def pushing(key: str = "k1t341am-old", **push: object) -> Profile:
	kind = PROFILES[key]
	return replace(kind, push=replace(kind.push, **push))  # type: ignore[arg-type]


async def test_each_record_is_posted_once_and_in_order(start: Starter) -> None:
	device = await start("k1t341am-old", push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		for person in "123":
			device.make_pass(person)
		await wait_until(lambda: len(receiver.requests) == 3)
		assert receiver.serials == [1, 2, 3]
		assert receiver.requests[0][0].startswith("POST /hikvision/event/key.secret HTTP/1.1\r\n")
	assert device.push_clients[0].waiting == 0


@pytest.mark.parametrize("answer", [NO_CONTENT, SERVER_ERROR, None], ids=["204", "500", "nothing"])
async def test_an_event_is_repeated_until_it_is_acknowledged(start: Starter, answer: bytes | None) -> None:
	device = await start("k1t341am-old", push_timing=QUICK)
	async with Receiver(answer, answer, answer) as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		device.make_pass("2")
		await wait_until(lambda: len(receiver.requests) == 5)
		assert receiver.serials == [1, 1, 1, 1, 2]
	attempts = device.push_clients[0].attempts
	assert [attempt.acknowledged for attempt in attempts] == [False, False, False, True, True]


@pytest.mark.parametrize("answer", [EMPTY_OK, CHUNKED_OK], ids=["empty", "chunked"])
async def test_a_200_stops_the_repetition_on_most_devices(start: Starter, answer: bytes) -> None:
	device = await start("k1t341am-old", push_timing=QUICK)
	async with Receiver(answer) as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		device.make_pass("2")
		await wait_until(lambda: len(receiver.requests) == 2)
		assert receiver.serials == [1, 2]


async def test_some_devices_want_a_body(start: Starter) -> None:
	device = await start(pushing(acknowledgement=Acknowledgement.BODY), push_timing=QUICK)
	async with Receiver(EMPTY_OK) as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		await wait_until(lambda: len(receiver.requests) == 2)
		assert receiver.serials == [1, 1]


async def test_what_happens_while_nobody_listens_is_told_later(start: Starter) -> None:
	device = await start("k1t341am-old", push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
	device.make_pass("1")
	device.make_pass("2")
	attempts = device.push_clients[0].attempts
	await wait_until(lambda: len(attempts) >= 2)
	assert {attempt.status for attempt in attempts} == {None}
	assert device.push_clients[0].waiting == 2
	async with Receiver(port=receiver.port) as back:
		await wait_until(lambda: back.serials == [1, 2])


async def test_the_queue_survives_a_restart(start: Starter) -> None:
	device = await start("k1t341am-old", push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		await device.stop()
		device.make_pass("1")
		await device.start()
		await wait_until(lambda: receiver.serials == [1])


async def test_a_plain_push_is_the_document_itself(start: Starter) -> None:
	device = await start(pushing(form=PushForm.PLAIN), push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		device.make_pass("007")
		await wait_until(lambda: len(receiver.requests) == 1)
		head, body = receiver.requests[0]
	assert 'Content-Type: application/json; charset="UTF-8"' in head
	assert json.loads(body)["AccessControllerEvent"]["employeeNoString"] == "007"


async def test_an_xml_device_pushes_xml(start: Starter) -> None:
	device = await start("nvr-typeb", push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		device.make_pass("007")
		await wait_until(lambda: len(receiver.requests) == 1)
		head, body = receiver.requests[0]
	assert "Content-Type: application/xml" in head
	assert b"<employeeNoString>007</employeeNoString>" in body


@pytest.mark.parametrize("name", ["event_log", "AccessControllerEvent", "Event"])
async def test_the_part_has_the_profiles_name(start: Starter, name: str) -> None:
	device = await start(pushing(part_name=name), push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		await wait_until(lambda: len(receiver.requests) == 1)
		assert f'form-data; name="{name}"\r\n'.encode() in receiver.requests[0][1]


async def test_a_picture_of_three_megabytes_goes_along(start: Starter) -> None:
	device = await start("k1t341am-old", push_timing=QUICK, faults=Faults(picture_bytes=3_000_000))
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		await wait_until(lambda: len(receiver.requests) == 1)
		body = receiver.requests[0][1]
	assert len(body) > 3_000_000
	assert b'name="Picture"; filename="Picture.jpg"' in body
	assert documents(b"\r\n" + body)[0]["AccessControllerEvent"]["picturesNumber"] == 1


async def test_a_push_device_may_send_heartbeats_too(start: Starter) -> None:
	device = await start(pushing("k1t323-push", heartbeat_seconds=0.02), push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		await wait_until(lambda: len(receiver.requests) >= 2)
		head, body = receiver.requests[0]
	assert "boundary=mime_boundary" in head
	assert b'name="AccessControllerEvent"' in body
	assert documents(body)[0]["eventType"] == "heartBeat"


async def test_a_kept_connection_carries_many_pushes(start: Starter) -> None:
	device = await start(pushing(keep_alive=True), push_timing=QUICK)
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		for _ in range(5):
			device.make_pass("1")
		await wait_until(lambda: len(receiver.requests) == 5)
		assert receiver.connections == 1


async def test_the_receiver_may_ask_for_digest(start: Starter) -> None:
	gate = DigestGate(DigestFlavour(), "hook", "s3cret")
	challenge = f"WWW-Authenticate: {gate.challenges()[0]}\r\n".encode()
	refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n" + challenge + b"\r\n"
	device = await start("k1t341am-old", push_timing=QUICK)
	async with Receiver(refusal) as receiver:
		device.push_to(f"http://hook:s3cret@127.0.0.1:{receiver.port}/event")
		device.make_pass("1")
		await wait_until(lambda: len(receiver.requests) == 2)
		found = re.search(r"Authorization: (.*)\r\n", receiver.requests[1][0])
	assert found is not None
	assert gate.judge("POST", "/event", found[1]) is Verdict.GRANTED


@pytest.mark.parametrize("length", list(PartLength))
async def test_the_length_of_a_pushed_part_may_lie(start: Starter, length: PartLength) -> None:
	device = await start("k1t341am-old", push_timing=QUICK, faults=Faults(part_length=length))
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		await wait_until(lambda: len(receiver.requests) == 1)
		body = receiver.requests[0][1]
	said = re.search(rb"Content-Length: (\d+)", body)
	real = len(body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--MIME_boundary")[0])
	expected = {PartLength.RIGHT: real, PartLength.WRONG: real + 17, PartLength.MISSING: None}
	assert (said and int(said[1])) == expected[length]


async def test_a_broken_push_is_told_again_whole_when_it_was_refused(start: Starter) -> None:
	refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
	device = await start("k1t341am-old", push_timing=QUICK, faults=Faults(malformed_every=2))
	async with Receiver(Receiver.OK, refusal) as receiver:
		device.push_to(receiver.url)
		device.make_pass("1")
		device.make_pass("2")
		await wait_until(lambda: len(receiver.requests) == 3)
		assert not receiver.requests[1][1].rstrip().endswith(b"--")
		assert receiver.serials == [1, 2]


async def test_a_device_that_never_pushes_is_silent(start: Starter) -> None:
	device = await start("k1a340", push_timing=QUICK)
	device.push_to("http://127.0.0.1:9/")
	device.make_pass("1")
	assert not device.push_clients
