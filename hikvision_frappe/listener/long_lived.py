"""What lives as long as its connection is kept out of the garbage collector's way.

A thousand streams are a hundred thousand objects of which none is garbage. Python's collector walks through all of
them whenever their number has grown by a quarter, and for a fifth of a second no device is heard. So when a crowd
has connected, and everybody is still waiting for the first passes, that is done once, and what is alive is set aside
(``gc.freeze``). It ends with its last reference as ever; only circles among it wait for the next crowd.

What a stream holds while it waits for its next message is young and no garbage either: a crowd's is looked through
less often.
"""

from __future__ import annotations

import asyncio
import gc

CROWD = 100  # connections; for fewer the collector is quick by itself
PAUSE_SECONDS = 1.0
YOUNG_OBJECTS = 10_000  # made and not freed until they are looked through; Python's own number is 700


class LongLived:
	"""Sets aside what is alive when ``crowd`` or more connections are new and for ``pause`` seconds none was made."""

	def __init__(self, crowd: int = CROWD, pause: float = PAUSE_SECONDS) -> None:
		self._crowd = crowd
		self._pause = pause
		self._new = 0
		self._latest = 0.0

	def connected(self) -> None:
		"""Another connection was made."""
		loop = asyncio.get_running_loop()
		self._new += 1
		self._latest = loop.time()
		if self._new == self._crowd:
			loop.call_later(self._pause, self._look)

	def _look(self) -> None:
		loop = asyncio.get_running_loop()
		remaining = self._latest + self._pause - loop.time()
		if remaining > 0:
			loop.call_later(remaining, self._look)
			return
		self._new = 0
		set_aside()


def set_aside() -> None:
	"""Free what is garbage now, also among what was set aside before, and look no more at what is not.

	It concerns the whole process, and takes about a fifth of a second for a thousand streams.
	"""
	gc.unfreeze()
	gc.collect()
	gc.freeze()
	gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
