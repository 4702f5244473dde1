"""Install, migrate, uninstall, by the bench's own commands on a site of their own: the site is as it was before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.bench.harness.bench import Bench, find_bench
from tests.bench.harness.sites import APP, TestSite, environment

REPO = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(600)

# What must come back exactly; name -> query.
KEPT = {
	"custom fields": "select name from `tabCustom Field`",
	"property setters": "select name from `tabProperty Setter`",
	"roles": "select name, desk_access from tabRole",
	"role assignments": "select parenttype, parent, role from `tabHas Role`",
	"permissions": "select parent, role, permlevel from tabDocPerm",
	"custom permissions": "select parent, role, permlevel from `tabCustom DocPerm`",
	"log clearing": "select ref_doctype, days from `tabLogs To Clear` where ref_doctype like 'Access%' or ref_doctype like 'Hikvision%'",
	"secrets": "select doctype, name, fieldname from __Auth",
	"portal menu": "select title, route, role from `tabPortal Menu Item`",
	"doctypes": "select name, module from tabDocType",
	"tables": "select table_name from information_schema.tables where table_schema = database()",
	"columns": "select table_name, column_name, column_type from information_schema.columns"
	" where table_schema = database() and table_name = 'tabEmployee Checkin'",
	"indexes": "select index_name, column_name, non_unique from information_schema.statistics"
	" where table_schema = database() and table_name = 'tabEmployee Checkin'",
	"modules": "select name, app_name from `tabModule Def`",
	"workspaces": "select name from tabWorkspace",
	"number cards": "select name from `tabNumber Card`",
	"reports": "select name from tabReport",
	"notifications": "select name from tabNotification",
	"scheduled jobs": "select method, frequency from `tabScheduled Job Type`",
	"patches": "select patch from `tabPatch Log`",
	"singles": "select distinct doctype from tabSingles",
	"list settings": "select doctype, user from __UserSettings",
	"shares": "select share_doctype, share_name from tabDocShare",
	"versions": "select ref_doctype, docname from tabVersion where ref_doctype in ('Hikvision Device', 'Access Person')",
	"installed apps": "select app_name from `tabInstalled Application`",
	"check-ins": "select employee, time, log_type from `tabEmployee Checkin`",
}

USE_THE_APP = """
import sys, json, os
import frappe
from tests.bench import factories
from hikvision_frappe.ledger.intake import deliver
frappe.init(site=sys.argv[1], sites_path=".")
frappe.connect()
device = factories.create_test_device()
device.title = "Renamed"
device.save()
deliver(factories.make_events(device.name, 3))
employee = factories.create_test_employee()
frappe.get_doc({"doctype": "Employee Checkin", "employee": employee, "time": "2026-03-02 08:00:01",
	"access_event": frappe.get_all("Access Event", pluck="name", order_by="name")[0]}).insert()
