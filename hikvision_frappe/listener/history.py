"""Reads the history of devices for a site: takes what is due, reads it, hands the rows over, tells how it goes.

Rows go straight to the site and not through the spool: a device keeps its history, so what was not handed over is
read again, and what is called read is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast

from hikvision_frappe.core.event import AccessEvent, Source
from hikvision_frappe.isapi.answers import DeviceInfo, lock_of
from hikvision_frappe.isapi.deadline import time_limit
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	IsapiError,
	LoginFailed,
	LoginRefused,
	NotSupported,
	SetupWrong,
	TryAgain,
)
from hikvision_frappe.isapi.history import Finding, HistoryPage, HistoryReader, Range, Storage
from hikvision_frappe.listener.access import Access, identity_of, parse_context
from hikvision_frappe.listener.backoff import full_jitter
from hikvision_frappe.listener.device_track import DeviceTrack, utc_now
from hikvision_frappe.listener.faults import log_fault
from hikvision_frappe.listener.refused_logins import RefusedLogins
from hikvision_frappe.listener.site import (
	ConnectionState,
	Delivery,
	DeviceConfig,
	HistoryReport,
	HistoryState,
	HistoryTask,
	IngestMode,
	Site,
	SiteUnavailable,
)
from hikvision_frappe.listener.site_thread import SiteThread

logger = logging.getLogger("hikvision.history")

T = TypeVar("T")

MOST_READERS = 4


@dataclass(frozen=True, slots=True)
class HistorySettings:
	"""How histories are read; times in seconds unless they are timedeltas.

	poll_seconds: how often the site is asked what is due, and leases renewed. lease_seconds: after so long without
	renewal another reader may take a task over. readers: devices read at the same time; one that takes longer than
	reader_patience no longer counts among them, though there are never more than MOST_READERS times as many. batch, gather_seconds: rows
	are handed over when so many are there or so long after the first of them. report_seconds: between two reports
	of progress. widen: read on each side of a stretch of time, as clocks drift. slice: a longer stretch is read and
	proven in pieces, so that a reading that broke off goes on after the last of them. settle_seconds: a stretch that
	has only just ended is read so long after its end. least_wait, most_wait: while the site is away. stop_seconds: how long a reading that is stopped may take to hand over what it has.
	lock_margin: added to the lock of an account. refused_logins: file that remembers which logins were refused, so
	that a wrong password is not tried once per start; the listener's is beside its spool. None: in memory alone.
	"""

	poll_seconds: float = 3.0
	lease_seconds: float = 45.0
	readers: int = 8
	reader_patience: float = 120.0
	batch: int = 500
	gather_seconds: float = 1.0
	report_seconds: float = 2.0
	widen: timedelta = timedelta(minutes=5)
	slice: timedelta = timedelta(days=1)
	settle_seconds: float = 3.0
	least_wait: float = 1.0
	most_wait: float = 30.0
	stop_seconds: float = 0.8
	lock_margin: float = 30.0
	refused_logins: Path | None = None


async def read_due_histories(site: Site, listener_name: str, settings: HistorySettings) -> None:
	"""Work off every reading that is due for devices which no other listener holds, then end; no listener is needed.

	site: used from a thread of its own and closed at the end, its leases given up. listener_name: for the leases; not
	the name of a running listener. Each task is read once, with progress and its end told by ``report_history``; one
	that fails is the site's to give out again. Cancel it to stop: what was read so far is kept.

	Raises SiteUnavailable when the site cannot say what is due.
	"""
	thread = SiteThread(site)
	access = Access(RefusedLogins(settings.refused_logins))
	keeper = HistoryKeeper(thread, listener_name, access, {}, settings)
	try:
		await keeper.work_off()
	finally:
		await keeper.stop()
		await access.close()
		with suppress(Exception):  # the leases end by themselves
			await thread.release(listener_name)
		await thread.close()


class HistoryKeeper:
	"""Reads what is due for the devices whose lease we have: so many at a time, and one reading per device.

	tracks: shared with the rest of the listener. Told the devices by ``use``, it works while ``run`` or ``work_off``
	does, until ``stop``.
	"""

	def __init__(
		self,
		site: SiteThread,
		listener: str,
		access: Access,
		tracks: dict[str, DeviceTrack],
		settings: HistorySettings,
	) -> None:
		self._site = site
		self._listener = listener
		self._access = access
		self._tracks = tracks
		self._settings = settings
		self._patient_site = PatientSite(site, settings)
		self._devices: dict[str, DeviceConfig] = {}
		self._due: deque[HistoryTask] = deque()
		self._running: dict[str, _Running] = {}  # by device
		self._ended = asyncio.Event()
		self._ended_meanwhile: set[str] = set()  # names of tasks

	@property
	def readings(self) -> list[HistoryReport]:
		"""How far those are that are being read now."""
		return [running.reading.progress() for running in self._running.values()]

	async def use(self, devices: Sequence[DeviceConfig]) -> None:
		"""Read these devices, as far as they are ours; stop reading those that are gone, changed or another's."""
		wanted = {device.key: device for device in devices if device.leased and has_history(device)}
		left = [
			device
			for key, device in self._devices.items()
			if key not in wanted or wanted[key].revision != device.revision
		]
		self._devices = wanted
		await self._stop(device.key for device in left)
		self._rest(left)

	async def run(self) -> None:
		"""Read what is due, as it becomes due."""
		while True:
			if self._devices:
				with suppress(SiteUnavailable):
					self._due = deque(await self._ask())
				self._take_up()
			await self._poll_pause()

	async def work_off(self) -> None:
		"""Read what is due now, each task once; raises SiteUnavailable when the site cannot say what is."""
		begun: set[str] = set()
		while True:
			try:
				await self._learn_devices()
				tasks = [task for task in await self._ask() if task.name not in begun]
				self._due = deque(task for task in tasks if task.device in self._devices)
			except SiteUnavailable:
				if not self._running:
					raise
			begun |= self._take_up()
			if not self._running:
				return
			await self._poll_pause(begun)

	async def stop(self) -> None:
		"""Stop every reading; what they have is handed over if that takes no longer than the settings allow."""
		self._due.clear()
		await self._stop(list(self._running))
		self._rest(self._devices.values())

	async def _learn_devices(self) -> None:
		"""Be told the devices and their leases, when no listener does it for us."""
		devices = await self._site.devices(self._listener, self._settings.lease_seconds)
		for device in devices:
			if device.key not in self._tracks:
				self._tracks[device.key] = DeviceTrack(device.key, device.title)
		self._access.enter(devices)
		await self.use(devices)

	async def _ask(self) -> Sequence[HistoryTask]:
		"""What is due, and was not read to its end while we asked."""
		self._ended_meanwhile.clear()
		try:
			tasks = await self._site.history_tasks(self._listener, self._settings.lease_seconds)
			return [task for task in tasks if task.name not in self._ended_meanwhile]
		except SiteUnavailable:
			raise
		except Exception as error:  # a fault of the site's code passes with its next version
			log_fault(logger, "the site", error)
			raise SiteUnavailable(f"it failed with {type(error).__name__}") from error

	def _take_up(self) -> set[str]:
		"""Begin as many of the readings that are due as there may be; returns their names."""
		begun = set()
		for task in list(self._due):
			if not self._has_room():
				break
			if task.device in self._devices and task.device not in self._running:
				self._begin(task)
				begun.add(task.name)
				self._due.remove(task)
		return begun

	def _has_room(self) -> bool:
		longest = _now() - self._settings.reader_patience
		counted = sum(running.began > longest for running in self._running.values())
		readers = self._settings.readers
		return counted < readers and len(self._running) < MOST_READERS * readers

	def _begin(self, task: HistoryTask) -> None:
		device = self._devices[task.device]
		reading = Reading(
			task, device, self._tracks[device.key], self._access, self._patient_site, self._settings
		)
		reader = asyncio.create_task(reading.run(), name=f"history {device.key}")
		running = _Running(reading, reader, _now())
		self._running[device.key] = running
		running.task.add_done_callback(lambda _: self._end(device.key, running))

	def _end(self, key: str, running: _Running) -> None:
		if self._running.get(key) is running:
			del self._running[key]
		name = running.reading.task.name
		self._ended_meanwhile.add(name)
		self._due = deque(task for task in self._due if task.name != name)
		self._ended.set()

	async def _poll_pause(self, begun: set[str] | None = None) -> None:
		"""Wait for the next look at the site; a reading that ends meanwhile makes room for one that waits."""
		loop = asyncio.get_running_loop()
		deadline = loop.time() + self._settings.poll_seconds
		while (remaining := deadline - loop.time()) > 0:
			self._ended.clear()
			with suppress(asyncio.TimeoutError):
				async with time_limit(remaining):  # wait_for would lose a stop that comes with an end
					await self._ended.wait()
			names = self._take_up()
			if begun is not None:
				begun |= names
				if not self._running:
					return

	async def _stop(self, keys: Iterable[str]) -> None:
		tasks = [self._running[key].task for key in keys if key in self._running]
		for task in tasks:
			task.cancel()
		await asyncio.gather(*tasks, return_exceptions=True)

	def _rest(self, devices: Iterable[DeviceConfig]) -> None:
		for device in devices:
			track = self._tracks.get(device.key)
			if track and device.mode is IngestMode.HISTORY and track.state is not ConnectionState.STOPPED:
				track.rest()


