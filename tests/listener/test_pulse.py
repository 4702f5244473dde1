"""The pulse: at once after a quiet time, together under load, and nobody's end is another's."""

from __future__ import annotations

import asyncio
import time

from hikvision_frappe.listener.pulse import Pulse


async def test_the_first_after_a_quiet_time_does_not_wait() -> None:
	pulse = Pulse(interval=60.0)
	await asyncio.wait_for(pulse.wait(), 1)


async def test_those_that_come_soon_after_go_together() -> None:
	pulse = Pulse(interval=0.1)
	await pulse.wait()
	began = time.monotonic()
	await asyncio.wait_for(asyncio.gather(*(pulse.wait() for _ in range(100))), 5)
	assert 0.05 < time.monotonic() - began < 2.0


async def test_a_task_that_is_cancelled_while_waiting_takes_nobody_with_it() -> None:
	pulse = Pulse(interval=0.1)
	await pulse.wait()
	one, other = asyncio.create_task(pulse.wait()), asyncio.create_task(pulse.wait())
	await asyncio.sleep(0)
	one.cancel()
	await asyncio.wait_for(other, 5)
	await asyncio.wait_for(pulse.wait(), 5)
