"""A server that answers exactly what a test says, for what no simulated device does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hikvision_frappe.isapi.address import DeviceAddress

CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n{count}", qop="auth"'


def answer(status: int, body: bytes = b"", *headers: str, content_type: str = "application/xml") -> bytes:
	lines = [
		f"HTTP/1.1 {status} X",
		f"Content-Type: {content_type}",
		f"Content-Length: {len(body)}",
		*headers,
	]
	return "\r\n".join([*lines, "", ""]).encode() + body


class CannedServer:
	"""Gives each request's head to ``reply`` and writes what it returns; then closes, unless told to stay.

	heads: of all requests, in order. reply: returns bytes, or None for silence.
	"""

	def __init__(self, reply: Callable[[str], bytes | None], stay: bool = False) -> None:
		self._reply = reply
		self._stay = stay
		self._tasks: set[asyncio.Task[None]] = set()
		self.heads: list[str] = []
		self.open = 0

	async def __aenter__(self) -> CannedServer:
		self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
		self.port: int = self._server.sockets[0].getsockname()[1]
		return self

	async def __aexit__(self, *_: object) -> None:
		self._server.close()
		for task in self._tasks:
			task.cancel()
		await asyncio.gather(*self._tasks, return_exceptions=True)

	@property
	def address(self) -> DeviceAddress:
		return DeviceAddress("127.0.0.1", self.port, "admin", "Secret-77")

	@property
	def logins(self) -> int:
		return sum("Authorization:" in head for head in self.heads)

	async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
		task = asyncio.current_task()
		assert task is not None
		self._tasks.add(task)
		task.add_done_callback(self._tasks.discard)
		self.open += 1
		try:
			await self._converse(reader, writer)
		except (ConnectionError, asyncio.IncompleteReadError):
			pass
		finally:
			self.open -= 1
			writer.close()

	async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
		head = (await reader.readuntil(b"\r\n\r\n")).decode()
		self.heads.append(head)
		reply = self._reply(head)
		if reply is not None:
			writer.write(reply)
			await writer.drain()
		if reply is None or self._stay:
			await reader.read()


class PlainServer(CannedServer):
	"""Answers whatever it gets, a TLS greeting for one, with HTTP 400."""

	def __init__(self) -> None:
		super().__init__(lambda _: None)

	async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
		await reader.read(1)
		writer.write(answer(400))
		await writer.drain()
