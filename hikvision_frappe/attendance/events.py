"""What a person can do about an event when the rules left it aside: replay, count, set aside, take back.

Each leaves a comment on the event. Callers have checked the user's permissions; the check-in itself is made and
deleted with them. Nothing is committed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import frappe
from frappe import _
from frappe.utils import get_fullname

from hikvision_frappe.attendance import people
from hikvision_frappe.attendance.checkins import make_checkin
from hikvision_frappe.attendance.drain import lock_pass, write_outcome
from hikvision_frappe.attendance.facts import BatchFacts, LedgerPass, load_facts
from hikvision_frappe.core.checkin import LogType
from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.direction import log_type_for
from hikvision_frappe.core.states import COUNTABLE, IGNORABLE, REPLAYABLE, EventState
from hikvision_frappe.ledger.signal import wake_drain

LONGEST_REASON = 500

ACTIONS = {
	"replay": REPLAYABLE,
	"count": COUNTABLE,
	"ignore": IGNORABLE,
	"undo": frozenset({EventState.CHECKED_IN}),
}


def actions(name: str) -> list[str]:
	"""What can be done about an event in its present state."""
	state = EventState(frappe.db.get_value("Access Event", name, "state"))
	return [action for action, states in ACTIONS.items() if state in states]


def replay(names: Sequence[str]) -> int:
	"""Have the drain judge these events again; returns how many were in a state for it."""
	events = _locked(names, ACTIONS["replay"])
	for each in events:
		write_outcome(each.name, _undecided())
		_comment(each.name, _("Sent to be judged again."))
	_refresh(events)
	if events:
		frappe.db.after_commit.add(wake_drain)
	return len(events)


def ignore(names: Sequence[str], reason: str) -> int:
	"""Set these events aside, so that nobody waits for them; returns how many were in a state for it."""
	events = _locked(names, ACTIONS["ignore"])
	text = _("Set aside by {0}: {1}").format(_user(), _bounded(reason))
	for each in events:
		write_outcome(
			each.name, {**_undecided(), "state": EventState.NOT_COUNTED.value, "state_reason": text}
		)
		_comment(each.name, text)
	_refresh(events)
	return len(events)


def count_anyway(
	name: str,
	time: datetime | None,
	log_type: LogType | None,
	reason: str,
	employee: str | None = None,
) -> str:
	"""Make the check-in although the rules did not, and return its name.

	time: naive site time instead of the device's; needed where the device had lost its clock. log_type: instead of
	the door's. employee: where the person number is nobody's. Raises what HRMS says against it.
	"""
	each = _locked_one(name, ACTIONS["count"])
	if time is None and not each.plausible:
		frappe.throw(_("The device had lost its clock. Enter the time of the pass."))
	facts = load_facts([each])
	employee = employee or facts.resolve(each).employee
	if not employee:
		frappe.throw(_("Nobody has the person number {0}. Choose the employee.").format(each.person))
	moment = at_site(each.occurred_at, facts.rules.attendance.zone)
	log_type = _log_type(each, facts) if log_type is None else log_type
	document = make_checkin(
		each.name, employee, time or moment.time, log_type, facts.devices[each.device], facts.rules
	)
	text = _("Counted by {0}: {1}").format(_user(), _bounded(reason))
	write_outcome(
		name,
		{
			**_undecided(),
			"state": EventState.CHECKED_IN.value,
			"state_reason": text,
			"log_type": log_type.value,
			"employee": employee,
			"employee_checkin": document.name,
		},
	)
	_comment(name, text)
	_refresh([each])
	return document.name


def _log_type(each: LedgerPass, facts: BatchFacts) -> LogType:
	known, settings = facts.of(each), facts.rules.attendance
	moment = at_site(each.occurred_at, settings.zone)
	return log_type_for(known.rule, each.attendance_status, moment, known.checkins, settings.alternate_within)


def uncount(name: str, reason: str) -> None:
	"""Delete the check-in that was made of an event, unless an Attendance stands on it."""
	each = _locked_one(name, ACTIONS["undo"])
	checkin = frappe.db.get_value(
		"Employee Checkin", {"access_event": each.name}, ["name", "attendance"], as_dict=True
	)
	if checkin and checkin.attendance:
		frappe.throw(
			_("Attendance {0} was made from this check-in. Cancel it first.").format(checkin.attendance),
			frappe.LinkExistsError,
		)
	if checkin:
		frappe.delete_doc("Employee Checkin", checkin.name)
	text = _("Check-in taken back by {0}: {1}").format(_user(), _bounded(reason))
	write_outcome(name, {**_undecided(), "state": EventState.NOT_COUNTED.value, "state_reason": text})
	_comment(name, text)


def on_checkin_trash(document: Any, _method: str | None = None) -> None:
	"""doc_events hook: the event of a deleted check-in says so, and can be replayed."""
	event = document.get("access_event")
	if not event or not frappe.db.exists("Access Event", event):
		return
	text = _("{0} deleted the check-in {1}.").format(_user(), document.name)
	write_outcome(event, {**_undecided(), "state": EventState.NOT_COUNTED.value, "state_reason": text})
	_comment(event, text)


def _locked(names: Iterable[str], states: Iterable[EventState]) -> list[LedgerPass]:
	"""The events that are in one of the states, locked until the transaction ends; others are left out."""
	allowed = {state.value for state in states}
	found = [lock_pass(name) for name in sorted(set(names))]
	return [each for each in found if each is not None and each.state in allowed]


def _locked_one(name: str, states: Iterable[EventState]) -> LedgerPass:
	events = _locked([name], states)
	if not events:
		state = frappe.db.get_value("Access Event", name, "state")
		frappe.throw(_("This cannot be done with an event in state {0}.").format(_(state or "")))
	return events[0]


def _undecided() -> dict[str, Any]:
	return {
		"state": EventState.NEW.value,
		"state_reason": "",
		"log_type": "",
		"employee": None,
		"access_person": None,
		"employee_checkin": None,
		"attempts": 0,
		"next_attempt_at": None,
	}


def _refresh(events: Iterable[LedgerPass]) -> None:
	people.refresh_waiting({each.person for each in events if each.state == EventState.UNMATCHED.value})


def _comment(name: str, text: str) -> None:
	frappe.get_doc("Access Event", name).add_comment("Info", frappe.utils.escape_html(text))


def _user() -> str:
	return get_fullname() or frappe.session.user


def _bounded(reason: str) -> str:
	reason = " ".join((reason or "").split())[:LONGEST_REASON]
	if not reason:
		frappe.throw(_("Write down the reason."), frappe.MandatoryError)
	return reason
