"""MariaDB and Redis of the bench: started when they are down, waited for until they answer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.harness.bench import Bench

PATIENCE = 60
LOCAL = {"127.0.0.1", "localhost", "::1"}


def start_services(bench: Bench) -> None:
	"""Raise SystemExit when a service neither answers nor can be started within a minute."""
	config = bench.config
	_ensure("MariaDB", database_answers(config), _start_mariadb)
	for key in ("redis_cache", "redis_queue"):
		url = urlsplit(config[key])
		conf = bench.root / "config" / f"{key}.conf"
		_ensure(key, redis_answers(url.hostname, url.port), lambda conf=conf: _start_redis(conf))


def _ensure(name: str, answers: Callable[[], bool], start: Callable[[], None]) -> None:
	if answers():
		return
	print(f"starting {name} ...", flush=True)
	start()
	deadline = time.monotonic() + PATIENCE
	while not answers():
		if time.monotonic() > deadline:
			raise SystemExit(f"{name} does not answer and could not be started")
		time.sleep(0.2)


def database_answers(config: dict[str, Any]) -> Callable[[], bool]:
	"""The server's greeting tells more than an open port: it comes when the server is ready."""
	host, port = config.get("db_host") or "127.0.0.1", int(config.get("db_port") or 3306)
	return lambda: len(_talk(host, port)) > 5


def redis_answers(host: str | None, port: int | None) -> Callable[[], bool]:
	return lambda: _talk(host or "127.0.0.1", port or 6379, b"PING\r\n").startswith(b"+PONG")


def _talk(host: str, port: int, say: bytes = b"") -> bytes:
	try:
		with socket.create_connection((host, port), timeout=2) as connection:
			connection.sendall(say)
			return connection.recv(100)
	except OSError:
		return b""


def _start_mariadb() -> None:
	if shutil.which("service") and _run(["service", "mariadb", "start"]) == 0:
		return
	run_directory = Path("/run/mysqld")
	run_directory.mkdir(parents=True, exist_ok=True)
	shutil.chown(run_directory, "mysql", "mysql")
	subprocess.Popen(
		["mysqld_safe"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
	)


def _start_redis(conf: Path) -> None:
	_run(["redis-server", str(conf), "--daemonize", "yes"])


def _run(command: list[str]) -> int:
	# A pipe would be inherited by the daemon, and reading it would never end.
	return subprocess.run(
		command,
		stdin=subprocess.DEVNULL,
		stdout=subprocess.DEVNULL,
		stderr=subprocess.DEVNULL,
		env=os.environ,
	).returncode
