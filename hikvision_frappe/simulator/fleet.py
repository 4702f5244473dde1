"""Many devices at which people pass at a rate."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable, Sequence
from enum import Enum

from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.records import SimulatedRecord

_STARTED_AT_ONCE = 50


class Arrivals(str, Enum):
	"""How passes lie in time."""

	STEADY = "steady"
	POISSON = "poisson"


class Fleet:
	"""Starts devices and lets people pass at them; the same seed makes the same passes.

	rate: passes per second over all devices together. with_door_events: each pass moves the lock too.
	"""

	def __init__(
		self,
		devices: Iterable[SimulatedDevice],
		persons: Sequence[str] = ("1", "2", "3"),
		rate: float = 1.0,
		arrivals: Arrivals = Arrivals.POISSON,
		seed: int = 1,
		with_door_events: bool = False,
	) -> None:
		self.devices = list(devices)
		if not self.devices or not persons or rate <= 0:
			raise ValueError("a fleet needs devices, persons and a rate above 0")
		self._persons = persons
		self._rate = rate
		self._arrivals = arrivals
		self._dice = random.Random(seed)
		self._with_door_events = with_door_events
		self._passing: asyncio.Task[None] | None = None

	@property
	def log(self) -> list[SimulatedRecord]:
		"""Everything that happened at any device, in the order of happening."""
		records = [record for device in self.devices for record in device.log]
		return sorted(records, key=lambda record: record.made_at)

	async def start(self) -> None:
		"""Start every device; nobody passes yet."""
		for first in range(0, len(self.devices), _STARTED_AT_ONCE):
			some = self.devices[first : first + _STARTED_AT_ONCE]
			await asyncio.gather(*(device.start() for device in some))

	async def stop(self) -> None:
		"""Let nobody pass any more and stop every device; the logs stay."""
		await self.pause()
		for device in self.devices:
			await device.stop()

	def resume(self) -> None:
		"""Let people pass in the background, until ``pause``."""
		if self._passing is None:
			self._passing = asyncio.create_task(self._pass_for(None))

	async def pause(self) -> None:
		"""Let nobody pass any more."""
		task, self._passing = self._passing, None
		if task is not None:
			task.cancel()
			with contextlib.suppress(asyncio.CancelledError):
				await task

	async def produce(self, persons: Sequence[str], rate: float, stop: asyncio.Event) -> None:
		"""Let these persons pass at this rate until ``stop`` is set."""
		self._persons, self._rate = persons, rate
		self.resume()
		try:
			await stop.wait()
		finally:
			await self.pause()

	async def run(self, seconds: float) -> None:
		"""Let people pass for so many seconds."""
		await self._pass_for(seconds)

	def make_passes(self, count: int) -> list[SimulatedRecord]:
		"""Let ``count`` people pass at once, at devices and in an order that the seed decides."""
		return [self._one_pass() for _ in range(count)]

	async def __aenter__(self) -> Fleet:
		await self.start()
		return self

	async def __aexit__(self, *_: object) -> None:
		await self.stop()

	async def _pass_for(self, seconds: float | None) -> None:
		loop = asyncio.get_running_loop()
		due = loop.time()
		end = None if seconds is None else due + seconds
		while True:
			due += self._gap()
			if end is not None and due > end:
				await asyncio.sleep(max(0.0, end - loop.time()))
				return
			await asyncio.sleep(max(0.0, due - loop.time()))
			self._one_pass()

	def _gap(self) -> float:
		if self._arrivals is Arrivals.STEADY:
			return 1.0 / self._rate
		return self._dice.expovariate(self._rate)

	def _one_pass(self) -> SimulatedRecord:
		device = self._dice.choice(self.devices)
		person = self._dice.choice(self._persons)
		return device.make_pass(
			person,
			method=self._dice.choice(("face", "fingerprint", "card")),
			reader=self._dice.choice((1, 2)),
			with_door_events=self._with_door_events,
		)
