"""Who else listens to Employee Checkin: whether check-ins may be written in sets, past the document.

A set is equal to what HRMS's document writes only while nobody else acts on that document. Whatever is not known for
certain to do nothing counts as listening; then the drain takes the document, as it always can.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import frappe
from frappe import _
from frappe.model import NO_VALUE_FIELDS
from frappe.model.base_document import get_controller

from hikvision_frappe.attendance.set_names import CHECKIN, is_plain_series
from hikvision_frappe.attendance.set_shifts import missing_functions

# What Frappe calls on a document, its class and its hooks, while it is inserted.
INSERT_METHODS = (
	"before_insert",
	"before_naming",
	"autoname",
	"before_validate",
	"validate",
	"before_save",
	"after_insert",
	"on_update",
	"on_change",
)

# Hooks of Frappe and ERPNext on every document. Each does something only where a record, a field or a hook names the
# DocType, and those are looked for below; the first is called once for a set.
HARMLESS_HOOKS = frozenset(
	{
		"frappe.desk.notifications.clear_doctype_notifications",
		"frappe.workflow.doctype.workflow_action.workflow_action.process_workflow_actions",
		"frappe.core.doctype.file.utils.attach_files_to_document",
		"frappe.automation.doctype.assignment_rule.assignment_rule.apply",
		"frappe.automation.doctype.assignment_rule.assignment_rule.update_due_date",
		"frappe.core.doctype.user_type.user_type.apply_permissions_for_non_standard_user_type",
		"frappe.social.doctype.energy_point_rule.energy_point_rule.process_energy_points",
		"frappe.automation.doctype.milestone_tracker.milestone_tracker.evaluate_milestone",
		"erpnext.support.doctype.service_level_agreement.service_level_agreement.apply",
		"erpnext.setup.doctype.transaction_deletion_record.transaction_deletion_record"
		".check_for_running_deletion_job",
	}
)

# Records that make Frappe or ERPNext act on a new document: DocType -> filters.
RECORDS: dict[str, dict[str, Any]] = {
	"Server Script": {
		"script_type": "DocType Event",
		"reference_doctype": CHECKIN,
		"disabled": 0,
		"doctype_event": [
			"in",
			["Before Insert", "After Insert", "Before Validate", "Before Save", "After Save"],
		],
	},
	"Webhook": {
		"webhook_doctype": CHECKIN,
		"enabled": 1,
		"webhook_docevent": ["in", ["after_insert", "on_update", "on_change"]],
	},
	"Notification": {
		"document_type": CHECKIN,
		"enabled": 1,
		"event": ["in", ["New", "Save", "Method", "Value Change"]],
	},
	"Assignment Rule": {"document_type": CHECKIN, "disabled": 0},
	"Workflow": {"document_type": CHECKIN, "is_active": 1},
	"Energy Point Rule": {"reference_doctype": CHECKIN, "enabled": 1},
	"Milestone Tracker": {"document_type": CHECKIN, "disabled": 0},
	"Service Level Agreement": {"document_type": CHECKIN, "enabled": 1},
	"Document Naming Rule": {"document_type": CHECKIN, "disabled": 0},
	"User Type": {"apply_user_permission_on": CHECKIN, "is_standard": 0},
}

# Where it is kept, and how long, that HRMS was seen to write something else.
DIFFERENCE = "hikvision_sets_differ"
DIFFERENCE_SECONDS = 3600

CONTROLLER = "hrms.hr.doctype.employee_checkin.employee_checkin"

# The names that HRMS's own code uses in these methods, in all versions that the sets were held against.
KNOWN_NAMES: dict[str, frozenset[str]] = {
	"before_validate": frozenset({"get_datetime", "time", "replace"}),
	"validate": frozenset(
		{
			"validate_active_employee",
			"employee",
			"validate_duplicate_log",
			"validate_time_change",
			"fetch_shift",
			"set_geolocation",
			"validate_distance_from_shift_location",
		}
	),
	"fetch_shift": frozenset(
		{
			"get_actual_start_end_datetime_of_shift",
			"employee",
			"get_datetime",
			"time",
			"shift",
			"offshift",
			"shift_type",
			"determine_check_in_and_check_out",
			"log_type",
			"skip_auto_attendance",
			"frappe",
			"throw",
			"_",
			"format",
			"name",
			"attendance",
			"actual_start",
			"actual_end",
			"start_datetime",
			"end_datetime",
			"shift_actual_start",
			"shift_actual_end",
			"shift_start",
			"shift_end",
			"overtime_type",
		}
	),
	"validate_duplicate_log": frozenset(
		{
			"frappe",
			"db",
			"exists",
			"employee",
			"time",
			"name",
			"log_type",
			"get_desk_link",
			"throw",
			"_",
			"format",
		}
	),
	"validate_time_change": frozenset({"attendance", "has_value_changed", "frappe", "throw", "_"}),
	"set_geolocation": frozenset({"set_geolocation_from_coordinates"}),
	"validate_distance_from_shift_location": frozenset(
		{
			"frappe",
			"db",
			"get_single_value",
			"get_value",
			"get_all",
			"latitude",
			"longitude",
			"employee",
			"shift",
			"time",
			"throw",
			"_",
			"format",
			"get_distance_between_coordinates",
			"CheckinRadiusExceededError",
		}
	),
}

# Fields of Employee Checkin whose values the sets know, and what they rely on.
KNOWN_FIELDS: dict[str, dict[str, Any]] = {
	"employee": {"fieldtype": "Link", "options": "Employee", "reqd": 1},
	"employee_name": {"fieldtype": "Data", "fetch_from": "employee.employee_name"},
	"log_type": {"fieldtype": "Select", "options": "\nIN\nOUT"},
	"shift": {"fieldtype": "Link", "options": "Shift Type"},
	"time": {"fieldtype": "Datetime", "default": "Now", "reqd": 1},
	"device_id": {"fieldtype": "Data"},
	"skip_auto_attendance": {"fieldtype": "Check", "default": "0"},
	"attendance": {"fieldtype": "Link", "options": "Attendance"},
	"latitude": {"fieldtype": "Float"},
	"longitude": {"fieldtype": "Float"},
	"geolocation": {"fieldtype": "Geolocation"},
	"shift_start": {"fieldtype": "Datetime"},
	"shift_end": {"fieldtype": "Datetime"},
	"shift_actual_start": {"fieldtype": "Datetime"},
	"shift_actual_end": {"fieldtype": "Datetime"},
	"offshift": {"fieldtype": "Check", "default": "0"},
	"overtime_type": {"fieldtype": "Link", "options": "Overtime Type"},
	"access_event": {"fieldtype": "Link", "options": "Access Event", "unique": 1},
}
# What of a field decides about the value that a new document gets, or about whether it may have it.
DECIDING = (
	"fieldtype",
	"options",
	"default",
	"reqd",
	"fetch_from",
	"unique",
	"is_virtual",
	"in_global_search",
)
# A field that the sets do not know is left at its default. That is what Frappe does with these kinds of fields.
LEFT_AT_DEFAULT = frozenset(
	{
		"Autocomplete",
		"Barcode",
		"Check",
		"Code",
		"Color",
		"Currency",
		"Data",
		"Date",
		"Datetime",
		"Duration",
		"Float",
		"Geolocation",
		"HTML Editor",
		"Int",
		"JSON",
		"Link",
		"Long Text",
		"Markdown Editor",
		"Percent",
		"Phone",
		"Select",
		"Small Text",
		"Text",
		"Text Editor",
	}
)
MOVING_DEFAULTS = frozenset({"now", "today", "__user"})


def why_not_sets() -> list[str]:
	"""Why backlogs of the connected site go to Employee Checkin one document at a time, in words; [] = in sets."""
	questions: tuple[Callable[[], Iterable[str]], ...] = (
		_user,
		_controller,
		_hooks,
		_records,
		_meta,
		_naming,
		_geolocation,
		_difference,
	)
	return [reason for question in questions for reason in question()]


def in_one_line() -> str:
	"""How backlogs of the connected site go to Employee Checkin, for a terminal."""
	reasons = why_not_sets()
	if not reasons:
		return _("backlogs: written to Employee Checkin in sets")
	return _("backlogs: one check-in at a time. {0}").format(" ".join(reasons))


def _user() -> Iterator[str]:
	if frappe.session.user != "Administrator":
		yield _("The drain runs as {0}, whose permissions hold for each document.").format(
			frappe.session.user
		)


def _controller() -> Iterator[str]:
	for hook in ("override_doctype_class", "extend_doctype_class"):
		for path in _as_list(frappe.get_hooks(hook, {}).get(CHECKIN)):
			yield _("An app replaces or extends the document ({0}).").format(path)
	controller = get_controller(CHECKIN)
	if controller.__module__ != CONTROLLER:
		yield _("The document is not Frappe HR's own ({0}).").format(controller.__module__)
	for function in missing_functions():
		yield _("This version of Frappe HR does something unknown to the sets ({0}).").format(function)
	for method in INSERT_METHODS:
		if method not in KNOWN_NAMES and _defines(controller, method):
			yield _("This version of Frappe HR does something unknown to the sets ({0}).").format(method)
	for method, known in KNOWN_NAMES.items():
		if unknown := sorted(_names_in(controller, method) - known):
			yield _("This version of Frappe HR does something unknown to the sets ({0}).").format(
				f"{method}: {', '.join(unknown)}"
			)


def _defines(controller: type, method: str) -> bool:
	"""Whether the class itself has the method; Frappe's Document has none of those that are asked for."""
	return callable(getattr(controller, method, None))


