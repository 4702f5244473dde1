"""The client against simulated devices, and against servers that answer what no device should."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone

import aiohttp
import pytest

from hikvision_frappe.isapi import client as client_module
from hikvision_frappe.isapi.address import DeviceAddress, TlsMode
from hikvision_frappe.isapi.client import DeviceClient, new_session
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	BadAnswer,
	ConnectionLost,
	DeviceBusy,
	IsapiError,
	LoginRefused,
	NotHikvision,
	NotPermitted,
	NotSupported,
	Rejected,
	SetupWrong,
	StreamSlotTaken,
	TimedOut,
	TlsMismatch,
	TlsUnusable,
	TryAgain,
	Unreachable,
)
from hikvision_frappe.isapi.framing import PartFramer
from hikvision_frappe.isapi.parsing import parse_document
from hikvision_frappe.simulator import PROFILES, Certificate, Faults, LockOut, SimulatedDevice
from tests.isapi.servers import CHALLENGE, CannedServer, PlainServer, answer
from tests.isapi.support import STREAM, fixture

PATIENCE = 10.0
DEVICE_INFO = fixture("device_info.xml")


def address_of(device, **changes):
	address = DeviceAddress(device.host, device.port, device.user, device.password)
	return replace(address, **changes)


@pytest.fixture
async def clients():
	"""Makes clients that share one session, and closes it."""
	session = new_session()
	yield lambda address: DeviceClient(address, session)
	await session.close()


async def events_until(stream, condition):
	"""Read a stream's messages until one fulfils the condition; returns them all."""
	framer, messages = PartFramer(), []

	async def read():
		async for data in stream:
			for part in framer.feed(data):
				messages.extend(parse_document(part.body, STREAM, datetime.now(timezone.utc)))
			if any(condition(message) for message in messages):
				return messages
		raise AssertionError("the stream ended")

	return await asyncio.wait_for(read(), PATIENCE)


async def wait_until(condition):
	loop = asyncio.get_running_loop()
	end = loop.time() + PATIENCE
	while not condition():
		assert loop.time() < end, "the condition did not come true"
		await asyncio.sleep(0.005)


def is_pass_of(person):
	return lambda message: getattr(message, "person", None) == person


# Simulated devices


@pytest.mark.parametrize("key", sorted(PROFILES))
async def test_every_kind_of_device_tells_who_it_is_and_what_time_it_is(key, clients):
	async with SimulatedDevice(PROFILES[key]) as device:
		trust = key != "k1t323-push"
		client = clients(address_of(device, trust_offset=trust, zone=str(device.clock.zone)))
		info, clock = await client.device_info(), await client.clock()
		assert (info.serial_number, info.mac_address) == (device.serial_number, device.mac_address)
		assert abs(clock.offset_seconds) < 5
		assert not device.login_failures


@pytest.mark.parametrize("key", sorted(key for key, profile in PROFILES.items() if profile.stream.supported))
async def test_every_kind_of_stream_tells_a_pass_and_gives_its_slot_back(key, clients):
	async with SimulatedDevice(PROFILES[key]) as device:
		client = clients(address_of(device))
		for person in ("0007", "0008"):
			async with client.alert_stream() as stream:
				await wait_until(lambda: device.open_streams == 1)
				device.make_pass(person)
				await events_until(stream, is_pass_of(person))
			await wait_until(lambda: device.open_streams == 0)
			assert (await client.device_info()).serial_number == device.serial_number
		assert not device.login_failures


async def test_the_stream_is_asked_for_once_with_a_ready_header(clients):
	async with SimulatedDevice(PROFILES["k2702"]) as device:
		async with clients(address_of(device)).alert_stream():
			asked = [request for request in device.requests if "alertStream" in request.target]
		assert [(request.status, request.authorized) for request in asked] == [(200, True)]