@dataclass(frozen=True, slots=True)
class _Running:
	"""began: by the event loop's clock."""

	reading: Reading
	task: asyncio.Task[None]
	began: float


def has_history(device: DeviceConfig) -> bool:
	"""Whether the device's history may be read."""
	return device.history or device.mode is IngestMode.HISTORY


class PatientSite:
	"""The site as readings need it: patient, and with one delivery at a time, so that an event which just happened
	never waits for more than that."""

	def __init__(self, site: SiteThread, settings: HistorySettings) -> None:
		self._site = site
		self._settings = settings
		self._turn = asyncio.Lock()

	async def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		"""Once; raises what the site raises."""
		async with self._turn:
			return await self._site.deliver(events)

	async def deliver_patiently(self, events: Sequence[AccessEvent]) -> Delivery:
		return await self._patiently(lambda: self.deliver(events))

	async def tell(self, report: HistoryReport) -> bool:
		"""Tell progress; whether the reading shall go on. A site that cannot be told now is told the next time."""
		try:
			return await self._site.report_history(report)
		except SiteUnavailable:
			return True
		except Exception as error:
			log_fault(logger, "the site", error)
			return True

	async def tell_patiently(self, report: HistoryReport) -> None:
		await self._patiently(lambda: self._site.report_history(report))

	async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
		"""Again and again, until the site can; only a stop ends it."""
		failures = 0
		while True:
			try:
				return await call()
			except SiteUnavailable:
				pass
			except Exception as error:  # a fault of the site's code passes with its next version
				log_fault(logger, "the site", error)
			failures += 1
			await asyncio.sleep(full_jitter(failures, self._settings.least_wait, self._settings.most_wait))


