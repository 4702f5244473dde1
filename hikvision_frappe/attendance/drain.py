"""Work off the ledger: every waiting pass gets its state, and where it counts its Employee Checkin.

One drain at a time works on a site, oldest passes first, because what a pass means depends on those before it. Each
pass is one transaction: its row is locked by primary key, check-in and link are written, one commit. Where many
passes wait and nobody else listens to Employee Checkin, a set of them is one transaction (``set_path``). Whoever is
killed in between leaves nothing half done; the unique link on Employee Checkin is the database's last word.
"""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import frappe
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from hikvision_frappe.attendance import people
from hikvision_frappe.attendance.checkins import make_checkin
from hikvision_frappe.attendance.facts import (
	EVENT_FIELDS,
	BatchFacts,
	LedgerPass,
	SiteRules,
	load_facts,
	load_rules,
)
from hikvision_frappe.attendance.failures import (
	CONTENTION,
	FIRST_PAUSE,
	MAX_ATTEMPTS,
	OUTAGE,
	in_words,
	is_interruption,
	next_attempt,
)
from hikvision_frappe.attendance.ledger_rows import (
	is_due,
	lock_pass,
	outcome_of,
	utc_now,
	write_outcome,
)
from hikvision_frappe.attendance.set_listeners import why_not_sets
from hikvision_frappe.attendance.set_path import BACKLOG, SET_SIZE, SetPath
from hikvision_frappe.attendance.set_rows import load_template
from hikvision_frappe.core.attendance import Decision, decide
from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.states import EventState
from hikvision_frappe.ledger.alone import alone

logger = logging.getLogger("hikvision.drain")

# The facts of one batch are read together; their check-ins span no more than this.
BATCH_SPAN = timedelta(days=7)
LOCK_NAME = "hikvision_drain"
# HRMS, or a hook, may have been in the way of this pass alone: a fresh look often settles it. Not so a lock wait that
# timed out, which has already waited for most of a minute.
DEADLOCK_ATTEMPTS = 4
AGAIN = Retrying(
	retry=retry_if_exception_type(frappe.QueryDeadlockError),
	stop=stop_after_attempt(DEADLOCK_ATTEMPTS),
	wait=wait_random_exponential(multiplier=0.02, max=0.5),
	before_sleep=lambda _state: frappe.db.rollback(),
	reraise=True,
)


@dataclass(slots=True)
class DrainResult:
	"""What a drain did. states: how many passes ended in which state.

	left: passes that stay as they were and will be tried again. busy: another drain was at work, so nothing was done.
	more: whether it stopped at its limit or time budget, and the caller should call again. in_sets: how many of the
	passes were settled in sets. why_not_sets: why a backlog was not, in words.
	"""

	states: Counter[str] = field(default_factory=Counter)
	left: int = 0
	in_sets: int = 0
	why_not_sets: list[str] = field(default_factory=list)
	busy: bool = False
	more: bool = False

	@property
	def settled(self) -> int:
		return sum(self.states.values())


def drain(limit: int = 500, time_budget: float | None = None, backlog: int = BACKLOG) -> DrainResult:
	"""Settle up to ``limit`` waiting passes of the connected site, for at most ``time_budget`` seconds.

	backlog: so many of them, or more, are written in sets where nobody else listens to Employee Checkin.

	Commits after every pass or set of passes. An error stays on its pass; only what says that the site itself cannot be worked on
	(database away, maintenance) is raised, with nothing half done. Runs as the session's user: a job or a process
	of the site, as Administrator.
	"""
	result = DrainResult()
	deadline = time.monotonic() + time_budget if time_budget else None
	_end_transaction()
	with alone(LOCK_NAME) as is_alone:
		if not is_alone:
			result.busy = True
			return result
		names = _waiting(limit)
		result.more = len(names) == limit
		if names:
			_drain_batches(_load_passes(names), deadline, backlog, result)
	return result


def something_waits() -> bool:
	"""Whether a drain would find something to do now."""
	return bool(_waiting(1))


