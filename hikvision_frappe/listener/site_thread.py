"""The synchronous ``Site`` seen from the event loop: every call runs in the one thread that belongs to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.listener.site import (
	Delivery,
	DeviceConfig,
	HistoryReport,
	HistoryTask,
	ListenerReport,
	Site,
)

T = TypeVar("T")


class SiteThread:
	"""Awaitable doors to a ``Site``; raises what the site raises."""

	def __init__(self, site: Site) -> None:
		self._site = site
		self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="site")

	async def devices(self, listener: str, lease_seconds: float) -> Sequence[DeviceConfig]:
		return await self._call(lambda: self._site.devices(listener, lease_seconds))

	async def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		return await self._call(lambda: self._site.deliver(events))

	async def report(self, report: ListenerReport) -> None:
		await self._call(lambda: self._site.report(report))

	async def history_tasks(self, listener: str, lease_seconds: float) -> Sequence[HistoryTask]:
		return await self._call(lambda: self._site.history_tasks(listener, lease_seconds))

	async def report_history(self, report: HistoryReport) -> bool:
		return await self._call(lambda: self._site.report_history(report))

	async def release(self, listener: str) -> None:
		await self._call(lambda: self._site.release(listener))

	async def close(self) -> None:
		"""Close the site in its own thread, then end the thread."""
		await self._call(self._site.close)
		self._executor.shutdown(wait=False)

	async def _call(self, work: Callable[[], T]) -> T:
		return await asyncio.get_running_loop().run_in_executor(self._executor, work)
