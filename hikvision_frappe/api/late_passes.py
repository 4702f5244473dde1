"""What the Late Passes report asks for: count the passes that came after their Attendance."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import _

from hikvision_frappe.attendance import late_passes

RIGHTS = (
	("Attendance", "cancel"),
	("Attendance", "submit"),
	("Attendance", "create"),
	("Employee Checkin", "write"),
)


@frappe.whitelist(methods=["POST"])
def reprocess(names: list[str] | str) -> dict[str, Any]:
	"""Cancel these Attendances and make them anew with their late passes; each alone, with the user's rights.

	A few at once: {"done": True, "total", "rows": [{"attendance", "state", "employee", "employee_name", "day", "before",
	"after", "made", "message"}]}. More: {"job"}, to be asked for with ``progress``.
	"""
	_may_reprocess()
	chosen = _bounded(names)
	if len(chosen) > late_passes.DIRECTLY:
		return {"job": late_passes.start_reprocessing(chosen)}
	rows = [late_passes.as_row(each) for each in late_passes.reprocess(chosen)]
	return {"done": True, "total": len(rows), "rows": rows}


@frappe.whitelist()
def progress(job: str = "") -> dict[str, Any]:
	"""How far one's own job is: {"known", "total", "rows", "done", "error"}; ``known`` is False once it is forgotten."""
	_may_reprocess()
	state = late_passes.progress(job) or {}
	return {"known": bool(state), **{key: value for key, value in state.items() if key != "user"}}


def _may_reprocess() -> None:
	for doctype, right in RIGHTS:
		frappe.has_permission(doctype, right, throw=True)


def _bounded(names: list[str] | str) -> list[str]:
	chosen = frappe.parse_json(names) if isinstance(names, str) else names
	if not isinstance(chosen, list) or not 0 < len(chosen) <= late_passes.MOST_DAYS:
		frappe.throw(_("Choose at most {0} at a time.").format(late_passes.MOST_DAYS))
	return list(dict.fromkeys(str(name) for name in chosen))
