"""What lives as long as its connection: set aside when a crowd has come, freed like everything else."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from listener_support import until

from hikvision_frappe.listener.long_lived import LongLived, set_aside


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
	"""The collector of the process that runs all tests, left as it was."""
	threshold = gc.get_threshold()
	yield
	gc.unfreeze()
	gc.set_threshold(*threshold)


class Thing:
	pass


class Circle:
	"""Lives until the collector finds it."""

	def __init__(self) -> None:
		self.myself = self


async def test_a_crowd_that_has_connected_is_set_aside() -> None:
	long_lived = LongLived(crowd=3, pause=0.01)
	for _ in range(3):
		long_lived.connected()
	await until(lambda: gc.get_freeze_count() > 0)


async def test_for_a_few_connections_the_collector_goes_on_as_usual() -> None:
	long_lived, threshold = LongLived(crowd=3, pause=0.01), gc.get_threshold()
	for _ in range(2):
		long_lived.connected()
	await asyncio.sleep(0.05)
	assert gc.get_freeze_count() == 0
	assert gc.get_threshold() == threshold


async def test_nothing_is_set_aside_while_more_connect() -> None:
	long_lived, loop = LongLived(crowd=1, pause=0.3), asyncio.get_running_loop()
	long_lived.connected()
	await asyncio.sleep(0.2)
	latest = loop.time()
	long_lived.connected()
	await until(lambda: gc.get_freeze_count() > 0)
	assert loop.time() - latest >= 0.29


async def test_a_second_crowd_is_set_aside_like_the_first() -> None:
	long_lived = LongLived(crowd=2, pause=0.01)
	for _ in range(2):
		gc.unfreeze()
		long_lived.connected()
		long_lived.connected()
		await until(lambda: gc.get_freeze_count() > 0)


def test_a_circle_that_became_garbage_after_it_was_set_aside_is_freed_the_next_time() -> None:
	circle = Circle()
	seen = weakref.ref(circle)
	set_aside()
	del circle
	gc.collect()
	assert seen() is not None
	set_aside()
	assert seen() is None


def test_what_was_set_aside_ends_with_its_last_reference() -> None:
	thing = Thing()
	seen = weakref.ref(thing)
	set_aside()
	del thing
	assert seen() is None
