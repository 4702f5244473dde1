"""Real processes and real terminals for tests and benchmarks on a bench."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import frappe
import psutil

from hikvision_frappe.simulator import SimulatedDevice

T = TypeVar("T")


class Terminals:
	"""Simulated devices in an event loop of their own thread; use as a context manager."""

	def __init__(self, *devices: SimulatedDevice) -> None:
		self.devices = devices
		self._loop = asyncio.new_event_loop()
		self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

	def __enter__(self) -> Terminals:
		self._thread.start()
		for device in self.devices:
			self.run(device.start())
		return self

	def __exit__(self, *_: object) -> None:
		for device in self.devices:
			self.run(device.stop())
		self._loop.call_soon_threadsafe(self._loop.stop)
		self._thread.join(5)
		self._loop.close()

	def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
		"""Await a coroutine in the devices' loop."""
		return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

	def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
		"""Call a device's plain method in its own thread."""

		async def call() -> T:
			return function(*args, **kwargs)

		return self.run(call())


class Outage:
	"""A TCP proxy before a service, so that one test can take the service away from one process alone.

	Use as a context manager; ``begin`` cuts every connection and refuses new ones, ``end`` lets them through.
	"""

	def __init__(self, host: str, port: int) -> None:
		self.target = host, port
		self.port = free_port()
		self._loop = asyncio.new_event_loop()
		self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
		self._writers: set[asyncio.StreamWriter] = set()
		self._server: asyncio.Server | None = None

	def __enter__(self) -> Outage:
		self._thread.start()
		self.end()
		return self

	def __exit__(self, *_: object) -> None:
		self.begin()
		self._loop.call_soon_threadsafe(self._loop.stop)
		self._thread.join(5)

	def begin(self) -> None:
		asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)

	def end(self) -> None:
		asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

	async def _open(self) -> None:
		self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

	async def _close(self) -> None:
		if self._server:
			self._server.close()
			self._server = None
		for writer in list(self._writers):
			writer.transport.abort()

	async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
		target_reader, target_writer = await asyncio.open_connection(*self.target)
		await asyncio.gather(self._pipe(reader, target_writer), self._pipe(target_reader, writer))

	async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
		self._writers.add(writer)
		with suppress(ConnectionError):
			while data := await reader.read(65536):
				writer.write(data)
				await writer.drain()
		self._writers.discard(writer)
		writer.close()


class ListenerProcess:
	"""``bench hikvision listen`` with the drain beside it, on the test site."""

	def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
		self._environment = {**os.environ, **(environment or {})}
		self.push_port, self.status_port = free_port(), free_port()
		self.log = folder / f"listener-{self.push_port}.log"
		self._arguments = [
			*bench_command("hikvision", "listen"),
			"--push-host=127.0.0.1",
			f"--push-port={self.push_port}",
			f"--status-port={self.status_port}",
			f"--spool={folder / f'spool-{self.push_port}' / 'spool.sqlite3'}",
			*arguments,
		]
		self._process: subprocess.Popen[bytes] | None = None

	def __enter__(self) -> ListenerProcess:
		self.start()
		return self

	def __exit__(self, *_: object) -> None:
		if self._process and self._process.poll() is None:
			self.stop()

	def start(self) -> None:
		with open(self.log, "ab") as log:
			self._process = subprocess.Popen(
				self._arguments, stdout=log, stderr=log, cwd=os.environ["HIKVISION_TEST_SITES"],
				start_new_session=True,
				env=self._environment,
			)  # fmt: skip

	def stop(self) -> int:
		"""SIGTERM, as a supervisor does it; returns the exit code."""
		assert self._process
		self._process.terminate()
		return self._process.wait(45)

	def kill(self) -> None:
		"""SIGKILL to the listener and the drain at once, as a power cut does it."""
		assert self._process
		os.killpg(self._process.pid, signal.SIGKILL)
		self._process.wait(10)

	def kill_alone(self) -> list[int]:
		"""SIGKILL to the listener alone, as the kernel does it when memory runs out; returns its children."""
		assert self._process
		children = [child.pid for child in psutil.Process(self._process.pid).children()]
		self._process.kill()
		self._process.wait(10)
		return children

	def status(self) -> dict[str, Any]:
		url = f"http://127.0.0.1:{self.status_port}/status.json"
		with urllib.request.urlopen(url, timeout=5) as answer:
			return json.load(answer)

	def cpu_seconds(self) -> float:
		"""Processor time that the listener's process has used."""
		assert self._process
		ticks = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
		return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")

	def log_text(self) -> str:
		return self.log.read_text(errors="replace")


def bench_command(*arguments: str) -> list[str]:
	"""The command line of ``bench --site <test site> ...`` by this interpreter."""
	site = os.environ["HIKVISION_TEST_SITE"]
	return [sys.executable, "-m", "frappe.utils.bench_helper", "frappe", "--site", site, *arguments]


def free_port() -> int:
	with socket.socket() as probe:
		probe.bind(("127.0.0.1", 0))
		return probe.getsockname()[1]


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
	"""The first true answer of ``condition``, asked in fresh transactions; AssertionError after ``seconds``."""
	deadline = time.monotonic() + seconds
	while True:
		frappe.db.rollback()
		if answer := condition():
			return answer
		assert time.monotonic() < deadline, f"waited {seconds} s for {what or condition}"
		time.sleep(0.05)


def register_terminal(terminal: SimulatedDevice, doors: Sequence[dict[str, Any]] = (), **values: Any) -> Any:
	"""A Hikvision Device that points to a simulated terminal."""
	from tests.bench.factories import create_test_device

	given = {
		"port": terminal.port,
		"user": terminal.user,
		"password": terminal.password,
		"doors": list(doors) or [{"door_no": 1, "direction": "In"}],
	}
	return create_test_device(**{**given, **values})
