"""Run the listener for a Frappe site: streams and push port here, the drain in a child process beside it.

The drain is a process of its own so that its work (about 8 ms of Python for each check-in) never delays the streams
or the answer to a device.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hikvision_frappe.ledger.site import FrappeSite
from hikvision_frappe.listener.spool import SpoolUnusable
from hikvision_frappe.listener.supervisor import Listener, ListenerSettings

logger = logging.getLogger("hikvision.listen")

RESTART_SECONDS = (1.0, 60.0)  # a drain that dies at once is started again with doubling pauses
STEADY_SECONDS = 60.0  # a drain that lived this long starts again without a pause
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ListenOptions:
	"""What the command line says; ports of 0 switch a server off."""

	push_host: str
	push_port: int
	status_host: str
	status_port: int
	spool_path: str | None = None
	lease_seconds: float = 45.0
	with_drain: bool = True


def run_listener(site: str, options: ListenOptions) -> None:
	"""Listen until SIGTERM or SIGINT; raises SystemExit with a sentence when the site does not exist."""
	logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
	sites_path = Path.cwd()
	if not (sites_path / site / "site_config.json").is_file():
		raise SystemExit(f"There is no site {site} in {sites_path}.")
	spool = (
		Path(options.spool_path) if options.spool_path else sites_path / site / "hikvision" / "spool.sqlite3"
	)
	settings = ListenerSettings(
		spool_path=spool,
		push_host=options.push_host,
		push_port=options.push_port,
		status_host=options.status_host,
		status_port=options.status_port,
		lease_seconds=options.lease_seconds,
	)
	asyncio.run(_run(site, settings, with_drain=options.with_drain))


async def _run(site: str, settings: ListenerSettings, *, with_drain: bool) -> None:
	stop = asyncio.Event()
	loop = asyncio.get_running_loop()
	for number in (signal.SIGTERM, signal.SIGINT):
		loop.add_signal_handler(number, stop.set)
	drain = asyncio.create_task(keep_running(drain_command(site), stop)) if with_drain else None
	try:
		await Listener(FrappeSite(site), settings).run(stop)
	except (SpoolUnusable, OSError) as error:
		raise SystemExit(f"The listener cannot start: {error}") from error
	finally:
		stop.set()
		if drain:
			await drain


def drain_command(site: str) -> list[str]:
	"""The command line of the drain, by the same interpreter and bench as this process.

	Its standard input is a pipe of ours, which ends when this process does, however that comes about.
	"""
	bench = [sys.executable, "-m", "frappe.utils.bench_helper", "frappe", "--site", site]
	return [*bench, "hikvision", "drain", "--until-input-ends"]


async def keep_running(command: Sequence[str], stop: asyncio.Event) -> None:
	"""Run the command and run it again whenever it ends, until ``stop``; then end it and wait for it."""
	loop = asyncio.get_running_loop()
	pause = RESTART_SECONDS[0]
	while not stop.is_set():
		started = loop.time()
		try:
			process = await asyncio.create_subprocess_exec(
				*command, cwd=os.getcwd(), stdin=asyncio.subprocess.PIPE
			)
		except OSError as error:  # no memory or no process left just now
			how = f"could not be started ({type(error).__name__})"
		else:
			await _until_ended_or(process, stop)
			if stop.is_set():
				await _end(process)
				return
			how = f"ended with code {process.returncode}"
		pause = RESTART_SECONDS[0] if loop.time() - started > STEADY_SECONDS else pause
		logger.error("the drain %s; starting it again in %.0f s", how, pause)
		with contextlib.suppress(asyncio.TimeoutError):
			await asyncio.wait_for(stop.wait(), pause)
		pause = min(pause * 2, RESTART_SECONDS[1])


async def _until_ended_or(process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
	ended = asyncio.ensure_future(process.wait())
	stopped = asyncio.ensure_future(stop.wait())
	await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
	for task in (ended, stopped):
		task.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
	if process.returncode is not None:
		return
	process.terminate()
	try:
		await asyncio.wait_for(process.wait(), STOP_SECONDS)
	except asyncio.TimeoutError:
		process.kill()
		await process.wait()