def _waiting(limit: int) -> list[str]:
	"""Names of the oldest passes that are new and not made to wait, or failed and due; without a lock."""
	event = frappe.qb.DocType("Access Event")
	query = (
		frappe.qb.from_(event)
		.select(event.name, event.occurred_at_utc)
		.orderby(event.occurred_at_utc)
		.limit(limit)
	)
	is_due = event.next_attempt_at <= utc_now()
	new = (
		query.where(event.state == EventState.NEW.value).where(event.next_attempt_at.isnull() | is_due).run()
	)
	due = query.where(event.state == EventState.FAILED.value).where(is_due).run()
	return [name for name, moment in sorted([*new, *due], key=lambda row: (row[1], row[0]))[:limit]]


def _load_passes(names: Sequence[str]) -> list[LedgerPass]:
	rows = frappe.get_all(
		"Access Event",
		filters={"name": ["in", names]},
		fields=list(EVENT_FIELDS),
		order_by="occurred_at_utc, name",
	)
	return [LedgerPass.from_row(row) for row in rows]


def _drain_batches(
	passes: Sequence[LedgerPass], deadline: float | None, backlog: int, result: DrainResult
) -> None:
	rules = load_rules()
	sets = _sets_for(rules, result) if len(passes) >= backlog else None
	for batch in batches(passes, BATCH_SPAN, SET_SIZE if sets else None):
		if _time_is_up(deadline, result):
			return
		unmatched: set[str] = set()
		if sets:
			batch = _drain_set(sets, batch, result)
			unmatched |= sets.unmatched
		unmatched |= _drain_one_by_one(batch, rules, deadline, result)
		_refresh_people(unmatched)


def _sets_for(rules: SiteRules, result: DrainResult) -> SetPath | None:
	"""The way of writing sets, where nobody else listens to Employee Checkin."""
	result.why_not_sets = why_not_sets()
	if result.why_not_sets:
		logger.info("the backlog goes one by one: %s", " ".join(result.why_not_sets))
		return None
	return SetPath(rules, load_template(), lambda name: _count(_settle(name, rules, None), result))


def _drain_set(sets: SetPath, batch: Sequence[LedgerPass], result: DrainResult) -> Sequence[LedgerPass]:
	"""Settle what a set can take and count it; the passes that are left, in order of time."""
	sets.states.clear()
	sets.unmatched.clear()
	left = sets.settle(batch)
	result.states += sets.states
	result.in_sets += sets.states.total()
	return left


def _drain_one_by_one(
	batch: Sequence[LedgerPass], rules: SiteRules, deadline: float | None, result: DrainResult
) -> set[str]:
	"""Settle passes through HRMS's document; the person numbers that nobody has."""
	unmatched: set[str] = set()
	if not batch:
		return unmatched
	facts = _facts_of(batch, rules)
	for each in batch:
		if _time_is_up(deadline, result):
			break
		if _count(_settle(each.name, rules, facts), result) is EventState.UNMATCHED:
			unmatched.add(each.person)
	return unmatched


def _time_is_up(deadline: float | None, result: DrainResult) -> bool:
	if deadline is None or time.monotonic() < deadline:
		return False
	result.more = True
	return True


def _facts_of(batch: Sequence[LedgerPass], rules: SiteRules) -> BatchFacts | None:
	"""Facts for the batch; None where one pass or its people make them unreadable: then each pass reads its own."""
	try:
		return load_facts(batch, rules)
	except Exception as error:
		if is_interruption(error):
			raise
		frappe.logger("hikvision").exception("the facts of a batch could not be read together")
		return None
	finally:
		_end_transaction()


def _count(state: EventState | None, result: DrainResult) -> EventState | None:
	if state is None:
		result.left += 1
	else:
		result.states[state.value] += 1
	return state


def batches(
	passes: Iterable[LedgerPass], span: timedelta, size: int | None = None
) -> Iterator[list[LedgerPass]]:
	"""The passes, given in order of time, in groups that last no longer than ``span``, of ``size`` at most."""
	batch: list[LedgerPass] = []
	for each in passes:
		if batch and (each.occurred_at - batch[0].occurred_at > span or len(batch) == size):
			yield batch
			batch = []
		batch.append(each)
	if batch:
		yield batch


def _refresh_people(codes: set[str]) -> None:
	if codes:
		people.refresh_waiting(codes)
		frappe.db.commit()  # nosemgrep: a drain's transactions are its own


