"""Where the bench is, and where our own files in it are: its sites and apps are never written to."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK_WAIT = 30 * 60


@dataclass(frozen=True)
class Bench:
	root: Path

	@property
	def python(self) -> Path:
		return self.root / "env" / "bin" / "python"

	@property
	def home(self) -> Path:
		"""Everything the tests keep in a bench."""
		return self.root / "hikvision-tests"

	@property
	def sites(self) -> Path:
		return self.home / "sites"

	@property
	def packages(self) -> Path:
		return self.home / "packages"

	@property
	def base_dump(self) -> Path:
		"""A site with erpnext and hrms set up, before our app."""
		return self.home / "base.sql.gz"

	@property
	def config(self) -> dict[str, Any]:
		return json.loads((self.root / "sites" / "common_site_config.json").read_text())

	@property
	def apps(self) -> list[str]:
		return (self.root / "sites" / "apps.txt").read_text().split()

	def own_folder(self) -> None:
		"""Make the folders that Frappe expects around a sites directory."""
		for folder in (self.home / "logs", self.sites):
			folder.mkdir(parents=True, exist_ok=True)

	@contextmanager
	def lock(self, name: str) -> Iterator[None]:
		"""Keep other checkouts out; waits half an hour at most."""
		self.own_folder()
		with open(self.home / f"{name}.lock", "w") as handle:
			_wait_for(handle, name)
			yield


def _wait_for(handle: Any, name: str) -> None:
	deadline = time.monotonic() + LOCK_WAIT
	told = False
	while True:
		try:
			fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
			return
		except BlockingIOError:
			if not told:
				print(f"waiting for another run to release {name} ...", file=sys.stderr, flush=True)
				told = True
			if time.monotonic() > deadline:
				raise SystemExit(f"{name} was locked by another run for half an hour") from None
			time.sleep(0.5)


def find_bench() -> Bench | None:
	"""The bench of FRAPPE_BENCH, or ~/frappe-bench; None when there is none with erpnext and hrms."""
	root = Path(os.environ.get("FRAPPE_BENCH") or "~/frappe-bench").expanduser()
	bench = Bench(root.resolve())
	if not bench.python.exists() or not (root / "sites" / "apps.txt").exists():
		return None
	return bench if {"erpnext", "hrms"} <= set(bench.apps) else None
