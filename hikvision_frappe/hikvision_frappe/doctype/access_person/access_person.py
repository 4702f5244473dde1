"""Who a person number at the doors is: an employee, somebody to ignore, or not known yet."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document

from hikvision_frappe.attendance import people
from hikvision_frappe.ledger.devices import duplicates


class AccessPerson(Document):
	def before_validate(self) -> None:
		self.person_code = (self.person_code or "").strip()
		self.person_name = (self.person_name or "").strip()
		self.email = (self.email or "").strip().lower()
		for row in self.numbers:
			row.person_code = (row.person_code or "").strip()
		if self.status == "Unmatched" and self.employee:
			self.status = "Matched"
		self.title = self.employee_name or self.person_name or self.person_code or self._first_number()

	def validate(self) -> None:
		self._check_employee()
		self._check_code_is_free()
		self._check_numbers_are_free()

	def on_update(self) -> None:
		people.on_person_update(self)

	def on_trash(self) -> None:
		people.on_person_trash(self)

	def _first_number(self) -> str:
		return self.numbers[0].person_code if self.numbers else self.name or ""

	def _check_employee(self) -> None:
		if self.status == "Matched" and not self.employee:
			frappe.throw(_("Choose the employee, or set the person to Ignored."), frappe.MandatoryError)
		if self.employee and not frappe.db.exists("Employee", self.employee):
			# Frappe checks no link whose fields it fetches.
			frappe.throw(_("There is no employee {0}.").format(self.employee), frappe.LinkValidationError)
		if self.status != "Matched" and self.employee:
			frappe.throw(_("Clear the employee before setting the person to {0}.").format(_(self.status)))

	def _check_code_is_free(self) -> None:
		other = self.person_code and self._other({"person_code": self.person_code})
		if other:
			self._refuse(self.person_code, other)

	def _check_numbers_are_free(self) -> None:
		for row in duplicates(self.numbers, key=lambda row: (row.device, row.person_code)):
			frappe.throw(_("Row {0}: this number is listed above already.").format(row.idx))
		for row in self.numbers:
			other = frappe.db.get_value(
				"Access Person Number",
				{"device": row.device, "person_code": row.person_code, "parent": ["!=", self.name]},
				"parent",
			)
			if other:
				self._refuse(row.person_code, other)

	def _other(self, filters: dict) -> str | None:
		return frappe.db.get_value("Access Person", {**filters, "name": ["!=", self.name]})

	def _refuse(self, code: str, other: str) -> None:
		title = frappe.db.get_value("Access Person", other, "title") or other
		frappe.throw(
			_("Number {0} belongs to {1} already.").format(frappe.bold(code), frappe.bold(title)),
			frappe.UniqueValidationError,
			title=_("Person Number"),
		)
