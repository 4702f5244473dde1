"""What the decisions need to know, read for a whole batch at once: the number of queries does not grow with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe.utils import cint, get_system_timezone

from hikvision_frappe.core.attendance import (
	AttendanceSettings,
	EmployeeFacts,
	EmployeeStatus,
	PassFacts,
)
from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import LONGEST_REPETITION, at_site, moment_of
from hikvision_frappe.core.direction import Direction, DoorRule, rule_for
from hikvision_frappe.core.event import TimeQuality
from hikvision_frappe.core.people import Directory, KnownPerson, Resolution, directory_of, zero_variants

STRICT = "Strictly based on Log Type in Employee Checkin"

EVENT_FIELDS = (
	"name",
	"device",
	"person_code",
	"person_name",
	"occurred_at_utc",
	"time_quality",
	"door_no",
	"reader_no",
	"user_type",
	"attendance_status",
	"state",
	"attempts",
	"next_attempt_at",
)


@dataclass(frozen=True, slots=True)
class LedgerPass:
	"""A pass as its ledger row tells it. occurred_at: UTC."""

	name: str
	device: str
	person: str
	person_name: str
	occurred_at: datetime
	plausible: bool
	door_no: int | None
	reader_no: int | None
	user_type: str
	attendance_status: str
	state: str
	attempts: int
	next_attempt_at: datetime | None

	@classmethod
	def from_row(cls, row: Any) -> LedgerPass:
		return cls(
			name=row.name,
			device=row.device,
			person=row.person_code or "",
			person_name=row.person_name or "",
			occurred_at=row.occurred_at_utc.replace(tzinfo=timezone.utc),
			plausible=row.time_quality != TimeQuality.IMPLAUSIBLE.value,
			door_no=row.door_no or None,
			reader_no=row.reader_no or None,
			user_type=row.user_type or "",
			attendance_status=row.attendance_status or "",
			state=row.state,
			attempts=row.attempts or 0,
			next_attempt_at=row.next_attempt_at,
		)


@dataclass(frozen=True, slots=True)
class DeviceFacts:
	"""A device as attendance sees it. label: what check-ins show as their device."""

	label: str
	latitude: float | None = None
	longitude: float | None = None
	rules: tuple[DoorRule, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteRules:
	"""What holds for every pass of the site. strict_shifts: Shift Types that need a log type."""

	attendance: AttendanceSettings
	geolocation: bool = False
	strict_shifts: frozenset[str] = frozenset()


@dataclass(slots=True)
class BatchFacts:
	"""Facts for some passes; ``remember`` keeps them true while check-ins are made."""

	rules: SiteRules
	devices: dict[str, DeviceFacts]
	directory: Directory
	employees: dict[str, EmployeeFacts]
	checkins: dict[str, list[Checkin]] = field(default_factory=lambda: defaultdict(list))

	def of(self, each: LedgerPass) -> PassFacts:
		resolution = self.resolve(each)
		return PassFacts(
			occurred_at=each.occurred_at,
			person=each.person,
			resolution=resolution,
			employee=self.employees.get(resolution.employee),
			rule=rule_for(each.door_no, each.reader_no, self.devices[each.device].rules),
			checkins=self.checkins.get(resolution.employee, ()),
			attendance_status=each.attendance_status,
			user_type=each.user_type,
			plausible=each.plausible,
		)

	def resolve(self, each: LedgerPass) -> Resolution:
		return self.directory.resolve(each.device, each.person, self.rules.attendance.forgive_zeros)

	def made_from(self, each: LedgerPass) -> Checkin | None:
		"""The check-in that already stands for this pass: an app's hook committed before we could."""
		made = self.checkins.get(self.resolve(each).employee, ())
		return next((checkin for checkin in made if checkin.event == each.name), None)

	def remember(self, employee: str, checkin: Checkin) -> None:
		self.checkins[employee].append(checkin)


def load_facts(passes: Sequence[LedgerPass], rules: SiteRules | None = None) -> BatchFacts:
	"""Everything the decisions ask about these passes, in a fixed number of queries.

	Keep the passes of a batch close in time: the employees' check-ins are read from the first to the last.
	"""
	rules = rules or load_rules()
	directory = load_directory(passes, rules.attendance.forgive_zeros)
	employees = load_employees(passes, directory, rules)
	facts = BatchFacts(rules, load_devices({each.device for each in passes}), directory, employees)
	for employee, checkin in load_checkins(passes, list(employees), rules.attendance):
		facts.remember(employee, checkin)
	return facts


def load_rules() -> SiteRules:
	settings = frappe.get_cached_doc("Hikvision Settings")
	attendance = AttendanceSettings(
		zone=ZoneInfo(get_system_timezone()),
		debounce=timedelta(seconds=cint(settings.debounce_seconds)),
		alternate_within=timedelta(hours=cint(settings.alternating_hours)),
		forgive_zeros=bool(settings.match_ignoring_leading_zeros),
	)
	strict = frappe.get_all("Shift Type", {"determine_check_in_and_check_out": STRICT}, pluck="name")
	geolocation = frappe.db.get_single_value("HR Settings", "allow_geolocation_tracking")
	return SiteRules(attendance, bool(geolocation), frozenset(strict))


def load_devices(names: Iterable[str]) -> dict[str, DeviceFacts]:
	names = list(names)
	doors = defaultdict(list)
	for row in frappe.get_all(
		"Hikvision Device Door",
		filters={"parenttype": "Hikvision Device", "parent": ["in", names]},
		fields=["parent", "door_no", "reader_no", "direction", "fallback"],
		order_by="idx",
	):
		doors[row.parent].append(_door_rule(row))
	devices = frappe.get_all(
		"Hikvision Device",
		filters={"name": ["in", names]},
		fields=["name", "title", "serial_number", "latitude", "longitude"],
	)
	return {row.name: _device_facts(row, doors[row.name]) for row in devices}


