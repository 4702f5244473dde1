"""Run a benchmark on the tests' bench: by the bench's own Python, on a site with this checkout's app."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))


def main(benchmark: Callable[[], None]) -> None:
	"""Run ``benchmark`` connected to the site; from any other Python, prepare the bench and start over in its own.

	Without a bench it says so and exits with 0.
	"""
	if "HIKVISION_TEST_SITE" not in os.environ:
		sys.exit(_again_on_the_bench())
	import frappe

	os.chdir(os.environ["HIKVISION_TEST_SITES"])
	frappe.init(site=os.environ["HIKVISION_TEST_SITE"], sites_path=".")
	frappe.connect()
	try:
		from tests.bench.factories import clear_test_data

		clear_test_data()
		benchmark()
		clear_test_data()
	finally:
		frappe.destroy()


def _again_on_the_bench() -> int:
	from tests.bench.harness import find_bench, prepare

	bench = find_bench()
	if bench is None:
		print("NO FRAPPE BENCH: benchmark not run (set FRAPPE_BENCH to a bench with erpnext and hrms)")
		return 0
	with prepare(bench, REPO) as prepared:
		command = [str(bench.python), *sys.argv]
		command[1] = str(Path(sys.argv[0]).resolve())
		return subprocess.run(command, env=prepared.environment).returncode
