"""Ledger rows as the drain works on them: locked by primary key, and told what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import frappe
from frappe import _
from frappe.query_builder import Case
from frappe.utils import now
from pypika.terms import Parameter

from hikvision_frappe.attendance.facts import EVENT_FIELDS, LedgerPass
from hikvision_frappe.core.attendance import Decision, Reason
from hikvision_frappe.core.checkin import Checkin
from hikvision_frappe.core.people import Resolution, Standing
from hikvision_frappe.core.states import EventState

# Of the fields that say what became of an event, those that differ from event to event within a set.
OUTCOME_FIELDS = ("state", "state_reason", "log_type", "employee", "access_person", "employee_checkin")

# The database looks for the name of each row among those of its statement, one after the other.
TOLD_AT_ONCE = 100


def lock_pass(name: str) -> LedgerPass | None:
	"""The pass as it is now, its row locked until the transaction ends; None when it is gone or locked."""
	rows = frappe.db.sql(_lock_one(frappe.db.db_type), (name,), as_dict=True)
	return LedgerPass.from_row(rows[0]) if rows else None


def lock_passes(names: Sequence[str]) -> dict[str, LedgerPass]:
	"""The passes as they are now, by name, locked until the transaction ends; without those gone or locked."""
	if not names:
		return {}
	rows = frappe.db.sql(_lock_several(frappe.db.db_type), (list(names),), as_dict=True)
	return {row.name: LedgerPass.from_row(row) for row in rows}


# Built once for each kind of database: building a statement takes as long as running it.


@lru_cache
def _lock_one(_db_type: str) -> str:
	event = frappe.qb.DocType("Access Event")
	return _lock(event, event.name == Parameter("%s")).get_sql()


@lru_cache
def _lock_several(db_type: str) -> str:
	event = frappe.qb.DocType("Access Event")
	query = _lock(event, event.name.isin(Parameter("%s")))
	return _by_primary_key(query.get_sql(), "FROM", db_type)


def _by_primary_key(statement: str, word: str, db_type: str) -> str:
	"""A small table would be read from end to end, and InnoDB locks whatever it reads."""
	table = f"{word} `tabAccess Event` "
	return (
		statement.replace(table, f"{table}FORCE INDEX (PRIMARY) ", 1) if db_type == "mariadb" else statement
	)


def _lock(event: Any, which: Any) -> Any:
	fields = (event[field] for field in EVENT_FIELDS)
	return frappe.qb.from_(event).select(*fields).where(which).for_update(skip_locked=True)


def is_due(each: LedgerPass) -> bool:
	"""Whether the drain is to judge this pass now."""
	if each.state == EventState.NEW.value and each.next_attempt_at is None:
		return True
	due = each.next_attempt_at is not None and each.next_attempt_at <= utc_now()
	return each.state in (EventState.NEW.value, EventState.FAILED.value) and due


def outcome_of(
	decision: Decision, resolution: Resolution, made: Checkin | None, person: str
) -> dict[str, Any]:
	"""The fields of an event's row that say what became of it. person: its Access Person or ""."""
	if made:
		decision = replace(decision, state=EventState.CHECKED_IN, reason=Reason.COUNTED, values=())
	return {
		"state": decision.state.value,
		"state_reason": decision.text(_),
		"log_type": (made or decision).log_type.value,
		"employee": resolution.employee if resolution.standing is Standing.MATCHED else None,
		"access_person": person or None,
		"employee_checkin": (made.name if made else decision.checkin) or None,
		"attempts": 0,
		"next_attempt_at": None,
	}


def write_outcome(name: str, values: Mapping[str, Any]) -> None:
	"""Write what became of a locked event; no document hooks, the ledger has none."""
	statement = _outcome_statement(frappe.db.db_type, tuple(values))
	frappe.db.sql(statement, (*values.values(), now(), name))


@lru_cache
def _outcome_statement(_db_type: str, fields: tuple[str, ...]) -> str:
	event = frappe.qb.DocType("Access Event")
	query = frappe.qb.update(event).where(event.name == Parameter("%s"))
	for fieldname in (*fields, "modified"):
		query = query.set(event[fieldname], Parameter("%s"))
	return query.get_sql()


def write_outcomes(outcomes: Mapping[str, Mapping[str, Any]]) -> None:
	"""Write what became of several locked events, by name, in few statements."""
	names = list(outcomes)
	for first in range(0, len(names), TOLD_AT_ONCE):
		some = names[first : first + TOLD_AT_ONCE]
		values: list[Any] = []
		for fieldname in OUTCOME_FIELDS:
			for name in some:
				values += (name, outcomes[name][fieldname])
		frappe.db.sql(_outcomes_statement(frappe.db.db_type, len(some)), (*values, now(), some))


@lru_cache(maxsize=8)
def _outcomes_statement(db_type: str, count: int) -> str:
	"""Built once for each size: full sets have but one."""
	event = frappe.qb.DocType("Access Event")
	query = frappe.qb.update(event)
	for fieldname in OUTCOME_FIELDS:
		choice = Case()
		for _event in range(count):
			choice = choice.when(event.name == Parameter("%s"), Parameter("%s"))
		query = query.set(event[fieldname], choice)
	query = query.set(event.attempts, 0).set(event.next_attempt_at, None).set(event.modified, Parameter("%s"))
	return _by_primary_key(query.where(event.name.isin(Parameter("%s"))).get_sql(), "UPDATE", db_type)


def utc_now() -> datetime:
	"""Naive UTC, whole seconds."""
	return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
