"""Run a benchmark with the Python, the services and the test site of a Frappe bench (FRAPPE_BENCH)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))


def ensure_bench() -> None:
	"""Return inside the bench's Python; anywhere else start this script there and exit with its code."""
	if "HIKVISION_TEST_SITE" in os.environ:
		return
	from tests.bench.harness import find_bench, prepare

	bench = find_bench()
	if bench is None:
		raise SystemExit("This benchmark needs a Frappe bench with erpnext and hrms: set FRAPPE_BENCH.")
	with prepare(bench, REPO) as prepared:
		command = [str(bench.python), *sys.argv]
		raise SystemExit(subprocess.run(command, cwd=REPO, env=prepared.environment).returncode)


@contextmanager
def test_site() -> Iterator[str]:
	"""The test site, connected and empty of test data before and after."""
	import frappe

	from tests.bench.factories import clear_test_data

	site = os.environ["HIKVISION_TEST_SITE"]
	os.chdir(os.environ["HIKVISION_TEST_SITES"])
	frappe.init(site=site, sites_path=".")
	frappe.connect()
	clear_test_data()
	try:
		yield site
	finally:
		frappe.db.rollback()
		clear_test_data()
		frappe.destroy()
