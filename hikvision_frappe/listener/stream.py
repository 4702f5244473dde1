"""One device's alert stream, held for as long as it may be: log in, recognise the device, listen, start again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hikvision_frappe.core.event import AccessEvent, Source
from hikvision_frappe.core.gaps import Cause
from hikvision_frappe.isapi.answers import DeviceInfo
from hikvision_frappe.isapi.client import AlertStream
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	BadAnswer,
	ConnectionLost,
	DeviceBusy,
	IsapiError,
	LoginFailed,
	LoginRefused,
	NotPermitted,
	NotSupported,
	Rejected,
	SetupWrong,
	StreamSlotTaken,
)
from hikvision_frappe.isapi.framing import Part, PartFramer
from hikvision_frappe.isapi.messages import Heartbeat, Message
from hikvision_frappe.isapi.parsing import MalformedPayload, ParseContext, parse_document
from hikvision_frappe.listener.access import Access, identity_of, parse_context
from hikvision_frappe.listener.backoff import full_jitter
from hikvision_frappe.listener.contact import is_told_again
from hikvision_frappe.listener.device_track import DeviceTrack, Intake, utc_now
from hikvision_frappe.listener.faults import log_fault
from hikvision_frappe.listener.handshakes import Handshakes
from hikvision_frappe.listener.long_lived import LongLived
from hikvision_frappe.listener.pulse import Pulse
from hikvision_frappe.listener.silence import Silence, SilenceSettings
from hikvision_frappe.listener.site import ConnectionState, DeviceConfig
from hikvision_frappe.listener.spool import SpoolUnavailable

logger = logging.getLogger("hikvision.stream")

MUCH_BYTES = 4_096  # a chunk of this size is a replay, which need not wait for company
NO_TIMEOUT = 0.0  # for the client: silence is judged here, and a timer per chunk costs CPU


@dataclass(frozen=True, slots=True)
class StreamSettings:
	"""Seconds throughout. retry_*: after what passes by itself; slot_*: while somebody else has the stream.

	lock_margin: added to an account lock, which every try before its end would start again. steady: a stream that
	lived so long counts as a success, so that the next failure is the first again.
	"""

	retry_least: float = 1.0
	retry_most: float = 60.0
	slot_least: float = 5.0
	slot_most: float = 300.0
	lock_margin: float = 30.0
	steady: float = 10.0
	full_spool_retry: float = 1.0
	silence: SilenceSettings = field(default_factory=SilenceSettings)


@dataclass(frozen=True, slots=True)
class Surroundings:
	"""What all streams of a listener share. handshakes: who may log in now. pulse: when what they have read is parsed
	and stored. long_lived: is told of every stream that was opened."""

	intake: Intake
	access: Access
	handshakes: Handshakes
	pulse: Pulse
	long_lived: LongLived
	settings: StreamSettings


class DeviceStream:
	"""The stream of one device in one revision of its configuration.

	``run`` returns only when a person must act (the track says what); cancel it to stop, after which the socket is
	closed. A changed configuration needs a new DeviceStream.
	"""

	def __init__(self, config: DeviceConfig, track: DeviceTrack, around: Surroundings) -> None:
		self._config = config
		self._track = track
		self._around = around
		self._settings = around.settings
		self._client = around.access.client(config)
		self._silence = Silence(around.settings.silence)
		self._failures = 0
		self._was_connected = False
		self._paused = False

	async def run(self) -> None:
		try:
			await self._wait_out_lock()
			while (pause := await self._attempt()) is not None:
				await asyncio.sleep(pause)
		finally:
			self._around.access.terminals.release(self._config)

	async def _wait_out_lock(self) -> None:
		"""A lock outlives the configuration in which it was earned."""
		until = self._track.locked_until(self._config.address.base_url)
		if until is not None:
			self._track.enter(ConnectionState.RETRYING, retry_at=until)
			await asyncio.sleep(max(0.0, (until - utc_now()).total_seconds()))

	async def _attempt(self) -> float | None:
		"""Connect and listen until it ends; the seconds to wait before the next attempt, None to stop."""
		self._track.enter(ConnectionState.CONNECTING)
		began = asyncio.get_running_loop().time()
		try:
			await self._hold()
		except IsapiError as error:
			if self._connected_for(began) >= self._settings.steady:
				self._failures = 0
			return self._after(error)
		except Exception as error:  # a fault of ours must not end the device's stream for good
			log_fault(logger, f"the stream of device {self._config.key}", error)
			return self._retry(f"The listener failed with {type(error).__name__}; its log says more.")
		finally:
			self._around.access.terminals.release(self._config)
		raise AssertionError("a stream ends with an error")

	def _connected_for(self, began: float) -> float:
		if self._track.state is not ConnectionState.CONNECTED:
			return 0.0
		return asyncio.get_running_loop().time() - began

	def _after(self, error: IsapiError) -> float | None:
		"""What a failure means for the device's state and the next attempt."""
		if isinstance(error, AccountLocked):
			return self._after_lock(error)
		if isinstance(error, LoginRefused):
			self._around.access.refused_logins.remember(self._config.key, self._config.revision, str(error))
		if isinstance(error, (LoginFailed, SetupWrong, NotSupported)):
			logger.error("device %s stopped: %s", self._config.key, error)
			self._track.stop(self._config.revision, str(error))
			return None
		return self._retry(str(error), slot_taken=isinstance(error, (StreamSlotTaken, DeviceBusy, Rejected)))

	def _after_lock(self, error: AccountLocked) -> float:
		until = self._track.lock(self._config.address.base_url, error.seconds, self._settings.lock_margin)
		self._track.enter(ConnectionState.RETRYING, str(error), until)
		logger.error("device %s: %s", self._config.key, error)
		return (until - utc_now()).total_seconds()

	def _retry(self, why: str, *, slot_taken: bool = False) -> float:
		self._failures += 1
		settings = self._settings
		least, most = (
			(settings.slot_least, settings.slot_most)
			if slot_taken
			else (settings.retry_least, settings.retry_most)
		)
		pause = full_jitter(self._failures, least, most)
		self._track.enter(ConnectionState.RETRYING, why, utc_now() + timedelta(seconds=pause))
		logger.info("device %s: %s Next try in %.0f s.", self._config.key, why, pause)
		return pause

	# One connection.

	async def _hold(self) -> None:
		"""Log in, open the stream and read it to its end, which is always an IsapiError."""
		async with AsyncExitStack() as exits:
			async with self._around.handshakes.turn():
				info = await self._client.device_info()
				self._recognise(info)
				await self._compare_clocks()
				stream = self._client.alert_stream(read_timeout=NO_TIMEOUT)
				chunks = await exits.enter_async_context(stream)
			self._note_connected()
			await self._listen(chunks, parse_context(self._config, Source.STREAM, info.serial_number))

	def _recognise(self, info: DeviceInfo) -> None:
		"""Make sure that it is the device we mean, by its serial number: addresses move."""
		identity = identity_of(info)
		if identity.serial_number:
			self._around.access.terminals.claim(identity.serial_number, self._config)
		self._track.identity = identity

	async def _compare_clocks(self) -> None:
		"""Learn the device's clock offset; a device that does not tell its time is no reason to lose its passes."""
		with suppress(NotSupported, Rejected, BadAnswer, NotPermitted):
			self._track.clock_offset = (await self._client.clock()).offset_seconds

	def _note_connected(self) -> None:
		if self._was_connected:
			self._track.reconnects += 1
		self._was_connected = True
		self._track.enter(ConnectionState.CONNECTED)
		self._track.contact.begin(utc_now())
		self._silence.begin(asyncio.get_running_loop().time())
		self._around.long_lived.connected()
		logger.info("device %s: connected", self._config.key)

	async def _listen(self, chunks: AlertStream, context: ParseContext) -> None:
		"""Read in a task of its own, so that this one can watch for silence."""
		loop = asyncio.get_running_loop()
		reading = asyncio.create_task(self._read(chunks, context))
		try:
			while not reading.done():
				remaining = self._silence.remaining(loop.time())
				if remaining <= 0:
					await self._judge_silence()
					continue
				await asyncio.wait({reading}, timeout=remaining)
			reading.result()
		finally:
			reading.cancel()
			await asyncio.gather(reading, return_exceptions=True)
		raise ConnectionLost("The device ended the stream.")

	async def _judge_silence(self) -> None:
		"""End a stream that is dead; raises ConnectionLost, or what a probe of the device raises."""
		loop = asyncio.get_running_loop()
		if self._paused:  # it is we who do not read
			self._silence.excused(loop.time())
			return
		self._track.contact.lost(Cause.SILENCE)
		if self._silence.is_proof:
			raise ConnectionLost(f"Nothing was heard for {self._silence.limit:.0f} s.")
		await self._client.device_info()
		self._track.contact.lost(Cause.RECONNECT)  # if it is lost later, it was not by this silence
		self._silence.probed(loop.time())

	async def _read(self, chunks: AlertStream, context: ParseContext) -> None:
		framer = PartFramer()
		arrived = utc_now()
		async for chunk in chunks:
			arrived = utc_now()
			try:
				if len(chunk) < MUCH_BYTES:
					await self._around.pulse.wait()
			except asyncio.CancelledError:
				arrived = utc_now()
				await self._take_last(self._parts(framer, chunk + chunks.at_hand()), context, arrived)
				raise
			await self._take(self._parts(framer, chunk), context, arrived)
		await self._take(framer.close(), context, arrived)

	def _parts(self, framer: PartFramer, data: bytes) -> list[Part]:
		before = framer.resyncs
		parts = framer.feed(data)
		self._track.malformed += framer.resyncs - before
		return parts

	async def _take(self, parts: Sequence[Part], context: ParseContext, arrived: datetime) -> None:
		messages = self._messages(parts, context)
		heartbeats = sum(isinstance(message, Heartbeat) for message in messages)
		self._silence.heard(asyncio.get_running_loop().time(), heartbeats)
		if messages:
			await self._store_patiently(messages, arrived)

	async def _take_last(self, parts: Sequence[Part], context: ParseContext, arrived: datetime) -> None:
		"""Store, if that can be done, what had come when we were told to stop: not every device tells it again."""
		with suppress(SpoolUnavailable):
			await self._store(self._messages(parts, context), arrived)

	def _messages(self, parts: Sequence[Part], context: ParseContext) -> list[Message]:
		return [message for part in parts for message in self._understand(part, context)]

	def _understand(self, part: Part, context: ParseContext) -> list[Message]:
		"""The messages of a part, whatever it calls itself; a picture has none."""
		try:
			return parse_document(part.body, context, utc_now())
		except MalformedPayload:
			if not part.headers.get("content-type", "").lower().startswith("image/"):
				self._track.malformed += 1
			return []

	async def _store_patiently(self, messages: Sequence[Message], arrived: datetime) -> None:
		"""While the spool cannot be written nothing more is read, so that the device keeps what it has."""
		while True:
			try:
				await self._store(messages, arrived)
			except SpoolUnavailable as unavailable:
				self._paused = True
				self._track.error = str(unavailable)
				await asyncio.sleep(self._settings.full_spool_retry)
			else:
				break
		if self._paused:
			self._paused = False
			self._track.error = ""
			self._silence.excused(asyncio.get_running_loop().time())

	async def _store(self, messages: Sequence[Message], arrived: datetime) -> None:
		"""Store what the device had sent by ``arrived``, and note how far it was heard; raises SpoolUnavailable."""
		mark = await self._around.intake.store(self._track, messages)
		if messages:
			events = (message for message in messages if isinstance(message, AccessEvent))
			replayed = is_told_again(events, self._track.clock_offset)
			self._track.contact.heard(arrived, mark, replayed=replayed)
