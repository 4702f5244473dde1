"""Passes that came when the Attendance of their shift was made already, and how they are counted after all.

HRMS counts the check-ins of a shift once. One that comes later (a terminal that was cut off, a mobile phone without
a network, a punch by hand) is left without attendance, and at HRMS's next run marked to be skipped. Nothing is kept
about that here: whether a check-in is late is read from HRMS's own records at the moment somebody asks.

Every check-in is treated alike, wherever it came from. To count the late ones the Attendance is cancelled and made
anew of all check-ins of that shift, by HRMS's own functions, in one transaction.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any

import frappe
from frappe import _
from frappe.query_builder.functions import Date
from frappe.utils import (
	cint,
	escape_html,
	format_date,
	get_datetime,
	get_fullname,
	get_link_to_form,
	strip_html,
)
from pypika.terms import ExistsCriterion

from hikvision_frappe.attendance.failures import CONTENTION, is_interruption
from hikvision_frappe.attendance.hrms_shifts import (
	DayResult,
	WorkingDays,
	log_fields,
	make_attendance,
	result_of,
)

MOST_DAYS = 500  # shown, and reprocessed, at a time
MOST_PASSES = 10_000  # read for one list
DIRECTLY = 10  # so many are reprocessed within the request; more of them by a background job
JOB_SECONDS = 1500
KEPT_SECONDS = 24 * 60 * 60  # the result of a job, for whoever started it
# HRMS writes the Absent of a day without check-ins and its own comment on it in one go.
SAME_MOMENT = timedelta(seconds=5)
# HRMS's comment on a check-in that it skips, in any language: people's comments are wrapped by the editor.
HRMS_SKIPPED = "<strong>%</strong><br%"


@dataclass(frozen=True, slots=True)
class LateFilters:
	"""Which shifts are asked for, by the day they begin; both days are included. Empty texts filter nothing."""

	since: date
	until: date
	employee: str = ""
	shift: str = ""
	department: str = ""
	device: str = ""


@dataclass(frozen=True, slots=True)
class LatePass:
	"""One check-in that came too late. device: as people call it. skipped: HRMS marked it to be skipped."""

	checkin: str
	time: datetime
	log_type: str
	device: str
	skipped: bool


@dataclass(frozen=True, slots=True)
class LateDay:
	"""An Attendance without the passes that came after it.

	now: what it says. becomes: what HRMS would make of all check-ins, None when it would not count them.
	refusal: why it cannot be reprocessed, "" when it can.
	"""

	attendance: str
	employee: str
	employee_name: str
	department: str
	shift: str
	day: date
	passes: tuple[LatePass, ...]
	now: DayResult
	becomes: DayResult | None = None
	refusal: str = ""


class OutcomeState(str, Enum):
	"""What became of a request to reprocess an Attendance."""

	DONE = "Done"
	NOTHING_TO_DO = "Nothing to do"
	REFUSED = "Refused"
	FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Outcome:
	"""One row of a result. message: plain text, why nothing was changed."""

	attendance: str
	state: OutcomeState
	day: LateDay | None = None
	made: str = ""
	after: DayResult | None = None
	message: str = ""


@dataclass(slots=True)
class _Found:
	"""What the queries know of one Attendance."""

	attendance: Any
	late: list[Any] = field(default_factory=list)
	logs: list[Any] = field(default_factory=list)

	@property
	def shift(self) -> str:
		return self.late[0].shift

	@property
	def actual_end(self) -> datetime:
		return self.late[0].shift_actual_end


# What is late


def late_days(filters: LateFilters) -> list[LateDay]:
	"""The Attendances of the period that late passes are missing from, newest first, at most MOST_DAYS.

	Only those that the user may read, by the framework's own rules for Attendance.
	"""
	rows = _late_rows(filters)
	names = _readable({row.attendance_name for row in rows})
	found = _found(row for row in rows if row.attendance_name in names)
	newest = sorted(found, key=lambda each: (each.attendance.attendance_date, each.attendance.name))
	return _judged(newest[: -MOST_DAYS - 1 : -1])


def _late_rows(filters: LateFilters | None, attendance_name: str = "") -> list[Any]:
	"""Late check-ins, each with its Attendance, in one query; of a period, or of one Attendance."""
	checkin, attendance = frappe.qb.DocType("Employee Checkin"), frappe.qb.DocType("Attendance")
	event = frappe.qb.DocType("Access Event")
	device = frappe.qb.DocType("Hikvision Device")
	query = (
		frappe.qb.from_(checkin)
		.join(attendance)
		.on(
			(attendance.employee == checkin.employee)
			& (attendance.attendance_date == Date(checkin.shift_start))
			& (attendance.shift.isnull() | attendance.shift.isin(["", checkin.shift]))
		)
		.left_join(event)
		.on(event.name == checkin.access_event)
		.left_join(device)
		.on(device.name == event.device)
		.select(
			*(checkin[each] for each in log_fields()),
			checkin.skip_auto_attendance,
			device.title.as_("device_title"),
			attendance.name.as_("attendance_name"),
		)
		.where(attendance.docstatus == 1)
		.where(checkin.attendance.isnull() | (checkin.attendance == ""))
		.where(checkin.offshift == 0)
		.where((checkin.skip_auto_attendance == 0) | _skipped_by_hrms(checkin))
		.orderby(checkin.shift_start, order=frappe.qb.desc)
		.orderby(checkin.time)
		.limit(MOST_PASSES)
	)
	if _has_open_halves():
		query = query.where(_is_settled(attendance))
	query = query.where(attendance.name == attendance_name) if attendance_name else _within(query, filters)
	return query.run(as_dict=True)


def _within(query: Any, filters: LateFilters) -> Any:
	checkin, attendance = frappe.qb.DocType("Employee Checkin"), frappe.qb.DocType("Attendance")
	event = frappe.qb.DocType("Access Event")
	since = datetime.combine(filters.since, datetime.min.time())
	query = (
		query.where(checkin.shift_start >= since)
		.where(checkin.shift_start < datetime.combine(filters.until, datetime.min.time()) + timedelta(days=1))
		# True of every check-in, as none is written before its time; and these columns have an index.
		.where(checkin.modified >= since - timedelta(days=1))
		.where(checkin.creation >= since - timedelta(days=1))
		.where(attendance.attendance_date >= filters.since)
		.where(attendance.attendance_date <= filters.until)
	)
	if filters.employee:
		query = query.where(checkin.employee == filters.employee)
	if filters.shift:
		query = query.where(checkin.shift == filters.shift)
	if filters.department:
		below = frappe.db.get_descendants("Department", filters.department)
		query = query.where(attendance.department.isin([filters.department, *below]))
	if filters.device:
		query = query.where(event.device == filters.device)
	return query


def _skipped_by_hrms(checkin: Any) -> Any:
	"""HRMS marks a check-in to be skipped past its document, and says so in a comment; people leave none of its kind.

	Where a person chose to skip it after that, the change stands in the document's history.
	"""
	comment, version = frappe.qb.DocType("Comment"), frappe.qb.DocType("Version")
	chosen = (
		frappe.qb.from_(version)
		.select(version.name)
		.where(version.ref_doctype == "Employee Checkin")
		.where(version.docname == checkin.name)
		.where(version.creation > comment.creation)
		.where(version.data.like('%"skip_auto_attendance"%'))
	)
	return ExistsCriterion(
		frappe.qb.from_(comment)
		.select(comment.name)
		.where(comment.reference_doctype == "Employee Checkin")
		.where(comment.reference_name == checkin.name)
		.where(comment.comment_type == "Comment")
		.where(comment.content.like(HRMS_SKIPPED))
		.where(ExistsCriterion(chosen).negate())
	)


def _has_open_halves() -> bool:
	return bool(frappe.get_meta("Attendance").has_field("modify_half_day_status"))


def _is_settled(attendance: Any) -> Any:
	"""A half day of leave whose other half HRMS still fills in from check-ins is not late."""
	leave = attendance.leave_type.isnotnull() & (attendance.leave_type != "")
	return ((attendance.status == "Half Day") & (attendance.modify_half_day_status == 1) & leave).negate()


def _readable(names: Iterable[str]) -> set[str]:
	names = list(names)
	if not names:
		return set()
	return set(frappe.get_list("Attendance", {"name": ["in", names]}, pluck="name", limit=len(names)))


def _found(rows: Iterable[Any]) -> list[_Found]:
	"""The rows by Attendance, with all that is asked about each, in a fixed number of queries."""
	late = defaultdict(list)
	for row in rows:
		late[row.attendance_name].append(row)
	found = {row.name: _Found(row, late[row.name]) for row in _attendances(list(late))}
	if found:
		_add_logs(found)
	return list(found.values())


def _attendances(names: Sequence[str]) -> list[Any]:
	fields = [
		"name",
		"employee",
		"employee_name",
		"department",
		"attendance_date",
		"shift",
		"status",
		"owner",
	]
	fields += ["creation", "working_hours", "in_time", "out_time", "late_entry", "early_exit"]
	fields += ["leave_application", "attendance_request", "leave_type"]
	return frappe.get_all("Attendance", {"name": ["in", list(names) or [""]]}, fields) if names else []


def _add_logs(found: dict[str, _Found]) -> None:
	"""Each Attendance gets the check-ins it was made of, and the late ones, in order of time."""
	starts = {row.shift_start for each in found.values() for row in each.late}
	linked = frappe.get_all(
		"Employee Checkin",
		filters={
			"employee": ["in", list({each.attendance.employee for each in found.values()})],
			"shift_start": ["in", list(starts)],
			"attendance": ["is", "set"],
		},
		fields=[*log_fields(), "attendance"],
	)
	for row in linked:
		if row.attendance in found:
			found[row.attendance].logs.append(row)
	for each in found.values():
		each.logs = sorted([*each.logs, *each.late], key=lambda row: (row.time, row.name))


# What can be done about it


def _judged(found: Sequence[_Found]) -> list[LateDay]:
	refusals = _Refusals(found)
	working = WorkingDays({each.attendance.employee for each in found})
	days = []
	for each in found:
		refusal = refusals.of(each)
		shift = frappe.get_cached_doc("Shift Type", each.shift)
		counts = not refusal and working.has(shift, each.attendance.employee, each.attendance.attendance_date)
		if not refusal and not counts:
			refusal = _("The day is a holiday of the employee: HRMS makes no attendance of it.")
		days.append(_day(each, result_of(shift, each.logs) if counts else None, refusal))
	return days


def _day(each: _Found, becomes: DayResult | None, refusal: str) -> LateDay:
	attendance = each.attendance
	return LateDay(
		attendance=attendance.name,
		employee=attendance.employee,
		employee_name=attendance.employee_name or "",
		department=attendance.department or "",
		shift=each.shift,
		day=attendance.attendance_date,
		passes=tuple(_late_pass(row) for row in each.late),
		now=_says(attendance),
		becomes=becomes,
		refusal=refusal,
	)


def _late_pass(row: Any) -> LatePass:
	device = row.device_title or row.device_id or ""
	return LatePass(row.name, row.time, row.log_type or "", device, bool(row.skip_auto_attendance))


def _says(attendance: Any) -> DayResult:
	return DayResult(
		attendance.status,
		attendance.working_hours or 0.0,
		bool(attendance.late_entry),
		bool(attendance.early_exit),
		attendance.in_time,
		attendance.out_time,
	)


class _Refusals:
	"""Why an Attendance is not to be touched, read for many at once."""

	def __init__(self, found: Sequence[_Found]) -> None:
		self._slips = _salary_slips(found)
		self._absents = _absents_of_hrms(
			[each.attendance for each in found if each.attendance.status == "Absent"]
		)
		employees = {each.attendance.employee for each in found}
		self._inactive = set(
			frappe.get_all(
				"Employee", {"name": ["in", list(employees) or [""]], "status": "Inactive"}, pluck="name"
			)
		)

	def of(self, each: _Found) -> str:
		"""One sentence with what to do instead, or "" when nothing stands in the way."""
		return self._of_attendance(each) or self._of_payroll(each) or _of_shift(each)

	def _of_attendance(self, each: _Found) -> str:
		attendance = each.attendance
		if attendance.leave_application:
			return _("It comes from leave application {0}. Change the leave there first.").format(
				attendance.leave_application
			)
		if attendance.attendance_request:
			return _("It comes from attendance request {0}. Cancel that first.").format(
				attendance.attendance_request
			)
		made_of_logs = any(log.get("attendance") == attendance.name for log in each.logs)
		if not made_of_logs and attendance.name not in self._absents:
			return _("It was made by hand. Cancel it yourself when the check-ins are right.")
		return ""

	def _of_payroll(self, each: _Found) -> str:
		attendance = each.attendance
		for slip in self._slips[attendance.employee]:
			if slip.start_date <= attendance.attendance_date <= slip.end_date:
				return _("Salary slip {0} was made for this time. Cancel or delete it first.").format(
					slip.name
				)
		if attendance.employee in self._inactive:
			return _("Employee {0} is inactive: HRMS makes no attendance of it.").format(attendance.employee)
		return ""


def _of_shift(each: _Found) -> str:
	shift = frappe.get_cached_doc("Shift Type", each.shift)
	if not cint(shift.enable_auto_attendance):
		return _("Auto attendance of the shift {0} is switched off.").format(each.shift)
	after, synced = shift.process_attendance_after, shift.last_sync_of_checkin
	if not after or each.logs[0].time < get_datetime(after):
		return _("The shift {0} counts check-ins only after {1}.").format(each.shift, format_date(after))
	if not synced or each.actual_end >= get_datetime(synced):
		return _(
			"HRMS does not count this day yet: Last Sync of Checkin of the shift {0} is before its end."
		).format(each.shift)
	return ""


def _salary_slips(found: Sequence[_Found]) -> dict[str, list[Any]]:
	days = [each.attendance.attendance_date for each in found]
	slips: dict[str, list[Any]] = defaultdict(list)
	if not days:
		return slips
	for row in frappe.get_all(
		"Salary Slip",
		filters={
			"employee": ["in", list({each.attendance.employee for each in found})],
			"docstatus": ["<", 2],
			"start_date": ["<=", max(days)],
			"end_date": [">=", min(days)],
		},
		fields=["name", "employee", "start_date", "end_date"],
		order_by="docstatus desc, name",
	):
		slips[row.employee].append(row)
	return slips


def _absents_of_hrms(attendances: Sequence[Any]) -> set[str]:
	"""Those that HRMS marked for want of check-ins: it comments on them at once, people do not."""
	by_name = {each.name: each for each in attendances}
	if not by_name:
		return set()
	comments = frappe.get_all(
		"Comment",
		filters={
			"reference_doctype": "Attendance",
			"reference_name": ["in", list(by_name)],
			"comment_type": "Comment",
		},
		fields=["reference_name", "owner", "creation"],
	)
	return {
		comment.reference_name
		for comment in comments
		if comment.owner == by_name[comment.reference_name].owner
		and comment.creation - by_name[comment.reference_name].creation <= SAME_MOMENT
	}


# Cancel and reprocess


def reprocess(names: Sequence[str], tell: Callable[[list[Outcome]], None] | None = None) -> list[Outcome]:
	"""Cancel these Attendances and make them anew of all their check-ins, one transaction each.

	What worked stays, whatever becomes of the others. Runs with the session user's permissions; may be repeated.
	tell: called with the outcomes so far after each one. Commits.
	"""
	outcomes: list[Outcome] = []
	for name in names:
		outcomes.append(_reprocess_alone(name))
		if tell:
			tell(outcomes)
	return outcomes


def _reprocess_alone(name: str) -> Outcome:
	frappe.db.rollback()  # sees what others committed since
	try:
		outcome = _reprocess(name)
		frappe.db.commit()  # nosemgrep: what worked stays when the next one fails
		return outcome
	except CONTENTION:
		frappe.db.rollback()
		return Outcome(name, OutcomeState.FAILED, message=_("Somebody else is working on it. Try again."))
	except (frappe.ValidationError, frappe.PermissionError) as error:
		frappe.db.rollback()
		return Outcome(name, OutcomeState.FAILED, message=_plain(error))
	except Exception as error:
		frappe.db.rollback()
		if is_interruption(error):
			raise
		frappe.log_error(
			title="Hikvision: an attendance could not be reprocessed",
			reference_doctype="Attendance",
			reference_name=name,
		)
		frappe.db.commit()  # nosemgrep: the log is kept
		message = _("An error stopped it ({0}); the Error Log has the details.").format(type(error).__name__)
		return Outcome(name, OutcomeState.FAILED, message=message)
	finally:
		frappe.clear_messages()


def _reprocess(name: str) -> Outcome:
	old = frappe.get_doc("Attendance", name, for_update=True)
	old.check_permission("read")
	if old.docstatus != 1:
		return Outcome(name, OutcomeState.NOTHING_TO_DO, message=_("It is cancelled already."))
	found = _found(_late_rows(None, name))
	if not found:
		return Outcome(name, OutcomeState.NOTHING_TO_DO, message=_("No pass is missing from it any more."))
	day = _judged(found)[0]
	if day.refusal:
		return Outcome(name, OutcomeState.REFUSED, day, message=day.refusal)
	new = _make_anew(old, found[0], day)
	return Outcome(name, OutcomeState.DONE, replace(day, now=_says(old)), new.name, _says(new))


def _make_anew(old: Any, found: _Found, day: LateDay) -> Any:
	old.cancel()  # checks the permission, and gives its check-ins free
	_count_again([log.name for log in found.logs])
	new = make_attendance(frappe.get_cached_doc("Shift Type", found.shift), found.logs)
	if new is None:
		frappe.throw(_refused_by_hrms(found.logs[0].name))
	new.reload()
	_write_down(old, new, day)
	return new


def _count_again(names: list[str]) -> None:
	"""Take back what HRMS marked to be skipped, past the document as HRMS does; the comment below tells why."""
	checkin = frappe.qb.DocType("Employee Checkin")
	frappe.qb.update(checkin).set(checkin.skip_auto_attendance, 0).where(checkin.name.isin(names)).run()


def _refused_by_hrms(checkin: str) -> str:
	"""What HRMS wrote on the check-in just now: it keeps its reasons nowhere else."""
	said = frappe.get_all(
		"Comment",
		{"reference_doctype": "Employee Checkin", "reference_name": checkin, "comment_type": "Comment"},
		pluck="content",
		order_by="creation desc",
		limit=1,
	)
	reason = strip_html(said[0].split("<br>", 1)[-1]) if said else ""
	return _("HRMS refused the new attendance: {0}").format(reason)


def _write_down(old: Any, new: Any, day: LateDay) -> None:
	passes = ", ".join(escape_html(in_words(each)) for each in day.passes)
	user = escape_html(get_fullname() or frappe.session.user)
	link = get_link_to_form("Attendance", new.name)
	old.add_comment(
		"Info", _("{0} cancelled it to count late passes ({1}); made anew as {2}.").format(user, passes, link)
	)
	link = get_link_to_form("Attendance", old.name)
	new.add_comment(
		"Info",
		_("{0} had it made anew with late passes ({1}); it was {2} in {3}.").format(
			user, passes, _(day.now.status), link
		),
	)


def in_words(each: LatePass) -> str:
	"""A late pass on one line: which way, when, and where."""
	time = each.time.strftime("%H:%M")
	return " ".join(filter(None, [each.log_type, time, f"({each.device})" if each.device else ""]))


def _plain(error: Exception) -> str:
	text = strip_html(str(error)).strip()
	if isinstance(error, frappe.PermissionError):
		return text or _("You have no right to cancel it, or to make it anew.")
	return text or type(error).__name__


# Many at once


def start_reprocessing(names: Sequence[str]) -> str:
	"""Have a background job reprocess these Attendances as the session's user; returns the job's key.

	The same choice of the same user is not started twice while it is at work.
	"""
	digest = hashlib.sha256("\n".join([frappe.session.user, *sorted(names)]).encode()).hexdigest()
	key = f"hikvision_late_passes:{digest[:32]}"
	_keep(key, {"user": frappe.session.user, "total": len(names), "rows": [], "done": False, "error": ""})
	frappe.enqueue(
		"hikvision_frappe.attendance.late_passes.run_job",
		queue="long",
		timeout=JOB_SECONDS,
		job_id=key,
		deduplicate=True,
		key=key,
		names=list(names),
	)
	return key


def run_job(key: str, names: Sequence[str]) -> None:
	"""The background job of ``start_reprocessing``: tells after each Attendance how far it is."""
	told = {"user": frappe.session.user, "total": len(names), "rows": [], "done": False, "error": ""}

	def tell(outcomes: list[Outcome]) -> None:
		_keep(key, {**told, "rows": [as_row(each) for each in outcomes]})

	try:
		outcomes = reprocess(names, tell)
	except BaseException as error:
		_keep(key, {**(progress(key) or told), "done": True, "error": type(error).__name__})
		raise
	_keep(key, {**told, "rows": [as_row(each) for each in outcomes], "done": True})


def progress(key: str) -> dict[str, Any] | None:
	"""How far a job of the session's user is: {"total", "rows", "done", "error"}; None when it is not known."""
	kept = frappe.cache.get_value(key, expires=True) if key.startswith("hikvision_late_passes:") else None
	return kept if kept and kept["user"] == frappe.session.user else None


def _keep(key: str, value: dict[str, Any]) -> None:
	frappe.cache.set_value(key, value, expires_in_sec=KEPT_SECONDS)


def as_row(outcome: Outcome) -> dict[str, Any]:
	"""An outcome as the desk shows it."""
	day = outcome.day
	return {
		"attendance": outcome.attendance,
		"state": outcome.state.value,
		"employee": day.employee if day else "",
		"employee_name": day.employee_name if day else "",
		"day": str(day.day) if day else "",
		"before": result_in_words(day.now) if day else "",
		"after": result_in_words(outcome.after) if outcome.after else "",
		"made": outcome.made,
		"message": outcome.message,
	}


def result_in_words(result: DayResult) -> str:
	"""What an Attendance says, on one line: status, in, out, hours."""
	if not (result.in_time or result.out_time):
		return _(result.status)
	times = " – ".join(each.strftime("%H:%M") if each else "?" for each in (result.in_time, result.out_time))
	return f"{_(result.status)}, {times}, {_('{0} h').format(round(result.hours, 2))}"
