"""The site's real web server, as a bench runs it in production: gunicorn with two workers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

PATIENCE = 60


@dataclass(frozen=True)
class Reply:
	status: int
	body: bytes
	headers: Mapping[str, str]


class WebServer:
	"""``with WebServer() as server: server.post(...)``; environment variables of this process apply to it."""

	def __init__(
		self,
		site: str = "",
		workers: int = 2,
		environment: Mapping[str, str] | None = None,
		application: str = "frappe.app:application",
	) -> None:
		self.site = site or os.environ["HIKVISION_TEST_SITE"]
		self.port = _free_port()
		self._workers = workers
		self._application = application
		self._environment = {**os.environ, **(environment or {})}
		self._process: subprocess.Popen[bytes] | None = None

	def __enter__(self) -> WebServer:
		options = [
			f"--bind=127.0.0.1:{self.port}",
			f"--workers={self._workers}",
			"--worker-class=gthread",
			"--threads=4",
			"--timeout=120",
			"--preload",
		]
		self._process = subprocess.Popen(
			[sys.executable, "-m", "gunicorn", *options, self._application],
			cwd=os.environ["HIKVISION_TEST_SITES"],
			env=self._environment,
			stdout=subprocess.DEVNULL,
			stderr=subprocess.PIPE if "HIKVISION_QUIET" in os.environ else None,
		)
		self._wait_until_it_answers()
		return self

	def __exit__(self, *_: object) -> None:
		assert self._process is not None
		self._process.send_signal(signal.SIGTERM)
		try:
			self._process.wait(15)
		except subprocess.TimeoutExpired:
			self._process.kill()
			self._process.wait()

	def _wait_until_it_answers(self) -> None:
		deadline = time.monotonic() + PATIENCE
		while time.monotonic() < deadline:
			with contextlib.suppress(OSError, http.client.HTTPException):
				if self.request("GET", "/api/method/ping").status == 200:
					return
			assert self._process is not None
			assert self._process.poll() is None, "the web server ended"
			time.sleep(0.1)
		raise AssertionError("the web server does not answer")

	def request(
		self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
	) -> Reply:
		connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
		try:
			connection.request(method, path, body, {"Host": self.site, **(headers or {})})
			response = connection.getresponse()
			return Reply(response.status, response.read(), dict(response.headers))
		finally:
			connection.close()

	def post(self, path: str, body: bytes, content_type: str = "application/json", **headers: str) -> Reply:
		named = {name.replace("_", "-"): value for name, value in headers.items()}
		return self.request("POST", path, body, {"Content-Type": content_type, **named})


def _free_port() -> int:
	with socket.socket() as probe:
		probe.bind(("127.0.0.1", 0))
		return int(probe.getsockname()[1])