def _names_in(controller: type, method: str) -> set[str]:
	function = getattr(controller, method, None)
	return set(inspect.unwrap(function).__code__.co_names) if function else set()


def _hooks() -> Iterator[str]:
	hooks = frappe.get_doc_hooks()
	for method in INSERT_METHODS:
		for path in hooks.get(CHECKIN, {}).get(method, []):
			yield _("An app acts on new check-ins ({0}).").format(path)
		for path in hooks.get("*", {}).get(method, []):
			if path not in HARMLESS_HOOKS:
				yield _("An app acts on every new document ({0}).").format(path)


def _records() -> Iterator[str]:
	for doctype, filters in RECORDS.items():
		if not frappe.db.table_exists(doctype):
			continue  # of another version of Frappe
		for name in frappe.get_all(doctype, filters=filters, pluck="name"):
			yield _("{0} {1} acts on new check-ins.").format(_(doctype), name)


def _meta() -> Iterator[str]:
	meta = frappe.get_meta(CHECKIN)
	for field in meta.get("fields"):
		if field.fieldtype in ("Table", "Table MultiSelect"):
			yield _("The field {0} of Employee Checkin is a table.").format(field.fieldname)
		elif field.fieldtype not in NO_VALUE_FIELDS:
			yield from _field(field)
	if meta.has_field("company"):
		yield _("Employee Checkin has a field {0}, which ERPNext acts on.").format("company")
	if (
		meta.get("show_name_in_global_search")
		or meta.get("is_submittable")
		or meta.get("title_field") == "title"
	):
		yield _("The form of Employee Checkin is customised.")


