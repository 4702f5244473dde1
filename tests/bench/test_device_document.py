"""The rules of the Hikvision Device document itself."""

from __future__ import annotations

from typing import Any

import frappe
import pytest

from hikvision_frappe.ledger.devices import secret_hash
from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import create_test_device, make_event


def test_a_new_device_has_a_token_of_its_own_and_a_row_to_lock() -> None:
	one, other = create_test_device(), create_test_device()
	assert len(one.push_key) == 16 and one.push_key != other.push_key
	secret = one.get_password("push_secret")
	assert len(secret) == 32 and secret != other.get_password("push_secret")
	assert one.push_secret_hash == secret_hash(secret)
	assert frappe.db.get_value("Hikvision Serial Epoch", f"{one.name}-01", ["device", "number"]) == (
		one.name,
		1,
	)


def test_secrets_are_not_stored_in_the_row() -> None:
	device = create_test_device(password="Secret123")
	row = frappe.db.get_value("Hikvision Device", device.name, "*", as_dict=True)
	assert "Secret123" not in str(row)
	assert device.get_password("push_secret") not in str(row)
	assert device.get_password("password") == "Secret123"


def test_a_renewed_secret_replaces_the_old_one() -> None:
	device = create_test_device()
	before = device.get_password("push_secret")
	device.rotate_push_secret()
	device.reload()
	after = device.get_password("push_secret")
	assert after != before
	assert device.push_secret_hash == secret_hash(after)


@pytest.mark.parametrize(
	("values", "expected"),
	[
		({"port": 0}, {"port": 80}),
		({"port": 0, "tls_mode": "HTTPS, unverified"}, {"port": 443}),
		({"time_zone": ""}, {"time_zone": "Europe/Stockholm"}),
		({"host": " 192.0.2.7 "}, {"host": "192.0.2.7"}),
		(
			{"tls_mode": "HTTPS, pinned certificate", "tls_fingerprint": ":".join(["AB"] * 32)},
			{"tls_fingerprint": "ab" * 32},
		),
		(
			{"source_networks": "192.0.2.7\n 198.51.100.9/24, 2001:db8::1/32"},
			{"source_networks": "192.0.2.7/32\n198.51.100.0/24\n2001:db8::/32"},
		),
	],
)
def test_what_was_typed_is_put_in_order(values: dict[str, Any], expected: dict[str, Any]) -> None:
	device = create_test_device(**values)
	assert {field: device.get(field) for field in expected} == expected


@pytest.mark.parametrize(
	"values",
	[
		{"host": ""},
		{"host": "http://192.0.2.7"},
		{"host": "user@192.0.2.7"},
		{"port": 70_000},
		{"tls_mode": "HTTPS, pinned certificate", "tls_fingerprint": "abc"},
		{"time_zone": "Europe/Atlantis"},
		{"latitude": 91},
		{"longitude": -181},
		{"source_networks": "192.0.2.0/33"},
		{"doors": [{"door_no": 1, "direction": "In"}, {"door_no": 1, "direction": "Out"}]},
	],
)
def test_what_cannot_work_is_refused(values: dict[str, Any]) -> None:
	with pytest.raises(frappe.ValidationError):
		create_test_device(**values)


def test_saving_a_form_keeps_what_the_listener_reported_meanwhile() -> None:
	form = create_test_device()
	reported = {
		"connection_state": "Connected",
		"serial_number": "DS-K1T344MBFWX-A1",
		"leased_by": "listener-1",
	}
	frappe.db.set_value("Hikvision Device", form.name, reported, update_modified=False)
	form.title = "Main entrance"
	form.save()
	form.reload()
	assert form.title == "Main entrance"
	assert {field: form.get(field) for field in reported} == reported


def test_replaced_hardware_can_be_made_known_again() -> None:
	device = create_test_device()
	frappe.db.set_value("Hikvision Device", device.name, "serial_number", "A1", update_modified=False)
	device.reload()
	device.forget_identity()
	assert frappe.db.get_value("Hikvision Device", device.name, "serial_number") is None


def test_one_serial_number_is_one_device_to_the_database() -> None:
	one, other = create_test_device(), create_test_device()
	frappe.db.set_value("Hikvision Device", one.name, "serial_number", "A1")
	with pytest.raises(Exception, match="Duplicate"):
		frappe.db.set_value("Hikvision Device", other.name, "serial_number", "A1")


def test_a_device_with_events_cannot_be_deleted_and_one_without_leaves_nothing() -> None:
	used, unused = create_test_device(), create_test_device()
	deliver([make_event(used.name, 1)])
	with pytest.raises(frappe.LinkExistsError):
		used.delete()
	unused.delete()
	assert not frappe.get_all("Hikvision Serial Epoch", {"device": unused.name})
	assert not frappe.db.sql(
		"select 1 from __Auth where doctype = 'Hikvision Device' and name = %s", unused.name
	)


def test_the_push_port_address_is_checked() -> None:
	settings = frappe.get_doc("Hikvision Settings")
	settings.push_base_url = " http://192.0.2.10:8090/ "
	settings.save()
	assert settings.push_base_url == "http://192.0.2.10:8090"
	settings.push_base_url = "192.0.2.10:8090"
	with pytest.raises(frappe.ValidationError):
		settings.save()
