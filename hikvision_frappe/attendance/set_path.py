"""A backlog's way to Employee Checkin: many passes decided in memory and written in one transaction.

A set is planned from facts that are read in a fixed number of statements, and then written: its ledger rows locked by
primary key, the check-ins inserted in one statement, the ledger rows updated in few, one commit. Whatever is unusual
about a pass leaves it to HRMS's document, and with it the later passes of the same employee, because what those mean
depends on it. A set that cannot be written leaves all of its passes to the document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import frappe
from frappe.desk.notifications import clear_doctype_notifications

from hikvision_frappe.attendance.facts import BatchFacts, LedgerPass, SiteRules, load_directory, load_facts
from hikvision_frappe.attendance.failures import is_interruption
from hikvision_frappe.attendance.ledger_rows import lock_passes, outcome_of, write_outcomes
from hikvision_frappe.attendance.set_listeners import remember_difference
from hikvision_frappe.attendance.set_names import CHECKIN, reserve_names
from hikvision_frappe.attendance.set_rows import Template, differences, insert_rows, read_row, told_meanwhile
from hikvision_frappe.attendance.set_shifts import (
	Employment,
	ShiftBook,
	load_employments,
	load_shift_book,
)
from hikvision_frappe.core.attendance import Decision, decide
from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.people import Resolution, Standing, folded
from hikvision_frappe.core.states import EventState

# Larger sets are hardly faster, and the database's other clients feel their commits.
SET_SIZE = 250
# Fewer waiting passes than this are no backlog.
BACKLOG = 100


@dataclass(frozen=True, slots=True)
class Planned:
	"""A pass with what is to be written of it.

	row: of its check-in, without a name; None where none is made. person: its Access Person or "". A decision that names a check-in of the same set names it by its event, until the check-ins have names.
	"""

	each: LedgerPass
	decision: Decision
	resolution: Resolution
	row: Mapping[str, Any] | None = None
	person: str = ""

	@property
	def name(self) -> str:
		return self.each.name

	@property
	def employee(self) -> str:
		return self.resolution.employee


@dataclass(slots=True)
class Plan:
	"""What a set writes, and which of its passes it leaves to the document; both in order of time."""

	planned: list[Planned] = field(default_factory=list)
	left: list[LedgerPass] = field(default_factory=list)
	_set_back: set[str] = field(default_factory=set)

	def leave(self, each: LedgerPass, employee: str) -> None:
		self.left.append(each)
		if employee:
			self._set_back.add(employee)

	def follows_left(self, employee: str) -> bool:
		"""Whether an earlier pass of the employee is left to the document."""
		return employee in self._set_back

	def without(self, names: Iterable[str]) -> Plan:
		"""The same plan with these passes left to the document, and the later ones of their employees."""
		gone = set(names)
		if not gone:
			return self
		rest = Plan(left=list(self.left), _set_back=set(self._set_back))
		for one in self.planned:
			if one.name in gone or rest.follows_left(one.employee):
				rest.leave(one.each, one.employee)
			else:
				rest.planned.append(one)
		rest.left.sort(key=lambda each: (each.occurred_at, each.name))
		return rest

	def checkins(self) -> list[Planned]:
		return [one for one in self.planned if one.row is not None]


@dataclass(slots=True)
class Planner:
	"""The facts of one set; ``plan`` goes through its passes in order of time."""

	facts: BatchFacts
	employments: Mapping[str, Employment]
	shifts: ShiftBook
	template: Template
	result: Plan = field(default_factory=Plan)

	def plan(self, passes: Iterable[LedgerPass]) -> Plan:
		for each in passes:
			employee = self.facts.resolve(each).employee
			if self.result.follows_left(employee):
				self.result.leave(each, employee)
				continue
			planned = self._planned(each)
			if planned is None:
				self.result.leave(each, employee)
			else:
				self.result.planned.append(planned)
				self._remember(planned)
		return self.result

	def _planned(self, each: LedgerPass) -> Planned | None:
		"""None where there is any doubt."""
		if each.state != EventState.NEW.value or self.facts.made_from(each):
			return None
		try:
			resolution = self.facts.resolve(each)
			decision = decide(self.facts.of(each), self.facts.rules.attendance)
			if decision.state is not EventState.CHECKED_IN:
				return Planned(each, decision, resolution, person=resolution.person)
			row = self._row(each, decision, resolution.employee)
		except Exception as error:
			if is_interruption(error):
				raise
			return None  # the document meets it again, and keeps it on the pass
		return Planned(each, decision, resolution, row, resolution.person) if row else None

	def _row(self, each: LedgerPass, decision: Decision, employee: str) -> Mapping[str, Any] | None:
		shift = self.shifts.shift_at(employee, decision.time)
		if decision.log_type is LogType.NONE and shift and shift.name in self.facts.rules.strict_shifts:
			return None
		row = self.template.row(
			each.name,
			self.employments[employee],
			decision.time,
			decision.log_type,
			self.facts.devices[each.device].label,
			shift,
		)
		return row if self.template.takes(row) else None

	def _remember(self, planned: Planned) -> None:
		if planned.row is not None:
			each, decision = planned.each, planned.decision
			made = Checkin(each.name, decision.time, decision.log_type, each.occurred_at, each.name)
			self.facts.remember(planned.employee, made)


def plan_set(passes: Sequence[LedgerPass], rules: SiteRules, template: Template) -> Plan:
	"""What is to be written of these passes, from facts as they are now; nothing is locked or written."""
	facts = load_facts(passes, rules)
	employments = load_employments(facts.employees)
	return Planner(facts, employments, load_shift_book(employments), template).plan(passes)


def write_set(plan: Plan, rules: SiteRules, names: Mapping[str, str]) -> Plan:
	"""Write a planned set and commit; returns what was written and what is left to the document.

	names: of check-ins that the plan refers to and that stand already, by event. Passes that are gone, locked or not as
	they were planned are left, and those that somebody else recorded meanwhile. Raises with nothing written.
	"""
	frappe.db.rollback()  # what was read for the plan must not be read again: others have gone on
	new_names = reserve_names(len(plan.checkins()))
	plan = _as_they_are_now(plan, rules)
	made = plan.checkins()
	insert_rows([one.row for one in made if one.row], new_names[: len(made)])
	known = {**names, **{one.name: name for one, name in zip(made, new_names, strict=False)}}
	write_outcomes({one.name: _outcome(one, known) for one in plan.planned})
	if made:
		_tell_lists(new_names[0])
	frappe.db.commit()  # nosemgrep: one set is one transaction
	return plan


def _as_they_are_now(plan: Plan, rules: SiteRules) -> Plan:
	"""The plan without the passes for which it no longer holds; the rows of the others are locked."""
	locked = lock_passes([one.name for one in plan.planned])
	plan = plan.without(one.name for one in plan.planned if locked.get(one.name) != one.each)
	plan = _still_unmatched(plan, rules)
	told = told_meanwhile(one.row for one in plan.checkins() if one.row)
	return plan.without(one.name for one in plan.checkins() if one.row and _key(one.row) in told)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
	return row["employee"], row["time"], row["log_type"]


def _still_unmatched(plan: Plan, rules: SiteRules) -> Plan:
	"""Ask again whose the unknown numbers are, now that nobody can map them; and which Access Person holds them.

	A number that is unknown for the first time is left to the document path, which makes its Access Person.
	"""
	unmatched = [one for one in plan.planned if one.decision.state is EventState.UNMATCHED]
	if not unmatched:
		return plan
	held = _lock_numbers({one.each.person for one in unmatched})
	directory = load_directory([one.each for one in unmatched], rules.attendance.forgive_zeros)
	gone = set()
	for one in unmatched:
		now_known = directory.resolve(one.each.device, one.each.person, rules.attendance.forgive_zeros)
		nobodys = one.resolution.standing in (Standing.UNKNOWN, Standing.AMBIGUOUS)
		if not nobodys or now_known != one.resolution or folded(one.each.person) not in held:
			gone.add(one.name)
	plan = plan.without(gone)
	plan.planned = [
		replace(one, person=held[folded(one.each.person)])
		if one.decision.state is EventState.UNMATCHED
		else one
		for one in plan.planned
	]
	return plan


def _lock_numbers(codes: set[str]) -> dict[str, str]:
	"""The Access People of these numbers, by number as it is compared; locked, see ``people.lock_person``."""
	person = frappe.qb.DocType("Access Person")
	rows = (
		frappe.qb.from_(person)
		.select(person.person_code, person.name)
		.where(person.person_code.isin(sorted(codes)))
		.for_update()
		.run()
	)
	return {folded(code): name for code, name in rows}


def _outcome(one: Planned, names: Mapping[str, str]) -> dict[str, Any]:
	decision = replace(
		one.decision,
		checkin=names.get(one.decision.checkin, one.decision.checkin),
		values=tuple(names.get(value, value) for value in one.decision.values),
	)
	made = None
	if one.row is not None:
		made = Checkin(names[one.name], decision.time, decision.log_type, one.each.occurred_at, one.name)
	return outcome_of(decision, one.resolution, made, one.person)


def _tell_lists(name: str) -> None:
	"""What the document tells open lists and counters of each check-in, once for the set."""
	clear_doctype_notifications(CHECKIN)
	told = {"doctype": CHECKIN, "name": name, "user": frappe.session.user}
	frappe.publish_realtime("list_update", told, after_commit=True)


@dataclass(slots=True)
class SetPath:
	"""The sets of one drain. The first check-in of a drain is made by HRMS, and held against what a set would write.

	by_document: settles one pass through HRMS's document and returns its state. states: what the sets settled.
	unmatched: numbers of the passes that nobody has. off: the sets were found to differ, and nothing more is written.
	"""

	rules: SiteRules
	template: Template
	by_document: Callable[[str], EventState | None]
	states: Counter[str] = field(default_factory=Counter)
	unmatched: set[str] = field(default_factory=set)
	off: bool = False
	_compared: bool = False

	def settle(self, passes: Sequence[LedgerPass]) -> list[LedgerPass]:
		"""Settle what can be settled as a set and return the passes that are left to the document, in order of time.

		Raises only what says that the site cannot be worked on.
		"""
		if self.off:
			return list(passes)
		tried: set[str] = set()
		try:
			plan, names = self._with_first_by_document(plan_set(passes, self.rules, self.template), tried)
			if plan.planned and not self.off:
				plan = write_set(plan, self.rules, names)
				self._count(plan)
				return [each for each in plan.left if each.name not in tried]
		except Exception as error:
			frappe.db.rollback()
			if is_interruption(error):
				raise
			frappe.logger("hikvision").exception("a set could not be written; its passes go one by one")
		return [each for each in passes if each.name not in tried]

	def _with_first_by_document(self, plan: Plan, tried: set[str]) -> tuple[Plan, dict[str, str]]:
		"""The plan without its first check-in where that was made by HRMS; and the check-in's name by its event."""
		made = plan.checkins()
		if self._compared or not made:
			return plan, {}
		first = made[0]
		tried.add(first.name)
		if self.by_document(first.name) is not EventState.CHECKED_IN:
			return plan.without([first.name]), {}
		written = read_row(first.name)
		if written is None or first.row is None:
			return plan.without([first.name]), {}
		self._compared = True
		if unlike := differences(first.row, written):
			self.off = True
			remember_difference(written["name"], unlike)
		plan.planned.remove(first)
		return plan, {first.name: written["name"]}

	def _count(self, plan: Plan) -> None:
		for one in plan.planned:
			self.states[one.decision.state.value] += 1
			if one.decision.state is EventState.UNMATCHED:
				self.unmatched.add(one.each.person)