@pytest.mark.parametrize("key", ["kv6124", "k1a340", "k1t341am-old"])
async def test_a_dead_nonce_costs_one_new_handshake_and_no_login(key, clients):
	async with SimulatedDevice(PROFILES[key]) as device:
		client = clients(address_of(device))
		await client.device_info()
		device.reboot()
		await client.device_info()
		assert [request.status for request in device.requests] == [401, 200, 401, 401, 200]
		assert not device.login_failures


async def test_a_stream_with_a_dead_nonce_fetches_another_one_elsewhere(clients):
	async with SimulatedDevice(PROFILES["kv6124"]) as device:
		client = clients(address_of(device))
		await client.device_info()
		device.reboot()
		async with client.alert_stream():
			asked = [request.status for request in device.requests if "alertStream" in request.target]
		assert asked == [401, 200]
		assert not device.login_failures


async def test_a_nonce_is_used_again_and_requests_beside_the_stream_work(clients):
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		client = clients(address_of(device))
		async with client.alert_stream():
			await asyncio.gather(*(client.clock() for _ in range(5)))
		assert [request.status for request in device.requests].count(401) == 1


async def test_a_wrong_password_is_sent_once_and_never_again(clients):
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		client = clients(address_of(device, password="Not-it-99"))
		for attempt in (client.device_info, client.clock, client.alert_stream().__aenter__):
			with pytest.raises(LoginRefused) as caught:
				await attempt()
			assert caught.value.tries_left == 4
			assert "Not-it-99" not in str(caught.value)
		assert len(device.login_failures) == 1


async def test_a_password_changed_on_the_device_costs_two_tries_at_most(clients):
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		client = clients(address_of(device))
		await client.device_info()
		device.faults.refuse_logins = -1
		with pytest.raises(LoginRefused) as caught:
			await client.device_info()
		assert caught.value.tries_left == 3
		assert len(device.login_failures) == 2


async def test_a_locked_device_is_left_alone(clients):
	lock_out = LockOut(max_tries=1, seconds=600)
	async with SimulatedDevice(PROFILES["k1a340"], lock_out=lock_out) as device:
		with pytest.raises(AccountLocked) as caught:
			await clients(address_of(device, password="Not-it-99")).device_info()
		assert 590 <= caught.value.seconds <= 600
		client = clients(address_of(device))
		for _ in range(3):
			with pytest.raises(AccountLocked):
				await client.device_info()
		assert len(device.login_failures) == 1
		assert [request.status for request in device.requests] == [401, 401, 401]


async def test_a_storm_of_refusals_ends_after_one_handshake(clients):
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(unauthorized=-1)) as device:
		client = clients(address_of(device))
		for _ in range(3):
			with pytest.raises(LoginRefused):
				await client.device_info()
		assert len(device.requests) == 2


async def test_a_fresh_nonce_taken_by_another_client_is_no_wrong_password(clients):
	stale = 'WWW-Authenticate: Digest realm="r", nonce="other", qop="auth", stale="TRUE"'
	replies = [
		answer(401, b"", CHALLENGE.format(count=1)), answer(401, b"", stale),
		answer(401, b"", CHALLENGE.format(count=2)), answer(200, DEVICE_INFO),
	]  # fmt: skip
	async with CannedServer(lambda _: replies.pop(0)) as server:
		client = clients(server.address)
		with pytest.raises(DeviceBusy):
			await client.device_info()
		assert (await client.device_info()).name == "North Gate"


async def test_a_device_that_blames_every_nonce_is_given_up(clients):
	stale = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", stale=true'
	async with CannedServer(lambda _: answer(401, b"", stale)) as server:
		client = clients(server.address)
		for error in (DeviceBusy, DeviceBusy, LoginRefused, LoginRefused):
			with pytest.raises(error):
				await client.device_info()
		assert server.logins == 3


@pytest.mark.parametrize("key", ["k1t344", "k1a340"])
async def test_a_second_stream_is_told_that_the_slot_is_taken(key, clients):
	async with SimulatedDevice(PROFILES[key]) as device, clients(address_of(device)).alert_stream():
		with pytest.raises(StreamSlotTaken):
			await clients(address_of(device)).alert_stream().__aenter__()
		assert device.open_streams == 1


