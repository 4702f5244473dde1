"""What the benchmarks share: processes of their own, what they cost, and the last line."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]


def finish(**figures: Any) -> None:
	"""Print the result as the last line: one JSON object, floats rounded to what they are worth."""
	rounded = {
		name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()
	}
	print(json.dumps(rounded), flush=True)


def many_files() -> None:
	"""Allow this process as many open sockets as the system lets it."""
	_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
	resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True, slots=True)
class Cost:
	"""Of one process over a time: share of one core in percent, resident memory in MB at its end."""

	cpu_percent: float
	rss_mb: float


class Role:
	"""Another process of the same benchmark, which talks in lines: ``python SCRIPT role ARGUMENTS``."""

	def __init__(self, script: str, role: str, *arguments: object) -> None:
		self._process = subprocess.Popen(
			[sys.executable, script, role, *map(str, arguments)],
			stdin=subprocess.PIPE,
			stdout=subprocess.PIPE,
			text=True,
			env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])},
		)
		self._measured = psutil.Process(self._process.pid)

	def read(self) -> Any:
		"""The next line of the process, which is JSON."""
		assert self._process.stdout is not None
		line = self._process.stdout.readline()
		if not line:
			raise RuntimeError(f"a process of the benchmark ended with {self._process.wait()}")
		return json.loads(line)

	def tell(self, word: str) -> None:
		assert self._process.stdin is not None
		self._process.stdin.write(word + "\n")
		self._process.stdin.flush()

	def cost_of(self, seconds: float) -> Cost:
		"""What the process uses during the next so many seconds."""
		before, began = self._cpu_seconds(), time.monotonic()
		time.sleep(seconds)
		used, elapsed = self._cpu_seconds() - before, time.monotonic() - began
		return Cost(used / elapsed * 100.0, self._measured.memory_info().rss / 1e6)

	def cpu_seconds(self) -> float:
		"""Used since the start of the process."""
		return self._cpu_seconds()

	def end(self) -> None:
		with contextlib.suppress(OSError, ValueError):
			self._process.stdin.close()  # type: ignore[union-attr]
		try:
			self._process.wait(20)
		except subprocess.TimeoutExpired:
			self._process.kill()
			self._process.wait()

	def _cpu_seconds(self) -> float:
		times = self._measured.cpu_times()
		return float(times.user + times.system)


@contextlib.contextmanager
def roles_end(roles: Sequence[Role]) -> Iterator[None]:
	"""Whatever happens, no process is left behind."""
	try:
		yield
	finally:
		for role in roles:
			role.end()


def _python_path() -> list[str]:
	return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def say(line: object) -> None:
	"""Tell the benchmark one JSON line, from one of its processes."""
	print(json.dumps(line), flush=True)
