"""Passes that HR writes down for the time a terminal was down: who, when, why; unchangeable once submitted."""

from __future__ import annotations

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import format_datetime, get_datetime, now_datetime

from hikvision_frappe.attendance import manual_punch


class BulkManualPunch(Document):
	def validate(self) -> None:
		self._check_period()
		self._check_number_of_rows()
		self._check_times()
		self._check_repetitions()
		self._start_over()

	def _check_period(self) -> None:
		self.from_time, self.to_time = get_datetime(self.from_time), get_datetime(self.to_time)
		if self.from_time >= self.to_time:
			frappe.throw(_("The time ends before it begins."))
		if self.to_time - self.from_time > manual_punch.LONGEST_OUTAGE:
			days = manual_punch.LONGEST_OUTAGE.days
			frappe.throw(_("Write down at most {0} days in one document.").format(days))

	def _check_number_of_rows(self) -> None:
		if len(self.employees) > manual_punch.MOST_ROWS:
			frappe.throw(
				_("At most {0} passes fit into one document. Split them.").format(manual_punch.MOST_ROWS)
			)

	def _check_times(self) -> None:
		for row in self.employees:
			row.time = get_datetime(row.time).replace(microsecond=0)
			if not self.from_time <= row.time <= self.to_time:
				frappe.throw(
					_("Row {0}: {1} is not within the time of this document.").format(
						row.idx, format_datetime(row.time)
					)
				)
			if row.time > now_datetime():
				frappe.throw(_("Row {0}: {1} has not come yet.").format(row.idx, format_datetime(row.time)))

	def _check_repetitions(self) -> None:
		seen: dict[tuple[object, ...], int] = {}
		for row in self.employees:
			key = (row.employee, row.time, row.log_type)
			if key in seen:
				frappe.throw(_("Rows {0} and {1} are the same pass.").format(seen[key], row.idx))
			seen[key] = row.idx

	def _start_over(self) -> None:
		"""Whatever a form or a copy brings along, nothing has been made of a draft."""
		self.status, self.made, self.unmade = "Draft", 0, 0
		self.submitted_by = self.submitted_at = None
		for row in self.employees:
			row.state, row.message, row.employee_checkin = manual_punch.RowState.WAITING.value, "", None

	def before_submit(self) -> None:
		if not self.employees:
			frappe.throw(_("Add the people who passed: press Get Employees."))
		frappe.has_permission("Employee Checkin", "create", throw=True)
		self.status = manual_punch.Status.WAITING.value
		self.submitted_by, self.submitted_at = frappe.session.user, now_datetime()

	def on_submit(self) -> None:
		manual_punch.make_after_commit(self.name)

	def on_cancel(self) -> None:
		manual_punch.take_back(self)
