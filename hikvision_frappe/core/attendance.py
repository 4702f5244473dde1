"""What a pass means for attendance: one state, and where it counts the check-in to make.

``decide`` gets everything it needs to know and returns what to do; it reads no clock and no database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import SiteMoment, at_site, unsure_beside
from hikvision_frappe.core.debounce import double_read_of
from hikvision_frappe.core.direction import Direction, DoorRule, log_type_for
from hikvision_frappe.core.people import Resolution, Standing
from hikvision_frappe.core.states import EventState


def _(text: str) -> str:
	"""Marks a text for the catalogue; it is translated where it is shown."""
	return text


class Reason(str, Enum):
	"""Why a pass is in its state. Values are codes; ``REASON_TEXTS`` has the words."""

	COUNTED = "counted"
	CLOCK_LOST = "clock lost"
	DOOR_NOT_COUNTED = "door not counted"
	VISITOR = "visitor"
	PERSON_IGNORED = "person ignored"
	NOBODY_HAS_NUMBER = "nobody has number"
	SEVERAL_HAVE_NUMBER = "several have number"
	EMPLOYEE_INACTIVE = "employee inactive"
	EMPLOYEE_SUSPENDED = "employee suspended"
	EMPLOYEE_LEFT = "employee left"
	EMPLOYEE_LEFT_ON = "employee left on"
	REPEATED_HOUR = "repeated hour"
	HAS_CHECKIN = "has check-in"
	READ_TWICE = "read twice"
	PUNCHED_BY_HAND = "punched by hand"


REASON_TEXTS: dict[Reason, str] = {
	Reason.COUNTED: _("Counted for attendance."),
	Reason.CLOCK_LOST: _("The device had lost its clock; the time cannot be right."),
	Reason.DOOR_NOT_COUNTED: _("This door or reader is not for attendance."),
	Reason.VISITOR: _("The device knows this person as a visitor."),
	Reason.PERSON_IGNORED: _("This person number is set to be ignored."),
	Reason.NOBODY_HAS_NUMBER: _("No employee has the person number {0} on this device."),
	Reason.SEVERAL_HAVE_NUMBER: _("Several employees have the person number {0}: {1}."),
	Reason.EMPLOYEE_INACTIVE: _("Employee {0} is inactive."),
	Reason.EMPLOYEE_SUSPENDED: _("Employee {0} is suspended."),
	Reason.EMPLOYEE_LEFT: _("Employee {0} has left, without a relieving date."),
	Reason.EMPLOYEE_LEFT_ON: _("Employee {0} left on {1}, before this pass."),
	Reason.REPEATED_HOUR: _(
		"The clock showed this hour twice (end of daylight saving time). "
		"Beside check-in {0} the time {1} would be wrong or unclear."
	),
	Reason.HAS_CHECKIN: _("The employee already has check-in {0} with this time."),
	Reason.READ_TWICE: _("Read again within {0} seconds of check-in {1}."),
	Reason.PUNCHED_BY_HAND: _("HR wrote this pass down by hand: check-in {1}, within {0} seconds of it."),
}


@dataclass(frozen=True, slots=True)
class AttendanceSettings:
	"""The rules a site chose.

	zone: the site's. debounce: two reads closer than this are one. alternate_within: how far back an alternating
	door looks for the last log. forgive_zeros: person numbers may differ in leading zeros.
	"""

	zone: ZoneInfo
	debounce: timedelta = timedelta(seconds=60)
	alternate_within: timedelta = timedelta(hours=16)
	forgive_zeros: bool = False


class EmployeeStatus(str, Enum):
	"""Employee.status of ERPNext."""

	ACTIVE = "Active"
	INACTIVE = "Inactive"
	SUSPENDED = "Suspended"
	LEFT = "Left"


@dataclass(frozen=True, slots=True)
class EmployeeFacts:
	"""An employee as attendance sees it. relieving_date: the last day that counts, or None."""

	name: str
	status: EmployeeStatus = EmployeeStatus.ACTIVE
	relieving_date: date | None = None


@dataclass(frozen=True, slots=True)
class PassFacts:
	"""One pass of the ledger with all that bears on it.

	occurred_at: UTC. person: the number as the device wrote it. employee: of ``resolution``, when matched.
	rule: the device's door row that applies, or None. checkins: the employee's others around the pass, at least
	as far as debounce, alternation and the repeated hour look; in any order, without one made from this event.
	"""

	occurred_at: datetime
	person: str
	resolution: Resolution
	employee: EmployeeFacts | None = None
	rule: DoorRule | None = None
	checkins: Sequence[Checkin] = ()
	attendance_status: str = ""
	user_type: str = ""
	plausible: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
	"""The state of a pass, why, and what to write when it is CHECKED_IN.

	time: naive site time of the pass. checkin: the check-in that stands in the way, where one does.
	values: what the reason's text is filled with.
	"""

	state: EventState
	reason: Reason
	time: datetime
	log_type: LogType = LogType.NONE
	checkin: str = ""
	values: tuple[str, ...] = field(default_factory=tuple)

	def text(self, translate: Callable[[str], str] = str) -> str:
		"""The reason in words: English, or what ``translate`` makes of the English text."""
		return translate(REASON_TEXTS[self.reason]).format(*self.values)


def decide(facts: PassFacts, settings: AttendanceSettings) -> Decision:
	"""The state of a pass; CHECKED_IN means: make the check-in with this time and log type."""
	moment = at_site(facts.occurred_at, settings.zone)
	return (
		_set_aside(facts, moment)
		or _without_person(facts, moment)
		or _without_active_employee(facts, moment)
		or _beside_other_checkins(facts, moment, settings)
	)


def _set_aside(facts: PassFacts, moment: SiteMoment) -> Decision | None:
	"""What does not count whoever it was."""
	if not facts.plausible:
		return Decision(EventState.IMPLAUSIBLE_TIME, Reason.CLOCK_LOST, moment.time)
	if facts.rule is not None and facts.rule.direction is Direction.NOT_COUNTED:
		return Decision(EventState.NOT_COUNTED, Reason.DOOR_NOT_COUNTED, moment.time)
	if facts.user_type.strip().lower() == "visitor":
		return Decision(EventState.NOT_COUNTED, Reason.VISITOR, moment.time)
	return None


def _without_person(facts: PassFacts, moment: SiteMoment) -> Decision | None:
	resolution = facts.resolution
	if resolution.standing is Standing.IGNORED:
		return Decision(EventState.NOT_COUNTED, Reason.PERSON_IGNORED, moment.time)
	if resolution.standing is Standing.AMBIGUOUS:
		values = (facts.person, ", ".join(resolution.candidates))
		return Decision(EventState.UNMATCHED, Reason.SEVERAL_HAVE_NUMBER, moment.time, values=values)
	if resolution.standing is Standing.UNKNOWN or facts.employee is None:
		return Decision(EventState.UNMATCHED, Reason.NOBODY_HAS_NUMBER, moment.time, values=(facts.person,))
	return None


def _without_active_employee(facts: PassFacts, moment: SiteMoment) -> Decision | None:
	employee = facts.employee
	if employee is None or employee.status is EmployeeStatus.ACTIVE:
		return None
	refused = {
		EmployeeStatus.INACTIVE: (EventState.EMPLOYEE_INACTIVE, Reason.EMPLOYEE_INACTIVE),
		EmployeeStatus.SUSPENDED: (EventState.EMPLOYEE_SUSPENDED, Reason.EMPLOYEE_SUSPENDED),
	}
	if employee.status in refused:
		state, reason = refused[employee.status]
		return Decision(state, reason, moment.time, values=(employee.name,))
	return _after_leaving(employee, moment)


def _after_leaving(employee: EmployeeFacts, moment: SiteMoment) -> Decision | None:
	"""Passes up to the last working day count, however late they are told."""
	if employee.relieving_date is None:
		return Decision(EventState.EMPLOYEE_LEFT, Reason.EMPLOYEE_LEFT, moment.time, values=(employee.name,))
	if moment.time.date() > employee.relieving_date:
		values = (employee.name, employee.relieving_date.isoformat())
		return Decision(EventState.EMPLOYEE_LEFT, Reason.EMPLOYEE_LEFT_ON, moment.time, values=values)
	return None


def _beside_other_checkins(facts: PassFacts, moment: SiteMoment, settings: AttendanceSettings) -> Decision:
	if unsure := unsure_beside(moment, facts.checkins):
		return _repeated_hour(moment, unsure)
	log_type = log_type_for(
		facts.rule, facts.attendance_status, moment, facts.checkins, settings.alternate_within
	)
	alternating = facts.rule is not None and facts.rule.direction is Direction.ALTERNATING
	compared = None if alternating else log_type
	if double := double_read_of(moment, compared, facts.checkins, settings.debounce):
		return _counted_before(moment, log_type, double, settings)
	if known := _recorded_before(moment, log_type, facts.checkins):
		return Decision(
			EventState.ALREADY_RECORDED,
			Reason.HAS_CHECKIN,
			moment.time,
			log_type,
			known.name,
			(known.name,),
		)
	return Decision(EventState.CHECKED_IN, Reason.COUNTED, moment.time, log_type)


def _counted_before(
	moment: SiteMoment, log_type: LogType, other: Checkin, settings: AttendanceSettings
) -> Decision:
	values = (str(int(settings.debounce.total_seconds())), other.name)
	state, reason = EventState.DOUBLE_READ, Reason.READ_TWICE
	if other.by_hand:
		state, reason = EventState.ALREADY_RECORDED, Reason.PUNCHED_BY_HAND
	return Decision(state, reason, moment.time, log_type, other.name, values)


def _repeated_hour(moment: SiteMoment, beside: Checkin) -> Decision:
	values = (beside.name, moment.time.isoformat(sep=" "))
	return Decision(
		EventState.AMBIGUOUS_HOUR, Reason.REPEATED_HOUR, moment.time, checkin=beside.name, values=values
	)


def _recorded_before(moment: SiteMoment, log_type: LogType, checkins: Sequence[Checkin]) -> Checkin | None:
	"""The log that HRMS would call a duplicate: the same naive time and log type."""
	return next(
		(checkin for checkin in checkins if checkin.time == moment.time and checkin.log_type is log_type),
		None,
	)
