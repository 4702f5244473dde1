"""The desk's *Test connection*: what works between us and a device, step by step and in plain words.

One refused login ends the test, so testing again and again with a wrong password cannot lock the device unnoticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from hikvision_frappe.isapi.address import DeviceAddress, TlsMode
from hikvision_frappe.isapi.answers import DeviceClock, DeviceInfo
from hikvision_frappe.isapi.client import (
	CONNECT_SECONDS,
	DeviceClient,
	certificate_fingerprint,
	tls_unusable,
)
from hikvision_frappe.isapi.deadline import time_limit
from hikvision_frappe.isapi.errors import (
	IsapiError,
	LoginRefused,
	SetupWrong,
	TimedOut,
	TlsMismatch,
	TlsUnusable,
	Unreachable,
	WrongDevice,
)

# An attendance record that is a minute off is a wrong one.
CLOCK_TOLERANCE = timedelta(seconds=60)
WHOLE_TEST_SECONDS = 60.0

REACH, TLS, HIKVISION, LOGIN, IDENTITY, CLOCK = (
	"Network",
	"Encryption",
	"Hikvision",
	"Login",
	"Identity",
	"Clock",
)


@dataclass(frozen=True, slots=True)
class Step:
	"""One thing tried. text: what was found. advice: what to do, "" when nothing needs doing."""

	name: str
	ok: bool
	text: str
	advice: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionTest:
	"""The steps taken, in order; the last one says why it ended there.

	ok: every step succeeded; a clock that is off counts too, because attendance would be wrong.
	clock_offset: our UTC minus the device's, seconds. tries_left: before the device locks, when the login was
	refused and it says so. fingerprint: hex sha256 of the certificate seen, "" without TLS.
	"""

	ok: bool
	steps: tuple[Step, ...]
	info: DeviceInfo | None = None
	clock_offset: float | None = None
	tries_left: int | None = None
	fingerprint: str = ""


async def test_connection(address: DeviceAddress, expected_serial: str = "") -> ConnectionTest:
	"""Try a device's configuration; faults of device and network are steps of the result and never raised.

	expected_serial: the serial number stored for the device; another one is a failed step. Takes a minute at most.
	"""
	test = _Test(address, expected_serial)
	try:
		async with time_limit(WHOLE_TEST_SECONDS):
			await test.run()
	except asyncio.TimeoutError:
		test.fail(
			Step("Time", False, "The test was given up after a minute.", "Check the network, then try again.")
		)
	return test.result()


# Test runners take any function of this name for one of theirs.
test_connection.__test__ = False  # type: ignore[attr-defined]


class _Test:
	"""A test under way; each step ends it by raising."""

	def __init__(self, address: DeviceAddress, expected_serial: str) -> None:
		self._address = address
		self._expected_serial = expected_serial
		self._client = DeviceClient(address)
		self._steps: list[Step] = []
		self._info: DeviceInfo | None = None
		self._clock: DeviceClock | None = None
		self._tries_left: int | None = None
		self._fingerprint = ""

	async def run(self) -> None:
		steps: tuple[tuple[str, Callable[[], Awaitable[Step]]], ...] = (
			(REACH, self._reach),
			(TLS, self._encrypt),
			(HIKVISION, self._recognise),
			(LOGIN, self._log_in),
			(IDENTITY, self._identify),
			(CLOCK, self._compare_clocks),
		)
		try:
			for name, take in steps:
				if not await self._take(name, take):
					return
		finally:
			await self._client.close()

	async def _take(self, name: str, take: Callable[[], Awaitable[Step]]) -> bool:
		"""Take one step; False when it ends the test."""
		try:
			self._steps.append(await take())
			return True
		except IsapiError as error:
			if isinstance(error, LoginRefused):
				self._tries_left = error.tries_left
			if isinstance(error, TlsMismatch | TlsUnusable):
				name = TLS
			self.fail(Step(name, False, error.what, error.advice))
			return False

	def fail(self, step: Step) -> None:
		"""Note the step that ended the test."""
		self._steps.append(step)

	def result(self) -> ConnectionTest:
		"""What has been found."""
		return ConnectionTest(
			ok=all(step.ok for step in self._steps),
			steps=tuple(self._steps),
			info=self._info,
			clock_offset=None if self._clock is None else self._clock.offset_seconds,
			tries_left=self._tries_left,
			fingerprint=self._fingerprint,
		)

	async def _reach(self) -> Step:
		host, port = self._address.host, self._address.port
		try:
			async with time_limit(CONNECT_SECONDS):
				_, writer = await asyncio.open_connection(host, port)
		except (OSError, asyncio.TimeoutError) as error:
			raise _unreachable(host, port, error) from error
		except ValueError:
			raise SetupWrong("The address is not valid.", "Enter a host name or an IP address.") from None
		writer.transport.abort()
		return Step(REACH, True, f"{host} answers on port {port}.")

	async def _encrypt(self) -> Step:
		if self._address.tls is TlsMode.OFF:
			return Step(
				TLS, True, "Switched off: events and names travel readably.", "Use it in a trusted network."
			)
		try:
			self._fingerprint = await certificate_fingerprint(self._address.host, self._address.port)
		except TimedOut:
			raise tls_unusable() from None
		await self._client.knock()
		if self._address.tls is TlsMode.UNVERIFIED:
			return Step(TLS, True, "Encrypted, but the certificate is not checked.", "Pin its fingerprint.")
		return Step(TLS, True, "Encrypted, and the certificate is the expected one.")

	async def _recognise(self) -> Step:
		await self._client.knock()
		return Step(HIKVISION, True, "It answers as Hikvision devices do.")

	async def _log_in(self) -> Step:
		self._info = await self._client.device_info()
		return Step(LOGIN, True, f"User {self._address.user} is accepted.")

	async def _identify(self) -> Step:
		info = self._info
		assert info is not None
		if self._expected_serial and info.serial_number != self._expected_serial:
			raise WrongDevice(
				f"Another device answers at this address: serial number {info.serial_number or 'unknown'} instead of "
				f"{self._expected_serial}.",
				"Enter the address that the expected device has now, or change the serial number if it was replaced.",
			)
		return Step(
			IDENTITY, True, f"{info.model or 'Device'} {info.serial_number}, firmware {info.firmware}."
		)

	async def _compare_clocks(self) -> Step:
		self._clock = await self._client.clock()
		offset = self._clock.offset_seconds
		if abs(offset) <= CLOCK_TOLERANCE.total_seconds():
			return Step(CLOCK, True, f"The clock is off by {abs(offset):.1f} s.")
		direction = "behind" if offset > 0 else "ahead"
		return Step(
			CLOCK,
			False,
			f"The device's clock is {_in_words(abs(offset))} {direction}.",
			"Set its time zone, daylight saving and NTP server; if only its offset is wrong, switch off trust in it.",
		)


def _unreachable(host: str, port: int, error: Exception) -> Unreachable:
	if isinstance(error, ConnectionRefusedError):
		return Unreachable(
			f"{host} is there, but nothing listens on port {port}.",
			"Enter the device's HTTP or HTTPS port, 80 or 443 unless it was changed.",
		)
	return Unreachable(
		f"{host} does not answer on port {port}.",
		"Check address, power and cabling, and that a firewall lets this server through.",
	)


def _in_words(seconds: float) -> str:
	if seconds < 120:
		return f"{seconds:.0f} seconds"
	if seconds < 2 * 3600:
		return f"{seconds / 60:.0f} minutes"
	if seconds < 48 * 3600:
		return f"{seconds / 3600:.1f} hours"
	return f"{seconds / 86400:.0f} days"
