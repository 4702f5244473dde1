"""Passes written down by hand: check-ins for the time in which a terminal could not tell them.

The document is submitted in one transaction, with every row waiting. After that each row is settled in a transaction
of its own, so that HRMS's naming series is never held longer than for one check-in, and a row's state is always the
truth: whatever stops the work, the rows that still wait are waiting, and can be tried again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any

import frappe
from frappe import _
from frappe.query_builder.functions import Count, Date
from frappe.utils import format_datetime, get_link_to_form, strip_html

from hikvision_frappe.attendance import events
from hikvision_frappe.attendance.facts import SiteRules, employee_facts, load_devices, load_rules
from hikvision_frappe.attendance.failures import CONTENTION, is_interruption
from hikvision_frappe.attendance.hrms_shifts import WorkingDays
from hikvision_frappe.core.attendance import EmployeeStatus
from hikvision_frappe.core.states import EventState

DOCTYPE, ROW = "Bulk Manual Punch", "Bulk Manual Punch Employee"
MOST_ROWS = 500
LONGEST_OUTAGE = timedelta(days=14)
DIRECTLY_SECONDS = 15.0  # after the submit, within its request; the rest is a background job's
JOB_SECONDS = 280.0  # of the 300 that a job in the default queue has
# Who passed at a terminal on so many days of the time before is one of its people.
USUAL_SPAN = timedelta(days=30)
USUAL_DAYS = 2


class RowState(str, Enum):
	"""What became of a row. Values are the options of Bulk Manual Punch Employee.state."""

	WAITING = "Waiting"
	MADE = "Check-in Made"
	PRESENT = "Already There"  # HRMS has a check-in for this pass; nothing was added
	REFUSED = "Refused"  # HRMS, or a rule, refused it; can be tried again
	TAKEN_BACK = "Taken Back"  # its check-in was deleted when the document was cancelled


class Status(str, Enum):
	"""Values are the options of Bulk Manual Punch.status."""

	DRAFT = "Draft"
	WAITING = "Waiting"
	DONE = "Done"
	ATTENTION = "Needs Attention"
	CANCELLED = "Cancelled"


class Refused(frappe.ValidationError):
	"""A row cannot become a check-in; the text says why, to people."""


# From rows to check-ins


def make_after_commit(name: str) -> None:
	"""Have the check-ins of a document made once its submit is committed."""
	frappe.db.after_commit.add(lambda: _make_and_leave_the_rest(name))


def retry(name: str) -> None:
	"""Let the refused rows wait again, and settle all that wait; the caller has checked permissions. Commits."""
	frappe.db.set_value(
		ROW,
		{"parent": name, "state": RowState.REFUSED.value},
		{"state": RowState.WAITING.value, "message": ""},
		update_modified=False,
	)
	frappe.db.commit()  # nosemgrep: from here on each row is a transaction of its own
	_make_and_leave_the_rest(name)


def _make_and_leave_the_rest(name: str) -> None:
	"""The document stands already: what goes wrong here must not look as if it did not."""
	try:
		finished = make_checkins(name, DIRECTLY_SECONDS)
	except Exception:
		frappe.db.rollback()
		frappe.log_error(
			title="Hikvision: punches by hand are made later", reference_doctype=DOCTYPE, reference_name=name
		)
		finished = False
	if not finished:
		frappe.enqueue(
			"hikvision_frappe.attendance.manual_punch.make_checkins",
			job_id=f"hikvision_manual_punch:{name}",
			deduplicate=True,
			name=name,
		)


def make_checkins(name: str, seconds: float = JOB_SECONDS) -> bool:
	"""Settle the waiting rows of a submitted document, one transaction each; whether none waits any more.

	Runs with the session user's permissions. Commits. Raises only what says that the site cannot be worked on.
	"""
	deadline = time.monotonic() + seconds
	rules = load_rules()
	for row in _waiting(name):
		if time.monotonic() >= deadline:
			break
		_settle(name, row, rules)
	_count_up(name)
	return not _waiting(name)


def _waiting(name: str) -> list[str]:
	filters = {"parent": name, "parenttype": DOCTYPE, "state": RowState.WAITING.value}
	return frappe.get_all(ROW, filters, pluck="name", order_by="idx")


def _settle(name: str, row: str, rules: SiteRules) -> None:
	frappe.db.rollback()  # sees what others committed since
	try:
		_settle_once(name, row, rules)
		frappe.db.commit()  # nosemgrep: one row, one transaction
	except CONTENTION:
		_keep_refusal(row, _("Somebody else was working on it. Try again."))
	except (frappe.ValidationError, frappe.PermissionError) as error:
		_keep_refusal(row, strip_html(str(error)).strip() or type(error).__name__)
	except Exception as error:
		if is_interruption(error):
			raise
		frappe.db.rollback()
		frappe.log_error(
			title="Hikvision: a punch by hand failed", reference_doctype=DOCTYPE, reference_name=name
		)
		_keep_refusal(
			row,
			_("An error stopped it ({0}); the Error Log has the details.").format(type(error).__name__),
			undo=False,
		)
	finally:
		frappe.clear_messages()


def _settle_once(name: str, row_name: str, rules: SiteRules) -> None:
	"""The document's row stays locked meanwhile, so that nobody cancels it, or does the same twice."""
	document = frappe.db.get_value(DOCTYPE, name, ["docstatus", "device"], as_dict=True, for_update=True)
	row = frappe.db.get_value(ROW, row_name, ["employee", "time", "log_type", "state"], as_dict=True)
	if document.docstatus != 1 or row.state != RowState.WAITING.value:
		return
	if present := _present(row, rules):
		text = _("The employee has check-in {0} at {1}.").format(present.name, format_datetime(present.time))
		_write(row_name, RowState.PRESENT, text)
		return
	_check_employee(row)
	made = _checkin(name, row, document.device, rules)
	_write(row_name, RowState.MADE, "", made.name)


