"""What the bench's own Python lacks for our tests, kept beside it and never over what it has."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.bench.harness.bench import Bench
from tests.bench.harness.browser import find_chromium

TEST_PACKAGES = (
	"pytest",
	"pytest-asyncio",
	"pytest-timeout",
	"hypothesis",
	"freezegun",
	"psutil",
	"defusedxml",
)
BROWSER_PACKAGES = ("playwright",)  # brings no browser: the machine's own is driven


def install_missing(bench: Bench, repo: Path) -> None:
	wanted = wanted_packages(repo)
	marker = bench.packages / ".installed"
	state = hashlib.sha256("\n".join([str(bench.python.resolve()), *wanted]).encode()).hexdigest()
	if marker.exists() and marker.read_text() == state:
		return
	missing = _missing(bench, wanted)
	shutil.rmtree(bench.packages, ignore_errors=True)
	bench.packages.mkdir(parents=True)
	if missing:
		print(f"installing for the bench's tests: {', '.join(missing)}", flush=True)
		_pip(bench, "install", "--no-deps", "--target", str(bench.packages), *missing)
	marker.write_text(state)


def wanted_packages(repo: Path) -> list[str]:
	browser = BROWSER_PACKAGES if find_chromium() else ()
	return [*runtime_packages(repo / "pyproject.toml"), *TEST_PACKAGES, *browser]


def runtime_packages(pyproject: Path) -> list[str]:
	"""The requirements in [project] dependencies (tomllib is younger than our oldest Python)."""
	block = re.search(r"^dependencies = \[(.*?)^\]", pyproject.read_text(), re.S | re.M)
	return re.findall(r'"([^"]+)"', block.group(1)) if block else []


def _missing(bench: Bench, wanted: list[str]) -> list[str]:
	"""What pip would add to the bench's environment; an upgrade of something it has is refused."""
	report = json.loads(
		_pip(bench, "install", "--quiet", "--dry-run", "--ignore-requires-python", "--report", "-", *wanted)
	)
	installed = {_canonical(each["name"]) for each in json.loads(_pip(bench, "list", "--format", "json"))}
	missing = []
	for each in report["install"]:
		name, version = each["metadata"]["name"], each["metadata"]["version"]
		if _canonical(name) in installed:
			raise SystemExit(
				f"the bench's {name} is outside of our range ({version} would fit): widen pyproject"
			)
		missing.append(f"{name}=={version}")
	return missing


def _canonical(name: str) -> str:
	return re.sub(r"[-_.]+", "-", name).lower()


def _pip(bench: Bench, *arguments: str) -> str:
	command = [str(bench.python), "-m", "pip", "--disable-pip-version-check", *arguments]
	done = subprocess.run(command, capture_output=True, text=True, timeout=600)
	if done.returncode:
		raise SystemExit(f"pip failed for the bench's tests:\n{done.stderr[-2000:]}")
	return done.stdout
