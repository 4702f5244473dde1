"""Shift Assignments for tests, written to the database directly."""

from __future__ import annotations

import itertools
from datetime import date

import frappe
from frappe.utils import now

from tests.bench.factories import COMPANY

_numbers = itertools.count(1)


def create_test_assignment(employee: str, shift: str, start: date, end: date | None = None) -> str:
	"""The name of an active, submitted assignment; committed. end: the last day, None = open."""
	values = {
		"name": f"HIK-TEST-ASG-{next(_numbers):06d}",
		"employee": employee,
		"company": COMPANY,
		"shift_type": shift,
		"start_date": start,
		"end_date": end,
		"status": "Active",
		"docstatus": 1,
		"creation": now(),
		"modified": now(),
		"owner": "Administrator",
		"modified_by": "Administrator",
	}
	frappe.db.bulk_insert("Shift Assignment", list(values), [tuple(values.values())])
	frappe.db.commit()
	return values["name"]
