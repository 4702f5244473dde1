"""Everything a run needs, made or brought up to date: one call for tests and benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.harness.bench import Bench
from tests.bench.harness.packages import install_missing
from tests.bench.harness.services import start_services
from tests.bench.harness.sites import TestSite, ensure_base, environment, write_bench_files

REPO = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Prepared:
	"""A site with the app of this checkout, and the environment for processes that use it."""

	bench: Bench
	site: TestSite

	@property
	def environment(self) -> dict[str, str]:
		return {
			**environment(self.bench, self.site.repo),
			"FRAPPE_BENCH": str(self.bench.root),
			"HIKVISION_TEST_SITE": self.site.name,
			"HIKVISION_TEST_SITES": str(self.bench.sites),
		}


@contextmanager
def prepare(bench: Bench, repo: Path = REPO, slot: str | None = None) -> Iterator[Prepared]:
	"""Hold the slot's site for this run. HIKVISION_BENCH_SLOT names a site of one's own for runs side by side."""
	slot = os.environ.get("HIKVISION_BENCH_SLOT", "") if slot is None else slot
	site = TestSite(bench, repo, slot)
	with bench.lock("base"):
		start_services(bench)
		install_missing(bench, repo)
		write_bench_files(bench)
		ensure_base(bench, repo)
	with bench.lock(site.name):
		site.ensure_app()
		yield Prepared(bench, site)
