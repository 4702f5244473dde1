"""What ``make soak`` runs: the soak against a bench where there is one, else (or with --local) against a local ledger.

	.venv/bin/python tests/bench/soak.py [--local] [--minutes 1] [--devices 200] [--seed 1]

Two real listeners with their drains and keepers work for the tests' own site; the ledger is its database. The site's own
patience counts: a device is missed after two minutes, and a gap without history is given up after ten.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import on_bench  # noqa: E402
from hikvision_frappe.core.gaps import Gap  # noqa: E402
from hikvision_frappe.listener.local_site import StoredEvent  # noqa: E402
from hikvision_frappe.listener.site import DeviceConfig  # noqa: E402
from hikvision_frappe.soak.__main__ import main as soak  # noqa: E402

LEASE_SECONDS = 15


class BenchTarget:
	"""The connected site. Only the thread that connected it may ask it; ``hold`` brings a connection of its own."""

	patience = 4.0

	def __init__(self, folder: Path) -> None:
		self._folder = folder

	def enter(self, configs: Sequence[DeviceConfig]) -> None:
		import frappe

		for config in configs:
			enter_device(config)
		frappe.db.commit()

	def listener_command(self, name: str, push_port: int) -> Sequence[str]:
		from tests.bench.processes import bench_command

		spool = self._folder / name / "spool.sqlite3"
		return [
			*bench_command("hikvision", "listen"),
			"--push-host=127.0.0.1",
			f"--push-port={push_port}",
			"--status-port=0",
			f"--spool={spool}",
			f"--lease-seconds={LEASE_SECONDS}",
		]

	def go_away(self, away: bool) -> None:
		from frappe.installer import update_site_config

		update_site_config("maintenance_mode", int(away))

	def hold(self, seconds: float) -> None:
		import pymysql

		login = self._login()
		connection = pymysql.connect(**login)
		try:
			with connection.cursor() as cursor:
				cursor.execute("select name from `tabHikvision Serial Epoch` for update")
				time.sleep(seconds)
		finally:
			connection.close()

	def _login(self) -> dict[str, Any]:
		"""The site's own, read from its file: this is another thread than the one that is connected."""
		from frappe import get_file_json

		config = get_file_json(str(Path(on_site()) / "site_config.json"))
		user = config.get("db_user") or config["db_name"]
		return {
			"host": config.get("db_host") or "127.0.0.1",
			"port": int(config.get("db_port") or 3306),
			"user": user,
			"password": config["db_password"],
			"database": config["db_name"],
		}

	def stored(self) -> int:
		import frappe

		frappe.db.rollback()
		return int(frappe.db.count("Access Event"))

	def rows(self) -> list[StoredEvent]:
		import frappe

		frappe.db.rollback()
		fields = "name, device, epoch, serial_no, occurred_at_utc, occurred_text, major, minor, person_code, card_no, kind, source"
		rows = frappe.db.sql(f"select {fields} from `tabAccess Event`", as_dict=True)
		return [stored_event(row) for row in rows]

	def gaps(self) -> list[Gap]:
		import frappe

		from hikvision_frappe.ledger.gaps import COLUMNS, DOCTYPE, gap_from

		frappe.db.rollback()
		return [gap_from(*row) for row in frappe.get_all(DOCTYPE, fields=list(COLUMNS), as_list=True)]


def on_site() -> str:
	return os.path.join(os.environ["HIKVISION_TEST_SITES"], os.environ["HIKVISION_TEST_SITE"])


def enter_device(config: DeviceConfig) -> None:
	"""As an administrator would, but under the key that the simulated device's records are counted by."""
	import frappe

	address = config.address
	device = frappe.get_doc(
		{
			"doctype": "Hikvision Device",
			"title": config.title,
			"mode": config.mode.value.title(),
			"host": address.host,
			"port": address.port,
			"user": address.user,
			"password": address.password,
			"time_zone": address.zone,
			"trust_offset": int(address.trust_offset),
			"history": int(config.history),
			"history_minutes": 1 if config.history_seconds else 0,
		}
	)
	device.insert(set_name=config.key)
	if config.push_key:
		token = {"push_key": config.push_key, "push_secret_hash": config.push_secret_hash}
		frappe.db.set_value("Hikvision Device", device.name, token)


def stored_event(row: Any) -> StoredEvent:
	at = row.occurred_at_utc.replace(tzinfo=timezone.utc).timestamp()
	return StoredEvent(
		name=row.name,
		device=row.device,
		epoch=row.epoch or None,
		serial_no=row.serial_no if row.epoch else None,
		occurred_at=at,
		occurred_second=int(at),
		occurred_text=row.occurred_text or "",
		major=row.major,
		minor=row.minor,
		person=row.person_code or "",
		card_no=row.card_no or "",
		kind=row.kind,
		source=row.source,
		received_at=0.0,
		stored_at=0.0,
	)


def main() -> None:
	sys.exit(soak(sys.argv[1:], BenchTarget))


def there_is_a_bench() -> bool:
	from tests.bench.harness import find_bench

	return find_bench() is not None


if __name__ == "__main__":
	if "--local" in sys.argv:
		sys.argv.remove("--local")
		sys.exit(soak(sys.argv[1:]))
	if "HIKVISION_TEST_SITE" not in os.environ and not there_is_a_bench():
		print("No Frappe bench: a local ledger stands for the site.", flush=True)
		sys.exit(soak(sys.argv[1:]))
	on_bench.main(main)
