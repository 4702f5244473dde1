"""Tests on a real site. Collected only by tests/bench_runner.py, which prepares bench, packages and site."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if "HIKVISION_TEST_SITE" not in os.environ:
	collect_ignore_glob = ["*"]
else:
	import frappe

	from tests.bench.completeness import Listener, listening
	from tests.bench.factories import clear_test_data
	from tests.bench.harness import find_chromium
	from tests.bench.hr_days import clear_hr_data, day_shift

	if find_chromium() is None:
		collect_ignore_glob = ["test_screens*"]  # tests/bench_runner.py says so loudly


if TYPE_CHECKING:
	from tests.bench.desk import Desk


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


@pytest.fixture
def listener(site: str) -> Iterator[Listener]:
	"""A listener that reports to the site, and reads histories for it."""
	with listening(site) as listener:
		yield listener


@pytest.fixture
def hr_data() -> Iterator[None]:
	"""What the helpers of hr_days make is gone afterwards."""
	yield
	clear_hr_data()


@pytest.fixture
def shift(hr_data: None) -> Any:
	"""A day of work: 08:00 to 17:00."""
	return day_shift()


@pytest.fixture(scope="module")
def desk_of(site_connection: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Desk]]:
	"""Opens the desk of a user with these roles, in a real browser."""
	from tests.bench.desk import desks  # what it needs is installed only where there is a browser

	with desks(tmp_path_factory.mktemp("screens")) as desk_of:
		yield desk_of


@pytest.fixture
def seconds_shown() -> Iterator[None]:
	"""Some builds of the desk's date picker break on a time format without seconds."""
	before = frappe.db.get_default("time_format")
	set_time_format("HH:mm:ss")
	yield
	set_time_format(before)


def set_time_format(time_format: str) -> None:
	frappe.db.set_default("time_format", time_format)
	frappe.db.commit()
	frappe.clear_cache()


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
