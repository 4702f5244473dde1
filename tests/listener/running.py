"""A running listener for tests: the real one, on a local site, with waits short enough for a test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from listener_support import a_device, until

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.listener.device_track import DeviceTrack
from hikvision_frappe.listener.forward import ForwardSettings
from hikvision_frappe.listener.history import HistorySettings
from hikvision_frappe.listener.local_completeness import KeeperSettings
from hikvision_frappe.listener.local_site import LocalSite, StoredEvent
from hikvision_frappe.listener.silence import SilenceSettings
from hikvision_frappe.listener.site import (
	ConnectionState,
	Delivery,
	DeviceConfig,
	HistoryReport,
	HistoryTask,
	IngestMode,
	ListenerReport,
	Site,
	SiteUnavailable,
)
from hikvision_frappe.listener.stream import StreamSettings
from hikvision_frappe.listener.supervisor import ANY_PORT, Listener, ListenerParts, ListenerSettings
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.profile import PROFILES, Profile

QUICK_STREAMS = StreamSettings(
	retry_least=0.02,
	retry_most=0.1,
	slot_least=0.05,
	slot_most=0.1,
	lock_margin=0.2,
	full_spool_retry=0.05,
	silence=SilenceSettings(floor=20.0),
)
QUICK_HISTORY = HistorySettings(
	poll_seconds=0.05, gather_seconds=0.05, report_seconds=0.05, least_wait=0.02, most_wait=0.1
)
QUICK_KEEPER = KeeperSettings(
	tend_seconds=0.1, fetch_after=timedelta(seconds=0.2), retry_least=0.2, retry_most=0.5
)


def quick(path: Path, **changes: Any) -> ListenerSettings:
	values: dict[str, Any] = {
		"spool_path": path,
		"push_host": "127.0.0.1",
		"push_port": ANY_PORT,
		"status_port": 0,
		"lease_seconds": 30.0,
		"poll_seconds": 0.05,
		"report_seconds": 0.05,
		"progress_seconds": 0.05,
		"alive_seconds": 0.5,
		"stop_seconds": 5.0,
		"spool_interval": 0.0,
		"pulse_seconds": 0.01,
		"stream": QUICK_STREAMS,
		"forward": ForwardSettings(gather=0.0, least_wait=0.02, most_wait=0.1),
		"history": QUICK_HISTORY,
	}
	return ListenerSettings(**{**values, **changes})


def with_stream(profile: str, **changes: Any) -> Profile:
	"""A profile with other stream settings."""
	known = PROFILES[profile]
	return replace(known, stream=replace(known.stream, **changes))


def streaming(device: SimulatedDevice, key: str = "gate", **changes: Any) -> DeviceConfig:
	"""The simulated device as entered at the site, rightly unless changed."""
	values: dict[str, Any] = {
		"host": device.host,
		"port": device.port,
		"user": device.user,
		"password": device.password,
		"zone": device.profile.wording.zone,
		"trust_offset": device.profile.wording.offset.value != "factory",
		"mode": IngestMode.STREAM,
	}
	return a_device(key, **{**values, **changes})


class MoodySite:
	"""A site that can be away (``down``), broken (``broken``) or refuse some events (``refuses``)."""

	def __init__(self, site: LocalSite) -> None:
		self.site = site
		self.down = False
		self.broken = False
		self.refuses: set[int] = set()
		self.reports: list[ListenerReport] = []
		self.told: list[HistoryReport] = []

	def _answer(self) -> None:
		if self.down:
			raise SiteUnavailable("migration in progress")
		if self.broken:
			raise TypeError("personal data of ".ljust(30, "x"))

	def devices(self, listener: str, lease_seconds: float) -> Sequence[DeviceConfig]:
		self._answer()
		return self.site.devices(listener, lease_seconds)

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		self._answer()
		refused = {
			position: "never"
			for position, event in enumerate(events)
			if event.serial_no is not None and event.serial_no in self.refuses
		}
		done = self.site.deliver([event for n, event in enumerate(events) if n not in refused])
		return replace(done, refused=refused)

	def report(self, report: ListenerReport) -> None:
		self._answer()
		self.site.report(report)
		self.reports.append(report)

	def history_tasks(self, listener: str, lease_seconds: float) -> Sequence[HistoryTask]:
		self._answer()
		return self.site.history_tasks(listener, lease_seconds)

	def report_history(self, report: HistoryReport) -> bool:
		self._answer()
		self.told.append(report)
		return self.site.report_history(report)

	def release(self, listener: str) -> None:
		self._answer()
		self.site.release(listener)

	def close(self) -> None:
		"""The test still wants to look into the ledger."""


class Running:
	"""``async with Running(folder, configs) as it``: a listener at work, stopped cleanly at the end."""

	def __init__(
		self, folder: Path, devices: Sequence[DeviceConfig], site: Site | None = None, **settings: Any
	) -> None:
		self.ledger = LocalSite(folder / "ledger.sqlite3", devices, settings=QUICK_KEEPER)
		self.site = site or MoodySite(self.ledger)
		self.listener = Listener(self.site, quick(folder / "spool" / "spool.sqlite3", **settings))
		self.stop = asyncio.Event()
		self.task: asyncio.Task[None] | None = None

	async def __aenter__(self) -> Running:
		self.task = asyncio.create_task(self.listener.run(self.stop))
		ready = asyncio.create_task(self.listener.ready.wait())
		await asyncio.wait({self.task, ready}, return_when=asyncio.FIRST_COMPLETED)
		ready.cancel()
		if self.task.done():
			self.task.result()
		return self

	async def __aexit__(self, *exc: object) -> None:
		await self.end()
		self.ledger.close()

	async def end(self) -> None:
		"""Stop cleanly."""
		self.stop.set()
		if self.task:
			await self.task

	async def die(self) -> None:
		"""End like a crash: nothing is handed over."""
		assert self.task is not None
		self.task.cancel()
		await asyncio.gather(self.task, return_exceptions=True)
		self.task = None

	@property
	def parts(self) -> ListenerParts:
		assert self.listener.parts is not None
		return self.listener.parts

	def track(self, key: str = "gate") -> DeviceTrack:
		return self.listener.tracks.get(key) or DeviceTrack(key)

	def rows(self) -> list[StoredEvent]:
		return self.ledger.rows()

	async def until_state(self, state: ConnectionState, key: str = "gate") -> None:
		await until(lambda: self.track(key).state is state)

	async def until_stored(self, number: int) -> None:
		await until(lambda: len(self.rows()) >= number)
