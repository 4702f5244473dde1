"""Whose numbers are at the doors: those nobody has wait as Access Persons; mapping one replays all its passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import frappe
from frappe import _
from frappe.query_builder import Case
from frappe.query_builder.functions import Count, Max
from frappe.utils import get_system_timezone, now

from hikvision_frappe.attendance.facts import LedgerPass
from hikvision_frappe.core.clock import to_site_time
from hikvision_frappe.core.people import Resolution, Standing, zero_variants
from hikvision_frappe.core.states import EventState
from hikvision_frappe.ledger.signal import wake_drain

UNMATCHED, MATCHED, IGNORED = "Unmatched", "Matched", "Ignored"


# What the drain asks for, within its transaction


def lock_person(code: str) -> None:
	"""Keep the Access Person of this number as it is until the transaction ends.

	Whoever maps a number changes that row before the events are replayed, so nobody's replay misses an event that
	the drain is about to call unmatched.
	"""
	person = frappe.qb.DocType("Access Person")
	frappe.qb.from_(person).select(person.name).where(person.person_code == code).for_update().run()


def note_unmatched(each: LedgerPass, resolution: Resolution) -> str:
	"""The name of the Access Person that holds this unknown number, made at its first pass."""
	name = frappe.db.get_value("Access Person", {"person_code": each.person})
	if name:
		return name
	suggested, why = suggest(each.person, each.person_name)
	if resolution.standing is Standing.AMBIGUOUS:
		suggested, why = (
			"",
			_("Several employees have this number: {0}").format(", ".join(resolution.candidates)),
		)
	document = frappe.get_doc(
		{
			"doctype": "Access Person",
			"status": UNMATCHED,
			"person_code": each.person,
			"person_name": each.person_name,
			"suggested_employee": suggested or None,
			"suggestion": why,
			"last_pass": _site_time(each.occurred_at),
			"waiting_events": 1,
		}
	)
	return document.insert().name


def suggest(code: str, person_name: str) -> tuple[str, str]:
	"""(employee, why in words) for an unknown number, when exactly one active employee fits; else ("", "")."""
	by_number = frappe.get_all(
		"Employee",
		filters={"attendance_device_id": ["in", zero_variants(code)]},
		pluck="name",
		limit=2,
	)
	if len(by_number) == 1:
		return by_number[0], _("Attendance Device ID differs in leading zeros only.")
	if not person_name.strip():
		return "", ""
	by_name = frappe.get_all(
		"Employee",
		filters={"employee_name": " ".join(person_name.split()), "status": "Active"},
		pluck="name",
		limit=2,
	)
	return (by_name[0], _("Has the same name.")) if len(by_name) == 1 else ("", "")


def refresh_waiting(codes: Iterable[str]) -> None:
	"""Count anew the unmatched events of these numbers, and when each passed last; the caller commits."""
	codes = list(codes)
	if not codes:
		return
	event = frappe.qb.DocType("Access Event")
	rows = (
		frappe.qb.from_(event)
		.select(event.access_person, Count("*").as_("events"), Max(event.occurred_at_utc).as_("last_pass"))
		.where(event.person_code.isin(codes))
		.where(event.state == EventState.UNMATCHED.value)
		.groupby(event.access_person)
		.run(as_dict=True)
	)
	counted = {row.access_person: row for row in rows}
	for name in frappe.get_all("Access Person", {"person_code": ["in", codes]}, pluck="name"):
		_write_waiting(name, counted.get(name))


def _write_waiting(name: str, row: Any) -> None:
	values: dict[str, Any] = {"waiting_events": row.events if row else 0}
	if row:
		values["last_pass"] = _site_time(row.last_pass)
	frappe.db.set_value("Access Person", name, values, update_modified=False)


# What people do


def map_person(person: str, employee: str, devices: Sequence[str] | None = None) -> str:
	"""Say who a number is, everywhere or only on some devices; replays its waiting events.

	Returns the Access Person that now holds the number: the employee's own where there is one. Raises what saving
	an Access Person raises. The caller has checked permissions; nothing is committed here.
	"""
	document = frappe.get_doc("Access Person", person, for_update=True)
	if devices is not None:
		return _map_on_devices(document, employee, list(dict.fromkeys(devices)))
	own = _own_person(employee, but=document.name)
	if own and not own.person_code and document.person_code:
		return _merge(document, own)
	document.update({"employee": employee, "status": MATCHED})
	document.save()
	return document.name


def _own_person(employee: str, but: str) -> Any:
	"""The employee's Access Person to which a number can be added, or None."""
	names = frappe.get_all(
		"Access Person",
		filters={"employee": employee, "status": MATCHED, "name": ["!=", but]},
		order_by="person_code, creation",
		pluck="name",
		limit=1,
	)
	return frappe.get_doc("Access Person", names[0], for_update=True) if names else None


