"""Events into the ledger: any number of them, told any number of times, one row each, one commit.

``deliver`` owns its transaction. Row 1 of a device's serial epochs is its lock: who holds it knows that no other
process places events of that device, so what ``core.identity`` decides stays true until the commit. Numbers that
were passed over become a gap in the same transaction. The number of statements does not depend on the number of
events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe.utils import cint
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.core.gaps import jumps, restarts
from hikvision_frappe.core.identity import LedgerView, Outcome, Placement, place
from hikvision_frappe.core.states import EventState
from hikvision_frappe.ledger import epochs, gaps, rows
from hikvision_frappe.ledger.database_errors import ANY_ERROR, DATA_ERROR, INTEGRITY_ERROR
from hikvision_frappe.ledger.instants import utc_now
from hikvision_frappe.ledger.signal import wake_drain
from hikvision_frappe.listener.site import Delivery

# Another writer came between, or a row appeared outside of the lock: the same batch again, on what is true then.
COLLISIONS = (frappe.QueryDeadlockError, frappe.QueryTimeoutError, *INTEGRITY_ERROR)
ATTEMPTS = 5

UNKNOWN_DEVICE = "no device with this key"
DISABLED_DEVICE = "the device is disabled"
NOT_STORABLE = "the database cannot store one of its values"


@dataclass(frozen=True, slots=True)
class IntakeSettings:
	"""What intake reads anew for every batch, since its process may live for months."""

	zone: ZoneInfo
	keep_person_names: bool


@dataclass(frozen=True, slots=True)
class Committed:
	"""What one transaction did. awaiting: how many of the written rows wait for the drain."""

	new: int = 0
	known: int = 0
	awaiting: int = 0
	refused: Mapping[int, str] = field(default_factory=dict)


_retrying = Retrying(
	retry=retry_if_exception_type(COLLISIONS),
	stop=stop_after_attempt(ATTEMPTS),
	wait=wait_random_exponential(multiplier=0.05, max=1),
	reraise=True,
)


def deliver(
	events: Sequence[AccessEvent],
	checked: Collection[str] = (),
	settings: IntakeSettings | None = None,
	fresh: bool = False,
) -> Delivery:
	"""Commit the events to the ledger; on return they are durable, and the drain has been woken.

	What the caller left uncommitted is dropped: the batch needs a snapshot of its own. ``checked`` names devices
	that the caller has just seen enabled, ``settings`` are those it has just read. Raises QueryDeadlockError,
	QueryTimeoutError or IntegrityError after ATTEMPTS collisions, and the driver's OperationalError when the database
	cannot answer.
	"""
	events = [rows.without_markup(event) for event in events]
	malformed = {position: reason for position, event in enumerate(events) if (reason := rows.defect(event))}
	sound = {position: event for position, event in enumerate(events) if position not in malformed}
	if sound and not fresh:
		_begin_afresh()
	committed = _deliver_storable(sound, checked, settings) if sound else Committed()
	if committed.awaiting:
		wake_drain()
	return Delivery(committed.new, committed.known, {**malformed, **committed.refused})


def _deliver_storable(
	events: Mapping[int, AccessEvent], checked: Collection[str], settings: IntakeSettings | None
) -> Committed:
	"""Where the database refuses a value, halve the batch until only the event that holds it is refused.

	``rows.defect`` knows the table as we made it; a site may have narrowed a column. One event must not keep the
	sender's whole spool waiting.
	"""
	try:
		return _deliver_sound(events, checked, settings)
	except DATA_ERROR:
		if len(events) == 1:
			return Committed(refused=dict.fromkeys(events, NOT_STORABLE))
	positions = list(events)
	middle = len(positions) // 2
	first, second = (
		_deliver_storable({position: events[position] for position in half}, checked, settings)
		for half in (positions[:middle], positions[middle:])
	)
	return Committed(
		first.new + second.new,
		first.known + second.known,
		first.awaiting + second.awaiting,
		{**first.refused, **second.refused},
	)


def _deliver_sound(
	events: Mapping[int, AccessEvent], checked: Collection[str], settings: IntakeSettings | None
) -> Committed:
	try:
		return _deliver_once(events, checked, settings)
	except COLLISIONS:
		return _retrying(_deliver_once, events, checked, settings)


def _deliver_once(
	events: Mapping[int, AccessEvent], checked: Collection[str], settings: IntakeSettings | None
) -> Committed:
	try:
		committed = _place_and_write(events, checked, settings)
		# The sender forgets the events on our word. Frappe's own commit would begin the next transaction too, which a
		# push has no use for; callbacks cannot wait here, the roll-back before has dropped them.
		frappe.db.sql("commit")  # nosemgrep
	except Exception:
		_roll_back_quietly()
		raise
	return committed


def _begin_afresh() -> None:
	"""End the open transaction, with the snapshot in which its first read has caught it."""
	try:
		frappe.db.rollback()
	except ANY_ERROR:
		_roll_back_quietly()
		raise


def _roll_back_quietly() -> None:
	"""A lost connection cannot roll back, and needs not; the first error is the one to tell."""
	try:
		frappe.db.rollback()
	except ANY_ERROR:
		with contextlib.suppress(*ANY_ERROR):
			frappe.db.close()
		frappe.db._conn = None  # Frappe connects anew where there is none; it keeps one that failed to close


def _place_and_write(
	events: Mapping[int, AccessEvent], checked: Collection[str], settings: IntakeSettings | None
) -> Committed:
	locked = epochs.lock({event.device for event in events.values()})
	refused = _refusals(events, set(locked), checked)
	accepted = [event for position, event in events.items() if position not in refused]
	if not accepted:
		return Committed(refused=refused)
	view = LedgerView(epochs={device: list(known) for device, known in locked.items()})
	settings = settings or read_settings()
	rows.load(view, accepted)
	placements = place(accepted, view)
	awaiting = _write(placements, settings)
	epochs.save(view, locked)
	ended = restarts(locked, view.epochs, utc_now()) if epochs.has_more(view, locked) else ()
	gaps.open_passed_over(jumps(placements, locked), ended, settings.zone)
	new = sum(placement.outcome is Outcome.NEW for placement in placements)
	return Committed(new, len(placements) - new, awaiting, refused)


def _refusals(events: Mapping[int, AccessEvent], known: set[str], checked: Collection[str]) -> dict[int, str]:
	seen = known & set(checked)
	enabled = seen | _enabled(known - seen)
	refused = {}
	for position, event in events.items():
		if event.device not in known:
			refused[position] = UNKNOWN_DEVICE
		elif event.device not in enabled:
			refused[position] = DISABLED_DEVICE
	return refused


def _enabled(devices: set[str]) -> set[str]:
	if not devices:
		return set()
	device = frappe.qb.DocType("Hikvision Device")
	query = frappe.qb.from_(device).select(device.name)
	return set(query.where(device.name.isin(sorted(devices)) & (device.enabled == 1)).run(pluck=True))


def read_settings() -> IntakeSettings:
	"""The site's zone and our settings as committed now, past every cache."""
	single = frappe.qb.DocType("Singles")
	stored = (
		frappe.qb.from_(single)
		.select(single.field, single.value)
		.where(
			((single.doctype == "System Settings") & (single.field == "time_zone"))
			| ((single.doctype == "Hikvision Settings") & (single.field == "keep_person_names"))
		)
		.run()
	)
	values = dict(stored)
	return IntakeSettings(
		zone=ZoneInfo(values.get("time_zone") or "UTC"),
		keep_person_names=bool(cint(values.get("keep_person_names", 1))),
	)


def _write(placements: Sequence[Placement], settings: IntakeSettings) -> int:
	"""Write what is new and what got its number only now; returns how many of these rows wait for the drain."""
	written = _rows_to_write(placements, settings)
	rows.insert(written)
	rows.point_checkins({row["employee_checkin"]: row["name"] for row in written if row["employee_checkin"]})
	return sum(row["state"] == EventState.NEW.value for row in written)


def _rows_to_write(placements: Sequence[Placement], settings: IntakeSettings) -> list[dict[str, Any]]:
	now = at_site(datetime.now(timezone.utc), settings.zone).time
	inserted = {placement.name for placement in placements if placement.outcome is Outcome.NEW}
	stored = rows.take_out([each.replaces for each in placements if each.replaces not in inserted | {""}])
	written: dict[str, dict[str, Any]] = {}
	for placement in placements:
		if placement.outcome is Outcome.NEW:
			written[placement.name] = rows.new_row(placement, settings, now)
		elif placement.outcome is Outcome.ADOPTED:
			before = written.pop(placement.replaces, None) or stored[placement.replaces]
			written[placement.name] = rows.adopted_row(before, placement, settings)
	return list(written.values())
