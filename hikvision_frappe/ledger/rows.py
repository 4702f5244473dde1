"""Rows of the ledger table: what fits into one, how identity sees them, how they are written and renamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import frappe
from pypika import Criterion, Parameter

from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.event import AccessEvent, as_utc
from hikvision_frappe.core.identity import LedgerView, Placement, Recorded, second
from hikvision_frappe.core.states import EventState, initial_state
from hikvision_frappe.isapi.codes import method_of

DOCTYPE = "Access Event"
IDENTITY_FIELDS = (
	"name",
	"device",
	"epoch",
	"serial_no",
	"occurred_at_utc",
	"major",
	"minor",
	"person_code",
	"card_no",
	"occurred_text",
)
# Of what a device says, the texts that decide who and which record it was must fit; the others are cut.
LENGTHS = {"person": 64, "card_no": 64, "hardware": 140}
CUT = {
	"person_name": 140,
	"occurred_text": 64,
	"user_type": 40,
	"attendance_status": 40,
	"verify_mode": 64,
}
LARGEST = {
	"serial_no": 2**63 - 1,
	"major": 2**31 - 1,
	"minor": 2**31 - 1,
	"door_no": 2**31 - 1,
	"reader_no": 2**31 - 1,
}
MARKS = str.maketrans("<>", "‹›")
LIVE = {True: "Yes", False: "No", None: ""}


class RowSettings(Protocol):
	"""What a row depends on besides its event."""

	@property
	def zone(self) -> ZoneInfo: ...

	@property
	def keep_person_names(self) -> bool: ...


def defect(event: AccessEvent) -> str:
	"""Why the ledger can never hold this event, or "". MariaDB would cut or clip some of it in silence."""
	for field, length in LENGTHS.items():
		value = getattr(event, field)
		if len(value) > length or not _is_storable(value):
			return f"{field} is not a text of at most {length} characters"
	for field, largest in LARGEST.items():
		value = getattr(event, field)
		if value is not None and not 0 <= value <= largest:
			return f"{field} is not a number from 0 to {largest}"
	for field in ("occurred_at", "received_at"):
		moment = getattr(event, field)
		if moment.tzinfo is None or not 1900 <= moment.year <= 9000:
			return f"{field} is not an instant between 1900 and 9000"
	return ""


def without_markup(event: AccessEvent) -> AccessEvent:
	"""The event with < and > of its texts replaced by marks that look like them.

	Rows are written past Frappe's sanitizer, and lists show them as HTML. The marks keep different numbers different.
	"""
	changes = {
		field: text.translate(MARKS)
		for field in (*LENGTHS, *CUT)
		if "<" in (text := getattr(event, field)) or ">" in text
	}
	return event.retold(**changes) if changes else event


def _is_storable(text: str) -> bool:
	return _storable(text) == text and "\0" not in text


def _storable(text: str) -> str:
	"""The text without half surrogates, which JSON can carry and UTF-8 cannot."""
	return text.encode("utf-8", "ignore").decode()


def load(view: LedgerView, events: Iterable[AccessEvent]) -> None:
	"""Add the stored rows that the events could be to the view; at most two statements.

	Serial numbers above the highest one are new and need no look-up. Rows of the same seconds matter only where
	records come without numbers.
	"""
	events = list(events)
	event = frappe.qb.DocType(DOCTYPE)
	found: dict[str, Recorded] = {}
	for field, wanted in (
		(event.serial_no, _serials_to_look_up(view, events)),
		(event.occurred_at_utc, _seconds_to_look_up(view, events)),
	):
		if not wanted:
			continue
		criteria = [
			(event.device == device) & field.isin(sorted(values)) for device, values in wanted.items()
		]
		rows = frappe.qb.from_(event).select(*IDENTITY_FIELDS).where(Criterion.any(criteria)).run()
		found.update({row[0]: _recorded(*row) for row in rows})
	view.add(found.values())


def _serials_to_look_up(view: LedgerView, events: Iterable[AccessEvent]) -> dict[str, set[int]]:
	highest = {device: max(epoch.highest for epoch in epochs) for device, epochs in view.epochs.items()}
	wanted: dict[str, set[int]] = {}
	for event in events:
		if event.serial_no is not None and event.serial_no <= highest[event.device]:
			wanted.setdefault(event.device, set()).add(event.serial_no)
	return wanted


def _seconds_to_look_up(view: LedgerView, events: Sequence[AccessEvent]) -> dict[str, set[datetime]]:
	unnumbered = {event.device for event in events if event.serial_no is None}
	unnumbered |= {
		device for device, epochs in view.epochs.items() if any(epoch.unnumbered for epoch in epochs)
	}
	wanted: dict[str, set[datetime]] = {}
	for event in events:
		if event.device in unnumbered:
			wanted.setdefault(event.device, set()).add(_naive_second(event.occurred_at))
	return wanted


def _recorded(
	name: str,
	device: str,
	epoch: int,
	serial_no: int,
	occurred_at_utc: datetime,
	major: int,
	minor: int,
	person: str | None,
	card_no: str | None,
	occurred_text: str | None,
) -> Recorded:
	"""A row without an epoch is one without a serial number: an integer column knows no NULL in Frappe."""
	return Recorded(
		name=name,
		device=device,
		epoch=epoch or None,
		serial_no=serial_no if epoch else None,
		occurred_at=occurred_at_utc.replace(tzinfo=timezone.utc),
		major=major,
		minor=minor,
		person=person or "",
		card_no=card_no or "",
		occurred_text=occurred_text or "",
	)


def new_row(placement: Placement, settings: RowSettings, now: datetime) -> dict[str, Any]:
	"""A new row for an event. ``now``: naive site time."""
	event = placement.event
	return {
		"name": placement.name,
		"creation": now,
		"modified": now,
		"owner": "Administrator",
		"modified_by": "Administrator",
		"device": event.device,
		"serial_no": event.serial_no or 0,
		"epoch": placement.epoch or 0,
		"occurred_at": at_site(event.occurred_at, settings.zone).time,
		"occurred_at_utc": _naive_second(event.occurred_at),
		"occurred_text": _cut(event, "occurred_text"),
		"time_quality": event.time_quality.value,
		"received_at": at_site(event.received_at, settings.zone).time,
		"source": event.source.value,
		"live": LIVE[event.live],
		"state": initial_state(event).value,
		"employee_checkin": None,
		**_content(event, settings),
	}


def _content(event: AccessEvent, settings: RowSettings) -> dict[str, Any]:
	return {
		"major": event.major,
		"minor": event.minor,
		"kind": event.kind.value,
		"method": method_of(event.major, event.minor),
		"person_code": event.person,
		"person_name": _cut(event, "person_name") if settings.keep_person_names else "",
		"card_no": event.card_no,
		"door_no": event.door_no or 0,
		"reader_no": event.reader_no or 0,
		"user_type": _cut(event, "user_type"),
		"attendance_status": _cut(event, "attendance_status"),
		"verify_mode": _cut(event, "verify_mode"),
	}


def _cut(event: AccessEvent, field: str) -> str:
	text: str = getattr(event, field)
	return _storable(text)[: CUT[field]].replace("\0", "")


def adopted_row(before: Mapping[str, Any], placement: Placement, settings: RowSettings) -> dict[str, Any]:
	"""The row of a record that was told without its number before: new name, and what it now says besides.

	What became of it stays, unless only now a person is named.
	"""
	event = placement.event
	row = dict(before)
	row |= {field: value for field, value in _content(event, settings).items() if not row.get(field)}
	row |= {"name": placement.name, "serial_no": event.serial_no or 0, "epoch": placement.epoch or 0}
	row["live"] = row["live"] or LIVE[event.live]
	if row["state"] == EventState.NO_PERSON.value and event.person:
		row["state"] = initial_state(event).value
	return row


def take_out(names: Sequence[str]) -> dict[str, dict[str, Any]]:
	"""Lock and remove rows that will be written again under other names; everything they hold, by old name."""
	if not names:
		return {}
	event = frappe.qb.DocType(DOCTYPE)
	held = (
		frappe.qb.from_(event)
		.select("*")
		.where(event.name.isin(sorted(names)))
		.orderby(event.name)
		.for_update()
		.run(as_dict=True)
	)
	frappe.db.delete(DOCTYPE, {"name": ["in", sorted(names)]})
	return {row["name"]: dict(row) for row in held}


def insert(rows: Sequence[Mapping[str, Any]]) -> None:
	"""Insert rows in one statement. A name that exists is an error, never skipped in silence.

	The query builder makes the statement for one row, and the driver fills in the others: building all of them
	takes longer than the database needs to store them.
	"""
	if not rows:
		return
	fields = tuple(dict.fromkeys(field for row in rows for field in row))
	further = ",(" + ",".join(["%s"] * len(fields)) + ")"
	values = [row.get(field, _absent(field)) for row in rows for field in fields]
	frappe.db.sql(_insert_statement(fields, frappe.db.db_type) + further * (len(rows) - 1), values)


@lru_cache(maxsize=16)
def _insert_statement(fields: tuple[str, ...], db_type: str) -> str:
	event = frappe.qb.DocType(DOCTYPE)
	marks = [Parameter("%s")] * len(fields)
	return str(frappe.qb.into(event).columns(*fields).insert(*marks).get_sql())


def _absent(field: str) -> Any:
	return 0 if field in ("attempts", "docstatus", "idx") else None


def point_checkins(renamed: Mapping[str, str]) -> None:
	"""Let check-ins follow their event to its new name: {check-in: event}."""
	if not renamed:
		return
	updates = {checkin: {"access_event": event} for checkin, event in renamed.items()}
	frappe.db.bulk_update("Employee Checkin", updates, chunk_size=len(updates), update_modified=False)


def _naive_second(moment: datetime) -> datetime:
	"""UTC without zone and fraction, as it is stored: a second is a key here."""
	return second(as_utc(moment)).replace(tzinfo=None)
