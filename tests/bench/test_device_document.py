"""The rules of the Hikvision Device document itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import frappe
import pytest

from hikvision_frappe.ledger.devices import secret_hash
from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import (
	create_test_device,
	create_test_fetch,
	create_test_gap,
	create_test_shift,
	make_event,
)


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


# History and completeness


@pytest.mark.parametrize(
	("values", "expected"),
	[
		({}, (1, 0)),
		({"mode": "Push", "host": ""}, (0, 0)),
		({"mode": "Push", "host": "192.0.2.7"}, (1, 0)),
		({"mode": "History", "history": 0}, (1, 15)),
		({"mode": "History", "history_minutes": 1}, (1, 1)),
		({"history": 0}, (0, 0)),
	],
)
def test_history_is_read_where_there_is_something_to_ask(
	values: dict[str, Any], expected: tuple[int, int]
) -> None:
	device = create_test_device(**values)
	assert (device.history, device.history_minutes or 0) == expected


@pytest.mark.parametrize("mode", ["Push", "History"])
def test_reading_a_history_needs_an_address(mode: str) -> None:
	device = create_test_device(mode="Push", host="")
	device.update({"mode": mode, "history": 1})
	with pytest.raises(frappe.MandatoryError):
		device.save()


def test_a_device_that_only_pushes_is_saved_without_an_address() -> None:
	device = create_test_device()
	device.update({"mode": "Push", "host": ""})
	device.save()
	assert not device.history


def test_what_the_keeper_wrote_beside_an_open_form_stays() -> None:
	device = create_test_device()
	gap = create_test_gap(device.name)
	written = {
		"complete_until": datetime(2026, 3, 2, 8),
		"complete_until_utc": datetime(2026, 3, 2, 7),
		"held_by": "a gap is not resolved",
		"held_by_gap": gap.name,
		"heard_until_utc": datetime(2026, 3, 2, 9),
		"history_supported": "Yes",
		"storage_mode": "time",
		"storage_minutes": 60,
	}
	frappe.db.set_value("Hikvision Device", device.name, written, update_modified=False)
	device.title = "Renamed"
	device.save()
	stored = frappe.db.get_value("Hikvision Device", device.name, ["title", *written], as_dict=True)
	assert stored == {"title": "Renamed", **written}


def test_a_device_without_events_goes_with_its_gaps_and_readings() -> None:
	device = create_test_device(shifts=[{"shift_type": create_test_shift().name}])
	gap = create_test_gap(device.name)
	create_test_fetch(device.name, gap=gap.name)
	frappe.db.set_value("Hikvision Device", device.name, "held_by_gap", gap.name)
	device.reload()
	device.delete()
	for doctype in ("Access Event Gap", "Hikvision History Fetch"):
		assert not frappe.db.exists(doctype, {"device": device.name})
	assert not frappe.db.exists("Hikvision Device Shift", {"parent": device.name})
