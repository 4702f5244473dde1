"""Run the tests that need a Frappe bench, with the bench's own Python: ``python tests/bench_runner.py [pytest args]``.

The bench is FRAPPE_BENCH or ~/frappe-bench. Its sites and apps stay untouched: services are started when they are
down, and packages, sites and dumps of the tests live in its folder hikvision-tests. Without a bench it says so
and succeeds. Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from tests.bench.harness import find_bench, find_chromium, prepare  # noqa: E402


def main(arguments: list[str]) -> int:
	bench = find_bench()
	if bench is None:
		_shout("NO FRAPPE BENCH: bench tests not run (set FRAPPE_BENCH to a bench with erpnext and hrms)")
		return 0
	if not any(argument.startswith("tests/bench") for argument in arguments):
		arguments = ["tests/bench", *arguments]
	with prepare(bench, REPO) as prepared, tempfile.NamedTemporaryFile(suffix=".xml") as report:
		command = [str(bench.python), "-m", "pytest", f"--junitxml={report.name}", "-p", "no:cacheprovider"]
		command += ["-o", "asyncio_default_fixture_loop_scope=function"]
		code = subprocess.run([*command, *arguments], cwd=REPO, env=prepared.environment).returncode
		print(
			f"BENCH TESTS: {_summary(Path(report.name))} on {prepared.site.name} ({bench.root})", flush=True
		)
	if find_chromium() is None:
		_shout(
			"NO CHROMIUM: screen tests not run (install chromium, or set HIKVISION_CHROMIUM to its program)"
		)
	return code


def _shout(text: str) -> None:
	print("=" * 78)
	print(text)
	print("=" * 78, flush=True)


def _summary(report: Path) -> str:
	try:
		suite = ElementTree.parse(report).getroot().find("testsuite")
	except ElementTree.ParseError:
		return "none ran"
	counts = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
	return "{tests} ran, {failures} failed, {errors} errors, {skipped} skipped".format(**counts)


if __name__ == "__main__":
	sys.exit(main(sys.argv[1:]))