def _present(row: Any, rules: SiteRules) -> Any:
	"""The nearest check-in that stands for the same pass: the same way, within the debounce time."""
	window = rules.attendance.debounce
	near = frappe.get_all(
		"Employee Checkin",
		filters={
			"employee": row.employee,
			"time": ["between", [row.time - window, row.time + window]],
			"log_type": ["in", [row.log_type, ""]],
		},
		fields=["name", "time"],
	)
	return min(near, key=lambda each: (abs(each.time - row.time), each.name), default=None)


def _check_employee(row: Any) -> None:
	"""HRMS itself takes check-ins of people who are suspended or have left."""
	found = frappe.db.get_value("Employee", row.employee, ["name", "status", "relieving_date"], as_dict=True)
	employee = employee_facts(found)
	stayed = employee.relieving_date is not None and row.time.date() <= employee.relieving_date
	if employee.status is EmployeeStatus.SUSPENDED:
		raise Refused(_("Employee {0} is suspended.").format(row.employee))
	if employee.status is EmployeeStatus.LEFT and not stayed:
		raise Refused(_("Employee {0} had left by then.").format(row.employee))


def _checkin(name: str, row: Any, device: str | None, rules: SiteRules) -> Any:
	document = frappe.get_doc(
		{
			"doctype": "Employee Checkin",
			"employee": row.employee,
			"time": row.time,
			"log_type": row.log_type,
			"device_id": f"Manual: {name}",
		}
	)
	if rules.geolocation:
		_set_coordinates(document, device)
	return document.insert()


def _set_coordinates(document: Any, device: str | None) -> None:
	place = load_devices([device])[device] if device else None
	if place is None or place.latitude is None:
		raise Refused(_("HR Settings ask for a location. Choose a device that has latitude and longitude."))
	document.latitude, document.longitude = place.latitude, place.longitude


def _keep_refusal(row: str, message: str, undo: bool = True) -> None:
	if undo:
		frappe.db.rollback()
	_write(row, RowState.REFUSED, message)
	frappe.db.commit()  # nosemgrep: the refusal is kept whatever happens next


def _write(row: str, state: RowState, message: str, checkin: str | None = None) -> None:
	values = {"state": state.value, "message": message, "employee_checkin": checkin}
	frappe.db.set_value(ROW, row, values, update_modified=False)


def _count_up(name: str) -> None:
	"""Bring the document's own figures up to date."""
	states = frappe.get_all(ROW, {"parent": name, "parenttype": DOCTYPE}, pluck="state")
	refused, waiting = states.count(RowState.REFUSED.value), states.count(RowState.WAITING.value)
	status = Status.ATTENTION if refused else Status.WAITING if waiting else Status.DONE
	figures = {"made": states.count(RowState.MADE.value), "unmade": refused, "status": status.value}
	frappe.db.set_value(DOCTYPE, {"name": name, "docstatus": 1}, figures, update_modified=False)
	frappe.clear_document_cache(DOCTYPE, name)
	frappe.db.commit()  # nosemgrep: figures of rows that are committed


# Back again


def take_back(document: Any) -> None:
	"""Delete the check-ins of a document that is being cancelled; all of them, or none.

	Raises LinkExistsError while an Attendance stands on one of them. Passes of terminals that were left aside because
	of them are judged again.
	"""
	rows = [row for row in document.employees if row.employee_checkin]
	checkins = [row.employee_checkin for row in rows]
	_refuse_when_counted(checkins)
	recorded = _recorded_as(checkins, {row.employee for row in rows})
	for row in rows:
		text = _("Check-in {0} was deleted.").format(row.employee_checkin)
		checkin, row.employee_checkin = row.employee_checkin, None
		_write(row.name, RowState.TAKEN_BACK, text)
		frappe.delete_doc("Employee Checkin", checkin, ignore_missing=True)
	document.db_set("status", Status.CANCELLED.value, update_modified=False)
	if recorded:
		events.replay(recorded)


