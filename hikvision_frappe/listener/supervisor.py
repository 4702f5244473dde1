"""The listener as a whole: its spool, its streams, its push port, and the site it works for."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.listener.access import Access
from hikvision_frappe.listener.contact import ContactSettings, DeviceContact
from hikvision_frappe.listener.device_track import DeviceTrack, Intake, utc_now
from hikvision_frappe.listener.faults import log_fault
from hikvision_frappe.listener.forward import Forwarder, ForwardSettings
from hikvision_frappe.listener.handshakes import Handshakes
from hikvision_frappe.listener.history import HistoryKeeper, HistorySettings
from hikvision_frappe.listener.long_lived import LongLived
from hikvision_frappe.listener.pulse import Pulse
from hikvision_frappe.listener.push import PushLimits, PushServer
from hikvision_frappe.listener.refused_logins import RefusedLogins
from hikvision_frappe.listener.reporter import PROGRESS_SECONDS, ReportFilter
from hikvision_frappe.listener.site import (
	ConnectionState,
	DeviceConfig,
	DeviceReport,
	HistoryReport,
	IngestMode,
	ListenerReport,
	Site,
	SiteUnavailable,
)
from hikvision_frappe.listener.site_thread import SiteThread
from hikvision_frappe.listener.spool import Spool
from hikvision_frappe.listener.status import StatusServer
from hikvision_frappe.listener.stream import DeviceStream, StreamSettings, Surroundings

logger = logging.getLogger("hikvision.listener")

NO_PORT = 0
ANY_PORT = -1
FIRST_RETRY_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListenerSettings:
	"""How a listener works; times in seconds.

	push_port, status_port: NO_PORT for none, ANY_PORT for a free one. name: identifies this listener in leases;
	"" makes it from the host and the spool's path, so that a restarted listener keeps its devices.
	lease_seconds: after so long without renewal another listener may take a device over; poll_seconds: how often
	devices are read again and leases renewed, at the least: three times while a lease lasts. report_seconds: how often
	changes of state are told; progress_seconds: how often a device of which nothing has changed but how long it was
	heard; alive_seconds: after so long a listener that has nothing to say says at least that it lives. handshakes: how
	many streams log in at the same time; handshake_patience: after so long a silent device no longer counts among
	them. pulse_seconds: how long events of a busy listener wait for each other. stop_seconds: how long a clean stop
	waits for the site to take what is spooled. show_names: persons on the status page. history: its leases last as
	long as the others, and its refused logins are the streams'.
	"""

	spool_path: Path
	push_host: str = "0.0.0.0"  # noqa: S104 devices on the LAN post here
	push_port: int = 8090
	status_host: str = "127.0.0.1"
	status_port: int = 8091
	name: str = ""
	lease_seconds: float = 45.0
	poll_seconds: float = 10.0
	report_seconds: float = 5.0
	progress_seconds: float = PROGRESS_SECONDS
	alive_seconds: float = 5.0
	stop_seconds: float = 10.0
	handshakes: int = 64
	handshake_patience: float = 2.0
	pulse_seconds: float = 0.1
	spool_max_bytes: int = 2 * 1024**3
	spool_interval: float = 0.006
	show_names: bool = False
	stream: StreamSettings = field(default_factory=StreamSettings)
	push: PushLimits = field(default_factory=PushLimits)
	forward: ForwardSettings = field(default_factory=ForwardSettings)
	contact: ContactSettings = field(default_factory=ContactSettings)
	history: HistorySettings = field(default_factory=HistorySettings)

	@property
	def renew_seconds(self) -> float:
		"""How often devices are read again: a lease must not end because one answer came late."""
		return min(self.poll_seconds, self.lease_seconds / 3)

	@property
	def listener_name(self) -> str:
		if self.name:
			return self.name
		path = hashlib.sha256(str(self.spool_path.absolute()).encode()).hexdigest()[:8]
		return f"{socket.gethostname()[:60]}-{path}"

	@property
	def refused_logins(self) -> Path:
		return self.spool_path.with_name(self.spool_path.name + ".refused-logins.json")


class Listener:
	"""``await Listener(site, settings).run(stop)``: listens until ``stop`` is set, then ends cleanly.

	``run`` raises SpoolUnusable when the spool cannot be used and OSError when a port is taken.
	"""

	def __init__(self, site: Site, settings: ListenerSettings) -> None:
		self._site = site
		self.settings = settings
		self.started_at = utc_now()
		self.ready = asyncio.Event()  # ports are open, the site is being asked
		self.tracks: dict[str, DeviceTrack] = {}
		self.site_error = ""
		self.parts: ListenerParts | None = None

	async def run(self, stop: asyncio.Event) -> None:
		spool = await Spool.open(
			self.settings.spool_path,
			max_bytes=self.settings.spool_max_bytes,
			interval=self.settings.spool_interval,
		)
		site = SiteThread(self._site)
		parts = ListenerParts(self, spool, site)
		self.parts = parts
		try:
			await parts.open_ports()
			self.ready.set()
			await parts.work_until(stop)
			await parts.end_cleanly()
		finally:
			await parts.close()
			await spool.close()
			with contextlib.suppress(SiteUnavailable, asyncio.TimeoutError):
				await asyncio.wait_for(site.close(), self.settings.stop_seconds)


class ListenerParts:
	"""What a running listener consists of, from the open spool to its closing."""

	def __init__(self, listener: Listener, spool: Spool, site: SiteThread) -> None:
		self.listener = listener
		self.settings = listener.settings
		self.started_at = listener.started_at
		self.spool = spool
		self.site = site
		self.intake = Intake(spool)
		self.forwarder = Forwarder(spool, site, self.settings.forward)
		self.push = PushServer(self.intake, self.settings.push)
		self.status = StatusServer(self, show_names=self.settings.show_names)
		self.access = Access(RefusedLogins(self.settings.refused_logins))
		self.streams = StreamKeeper(self)
		self.histories = HistoryKeeper(
			site,
			self.settings.listener_name,
			self.access,
			self.tracks,
			replace(self.settings.history, lease_seconds=self.settings.lease_seconds),
		)
		self._forwarding: asyncio.Task[None] | None = None
		self._filter = ReportFilter(self.settings.progress_seconds)
		self._reported_at = 0.0
		self._lost_leases: set[str] = set()

	@property
	def tracks(self) -> dict[str, DeviceTrack]:
		return self.listener.tracks

	@property
	def recent(self) -> deque[AccessEvent]:
		return self.intake.recent

	@property
	def readings(self) -> list[HistoryReport]:
		"""How far the readings of histories are."""
		return self.histories.readings

	@property
	def errors(self) -> list[str]:
		"""What is wrong with the listener itself, in words with what to do."""
		return [text for text in (self.spool.fault, self.listener.site_error, self.forwarder.error) if text]

	@property
	def push_address(self) -> str:
		"""Where devices can post to, as typed into them; "" without a port."""
		if self.settings.push_port == NO_PORT:
			return ""
		host = self.settings.push_host
		if host in ("0.0.0.0", "::", ""):  # noqa: S104
			host = own_address()
		return f"http://{f'[{host}]' if ':' in host else host}:{self.push.port}"

	async def open_ports(self) -> None:
		if self.settings.push_port != NO_PORT:
			await self.push.start(self.settings.push_host, max(self.settings.push_port, 0))
		if self.settings.status_port != NO_PORT:
			await self.status.start(self.settings.status_host, max(self.settings.status_port, 0))

	async def work_until(self, stop: asyncio.Event) -> None:
		"""Do everything until told to stop; an unexpected end of a part ends the listener with its error."""
		self._forwarding = asyncio.create_task(self.forwarder.run(), name="forward")
		tasks = [
			asyncio.create_task(stop.wait(), name="stop"),
			asyncio.create_task(self._keep_devices(), name="devices"),
			asyncio.create_task(self._keep_reporting(), name="reports"),
			asyncio.create_task(self.histories.run(), name="histories"),
		]
		try:
			done, _ = await asyncio.wait([*tasks, self._forwarding], return_when=asyncio.FIRST_COMPLETED)
			for task in done:
				task.result()
		finally:
			for task in tasks:
				task.cancel()
			await asyncio.gather(*tasks, return_exceptions=True)

	async def end_cleanly(self) -> None:
		"""Stop taking, hand over what is spooled (bounded), give up the leases."""
		await self.histories.stop()
		await self.push.stop()
		await self.streams.stop_all()
		self.forwarder.finish()
		if self._forwarding:
			await asyncio.wait({self._forwarding}, timeout=self.settings.stop_seconds)
		if self.spool.depth:
			logger.warning("%s events stay in the spool until the next start", self.spool.depth)
		await self._bounded(self._say_goodbye())

	async def close(self) -> None:
		"""Close whatever is open, also after an error."""
		if self._forwarding:
			self._forwarding.cancel()
			await asyncio.gather(self._forwarding, return_exceptions=True)
		await self.histories.stop()
		await self.push.stop()
		await self.streams.stop_all()
		await self.access.close()
		await self.status.stop()

	async def _say_goodbye(self) -> None:
		try:
			await self.site.report(self._report(self._last_reports()))
			await self.site.release(self.settings.listener_name)
		except Exception as error:  # whatever it is, the listener ends here and the leases a little later
			logger.warning("leases were not given up (%s); they end by themselves", type(error).__name__)

	async def _bounded(self, work: Awaitable[None]) -> None:
		with contextlib.suppress(asyncio.TimeoutError):
			await asyncio.wait_for(work, self.settings.stop_seconds)

	# Devices.

	async def _keep_devices(self) -> None:
		"""Read the devices again and again, which renews the leases; without a site go on with what is known."""
		while True:
			devices = await self._ask(
				self.site.devices(self.settings.listener_name, self.settings.lease_seconds)
			)
			if devices is not None:
				await self._use(devices)
			known = devices is not None or self.tracks
			await asyncio.sleep(self.settings.renew_seconds if known else self._impatient())

	def _impatient(self) -> float:
		"""Nothing works before the devices are known."""
		return min(FIRST_RETRY_SECONDS, self.settings.renew_seconds)

	async def _use(self, devices: Sequence[DeviceConfig]) -> None:
		tracks = self.listener.tracks
		for device in devices:
			if device.key not in tracks:
				tracks[device.key] = DeviceTrack(device.key, contact=DeviceContact(self.settings.contact))
			tracks[device.key].title = device.title
		for key in set(tracks) - {device.key for device in devices}:
			del tracks[key]
		self._filter.forget_others(tracks)
		self.push.set_devices(devices, tracks)
		self._lost_leases = {
			device.key for device in devices if device.mode is not IngestMode.PUSH and not device.leased
		}
		self.access.enter(devices)
		await self.streams.use(devices)
		await self.histories.use(devices)

	async def _ask(self, question: Awaitable[T]) -> T | None:
		"""The site's answer, or None while it cannot answer; the reason is kept for people to see."""
		error = ""
		try:
			return await question
		except SiteUnavailable as unavailable:
			error = f"The site cannot answer now ({unavailable})."
		except Exception as failure:  # a fault of the site's code; devices go on meanwhile
			error = f"The site failed with {type(failure).__name__}; its log says more."
			log_fault(logger, "the site", failure)
		finally:
			if error and error != self.listener.site_error:
				logger.error(error)
			self.listener.site_error = error
		return None

	# Reports.

	async def _keep_reporting(self) -> None:
		loop = asyncio.get_running_loop()
		while True:
			await asyncio.sleep(self.settings.report_seconds)
			due = self._filter.choose(self._reports(), loop.time())
			if not due and loop.time() - self._reported_at < self.settings.alive_seconds:
				continue
			if await self._ask(self._send(due)):
				self._reported_at = loop.time()
				self._filter.sent(due, self._reported_at)

	async def _send(self, due: Sequence[DeviceReport]) -> bool:
		oldest = await self.spool.oldest() if self.spool.depth else None
		await self.site.report(self._report(due, oldest))
		return True

	def _reports(self) -> list[DeviceReport]:
		"""Reports of the devices that are ours to speak of: another listener tells of those it holds."""
		return [
			track.report(self.intake.settled)
			for track in self._own_tracks()
			if track.state is not ConnectionState.WAITING or track.error
		]

	def _last_reports(self) -> list[DeviceReport]:
		"""The same when all connections are closed: with the last contact, so that nothing before the end counts as
		not heard."""
		reports = (track.report(self.intake.settled) for track in self._own_tracks())
		return [
			report
			for report in reports
			if report.contact or report.state is not ConnectionState.WAITING or report.error
		]

	def _own_tracks(self) -> Iterable[DeviceTrack]:
		return (track for track in self.tracks.values() if track.device not in self._lost_leases)

	def _report(self, devices: Sequence[DeviceReport], oldest: datetime | None = None) -> ListenerReport:
		return ListenerReport(
			listener=self.settings.listener_name,
			started_at=self.started_at,
			push_address=self.push_address,
			spool_depth=self.spool.depth,
			oldest_waiting=oldest,
			devices=tuple(devices),
		)


