"""A small HTTP/1.1 server protocol that leaves bytes, cuts and connections under our control."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

MAX_HEAD = 16 * 1024
MAX_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
	"""One request; header names in lower case. target: path and query as sent. client: the peer's address."""

	method: str
	target: str
	headers: dict[str, str]
	body: bytes
	client: str

	@property
	def path(self) -> str:
		return self.target.partition("?")[0]

	@property
	def wants_close(self) -> bool:
		return "close" in self.headers.get("connection", "").lower()


@dataclass(slots=True)
class Response:
	"""An answer with a body; ``close`` ends the connection after it, ``cut`` resets it in the middle of the body."""

	status: int
	body: bytes = b""
	content_type: str = 'application/xml; charset="UTF-8"'
	headers: list[tuple[str, str]] = field(default_factory=list)
	close: bool = False
	cut: bool = False


class Silence:
	"""No answer at all; the connection stays open."""


class Takeover:
	"""An answer that writes to the connection by itself until it closes it."""

	__slots__ = ()

	def begin(self, connection: Connection) -> None:
		raise NotImplementedError

	def writable(self) -> None:
		"""The peer reads again."""

	def lost(self) -> None:
		"""The connection is gone."""


Answer = Response | Silence | Takeover
Handler = Callable[["Connection", Request], Answer | Awaitable[Answer]]


class Connection(asyncio.Protocol):
	"""One client's connection: requests are read one after the other and answered in order."""

	__slots__ = (
		"_buffer", "_handler", "_server_name", "_takeover", "_task", "client", "open_connections",
		"stuck", "transport", "writing_paused",
	)  # fmt: skip

	def __init__(self, handler: Handler, server_name: str, open_connections: set[Connection]) -> None:
		self._handler = handler
		self._server_name = server_name
		self._buffer = b""
		self._takeover: Takeover | None = None
		self._task: asyncio.Task[None] | None = None
		self.open_connections = open_connections
		self.transport: asyncio.Transport
		self.client = ""
		self.stuck = False  # no further request of this connection is answered
		self.writing_paused = False

	def connection_made(self, transport: asyncio.BaseTransport) -> None:
		assert isinstance(transport, asyncio.Transport)
		self.transport = transport
		self.client = transport.get_extra_info("peername")[0]
		self.open_connections.add(self)

	def connection_lost(self, _error: Exception | None) -> None:
		self.open_connections.discard(self)
		if self._task is not None:
			self._task.cancel()
		if self._takeover is not None:
			self._takeover.lost()

	def eof_received(self) -> None:
		return None  # closes the transport

	def pause_writing(self) -> None:
		self.writing_paused = True

	def resume_writing(self) -> None:
		self.writing_paused = False
		if self._takeover is not None:
			self._takeover.writable()

	def data_received(self, data: bytes) -> None:
		if self.stuck or self._takeover is not None:
			return
		self._buffer += data
		if len(self._buffer) > MAX_HEAD + MAX_BODY:
			self.transport.abort()
		else:
			self._serve()

	def send(self, response: Response) -> None:
		"""Write a whole answer."""
		close = response.close
		reason = HTTPStatus(response.status).phrase
		lines = [f"HTTP/1.1 {response.status} {reason}", f"Date: {formatdate(usegmt=True)}"]
		lines += [f"Server: {self._server_name}", f"Content-Length: {len(response.body)}"]
		lines += (
			["Connection: close"] if close else ["Connection: keep-alive", "Keep-Alive: timeout=60, max=99"]
		)
		if response.body:
			lines.append(f"Content-Type: {response.content_type}")
		lines += [f"{name}: {value}" for name, value in response.headers]
		body = response.body[: len(response.body) // 2] if response.cut else response.body
		self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
		if close or response.cut:
			self.stuck = True
			self.transport.close()

	def _serve(self) -> None:
		while self._task is None and self._takeover is None and not self.stuck:
			request = self._next_request()
			if request is None:
				return
			result = self._handler(self, request)
			if isinstance(result, (Response, Silence, Takeover)):
				self._deliver(result)
			else:
				self._task = asyncio.ensure_future(self._finish(result))

	async def _finish(self, pending: Awaitable[Answer]) -> None:
		answer = await pending
		self._task = None
		self._deliver(answer)
		self._serve()

	def _deliver(self, answer: Answer) -> None:
		if isinstance(answer, Response):
			self.send(answer)
		elif isinstance(answer, Takeover):
			self._takeover = answer
			self._buffer = b""
			answer.begin(self)
		else:
			self.stuck = True

	def _next_request(self) -> Request | None:
		"""The next whole request of the buffer, None while it is not there; bad ones are refused."""
		head, found, rest = self._buffer.partition(b"\r\n\r\n")
		if not found:
			if len(self._buffer) > MAX_HEAD:
				self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
			return None
		try:
			method, target, headers = _parse_head(head)
			length = int(headers.get("content-length", "0"))
		except ValueError:
			self._refuse(HTTPStatus.BAD_REQUEST)
			return None
		if "transfer-encoding" in headers:
			self._refuse(HTTPStatus.LENGTH_REQUIRED)
			return None
		if not 0 <= length <= MAX_BODY:
			self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
			return None
		if len(rest) < length:
			return None
		self._buffer = rest[length:]
		return Request(method, target, headers, rest[:length], self.client)

	def _refuse(self, status: HTTPStatus) -> None:
		self.send(Response(status, close=True))


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
	first, *lines = head.decode("latin-1").split("\r\n")
	method, target, version = first.split(" ")
	if not version.startswith("HTTP/1."):
		raise ValueError("not HTTP/1")
	headers = {}
	for line in lines:
		name, _, value = line.partition(":")
		headers[name.strip().lower()] = value.strip()
	return method, target, headers