def _refuse_when_counted(checkins: Sequence[str]) -> None:
	checkin = frappe.qb.DocType("Employee Checkin")
	rows = (
		frappe.qb.from_(checkin)
		.select(checkin.attendance)
		.where(checkin.name.isin(list(checkins) or [""]))
		.for_update()
		.run(pluck=True)
	)
	counted = sorted({attendance for attendance in rows if attendance})
	if counted:
		shown = ", ".join(get_link_to_form("Attendance", each) for each in counted[:5])
		more = _(" and {0} more").format(len(counted) - 5) if len(counted) > 5 else ""
		frappe.throw(
			_("Attendance was made of these check-ins already: {0}{1}. Cancel it first.").format(shown, more),
			frappe.LinkExistsError,
		)


def _recorded_as(checkins: Sequence[str], employees: Iterable[str]) -> list[str]:
	"""Passes of terminals that were not counted because these check-ins stood for them."""
	if not checkins:
		return []
	return frappe.get_all(
		"Access Event",
		filters={
			"employee": ["in", list(employees)],
			"employee_checkin": ["in", list(checkins)],
			"state": EventState.ALREADY_RECORDED.value,
		},
		pluck="name",
	)


def told_since(name: str) -> int:
	"""How many employees of a document have passes by now that a terminal told, of its time and the same way."""
	row, checkin = frappe.qb.DocType(ROW), frappe.qb.DocType("Employee Checkin")
	document = frappe.qb.DocType(DOCTYPE)
	return (
		frappe.qb.from_(row)
		.join(document)
		.on(document.name == row.parent)
		.join(checkin)
		.on((checkin.employee == row.employee) & (checkin.log_type == row.log_type))
		.select(Count(row.employee).distinct())
		.where((row.parent == name) & (row.state == RowState.MADE.value))
		.where(checkin.time >= document.from_time)
		.where(checkin.time <= document.to_time)
		.where(checkin.access_event.isnotnull())
		.run()[0][0]
	)


# Who may have passed


