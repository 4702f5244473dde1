"""Where a soak's listeners deliver to, and how it reads back what became of it."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from hikvision_frappe.core.gaps import Gap
from hikvision_frappe.listener.local_site import LocalSite, StoredEvent
from hikvision_frappe.listener.site import DeviceConfig
from hikvision_frappe.soak.town import configs_to_text


class Target(Protocol):
	"""A site under test: a local ledger, or a bench.

	patience: how many times longer than a local ledger's anything of it takes.
	"""

	patience: float

	def enter(self, configs: Sequence[DeviceConfig]) -> None:
		"""Enter the devices at the site; makes the ledger where there is none."""

	def listener_command(self, name: str, push_port: int) -> Sequence[str]:
		"""How to start a listener that works for it, as a process of its own."""

	def go_away(self, away: bool) -> None:
		"""Make the site unable to answer, or able again."""

	def hold(self, seconds: float) -> None:
		"""Keep everybody from writing for a while; blocks."""

	def stored(self) -> int:
		"""How many rows the ledger has."""

	def rows(self) -> list[StoredEvent]: ...

	def gaps(self) -> list[Gap]: ...


class LocalTarget:
	"""A ledger in a file of the soak's own folder."""

	patience = 1.0

	def __init__(self, folder: Path) -> None:
		self._folder = folder
		self._ledger = folder / "ledger.sqlite3"

	def enter(self, configs: Sequence[DeviceConfig]) -> None:
		(self._folder / "devices.json").write_text(configs_to_text(configs))
		self.gaps()  # makes the ledger, before two listeners do it at the same time

	def listener_command(self, name: str, push_port: int) -> Sequence[str]:
		module = "hikvision_frappe.soak.listener"
		return [sys.executable, "-m", module, str(self._folder), name, str(push_port)]

	def go_away(self, away: bool) -> None:
		if away:
			(self._folder / "away").touch()
		else:
			(self._folder / "away").unlink(missing_ok=True)

	def hold(self, seconds: float) -> None:
		with self._connected() as connection:
			connection.execute("BEGIN IMMEDIATE")
			time.sleep(seconds)
			connection.execute("ROLLBACK")

	def stored(self) -> int:
		with self._connected() as connection:
			return int(connection.execute("SELECT COUNT(*) FROM event").fetchone()[0])

	@contextmanager
	def _connected(self) -> Iterator[sqlite3.Connection]:
		connection = sqlite3.connect(self._ledger, isolation_level=None, timeout=30)
		try:
			yield connection
		finally:
			connection.close()

	def rows(self) -> list[StoredEvent]:
		with self._site() as site:
			return site.rows()

	def gaps(self) -> list[Gap]:
		with self._site() as site:
			return site.gaps()

	@contextmanager
	def _site(self) -> Iterator[LocalSite]:
		site = LocalSite(self._ledger)
		try:
			yield site
		finally:
			site.close()
