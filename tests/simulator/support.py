"""What the tests of the simulator share: an independent reader of streams, and a receiver of pushes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hikvision_frappe.simulator import PROFILES, Profile, SimulatedDevice
from hikvision_frappe.simulator.digest import answer_challenge, digest_response, parse_parameters

STREAM = "/ISAPI/Event/notification/alertStream"
PAYLOADS = Path(__file__).parents[3] / "shared" / "payloads" / "isapi"
PATIENCE = 10.0


def profile(key: str = "k1a340", **stream: Any) -> Profile:
	"""A profile with some fields of its stream changed."""
	kind = PROFILES[key]
	return replace(kind, stream=replace(kind.stream, **stream))


async def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
	"""Wait for a condition; fails the test when it does not come true."""
	loop = asyncio.get_running_loop()
	end = loop.time() + seconds
	while not condition():
		assert loop.time() < end, "the condition did not come true"
		await asyncio.sleep(0.005)


class Wire:
	"""One connection to a device, spoken by hand."""

	def __init__(self, device: SimulatedDevice) -> None:
		self.device = device
		self.data = b""
		self.ended = False
		self.reset = False
		self._reader: asyncio.StreamReader
		self._writer: asyncio.StreamWriter

	async def __aenter__(self) -> Wire:
		self._reader, self._writer = await asyncio.open_connection(self.device.host, self.device.port)
		return self

	async def __aexit__(self, *exc: object) -> None:
		self._writer.close()

	async def ask(
		self, path: str, authorization: str = "", method: str = "GET", body: bytes = b"", close: bool = False
	) -> tuple[int, str]:
		"""Send one request and read the answer's head; returns status and head."""
		await self.send(path, authorization, method, body, close)
		head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
		return int(head.split(" ")[1]), head

	async def send(
		self, path: str, authorization: str = "", method: str = "GET", body: bytes = b"", close: bool = False
	) -> None:
		lines = [f"{method} {path} HTTP/1.1", "Host: device", f"Content-Length: {len(body)}"]
		lines += [f"Authorization: {authorization}"] if authorization else []
		lines += ["Connection: close"] if close else []
		self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
		await self._writer.drain()

	async def body(self, head: str) -> bytes:
		length = re.search(r"Content-Length: (\d+)", head)
		assert length is not None
		return await self._reader.readexactly(int(length[1]))

	async def silent_for(self, seconds: float) -> bool:
		"""Whether nothing comes, not even the end."""
		try:
			self.data += await asyncio.wait_for(self._reader.read(1), seconds)
		except asyncio.TimeoutError:
			return True
		return False

	async def until(self, condition: Callable[[bytes], bool]) -> bytes:
		"""Read until the bytes of the body so far fulfil the condition."""
		while not condition(self.data):
			chunk = await asyncio.wait_for(self._reader.read(65536), PATIENCE)
			assert chunk, f"the stream ended after {len(self.data)} bytes"
			self.data += chunk
		return self.data

	async def to_the_end(self) -> bytes:
		"""Read until the device ends the connection."""
		try:
			while chunk := await asyncio.wait_for(self._reader.read(65536), PATIENCE):
				self.data += chunk
		except ConnectionResetError:
			self.reset = True
		self.ended = True
		return self.data


async def login(device: SimulatedDevice, path: str, method: str = "GET", password: str = "") -> str:
	"""An Authorization header for one request, from a challenge fetched on its own connection."""
	async with Wire(device) as wire:
		status, head = await wire.ask(path, method=method)
		assert status == 401, head
	found = re.search(r"WWW-Authenticate: (.*)\r\n", head)
	assert found is not None
	answer = answer_challenge(found[1], method, path, device.user, password or device.password)
	assert answer is not None
	return answer


def once_more(device: SimulatedDevice, authorization: str, path: str, count: int) -> str:
	"""The Authorization header of another GET with the same nonce."""
	given = parse_parameters(authorization.partition(" ")[2])
	given["nc"] = f"{count:08x}"
	response = digest_response("MD5", "GET", path, device.user, device.password, given["realm"], given)
	given |= {"uri": path, "response": response}
	return "Digest " + ", ".join(f'{name}="{value}"' for name, value in given.items())


async def fetch(
	device: SimulatedDevice, path: str, method: str = "GET", body: bytes = b"", password: str = ""
) -> tuple[int, bytes]:
	"""One logged-in request; returns status and body."""
	authorization = await login(device, path, method, password)
	async with Wire(device) as wire:
		status, head = await wire.ask(path, authorization, method, body)
		return status, await wire.body(head)


class Stream(Wire):
	"""An open alertStream."""

	def __init__(self, device: SimulatedDevice, path: str = STREAM) -> None:
		super().__init__(device)
		self.path = path
		self.head = ""

	async def __aenter__(self) -> Stream:
		authorization = await login(self.device, self.path)
		await super().__aenter__()
		status, self.head = await self.ask(self.path, authorization, close=True)
		assert status == 200, self.head
		return self

	async def serials(self, count: int) -> list[int]:
		"""Serial numbers of the first ``count`` events."""
		await self.until(lambda data: len(told(data)) >= count)
		return [event["AccessControllerEvent"]["serialNo"] for event in told(self.data)]


def told(data: bytes) -> list[dict[str, Any]]:
	"""The whole events in a stream's or push's bytes."""
	return [document for document in documents(data) if "AccessControllerEvent" in document]


def documents(data: bytes) -> list[dict[str, Any]]:
	"""The whole JSON documents among bytes; broken ones are passed over."""
	found = []
	decoder = json.JSONDecoder()
	text = data.decode("latin-1")
	for start in re.finditer(r"\r\n\r\n\{", text):
		try:
			document, _ = decoder.raw_decode(text, start.end() - 1)
		except ValueError:
			continue
		found.append(document)
	return found


class Receiver:
	"""A push receiver which answers what ``answers`` says in turn, then an ISAPI OK."""

	OK = (
		b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 37\r\n\r\n"
		b'{"statusCode":1,"statusString": "OK"}'
	)

	def __init__(self, *answers: bytes | None, port: int = 0) -> None:
		self.port = port
		self.answers = list(answers)
		self.requests: list[tuple[str, bytes]] = []
		self.connections = 0
		self._server: asyncio.Server

	async def __aenter__(self) -> Receiver:
		self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
		self.port = self._server.sockets[0].getsockname()[1]
		self.url = f"http://127.0.0.1:{self.port}/hikvision/event/key.secret"
		return self

	async def __aexit__(self, *exc: object) -> None:
		self._server.close()

	@property
	def serials(self) -> list[int]:
		"""Serial numbers in the order of arrival, repetitions included."""
		events = (event for _, body in self.requests for event in told(b"\r\n\r\n" + body))
		return [event["AccessControllerEvent"]["serialNo"] for event in events]

	async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
		self.connections += 1
		try:
			while True:
				head = (await reader.readuntil(b"\r\n\r\n")).decode()
				length = re.search(r"Content-Length: (\d+)", head)
				assert length is not None
				self.requests.append((head, await reader.readexactly(int(length[1]))))
				answer = self.answers.pop(0) if self.answers else self.OK
				if answer is None:
					await asyncio.sleep(60)
					return
				writer.write(answer)
				await writer.drain()
				if "Connection: close" in head:
					return
		except (asyncio.IncompleteReadError, ConnectionError):
			return
		finally:
			writer.close()
