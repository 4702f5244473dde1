"""The push client of a device: posts its records to a listening host, in order, until each is acknowledged."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from hikvision_frappe.simulator.digest import answer_challenge
from hikvision_frappe.simulator.framing import jpeg, push_body
from hikvision_frappe.simulator.hosts import ListeningHost
from hikvision_frappe.simulator.profile import Acknowledgement, Heartbeat, PushForm
from hikvision_frappe.simulator.records import SimulatedRecord
from hikvision_frappe.simulator.state import DeviceState
from hikvision_frappe.simulator.wording import JSON_TYPE

_CURRENT_FOR = timedelta(seconds=30)  # a record told later than that is history
_ATTEMPTS_KEPT = 1000
_MAX_ANSWER = 64 * 1024
_PICTURE_BYTES = 2048


@dataclass(frozen=True, slots=True)
class PushTiming:
	"""Seconds: wait for an answer, pause before the first repetition, and the most it doubles to."""

	timeout: float = 5.0
	first_retry: float = 1.0
	longest_retry: float = 30.0


@dataclass(frozen=True, slots=True)
class PushAttempt:
	"""One post of a record; status is None when no answer came."""

	serial_no: int
	at: datetime
	status: int | None
	acknowledged: bool


@dataclass(frozen=True, slots=True)
class _Reply:
	status: int
	body: bytes
	headers: dict[str, str] = field(default_factory=dict)


class PushClient:
	"""Posts to one host.

	The queue is the device's own log and a position in it, so that it survives a restart in order.
	"""

	def __init__(self, state: DeviceState, host: ListeningHost, timing: PushTiming) -> None:
		self._state = state
		self.host = host
		self._timing = timing
		self._failures = 0
		self._posts = 0
		self._woken = asyncio.Event()
		self._link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
		self._posting = asyncio.Lock()  # a heartbeat waits until the record before it is answered
		self._tasks: list[asyncio.Task[None]] = []
		self.attempts: deque[PushAttempt] = deque(maxlen=_ATTEMPTS_KEPT)

	@property
	def waiting(self) -> int:
		"""Records not yet acknowledged."""
		return self._state.log.end - self._position

	@property
	def _position(self) -> int:
		"""Place in the log of the oldest record not acknowledged."""
		kept = self._state.push_positions.setdefault(self.host.number, self._state.log.end)
		return max(kept, self._state.log.start)

	def start(self) -> None:
		self._tasks = [asyncio.create_task(self._run())]
		if self._state.profile.push.heartbeat_seconds is not None:
			self._tasks.append(asyncio.create_task(self._beat(self._state.profile.push.heartbeat_seconds)))
		self.wake()

	def wake(self) -> None:
		"""There is something new to tell."""
		self._woken.set()

	async def stop(self) -> None:
		for task in self._tasks:
			task.cancel()
		await asyncio.gather(*self._tasks, return_exceptions=True)
		self._hang_up()

	async def test(self) -> bool:
		"""Whether the host answers a post of a heartbeat."""
		return await self._send_heartbeat() is not None

	async def _run(self) -> None:
		while True:
			await self._woken.wait()
			self._woken.clear()
			while await self._tell_next():
				pass

	async def _tell_next(self) -> bool:
		"""Post the oldest record not acknowledged; False when there is none."""
		log = self._state.log
		position = self._position
		if position >= log.end:
			return False
		record = log.records[position]
		reply = await self._post(*self._body(record))
		acknowledged = reply is not None and self._acknowledges(reply)
		now = datetime.now(timezone.utc)
		status = None if reply is None else reply.status
		self.attempts.append(PushAttempt(record.serial_no, now, status, acknowledged))
		if acknowledged:
			self._state.push_positions[self.host.number] = position + 1
			self._failures = 0
		else:
			await asyncio.sleep(self._pause())
		return True

	def _pause(self) -> float:
		pause = self._timing.first_retry * 2.0 ** min(self._failures, 16)
		self._failures += 1
		return min(pause, self._timing.longest_retry)

	def _acknowledges(self, reply: _Reply) -> bool:
		if self._state.profile.push.acknowledgement is Acknowledgement.BODY and not reply.body:
			return False
		return reply.status == 200

	async def _beat(self, interval: float) -> None:
		while True:
			await asyncio.sleep(interval)
			await self._send_heartbeat()

	async def _send_heartbeat(self) -> _Reply | None:
		document = self._state.writer.heartbeat(Heartbeat.HEARTBEAT_JSON)
		return await self._post(*self._wrapped(document, JSON_TYPE, b""))

	def _body(self, record: SimulatedRecord) -> tuple[bytes, str]:
		size = self._state.faults.picture_bytes
		if not size and self._state.profile.push.picture:
			size = _PICTURE_BYTES
		picture = jpeg(size) if size and record.is_pass else b""
		current = datetime.now(timezone.utc) - record.made_at < _CURRENT_FOR
		document = self._state.writer.record(record, current, 1 if picture else 0)
		body, content_type = self._wrapped(document, self._state.writer.content_type, picture)
		self._posts += 1
		every = self._state.faults.malformed_every
		if every and self._posts % every == 0:
			body = body[: len(body) // 3]
		return body, content_type

	def _wrapped(self, document: bytes, content_type: str, picture: bytes) -> tuple[bytes, str]:
		style = self._state.profile.push
		if style.form is PushForm.PLAIN and not picture:
			return document, content_type
		body = push_body(style, document, content_type, picture, self._state.faults.part_length)
		return body, f"multipart/form-data; boundary={style.boundary}"

	async def _post(self, body: bytes, content_type: str) -> _Reply | None:
		"""The host's answer, None when there is none in time."""
		async with self._posting:
			try:
				return await asyncio.wait_for(self._exchange(body, content_type), self._timing.timeout)
			except (OSError, EOFError, ValueError, asyncio.TimeoutError):
				self._hang_up()
				return None

	async def _exchange(self, body: bytes, content_type: str) -> _Reply:
		reply = await self._request(body, content_type, self._known_credentials())
		challenge = reply.headers.get("www-authenticate", "")
		if reply.status == 401 and self.host.user and challenge:
			answer = answer_challenge(challenge, "POST", self._target(), self.host.user, self.host.password)
			if answer is not None:
				reply = await self._request(body, content_type, answer)
		return reply

	async def _request(self, body: bytes, content_type: str, authorization: str | None) -> _Reply:
		keep = self._state.profile.push.keep_alive
		lines = [f"POST {self._target()} HTTP/1.1", f"Host: {self.host.address}:{self.host.port}"]
		lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
		lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
		if authorization is not None:
			lines.append(f"Authorization: {authorization}")
		reader, writer = await self._connected()
		writer.write("\r\n".join([*lines, "", ""]).encode() + body)
		await writer.drain()
		reply = await _read_reply(reader)
		if not keep or "close" in reply.headers.get("connection", "").lower():
			self._hang_up()
		return reply

	async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
		if self._link is None or self._link[0].at_eof():
			self._hang_up()
			secure = _unverified() if self.host.protocol == "HTTPS" else None
			self._link = await asyncio.open_connection(self.host.address, self.host.port, ssl=secure)
		return self._link

	def _hang_up(self) -> None:
		if self._link is not None:
			self._link[1].close()
			self._link = None

	def _target(self) -> str:
		return self.host.path if self.host.path.startswith("/") else f"/{self.host.path}"

	def _known_credentials(self) -> str | None:
		if self.host.authentication not in ("basic", "base64"):
			return None
		pair = f"{self.host.user}:{self.host.password}".encode()
		return f"Basic {base64.b64encode(pair).decode()}"


def _unverified() -> ssl.SSLContext:
	"""Devices take any certificate of their receiver."""
	context = ssl.create_default_context()
	context.check_hostname = False
	context.verify_mode = ssl.CERT_NONE
	return context


async def _read_reply(reader: asyncio.StreamReader) -> _Reply:
	"""Read one HTTP answer; raises ValueError or EOFError for anything else."""
	head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
	first, *lines = head.rstrip().split("\r\n")
	status = int(first.split(" ")[1])
	pairs = (line.partition(":") for line in lines)
	headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
	if "chunked" in headers.get("transfer-encoding", "").lower():
		return _Reply(status, await _read_chunks(reader), headers)
	if status == 204:
		return _Reply(status, b"", headers)
	if "content-length" in headers:
		length = min(int(headers["content-length"]), _MAX_ANSWER)
		return _Reply(status, await reader.readexactly(length), headers)
	return _Reply(status, await reader.read(_MAX_ANSWER), headers)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
	body = b""
	while len(body) <= _MAX_ANSWER:
		size = int((await reader.readline()).split(b";")[0], 16)
		body += (await reader.readexactly(min(size, _MAX_ANSWER) + 2))[:-2]
		if size == 0:
			return body
	raise ValueError("the answer is too long")
