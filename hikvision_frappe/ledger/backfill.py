"""``bench hikvision backfill``: read a stretch of time of devices' histories, here or by the listener that holds them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import click
import frappe
from frappe.utils import getdate

from hikvision_frappe.ledger import history
from hikvision_frappe.ledger.devices import reads_history
from hikvision_frappe.ledger.instants import naive, site_zone, utc_now
from hikvision_frappe.ledger.listeners import live_listeners
from hikvision_frappe.listener.site import HistoryState, SiteUnavailable

LOOK_SECONDS = 0.5
# One that is taken up by nobody: the listener that held the device has gone, or somebody else reads the device.
UNTOUCHED_SECONDS = 120.0
WAITING = (HistoryState.QUEUED.value, HistoryState.RUNNING.value)


def run_backfill(site: str, devices: Sequence[str], since: str, until: str | None) -> bool:
	"""Read the histories of the named devices, or of all; True when each was proven complete.

	since, until: naive site time as typed. Raises ClickException for what was typed wrong.
	"""
	frappe.init(site=site)
	frappe.connect()
	try:
		readings = _ask(_find(devices), *_stretch(since, until, site_zone()))
		return _watch(site, readings)
	finally:
		frappe.destroy()


def _find(names: Sequence[str]) -> list[Any]:
	rows = frappe.get_all(
		"Hikvision Device",
		filters={"enabled": 1},
		fields=["name", "title", "mode", "history", "host", "leased_by", "leased_until"],
		order_by="title",
	)
	if not names:
		found = [row for row in rows if reads_history(row)]
		if not found:
			raise click.ClickException("No enabled device has a history that may be read.")
		return found
	return [_named(name, rows) for name in dict.fromkeys(names)]


def _named(name: str, rows: Sequence[Any]) -> Any:
	found = [row for row in rows if name in (row.name, row.title)]
	if len(found) != 1:
		problem = "Several devices are" if found else "No enabled device is"
		raise click.ClickException(f"{problem} called {name}: use the name at the end of the form's address.")
	if not reads_history(found[0]):
		raise click.ClickException(
			f"The history of {name} may not be read: switch it on in its form, and enter its host."
		)
	return found[0]


def _stretch(since: str, until: str | None, zone: ZoneInfo) -> tuple[datetime, datetime]:
	"""Aware instants; in the repeated hour the longer of the two readings."""
	begin = _time(since, time.min).replace(tzinfo=zone, fold=0)
	end = _time(until, time.max).replace(tzinfo=zone, fold=1) if until else utc_now()
	return begin.astimezone(timezone.utc), end.astimezone(timezone.utc)


def _time(text: str, of_day: time) -> datetime:
	"""A naive time; a day alone has the time that is given."""
	try:
		if len(text.strip()) <= len("2026-03-01"):
			return datetime.combine(getdate(text.strip()), of_day)
		return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
	except (ValueError, TypeError, frappe.ValidationError):
		raise click.ClickException(
			f'{text} is not a time: write "2026-03-01" or "2026-03-01 08:00".'
		) from None


def _ask(devices: Sequence[Any], since: datetime, until: datetime) -> dict[str, Any]:
	"""Queue the readings; the device of each by the reading's name."""
	try:
		readings = {history.ask(device.name, since, until, frappe.session.user): device for device in devices}
	except frappe.ValidationError as error:
		raise click.ClickException(str(error)) from None
	frappe.db.commit()  # nosemgrep: whoever reads them must see them
	return readings


def _watch(site: str, readings: dict[str, Any]) -> bool:
	"""Show how far the readings are until all are over, and what they came to."""
	reader = _Reader(site, [device.name for device in readings.values() if not _is_held(device)])
	reader.start()
	rows: list[Any] = []
	with click.progressbar(length=100, label=f"reading {len(readings)} histories") as bar:
		while True:
			rows = _rows(readings)
			bar.update(max(0, int(sum(_share(row) for row in rows) / len(readings) * 100) - bar.pos))
			if reader.is_done(rows):
				break
			reader.join(LOOK_SECONDS)
	for row in rows:
		click.echo(_result(row, readings[row.name].title))
	if reader.error:
		click.secho(f"The site cannot answer now ({reader.error}). What was read is kept.", fg="yellow")
	return all(row.state == HistoryState.PROVEN.value for row in rows) and len(rows) == len(readings)


def _is_held(device: Any) -> bool:
	"""Whether a listener that lives has the device's lease: it reads the history, nobody else may."""
	lives = device.leased_by in {each["listener"] for each in live_listeners()}
	return lives and bool(device.leased_until) and device.leased_until > naive(utc_now())


class _Reader(threading.Thread):
	"""Reads what no listener holds, in a thread with a connection of its own."""

	def __init__(self, site: str, devices: Sequence[str]) -> None:
		super().__init__(name="reader", daemon=True)
		self.error = ""
		self._site, self._devices = site, devices
		self._untouched_until = utc_now() + timedelta(seconds=UNTOUCHED_SECONDS)

	def run(self) -> None:
		if not self._devices:
			return
		try:
			asyncio.run(history.read(self._site, self._devices))
		except SiteUnavailable as error:
			self.error = str(error)

	def is_done(self, rows: Sequence[Any]) -> bool:
		"""Whether nothing more will come of the readings while we watch."""
		if self.is_alive():
			return False
		if any(row.state == HistoryState.RUNNING.value for row in rows):
			return False
		waits = any(row.state == HistoryState.QUEUED.value for row in rows)
		return not waits or bool(self.error) or utc_now() > self._untouched_until


def _rows(names: Sequence[str] | dict[str, Any]) -> list[Any]:
	frappe.db.rollback()  # nosemgrep: a fresh snapshot
	return frappe.get_all(
		history.DOCTYPE,
		filters={"name": ["in", list(names)]},
		fields=[
			"name",
			"state",
			"rows",
			"new_rows",
			"total",
			"reason",
			"since_utc",
			"until_utc",
			"read_until_utc",
		],
		order_by="creation, name",
	)


def _share(row: Any) -> float:
	if row.state not in WAITING:
		return 1.0
	if row.total:
		return min(1.0, row.rows / row.total)
	if row.read_until_utc:
		span = (row.until_utc - row.since_utc).total_seconds() or 1.0
		return min(1.0, max(0.0, (row.read_until_utc - row.since_utc).total_seconds() / span))
	return 0.0


def _result(row: Any, title: str) -> str:
	counted = f"{row.rows} records, {row.new_rows} new"
	if row.state == HistoryState.PROVEN.value:
		return f"{title}: {counted}, proven complete"
	if row.state in WAITING:
		return f"{title}: {counted}, still waiting: nobody reads it now"
	return f"{title}: {counted}, {row.state.lower()}: {row.reason or 'no reason given'}"
