"""What the demo shows: three terminals that differ, people at their doors, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hikvision_frappe.isapi.address import DeviceAddress
from hikvision_frappe.listener.site import DeviceConfig, IngestMode
from hikvision_frappe.simulator.clock import OffsetForm
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.profile import PROFILES
from hikvision_frappe.simulator.records import SimulatedRecord

PERSONS = tuple(f"{number:04d}" for number in range(1, 31))
METHODS = ("face", "card", "fingerprint")


@dataclass(frozen=True, slots=True)
class Terminal:
	"""A simulated device and how it is entered at the site."""

	device: SimulatedDevice
	config: DeviceConfig
	push_secret: str = field(repr=False, default="")


@dataclass(slots=True)
class Scene:
	"""The terminals in action. cuts: how many streams were cut in the middle of a frame."""

	terminals: list[Terminal]
	rate: float
	cuts: int = 0

	@property
	def configs(self) -> list[DeviceConfig]:
		return [terminal.config for terminal in self.terminals]

	@property
	def records(self) -> Iterator[tuple[str, SimulatedRecord]]:
		"""Everything that happened: key of the device and the record."""
		return ((each.config.key, record) for each in self.terminals for record in each.device.log)

	@property
	def sent(self) -> int:
		return sum(len(terminal.device.log) for terminal in self.terminals)

	def point_pushes_to(self, port: int) -> None:
		"""Type the listener's address into the terminals that push."""
		for each in self.terminals:
			if each.push_secret:
				token = f"{each.config.push_key}.{each.push_secret}"
				each.device.push_to(f"http://127.0.0.1:{port}/hikvision/event/{token}")

	async def let_people_pass(self, seconds: float) -> None:
		"""One person after the other, at each terminal in turn; every few seconds a stream is cut."""
		passing = asyncio.create_task(self._pass_for_ever())
		cutting = asyncio.create_task(self._cut_for_ever(min(6.0, seconds / 4)))
		try:
			await asyncio.wait({passing, cutting}, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
		finally:
			for task in (passing, cutting):
				task.cancel()
			await asyncio.gather(passing, cutting, return_exceptions=True)

	async def _pass_for_ever(self) -> None:
		doings = zip(
			itertools.cycle(self.terminals), itertools.cycle(PERSONS), itertools.cycle(METHODS), strict=False
		)
		due = asyncio.get_running_loop().time()
		for number, (terminal, person, method) in enumerate(doings):
			card = f"{int(person):010d}" if method == "card" else ""
			terminal.device.make_pass(person, method=method, card=card)
			if number % 25 == 24:
				terminal.device.make_denial(method="card", card="9999999999")
			due += 1.0 / self.rate
			await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

	async def _cut_for_ever(self, pause: float) -> None:
		streaming = [each for each in self.terminals if each.config.mode is IngestMode.STREAM]
		for terminal in itertools.cycle(streaming):
			await asyncio.sleep(pause)
			self.cuts += terminal.device.cut_streams(mid_frame=True)


@asynccontextmanager
async def open_scene(rate: float) -> AsyncIterator[Scene]:
	"""Start the terminals; they stop with the context."""
	entrance = SimulatedDevice(PROFILES["k1t344"])
	gate = SimulatedDevice(PROFILES["kv6124"], faults=Faults(duplicates=2))
	canteen = SimulatedDevice(PROFILES["k1t323-push"])
	async with entrance, gate, canteen:
		yield Scene(
			[
				_streaming("entrance", "Entrance: replays its whole log at each connect", entrance),
				_streaming("gate", "Gate: nested headers, says everything twice", gate),
				_pushing("canteen", "Canteen: pushes pictures and a wrong offset", canteen),
			],
			rate,
		)


def _streaming(key: str, title: str, device: SimulatedDevice) -> Terminal:
	return Terminal(device, DeviceConfig(key, title, "1", IngestMode.STREAM, address_of(device)))


def _pushing(key: str, title: str, device: SimulatedDevice) -> Terminal:
	secret = secrets.token_urlsafe(24)
	config = DeviceConfig(
		key,
		title,
		"1",
		IngestMode.PUSH,
		address_of(device),
		push_key=secrets.token_hex(6),
		push_secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
		networks=("127.0.0.0/8",),
	)
	return Terminal(device, config, secret)


def address_of(device: SimulatedDevice) -> DeviceAddress:
	"""How to reach it; the offset of one that writes the factory's is not trusted."""
	wording = device.profile.wording
	return DeviceAddress(
		device.host,
		device.port,
		device.user,
		device.password,
		zone=wording.zone,
		trust_offset=wording.offset is not OffsetForm.FACTORY,
	)