async def test_a_device_without_a_stream_says_so(clients):
	async with SimulatedDevice(PROFILES["k1t323-push"]) as device:
		with pytest.raises(IsapiError) as caught:
			await clients(address_of(device)).alert_stream().__aenter__()
		assert isinstance(caught.value, NotSupported | NotPermitted)


async def test_a_device_with_the_old_path_of_the_stream_is_found(clients):
	old = PROFILES["k1a340"]
	old = replace(old, stream=replace(old.stream, paths=("/Event/notification/alertStream",)))
	async with SimulatedDevice(old) as device, clients(address_of(device)).alert_stream():
		assert device.open_streams == 1


async def test_a_silent_stream_times_out_and_a_cut_one_ends(clients):
	async with SimulatedDevice(PROFILES["k2702"]) as device:
		client = clients(address_of(device))
		async with client.alert_stream(read_timeout=0.2) as stream:
			device.hang()
			with pytest.raises(TimedOut):
				async for _ in stream:
					pass
		await wait_until(lambda: not device.open_streams)
		async with client.alert_stream() as stream:
			device.cut_streams(mid_frame=True)
			async for _ in stream:
				pass


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_reset_stream_ends_or_is_a_lost_connection(chunked, clients):
	profile = PROFILES["k2702"]
	profile = replace(profile, stream=replace(profile.stream, chunked=chunked))
	async with SimulatedDevice(profile) as device, clients(address_of(device)).alert_stream() as stream:
		device.cut_streams(reset=True)
		with suppress(ConnectionLost):
			async for _ in stream:
				pass
		assert device.open_streams == 0


async def test_a_stream_left_by_cancellation_gives_its_slot_back(clients):
	async with SimulatedDevice(PROFILES["k1t344"]) as device:

		async def hold():
			async with clients(address_of(device)).alert_stream() as stream:
				async for _ in stream:
					pass

		task = asyncio.create_task(hold())
		await wait_until(lambda: device.open_streams == 1)
		task.cancel()
		with pytest.raises(asyncio.CancelledError):
			await task
		await wait_until(lambda: device.open_streams == 0)


async def test_what_has_come_on_a_stream_can_be_had_without_waiting(clients):
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		device.make_pass("77")
		async with clients(address_of(device)).alert_stream() as stream:
			had = bytearray()

			def told():
				had.extend(stream.at_hand())
				return b'"77"' in had

			await wait_until(told)
			assert stream.at_hand() == b""


async def test_a_stream_can_be_cancelled_at_every_moment_of_its_opening(clients):
	async with SimulatedDevice(PROFILES["k1a340"]) as device:

		async def hold():
			async with clients(address_of(device)).alert_stream() as stream:
				async for _ in stream:
					pass

		for turns in range(0, 120, 2):
			task = asyncio.create_task(hold())
			for _ in range(turns):
				await asyncio.sleep(0)
			task.cancel()
			done, _ = await asyncio.wait([task], timeout=PATIENCE)
			assert done
			assert task.cancelled()
			await wait_until(lambda: device.open_streams == 0)


async def test_not_supported_with_http_200_is_an_error(clients):
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		with pytest.raises(NotSupported):
			await clients(address_of(device)).request(
				"GET", "/ISAPI/Event/notification/httpHosts/capabilities"
			)


# TLS


@pytest.fixture(scope="module")
def certificate():
	return Certificate.make()


