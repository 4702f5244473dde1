"""Turns at connecting: a thousand devices at once would only be in each other's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Handshakes:
	"""At most ``most`` at a time connect and log in. One whose device lets it wait for ``patience`` seconds goes on,
	but no longer counts: terminals that accept and never answer keep nobody else out."""

	def __init__(self, most: int, patience: float) -> None:
		self._free = asyncio.Semaphore(most)
		self._patience = patience

	@asynccontextmanager
	async def turn(self) -> AsyncGenerator[None]:
		await self._free.acquire()
		turn = _Turn(self._free)
		overdue = asyncio.get_running_loop().call_later(self._patience, turn.end)
		try:
			yield
		finally:
			overdue.cancel()
			turn.end()


class _Turn:
	"""Ends once, whoever says so first."""

	__slots__ = ("_ended", "_free")

	def __init__(self, free: asyncio.Semaphore) -> None:
		self._free = free
		self._ended = False

	def end(self) -> None:
		if not self._ended:
			self._ended = True
			self._free.release()
