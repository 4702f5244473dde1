"""The drain as a process: woken by the ledger, looking by itself every second, and outliving every outage.

Between two slices the keeper looks after gaps and watermarks, which follow what is drained.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import FrameType

import frappe

from hikvision_frappe.attendance.drain import DrainResult, drain
from hikvision_frappe.attendance.failures import is_interruption
from hikvision_frappe.attendance.keeper import Keeper
from hikvision_frappe.ledger import signal as wake

logger = logging.getLogger("hikvision.drain")

POLL_SECONDS = 1.0  # without a wake the ledger is asked this often
FRESH_SECONDS = 1.0  # settings, caches and maintenance mode are never older than this
SLICE_SECONDS = 3.0  # one drain takes no longer, so that a live drain says so often enough and stops soon
SLICE_EVENTS = 500
PAUSES = (1.0, 30.0)  # after a failure: doubling, from and to
JOB_SECONDS = 240.0  # of the 300 that a job in the default queue has


def run_drain(site: str, once: bool = False, until_input_ends: bool = False) -> None:
	"""``bench hikvision drain``: work off the ledger of a site; ``once`` ends when nothing waits any more.

	until_input_ends: stop, too, when the standard input ends, which a listener holds open as long as it lives: one that
	was killed starts another drain with its successor, and this one would stay for ever.
	"""
	logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
	if once:
		_run_once(site)
		return
	stop = threading.Event()
	for number in (signal.SIGTERM, signal.SIGINT):
		signal.signal(number, _setter(stop))
	if until_input_ends:
		threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
	run_drain_loop(site, stop)


def _setter(stop: threading.Event):
	def handle(_number: int, _frame: FrameType | None) -> None:
		stop.set()

	return handle


def _stop_at_end_of_input(stop: threading.Event) -> None:
	while os.read(sys.stdin.fileno(), 1024):
		pass
	stop.set()


def _run_once(site: str) -> None:
	connection = SiteConnection(site)
	try:
		connection.renew()
		result = work_off()
		logger.info(
			"settled %d passes%s", result.settled, "; another drain is at work" if result.busy else ""
		)
	finally:
		connection.close()


def work_off(seconds: float = JOB_SECONDS) -> DrainResult:
	"""Drain the connected site until nothing waits or the time is up; what the background job does.

	Ends, too, when nothing of a slice could be settled: somebody holds all of it, and the sweep comes back.
	Returns the last slice's result with the states of all of them.
	"""
	deadline = time.monotonic() + seconds
	result = slice_ = drain(SLICE_EVENTS, SLICE_SECONDS)
	while slice_.more and slice_.settled and time.monotonic() < deadline:
		slice_ = drain(SLICE_EVENTS, SLICE_SECONDS)
		result = replace(slice_, states=result.states + slice_.states)
	return result


class SiteConnection:
	"""This thread's connection to a site, renewed often: caches, settings and snapshots must not grow old."""

	def __init__(self, site: str, sites_path: str = ".") -> None:
		self.site, self.sites_path = site, sites_path
		self._renewed_at = float("-inf")

	def renew(self) -> None:
		"""Connect anew when the connection is older than FRESH_SECONDS; raises SessionStopped in maintenance."""
		if time.monotonic() - self._renewed_at < FRESH_SECONDS:
			return
		self.close()
		frappe.init(site=self.site, sites_path=self.sites_path)
		if frappe.conf.maintenance_mode:
			raise frappe.SessionStopped("maintenance mode")
		frappe.connect()
		frappe.local.lang = frappe.db.get_default("lang") or "en"
		self._renewed_at = time.monotonic()

	def close(self) -> None:
		"""Forget the connection, whatever state it is in."""
		self._renewed_at = float("-inf")
		if getattr(frappe.local, "site", None):
			with suppress(Exception):
				frappe.destroy()


def run_drain_loop(site: str, stop: threading.Event, sites_path: str = ".") -> None:
	"""Drain the site until ``stop`` is set; owns this thread's Frappe connection.

	Wakes with Redis's signal, and every second without. An outage of the database, of Redis or a migration is
	waited out; the pass that was being worked on is not half done.
	"""
	connection = SiteConnection(site, sites_path)
	outage = Outage()
	keeper = Keeper()
	logger.info("draining %s", site)
	try:
		while not stop.is_set():
			try:
				more = _slice(connection)
				keeper.look()
				outage.over()
			except Exception as error:
				connection.close()
				keeper.interrupted()
				stop.wait(outage.pause_after(error))
				continue
			if not more:
				wake.wait_for_wake(POLL_SECONDS)
	finally:
		connection.close()
		logger.info("stopped")


def _slice(connection: SiteConnection) -> bool:
	"""One drain; whether to go on without waiting."""
	connection.renew()
	with suppress(*wake.REDIS_TROUBLE):
		wake.say_alive()
	result = drain(SLICE_EVENTS, SLICE_SECONDS)
	if result.settled:
		logger.info("settled %d passes: %s", result.settled, dict(result.states))
	return result.more and result.settled > 0


class Outage:
	"""How long to wait between failures, and what to say of them: once at its beginning, once at its end."""

	def __init__(self) -> None:
		self._pause = 0.0

	def pause_after(self, error: Exception) -> float:
		"""Seconds to wait after this failure."""
		if is_interruption(error):
			self._say(logging.WARNING, "the site cannot be worked on (%s); waiting", type(error).__name__)
			self._pause = PAUSES[0]
		else:
			logger.error("the drain failed; trying again", exc_info=error)
			self._pause = min(max(PAUSES[0], self._pause * 2), PAUSES[1])
		return self._pause

	def over(self) -> None:
		if self._pause:
			logger.info("the site can be worked on again")
		self._pause = 0.0

	def _say(self, level: int, text: str, *values: object) -> None:
		if not self._pause:
			logger.log(level, text, *values)