def _field(field: Any) -> Iterator[str]:
	known = KNOWN_FIELDS.get(field.fieldname)
	if known is None:
		if not _is_left_at_default(field):
			yield _("The field {0} of Employee Checkin is filled or checked by Frappe.").format(
				field.fieldname
			)
	elif any(_said(field.get(key)) != _said(known.get(key)) for key in DECIDING):
		yield _("The field {0} of Employee Checkin is not as Frappe HR made it.").format(field.fieldname)


def _is_left_at_default(field: Any) -> bool:
	default = _said(field.get("default"))
	needs = any(
		_said(field.get(key)) for key in ("reqd", "fetch_from", "unique", "is_virtual", "in_global_search")
	)
	moves = default.startswith(":") or default.lower() in MOVING_DEFAULTS
	checked = default and (field.fieldtype == "Link" or "<" in default)
	return field.fieldtype in LEFT_AT_DEFAULT and not (needs or moves or checked)


def _said(value: Any) -> str:
	"""Property setters and documents write one value in several ways."""
	return "" if value in (None, 0, "0", False) else str(value).strip()


def _naming() -> Iterator[str]:
	autoname = frappe.get_meta(CHECKIN).autoname or ""
	if not is_plain_series(autoname):
		yield _("Check-ins get their names in a way of this site's own ({0}).").format(autoname)


def _geolocation() -> Iterator[str]:
	if frappe.db.get_single_value("HR Settings", "allow_geolocation_tracking"):
		yield _("HR Settings ask for the location of each check-in.")


def _difference() -> Iterator[str]:
	if found := frappe.cache.get_value(DIFFERENCE, expires=True):
		yield found


def remember_difference(checkin: str, fields: Iterable[str]) -> None:
	"""A check-in of Frappe HR's own was not what a set would have written: no sets for a while, and a log of it."""
	text = _("Frappe HR wrote check-in {0} otherwise than a set would ({1}).").format(
		checkin, ", ".join(fields)
	)
	frappe.cache.set_value(DIFFERENCE, text, expires_in_sec=DIFFERENCE_SECONDS)
	frappe.log_error(title="Hikvision: check-ins are not written in sets", message=text)
	frappe.db.commit()  # nosemgrep: the log is kept whatever happens next


def _as_list(value: Any) -> list[str]:
	return [value] if isinstance(value, str) else list(value or [])