class StreamKeeper:
	"""Keeps exactly one DeviceStream running for each streaming device whose lease we have."""

	def __init__(self, parts: ListenerParts) -> None:
		settings = parts.settings
		self._tracks = parts.tracks
		self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}  # by device: revision and task
		self._around = Surroundings(
			parts.intake,
			parts.access,
			Handshakes(settings.handshakes, settings.handshake_patience),
			Pulse(settings.pulse_seconds),
			LongLived(),
			settings.stream,
		)

	async def use(self, devices: Sequence[DeviceConfig]) -> None:
		"""Stop streams of devices that are gone, changed, or no longer ours; start those that are missing."""
		wanted = {
			device.key: device for device in devices if device.mode is IngestMode.STREAM and device.leased
		}
		await self._stop(
			key
			for key, (revision, task) in self._running.items()
			if key not in wanted or wanted[key].revision != revision or self._has_died(key, task)
		)
		for device in wanted.values():
			if device.key not in self._running:
				self._start(device)

	def _has_died(self, key: str, task: asyncio.Task[None]) -> bool:
		"""Whether a stream ended although no person is needed; it should not, and is begun again if it does."""
		died = task.done() and self._tracks[key].state is not ConnectionState.STOPPED
		if died:
			logger.error("device %s: its stream ended by itself and is begun again", key)
		return died

	async def stop_all(self) -> None:
		await self._stop(self._running)

	def _start(self, device: DeviceConfig) -> None:
		track = self._tracks[device.key]
		if track.stopped_revision == device.revision:
			return
		track.stopped_revision = ""
		if reason := self._around.access.refused_logins.why(device.key, device.revision):
			track.stop(device.revision, reason)
			return
		stream = DeviceStream(device, track, self._around)
		task = asyncio.create_task(stream.run(), name=f"stream {device.key}")
		self._running[device.key] = (device.revision, task)

	async def _stop(self, keys: Iterable[str]) -> None:
		"""Cancel and wait, so that a socket is closed before another one to the same device is opened."""
		stopped = {key: self._running[key][1] for key in list(keys)}
		for task in stopped.values():
			task.cancel()
		await asyncio.gather(*stopped.values(), return_exceptions=True)
		for key in stopped:
			del self._running[key]
			if key in self._tracks and self._tracks[key].state is not ConnectionState.STOPPED:
				self._tracks[key].rest()


def own_address() -> str:
	"""The address by which the LAN most likely reaches this host; nothing is sent to find out."""
	with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
		try:
			probe.connect(("192.0.2.1", 9))
			return str(probe.getsockname()[0])
		except OSError:
			return socket.gethostname()
