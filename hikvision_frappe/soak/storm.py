"""What goes wrong at the devices of a soak: a fault by chance at a device by chance, and its end a little later."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hikvision_frappe.listener.site import IngestMode
from hikvision_frappe.simulator.faults import PartLength
from hikvision_frappe.soak.town import Citizen

PERSONS = tuple(f"{number:04d}" for number in range(1, 200))
BIG_PICTURE = 3_000_000
BACKLOG = 200
FAR = 1_100  # records


@dataclass(frozen=True, slots=True)
class Mishap:
	"""seconds: how long it lasts, between the two. fits: the devices to which it can happen."""

	name: str
	begin: Callable[[Citizen], None]
	end: Callable[[Citizen], None] | None = None
	seconds: tuple[float, float] = (2.0, 8.0)
	fits: Callable[[Citizen], bool] = lambda citizen: True


def _streams(citizen: Citizen) -> bool:
	return citizen.config.mode is IngestMode.STREAM


def _pushes(citizen: Citizen) -> bool:
	return citizen.config.mode is IngestMode.PUSH


def _has_history(citizen: Citizen) -> bool:
	return citizen.config.history


def _has_counted_far(citizen: Citizen) -> bool:
	"""A factory reset takes longer than minutes: nobody tells two of them apart that follow each other at once.

	``core.identity`` knows a new count by its numbers, far below, or by ``RESET_EVIDENCE``.
	"""
	log = citizen.device.log
	return not log or log[-1].serial_no > FAR


def _set(citizen: Citizen, **switches: object) -> None:
	for name, value in switches.items():
		setattr(citizen.device.faults, name, value)


def _cut(citizen: Citizen) -> None:
	citizen.device.cut_streams(mid_frame=True)


def _reset_connection(citizen: Citizen) -> None:
	citizen.device.cut_streams(mid_frame=False, reset=True)


def _take_slot(citizen: Citizen) -> None:
	_set(citizen, leak_slots=True)
	citizen.device.cut_streams(mid_frame=False)


def _free_slot(citizen: Citizen) -> None:
	_set(citizen, leak_slots=False)
	citizen.device.reboot()
	citizen.point_to_receiver()


def _forget_hosts(citizen: Citizen) -> None:
	_set(citizen, reboot_forgets_hosts=True)
	citizen.device.reboot()


def _type_host_again(citizen: Citizen) -> None:
	_set(citizen, reboot_forgets_hosts=False)
	citizen.point_to_receiver()


def _burst(citizen: Citizen) -> None:
	for number in range(BACKLOG):
		citizen.device.make_pass(PERSONS[number % len(PERSONS)])


def _big_pictures(citizen: Citizen) -> None:
	_set(citizen, picture_bytes=BIG_PICTURE)
	citizen.device.make_pass(PERSONS[0])


MISHAPS = (
	Mishap("cut mid-frame", _cut, fits=_streams),
	Mishap("connection reset", _reset_connection, fits=_streams),
	Mishap("half-open", lambda each: each.device.hang(), fits=_streams),
	Mishap("mute", lambda each: _set(each, mute=True), lambda each: _set(each, mute=False), (5, 30)),
	Mishap("401 storm", lambda each: _set(each, unauthorized=1), lambda each: _set(each, unauthorized=0)),
	Mishap("slot taken", _take_slot, _free_slot, fits=_streams),
	Mishap(
		"slow loris",
		lambda each: _set(each, dribble_bytes=40),
		lambda each: _set(each, dribble_bytes=0),
		(5, 15),
		_streams,
	),
	Mishap("page caps", lambda each: _set(each, page_caps=(3, 1, 7, 2) * 5), fits=_has_history),
	Mishap(
		"totals lie",
		lambda each: _set(each, total_error=5),
		lambda each: _set(each, total_error=0),
		(3, 10),
		_has_history,
	),
	Mishap("duplicates", lambda each: _set(each, duplicates=3), lambda each: _set(each, duplicates=1), (5, 20)),
	Mishap("reorder", lambda each: _set(each, reorder=4), lambda each: _set(each, reorder=0), (5, 20), _streams),
	Mishap("serial reset", lambda each: each.device.reset_serial(), fits=_has_counted_far),
	Mishap("clock jump", lambda each: each.device.jump_clock(90), lambda each: each.device.jump_clock(-90), (5, 30)),
	Mishap("clock back", lambda each: each.device.jump_clock(-90), lambda each: each.device.jump_clock(90), (5, 30)),
	Mishap("reboot", lambda each: each.device.reboot()),
	Mishap("reboot forgets hosts", _forget_hosts, _type_host_again, fits=_pushes),
	Mishap("backlog", _burst),
	Mishap(
		"malformed",
		lambda each: _set(each, malformed_every=3, part_length=PartLength.WRONG),
		lambda each: _set(each, malformed_every=0, part_length=PartLength.RIGHT),
		(5, 15),
	),
	Mishap("3 MB picture", _big_pictures, lambda each: _set(each, picture_bytes=0), (1, 3)),
)  # fmt: skip


class Storm:
	"""``begin`` and ``end``; between them a mishap every so often, each at another device, each with its end."""

	def __init__(self, citizens: Sequence[Citizen], mishaps_per_second: float, seed: int) -> None:
		self._citizens = list(citizens)
		self._rate = mishaps_per_second
		self._dice = random.Random(seed)  # noqa: S311 a simulation
		self._busy: dict[str, asyncio.Task[None]] = {}
		self._raging: asyncio.Task[None] | None = None
		self.counts: Counter[str] = Counter()

	def begin(self) -> None:
		self._raging = asyncio.create_task(self._rage())

	async def end(self) -> None:
		"""No new mishaps; those that last are over at once."""
		tasks = [*self._busy.values(), *([self._raging] if self._raging else [])]
		for task in tasks:
			task.cancel()
		await asyncio.gather(*tasks, return_exceptions=True)

	async def _rage(self) -> None:
		while True:
			await asyncio.sleep(self._dice.expovariate(self._rate))
			citizen = self._dice.choice(self._citizens)
			mishap = self._dice.choice(MISHAPS)
			if mishap.fits(citizen) and citizen.config.key not in self._busy:
				self._strike(citizen, mishap)

	def _strike(self, citizen: Citizen, mishap: Mishap) -> None:
		self.counts[mishap.name] += 1
		mishap.begin(citizen)
		seconds = self._dice.uniform(*mishap.seconds)
		task = asyncio.create_task(self._end_later(citizen, mishap, seconds))
		self._busy[citizen.config.key] = task
		task.add_done_callback(lambda _: self._busy.pop(citizen.config.key, None))

	async def _end_later(self, citizen: Citizen, mishap: Mishap, seconds: float) -> None:
		with suppress(asyncio.CancelledError):
			await asyncio.sleep(seconds)
		if mishap.end is not None:
			mishap.end(citizen)
