"""The tests' own sites: made once by Frappe itself, set back from a dump, installed anew when the app changed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.harness.bench import Bench

APP = "hikvision_frappe"
ADMIN_PASSWORD = "admin"
BUILD_SITE = "hikvision-base.localhost"


@dataclass(frozen=True)
class TestSite:
	"""One site of the tests. ``slot`` keeps runs that go on at the same time apart."""

	__test__ = False

	bench: Bench
	repo: Path
	slot: str = ""

	@property
	def name(self) -> str:
		return f"hikvision-test-{self.slot}.localhost" if self.slot else "hikvision-test.localhost"

	@property
	def folder(self) -> Path:
		return self.bench.sites / self.name

	@property
	def database(self) -> str:
		return "_hik" + hashlib.sha256(f"{self.bench.root}/{self.name}".encode()).hexdigest()[:12]

	def reset(self) -> None:
		"""Back to the state before our app."""
		password = secrets.token_hex(12)
		self._make_folder(password)
		sql(
			self.bench,
			f"DROP DATABASE IF EXISTS `{self.database}`;"
			f"CREATE DATABASE `{self.database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;"
			f"CREATE OR REPLACE USER '{self.database}'@'localhost' IDENTIFIED BY '{password}';"
			f"CREATE OR REPLACE USER '{self.database}'@'%' IDENTIFIED BY '{password}';"
			f"GRANT ALL ON `{self.database}`.* TO '{self.database}'@'localhost';"
			f"GRANT ALL ON `{self.database}`.* TO '{self.database}'@'%';",
		)
		with gzip.open(self.bench.base_dump) as dump:
			load(self.bench, self.database, dump.read())
		self.frappe("clear-cache")

	def _make_folder(self, password: str) -> None:
		shutil.rmtree(self.folder, ignore_errors=True)
		for name in ("public/files", "private/files", "private/backups", "locks", "logs", "task-logs"):
			(self.folder / name).mkdir(parents=True)
		config = {
			"allow_tests": True,
			"db_name": self.database,
			"db_password": password,
			"db_type": "mariadb",
			"host_name": f"http://{self.name}",
			"user_type_doctype_limit": {"employee_self_service": 40},
		}
		(self.folder / "site_config.json").write_text(json.dumps(config, indent=1))

	def ensure_app(self) -> None:
		"""The app as it is in this checkout is installed; a changed DocType means a fresh site."""
		marker = self.folder / "app-state"
		state = f"{self.repo}\n{app_state(self.repo)}\n{base_state(self.bench)}"
		if marker.exists() and marker.read_text() == state:
			return
		print(f"installing the app on {self.name} ...", flush=True)
		self.reset()
		self.frappe("install-app", APP)
		marker.write_text(state)

	def frappe(self, *arguments: str) -> str:
		"""Run a bench command for this site; its output. Raises SystemExit with the output when it fails."""
		return frappe_command(self.bench, self.repo, "--site", self.name, *arguments)


def write_bench_files(bench: Bench) -> None:
	"""apps.txt with our app, the bench's common configuration, its assets."""
	bench.own_folder()
	(bench.sites / "apps.txt").write_text("\n".join([*_other_apps(bench), APP]) + "\n")
	config = {key: value for key, value in bench.config.items() if key not in ("default_site", "bench_id")}
	config |= {"bench_id": "hikvision-tests", "serve_default_site": False, "background_workers": 1}
	(bench.sites / "common_site_config.json").write_text(json.dumps(config, indent=1))
	assets = bench.sites / "assets"
	if not assets.exists():
		assets.symlink_to(bench.root / "sites" / "assets")


def _other_apps(bench: Bench) -> list[str]:
	return [app for app in bench.apps if app != APP]


def ensure_base(bench: Bench, repo: Path) -> None:
	"""The dump that sites start from; made in some minutes, once per bench and version of its apps."""
	marker = bench.home / "base-state"
	if bench.base_dump.exists() and marker.exists() and marker.read_text() == base_state(bench):
		return
	print("making the base site (new-site, erpnext, hrms, setup wizard): some minutes, once ...", flush=True)
	user, password = root_login(bench)
	login = ("--db-root-username", user, "--db-root-password", password)
	apps = [option for app in _other_apps(bench) if app != "frappe" for option in ("--install-app", app)]
	frappe_command(
		bench, repo, "new-site", BUILD_SITE, *login, "--admin-password", ADMIN_PASSWORD, "--force", *apps
	)
	complete = Path(__file__).with_name("complete_setup.py")
	run(bench, repo, [str(bench.python), str(complete), BUILD_SITE])
	database = json.loads((bench.sites / BUILD_SITE / "site_config.json").read_text())["db_name"]
	dump(bench, database, bench.base_dump)
	frappe_command(bench, repo, "drop-site", BUILD_SITE, *login, "--no-backup", "--force")
	marker.write_text(base_state(bench))


