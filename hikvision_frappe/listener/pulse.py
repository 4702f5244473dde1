"""Many tasks that work together every so often cost less than each of them waking alone.

A thousand streams with a few events each would wake the process for every event, with cold caches, and give the
spool one event at a time. On a pulse they parse one after the other and share one commit. Where little happens
there is nothing to share, and the pulse goes as fast as the events come.
"""

from __future__ import annotations

import asyncio

# So many that work together are worth waiting for the longest interval; fewer wait for less.
COMPANY = 10


class Pulse:
	"""``wait`` returns at once after a quiet time, and otherwise for all waiting together.

	longest: seconds between two beats when COMPANY or more tasks wait for each.
	"""

	def __init__(self, longest: float) -> None:
		self._longest = longest
		self._latest = float("-inf")
		self._interval = 0.0
		self._waiting = 0
		self._next: asyncio.Event | None = None

	async def wait(self) -> None:
		loop = asyncio.get_running_loop()
		if self._next is None:
			due = self._latest + self._interval
			if loop.time() >= due:
				self._begin_interval(loop.time(), company=1)
				return
			self._next = asyncio.Event()
			loop.call_at(due, self._beat)
		self._waiting += 1
		await self._next.wait()

	def _beat(self) -> None:
		self._begin_interval(asyncio.get_running_loop().time(), self._waiting)
		self._waiting = 0
		if self._next is not None:
			self._next.set()
			self._next = None

	def _begin_interval(self, now: float, company: int) -> None:
		self._latest = now
		self._interval = self._longest * min(1.0, company / COMPANY)