gap = factories.create_test_gap(device.name, None)
factories.create_test_fetch(device.name, gap=gap.name)
shift = factories.create_test_shift("HIK-TEST-Shift of a door")
device.reload()
device.append("shifts", {"shift_type": shift.name})
device.save()
frappe.get_doc({"doctype": "Access Person", "person_code": "1001", "employee": employee}).insert()
user = frappe.get_doc("User", "test@example.com")
user.add_roles("Hikvision Manager", "Hikvision User", "Hikvision Agent")
frappe.share.add("Hikvision Device", device.name, user.name, write=1)
frappe.model.utils.user_settings.save("Access Event", json.dumps({"List": {}}))
frappe.model.utils.user_settings.sync_user_settings()
frappe.get_doc("Log Settings").save()
settings = frappe.get_doc("Hikvision Settings")
settings.push_base_url = "http://192.0.2.10:8090/"
settings.save()
frappe.db.commit()
"""


EDIT_A_NOTICE = """
import sys
import frappe
frappe.init(site=sys.argv[1], sites_path=".")
frappe.connect()
notice = frappe.get_doc("Notification", "Device Not Heard")
notice.subject = "Nobody hears the door"
notice.save()
frappe.db.commit()
"""


class InstalledSite:
	"""A site set back to before the app, with the commands of a bench and a look into its database."""

	def __init__(self, site: TestSite) -> None:
		self.site = site

	def query(self, statement: str) -> list[tuple[Any, ...]]:
		config = json.loads((self.site.folder / "site_config.json").read_text())
		common = self.site.bench.config
		connection = pymysql.connect(
			host=common.get("db_host") or "127.0.0.1",
			port=int(common.get("db_port") or 3306),
			user=config["db_name"],
			password=config["db_password"],
			database=config["db_name"],
		)
		with connection, connection.cursor() as cursor:
			cursor.execute(statement)
			return sorted(cursor.fetchall(), key=repr)

	def snapshot(self) -> dict[str, list[tuple[Any, ...]]]:
		return {name: self.query(statement) for name, statement in KEPT.items()}

	def python(self, code: str) -> None:
		done = subprocess.run(
			[sys.executable, "-c", code, self.site.name],
			cwd=self.site.bench.sites,
			env=environment(self.site.bench, REPO),
			capture_output=True,
			text=True,
			timeout=120,
		)
		assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def fresh() -> Iterator[InstalledSite]:
	bench = find_bench()
	assert isinstance(bench, Bench)
	slot = "-".join(filter(None, ["install", os.environ.get("HIKVISION_BENCH_SLOT")]))
	site = TestSite(bench, REPO, slot=slot)
	with bench.lock(site.name):
		site.reset()
		yield InstalledSite(site)


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
	"""What was left behind (+) and what is missing (-), by name."""
	found = {}
	for name in before:
		left = [row for row in after[name] if row not in before[name]]
		gone = [row for row in before[name] if row not in after[name]]
		if left or gone:
			found[name] = {"+": left, "-": gone}
	return found


def test_an_uninstall_leaves_the_site_as_it_was(fresh: InstalledSite) -> None:
	before = fresh.snapshot()
	fresh.site.frappe("install-app", APP)
	fresh.python(USE_THE_APP)
	used = difference(before, fresh.snapshot())
	assert {"roles", "custom fields", "columns", "indexes", "secrets", "log clearing", "doctypes"} <= set(
		used
	)

	fresh.site.frappe("uninstall-app", APP, "--yes", "--no-backup")

	left = difference(before, fresh.snapshot())
	assert set(left.pop("check-ins")) == {"+", "-"}  # the check-in itself is the customer's and stays
	assert left == {}


def test_it_can_be_installed_again_after_an_uninstall_and_migrated(fresh: InstalledSite) -> None:
	fresh.site.frappe("install-app", APP)
	installed = fresh.snapshot()
	fresh.site.frappe("migrate", "--skip-search-index")
	migrated = fresh.snapshot()
	changed = difference(installed, migrated)
	orphans = changed.pop("doctypes", {"+": [], "-": []})  # of the bench's other apps, which migrate removes
	assert changed == {}
	assert not [row for row in orphans["+"] + orphans["-"] if row[1] == "Hikvision Frappe"]
	fresh.site.frappe("uninstall-app", APP, "--yes", "--no-backup")
	fresh.site.frappe("install-app", APP)
	assert difference(migrated, fresh.snapshot()) == {}


def test_the_notices_are_there_and_stay_as_they_were_edited(fresh: InstalledSite) -> None:
	fresh.site.frappe("install-app", APP)
	notices = "select name, enabled, channel from tabNotification where document_type = 'Access Event Gap'"
	assert fresh.query(notices) == [
		("Device Heard Again", 1, "System Notification"),
		("Device Not Heard", 1, "System Notification"),
		("Passes Missing for Good", 1, "System Notification"),
	]
	fresh.python(EDIT_A_NOTICE)
	fresh.site.frappe("migrate", "--skip-search-index")
	subjects = "select subject from tabNotification where name = 'Device Not Heard'"
	assert fresh.query(subjects) == [("Nobody hears the door",)]


def test_what_an_installation_brings(fresh: InstalledSite) -> None:
	fresh.site.frappe("install-app", APP)
	assert fresh.query("select name, desk_access from tabRole where name like 'Hikvision%'") == [
		("Hikvision Agent", 0),
		("Hikvision Manager", 1),
		("Hikvision User", 1),
	]
	assert fresh.query("select name from tabWorkspace where module = 'Hikvision Frappe'") == [("Hikvision",)]
	columns = fresh.query(
		"select column_name, data_type from information_schema.columns where table_schema = database()"
		" and table_name in ('tabAccess Event', 'tabHikvision Serial Epoch') and data_type = 'bigint'"
	)
	assert columns == [("highest", "bigint"), ("serial_no", "bigint")]
	numbers = fresh.query(
		"select table_name, column_name from information_schema.columns where table_schema = database()"
		" and table_name in ('tabAccess Event Gap', 'tabHikvision History Fetch') and data_type = 'bigint'"
	)
	assert {column for _table, column in numbers} == {"after_serial", "first_serial", "last_serial"}
	indexed = {
		row[0]
		for row in fresh.query(
			"select group_concat(column_name order by seq_in_index) from information_schema.statistics"
			" where table_schema = database() and table_name = 'tabAccess Event' group by index_name"
		)
	}
	assert {
		"device,serial_no",
		"device,occurred_at_utc",
		"state,occurred_at_utc",
		"person_code,device",
		"employee,occurred_at",
	} <= indexed
