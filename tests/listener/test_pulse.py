"""The pulse: at once after a quiet time, soon when alone, together under load, and nobody's end is another's."""

from __future__ import annotations

import asyncio

from hikvision_frappe.listener.pulse import COMPANY, Pulse


async def test_the_first_after_a_quiet_time_does_not_wait() -> None:
	pulse = Pulse(longest=60.0)
	await asyncio.wait_for(pulse.wait(), 1)


async def test_one_that_comes_alone_waits_for_a_fraction() -> None:
	pulse = Pulse(longest=20.0)
	await pulse.wait()
	await asyncio.wait_for(pulse.wait(), 20.0 / COMPANY + 5)


async def test_many_that_come_together_are_worth_the_longest_wait() -> None:
	pulse, loop = Pulse(longest=0.3), asyncio.get_running_loop()
	await pulse.wait()
	await asyncio.gather(*(pulse.wait() for _ in range(COMPANY)))
	began = loop.time()
	await asyncio.wait_for(asyncio.gather(*(pulse.wait() for _ in range(COMPANY))), 10)
	assert loop.time() - began > 0.2


async def test_a_task_that_is_cancelled_while_waiting_takes_nobody_with_it() -> None:
	pulse = Pulse(longest=0.1)
	await pulse.wait()
	one, other = asyncio.create_task(pulse.wait()), asyncio.create_task(pulse.wait())
	await asyncio.sleep(0)
	one.cancel()
	await asyncio.wait_for(other, 5)
	await asyncio.wait_for(pulse.wait(), 5)
