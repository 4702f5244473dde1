"""Days of work for tests of attendance: shifts, punches, and HRMS's own run over them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import frappe
from frappe.utils import get_datetime

from tests.bench.factories import COMPANY, EMPLOYEE_PREFIX, create_test_employee, create_test_shift

MONDAY = date(2026, 3, 2)
# Removed after each test, beside what the other factories know.
HR_TABLES = ("Leave Application", "Attendance Request", "Salary Slip", "Shift Assignment")
OURS = ("Bulk Manual Punch", "Bulk Manual Punch Employee")


def day_shift(name: str = "", **values: Any) -> Any:
	"""08:00 to 17:00, processed up to the end of the week. Committed."""
	values = {
		"process_attendance_after": MONDAY - timedelta(days=7),
		"last_sync_of_checkin": datetime(2026, 3, 7, 12),
		"begin_check_in_before_shift_start_time": 60,
		"allow_check_out_after_shift_end_time": 60,
		"working_hours_threshold_for_half_day": 6,
		"working_hours_threshold_for_absent": 2,
		"determine_check_in_and_check_out": "Strictly based on Log Type in Employee Checkin",
		**values,
	}
	return create_test_shift(name, **values)


def take_off(shift: Any, day: date) -> None:
	"""Let a day be a holiday of the shift. Committed."""
	holidays = frappe.get_doc(
		{
			"doctype": "Holiday List",
			"holiday_list_name": "HIK-TEST-Holidays",
			"from_date": "2026-01-01",
			"to_date": "2026-12-31",
			"holidays": [{"holiday_date": day, "description": "Day off"}],
		}
	).insert()
	frappe.db.set_value("Shift Type", shift.name, "holiday_list", holidays.name)
	frappe.db.commit()
	frappe.clear_document_cache("Shift Type", shift.name)


def worker(shift: Any, **values: Any) -> str:
	"""An employee whose default shift it is. Committed."""
	return create_test_employee(**{"default_shift": shift.name, "company": COMPANY, **values})


def punch(employee: str, time: str, log_type: str, **values: Any) -> str:
	"""A check-in through HRMS's document at a site time like ``2026-03-02 08:00``. Committed."""
	document = frappe.get_doc(
		{
			"doctype": "Employee Checkin",
			"employee": employee,
			"time": get_datetime(time),
			"log_type": log_type,
			"device_id": "Mobile",
			**values,
		}
	).insert()
	frappe.db.commit()
	return document.name


def run_auto_attendance(shift: Any) -> None:
	"""What HRMS does every hour. Committed."""
	shift.reload()
	shift.process_auto_attendance()
	frappe.db.commit()
	frappe.clear_messages()


def attendance_of(employee: str, day: date = MONDAY, shift: str | None = None) -> Any:
	"""The valid Attendance of a day as committed now, or None."""
	frappe.db.rollback()
	filters: dict[str, Any] = {"employee": employee, "attendance_date": day, "docstatus": 1}
	if shift:
		filters["shift"] = shift
	return frappe.db.get_value("Attendance", filters, "*", as_dict=True)


def insert_row(doctype: str, **values: Any) -> str:
	"""A row of another module's document, without the setup that the document itself would ask for. Committed."""
	document = frappe.new_doc(doctype)
	document.update(values)
	document.name = values.get("name") or f"HIK-TEST-{frappe.generate_hash(length=8)}"
	document.flags.name_set = True
	document.db_insert()
	frappe.db.commit()
	return document.name


def clear_hr_data() -> None:
	"""Remove what these helpers and the documents of this app made. Commits."""
	frappe.set_user("Administrator")
	frappe.db.rollback()
	for doctype in HR_TABLES:
		frappe.db.delete(doctype, {"employee": ["like", f"{EMPLOYEE_PREFIX}%"]})
	for doctype in OURS:
		frappe.db.delete(doctype)
	for doctype in (*OURS, *HR_TABLES):
		frappe.db.delete("Comment", {"reference_doctype": doctype})
		frappe.db.delete("Version", {"ref_doctype": doctype})
	frappe.db.delete("Version", {"ref_doctype": ["in", ["Employee Checkin", "Attendance"]]})
	for name in frappe.get_all("Holiday List", {"name": ["like", "HIK-TEST-%"]}, pluck="name"):
		frappe.db.delete("Holiday", {"parent": name})
		frappe.db.delete("Holiday List", {"name": name})
	frappe.db.delete("User Permission", {"for_value": ["like", f"{EMPLOYEE_PREFIX}%"]})
	frappe.db.commit()
	frappe.clear_cache()
