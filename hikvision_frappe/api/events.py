"""What the Access Event form and list ask for; only for those who answer for attendance."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.utils import get_datetime

from hikvision_frappe.attendance import events
from hikvision_frappe.core.checkin import LogType

ROLES = {"HR Manager", "Hikvision Manager", "System Manager"}
MOST_AT_ONCE = 500


@frappe.whitelist()
def actions(name: str) -> list[str]:
	"""What this user can do about this event now: of "replay", "count", "ignore" and "undo"."""
	frappe.has_permission("Access Event", "read", doc=name, throw=True)
	if not ROLES & set(frappe.get_roles()):
		return []
	may = {
		"replay": True,
		"count": frappe.has_permission("Employee Checkin", "create"),
		"ignore": True,
		"undo": frappe.has_permission("Employee Checkin", "delete"),
	}
	return [action for action in events.actions(name) if may[action]]


@frappe.whitelist(methods=["POST"])
def replay(names: list[str] | str) -> int:
	"""Judge these events again; returns how many could be. Events in a final state are left alone."""
	return events.replay(_allowed(names))


@frappe.whitelist(methods=["POST"])
def ignore(names: list[str] | str, reason: str) -> int:
	"""Set these events aside with a reason; returns how many could be. Replaying takes it back."""
	return events.ignore(_allowed(names), reason)


@frappe.whitelist(methods=["POST"])
def count_anyway(
	name: str,
	time: str | None = None,
	log_type: str | None = None,
	reason: str = "",
	employee: str | None = None,
) -> str:
	"""Make the check-in of an event that the rules left aside; returns the check-in's name.

	time: site time, where the device's is not to be used. log_type: IN or OUT, where the door's is not.
	"""
	_allowed([name])
	frappe.has_permission("Employee Checkin", "create", throw=True)
	if employee:
		frappe.get_doc("Employee", employee).check_permission("read")
	chosen = LogType(log_type) if log_type in ("IN", "OUT") else None
	moment = get_datetime(time).replace(tzinfo=None) if time else None
	return events.count_anyway(name, moment, chosen, reason, employee)


@frappe.whitelist(methods=["POST"])
def undo(name: str, reason: str) -> None:
	"""Delete the check-in made of an event; refused while an Attendance stands on it."""
	_allowed([name])
	events.uncount(name, reason)


def _allowed(names: list[str] | str) -> list[str]:
	"""The names, when the user may act on each of them."""
	if not ROLES & set(frappe.get_roles()):
		frappe.throw(_("Only {0} may do this.").format(", ".join(sorted(ROLES))), frappe.PermissionError)
	chosen = frappe.parse_json(names) if isinstance(names, str) else names
	if not isinstance(chosen, list) or len(chosen) > MOST_AT_ONCE:
		frappe.throw(_("Choose at most {0} at a time.").format(MOST_AT_ONCE))
	for name in chosen:
		frappe.has_permission("Access Event", "read", doc=name, throw=True)
	return chosen
