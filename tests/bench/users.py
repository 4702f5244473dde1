"""Users for tests of permissions."""

from __future__ import annotations

import frappe


def create_test_user(*roles: str) -> str:
	"""The name of a user with exactly these roles. Committed; kept between runs."""
	name = "-".join(role.lower().replace(" ", "-") for role in roles) + "@hikvision-test.example"
	if not frappe.db.exists("User", name):
		before = frappe.session.user
		frappe.set_user("Administrator")
		user = frappe.get_doc(
			{"doctype": "User", "email": name, "first_name": "Test", "send_welcome_email": 0}
		)
		for role in roles:
			user.append("roles", {"role": role})
		user.insert()
		frappe.db.commit()
		frappe.set_user(before)
	return name
