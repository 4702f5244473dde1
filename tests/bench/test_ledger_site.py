"""The listener's ``Site`` on a bench: what is wrong with one device stays with that device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import frappe
import pytest

from hikvision_frappe.ledger.site import FrappeSite
from hikvision_frappe.listener.site import (
	ConnectionState,
	DeviceIdentityReport,
	DeviceReport,
	ListenerReport,
)
from tests.bench.factories import create_test_device

NOW = datetime(2026, 3, 2, 7, tzinfo=timezone.utc)
ME = "this-listener"

Call = Callable[..., Any]


@pytest.fixture
def ask(site: str) -> Iterator[Call]:
	"""Call a method of a FrappeSite in a thread of its own, as the listener does."""
	frappe_site = FrappeSite(site)
	with ThreadPoolExecutor(1) as thread:

		def call(method: str, *arguments: Any) -> Any:
			result = thread.submit(getattr(frappe_site, method), *arguments).result()
			frappe.db.rollback()
			return result

		yield call
		call("close")


def report(*devices: DeviceReport) -> ListenerReport:
	return ListenerReport(ME, NOW, devices=devices)


def connected(device: str, serial_number: str, **values: Any) -> DeviceReport:
	identity = DeviceIdentityReport(serial_number, "aa:bb", "K1T", "V1")
	return DeviceReport(device, ConnectionState.CONNECTED, NOW, identity=identity, **values)


def stored(device: Any, field: str) -> Any:
	return frappe.db.get_value("Hikvision Device", device.name, field)


def encrypt_with_another_key(device: Any) -> None:
	frappe.db.sql(
		"update __Auth set password = 'gAAAAA' where name = %s and fieldname = 'password'", device.name
	)
	frappe.db.commit()


def break_column(**values: Any) -> Callable[[Any], None]:
	def write(device: Any) -> None:
		frappe.db.set_value("Hikvision Device", device.name, values)
		frappe.db.commit()

	return write


@pytest.mark.parametrize(
	"damage",
	[
		encrypt_with_another_key,
		break_column(time_zone="Europe/Nowhere"),
		break_column(mode="Listen"),
		break_column(tls_mode=""),
		break_column(source_networks="the office"),
	],
)
def test_a_device_that_cannot_be_used_says_so_and_stops_no_other(ask: Call, damage: Any) -> None:
	good, bad = create_test_device(), create_test_device()
	damage(bad)
	[config] = ask("devices", ME, 45.0)
	assert (config.key, config.leased) == (good.name, True)
	assert stored(bad, "connection_state") == "Stopped"
	assert "again" in stored(bad, "last_error") or "Correct" in stored(bad, "last_error")
	assert stored(good, "last_error") in (None, "")


def test_a_device_that_pushes_needs_no_password_to_be_readable(ask: Call) -> None:
	device = create_test_device(mode="Push")
	encrypt_with_another_key(device)
	assert [config.key for config in ask("devices", ME, 45.0)] == [device.name]


def test_a_password_entered_again_puts_the_device_back_to_work(ask: Call) -> None:
	device = create_test_device()
	encrypt_with_another_key(device)
	assert ask("devices", ME, 45.0) == []
	device.reload()
	device.password = "Secret456"
	device.save()
	frappe.db.commit()
	[config] = ask("devices", ME, 45.0)
	assert config.address.password == "Secret456"


def test_two_documents_of_one_new_terminal_lose_no_report(ask: Call) -> None:
	first, second, third = (create_test_device() for _ in range(3))
	ask(
		"report",
		report(connected(first.name, "SN-1"), connected(second.name, "SN-1"), connected(third.name, "SN-2")),
	)
	assert [stored(device, "serial_number") for device in (first, second, third)] == ["SN-1", None, "SN-2"]
	assert first.title in stored(second, "last_error")
	assert stored(third, "connection_state") == "Connected"


def test_an_identity_that_a_person_let_be_forgotten_is_stored_again(ask: Call) -> None:
	device = create_test_device()
	ask("report", report(connected(device.name, "SN-1")))
	ask("devices", ME, 45.0)
	frappe.get_doc("Hikvision Device", device.name).forget_identity()
	frappe.db.commit()
	ask("devices", ME, 45.0)
	ask("report", report(connected(device.name, "SN-1", reconnects=1)))
	assert stored(device, "serial_number") == "SN-1"


def test_leases_are_given_up_though_redis_is_away(ask: Call, monkeypatch: pytest.MonkeyPatch) -> None:
	device = create_test_device()
	ask("devices", ME, 45.0)
	assert stored(device, "leased_by") == ME
	monkeypatch.setattr("frappe.utils.redis_wrapper.RedisWrapper.hdel", _time_out)
	ask("release", ME)
	assert not stored(device, "leased_by")


def _time_out(*_arguments: Any, **_options: Any) -> None:
	import redis

	raise redis.exceptions.TimeoutError
