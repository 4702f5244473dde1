"""The listener's own HTTP port, for devices that can post to an IP address and no further.

Whoever finds the port is a stranger until the token in the path proves otherwise, so everything that can be
checked before the body is read is checked then, in this order: token, source network, method, length, rate.
A device that gets no answer, an empty one, or 204 repeats its event for ever; the answer to an event that is on
disk is therefore always the OK body of ISAPI. Anything else gets a bare status and learns nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp import web

from hikvision_frappe.core.event import Source
from hikvision_frappe.isapi.acknowledgement import acknowledgement
from hikvision_frappe.isapi.messages import Heartbeat
from hikvision_frappe.isapi.parsing import MalformedPayload, ParseContext, parse_push
from hikvision_frappe.listener.contact import DeviceContact
from hikvision_frappe.listener.device_track import DeviceTrack, Intake, utc_now
from hikvision_frappe.listener.site import ConnectionState, DeviceConfig, IngestMode
from hikvision_frappe.listener.spool import SpoolUnavailable

logger = logging.getLogger("hikvision.push")

PATH_PREFIX = "/hikvision/event/"
LONGEST_TOKEN = 256
NO_DEVICE_HASH = hashlib.sha256(b"no device").hexdigest()
SERVER = {"Server": "listener"}  # not the versions that aiohttp would tell


@dataclass(frozen=True, slots=True)
class PushLimits:
	"""What one device, and all together, may ask of the port. Times in seconds, rates per second and device."""

	body_bytes: int = 4 * 1024 * 1024
	body_seconds: float = 30.0
	idle_seconds: float = 30.0  # from connect or last answer to the end of the next request's header
	rate: float = 50.0
	burst: int = 200
	readers: int = 8  # bodies of one device that may be on their way at the same time
	held_bytes: int = 256 * 1024 * 1024  # of all bodies that are on their way
	connections: int = 2_000


class Refusal(Exception):
	"""End of a request: a status for the sender, ``why`` for us."""

	def __init__(self, status: int, why: str = "") -> None:
		super().__init__(status, why)
		self.status = status
		self.why = why


class TokenBucket:
	"""Allows ``rate`` takes per second on average and ``burst`` at once."""

	def __init__(self, rate: float, burst: int) -> None:
		self._rate = rate
		self._burst = float(burst)
		self._tokens = float(burst)
		self._at = 0.0

	def take(self, now: float) -> bool:
		self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
		self._at = now
		if self._tokens < 1.0:
			return False
		self._tokens -= 1.0
		return True


@dataclass(slots=True)
class PushDevice:
	"""A device as the port knows it; without a ``context`` its times could not be read."""

	config: DeviceConfig
	track: DeviceTrack
	context: ParseContext | None
	networks: tuple[IPv4Network | IPv6Network, ...]
	bucket: TokenBucket
	reading: int = 0

	@property
	def contact(self) -> DeviceContact | None:
		"""What its pushes prove; None for a device of which another way tells when it was heard."""
		return self.track.contact if self.config.mode is IngestMode.PUSH else None


@dataclass(slots=True)
class PushCounts:
	"""Requests since the start: accepted by the port, and refused by status."""

	accepted: int = 0
	refused: dict[int, int] = field(default_factory=dict)


class PushServer:
	"""Receives notifications of all devices; ``set_devices(None)`` means that nobody is known yet (503)."""

	def __init__(self, intake: Intake, limits: PushLimits | None = None) -> None:
		self._intake = intake
		self._limits = limits or PushLimits()
		self._devices: dict[str, PushDevice] | None = None
		self._connections: set[_Connection] = set()
		self._held_bytes = 0
		self._manager = web.Server(self._answer, access_log=None)
		self._server: asyncio.Server | None = None
		self._sweeper: asyncio.Task[None] | None = None
		self.counts = PushCounts()

	@property
	def port(self) -> int:
		"""The port really bound; 0 before the start."""
		if self._server is None or not self._server.sockets:
			return 0
		return int(self._server.sockets[0].getsockname()[1])

	async def start(self, host: str, port: int) -> None:
		"""Bind and serve; raises OSError when the port cannot be had."""
		loop = asyncio.get_running_loop()
		self._server = await loop.create_server(self._new_connection, host, port, backlog=1024)
		self._sweeper = asyncio.create_task(self._close_the_idle())

	async def stop(self) -> None:
		"""Take no more connections, finish the requests in progress (at most 5 s), close."""
		if self._server is None:
			return
		self._server.close()
		if self._sweeper:
			self._sweeper.cancel()
		await self._manager.shutdown(5.0)

	def set_devices(self, devices: Sequence[DeviceConfig] | None, tracks: Mapping[str, DeviceTrack]) -> None:
		"""Know these devices from now on; those unchanged keep their rate account."""
		if devices is None:
			self._devices = None
			return
		before = self._devices or {}
		self._devices = {
			device.push_key: self._push_device(device, tracks[device.key], before.get(device.push_key))
			for device in devices
			if device.push_key and device.push_secret_hash
		}

	def _push_device(self, config: DeviceConfig, track: DeviceTrack, before: PushDevice | None) -> PushDevice:
		bucket = before.bucket if before else TokenBucket(self._limits.rate, self._limits.burst)
		return PushDevice(config, track, _context(config), _networks(config), bucket)

	# One request.

	async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
		connection = request.protocol
		assert isinstance(connection, _Connection)
		connection.idle_since = None
		try:
			return await self._receive(request)
		except Refusal as refusal:
			return self._refuse(refusal)
		except ConnectionError:
			return self._refuse(Refusal(400))
		except Exception as error:  # never a traceback with somebody's data or token to anybody
			logger.error("a push failed with %s", type(error).__name__)
			return self._refuse(Refusal(503))
		finally:
			connection.idle_since = asyncio.get_running_loop().time()

	async def _receive(self, request: web.BaseRequest) -> web.Response:
		device = self._authenticate(request.path)
		contact, began = device.contact, utc_now()
		if contact:
			contact.push_began(began)
		try:
			self._admit(device, request)
			body = await self._read(device, request)
			mark, heartbeat = await self._store(device, request, body)
		except BaseException as error:
			if contact:
				contact.push_refused(began)
			if isinstance(error, Refusal):
				_note_refusal(device, error)
			raise
		if contact:
			contact.push_stored(began, mark, heartbeat=heartbeat)
		self.counts.accepted += 1
		return _ok(body)

	def _refuse(self, refusal: Refusal) -> web.Response:
		self.counts.refused[refusal.status] = self.counts.refused.get(refusal.status, 0) + 1
		response = _bare(refusal.status)
		if refusal.status in (429, 503):
			response.headers["Retry-After"] = "5"
		return response

	def _authenticate(self, path: str) -> PushDevice:
		"""The device whose token this is; unknown key and wrong secret take the same way and time."""
		if not path.startswith(PATH_PREFIX):
			raise Refusal(404)
		if self._devices is None:
			raise Refusal(503)
		push_key, _, secret = path[len(PATH_PREFIX) :][:LONGEST_TOKEN].partition(".")
		device = self._devices.get(push_key)
		expected = device.config.push_secret_hash if device else NO_DEVICE_HASH
		given = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
		if not hmac.compare_digest(given.encode(), expected.lower().encode()) or device is None:
			raise Refusal(404)
		return device

	def _admit(self, device: PushDevice, request: web.BaseRequest) -> None:
		"""Everything that can be refused before a byte of the body is read."""
		if device.networks and not _comes_from(request.remote, device.networks):
			raise Refusal(
				403, f"A push from {request.remote} is outside the networks allowed for the device."
			)
		if request.method != "POST":
			raise Refusal(405)
		if (request.content_length or 0) > self._limits.body_bytes:
			raise Refusal(413, "A push was larger than the limit.")
		if not device.bucket.take(asyncio.get_running_loop().time()):
			raise Refusal(429, "The device pushes faster than its limit.")

	async def _read(self, device: PushDevice, request: web.BaseRequest) -> bytes:
		if request.content.is_eof():  # it came with the header: most do
			return await self._read_bounded(request)
		if device.reading >= self._limits.readers:
			raise Refusal(429, "The device sends too many pushes at the same time.")
		device.reading += 1
		try:
			return await asyncio.wait_for(self._read_slowly(request), self._limits.body_seconds)
		except (asyncio.TimeoutError, TimeoutError):
			raise Refusal(408, "A push did not arrive in time.") from None
		finally:
			device.reading -= 1

	async def _read_slowly(self, request: web.BaseRequest) -> bytes:
		if request.headers.get("Expect", "").lower() == "100-continue":
			await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
		return await self._read_bounded(request)

	async def _read_bounded(self, request: web.BaseRequest) -> bytes:
		body = bytearray()
		try:
			async for chunk in request.content.iter_any():
				body += chunk
				self._held_bytes += len(chunk)
				if len(body) > self._limits.body_bytes:
					raise Refusal(413, "A push was larger than the limit.")
				if self._held_bytes > self._limits.held_bytes:
					raise Refusal(503, "Too many large pushes arrive at the same time.")
		finally:
			self._held_bytes -= len(body)
		return bytes(body)

	async def _store(
		self, device: PushDevice, request: web.BaseRequest, body: bytes
	) -> tuple[int | None, bool]:
		"""The mark of its events in the spool, and whether it was a heartbeat."""
		content_type = request.headers.get("Content-Type", "")
		if device.context is None:
			raise Refusal(503, f"There is no time zone {device.config.address.zone!r}. Correct it.")
		try:
			messages = parse_push(body, content_type, device.context, utc_now())
		except MalformedPayload:
			device.track.malformed += 1
			raise Refusal(400, "A push could not be understood.") from None
		try:
			mark = await self._intake.store(device.track, messages)
		except SpoolUnavailable as unavailable:
			raise Refusal(503, str(unavailable)) from None
		if device.track.state is ConnectionState.WAITING:
			device.track.enter(ConnectionState.CONNECTED)
		return mark, any(isinstance(message, Heartbeat) for message in messages)

	# Connections.

	def _new_connection(self) -> asyncio.Protocol:
		if len(self._connections) >= self._limits.connections:
			return _TurnedAway()
		return _Connection(self._manager, self._connections)

	async def _close_the_idle(self) -> None:
		"""A connection may not take for ever to say what it wants; a slowly dripped header is idle too."""
		loop = asyncio.get_running_loop()
		while True:
			await asyncio.sleep(min(1.0, self._limits.idle_seconds / 4))
			longest = loop.time() - self._limits.idle_seconds
			for connection in list(self._connections):
				if connection.idle_since is not None and connection.idle_since < longest:
					connection.abandon()


class _Connection(web.RequestHandler):
	"""aiohttp's connection, counted, with a clock on its idleness, and silent about what it cannot read."""

	__slots__ = ("_among", "idle_since")

	def __init__(self, manager: Any, among: set[_Connection]) -> None:
		loop = asyncio.get_running_loop()
		super().__init__(
			manager,
			loop=loop,
			access_log=None,  # type: ignore[arg-type]  # the path holds the token
			max_line_size=4096,
			max_field_size=4096,
			lingering_time=1.0,
			auto_decompress=False,  # devices do not compress; bombs do
		)
		self._among = among
		self.idle_since: float | None = loop.time()

	def connection_made(self, transport: asyncio.BaseTransport) -> None:
		super().connection_made(transport)
		self._among.add(self)

	def connection_lost(self, exc: BaseException | None) -> None:
		self._among.discard(self)
		super().connection_lost(exc)

	def abandon(self) -> None:
		if self.transport is not None:
			self.transport.abort()

	def handle_error(
		self,
		request: web.BaseRequest,
		status: int = 500,
		exc: BaseException | None = None,
		message: str | None = None,
	) -> web.StreamResponse:
		"""Answer what is no HTTP without repeating it to the sender or to the log."""
		return _bare(status)


