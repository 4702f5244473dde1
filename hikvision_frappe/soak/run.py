"""A soak from beginning to end: devices and listeners in processes of their own, a storm, a calm, a count."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hikvision_frappe.core.gaps import UNSETTLED
from hikvision_frappe.soak.target import LocalTarget, Target
from hikvision_frappe.soak.town import configs_from_text
from hikvision_frappe.soak.verdict import Made, Verdict, judge

LISTENERS = ("one", "two")
DEVICE_PROCESSES = 2
CONNECT_SECONDS = 5.0  # and a tenth for each device
WARM_SECONDS = 60.0
CALM_SECONDS = 180.0
QUIET_SECONDS = 12.0  # longer than any wait between two attempts
STILL_SECONDS = 25.0  # longer than the keeper's patience, and any wait between two attempts
ANSWER_SECONDS = 60.0
PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SoakOptions:
	"""minutes: how long the storm lasts. rate: passes, mishaps: faults of devices, per second, all devices together."""

	minutes: float = 1.0
	devices: int = 200
	seed: int = 1
	rate: float = 50.0
	mishaps: float = 2.0
	keep: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
	verdict: Verdict
	options: SoakOptions
	faults: Counter[str]
	max_rss_mb: float
	rss_mb: Sequence[float]  # of the listeners, at the beginning and at the end of the storm

	def to_plain(self) -> dict[str, object]:
		return {
			**self.verdict.to_plain(),
			"faults": sum(self.faults.values()),
			"faults_by_kind": dict(sorted(self.faults.items())),
			"minutes": self.options.minutes,
			"devices": self.options.devices,
			"seed": self.options.seed,
			"max_rss_mb": round(self.max_rss_mb, 1),
			"rss_mb": [round(each, 1) for each in self.rss_mb],
		}


Say = Callable[[str], None]


async def run_soak(
	options: SoakOptions, say: Say, make_target: Callable[[Path], Target] = LocalTarget
) -> Outcome:
	"""make_target: the site under test, for a folder in which it may keep files."""
	folder = Path(tempfile.mkdtemp(prefix="hikvision-soak-"))
	try:
		async with AsyncExitStack() as exits:
			return await Soak(options, folder, make_target(folder), say).run(exits)
	finally:
		if options.keep:
			say(f"Everything is kept in {folder}")
		else:
			shutil.rmtree(folder, ignore_errors=True)


class DeviceProcess:
	"""A process of simulated devices, led by one line after the other."""

	def __init__(self, process: asyncio.subprocess.Process, configs: Path, truth: Path) -> None:
		self._process = process
		self.configs = configs
		self.truth = truth
		self.sent = 0
		self.faults: Counter[str] = Counter()

	@classmethod
	async def start(
		cls, number: int, options: SoakOptions, ports: Sequence[int], folder: Path
	) -> DeviceProcess:
		configs, truth = folder / f"configs-{number}.json", folder / f"truth-{number}.jsonl"
		share = options.devices // DEVICE_PROCESSES
		first = number * share
		count = options.devices - first if number == DEVICE_PROCESSES - 1 else share
		values = {
			"first": first,
			"count": count,
			"total": options.devices,
			"rate": options.rate * count / options.devices,
			"mishaps": options.mishaps * count / options.devices,
			"configs": configs,
			"truth": truth,
			"seed": options.seed,
		}
		arguments = [text for name, value in values.items() for text in (f"--{name}", str(value))]
		process = await asyncio.create_subprocess_exec(
			sys.executable,
			"-m",
			"hikvision_frappe.soak.devices",
			*arguments,
			"--ports",
			*map(str, ports),
			stdin=asyncio.subprocess.PIPE,
			stdout=asyncio.subprocess.PIPE,
		)
		devices = cls(process, configs, truth)
		await devices._read_answer()
		return devices

	async def tell(self, command: str) -> None:
		assert self._process.stdin is not None
		self._process.stdin.write(f"{command}\n".encode())
		if command != "end":
			await self._read_answer()

	async def _read_answer(self) -> None:
		assert self._process.stdout is not None
		line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_SECONDS)
		if not line:
			raise RuntimeError("the simulated devices ended by themselves")
		answer = json.loads(line)
		self.sent, self.faults = answer["sent"], Counter(answer["faults"])

	async def end(self) -> None:
		with contextlib.suppress(BrokenPipeError, ConnectionResetError):
			await self.tell("end")
		try:
			await asyncio.wait_for(self._process.wait(), ANSWER_SECONDS)
		except asyncio.TimeoutError:
			self._process.kill()


class ListenerProcess:
	"""A listener that is killed and started again; the same name, spool and port each time."""

	def __init__(self, name: str, port: int, target: Target, log: Path) -> None:
		self._name = name
		self._port = port
		self._target = target
		self._log = log
		self._process: asyncio.subprocess.Process | None = None

	async def start(self) -> None:
		if self._process is None:
			with self._log.open("ab") as log:
				self._process = await asyncio.create_subprocess_exec(
					*self._target.listener_command(self._name, self._port), stdout=log, stderr=log
				)

	async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
		process, self._process = self._process, None
		if process is None:
			return
		with contextlib.suppress(ProcessLookupError):
			process.send_signal(number)
		try:
			await asyncio.wait_for(process.wait(), 30)
		except asyncio.TimeoutError:
			process.kill()
			await process.wait()

	@property
	def has_ended(self) -> bool:
		"""Whether it ended although nobody told it to."""
		return self._process is not None and self._process.returncode is not None

	@property
	def rss_mb(self) -> float:
		"""Resident memory, 0 when it does not run or the system does not tell."""
		if self._process is None:
			return 0.0
		try:
			pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
		except (OSError, ValueError, IndexError):
			return 0.0
		return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


class Soak:
	"""One run in one folder."""

	def __init__(self, options: SoakOptions, folder: Path, target: Target, say: Say) -> None:
		self._options = options
		self._folder = folder
		self._target = target
		self._say = say
		self._dice = random.Random(options.seed)  # noqa: S311 a simulation
		self._began = time.monotonic()
		self._faults: Counter[str] = Counter()
		self._devices: list[DeviceProcess] = []
		self._listeners: list[ListenerProcess] = []
		self._most_rss = 0.0
		self._since = 0.0

	async def run(self, exits: AsyncExitStack) -> Outcome:
		ports = [free_port() for _ in LISTENERS]
		for number in range(DEVICE_PROCESSES):
			devices = await DeviceProcess.start(number, self._options, ports, self._folder)
			exits.push_async_callback(devices.end)
			self._devices.append(devices)
		self._enter_devices()
		for name, port in zip(LISTENERS, ports, strict=True):
			listener = ListenerProcess(name, port, self._target, self._folder / f"{name}.log")
			exits.push_async_callback(listener.stop)
			self._listeners.append(listener)
			await listener.start()
		async with self._progress():
			await self._warm_up()
			rss = [self._rss()]
			await self._storm()
			rss.append(self._rss())
			await self._calm()
		return await self._count(rss)

	def _enter_devices(self) -> None:
		texts = [devices.configs.read_text() for devices in self._devices]
		self._target.enter([config for text in texts for config in configs_from_text(text)])

	async def _warm_up(self) -> None:
		"""Until everybody is heard; what a device made before nobody could promise."""
		await self._tell("one")
		await asyncio.sleep(CONNECT_SECONDS * self._target.patience + self._options.devices / 10)
		before = self._target.stored()
		self._since = time.time()
		await self._tell("one")
		await self._until(
			lambda: self._target.stored() - before >= self._options.devices,
			WARM_SECONDS * self._target.patience,
		)
		self._say(f"{self._options.devices} devices are heard.")

	async def _storm(self) -> None:
		await self._tell("storm")
		mishaps = asyncio.create_task(self._trouble())
		try:
			await asyncio.wait({mishaps}, timeout=self._options.minutes * 60)
			if mishaps.done():
				mishaps.result()
		finally:
			mishaps.cancel()
			await asyncio.gather(mishaps, return_exceptions=True)

	async def _trouble(self) -> None:
		"""What goes wrong beside the devices, one after the other."""
		kinds: dict[str, Callable[[], Awaitable[None]]] = {
			"listener killed": self._kill_listener,
			"listener stopped": self._stop_listener,
			"both listeners killed": self._kill_both,
			"site away": self._site_away,
			"spool full": self._fill_spool,
			"ledger locked": self._lock_ledger,
		}
		pause = min(10.0, self._options.minutes * 60 / 10)
		while True:
			await asyncio.sleep(self._dice.uniform(0.3, 1.7) * pause)
			name = self._dice.choice(list(kinds))
			self._faults[name] += 1
			await kinds[name]()

	async def _kill_listener(self) -> None:
		listener = self._dice.choice(self._listeners)
		await listener.stop(signal.SIGKILL)
		await asyncio.sleep(self._dice.uniform(0.0, 12.0))
		await listener.start()

	async def _stop_listener(self) -> None:
		listener = self._dice.choice(self._listeners)
		await listener.stop()
		await asyncio.sleep(self._dice.uniform(0.0, 12.0))
		await listener.start()

	async def _kill_both(self) -> None:
		for listener in self._listeners:
			await listener.stop(signal.SIGKILL)
		await asyncio.sleep(self._dice.uniform(0.0, 10.0))
		for listener in self._listeners:
			await listener.start()

	async def _site_away(self) -> None:
		await self._away_for(self._dice.uniform(1.0, 8.0))

	async def _fill_spool(self) -> None:
		await self._away_for(self._dice.uniform(20.0, 30.0))

	async def _away_for(self, seconds: float) -> None:
		self._target.go_away(True)
		try:
			await asyncio.sleep(seconds)
		finally:
			self._target.go_away(False)

	async def _lock_ledger(self) -> None:
		await asyncio.to_thread(self._target.hold, self._dice.uniform(1.0, 12.0))

	async def _calm(self) -> None:
		"""Everything is well again: gaps fill, then a last pass at each door tells whether any is left."""
		self._say("The storm is over.")
		self._target.go_away(False)
		await self._tell("calm")
		for listener in self._listeners:
			await listener.start()
		await self._until_still(QUIET_SECONDS)
		await self._tell("one")
		await self._until_still(STILL_SECONDS)

	async def _until_still(self, patience: float) -> None:
		"""Until everything is here, or nothing has changed for so long; sooner where no gap waits for anything."""
		patience, quiet = patience * self._target.patience, QUIET_SECONDS * self._target.patience
		deadline = time.monotonic() + CALM_SECONDS * self._target.patience
		last, since = self._state(), time.monotonic()
		while time.monotonic() < min(deadline, since + (patience if last[1] else quiet)):
			await asyncio.sleep(1.0)
			now = self._state()
			if now != last:
				last, since = now, time.monotonic()
			if self._missing() == 0 and not now[1]:
				return

	def _state(self) -> tuple[int, int]:
		"""Rows, and gaps of which nobody knows yet what becomes of them."""
		return self._target.stored(), sum(gap.state in UNSETTLED for gap in self._target.gaps())

	async def _count(self, rss: Sequence[float]) -> Outcome:
		for listener in self._listeners:
			await listener.stop()
		for devices in self._devices:
			await devices.end()
		lines = [line for devices in self._devices for line in devices.truth.read_text().splitlines()]
		made = [Made.from_line(line) for line in lines]
		verdict = judge(made, self._target.rows(), self._target.gaps(), self._since)
		for record in verdict.examples:
			self._say(f"lost: {record}")
		faults = sum((devices.faults for devices in self._devices), self._faults)
		return Outcome(verdict, self._options, faults, self._most_rss, rss)

	# Small things.

	async def _tell(self, command: str) -> None:
		for devices in self._devices:
			await devices.tell(command)

	def _missing(self) -> int:
		return sum(devices.sent for devices in self._devices) - self._target.stored()

	def _rss(self) -> float:
		return max(listener.rss_mb for listener in self._listeners)

	async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
		deadline = time.monotonic() + seconds
		while not condition():
			if time.monotonic() > deadline:
				self._say("Not everything arrived in time; going on.")
				return
			await asyncio.sleep(0.5)

	@asynccontextmanager
	async def _progress(self) -> AsyncIterator[None]:
		task = asyncio.create_task(self._tell_progress())
		try:
			yield
		finally:
			task.cancel()
			await asyncio.gather(task, return_exceptions=True)

	async def _tell_progress(self) -> None:
		while True:
			await asyncio.sleep(PROGRESS_SECONDS)
			self._most_rss = max(self._most_rss, self._rss())
			for listener, name in zip(self._listeners, LISTENERS, strict=True):
				if listener.has_ended:
					self._say(f"listener {name} ended by itself, see its log")
			self._say(self._line())

	def _line(self) -> str:
		gaps = Counter(gap.state.value for gap in self._target.gaps())
		states = ", ".join(f"{count} {state.lower()}" for state, count in sorted(gaps.items())) or "none"
		return (
			f"{time.monotonic() - self._began:5.0f} s  stored {self._target.stored()}  "
			f"gaps: {states}  memory {self._rss():.0f} MB"
		)


def free_port() -> int:
	with socket.socket() as probe:
		probe.bind(("127.0.0.1", 0))
		return int(probe.getsockname()[1])
