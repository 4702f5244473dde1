"""Login, identity, clock and the log of a device, asked by public clients."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import aiohttp
import pytest
import requests
from requests.auth import HTTPDigestAuth

from hikvision_frappe.simulator import PROFILES, Certificate, DoorEvent, Faults, LockOut
from hikvision_frappe.simulator.device import SimulatedDevice
from tests.simulator.conftest import Starter
from tests.simulator.support import STREAM, Stream, Wire, fetch, login, once_more, profile, wait_until

INFO = "/ISAPI/System/deviceInfo"
TIME = "/ISAPI/System/time"


async def ask(
	device: SimulatedDevice, path: str = INFO, password: str = "", **options: object
) -> requests.Response:
	"""A GET through requests, in a thread."""
	auth = HTTPDigestAuth(device.user, password or device.password)
	return await asyncio.to_thread(requests.get, device.url + path, auth=auth, timeout=5, **options)


# Login


@pytest.mark.parametrize("key", sorted(set(PROFILES) - {"k2702"}))
async def test_requests_logs_in_to_every_profile(start: Starter, key: str) -> None:
	device = await start(key)
	answer = await ask(device)
	assert answer.status_code == 200
	assert device.serial_number in answer.text
	assert not device.login_failures


async def test_a_client_with_a_connection_per_request_logs_in_to_a_one_request_device(start: Starter) -> None:
	device = await start("k2702")
	status, body = await fetch(device, INFO)
	assert status == 200
	assert b"<electroLockNum>2</electroLockNum>" in body


@pytest.mark.parametrize("key", sorted(PROFILES))
async def test_curl_logs_in_to_every_profile(start: Starter, key: str) -> None:
	device = await start(key)
	command = ["curl", "-sf", "-m", "5", "--digest", "-H", "Connection: close"]
	process = await asyncio.create_subprocess_exec(
		*command, "-u", f"{device.user}:{device.password}", device.url + INFO, stdout=asyncio.subprocess.PIPE
	)
	body, _ = await process.communicate()
	assert process.returncode == 0
	assert device.mac_address.encode() in body


# On a machine without curl it is no test of this run, rather than a skipped one.
test_curl_logs_in_to_every_profile.__test__ = shutil.which("curl") is not None


async def test_aiohttp_logs_in_and_uses_its_nonce_again(start: Starter) -> None:
	device = await start("k1a340")
	digest = aiohttp.DigestAuthMiddleware(device.user, device.password)
	async with aiohttp.ClientSession(middlewares=(digest,)) as session:
		for path in (INFO, TIME, "/ISAPI/Security/userCheck"):
			async with session.get(device.url + path) as answer:
				assert answer.status == 200
	assert [request.status for request in device.requests] == [401, 200, 200, 200]


async def test_a_path_that_does_not_exist_is_404_even_without_a_login(start: Starter) -> None:
	device = await start()
	async with Wire(device) as wire:
		status, _ = await wire.ask("/ISAPI/Nothing/here")
	assert status == 404
	async with Wire(device) as wire:
		status, head = await wire.ask(INFO)
	assert status == 401
	assert "WWW-Authenticate: Digest" in head


async def test_a_wrong_password_says_how_many_tries_are_left(start: Starter) -> None:
	device = await start()
	answer = await ask(device, password="wrong")
	assert answer.status_code == 401
	assert "<retryLoginTime>4</retryLoginTime>" in answer.text
	assert "<lockStatus>unlock</lockStatus>" in answer.text
	assert [failure.path for failure in device.login_failures] == [INFO]


async def test_five_wrong_passwords_lock_out_even_the_right_one(start: Starter) -> None:
	device = await start()
	for _ in range(5):
		await fetch(device, INFO, password="wrong")
	status, body = await fetch(device, INFO)
	assert status == 401
	assert b"<lockStatus>lock</lockStatus>" in body
	assert b"<unlockTime>1800</unlockTime>" in body
	assert len(device.login_failures) == 6


async def test_asking_without_credentials_while_locked_does_not_count(start: Starter) -> None:
	device = await start(lock_out=LockOut(max_tries=1, seconds=60))
	await fetch(device, INFO, password="wrong")
	async with Wire(device) as wire:
		status, _ = await wire.ask(INFO)
	assert status == 401
	assert len(device.login_failures) == 1


async def test_a_right_password_wipes_the_count(start: Starter) -> None:
	device = await start()
	await fetch(device, INFO, password="wrong")
	await fetch(device, INFO)
	assert (await ask(device, password="wrong")).text.count("<retryLoginTime>4<") == 1


async def test_a_nonce_count_that_does_not_grow_is_refused_without_a_failure(start: Starter) -> None:
	device = await start()
	authorization = await login(device, INFO)
	async with Wire(device) as wire:
		status, head = await wire.ask(INFO, authorization)
		await wire.body(head)
		assert status == 200
		status, _ = await wire.ask(INFO, authorization)
		assert status == 401
	assert not device.login_failures


async def test_an_intercom_lets_the_nonce_of_a_closed_stream_die_in_silence(start: Starter) -> None:
	device = await start("kv6124")
	authorization = await login(device, STREAM)
	async with Wire(device) as wire:
		assert (await wire.ask(STREAM, authorization))[0] == 200
		async with Wire(device) as other:
			assert (await other.ask(INFO, once_more(device, authorization, INFO, count=2)))[0] == 200
	await wait_until(lambda: device.open_streams == 0)

	async with Wire(device) as wire:
		status, head = await wire.ask(INFO, once_more(device, authorization, INFO, count=3))
		assert (status, "WWW-Authenticate" in head) == (401, False)
	assert (await fetch(device, INFO))[0] == 200
	assert not device.login_failures


async def test_old_cameras_explain_a_401_in_html(start: Starter) -> None:
	device = await start(replace(PROFILES["nvr-typeb"], html_401=True))
	answer = await asyncio.to_thread(requests.get, device.url + INFO, timeout=5)
	assert answer.headers["Content-Type"] == "text/html"
	assert "Document Error: Unauthorized" in answer.text


# Connections


async def test_a_one_request_device_never_answers_a_second_one(start: Starter) -> None:
	device = await start("k2702")
	async with Wire(device) as wire:
		_, head = await wire.ask(INFO)
		await wire.body(head)
		await wire.send(INFO)
		assert await wire.silent_for(0.1)


async def test_an_old_terminal_closes_after_a_401(start: Starter) -> None:
	device = await start("k1t341am-old")
	async with Wire(device) as wire:
		_, head = await wire.ask(INFO)
		assert "Connection: close" in head
		await wire.body(head)
		assert await wire.to_the_end() == b""


async def test_a_terminal_that_needs_close_never_answers_a_kept_stream_request(start: Starter) -> None:
	device = await start("k1t344")
	authorization = await login(device, STREAM)
	async with Wire(device) as wire:
		await wire.send(STREAM, authorization)
		assert await wire.silent_for(0.1)
	assert device.open_streams == 0


async def test_requests_in_one_packet_are_answered_in_order(start: Starter) -> None:
	device = await start()
	async with Wire(device) as wire:
		await wire.send("/one")
		await wire.send("/two")
		for _ in range(2):
			status, head = await wire.ask("/three")
			assert status == 404
			await wire.body(head)


@pytest.mark.parametrize(
	("data", "status"),
	[
		(b"nonsense\r\n\r\n", b"400"),
		(b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"400"),
		(b"PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
		(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
		(b"GET /" + b"x" * 20000, b"431"),
	],
)
async def test_what_is_no_bounded_request_is_refused(start: Starter, data: bytes, status: bytes) -> None:
	device = await start()
	reader, writer = await asyncio.open_connection(device.host, device.port)
	writer.write(data)
	assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 " + status)
	writer.close()


async def test_https_shows_the_certificate_whose_fingerprint_the_device_tells(start: Starter) -> None:
	device = await start("k1t344", tls=Certificate.make())
	digest = aiohttp.DigestAuthMiddleware(device.user, device.password)
	pin = aiohttp.Fingerprint(bytes.fromhex(device.fingerprint))
	async with (
		aiohttp.ClientSession(middlewares=(digest,)) as session,
		session.get(device.url + INFO, ssl=pin) as answer,
	):
		assert answer.status == 200


# Clock


async def test_the_clock_is_told_with_its_zone(start: Starter) -> None:
	device = await start("k1t344")
	_, body = await fetch(device, TIME)
	text = re.search(rb"<localTime>(.*)</localTime>", body)
	assert text is not None
	told = datetime.fromisoformat(text[1].decode())
	assert abs(datetime.now(timezone.utc) - told) < timedelta(seconds=5)
	assert b"<timeZone>CST+5:00:00</timeZone>" in body
	assert (await fetch(device, f"{TIME}/timeZone"))[1] == b"CST+5:00:00"


async def test_setting_the_clock_moves_the_records_after_it(start: Starter) -> None:
	device = await start("k1t344")
	body = b"<Time><timeMode>manual</timeMode><localTime>2031-05-06T07:08:09</localTime></Time>"
	assert (await fetch(device, TIME, "PUT", body))[0] == 200
	record = device.make_pass("1")
	assert abs(record.instant - datetime(2031, 5, 6, 12, 8, 9, tzinfo=timezone.utc)) < timedelta(seconds=5)


@pytest.mark.parametrize(
	"body",
	[b"no xml", b"<Time><localTime>soon</localTime></Time>", b"<Time><timeZone>here</timeZone></Time>"],
)
async def test_a_time_that_cannot_be_read_is_refused(start: Starter, body: bytes) -> None:
	device = await start()
	status, answer = await fetch(device, TIME, "PUT", body)
	assert status == 400
	assert b"<statusCode>" in answer


async def test_a_device_with_the_factory_zone_says_so_everywhere(start: Starter) -> None:
	device = await start("k1t323-push")
	_, body = await fetch(device, TIME)
	assert b"+08:00</localTime>" in body
	assert b"<timeZone>CST-8:00:00</timeZone>" in body


# The log


def test_serial_numbers_wrap_from_100000_to_1() -> None:
	device = SimulatedDevice(PROFILES["k1t344"])
	device.set_serial(99_999)
	serials = [(record.serial_no, record.epoch) for record in (device.make_pass("1") for _ in range(3))]
	assert serials == [(100_000, 0), (1, 1), (2, 1)]


def test_a_factory_reset_counts_from_1_and_keeps_the_truth() -> None:
	device = SimulatedDevice(PROFILES["k1t344"])
	device.make_pass("1")
	device.reset_serial()
	again = device.make_pass("2")
	assert (again.serial_no, again.epoch, again.front_serial_no) == (1, 1, 0)
	assert [record.person for record in device.log] == ["1", "2"]


def test_a_pass_with_door_events_is_three_records() -> None:
	device = SimulatedDevice(PROFILES["k1t344"])
	device.make_pass("1", with_door_events=True)
	assert [record.minor for record in device.log] == [75, DoorEvent.UNLOCKED, DoorEvent.LOCKED]
	assert [record.is_pass for record in device.log] == [True, False, False]


@pytest.mark.parametrize(("method", "minor"), [("card", 1), ("fingerprint", 38), ("face", 75), ("pin", 181)])
def test_a_method_has_its_code(method: str, minor: int) -> None:
	assert SimulatedDevice(PROFILES["k1t344"]).make_pass("1", method=method).minor == minor


def test_a_denial_that_names_a_person_is_no_pass() -> None:
	record = SimulatedDevice(PROFILES["k1t344"]).make_denial("7", minor=8, method="card")
	assert (record.person, record.is_pass) == ("7", False)


def test_an_instant_without_a_zone_is_refused() -> None:
	with pytest.raises(ValueError, match="zone"):
		SimulatedDevice(PROFILES["k1t344"]).make_pass("1", at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_two_devices_of_one_kind_differ_in_identity() -> None:
	first, second = (SimulatedDevice(PROFILES["k1t344"]) for _ in range(2))
	assert first.serial_number != second.serial_number
	assert first.mac_address != second.mac_address


async def test_a_stopped_device_starts_again_on_its_port_with_its_log(start: Starter) -> None:
	device = await start()
	port = device.port
	device.make_pass("1")
	await device.stop()
	device.make_pass("2")
	await device.start()
	assert device.port == port
	async with Stream(device) as stream:
		assert await stream.serials(2) == [1, 2]


async def test_a_reboot_writes_its_records_and_forgets_logins(start: Starter) -> None:
	device = await start(faults=Faults(leak_slots=True))
	authorization = await login(device, INFO)
	device.reboot()
	assert [(record.major, record.minor) for record in device.log] == [
		(2, 1024),
		(5, 22),
		(2, 39),
		(2, 1031),
		(1, 1028),
	]
	async with Wire(device) as wire:
		assert (await wire.ask(INFO, authorization))[0] == 401


async def test_capability_flags_may_lie(start: Starter) -> None:
	_, body = await fetch(await start("k1a340"), "/ISAPI/AccessControl/capabilities")
	assert b"<isSupportCardInfo>false</isSupportCardInfo>" in body
	assert b"<isSupportFDLib>true</isSupportFDLib>" in body


async def test_the_armed_clients_are_listed(start: Starter) -> None:
	device = await start(profile(slots=2))
	async with Stream(device):
		_, body = await fetch(device, "/ISAPI/AccessControl/DeployInfo")
	assert body.count(b"<ipAddr>127.0.0.1</ipAddr>") == 1


async def test_a_method_that_a_path_does_not_know_is_not_allowed(start: Starter) -> None:
	status, body = await fetch(await start(), INFO, "DELETE")
	assert (status, b"methodNotAllowed" in body) == (405, True)