@dataclass(frozen=True, slots=True)
class _Piece:
	"""A part of a task, read and proven by itself. is_beside: by another clock, so that it does not bring it further."""

	wanted: Range
	is_beside: bool = False


class _NotWanted(Exception):
	"""The site wants this reading no more."""


@dataclass(slots=True)
class _Tally:
	"""What a reading has so far.

	gathered: read and not handed over yet, with ``rows`` and ``total`` up to them; what is ``done``, ``new`` and
	``refused`` is committed. finished: the findings of the pieces that were read to their end. read_until: everything
	before this instant (UTC by our clock) is committed and proven.
	"""

	gathered: list[AccessEvent] = field(default_factory=list)
	rows: int = 0
	total: int | None = None
	numbered: bool | None = None
	done: int = 0
	new: int = 0
	refused: int = 0
	finished: list[Finding] = field(default_factory=list)
	read_until: datetime | None = None

	def take(self, page: HistoryPage) -> None:
		self.gathered += page.events
		self.rows = sum(finding.rows for finding in self.finished) + page.rows
		self.total = self._total(page.total)
		for event in page.events[:1]:
			self.numbered = event.serial_no is not None

	def settle(self, delivery: Delivery) -> None:
		self.gathered = []
		self.done = self.rows
		self.new += delivery.new
		self.refused += len(delivery.refused)

	def finish(self, finding: Finding) -> None:
		"""A piece is read and committed."""
		self.total = self._total(finding.total)
		self.finished.append(finding)
		self.done = self.rows = sum(finding.rows for finding in self.finished)
		told = [finding.numbered for finding in self.finished if finding.numbered is not None]
		self.numbered = all(told) if told else None

	@property
	def doubt(self) -> str:
		"""Why not all of it is proven; "" when it is."""
		reasons = [finding.reason for finding in self.finished if not finding.proven]
		if self.refused:
			reasons.append(f"The site refuses {self.refused} of the records for good.")
		return reasons[0] if reasons else ""

	def _total(self, last: int | None) -> int | None:
		totals = [*(finding.total for finding in self.finished), last]
		return None if None in totals else sum(total or 0 for total in totals)