def _door_rule(row: Any) -> DoorRule:
	direction = Direction(row.direction)
	fallback = LogType(row.fallback or "") if direction is Direction.BY_STATUS else LogType.NONE
	return DoorRule(direction, row.door_no or None, row.reader_no or None, fallback)


def _device_facts(row: Any, rules: Iterable[DoorRule]) -> DeviceFacts:
	label = row.title or row.serial_number or row.name
	if not (row.latitude or row.longitude):  # HRMS, too, takes 0, 0 for "not given"
		return DeviceFacts(label, rules=tuple(rules))
	return DeviceFacts(label, row.latitude, row.longitude, tuple(rules))


def load_directory(passes: Sequence[LedgerPass], with_zeros: bool) -> Directory:
	"""Who may have the person numbers of these passes; ``with_zeros``: also written with other leading zeros."""
	numbers = {each.person for each in passes if each.person}
	codes = {variant for number in numbers for variant in zero_variants(number)} if with_zeros else numbers
	people = _people_by_code(codes) + _people_by_device_number({each.device for each in passes}, numbers)
	return directory_of(people, _attendance_device_ids(codes))


def _people_by_code(codes: Iterable[str]) -> list[KnownPerson]:
	rows = frappe.get_all(
		"Access Person",
		filters={"person_code": ["in", list(codes) or [""]]},
		fields=["name", "person_code", "employee", "status"],
	)
	return [
		KnownPerson(row.name, row.person_code or "", row.employee or "", row.status == "Ignored")
		for row in rows
	]


def _people_by_device_number(devices: Iterable[str], codes: Iterable[str]) -> list[KnownPerson]:
	person, number = frappe.qb.DocType("Access Person"), frappe.qb.DocType("Access Person Number")
	rows = (
		frappe.qb.from_(number)
		.join(person)
		.on(number.parent == person.name)
		.select(person.name, person.employee, person.status, number.device, number.person_code)
		.where(number.device.isin(list(devices) or [""]))
		.where(number.person_code.isin(list(codes) or [""]))
		.run(as_dict=True)
	)
	return [
		KnownPerson(
			row.name,
			employee=row.employee or "",
			ignored=row.status == "Ignored",
			device_numbers=((row.device, row.person_code),),
		)
		for row in rows
	]


def _attendance_device_ids(codes: Iterable[str]) -> dict[str, str]:
	rows = frappe.get_all(
		"Employee",
		filters={"attendance_device_id": ["in", list(codes) or [""]]},
		fields=["name", "attendance_device_id"],
	)
	return {row.name: row.attendance_device_id for row in rows if row.attendance_device_id}


def load_employees(
	passes: Sequence[LedgerPass], directory: Directory, rules: SiteRules
) -> dict[str, EmployeeFacts]:
	forgive = rules.attendance.forgive_zeros
	names = {directory.resolve(each.device, each.person, forgive).employee for each in passes} - {""}
	rows = frappe.get_all(
		"Employee",
		filters={"name": ["in", list(names) or [""]]},
		fields=["name", "status", "relieving_date"],
	)
	return {row.name: employee_facts(row) for row in rows}


def employee_facts(row: Any) -> EmployeeFacts:
	"""A status that a site added to ERPNext's counts as active; HRMS sees it the same way."""
	known = {status.value: status for status in EmployeeStatus}
	relieving: date | None = row.relieving_date
	return EmployeeFacts(row.name, known.get(row.status, EmployeeStatus.ACTIVE), relieving)


def load_checkins(
	passes: Sequence[LedgerPass], employees: Sequence[str], settings: AttendanceSettings
) -> list[tuple[str, Checkin]]:
	"""(employee, check-in) of these employees around the passes, as far as any decision looks."""
	if not passes or not employees:
		return []
	after = max(LONGEST_REPETITION, settings.debounce)
	before = max(after, settings.alternate_within)
	# Naive and real time differ by the repeated hour at most.
	first = at_site(min(each.occurred_at for each in passes), settings.zone).time
	last = at_site(max(each.occurred_at for each in passes), settings.zone).time
	checkin, event = frappe.qb.DocType("Employee Checkin"), frappe.qb.DocType("Access Event")
	punch = frappe.qb.DocType("Bulk Manual Punch Employee")
	rows = (
		frappe.qb.from_(checkin)
		.left_join(event)
		.on(checkin.access_event == event.name)
		.left_join(punch)
		.on(checkin.name == punch.employee_checkin)
		.select(
			checkin.name,
			checkin.employee,
			checkin.time,
			checkin.log_type,
			checkin.access_event,
			event.occurred_at_utc,
			punch.name.as_("punch"),
		)
		.where(checkin.employee.isin(employees))
		.where(checkin.time >= first - before - LONGEST_REPETITION)
		.where(checkin.time <= last + after + LONGEST_REPETITION)
		.run(as_dict=True)
	)
	return [(row.employee, _checkin(row, settings.zone)) for row in rows]


def _checkin(row: Any, zone: ZoneInfo) -> Checkin:
	return Checkin(
		name=row.name,
		time=row.time,
		log_type=LogType(row.log_type or ""),
		moment=_moment(row, zone),
		event=row.access_event or "",
		by_hand=bool(row.punch),
	)


def _moment(row: Any, zone: ZoneInfo) -> datetime | None:
	"""The event's instant, unless a person gave the check-in another time."""
	if row.occurred_at_utc:
		occurred = at_site(row.occurred_at_utc.replace(tzinfo=timezone.utc), zone)
		if occurred.time == row.time:
			return occurred.moment
	return moment_of(row.time, zone)
