"""Turns at connecting."""

from __future__ import annotations

import asyncio

import pytest
from listener_support import until

from hikvision_frappe.listener.handshakes import Handshakes


class Crowd:
	"""Devices that connect until they are let go; counts those that connect now."""

	def __init__(self, handshakes: Handshakes) -> None:
		self._handshakes = handshakes
		self.answer = asyncio.Event()
		self.inside = 0

	async def connect(self) -> None:
		async with self._handshakes.turn():
			self.inside += 1
			await self.answer.wait()
			self.inside -= 1


async def test_so_many_connect_at_a_time_and_all_in_the_end() -> None:
	crowd = Crowd(Handshakes(most=3, patience=60.0))
	tasks = [asyncio.create_task(crowd.connect()) for _ in range(10)]
	await until(lambda: crowd.inside == 3)
	for _ in range(5):
		await asyncio.sleep(0)
	assert crowd.inside == 3
	crowd.answer.set()
	await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def test_one_that_waits_for_long_makes_room_once() -> None:
	handshakes = Handshakes(most=1, patience=0.01)
	mute, later = Crowd(handshakes), Crowd(handshakes)
	waiting = asyncio.create_task(mute.connect())
	await until(lambda: mute.inside == 1)
	async with handshakes.turn():
		pass
	mute.answer.set()
	await waiting  # gives no second turn back
	handshakes._patience = 60.0
	tasks = [asyncio.create_task(later.connect()) for _ in range(2)]
	await until(lambda: later.inside)
	for _ in range(5):
		await asyncio.sleep(0)
	assert later.inside == 1
	later.answer.set()
	await asyncio.gather(*tasks)


async def test_a_failure_or_a_cancellation_gives_the_turn_back() -> None:
	handshakes = Handshakes(most=1, patience=60.0)
	with pytest.raises(ConnectionError):
		async with handshakes.turn():
			raise ConnectionError
	crowd = Crowd(handshakes)
	task = asyncio.create_task(crowd.connect())
	await until(lambda: crowd.inside == 1)
	task.cancel()
	await asyncio.gather(task, return_exceptions=True)
	async with handshakes.turn():
		pass