def _settle(name: str, rules: SiteRules, facts: BatchFacts | None) -> EventState | None:
	"""One pass from lock to commit; None when it is gone, taken, or has to wait for another transaction."""
	try:
		for attempt in AGAIN:
			with attempt:
				return _settle_once(name, rules, facts)
	except CONTENTION:
		frappe.db.rollback()
		_let_others_go_first(name)
	except Exception as error:
		if is_interruption(error):
			raise
		frappe.db.rollback()
		return _keep_failure(name, error)
	finally:
		frappe.clear_messages()
	return None


def _settle_once(name: str, rules: SiteRules, facts: BatchFacts | None) -> EventState | None:
	each = lock_pass(name)
	if each is None or not is_due(each):
		frappe.db.rollback()
		return None
	facts = facts or load_facts([each], rules)
	decision = decide(facts.of(each), rules.attendance)
	if decision.state is EventState.UNMATCHED:
		people.lock_person(each.person)
		# Somebody may have mapped the number since the batch was read: ask again, now that nobody can.
		facts = load_facts([each], rules)
		decision = decide(facts.of(each), rules.attendance)
	made = facts.made_from(each)
	if made is None and decision.state is EventState.CHECKED_IN:
		made = _make(each, decision, facts)
	write_outcome(each.name, _outcome(each, decision, made, facts))
	frappe.db.commit()  # nosemgrep: one pass is one transaction; tabSeries must not stay locked
	if made:
		facts.remember(facts.resolve(each).employee, made)
		return EventState.CHECKED_IN
	return decision.state


def _make(each: LedgerPass, decision: Decision, facts: BatchFacts) -> Checkin:
	employee = facts.resolve(each).employee
	document = make_checkin(
		each.name, employee, decision.time, decision.log_type, facts.devices[each.device], facts.rules
	)
	return Checkin(document.name, decision.time, decision.log_type, each.occurred_at, each.name)


def _outcome(each: LedgerPass, decision: Decision, made: Checkin | None, facts: BatchFacts) -> dict[str, Any]:
	"""The fields of the event's row that say what became of it."""
	resolution = facts.resolve(each)
	person = resolution.person
	if decision.state is EventState.UNMATCHED:
		person = people.note_unmatched(each, resolution)
	return outcome_of(decision, resolution, made, person)


def _keep_failure(name: str, error: Exception) -> EventState | None:
	"""Write the error down on its pass, and when to try again; in a transaction of its own."""
	each = lock_pass(name)
	if each is None or each.state not in (EventState.NEW.value, EventState.FAILED.value):
		frappe.db.rollback()
		return None
	attempts = each.attempts + 1
	write_outcome(
		name,
		{
			"state": EventState.FAILED.value,
			"state_reason": in_words(error),
			"log_type": LogType.NONE.value,
			"attempts": attempts,
			"next_attempt_at": next_attempt(attempts, utc_now(), outage=isinstance(error, OUTAGE)),
		},
	)
	if not isinstance(error, frappe.ValidationError) and attempts in (1, MAX_ATTEMPTS):
		frappe.log_error(
			title="Hikvision: a pass could not become a check-in",
			message="".join(_traceback(error)),
			reference_doctype="Access Event",
			reference_name=name,
		)
	frappe.db.commit()  # nosemgrep: the failure is kept whatever happens next
	return EventState.FAILED


def _let_others_go_first(name: str) -> None:
	"""Somebody holds what this pass needs: it stays new, but no longer at the head of the queue.

	Otherwise every drain would begin with waiting for the same lock, and end without having settled anything.
	"""
	each = lock_pass(name)
	if each is not None and is_due(each):
		pause = FIRST_PAUSE * random.uniform(0.5, 1)  # noqa: S311 - spreads load, hides nothing
		write_outcome(name, {"next_attempt_at": utc_now() + pause})
	frappe.db.commit()  # nosemgrep: a transaction of its own


def _traceback(error: Exception) -> list[str]:
	return traceback.format_exception(type(error), error, error.__traceback__)


def _end_transaction() -> None:
	"""Let the next read see what others committed (REPEATABLE READ)."""
	frappe.db.rollback()
