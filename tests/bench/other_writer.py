"""Somebody else who makes check-ins while the drain works: HRMS's own document in a loop, in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
PAUSE = 0.02  # between two check-ins: fifty people a second at most, who do not wait for each other
FIRST_TIME = datetime(2019, 1, 1)


@dataclass(frozen=True)
class Waits:
	"""Seconds that one check-in took: all of it until its commit, and of that until the series gave it a name."""

	whole: float
	name: float


class OtherWriter:
	"""The process; use as a context manager."""

	def __init__(self, employees: Sequence[str]) -> None:
		self._process = subprocess.Popen(
			[sys.executable, __file__, *employees],
			stdin=subprocess.PIPE,
			stdout=subprocess.PIPE,
			text=True,
			cwd=os.environ["HIKVISION_TEST_SITES"],
			env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])},
		)

	def __enter__(self) -> OtherWriter:
		assert self._read() == "ready"
		return self

	def __exit__(self, *_: object) -> None:
		assert self._process.stdin
		self._process.stdin.close()
		self._process.wait(30)

	def begin(self) -> None:
		"""Make check-ins from now on."""
		self._say("begin")

	def end(self) -> list[Waits]:
		"""Stop making them; how long each took since ``begin``. Raises what the process met."""
		self._say("end")
		answer = self._read()
		if isinstance(answer, str):
			raise AssertionError(answer)
		return [Waits(*each) for each in answer]

	def _say(self, word: str) -> None:
		assert self._process.stdin
		self._process.stdin.write(word + "\n")
		self._process.stdin.flush()

	def _read(self) -> Any:
		assert self._process.stdout
		return json.loads(self._process.stdout.readline() or '"the other writer ended"')


def percentile(seconds: Sequence[float], percent: int) -> float:
	"""Milliseconds within which so many percent were done."""
	return round(statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000, 1)


def _write(employees: Sequence[str]) -> None:
	import frappe

	frappe.init(site=os.environ["HIKVISION_TEST_SITE"], sites_path=".")
	frappe.connect()
	times = itertools.count()
	_make(employees[0], next(times))  # warm
	print(json.dumps("ready"), flush=True)
	while sys.stdin.readline():
		print(json.dumps(_until_told(employees, times)), flush=True)


def _until_told(employees: Sequence[str], times: Any) -> list[tuple[float, float]] | str:
	waits: list[tuple[float, float]] = []
	try:
		while not select.select([sys.stdin], [], [], PAUSE)[0]:
			number = next(times)
			waits.append(_make(employees[number % len(employees)], number))
	except Exception as error:
		sys.stdin.readline()
		return f"{type(error).__name__}: {error}"
	sys.stdin.readline()
	return waits


def _make(employee: str, number: int) -> tuple[float, float]:
	import frappe

	begin = time.perf_counter()
	with _series_statements() as naming:
		frappe.get_doc(
			{
				"doctype": "Employee Checkin",
				"employee": employee,
				"time": FIRST_TIME + timedelta(minutes=number),
				"log_type": "IN",
			}
		).insert()
	frappe.db.commit()
	return time.perf_counter() - begin, sum(naming)


@contextmanager
def _series_statements() -> Iterator[list[float]]:
	"""Seconds of each statement that asks for the series."""
	import frappe

	seconds: list[float] = []
	original = frappe.db.sql

	def timed(query: Any, *args: Any, **kwargs: Any) -> Any:
		begin = time.perf_counter()
		answer = original(query, *args, **kwargs)
		if "tabSeries" in str(query):
			seconds.append(time.perf_counter() - begin)
		return answer

	frappe.db.sql = timed
	try:
		yield seconds
	finally:
		frappe.db.sql = original


if __name__ == "__main__":
	_write(sys.argv[1:])