def base_state(bench: Bench) -> str:
	"""Changes when an app of the bench does, or how we set a site up."""
	versions = [f"{app} {_version(bench, app)}" for app in _other_apps(bench)]
	return hashlib.sha256(
		"\n".join([*versions, Path(__file__).with_name("complete_setup.py").read_text()]).encode()
	).hexdigest()


def _version(bench: Bench, app: str) -> str:
	return (bench.root / "apps" / app / app / "__init__.py").read_text()


def app_state(repo: Path) -> str:
	"""Changes when the app's schema, hooks or installation do."""
	package = repo / APP
	files = [package / name for name in ("hooks.py", "install.py", "modules.txt", "patches.txt")]
	files += [path for path in (package / APP).rglob("*") if path.suffix in (".json", ".py")]
	digest = hashlib.sha256()
	for path in sorted(files):
		digest.update(path.relative_to(repo).as_posix().encode() + b"\0" + path.read_bytes())
	return digest.hexdigest()


def environment(bench: Bench, repo: Path) -> dict[str, str]:
	"""What a process needs to work with the tests' sites and this checkout's code."""
	return {
		**os.environ,
		"PYTHONPATH": f"{repo}{os.pathsep}{bench.packages}",
		"PYTHONDONTWRITEBYTECODE": "1",
		"FRAPPE_STREAM_LOGGING": "0",
	}


def frappe_command(bench: Bench, repo: Path, *arguments: str) -> str:
	return run(bench, repo, [str(bench.python), "-m", "frappe.utils.bench_helper", "frappe", *arguments])


def run(bench: Bench, repo: Path, command: list[str]) -> str:
	done = subprocess.run(
		command,
		cwd=bench.sites,
		env=environment(bench, repo),
		stdin=subprocess.DEVNULL,
		stdout=subprocess.PIPE,
		stderr=subprocess.STDOUT,
		text=True,
		timeout=1800,
	)
	if done.returncode:
		print(done.stdout[-6000:], file=sys.stderr)
		raise SystemExit(f"failed: {_without_secrets(command)}")
	return done.stdout


def _without_secrets(command: list[str]) -> str:
	hidden = {"--db-root-password", "--admin-password"}
	return " ".join(
		"***" if before in hidden else word for before, word in zip(["", *command[:-1]], command, strict=True)
	)


def root_login(bench: Bench) -> tuple[str, str]:
	"""The database administrator: from the environment, else from the bench's configuration."""
	config = bench.config
	user = os.environ.get("DB_ROOT_USER") or config.get("root_login") or "root"
	return user, os.environ.get("DB_ROOT_PASSWORD") or config.get("root_password") or ""


def sql(bench: Bench, statements: str) -> None:
	_client(bench, "mariadb", "mysql", [], statements.encode())


def load(bench: Bench, database: str, dumped: bytes) -> None:
	_client(bench, "mariadb", "mysql", [database], dumped)


def dump(bench: Bench, database: str, target: Path) -> None:
	dumped = _client(
		bench, "mariadb-dump", "mysqldump", ["--single-transaction", "--skip-comments", database], b""
	)
	temporary = target.with_suffix(".part")
	with gzip.open(temporary, "wb", compresslevel=3) as out:
		out.write(dumped)
	temporary.replace(target)


def _client(bench: Bench, name: str, older: str, arguments: list[str], entered: bytes) -> bytes:
	config = bench.config
	user, password = root_login(bench)
	program = shutil.which(name) or shutil.which(older) or name
	address = [
		"-h",
		config.get("db_host") or "127.0.0.1",
		"-P",
		str(config.get("db_port") or 3306),
		"-u",
		user,
	]
	done = subprocess.run(
		[program, *address, *arguments],
		input=entered,
		capture_output=True,
		env={**os.environ, "MYSQL_PWD": password},
		timeout=600,
	)
	if done.returncode:
		raise SystemExit(f"{name}: {done.stderr.decode(errors='replace')[-1000:]}")
	return done.stdout
