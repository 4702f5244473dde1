"""What a site gets besides the DocTypes, and how it is given back: roles and one custom field.

Everything here can be run again and again, and an uninstall leaves the site as it was.
"""

from __future__ import annotations

import frappe
from frappe.custom.doctype.custom_field.custom_field import create_custom_fields

MODULE = "Hikvision Frappe"

# Role -> whether its users work in the desk.
ROLES = {"Hikvision Manager": 1, "Hikvision User": 1, "Hikvision Agent": 0}

CUSTOM_FIELDS = {
	"Employee Checkin": [
		{
			"fieldname": "access_event",
			"label": "Access Event",
			"fieldtype": "Link",
			"options": "Access Event",
			"insert_after": "device_id",
			"depends_on": "access_event",
			"read_only": 1,
			"unique": 1,  # one pass, one check-in: the database's word
			"no_copy": 1,
			"print_hide": 1,
			"module": MODULE,
		}
	]
}

# HRMS finds the check-ins of an Attendance by reading, and locking, the whole table when it is cancelled; and the
# check-ins without one are what late passes are looked for among. Frappe leaves indexes of two columns alone.
INDEXES = {("Employee Checkin", "hikvision_attendance"): ("attendance", "shift_start")}


def before_install() -> None:
	"""Roles come first: a DocType that names an unknown one would create it as a desk role."""
	create_roles()


def after_install() -> None:
	create_custom_fields(CUSTOM_FIELDS)
	create_indexes()


def after_migrate() -> None:
	create_roles()
	create_custom_fields(CUSTOM_FIELDS)
	create_indexes()


def before_uninstall() -> None:
	"""Remove what Frappe leaves behind: section by section the reverse of the installation."""
	remove_custom_fields()
	remove_indexes()
	remove_log_clearing()
	remove_secrets()
	remove_scheduled_jobs()
	remove_patch_log()
	remove_settings()
	remove_desk_entries()
	remove_user_traces()
	remove_roles()


def create_roles() -> None:
	for role, desk_access in ROLES.items():
		if not frappe.db.exists("Role", role):
			frappe.get_doc({"doctype": "Role", "role_name": role, "desk_access": desk_access}).insert(
				ignore_permissions=True
			)


def remove_roles() -> None:
	for role in ROLES:
		frappe.db.delete("Has Role", {"role": role})
		frappe.db.delete("Custom DocPerm", {"role": role})
		frappe.delete_doc("Role", role, ignore_permissions=True, force=True, ignore_missing=True)
	frappe.clear_cache()


def remove_custom_fields() -> None:
	for doctype, fields in CUSTOM_FIELDS.items():
		for field in fields:
			frappe.delete_doc(
				"Custom Field", f"{doctype}-{field['fieldname']}", force=True, ignore_missing=True
			)
			_drop_column(doctype, field["fieldname"])
		frappe.clear_cache(doctype=doctype)


def _drop_column(doctype: str, fieldname: str) -> None:
	"""Frappe keeps the column of a deleted custom field, with its unique index."""
	if fieldname in frappe.db.get_table_columns(doctype):
		frappe.db.sql_ddl(f"ALTER TABLE `tab{doctype}` DROP COLUMN `{fieldname}`")


def create_indexes() -> None:
	for (doctype, name), fields in INDEXES.items():
		frappe.db.add_index(doctype, list(fields), name)


def remove_indexes() -> None:
	for doctype, name in INDEXES:
		if not frappe.db.has_index(f"tab{doctype}", name):
			continue
		if frappe.db.db_type == "postgres":
			frappe.db.sql_ddl(f'DROP INDEX "{name}"')
		else:
			frappe.db.sql_ddl(f"ALTER TABLE `tab{doctype}` DROP INDEX `{name}`")


def remove_log_clearing() -> None:
	"""Frappe added these rows from our hook, on its nightly run."""
	frappe.db.delete("Logs To Clear", {"ref_doctype": ["in", _doctypes()]})


def remove_secrets() -> None:
	frappe.db.delete("__Auth", {"doctype": ["in", _doctypes()]})


def remove_settings() -> None:
	frappe.db.delete("Singles", {"doctype": ["in", _doctypes()]})


def remove_scheduled_jobs() -> None:
	jobs = frappe.get_all("Scheduled Job Type", {"method": ["like", "hikvision_frappe.%"]}, pluck="name")
	if jobs:
		frappe.db.delete("Scheduled Job Log", {"scheduled_job_type": ["in", jobs]})
		frappe.db.delete("Scheduled Job Type", {"name": ["in", jobs]})


def remove_patch_log() -> None:
	"""Frappe notes every patch at the installation."""
	frappe.db.delete("Patch Log", {"patch": ["like", "hikvision_frappe.%"]})


def remove_desk_entries() -> None:
	"""The icon and the sidebar that version 16 makes of hooks and workspace; its own removal commits nothing."""
	for doctype, filters in {
		"Desktop Icon": {"app": "hikvision_frappe"},
		"Workspace Sidebar": {"module": MODULE},
	}.items():
		if frappe.db.exists("DocType", doctype):
			for name in frappe.get_all(doctype, filters, pluck="name"):
				frappe.delete_doc(doctype, name, ignore_permissions=True, force=True)


def remove_user_traces() -> None:
	"""List settings, shares and versions of documents that cease to exist."""
	frappe.db.delete("__UserSettings", {"doctype": ["in", _doctypes()]})
	frappe.db.delete("DocShare", {"share_doctype": ["in", _doctypes()]})
	frappe.db.delete("Version", {"ref_doctype": ["in", _doctypes()]})


def _doctypes() -> list[str]:
	return frappe.get_all("DocType", {"module": MODULE}, pluck="name")
