"""The demo from beginning to end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.demo.scene import Scene, open_scene
from hikvision_frappe.demo.verdict import Verdict, judge
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import ConnectionState, IngestMode
from hikvision_frappe.listener.supervisor import ANY_PORT, Listener, ListenerSettings

PASSES_PER_SECOND = 8.0
START_SECONDS = 20.0
DRAIN_SECONDS = 60.0
PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
	"""seconds: how long people pass. status_port: ANY_PORT for a free one. keep: leave ledger and spool behind."""

	seconds: float
	status_port: int = ANY_PORT
	keep: bool = False


class CommitTimes:
	"""When each event's row was first committed, by device key and serial number; UTC seconds."""

	def __init__(self) -> None:
		self.first: dict[tuple[str, int], float] = {}

	def note(self, events: Sequence[AccessEvent], at: float) -> None:
		for event in events:
			if event.serial_no is not None:
				self.first.setdefault((event.device, event.serial_no), at)


async def run_demo(options: DemoOptions, say: Callable[[str], None]) -> Verdict:
	"""Start everything, let people pass, wait until all of it is stored, stop everything, count."""
	folder = Path(tempfile.mkdtemp(prefix="hikvision-demo-"))
	try:
		async with open_scene(PASSES_PER_SECOND) as scene:
			verdict = await _show(options, scene, folder, say)
	finally:
		if not options.keep:
			shutil.rmtree(folder, ignore_errors=True)
	if options.keep:
		say(f"Ledger and spool are kept in {folder}")
	return verdict


async def _show(options: DemoOptions, scene: Scene, folder: Path, say: Callable[[str], None]) -> Verdict:
	commits = CommitTimes()
	site = LocalSite(folder / "ledger.sqlite3", scene.configs, on_commit=commits.note)
	settings = ListenerSettings(
		spool_path=folder / "spool" / "spool.sqlite3",
		push_host="127.0.0.1",
		push_port=ANY_PORT,
		status_port=options.status_port,
		poll_seconds=2.0,
	)
	listener = Listener(site, settings)
	stop = asyncio.Event()
	running = asyncio.create_task(listener.run(stop))
	try:
		await _until(listener.ready.is_set, running, START_SECONDS)
		_introduce(scene, listener, say)
		await _until(lambda: _connected(scene, listener) == _streaming(scene), running, START_SECONDS)
		progress = asyncio.create_task(_tell_progress(scene, listener, commits))
		try:
			await scene.let_people_pass(options.seconds)
			await _until(lambda: len(commits.first) >= scene.sent, running, DRAIN_SECONDS)
		finally:
			progress.cancel()
			await asyncio.gather(progress, return_exceptions=True)
		reconnects = sum(track.reconnects for track in listener.tracks.values())
	finally:
		stop.set()
		await running
	return _count(scene, folder, commits, reconnects)


def _count(scene: Scene, folder: Path, commits: CommitTimes, reconnects: int) -> Verdict:
	"""Read the ledger back from its file; the listener's own figures are not asked."""
	ledger = LocalSite(folder / "ledger.sqlite3")
	try:
		return judge(scene.records, ledger.rows(), commits.first, reconnects)
	finally:
		ledger.close()


async def _until(condition: Callable[[], bool], running: asyncio.Task[None], seconds: float) -> None:
	"""Wait for the condition, at most so long; the count afterwards says what is missing. A listener that ends
	by itself raises what ended it."""
	deadline = time.monotonic() + seconds
	while not condition() and time.monotonic() < deadline:
		if running.done():
			running.result()
			return
		await asyncio.sleep(0.05)


def _introduce(scene: Scene, listener: Listener, say: Callable[[str], None]) -> None:
	assert listener.parts is not None
	scene.point_pushes_to(listener.parts.push.port)
	for terminal in scene.terminals:
		how = "streams from" if terminal.config.mode is IngestMode.STREAM else "pushes to us from"
		say(f"{terminal.config.title}: {terminal.device.profile.model} {how} {terminal.device.url}")
	port = listener.parts.status.port
	say(f"Status page: http://127.0.0.1:{port}/  (also /status.json and /metrics)")


def _streaming(scene: Scene) -> int:
	return sum(config.mode is IngestMode.STREAM for config in scene.configs)


def _connected(scene: Scene, listener: Listener) -> int:
	streaming = {config.key for config in scene.configs if config.mode is IngestMode.STREAM}
	return sum(
		track.state is ConnectionState.CONNECTED
		for track in listener.tracks.values()
		if track.device in streaming
	)


async def _tell_progress(scene: Scene, listener: Listener, commits: CommitTimes) -> None:
	"""One line that changes on a terminal, a line every few seconds elsewhere."""
	terminal = sys.stdout.isatty()
	began = time.monotonic()
	with contextlib.suppress(asyncio.CancelledError):
		while True:
			await asyncio.sleep(0.5 if terminal else PROGRESS_SECONDS)
			line = _progress(time.monotonic() - began, scene, listener, commits)
			print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", flush=True)
	if terminal:
		print(flush=True)


def _progress(seconds: float, scene: Scene, listener: Listener, commits: CommitTimes) -> str:
	depth = listener.parts.spool.depth if listener.parts else 0
	connected = f"{_connected(scene, listener)}/{_streaming(scene)}"
	return (
		f"{seconds:4.0f} s  sent {scene.sent}  stored {len(commits.first)}  in the spool {depth}  "
		f"streams {connected}  cut {scene.cuts}"
	)