@dataclass(frozen=True, slots=True)
class Search:
	"""Whose passes are looked for. from_time, to_time: naive site time. Empty texts filter nothing.

	usual: only who usually passes at ``device``. ways: IN, OUT or both; at: a fixed time for one, else the beginning or
	the end of each one's shift.
	"""

	from_time: datetime
	to_time: datetime
	shift: str = ""
	department: str = ""
	branch: str = ""
	device: str = ""
	usual: bool = False
	ways: tuple[str, ...] = ("IN", "OUT")
	at: dict[str, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class Proposal:
	"""Rows for a document, and how many employees were left out for which reason."""

	rows: list[dict[str, Any]] = field(default_factory=list)
	present: int = 0
	on_leave: int = 0
	without_time: int = 0
	cut_off: int = 0


def propose(search: Search) -> Proposal:
	"""The passes that are probably missing: of active employees whom the user may read, without a check-in in the time."""
	proposal = Proposal()
	employees = _employees(search)
	present = _with_checkin(search, employees)
	away = _on_leave(search, employees)
	proposal.present = len(present)
	shifts = _Shifts(employees, search)
	for employee in employees.values():
		if employee.name in present:
			continue
		rows = _rows_of(employee, search, shifts)
		counted = [row for row in rows if (employee.name, row["time"].date()) not in away]
		proposal.on_leave += bool(rows) and not counted
		proposal.without_time += not rows
		proposal.rows += counted
	proposal.cut_off = max(0, len(proposal.rows) - MOST_ROWS)
	del proposal.rows[MOST_ROWS:]
	return proposal


def _employees(search: Search) -> dict[str, Any]:
	filters: dict[str, Any] = {"status": "Active", "date_of_joining": ["<=", search.to_time.date()]}
	if search.department:
		below = frappe.db.get_descendants("Department", search.department)
		filters["department"] = ["in", [search.department, *below]]
	if search.branch:
		filters["branch"] = search.branch
	if search.usual:
		filters["name"] = ["in", _usual(search) or [""]]
	fields = ["name", "employee_name", "default_shift"]
	rows = frappe.get_list("Employee", filters, fields, order_by="employee_name, name", limit_page_length=0)
	return {row.name: row for row in rows}


def _usual(search: Search) -> list[str]:
	"""Who passed at the device on some days of the time before."""
	event = frappe.qb.DocType("Access Event")
	day = Date(event.occurred_at)
	return (
		frappe.qb.from_(event)
		.select(event.employee)
		.where(event.device == search.device)
		.where(event.occurred_at_utc >= search.from_time - USUAL_SPAN)
		.where(event.occurred_at < search.from_time)
		.where(event.employee.isnotnull())
		.groupby(event.employee)
		.having(Count(day).distinct() >= USUAL_DAYS)
		.run(pluck=True)
	)


def _with_checkin(search: Search, employees: Iterable[str]) -> set[str]:
	rows = frappe.get_all(
		"Employee Checkin",
		filters={
			"employee": ["in", list(employees) or [""]],
			"time": ["between", [search.from_time, search.to_time]],
		},
		pluck="employee",
	)
	return set(rows)


def _on_leave(search: Search, employees: Iterable[str]) -> set[tuple[str, date]]:
	"""(employee, day) of approved leave that takes the whole day."""
	leaves = frappe.get_all(
		"Leave Application",
		filters={
			"employee": ["in", list(employees) or [""]],
			"docstatus": 1,
			"status": "Approved",
			"from_date": ["<=", search.to_time.date()],
			"to_date": [">=", search.from_time.date()],
		},
		fields=["employee", "from_date", "to_date", "half_day_date"],
	)
	return {
		(leave.employee, day)
		for leave in leaves
		for day in _days(search.from_time, search.to_time)
		if leave.from_date <= day <= leave.to_date and day != leave.half_day_date
	}


def _days(since: datetime, until: datetime) -> list[date]:
	return [since.date() + timedelta(days=number) for number in range((until.date() - since.date()).days + 1)]


def _rows_of(employee: Any, search: Search, shifts: _Shifts) -> list[dict[str, Any]]:
	rows = []
	for way in search.ways:
		if moment := search.at.get(way):
			if not search.shift or shifts.has(employee, search.shift, moment.date()):
				rows.append(_row(employee, way, moment, search.shift, None))
		else:
			for shift, moment in shifts.times(employee, way):
				rows.append(_row(employee, way, moment, shift, moment))
	return sorted(rows, key=lambda row: row["time"])


def _row(
	employee: Any, way: str, moment: datetime, shift: str, shift_time: datetime | None
) -> dict[str, Any]:
	return {
		"employee": employee.name,
		"employee_name": employee.employee_name,
		"log_type": way,
		"time": moment,
		"shift": shift or None,
		"shift_time": shift_time,
	}


class _Shifts:
	"""When the shifts of some employees begin and end within the time, read for all of them at once.

	An assignment counts before the default shift, as in HRMS; holidays are left out by HRMS's own rule.
	"""

	def __init__(self, employees: dict[str, Any], search: Search) -> None:
		self._search = search
		self._working = WorkingDays(employees)
		self._assignments: dict[str, list[Any]] = defaultdict(list)
		for row in frappe.get_all(
			"Shift Assignment",
			filters={
				"employee": ["in", list(employees) or [""]],
				"docstatus": 1,
				"status": "Active",
				"start_date": ["<=", search.to_time.date()],
			},
			or_filters=[
				["end_date", "is", "not set"],
				["end_date", ">=", search.from_time.date() - timedelta(days=1)],
			],
			fields=["employee", "shift_type", "start_date", "end_date"],
			order_by="start_date",
		):
			self._assignments[row.employee].append(row)

	def times(self, employee: Any, way: str) -> list[tuple[str, datetime]]:
		"""(shift, moment) of each beginning (IN) or end (OUT) within the time."""
		search = self._search
		found = []
		for day in _days(search.from_time - timedelta(days=1), search.to_time):
			for shift in self._of(employee, day):
				moment = _begin_and_end(shift, day)[way == "OUT"]
				works = self._working.has(frappe.get_cached_doc("Shift Type", shift), employee.name, day)
				if works and search.from_time <= moment <= search.to_time:
					found.append((shift, moment))
		return found

	def has(self, employee: Any, shift: str, day: date) -> bool:
		return shift in self._of(employee, day)

	def _of(self, employee: Any, day: date) -> list[str]:
		assigned = [
			row.shift_type
			for row in self._assignments[employee.name]
			if row.start_date <= day and (not row.end_date or row.end_date >= day)
		]
		shifts = assigned or ([employee.default_shift] if employee.default_shift else [])
		return [shift for shift in shifts if self._search.shift in ("", shift)]


def _begin_and_end(shift: str, day: date) -> tuple[datetime, datetime]:
	document = frappe.get_cached_doc("Shift Type", shift)
	midnight = datetime.combine(day, datetime.min.time())
	begin, end = (
		midnight + frappe.utils.to_timedelta(each) for each in (document.start_time, document.end_time)
	)
	return begin, end if end > begin else end + timedelta(days=1)