def _merge(document: Any, own: Any) -> str:
	"""One record for one employee: the number moves to it and the record of the unknown goes."""
	code, numbers = document.person_code, [(row.device, row.person_code) for row in document.numbers]
	_repoint(document.name, own.name)
	_drop(document)
	own.person_code = code
	own.person_name = own.person_name or document.person_name
	for device, number in numbers:
		own.append("numbers", {"device": device, "person_code": number})
	own.save()
	return own.name


def _map_on_devices(document: Any, employee: str, devices: Sequence[str]) -> str:
	if not devices:
		frappe.throw(_("Choose at least one device."))
	if not document.person_code:
		frappe.throw(_("This person has no number that could be mapped."))
	own = _own_person(employee, but=document.name) or frappe.get_doc(
		{"doctype": "Access Person", "employee": employee, "status": MATCHED}
	)
	own.person_name = own.person_name or document.person_name
	known = {(row.device, row.person_code) for row in own.numbers}
	for device in devices:
		if (device, document.person_code) not in known:
			own.append("numbers", {"device": device, "person_code": document.person_code})
	own.save() if own.name else own.insert()
	_drop_when_nothing_waits(document)
	return own.name


def _drop_when_nothing_waits(document: Any) -> None:
	"""A record that only collected events of an unknown has no purpose once they all belong to somebody."""
	if document.status == UNMATCHED and not frappe.db.exists(
		"Access Event", {"access_person": document.name}
	):
		_drop(document)
	else:
		refresh_waiting([document.person_code])


def _drop(document: Any) -> None:
	"""Delete a record whose number has moved to another one: that is mapping, and needs no right to delete people."""
	frappe.delete_doc("Access Person", document.name, ignore_permissions=True)


def _repoint(old: str, new: str | None) -> None:
	event = frappe.qb.DocType("Access Event")
	frappe.qb.update(event).set(event.access_person, new).where(event.access_person == old).run()


def set_ignored(person: str, ignored: bool) -> None:
	"""Never count this number, or count it again; its events are judged anew either way."""
	document = frappe.get_doc("Access Person", person, for_update=True)
	if ignored == (document.status == IGNORED):
		return
	if ignored and document.status == MATCHED:
		document.employee = None
	document.status = IGNORED if ignored else UNMATCHED
	document.save()


def on_person_update(document: Any) -> None:
	"""After an Access Person was saved: what it says of its numbers holds for the events that wait."""
	before = document.get_doc_before_save()
	if before is None and document.status == UNMATCHED:
		return  # it says nothing yet
	if before is None or _says(before) != _says(document):
		numbers = _numbers_of(document) | (_numbers_of(before) if before else set())
		replay_numbers(numbers, person=document.name)


def on_person_trash(document: Any) -> None:
	"""Before an Access Person is deleted: waiting events need it, others must not name it any more."""
	waiting = {"access_person": document.name, "state": EventState.UNMATCHED.value}
	if frappe.db.exists("Access Event", waiting):
		frappe.throw(_("Events wait for this number. Say whose it is, or ignore it."), frappe.LinkExistsError)
	_repoint(document.name, None)


