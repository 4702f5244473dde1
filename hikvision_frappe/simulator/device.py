"""A simulated Hikvision device on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta, timezone

from hikvision_frappe.simulator.answers import not_found, slot_refused, unsupported
from hikvision_frappe.simulator.clock import DeviceClock
from hikvision_frappe.simulator.digest import DigestGate, LockOut
from hikvision_frappe.simulator.endpoints import Endpoints
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.hosts import ListeningHost, host_at
from hikvision_frappe.simulator.http import Answer, Connection, Request, Response, Silence
from hikvision_frappe.simulator.login import refuse_login
from hikvision_frappe.simulator.profile import ConnectionRule, Profile, Unsupported
from hikvision_frappe.simulator.push import PushClient, PushTiming
from hikvision_frappe.simulator.records import (
	AUTHENTICATION,
	DENIAL_CODES,
	PASS_CODES,
	Code,
	DoorEvent,
	EventLog,
	Method,
	SerialCounter,
	SimulatedRecord,
)
from hikvision_frappe.simulator.state import DeviceState, LoginFailure, SeenRequest, empty_hosts
from hikvision_frappe.simulator.stream import AlertStream
from hikvision_frappe.simulator.tls import Certificate
from hikvision_frappe.simulator.wording import Writer, identity_of

_numbers = itertools.count(1)
_TURNS_TO_CLOSE = 100  # of the event loop, until aborted connections are gone
_BOOT = (
	(Code.POWER_ON.value, None),
	((AUTHENTICATION, DoorEvent.LOCKED.value), 1),
	(Code.NETWORK_DOWN.value, None),
	(Code.NETWORK_UP.value, None),
	(Code.TAMPER.value, None),
)


class SimulatedDevice:
	"""One device. All methods belong to the event loop's thread.

	``log`` is the truth: every record ever made, also those the device no longer stores. ``faults`` may be
	changed at any time. ``port`` 0 means any free one; a stopped device starts again on its own.
	``zone``: IANA name instead of the profile's. ``tls``: a certificate to speak HTTPS with.
	"""

	def __init__(
		self,
		profile: Profile,
		serial_number: str | None = None,
		user: str = "admin",
		password: str = "Sim-12345",  # noqa: S107 - a simulated device has a known password
		faults: Faults | None = None,
		host: str = "127.0.0.1",
		port: int = 0,
		*,
		zone: str | None = None,
		tls: Certificate | None = None,
		lock_out: LockOut | None = None,
		push_timing: PushTiming | None = None,
		seed: int = 1,
	) -> None:
		clock = DeviceClock(zone or profile.wording.zone)
		identity = identity_of(profile, next(_numbers), serial_number)
		self._state = DeviceState(
			profile,
			identity,
			clock,
			Writer(profile, identity, clock),
			EventLog(profile.log_capacity),
			SerialCounter(),
			faults or Faults(),
			DigestGate(profile.digest, user, password),
			lock_out or LockOut(),
			random.Random(seed),
		)
		self.profile = profile
		self.user = user
		self.password = password
		self.host = host
		self.port = port
		self._tls = tls
		self._push_timing = push_timing or PushTiming()
		self._endpoints = Endpoints(self._state, self._armed, self._set_host, self._test_host)
		self._server: asyncio.Server | None = None
		self._connections: set[Connection] = set()
		self._streams: list[AlertStream] = []
		self._push: dict[int, PushClient] = {}
		self._stopping: set[asyncio.Task[None]] = set()

	# What it is and what happened

	@property
	def log(self) -> list[SimulatedRecord]:
		"""Every record ever made, oldest first."""
		return self._state.log.records

	@property
	def faults(self) -> Faults:
		"""The switches of what goes wrong."""
		return self._state.faults

	@property
	def clock(self) -> DeviceClock:
		return self._state.clock

	@property
	def serial_number(self) -> str:
		return self._state.identity.serial_number

	@property
	def mac_address(self) -> str:
		return self._state.identity.mac_address

	@property
	def url(self) -> str:
		"""Base address, without credentials."""
		return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

	@property
	def fingerprint(self) -> str:
		"""Hex sha256 of the certificate, "" without TLS."""
		return self._tls.fingerprint if self._tls else ""

	@property
	def login_failures(self) -> Sequence[LoginFailure]:
		"""Every login the device counted as wrong."""
		return self._state.login_failures

	@property
	def requests(self) -> Sequence[SeenRequest]:
		"""The last thousand requests that got an answer."""
		return self._state.requests

	@property
	def open_streams(self) -> int:
		"""Streams the device still sends to."""
		return sum(stream.is_live for stream in self._streams)

	@property
	def bytes_waiting(self) -> int:
		"""Bytes written to streams that their readers have not taken yet."""
		return sum(stream.connection.transport.get_write_buffer_size() for stream in self._streams)

	@property
	def listening_hosts(self) -> dict[int, ListeningHost]:
		"""Where events are pushed to, by slot."""
		return dict(self._state.hosts)

	@property
	def push_clients(self) -> list[PushClient]:
		"""One per listening host in use."""
		return list(self._push.values())

	# Running

	async def start(self) -> None:
		"""Listen. Raises OSError when the port is taken."""
		if self._server is not None:
			return
		self._server = await asyncio.get_running_loop().create_server(
			lambda: Connection(self._handle, self.profile.server, self._connections),
			self.host,
			self.port,
			ssl=self._tls_context(),
			reuse_address=True,
		)
		self.port = self._server.sockets[0].getsockname()[1]
		for host in self._state.hosts.values():
			self._use_host(host)

	async def stop(self) -> None:
		"""Stop listening, pushing and streaming; the log, the port and the settings stay."""
		if self._server is None:
			return
		self._server.close()
		self._server = None
		clients, self._push = list(self._push.values()), {}
		self._drop_connections()
		await asyncio.gather(*(client.stop() for client in clients), *self._stopping)
		for _ in range(_TURNS_TO_CLOSE):
			if not self._connections:
				return
			await asyncio.sleep(0)

	async def __aenter__(self) -> SimulatedDevice:
		await self.start()
		return self

	async def __aexit__(self, *_: object) -> None:
		await self.stop()

	# What happens at the door

	def make_pass(
		self,
		person: str,
		*,
		name: str = "",
		card: str = "",
		door: int = 1,
		reader: int = 1,
		method: str = "face",
		attendance_status: str | None = None,
		with_door_events: bool = False,
		at: datetime | None = None,
	) -> SimulatedRecord:
		"""A person is let in; with ``with_door_events`` the lock opens and closes too.

		method: "face", "card", "fingerprint" or "pin". at: the device's instant (aware), now when None.
		"""
		way = Method(method)
		record = self._record(
			AUTHENTICATION,
			PASS_CODES[way],
			at,
			person=person,
			name=name,
			card=card,
			door=door,
			reader=reader,
			method=way,
			attendance_status=attendance_status,
		)
		if with_door_events:
			self.make_door_event(DoorEvent.UNLOCKED, door=door, at=at)
			self.make_door_event(DoorEvent.LOCKED, door=door, at=at)
		return record

	def make_denial(
		self,
		person: str = "",
		*,
		card: str = "",
		door: int = 1,
		reader: int = 1,
		method: str = "face",
		minor: int | None = None,
		at: datetime | None = None,
	) -> SimulatedRecord:
		"""Somebody is turned away; some denials (``minor`` 8, an expired card) do name the person."""
		way = Method(method)
		code = DENIAL_CODES[way] if minor is None else minor
		return self._record(
			AUTHENTICATION, code, at, person=person, card=card, door=door, reader=reader, method=way
		)

	def make_door_event(
		self, event: DoorEvent = DoorEvent.UNLOCKED, *, door: int = 1, at: datetime | None = None
	) -> SimulatedRecord:
		"""Something happens to a door alone."""
		return self._record(AUTHENTICATION, event.value, at, door=door)

	def make_event(self, major: int, minor: int, *, at: datetime | None = None) -> SimulatedRecord:
		"""A record with any other pair of codes."""
		return self._record(major, minor, at)

	def make_notification(self, event_type: str = "VMD", state: str = "active", channel: int = 1) -> None:
		"""Tell open streams of something that is no record, e.g. motion on a recorder's channel."""
		for stream in list(self._streams):
			stream.notify(event_type, state, channel)

	def fill_backlog(
		self, count: int, persons: Sequence[str] = ("1",), seconds_between: float = 10.0
	) -> None:
		"""Put ``count`` past passes into the log, the newest one just before now; open streams are told last."""
		begin = self.clock.now() - timedelta(seconds=seconds_between * count)
		names = itertools.cycle(persons)
		for index in range(count):
			at = (begin + timedelta(seconds=seconds_between * index)).replace(microsecond=0)
			self._append(
				AUTHENTICATION, PASS_CODES[Method.FACE], at, person=next(names), door=1, reader=1,
				method=Method.FACE,
			)  # fmt: skip
		self._tell()

	# What happens to the device

	def reset_serial(self) -> None:
		"""Factory reset of the log: it is empty and counts from 1 again."""
		self._state.serials.restart()
		self._state.log.clear()

	def set_serial(self, last: int) -> None:
		"""Make ``last`` the newest serial number; 99,999 is two records before the wrap to 1."""
		self._state.serials.last = last

	def jump_clock(self, seconds: float) -> None:
		"""Set the clock forward, or back with a negative figure."""
		self.clock.jump(seconds)

	def reboot(self) -> None:
		"""Drop every connection, login and slot, and write the boot records."""
		self._drop_connections()
		self._state.gate.forget_all()
		self._state.lock_out.unlock()
		self._state.leaked_slots = 0
		if self.faults.reboot_forgets_hosts or not self.profile.push.remembers:
			self._forget_hosts()
		for (major, minor), door in _BOOT:
			self._record(major, minor, None, door=door)

	def push_to(self, url: str, slot: int = 1) -> None:
		"""Set a listening host, as typed at the device's screen; user and password in the URL mean Digest."""
		self._set_host(host_at(url, slot))

	def beat(self) -> None:
		"""Send a heartbeat on every stream now."""
		for stream in list(self._streams):
			stream.beat()

	def cut_streams(self, mid_frame: bool = True, reset: bool = False) -> int:
		"""End every stream, after half of a frame or between two; returns how many were open."""
		streams = [stream for stream in self._streams if stream.is_live]
		for stream in streams:
			stream.cut(mid_frame, reset)
		return len(streams)

	def hang(self) -> None:
		"""Make every open stream half-open: nothing is sent any more, and no end is seen."""
		for stream in self._streams:
			stream.hang()

	# Records

	def _record(self, major: int, minor: int, at: datetime | None, **details: object) -> SimulatedRecord:
		record = self._append(major, minor, at, **details)
		self._tell()
		return record

	def _append(self, major: int, minor: int, at: datetime | None, **details: object) -> SimulatedRecord:
		if at is not None and at.tzinfo is None:
			raise ValueError("at needs its zone")
		front = self._state.serials.last
		record = SimulatedRecord(
			device=self.serial_number,
			serial_no=self._state.serials.advance(),
			epoch=self._state.serials.epoch,
			instant=(at.astimezone(timezone.utc) if at else self.clock.now()).replace(microsecond=0),
			made_at=datetime.now(timezone.utc),
			major=major,
			minor=minor,
			front_serial_no=front,
			live=self.open_streams > 0 or bool(self._push),
			**details,  # type: ignore[arg-type]
		)
		self._state.log.append(record)
		return record

	def _tell(self) -> None:
		for stream in list(self._streams):
			stream.pump()
		for client in self._push.values():
			client.wake()

	# Requests

	def _handle(self, connection: Connection, request: Request) -> Answer | Awaitable[Answer]:
		if self.faults.mute:
			return Silence()
		if self.faults.answer_delay:
			return self._handle_later(connection, request, self.faults.answer_delay)
		answer = self._answer(request)
		if isinstance(answer, (Response, Silence, AlertStream)):
			return self._finished(connection, request, answer)
		return self._handle_pending(connection, request, answer)

	async def _handle_later(self, connection: Connection, request: Request, delay: float) -> Answer:
		await asyncio.sleep(delay)
		answer = self._answer(request)
		if isinstance(answer, (Response, Silence, AlertStream)):
			return self._finished(connection, request, answer)
		return await self._handle_pending(connection, request, answer)

	async def _handle_pending(
		self, connection: Connection, request: Request, pending: Awaitable[Response]
	) -> Answer:
		return self._finished(connection, request, await pending)

	def _answer(self, request: Request) -> Response | Silence | AlertStream | Awaitable[Response]:
		streaming = request.path in self.profile.stream.paths
		if not streaming and not self._endpoints.knows(request.path):
			return not_found()
		refusal = refuse_login(self._state, request)
		if refusal is not None:
			return refusal
		if streaming:
			return self._open_stream(request)
		return self._endpoints.answer(request)

	def _finished(
		self, connection: Connection, request: Request, answer: Response | Silence | AlertStream
	) -> Answer:
		"""Note the answer, and let the connection end as this kind of device ends it."""
		status = answer.status if isinstance(answer, Response) else 200
		if not isinstance(answer, Silence):
			authorized = "authorization" in request.headers
			self._state.requests.append(SeenRequest(request.method, request.target, status, authorized))
		if isinstance(answer, Response):
			rule = self.profile.connections
			answer.close = (
				answer.close
				or request.wants_close
				or rule is ConnectionRule.CLOSE
				or (rule is ConnectionRule.CLOSE_AFTER_401 and status == 401)
			)
			connection.stuck = connection.stuck or rule is ConnectionRule.ONE_REQUEST
		return answer

	# Streams

	def _open_stream(self, request: Request) -> Response | Silence | AlertStream:
		style = self.profile.stream
		if not style.supported:
			return unsupported(Unsupported.FORBIDDEN, json=False)
		if style.needs_close and not request.wants_close:
			return Silence()
		if len(self._streams) + self._state.leaked_slots >= style.slots:
			return slot_refused(style.refusal)
		if style.logs_arming:
			self.make_event(*Code.REMOTE_ARMING.value)
		stream = AlertStream(self._state, request.headers.get("authorization"), self._stream_lost)
		self._streams.append(stream)
		return stream

	def _stream_lost(self, stream: AlertStream) -> None:
		if stream not in self._streams:
			return
		self._streams.remove(stream)
		if self.profile.stream.logs_arming:
			self.make_event(*Code.REMOTE_DISARMING.value)
		if self.faults.leak_slots:
			self._state.leaked_slots += 1
		if self.profile.digest.nonce_dies_with_stream:
			self._state.gate.forget(stream.authorization)

	def _armed(self) -> list[str]:
		return [stream.connection.client for stream in self._streams]

	def _drop_connections(self) -> None:
		for connection in list(self._connections):
			connection.transport.abort()

	# Listening hosts

	def _set_host(self, host: ListeningHost) -> None:
		"""Push to this host from the next record on."""
		self._state.hosts[host.number] = host
		self._state.push_positions[host.number] = self._state.log.end
		self._use_host(host)

	def _use_host(self, host: ListeningHost) -> None:
		self._stop_push(host.number)
		if host.is_set and self.profile.push.supported and self._server is not None:
			client = PushClient(self._state, host, self._push_timing)
			self._push[host.number] = client
			client.start()

	def _forget_hosts(self) -> None:
		for host in empty_hosts().values():
			self._set_host(host)

	def _stop_push(self, number: int) -> None:
		client = self._push.pop(number, None)
		if client is not None:
			task = asyncio.ensure_future(client.stop())
			self._stopping.add(task)
			task.add_done_callback(self._stopping.discard)

	async def _test_host(self, host: ListeningHost) -> bool:
		return await PushClient(self._state, host, self._push_timing).test()

	def _tls_context(self) -> ssl.SSLContext | None:
		return self._tls.server_context() if self._tls else None