class Reading:
	"""One task: its device is recognised, its range read, its rows handed over, and its end told."""

	def __init__(
		self,
		task: HistoryTask,
		config: DeviceConfig,
		track: DeviceTrack,
		access: Access,
		site: PatientSite,
		settings: HistorySettings,
	) -> None:
		self.task = task
		self._config = config
		self._track = track
		self._access = access
		self._site = site
		self._settings = settings
		self._client = access.client(config)
		self._tally = _Tally(read_until=task.resume_from)
		self._offset = timedelta()  # our clock minus the device's
		self._storage: Storage | None = None
		self._handed_over_at = self._told_at = 0.0
		self._ending = False

	def progress(self) -> HistoryReport:
		"""How far it is, counting only what is committed."""
		return HistoryReport(
			task=self.task.name,
			device=self.task.device,
			state=HistoryState.RUNNING,
			rows=self._tally.done,
			new=self._tally.new,
			total=self._tally.total,
			read_until=self._tally.read_until,
			numbered=self._tally.numbered,
			supported=True if self._storage else None,
			storage=self._storage.mode if self._storage else "",
			storage_minutes=self._storage.minutes if self._storage else None,
		)

	async def run(self) -> None:
		"""Read to the end, whatever it is, and tell it; when cancelled, hand over what there is."""
		try:
			end = await self._attempt()
			self._ending = True
			await self._site.tell_patiently(end)
		except _NotWanted:
			logger.info("device %s: the reading of its history is not wanted any more", self._config.key)
		except asyncio.CancelledError:
			if not self._ending:
				with suppress(Exception):  # the next reader reads again what could not be kept
					async with time_limit(self._settings.stop_seconds):
						await self._keep()
			raise

	async def _attempt(self) -> HistoryReport:
		try:
			await self._tell()
			self._show_begin()
			await self._read()
		except IsapiError as error:
			await self._hand_over()
			return self._failed(error)
		except _NotWanted:
			raise
		except Exception as error:  # a fault of ours must not end the reading of histories for good
			log_fault(logger, f"device {self._config.key}", error)
			reason = f"The listener failed with {type(error).__name__}; its log says more."
			self._show(ConnectionState.RETRYING, reason)
			return replace(self.progress(), state=HistoryState.FAILED, reason=reason, retry=True)
		self._show(ConnectionState.CONNECTED)
		doubt = self._tally.doubt or self._doubt_about_the_end()
		state = HistoryState.UNPROVEN if doubt else HistoryState.PROVEN
		return replace(self.progress(), state=state, reason=doubt)

	# Reading.

	async def _read(self) -> None:
		self._ensure_may_try()
		info = await self._client.device_info()
		self._recognise(info)
		reader = HistoryReader(self._client, parse_context(self._config, Source.HISTORY, info.serial_number))
		await reader.prepare()
		self._offset = timedelta(seconds=reader.clock_offset)
		self._track.clock_offset = reader.clock_offset
		self._storage = await reader.storage()
		await self._let_it_end()
		for piece in self._pieces():
			await self._read_piece(reader, piece)

	def _ensure_may_try(self) -> None:
		"""Raise what the device would answer, without asking it, when each answer brings its lock nearer."""
		if refused := self._access.refused_logins.why(self._config.key, self._config.revision):
			raise LoginRefused(refused)
		until = self._track.locked_until(self._config.address.base_url)
		if until is not None:
			raise lock_of(round((until - utc_now()).total_seconds()))

	def _recognise(self, info: DeviceInfo) -> None:
		"""Make sure that it is the terminal we mean: another one's records must not fill a gap of this one."""
		identity = identity_of(info)
		if identity.serial_number:
			self._access.terminals.recognise(identity.serial_number, self._config)
		self._track.identity = identity

	async def _let_it_end(self) -> None:
		"""Nobody knows all of a stretch that is not over; the second that runs now is read by nobody yet."""
		seconds = (self.task.until - utc_now()).total_seconds() + self._settings.settle_seconds
		if self.task.last_serial is None and 0.0 < seconds <= 2 * self._settings.settle_seconds:
			await asyncio.sleep(seconds)

	def _doubt_about_the_end(self) -> str:
		read_until = self._tally.read_until
		if self.task.last_serial is None and (read_until is None or read_until < self.task.until):
			return "The stretch of time was not over yet when it was read."
		return ""

	def _pieces(self) -> list[_Piece]:
		"""What to ask for, by the device's clock.

		Its clock may have been put right, or gone wrong, since it made the records. So a stretch of time is read as
		its clock counts now, as it did then, and as ours does: at once as far as these are near each other and it
		does not take them for the future, and else beside.
		"""
		task, widen, length = self.task, self._settings.widen, self._settings.slice
		begin = max(task.since, task.resume_from or task.since)
		present = utc_now() - self._offset
		clocks = {timedelta(), timedelta(seconds=task.clock_offset)}
		near = [self._offset, *(clock for clock in clocks if abs(clock - self._offset) <= length)]
		since = min(begin - max(near) - widen, present)
		until = min(task.until, utc_now()) - min(near) + widen
		if task.first_serial is not None:
			return [_Piece(Range(since, min(until, present), task.first_serial, task.last_serial))]
		beside = [(begin - clock - widen, task.until - clock + widen) for clock in sorted(clocks - {*near})]
		if until - present > 2 * widen:
			beside.append((present + timedelta(seconds=1), until))
		return [
			*(_Piece(each, is_beside=True) for stretch in beside for each in _slices(*stretch, length)),
			*(_Piece(each) for each in _slices(since, min(until, present), length)),
		]

	async def _read_piece(self, reader: HistoryReader, piece: _Piece) -> None:
		pages = cast(
			"AsyncGenerator[HistoryPage, None]",
			reader.read(piece.wanted, recorded=self.task.recorded),
		)
		read_until: datetime | None = None
		async with aclosing(pages):
			async for page in pages:
				self._take(page)
				read_until = page.read_until or read_until
				if self._is_handover_due():
					await self._hand_over()
				await self._tell_if_due()
		await self._hand_over()
		self._tally.finish(reader.finding)
		if read_until is not None and not piece.is_beside and not self._tally.doubt:
			self._advance(read_until + self._offset)

	def _take(self, page: HistoryPage) -> None:
		if not self._tally.gathered:
			self._handed_over_at = _now()
		self._tally.take(page)

	def _advance(self, read_until: datetime) -> None:
		"""Everything before this instant is committed and proven, as far as it was asked for."""
		before = self._tally.read_until or self.task.since
		self._tally.read_until = max(before, min(read_until, self.task.until))

	# Handing over and telling.

	def _is_handover_due(self) -> bool:
		gathered = len(self._tally.gathered)
		waited = _now() - self._handed_over_at
		return gathered >= self._settings.batch or (gathered > 0 and waited >= self._settings.gather_seconds)

	async def _hand_over(self) -> None:
		if self._tally.gathered:
			self._settle(await self._site.deliver_patiently(self._tally.gathered))

	def _settle(self, delivery: Delivery) -> None:
		self._tally.settle(delivery)
		if delivery.new and self._config.mode is IngestMode.HISTORY:
			self._track.events += delivery.new
			self._track.last_event = utc_now()

	async def _keep(self) -> None:
		"""Hand over what there is, if the site takes it at once."""
		if self._tally.gathered:
			self._settle(await self._site.deliver(self._tally.gathered))
		await self._site.tell(self.progress())

	async def _tell_if_due(self) -> None:
		if _now() - self._told_at >= self._settings.report_seconds:
			await self._tell()

	async def _tell(self) -> None:
		wanted = await self._site.tell(self.progress())
		self._told_at = _now()
		if not wanted:
			raise _NotWanted

	# Failures, and what the device's form shows of them.

	def _failed(self, error: IsapiError) -> HistoryReport:
		if isinstance(error, AccountLocked):
			return self._failed_by_lock(error)
		if isinstance(error, LoginRefused):
			self._access.refused_logins.remember(self._config.key, self._config.revision, str(error))
		logger.warning("device %s: its history could not be read: %s", self._config.key, error)
		if isinstance(error, (LoginFailed, SetupWrong, NotSupported)):
			self._show_stopped(str(error))
		else:
			self._show(ConnectionState.RETRYING, str(error))
		return replace(
			self.progress(),
			state=HistoryState.FAILED,
			reason=str(error),
			retry=isinstance(error, TryAgain),
			supported=False if isinstance(error, NotSupported) else self.progress().supported,
		)

	def _failed_by_lock(self, error: AccountLocked) -> HistoryReport:
		"""Every try before its end would begin the lock anew; until then nobody asks this device anything."""
		address = self._config.address.base_url
		if self._track.locked_until(address) is None:
			self._track.lock(address, error.seconds, self._settings.lock_margin)
			logger.error("device %s: %s", self._config.key, error)
		self._show(ConnectionState.RETRYING, str(error), self._track.locked_until(address))
		return replace(self.progress(), state=HistoryState.FAILED, reason=str(error), retry=True)

	def _show_begin(self) -> None:
		if self._track.state is not ConnectionState.CONNECTED:
			self._show(ConnectionState.CONNECTING)

	def _show(self, state: ConnectionState, error: str = "", retry_at: datetime | None = None) -> None:
		"""The state of a device that nothing else is heard of; streams and pushes tell their own."""
		if self._config.mode is IngestMode.HISTORY:
			self._track.enter(state, error, retry_at)

	def _show_stopped(self, error: str) -> None:
		if self._config.mode is IngestMode.HISTORY:
			self._track.stop(self._config.revision, error)


def _slices(since: datetime, until: datetime, length: timedelta) -> Iterator[Range]:
	"""The seconds from since to until, each in one piece."""
	since, until = since.replace(microsecond=0), until.replace(microsecond=0)
	while since <= until:
		end = min(since + length - timedelta(seconds=1), until)
		yield Range(since, end)
		since = end + timedelta(seconds=1)


def _now() -> float:
	return asyncio.get_running_loop().time()
