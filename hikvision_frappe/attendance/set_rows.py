"""Rows of Employee Checkin as HRMS's document would write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import frappe
from frappe.utils import cint, now
from pypika.terms import Parameter

from hikvision_frappe.attendance.set_names import CHECKIN
from hikvision_frappe.attendance.set_shifts import Employment, FoundShift
from hikvision_frappe.core.checkin import LogType

# What differs between any two documents, however they were written.
OF_ITS_OWN = frozenset({"name", "creation", "modified"})


@dataclass(frozen=True, slots=True)
class Template:
	"""A new Employee Checkin with all the defaults of this site, and how long its texts may be."""

	values: Mapping[str, Any]
	lengths: Mapping[str, int]

	def row(
		self,
		event: str,
		employment: Employment,
		time: datetime,
		log_type: LogType,
		device_label: str,
		shift: FoundShift | None,
	) -> dict[str, Any]:
		"""The row of a check-in, without its name and dates. time: naive site time."""
		row = {
			**self.values,
			"employee": employment.name,
			"employee_name": employment.employee_name,
			"log_type": log_type.value,
			"time": time,
			"device_id": device_label,
			"access_event": event,
		}
		row.update(_of_shift(shift))
		if "overtime_type" in self.values and shift:
			row["overtime_type"] = shift.overtime_type
		return row

	def takes(self, row: Mapping[str, Any]) -> bool:
		"""Whether Frappe would write the row's texts as they are: it refuses long ones and cleans HTML."""
		texts = ((field, value) for field, value in row.items() if isinstance(value, str))
		return all(
			"<" not in value and ">" not in value and len(value) <= self.lengths.get(field, len(value))
			for field, value in texts
		)


def load_template() -> Template:
	"""What Frappe itself fills into a new document for the session's user."""
	document = frappe.new_doc(CHECKIN)
	document.owner = document.modified_by = frappe.session.user
	values = document.get_valid_dict(ignore_virtual=True)
	values["docstatus"] = 0
	meta = frappe.get_meta(CHECKIN)
	lengths = {
		field.fieldname: cint(field.get("length")) or int(frappe.db.VARCHAR_LEN)
		for field in meta.get("fields")
		if field.fieldtype in ("Data", "Link", "Select")
	}
	return Template(dict(values), lengths)


def _of_shift(shift: FoundShift | None) -> dict[str, Any]:
	if shift is None:
		return {"shift": None, "offshift": 1}
	return {
		"shift": shift.name,
		"offshift": 0,
		"shift_start": shift.start,
		"shift_end": shift.end,
		"shift_actual_start": shift.actual_start,
		"shift_actual_end": shift.actual_end,
	}


def insert_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
	"""Insert check-ins under these names in one statement; the caller commits.

	Raises what the database says, for instance where an event has a check-in already.
	"""
	if not rows:
		return
	moment = now()
	fields = ("name", "creation", "modified", *(field for field in rows[0] if field not in OF_ITS_OWN))
	values: list[Any] = []
	for name, row in zip(names, rows, strict=True):
		values += (name, moment, moment, *(row[field] for field in fields[3:]))
	more_rows = f", ({', '.join(['%s'] * len(fields))})" * (len(rows) - 1)
	frappe.db.sql(_insert_one(frappe.db.db_type, fields) + more_rows, values)


@lru_cache
def _insert_one(_db_type: str, fields: tuple[str, ...]) -> str:
	"""Built once: ``frappe.db.bulk_insert`` builds each statement anew, and that takes longer than running it."""
	table = frappe.qb.DocType(CHECKIN)
	return frappe.qb.into(table).columns(*fields).insert(*(Parameter("%s") for _field in fields)).get_sql()


def differences(row: Mapping[str, Any], written: Mapping[str, Any]) -> list[str]:
	"""The fields in which a row as it stands in the database differs from one that was made here."""
	return [
		field
		for field, value in row.items()
		if field not in OF_ITS_OWN and _plain(value) != _plain(written.get(field))
	]


def _plain(value: Any) -> Any:
	return None if value is None else float(value) if _is_number(value) else value


def _is_number(value: Any) -> bool:
	return hasattr(value, "__float__")


def read_row(event: str) -> Mapping[str, Any] | None:
	"""The check-in of an event as it stands in the database."""
	rows: Iterable[Any] = frappe.get_all(CHECKIN, filters={"access_event": event}, fields=["*"])
	return next(iter(rows), None)


def told_meanwhile(rows: Iterable[Mapping[str, Any]]) -> set[tuple[str, datetime, str]]:
	"""(employee, time, log type) of the check-ins that others have by now at the times of these rows.

	The same question that HRMS asks before each insert.
	"""
	rows = list(rows)
	if not rows:
		return set()
	checkin = frappe.qb.DocType(CHECKIN)
	found = (
		frappe.qb.from_(checkin)
		.select(checkin.employee, checkin.time, checkin.log_type)
		.where(checkin.employee.isin(sorted({row["employee"] for row in rows})))
		.where(checkin.time.isin(sorted({row["time"] for row in rows})))
		.run()
	)
	return {(employee, time, log_type or "") for employee, time, log_type in found}