def _says(document: Any) -> tuple[Any, ...]:
	return document.status, document.employee, document.person_code, sorted(_numbers_of(document))


def _numbers_of(document: Any) -> set[tuple[str, str]]:
	"""Pairs (device, number); device "" stands for all of them."""
	numbers = {(row.device, row.person_code) for row in document.numbers}
	if document.person_code:
		numbers.add(("", document.person_code))
	return numbers


def replay_numbers(numbers: Iterable[tuple[str, str]], person: str = "") -> int:
	"""Send the waiting events of these (device or "", number) pairs back to the drain; returns how many.

	Waiting are the unmatched ones, and those not counted because ``person`` was ignored. They go to the drain in
	order of time once the caller commits.
	"""
	numbers = set(numbers)
	replayed = sum(_back_to_drain(_waiting_for(number, device, person)) for device, number in numbers)
	if replayed:
		refresh_waiting({number for _device, number in numbers})
		frappe.db.after_commit.add(wake_drain)
	return replayed


def _waiting_for(number: str, device: str, person: str) -> Any:
	event = frappe.qb.DocType("Access Event")
	waits = event.state == EventState.UNMATCHED.value
	if person:
		waits |= (event.state == EventState.NOT_COUNTED.value) & (event.access_person == person)
	where = (event.person_code == number) & waits
	return where & (event.device == device) if device else where


def _back_to_drain(where: Any) -> int:
	event = frappe.qb.DocType("Access Event")
	waiting = frappe.qb.from_(event).select(Count("*")).where(where).run()[0][0]
	if waiting:
		frappe.qb.update(event).set(event.state, EventState.NEW.value).set(event.state_reason, "").set(
			event.access_person, None
		).set(event.attempts, 0).set(event.modified, now()).where(where).run()
	return waiting


def on_employee_update(document: Any, _method: str | None = None) -> None:
	"""doc_events hook: a new attendance_device_id is a mapping, so its events are judged again."""
	if not document.has_value_changed("attendance_device_id") or not document.attendance_device_id:
		return
	code = document.attendance_device_id.strip()
	codes = [code]
	if frappe.get_cached_doc("Hikvision Settings").match_ignoring_leading_zeros:
		codes = zero_variants(code)
	waiting = frappe.get_all("Access Person", {"person_code": ["in", codes]}, pluck="person_code")
	for each in waiting:
		lock_person(each)
	replay_numbers({("", each) for each in (code, *waiting)})


def replay_known() -> int:
	"""Replay events that wait for a number which an employee has by now; returns how many.

	Saving the Employee does so at once. This finds numbers that were written past the document, and the pass that the
	drain was calling unmatched at the very moment of the save.
	"""
	person, employee = frappe.qb.DocType("Access Person"), frappe.qb.DocType("Employee")
	codes = (
		frappe.qb.from_(person)
		.join(employee)
		.on(employee.attendance_device_id == person.person_code)
		.select(person.person_code)
		.where((person.status == UNMATCHED) & (person.waiting_events > 0))
		.run(pluck=True)
	)
	return replay_numbers(("", code) for code in codes)


def _site_time(moment: datetime) -> datetime:
	return to_site_time(moment.replace(tzinfo=timezone.utc), get_system_timezone())


def waiting_by_device(person: str) -> list[dict[str, Any]]:
	"""Where the number of an Access Person was seen: rows with device, title, events and waiting events."""
	code = frappe.db.get_value("Access Person", person, "person_code")
	event, device = frappe.qb.DocType("Access Event"), frappe.qb.DocType("Hikvision Device")
	waiting = Case().when(event.state == EventState.UNMATCHED.value, 1)
	return (
		frappe.qb.from_(event)
		.join(device)
		.on(event.device == device.name)
		.select(event.device, device.title, Count("*").as_("events"), Count(waiting).as_("waiting"))
		.where(event.person_code == (code or ""))
		.groupby(event.device, device.title)
		.orderby(device.title)
		.run(as_dict=True)
	)
