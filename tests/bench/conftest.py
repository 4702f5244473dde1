"""Tests on a real site. Collected only by tests/bench_runner.py, which prepares bench, packages and site."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

if "HIKVISION_TEST_SITE" not in os.environ:
	collect_ignore_glob = ["*"]
else:
	import frappe

	from tests.bench.factories import clear_test_data
	from tests.bench.harness import find_chromium

	if find_chromium() is None:
		collect_ignore_glob = ["test_screens*"]  # tests/bench_runner.py says so loudly


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
	for item in items:
		if item.nodeid.startswith("tests/bench"):
			item.add_marker(pytest.mark.bench)


@pytest.fixture(scope="session")
def site_connection() -> Iterator[str]:
	"""The connected site for the whole run; its name."""
	frappe.in_test = True  # where version 16 looks; version 15 looks at the flag
	site = os.environ["HIKVISION_TEST_SITE"]
	os.chdir(os.environ["HIKVISION_TEST_SITES"])
	frappe.init(site=site, sites_path=".")
	frappe.connect()
	frappe.flags.in_test = True
	clear_test_data()
	yield site
	frappe.destroy()


@pytest.fixture(autouse=True)
def site(site_connection: str) -> Iterator[str]:
	"""The site's name, as Administrator; afterwards everything the test made is gone."""
	reconnect_if_needed(site_connection)
	frappe.set_user("Administrator")
	yield site_connection
	reconnect_if_needed(site_connection)
	frappe.set_user("Administrator")
	frappe.db.rollback()
	clear_test_data()
	frappe.local.message_log = []


def reconnect_if_needed(site: str) -> None:
	"""A test may have closed the connection, or the server may have."""
	if getattr(frappe.local, "site", None) != site or not frappe.local.db:
		frappe.init(site=site, sites_path=".")
		frappe.connect()
		frappe.flags.in_test = True
	try:
		frappe.db.sql("select 1")
	except Exception:
		frappe.connect()
