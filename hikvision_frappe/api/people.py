"""What the Access Person form and list ask for: map a number, ignore it, see what waits."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import _

from hikvision_frappe.attendance import people

MOST_AT_ONCE = 200


@frappe.whitelist(methods=["POST"])
def map_person(person: str, employee: str, devices: list[str] | str | None = None) -> dict[str, Any]:
	"""Say whose number this is, everywhere or on some devices only, and replay its waiting events.

	Returns {"person": the Access Person that holds the number now, "waiting": events that still wait for it}.
	"""
	_may_write(person)
	frappe.get_doc("Employee", employee).check_permission("read")
	chosen = frappe.parse_json(devices or None)  # a form sends nothing as an empty text
	holder = people.map_person(person, employee, chosen)
	return {"person": holder, "waiting": frappe.db.get_value("Access Person", person, "waiting_events") or 0}


@frappe.whitelist(methods=["POST"])
def map_people(pairs: list[dict[str, str]] | str) -> int:
	"""Map several numbers at once, all or none: [{"person", "employee"}]; returns how many."""
	rows = frappe.parse_json(pairs)
	_bounded(rows)
	for row in rows:
		map_person(row["person"], row["employee"])
	return len(rows)


@frappe.whitelist(methods=["POST"])
def ignore_people(persons: list[str] | str) -> int:
	"""Never count these numbers; their waiting events are set aside. Returns how many."""
	return _set_ignored(persons, True)


@frappe.whitelist(methods=["POST"])
def stop_ignoring(persons: list[str] | str) -> int:
	"""Take ignored numbers back; their events wait again. Returns how many."""
	return _set_ignored(persons, False)


def _set_ignored(persons: list[str] | str, ignored: bool) -> int:
	names = frappe.parse_json(persons)
	_bounded(names)
	for name in names:
		_may_write(name)
		people.set_ignored(name, ignored)
	return len(names)


@frappe.whitelist()
def waiting_by_device(person: str) -> list[dict[str, Any]]:
	"""Where the number was seen: [{"device", "title", "events", "waiting"}]."""
	frappe.has_permission("Access Person", "read", doc=person, throw=True)
	frappe.has_permission("Access Event", "read", throw=True)
	return people.waiting_by_device(person)


@frappe.whitelist()
def suggestions(persons: list[str] | str) -> list[dict[str, Any]]:
	"""The chosen unmatched people with the employees suggested for them, for the list's dialog."""
	frappe.has_permission("Access Person", "read", throw=True)
	names = frappe.parse_json(persons)
	_bounded(names)
	return frappe.get_list(
		"Access Person",
		filters={"name": ["in", names], "status": people.UNMATCHED},
		fields=["name", "person_code", "person_name", "suggested_employee", "waiting_events"],
		order_by="person_code",
		limit=MOST_AT_ONCE,
	)


def _may_write(person: str) -> None:
	frappe.has_permission("Access Person", "write", doc=person, throw=True)


def _bounded(rows: list[Any]) -> None:
	if not isinstance(rows, list) or len(rows) > MOST_AT_ONCE:
		frappe.throw(_("Choose at most {0} at a time.").format(MOST_AT_ONCE))
