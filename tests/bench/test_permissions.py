"""Who may see and do what: the roles of the app, by the framework's own checks."""

from __future__ import annotations

from collections.abc import Iterator

import frappe
import pytest

from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import create_test_device, make_event

ALLOWED = {
	"Hikvision Manager": {
		"Hikvision Device": {"read", "write", "create", "delete", "export"},
		"Hikvision Settings": {"read", "write", "create"},
		"Access Event": {"read", "export"},
		"Access Person": {"read", "write", "create", "delete", "export"},
	},
	"Hikvision User": {
		"Hikvision Device": {"read"},
		"Hikvision Settings": {"read"},
		"Access Event": {"read"},
		"Access Person": {"read", "write", "create"},
	},
	"HR Manager": {
		"Hikvision Device": {"read"},
		"Hikvision Settings": {"read"},
		"Access Event": {"read", "export"},
		"Access Person": {"read", "write", "create", "export"},
	},
	"Hikvision Agent": {
		"Hikvision Device": {"read"},
		"Hikvision Settings": set(),
		"Access Event": set(),
		"Access Person": set(),
	},
	"Employee": {
		"Hikvision Device": set(),
		"Hikvision Settings": set(),
		"Access Event": set(),
		"Access Person": set(),
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


def test_nobody_writes_an_event_by_hand() -> None:
	device = create_test_device().name
	deliver([make_event(device, 1)])
	name = frappe.get_all("Access Event", pluck="name")[0]
	for role in ALLOWED:
		assert not any(
			permission.write or permission.create or permission.delete
			for permission in frappe.get_meta("Access Event").permissions
			if permission.role == role
		)
	assert frappe.get_doc("Access Event", name).meaning
