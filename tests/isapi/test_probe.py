"""What *Test connection* tells a person, step by step."""

from __future__ import annotations

import socket

import pytest

from hikvision_frappe.isapi import probe
from hikvision_frappe.isapi.address import DeviceAddress, TlsMode
from hikvision_frappe.isapi.probe import CLOCK, HIKVISION, IDENTITY, LOGIN, REACH, TLS
from hikvision_frappe.simulator import PROFILES, Certificate, LockOut, SimulatedDevice
from tests.isapi.servers import CHALLENGE, CannedServer, PlainServer, answer
from tests.isapi.support import fixture
from tests.isapi.test_client import address_of


def names(test):
	return [step.name for step in test.steps]


def the_end(test):
	assert not test.ok
	assert all(step.ok for step in test.steps[:-1])
	last = test.steps[-1]
	assert not last.ok
	assert last.text
	assert last.advice
	return last


async def test_a_working_device_passes_every_step():
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		test = await probe.test_connection(address_of(device), device.serial_number)
		assert test.ok
		assert names(test) == [REACH, TLS, HIKVISION, LOGIN, IDENTITY, CLOCK]
		assert test.info.serial_number == device.serial_number
		assert abs(test.clock_offset) < 5
		assert (test.tries_left, test.fingerprint) == (None, "")
		assert not device.login_failures


async def test_a_wrong_password_ends_the_test_and_tells_the_tries_left():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		test = await probe.test_connection(address_of(device, password="Not-it-99"))
		last = the_end(test)
		assert (last.name, test.tries_left) == (LOGIN, 4)
		assert "4 tries are left" in last.text
		assert "Not-it-99" not in repr(test)
		assert len(device.login_failures) == 1


async def test_a_locked_device_says_how_long_to_wait():
	async with SimulatedDevice(PROFILES["k1a340"], lock_out=LockOut(max_tries=1, seconds=1200)) as device:
		await probe.test_connection(address_of(device, password="Not-it-99"))
		test = await probe.test_connection(address_of(device))
		assert "20 more minutes" in the_end(test).text
		assert len(device.login_failures) == 1


async def test_another_device_at_the_address_is_recognised():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		test = await probe.test_connection(address_of(device), "DS-SOMETHING-ELSE")
		last = the_end(test)
		assert last.name == IDENTITY
		assert device.serial_number in last.text
		assert test.info.serial_number == device.serial_number


@pytest.mark.parametrize(
	("seconds", "words"),
	[(-3600.0, "60 minutes behind"), (90.0, "seconds ahead"), (-864000.0, "10 days behind")],
)
async def test_a_clock_that_is_off_is_told_in_words(seconds, words):
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		device.jump_clock(seconds)
		test = await probe.test_connection(address_of(device))
		assert words in the_end(test).text
		assert abs(test.clock_offset + seconds) < 5


async def test_a_factory_offset_shows_in_the_clock_until_it_is_distrusted():
	async with SimulatedDevice(PROFILES["k1t323-push"]) as device:
		assert the_end(await probe.test_connection(address_of(device))).name == CLOCK
		distrusting = address_of(device, zone="Asia/Riyadh", trust_offset=False)
		assert (await probe.test_connection(distrusting)).ok


async def test_nobody_at_the_port_fails_to_be_reached():
	with socket.socket() as unused:
		unused.bind(("127.0.0.1", 0))
		address = DeviceAddress("127.0.0.1", unused.getsockname()[1], "admin", "x")
		last = the_end(await probe.test_connection(address))
	assert last.name == REACH
	assert "nothing listens" in last.text


@pytest.mark.parametrize("host", ["", "a b", "a" * 300, "no-such-name.invalid"])
async def test_a_name_that_is_none_fails_to_be_reached(host):
	assert the_end(await probe.test_connection(DeviceAddress(host, 80, "admin", "x"))).name == REACH


@pytest.mark.parametrize(
	("reply", "step"),
	[
		(answer(200, b"<html>Router</html>"), HIKVISION),
		(answer(404), HIKVISION),
		(answer(401, b"", 'WWW-Authenticate: Basic realm="x"'), HIKVISION),
		(b"SSH-2.0-OpenSSH\r\n", HIKVISION),
		(answer(401, fixture("login_locked.xml"), CHALLENGE.format(count=1)), HIKVISION),
		(answer(401, fixture("login_refused.xml"), CHALLENGE.format(count=1)), LOGIN),
	],
)
async def test_the_step_that_fails_is_the_one_that_went_wrong(reply, step):
	async with CannedServer(lambda _: reply) as server:
		test = await probe.test_connection(server.address)
		assert the_end(test).name == step
		assert server.logins == (1 if step == LOGIN else 0)


async def test_a_self_signed_certificate_is_shown_so_that_it_can_be_pinned():
	async with SimulatedDevice(PROFILES["k1t344"], tls=Certificate.make()) as device:
		system = await probe.test_connection(address_of(device, tls=TlsMode.SYSTEM))
		assert (the_end(system).name, system.fingerprint) == (TLS, device.fingerprint)
		pinned = address_of(device, tls=TlsMode.PINNED, fingerprint=system.fingerprint)
		assert (await probe.test_connection(pinned)).ok
		wrong = await probe.test_connection(address_of(device, tls=TlsMode.PINNED, fingerprint="00" * 32))
		assert (the_end(wrong).name, wrong.fingerprint) == (TLS, device.fingerprint)
		missing = await probe.test_connection(address_of(device, tls=TlsMode.PINNED))
		assert (the_end(missing).name, missing.fingerprint) == (TLS, device.fingerprint)
		unverified = await probe.test_connection(address_of(device, tls=TlsMode.UNVERIFIED))
		assert unverified.ok
		assert unverified.steps[1].advice


async def test_a_port_without_tls_is_told_from_a_wrong_certificate():
	async with PlainServer() as server:
		address = DeviceAddress("127.0.0.1", server.port, "admin", "x", TlsMode.UNVERIFIED)
		last = the_end(await probe.test_connection(address))
	assert last.name == TLS
	assert "HTTPS port" in last.advice


async def test_a_port_that_is_silent_to_tls_fails_at_the_encryption(monkeypatch):
	monkeypatch.setattr("hikvision_frappe.isapi.client.CONNECT_SECONDS", 0.2)
	async with CannedServer(lambda _: None) as server:
		address = DeviceAddress("127.0.0.1", server.port, "admin", "x", TlsMode.SYSTEM)
		assert the_end(await probe.test_connection(address)).name == TLS


async def test_a_test_that_hangs_is_given_up(monkeypatch):
	monkeypatch.setattr(probe, "WHOLE_TEST_SECONDS", 0.2)
	async with CannedServer(lambda _: None) as server:
		last = the_end(await probe.test_connection(server.address))
	assert "given up" in last.text
