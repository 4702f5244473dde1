"""Who may see and do what: the roles of the app, by the framework's own checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import frappe
import pytest

import hikvision_frappe.api.device
import hikvision_frappe.api.events
import hikvision_frappe.api.gaps
import hikvision_frappe.api.history
import hikvision_frappe.api.late_passes
import hikvision_frappe.api.manual_punch
import hikvision_frappe.api.people
import hikvision_frappe.api.push
import hikvision_frappe.api.shifts  # noqa: F401 - for what they whitelist
from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import (
	create_test_device,
	create_test_employee,
	create_test_fetch,
	create_test_gap,
	create_test_shift,
	make_event,
)
from tests.bench.users import create_test_user

ALLOWED = {
	"Hikvision Manager": {
		"Hikvision Device": {"read", "write", "create", "delete", "export"},
		"Hikvision Settings": {"read", "write", "create"},
		"Access Event": {"read", "export"},
		"Access Event Gap": {"read", "export"},
		"Hikvision History Fetch": {"read", "export"},
		"Access Person": {"read", "write", "create", "delete", "export"},
		"Bulk Manual Punch": {"read"},
	},
	"Hikvision User": {
		"Hikvision Device": {"read"},
		"Hikvision Settings": {"read"},
		"Access Event": {"read"},
		"Access Event Gap": {"read"},
		"Hikvision History Fetch": {"read"},
		"Access Person": {"read", "write", "create"},
		"Bulk Manual Punch": set(),
	},
	"HR Manager": {
		"Hikvision Device": {"read"},
		"Hikvision Settings": {"read"},
		"Access Event": {"read", "export"},
		"Access Event Gap": {"read", "export"},
		"Hikvision History Fetch": {"read", "export"},
		"Access Person": {"read", "write", "create", "export"},
		"Bulk Manual Punch": {"read", "write", "create", "delete", "export"},
	},
	"HR User": {
		"Hikvision Device": set(),
		"Hikvision Settings": set(),
		"Access Event": set(),
		"Access Event Gap": {"read"},
		"Hikvision History Fetch": {"read"},
		"Access Person": set(),
		"Bulk Manual Punch": {"read", "write", "create", "export"},
	},
	"Hikvision Agent": {
		"Hikvision Device": {"read"},
		"Hikvision Settings": set(),
		"Access Event": set(),
		"Access Event Gap": set(),
		"Hikvision History Fetch": set(),
		"Access Person": set(),
		"Bulk Manual Punch": set(),
	},
	"Employee": {
		"Hikvision Device": set(),
		"Hikvision Settings": set(),
		"Access Event": set(),
		"Access Event Gap": set(),
		"Hikvision History Fetch": set(),
		"Access Person": set(),
		"Bulk Manual Punch": set(),
	},
}
RIGHTS = {"read", "write", "create", "delete", "export"}


@pytest.fixture(params=list(ALLOWED))
def role(request: pytest.FixtureRequest) -> Iterator[str]:
	email = "hik-role-test@example.com"
	user = frappe.get_doc(
		{"doctype": "User", "email": email, "first_name": "Role", "send_welcome_email": 0}
	).insert()
	user.add_roles(request.param)
	frappe.db.commit()
	frappe.set_user(email)
	yield request.param
	frappe.set_user("Administrator")
	frappe.delete_doc("User", email, force=True)
	frappe.db.commit()


def test_each_role_has_the_rights_it_needs_and_no_more(role: str) -> None:
	for doctype, rights in ALLOWED[role].items():
		allowed = {right for right in RIGHTS if frappe.has_permission(doctype, right)}
		assert allowed == rights, doctype


def test_logins_and_card_numbers_are_for_those_who_need_them(role: str) -> None:
	level = {
		"Hikvision Manager": (True, True),
		"HR Manager": (False, True),
	}.get(role, (False, False))
	sees = tuple(
		1 in frappe.get_meta(doctype).get_permlevel_access("read", user=frappe.session.user)
		for doctype in ("Hikvision Device", "Access Event")
	)
	assert sees == level


@pytest.mark.parametrize("doctype", ["Access Event", "Access Event Gap", "Hikvision History Fetch"])
def test_nobody_writes_what_was_recorded_by_hand(doctype: str) -> None:
	assert not any(
		permission.write or permission.create or permission.delete
		for permission in frappe.get_meta(doctype).permissions
	)


@pytest.fixture
def documents() -> dict[str, Any]:
	"""One value that works for each parameter of the whitelisted methods, by its name."""
	device, other = create_test_device(mode="Push").name, create_test_device().name
	deliver([make_event(device, 1)])
	drain()
	event = frappe.get_all("Access Event", pluck="name")[0]
	person, employee = frappe.get_all("Access Person", pluck="name")[0], create_test_employee()
	return {
		"device": device,
		"address_of": other,
		"fingerprint": "0" * 64,
		"name": event,
		"names": [event],
		"gap": create_test_gap(device).name,
		"gaps": [create_test_gap(device).name],
		"remark": "because",
		"fetch": create_test_fetch(device).name,
		"since": "2026-03-02 08:00:00",
		"until": "2026-03-02 09:00:00",
		"shift": create_test_shift(auto_update_last_sync=1).name,
		"reason": "because",
		"person": person,
		"persons": [person],
		"employee": employee,
		"pairs": [{"person": person, "employee": employee}],
	}


def whitelisted() -> list[Callable[..., Any]]:
	"""Every function of the app that anybody can call over HTTP, apart from the door for devices."""
	found = [each for each in frappe.whitelisted if each.__module__.startswith("hikvision_frappe.api.")]
	return [each for each in found if each.__module__ != "hikvision_frappe.api.push"]


def call(method: Callable[..., Any], documents: dict[str, Any]) -> Any:
	code = method.__wrapped__.__code__ if hasattr(method, "__wrapped__") else method.__code__
	parameters = code.co_varnames[: code.co_argcount]
	return method(**{key: documents[key] for key in parameters if key in documents})


@pytest.mark.parametrize("roles", [(), ("Employee",), ("Hikvision Agent",)])
def test_no_method_answers_who_has_no_right(roles: tuple[str, ...], documents: dict[str, Any]) -> None:
	methods = whitelisted()
	if "Hikvision Agent" in roles:  # which reads devices, and nothing else
		methods = [each for each in methods if each.__name__ != "listener_status"]
	assert len(methods) > 12
	frappe.set_user(create_test_user(*roles) if roles else "Guest")
	for method in methods:
		with pytest.raises(frappe.PermissionError):
			call(method, documents)
			pytest.fail(f"{method.__module__}.{method.__name__} answered")


@pytest.mark.parametrize("role", ["Hikvision User", "HR Manager", "Hikvision Agent"])
def test_who_may_only_read_devices_cannot_use_them(role: str, documents: dict[str, Any]) -> None:
	frappe.set_user(create_test_user(role))
	for method in whitelisted():
		if method.__module__ == "hikvision_frappe.api.device" and method.__name__ != "listener_status":
			with pytest.raises(frappe.PermissionError):
				call(method, documents)
	device = frappe.get_doc("Hikvision Device", documents["device"])
	for method in (device.rotate_push_secret, device.forget_identity):
		with pytest.raises(frappe.PermissionError):
			method()


@pytest.mark.parametrize("role", ["Hikvision User", "HR Manager", "Hikvision Agent"])
def test_who_may_only_read_devices_is_told_no_login_and_no_secret(role: str) -> None:
	from frappe.client import get, get_list

	device = create_test_device(mode="Push")
	frappe.set_user(create_test_user(role))
	secrets = ("user", "password", "push_secret", "push_secret_hash")
	told = get("Hikvision Device", device.name)
	listed = get_list("Hikvision Device", fields=["name", *secrets], filters={"name": device.name})[0]
	assert not any(told.get(field) for field in secrets)
	assert not any(listed.get(field) for field in secrets)


def test_the_history_of_a_device_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
	device = create_test_device(mode="Push")
	secrets = [device.get_password("push_secret"), "Secret456"]
	monkeypatch.setitem(frappe.local.flags, "in_test", False)  # Frappe keeps no versions in tests
	device.password = "Secret456"
	device.save()
	device.rotate_push_secret()
	secrets.append(device.get_password("push_secret"))
	kept = frappe.get_all("Version", {"docname": device.name}, pluck="data")
	kept += frappe.get_all("Comment", {"reference_name": device.name}, pluck="content")
	assert kept and not any(secret in text for secret in secrets for text in kept)
