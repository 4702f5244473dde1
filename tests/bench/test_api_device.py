"""What the device form asks for, against simulated terminals."""

from __future__ import annotations

from collections.abc import Iterator

import frappe
import pytest

from hikvision_frappe.api import device as api
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.factories import create_test_device, make_event
from tests.bench.processes import Terminals, register_terminal


@pytest.fixture
def terminals() -> Iterator[Terminals]:
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as running:
		yield running


def steps_of(result: dict) -> dict[str, bool]:
	return {step["name"]: step["ok"] for step in result["steps"]}


def test_a_connection_test_stores_who_answered_and_the_clock(terminals: Terminals) -> None:
	terminal = terminals.devices[0]
	terminals.call(terminal.jump_clock, -90)
	device = register_terminal(terminal)

	result = api.test_connection(device.name)

	device.reload()
	assert device.serial_number == terminal.serial_number
	assert device.mac_address == terminal.mac_address
	assert device.model and device.firmware
	assert device.clock_offset == pytest.approx(90, abs=2)
	assert steps_of(result)["Login"] and not steps_of(result)["Clock"]


def test_a_wrong_password_is_tried_once_and_the_tries_left_are_told(terminals: Terminals) -> None:
	terminal = terminals.devices[0]
	device = register_terminal(terminal, password="wrong-one")

	result = api.test_connection(device.name)

	assert not result["ok"]
	assert result["tries_left"] == 4
	assert len(terminal.login_failures) == 1
	assert "wrong-one" not in frappe.as_json(result)


def test_a_terminal_that_moved_is_recognised_and_taken_over(terminals: Terminals) -> None:
	terminal = terminals.devices[0]
	old = create_test_device("Front door", serial_number=terminal.serial_number, host="127.0.0.9")
	new = register_terminal(terminal, title="Found at a new address")

	result = api.test_connection(new.name)
	assert result["registered_as"] == {"name": old.name, "title": "Front door"}
	api.move_to_address(old.name, new.name)

	old.reload()
	assert (old.host, old.port) == ("127.0.0.1", terminal.port)
	assert not frappe.db.exists("Hikvision Device", new.name)
	assert api.test_connection(old.name)["registered_as"] is None


def test_nothing_is_stored_of_another_terminal_at_the_address(terminals: Terminals) -> None:
	device = register_terminal(terminals.devices[0], serial_number="DS-K1-OTHER")

	result = api.test_connection(device.name)

	device.reload()
	assert not result["ok"]
	assert device.serial_number == "DS-K1-OTHER"


def test_a_device_nobody_answers_for_gets_advice_and_no_error() -> None:
	result = api.test_connection(create_test_device(port=1).name)
	(step,) = result["steps"]
	assert not step["ok"] and step["advice"]


def test_a_renewed_url_replaces_the_old_secret() -> None:
	device = create_test_device(mode="Push")
	before = api.notification_urls(device.name)["site"]
	after = api.rotate_push_secret(device.name)["site"]
	assert before != after
	assert before.rsplit(".", 1)[0] == after.rsplit(".", 1)[0]  # the public half stays


def test_urls_and_tests_are_for_managers() -> None:
	device = create_test_device(mode="Push").name
	frappe.set_user("Guest")
	for call in (api.notification_urls, api.test_connection, api.rotate_push_secret):
		with pytest.raises(frappe.PermissionError):
			call(device)


def test_a_device_with_events_is_switched_off_and_not_deleted_by_a_move(terminals: Terminals) -> None:
	from hikvision_frappe.ledger.intake import deliver

	terminal = terminals.devices[0]
	old = create_test_device(serial_number=terminal.serial_number)
	new = register_terminal(terminal)
	deliver([make_event(new.name, 1)])

	api.move_to_address(old.name, new.name)

	assert frappe.db.get_value("Hikvision Device", new.name, "enabled") == 0
