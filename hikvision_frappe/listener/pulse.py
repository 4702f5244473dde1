"""Many tasks that work together every so often cost less than each of them waking alone.

A thousand streams with a few events each would wake the process for every event, with cold caches, and give the
spool one event at a time. On a pulse they parse one after the other and share one commit.
"""

from __future__ import annotations

import asyncio


class Pulse:
	"""``wait`` returns at once after a quiet time, and otherwise for all waiting together, once per ``interval``
	seconds."""

	def __init__(self, interval: float) -> None:
		self._interval = interval
		self._latest = float("-inf")
		self._next: asyncio.Event | None = None

	async def wait(self) -> None:
		loop = asyncio.get_running_loop()
		if self._next is None:
			due = self._latest + self._interval
			if loop.time() >= due:
				self._latest = loop.time()
				return
			self._next = asyncio.Event()
			loop.call_at(due, self._beat)
		await self._next.wait()

	def _beat(self) -> None:
		self._latest = asyncio.get_running_loop().time()
		if self._next is not None:
			self._next.set()
			self._next = None