async def test_a_pinned_certificate_is_enough(certificate, clients):
	async with SimulatedDevice(PROFILES["k1t344"], tls=certificate) as device:
		colons = ":".join(device.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
		client = clients(address_of(device, tls=TlsMode.PINNED, fingerprint=colons))
		assert (await client.device_info()).serial_number == device.serial_number


async def test_another_certificate_is_shown_and_gets_no_login(certificate, clients):
	async with SimulatedDevice(PROFILES["k1t344"], tls=certificate) as device:
		for tls, pin in ((TlsMode.PINNED, "ab" * 32), (TlsMode.SYSTEM, "")):
			with pytest.raises(TlsMismatch) as caught:
				await clients(address_of(device, tls=tls, fingerprint=pin)).device_info()
			assert caught.value.fingerprint == device.fingerprint
		assert not device.requests


async def test_a_certificate_may_be_left_unchecked(certificate, clients):
	async with SimulatedDevice(PROFILES["k1t344"], tls=certificate) as device:
		client = clients(address_of(device, tls=TlsMode.UNVERIFIED))
		assert (await client.device_info()).serial_number == device.serial_number


@pytest.mark.parametrize("fingerprint", ["", "zz", "ab" * 20])
async def test_a_fingerprint_that_is_none_is_refused(fingerprint, clients):
	with pytest.raises(TlsMismatch):
		await clients(DeviceAddress("127.0.0.1", 1, "a", "b", TlsMode.PINNED, fingerprint)).device_info()


async def test_tls_towards_a_plain_port_is_unusable(clients):
	async with PlainServer() as server:
		with pytest.raises(TlsUnusable):
			await clients(replace(server.address, tls=TlsMode.UNVERIFIED)).device_info()


# What is no device


async def test_nobody_there_is_unreachable(clients):
	async with CannedServer(lambda _: None) as server:
		address = server.address
	with pytest.raises(Unreachable):
		await clients(address).device_info()


async def test_a_bad_address_is_a_matter_of_setup(clients):
	for host in ("bad host", "a" * 300, "exa mple", ""):
		with pytest.raises((SetupWrong, Unreachable)):
			await clients(DeviceAddress(host, 80, "a", "b")).device_info()


async def test_a_server_that_never_answers_times_out(monkeypatch, clients):
	monkeypatch.setattr(client_module, "_ANSWER_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.2))
	async with CannedServer(lambda _: None) as server:
		with pytest.raises(TimedOut):
			await clients(server.address).device_info()


@pytest.mark.parametrize(
	("reply", "error"),
	[
		(b"", ConnectionLost),
		(b"SSH-2.0-OpenSSH_9.6\r\n", NotHikvision),
		(b"RTSP/1.0 400 Bad Request\r\n\r\n", NotHikvision),
		(answer(200, b"<html>Welcome</html>", content_type="text/html"), NotHikvision),
		(answer(200, b'{"hello": "world"}'), NotHikvision),
		(answer(404, b"nothing here"), NotHikvision),
		(answer(302, b"", "Location: https://elsewhere.example/"), NotHikvision),
		(answer(401, b"", 'WWW-Authenticate: Basic realm="Router"'), SetupWrong),
		(answer(401, b""), NotHikvision),
		(answer(503, b"<html>busy</html>"), DeviceBusy),
		(answer(403, b""), NotPermitted),
		(answer(200, b"x" * (1024 * 1024 + 1)), BadAnswer),
		(answer(200, DEVICE_INFO)[:-40], ConnectionLost),
	],
)
async def test_what_is_no_device_is_recognised_and_gets_no_login(reply, error, clients):
	async with CannedServer(lambda _: reply) as server:
		with pytest.raises(error) as caught:
			await clients(server.address).device_info()
		assert type(caught.value) is error
		assert server.logins == 0


async def test_a_redirect_is_not_followed(clients):
	async with CannedServer(lambda _: answer(200, DEVICE_INFO)) as elsewhere:
		location = f"Location: http://127.0.0.1:{elsewhere.port}/"
		async with CannedServer(lambda _: answer(307, b"", location)) as server:
			with pytest.raises(NotHikvision):
				await clients(server.address).device_info()
		assert not elsewhere.heads


async def test_no_proxy_of_the_environment_is_used(monkeypatch, clients):
	async with CannedServer(lambda _: answer(200, DEVICE_INFO)) as server:
		monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
		assert (await clients(server.address).device_info()).name == "North Gate"


async def test_every_request_closes_its_connection(clients):
	async with CannedServer(lambda _: answer(200, DEVICE_INFO), stay=True) as server:
		client = clients(server.address)
		await client.device_info()
		await client.device_info()
		assert len(server.heads) == 2
		assert all("connection: close" in head.lower() for head in server.heads)
		await wait_until(lambda: server.open == 0)


async def test_a_request_target_may_not_smuggle_headers(clients):
	async with CannedServer(lambda _: answer(200, b"")) as server:
		for path in ("/a b", "/a\r\nX: y", "//evil\n", "ISAPI", "/é"):
			with pytest.raises(ValueError):
				await clients(server.address).request("GET", path)
		assert not server.heads


async def test_a_body_is_sent_with_its_type_and_a_refusal_has_its_reason(clients):
	refusal = b'{"statusCode": 6, "subStatusCode": "MessageParametersLack", "errorMsg": "UserInfo"}'
	async with CannedServer(lambda _: answer(400, refusal)) as server:
		with pytest.raises(Rejected) as caught:
			await clients(server.address).request("POST", "/ISAPI/x?format=json", b'{"a": 1}')
		assert caught.value.reason == "messageparameterslack"
		assert "UserInfo" in str(caught.value)
		assert "Content-Type: application/json" in server.heads[0]


# Alert streams that are none


def logged_in(reply_to_stream):
	"""A server that accepts every login and answers the stream as told."""

	def reply(head):
		if "Authorization:" not in head:
			return answer(401, b"", CHALLENGE.format(count=1))
		return reply_to_stream if "alertStream" in head else answer(200, DEVICE_INFO)

	return reply


@pytest.mark.parametrize(
	("reply", "error"),
	[
		(answer(503, fixture("stream_taken.xml")), StreamSlotTaken),
		(answer(400, b""), StreamSlotTaken),
		(answer(503, b""), StreamSlotTaken),
		(answer(403, b'{"statusCode":3,"subStatusCode":"noArmingResource"}'), StreamSlotTaken),
		(answer(403, b'{"statusCode":4,"subStatusCode":"lowPrivilege"}'), NotPermitted),
		(answer(401, b""), NotPermitted),
		(answer(404, b""), NotSupported),
		(answer(500, b""), DeviceBusy),
		(answer(200, fixture("not_supported.json"), content_type="application/json"), NotSupported),
		(answer(200, b"<html>Login</html>", content_type="text/html"), NotHikvision),
	],
)
async def test_a_refused_stream_says_why(reply, error, clients):
	async with CannedServer(logged_in(reply)) as server:
		with pytest.raises(error) as caught:
			await clients(server.address).alert_stream().__aenter__()
		assert type(caught.value) is error
		assert sum("alertStream" in head for head in server.heads) <= 2


async def test_a_stream_with_a_wrong_content_type_is_one_all_the_same(clients):
	head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n--MIME_boundary\r\n"
	server = CannedServer(logged_in(head), stay=True)
	async with server, clients(server.address).alert_stream() as stream:
		assert await stream.__anext__() == b"--MIME_boundary\r\n"


async def test_errors_never_show_the_password(clients):
	async with CannedServer(lambda _: answer(401, b"", CHALLENGE.format(count=1))) as server:
		client = clients(server.address)
		with pytest.raises(LoginRefused) as caught:
			await client.device_info()
		shown = repr(client) + repr(caught.value) + str(caught.value) + repr(server.address)
		assert "Secret-77" not in shown
		assert server.logins == 1


async def test_a_client_of_its_own_closes_its_session():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		client = DeviceClient(address_of(device))
		await client.device_info()
		session = client._session
		await client.close()
		assert session.closed


def test_errors_are_sorted_by_what_the_caller_should_do():
	assert issubclass(StreamSlotTaken, TryAgain)
	assert issubclass(Unreachable, TryAgain)
	assert not issubclass(LoginRefused, TryAgain)
	assert str(Unreachable("It is away.", "Look for it.")) == "It is away. Look for it."