class _TurnedAway(asyncio.Protocol):
	"""One connection too many: closed before it says a word."""

	def connection_made(self, transport: asyncio.BaseTransport) -> None:
		transport.close()


def _bare(status: int) -> web.Response:
	"""A status and nothing else; the connection ends with it, as the body may not have been read."""
	response = web.Response(status=status, headers=SERVER)
	response.force_close()
	return response


def _ok(body: bytes) -> web.Response:
	"""ISAPI's own words for *we have it*, in the language of the request."""
	answer, content_type = acknowledgement(body)
	return web.Response(body=answer, content_type=content_type, headers=SERVER)


def _note_refusal(device: PushDevice, refusal: Refusal) -> None:
	device.track.refused += 1
	if refusal.why and refusal.why != device.track.error:
		logger.warning("device %s: %s", device.config.key, refusal.why)
		device.track.error = refusal.why


def _context(config: DeviceConfig) -> ParseContext | None:
	address = config.address
	with contextlib.suppress(ValueError, KeyError):
		return ParseContext(config.key, address.zone, address.trust_offset, Source.PUSH)
	return None


def _networks(config: DeviceConfig) -> tuple[IPv4Network | IPv6Network, ...]:
	"""The allowed networks; one that cannot be read allows nobody rather than everybody."""
	networks: list[IPv4Network | IPv6Network] = []
	for text in config.networks:
		try:
			networks.append(ip_network(text, strict=False))
		except ValueError:
			logger.error("device %s: %r is no network", config.key, text)
			networks.append(ip_network("0.0.0.0/32"))
	return tuple(networks)


def _comes_from(remote: str | None, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
	with contextlib.suppress(ValueError):
		address = ip_address((remote or "").partition("%")[0])
		if isinstance(address, IPv6Address) and address.ipv4_mapped:
			address = address.ipv4_mapped
		return any(address in network for network in networks)
	return False
