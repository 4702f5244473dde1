"""The push port: what is on disk is acknowledged in ISAPI's words; everybody else learns nothing."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from listener_support import HEARTBEAT_BODY, SECRET, a_device, push_body, until
from push_client import JSON, Port

from hikvision_frappe.listener.device_track import DeviceTrack
from hikvision_frappe.listener.push import PushLimits, TokenBucket
from hikvision_frappe.listener.site import ConnectionState
from hikvision_frappe.listener.spool import Spool


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
	spool = await Spool.open(tmp_path / "spool.sqlite3", interval=0.0)
	yield spool
	await spool.close()


@pytest.fixture
async def port(spool: Spool) -> AsyncIterator[Port]:
	port = Port(spool)
	await port.start()
	yield port
	await port.stop()


async def events_in(spool: Spool) -> list:
	return list((await spool.take(1_000)).events)


async def test_a_pass_is_on_disk_before_it_is_acknowledged_in_isapis_words(port: Port) -> None:
	status, answer = await port.post(push_body(7))
	assert (status, answer) == (200, b'{"statusCode":1,"statusString":"OK","subStatusCode":"ok"}')
	(event,) = await events_in(port.spool)
	assert (event.device, event.serial_no, event.person) == ("gate", 7, "0007")
	assert port.track.state is ConnectionState.CONNECTED


async def test_an_answer_is_never_204_nor_empty_so_no_device_repeats_for_ever(port: Port) -> None:
	for body in (push_body(1), HEARTBEAT_BODY):
		status, answer = await port.post(body)
		assert status == 200
		assert answer


async def test_xml_is_answered_in_xml(port: Port) -> None:
	body = b"""<EventNotificationAlert version="2.0"><dateTime>2026-03-02T08:30:00+01:00</dateTime>
	<eventType>AccessControllerEvent</eventType><eventState>active</eventState><AccessControllerEvent>
	<majorEventType>5</majorEventType><subEventType>1</subEventType><serialNo>3</serialNo>
	<employeeNoString>0007</employeeNoString></AccessControllerEvent></EventNotificationAlert>"""
	status, answer = await port.post(body, headers={"Content-Type": "application/xml"})
	assert status == 200
	assert b"<statusCode>1</statusCode>" in answer
	assert port.spool.depth == 1


@pytest.mark.parametrize("name", ["AccessControllerEvent", "event_log", "Event"])
async def test_multipart_with_a_picture_and_a_boundary_in_another_case(port: Port, name: str) -> None:
	picture = bytes(range(256)) * 12_000
	body = (
		f'--MIME_boundary\r\nContent-Disposition: form-data; name="{name}"\r\n'
		'Content-Type: application/json; charset="UTF-8"\r\n\r\n'
	).encode() + push_body(5)
	body += (
		b'\r\n--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\n'
		b"Content-Type: image/jpeg\r\nContent-Length: " + str(len(picture)).encode() + b"\r\n\r\n" + picture
	) + b"\r\n--MIME_boundary--\r\n"
	headers = {"Content-Type": "multipart/form-data; boundary=mime_boundary"}
	status, answer = await port.post(body, headers=headers)
	assert status == 200
	assert answer.startswith(b"{")
	assert [event.serial_no for event in await events_in(port.spool)] == [5]


async def test_a_heartbeat_is_acknowledged_and_counted_and_stores_nothing(port: Port) -> None:
	assert (await port.post(HEARTBEAT_BODY))[0] == 200
	assert port.track.heartbeats == 1
	assert port.track.last_heartbeat is not None
	assert port.spool.depth == 0


@pytest.mark.parametrize(
	"token",
	["keygate.wrong", "nobody.wrong", f"nobody.{SECRET}", "keygate", "", ".", "key%67ate.x", "a" * 3000],
)
async def test_a_wrong_token_gets_a_bare_404(port: Port, token: str) -> None:
	assert await port.post(push_body(), token) == (404, b"")
	assert port.spool.depth == 0


async def test_other_paths_get_a_bare_404(port: Port) -> None:
	async with port.session.get(f"http://127.0.0.1:{port.server.port}/") as response:
		assert (response.status, await response.read()) == (404, b"")


async def test_unknown_key_and_wrong_secret_are_compared_in_the_same_constant_time_way(
	port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
	compared: list[tuple[int, int]] = []
	compare = hmac.compare_digest

	def watched(one, other) -> bool:
		compared.append((len(one), len(other)))
		return compare(one, other)

	monkeypatch.setattr(hmac, "compare_digest", watched)
	for token in ("nobody.wrong", "keygate.wrong", f"keygate.{SECRET}"):
		await port.post(push_body(), token)
	assert compared == [(64, 64)] * 3


async def test_no_token_and_no_name_ever_reaches_a_log(port: Port, caplog: pytest.LogCaptureFixture) -> None:
	caplog.set_level(logging.DEBUG)
	await port.post(push_body())
	await port.post(push_body(), "keygate.wrong-secret")
	await port.post(b"not understood: Ada Example")
	reader, writer = await port.raw("POST PATH HTTP/9.9 nonsense\r\n\r\n")
	answer = await reader.read()
	writer.close()
	assert b" 400 " in answer
	assert answer.endswith(b"\r\n\r\n")
	assert SECRET not in caplog.text + answer.decode()
	assert "wrong-secret" not in caplog.text
	assert "Ada Example" not in caplog.text


async def test_a_malformed_body_gets_a_bare_400_and_is_counted(port: Port) -> None:
	assert await port.post(b'{"eventType": ') == (400, b"")
	assert port.track.malformed == 1


async def test_another_method_gets_405_but_only_with_the_right_token(port: Port) -> None:
	async with port.session.get(port.url()) as response:
		assert response.status == 405
	async with port.session.get(port.url("keygate.wrong")) as response:
		assert response.status == 404


async def test_a_body_announced_too_large_is_refused_before_it_is_read(port: Port) -> None:
	reader, writer = await port.raw("POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n")
	assert (await reader.readline()).startswith(b"HTTP/1.1 413")
	writer.close()


async def test_a_chunked_body_is_cut_off_at_the_limit(port: Port) -> None:
	reader, writer = await port.raw("POST PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")

	async def flood() -> None:
		chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
		for _ in range(8):
			writer.write(chunk)
			await writer.drain()

	flooding = asyncio.create_task(flood())
	assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 413")
	flooding.cancel()
	await asyncio.gather(flooding, return_exceptions=True)
	writer.close()


async def test_a_compressed_body_is_not_unpacked(port: Port) -> None:
	headers = {**JSON, "Content-Encoding": "deflate"}
	assert (await port.post(push_body(), headers=headers))[0] == 200  # read as it is
	assert port.spool.depth == 1


async def test_curls_expectation_is_answered_only_after_the_token(port: Port) -> None:
	head = "HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	reader, writer = await port.raw(f"POST PATH {head}")
	assert (await reader.readline()).startswith(b"HTTP/1.1 100")
	writer.close()
	reader, writer = await port.raw(f"POST /hikvision/event/keygate.wrong {head}")
	assert (await reader.readline()).startswith(b"HTTP/1.1 404")
	writer.close()


async def test_a_device_faster_than_its_limit_is_slowed_and_others_are_not(spool: Spool) -> None:
	port = Port(spool, PushLimits(rate=1.0, burst=3))
	await port.start()
	other = a_device("hall")
	tracks = {"gate": port.track, "hall": DeviceTrack("hall")}
	port.server.set_devices([a_device(), other], tracks)
	statuses = [(await port.post(push_body(serial)))[0] for serial in range(1, 6)]
	assert statuses == [200, 200, 200, 429, 429]
	assert (await port.post(push_body(1), f"keyhall.{SECRET}"))[0] == 200
	assert "faster than its limit" in port.track.error
	await port.stop()


def test_a_token_bucket_refills_with_time() -> None:
	bucket = TokenBucket(rate=2.0, burst=2)
	assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
	assert bucket.take(100.5)
	assert not bucket.take(100.6)


async def test_a_push_from_outside_the_allowed_networks_is_refused(port: Port) -> None:
	port.know(networks=("192.0.2.0/24",))
	assert await port.post(push_body()) == (403, b"")
	port.know(networks=("192.0.2.0/24", "127.0.0.0/8"))
	assert (await port.post(push_body()))[0] == 200


async def test_a_network_that_cannot_be_read_allows_nobody(port: Port) -> None:
	port.know(networks=("anywhere",))
	assert (await port.post(push_body()))[0] == 403


async def test_before_the_devices_are_known_the_port_asks_for_patience(port: Port) -> None:
	port.server.set_devices(None, {})
	assert await port.post(push_body()) == (503, b"")


async def test_a_full_spool_acknowledges_nothing(tmp_path: Path) -> None:
	spool = await Spool.open(tmp_path / "small.sqlite3", max_bytes=48 * 1024, interval=0.0)
	port = Port(spool, PushLimits(burst=10_000))
	await port.start()
	accepted, status = 0, 200
	while status == 200:
		status, answer = await port.post(push_body(accepted + 1))
		accepted += status == 200
	assert (status, answer) == (503, b"")
	assert spool.depth == accepted > 0
	assert "Make room" in port.track.error
	await spool.acknowledge(await spool.take(10_000))
	assert (await port.post(push_body(9_999)))[0] == 200
	await port.stop()
	await spool.close()


async def test_a_body_that_drips_in_is_given_up(spool: Spool) -> None:
	port = Port(spool, PushLimits(body_seconds=0.2))
	await port.start()
	reader, writer = await port.raw("POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
	assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408")
	writer.close()
	await port.stop()


async def test_a_header_that_drips_in_is_cut_off(spool: Spool) -> None:
	port = Port(spool, PushLimits(idle_seconds=0.3))
	await port.start()
	reader, writer = await port.raw("POST PATH HTTP/1.1\r\n")
	started = time.monotonic()

	async def drip() -> None:
		while True:
			writer.write(b"X-More: yes\r\n")
			await asyncio.sleep(0.05)

	dripping = asyncio.create_task(drip())
	with pytest.raises(ConnectionResetError):
		assert await asyncio.wait_for(reader.read(), 5) == b""
		raise ConnectionResetError
	dripping.cancel()
	assert time.monotonic() - started < 4
	await port.stop()


async def test_the_bodies_of_one_device_on_their_way_are_bounded(spool: Spool) -> None:
	port = Port(spool, PushLimits(readers=2))
	await port.start()
	begun = "POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"
	slow = [await port.raw(begun) for _ in range(2)]
	await until(lambda: next(iter(port.server._devices.values())).reading == 2)
	reader, writer = await port.raw(begun)
	assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 429")
	for _, each in [*slow, (reader, writer)]:
		each.close()
	await port.stop()


async def test_all_bodies_on_their_way_together_are_bounded(spool: Spool) -> None:
	port = Port(spool, PushLimits(held_bytes=2_000, body_seconds=60.0))
	await port.start()
	slow, writer = await port.raw(
		"POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + " " * 1_900
	)
	await until(lambda: port.server._held_bytes == 1_900)
	assert await port.post(push_body()) == (503, b"")
	writer.close()
	await until(lambda: port.server._held_bytes == 0)
	assert (await port.post(push_body()))[0] == 200
	await port.stop()


async def test_one_connection_too_many_is_closed_at_once(spool: Spool) -> None:
	port = Port(spool, PushLimits(connections=2))
	await port.start()
	kept = [await port.raw("") for _ in range(2)]
	await until(lambda: len(port.server._connections) == 2)
	reader, writer = await port.raw("")
	assert await asyncio.wait_for(reader.read(), 5) == b""
	for _, each in [*kept, (reader, writer)]:
		each.close()
	await until(lambda: not port.server._connections)
	assert (await port.post(push_body()))[0] == 200
	await port.stop()


async def test_a_header_larger_than_any_device_sends_is_refused(port: Port) -> None:
	reader, writer = await port.raw("POST PATH HTTP/1.1\r\nHost: x\r\nX-Large: " + "x" * 20_000 + "\r\n\r\n")
	assert b" 400 " in await reader.readline()
	writer.close()


async def test_one_connection_may_carry_many_pushes(port: Port) -> None:
	connector = aiohttp.TCPConnector(limit=1)
	async with aiohttp.ClientSession(connector=connector) as session:
		for serial in range(1, 21):
			async with session.post(port.url(), data=push_body(serial), headers=JSON) as response:
				assert response.status == 200
	assert port.spool.depth == 20
