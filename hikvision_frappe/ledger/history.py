"""Readings of devices' histories: asked for, lent to whoever can reach the device, and what they came to.

A reading is a row of Hikvision History Fetch. One listener at a time holds a device, so one reading at a time goes on
at each. A row is lent by an UPDATE on its primary key that says whose it must be: two listeners cannot both have it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.query_builder.functions import Max
from frappe.utils.background_jobs import is_job_enqueued
from pypika import Criterion
from pypika.functions import Coalesce
from pypika.terms import NullValue

from hikvision_frappe.core.gaps import MOST_UNPROVEN, Gap, HistoryAnswer, PeriodicReading, certain_of, grown
from hikvision_frappe.core.watermark import pass_over, proven_further
from hikvision_frappe.ledger import contacts, epochs, gaps
from hikvision_frappe.ledger.instants import aware, naive, shown, site_zone, utc_now
from hikvision_frappe.ledger.recorded import Stretch, known_records
from hikvision_frappe.ledger.signal import wake_keeper
from hikvision_frappe.listener.backoff import full_jitter
from hikvision_frappe.listener.history import HistorySettings, read_due_histories
from hikvision_frappe.listener.local_history import Purpose
from hikvision_frappe.listener.site import ANSWERED, ANSWERS, HistoryReport, HistoryState, HistoryTask

DOCTYPE = "Hikvision History Fetch"
RETRY_SECONDS = (5.0, 600.0)
LONGEST_REASON = 1_000
OLDEST = timedelta(days=20 * 366)  # a device's memory is not older; a slip of the keyboard is
JOB = "hikvision_frappe.ledger.history.work_off"
JOB_ID = "hikvision_history"
JOB_SECONDS = 1_380  # of the 1,500 that a job in the long queue has

UNDER_WAY = (HistoryState.QUEUED.value, HistoryState.RUNNING.value)
YES_NO = {True: "Yes", False: "No", None: ""}


# Asking.


def ask(device: str, since: datetime, until: datetime, by: str) -> str:
	"""Have a stretch of time (aware instants) of a device's history read; returns the reading's name.

	by: the user who asks; the caller has checked the permission. What lies in the future is left out. Raises
	ValidationError where there is nothing to read or nowhere to read it from. Nothing is committed here.
	"""
	row = frappe.db.get_value("Hikvision Device", device, ["title", "enabled", "host"], as_dict=True)
	if not row:
		frappe.throw(_("There is no such device."), frappe.DoesNotExistError)
	if not row.enabled:
		frappe.throw(_("{0} is switched off: switch it on with Enabled first.").format(row.title))
	if not row.host:
		frappe.throw(_("The address of {0} is not known: enter it as its Host.").format(row.title))
	until = min(until, utc_now())
	if until <= since:
		frappe.throw(_("The end must be later than the beginning, which cannot be in the future."))
	if utc_now() - since > OLDEST:
		frappe.throw(_("The beginning is too long ago."))
	zone = site_zone()
	document = frappe.new_doc(DOCTYPE)
	document.update({**_new_values(device, Purpose.ASKED, since, until, zone), "asked_by": by})
	return str(document.insert(ignore_permissions=True).name)


def queue_for_gap(gap: Gap, zone: ZoneInfo, by_number: bool) -> dict[str, Any]:
	"""The columns of a reading for what a gap misses; by_number: ask for its numbers, else for its time."""
	values = _new_values(gap.device, Purpose.GAP, gap.since, gap.until or utc_now(), zone)
	numbers = (
		{"first_serial": gap.first_serial or 0, "last_serial": gap.last_serial or 0} if by_number else {}
	)
	return {**values, "gap": gap.name, **numbers}


def queue_periodic(device: str, since: datetime, until: datetime, zone: ZoneInfo) -> dict[str, Any]:
	"""The columns of a reading of what came since the last one."""
	return _new_values(device, Purpose.PERIODIC, since, until, zone)


def insert(readings: Sequence[dict[str, Any]], zone: ZoneInfo) -> None:
	"""Queue readings in one statement."""
	if not readings:
		return
	stamp = shown(utc_now(), zone)
	common = {"creation": stamp, "modified": stamp, "owner": "Administrator", "modified_by": "Administrator"}
	rows = [{"name": frappe.generate_hash(length=10), **values, **common} for values in readings]
	fields = list(dict.fromkeys(field for row in rows for field in row))
	defaults = {"gap": None, "first_serial": 0, "last_serial": 0}
	values = [tuple(row.get(field, defaults.get(field)) for field in fields) for row in rows]
	frappe.db.bulk_insert(DOCTYPE, fields, values)


def _new_values(
	device: str, purpose: Purpose, since: datetime, until: datetime, zone: ZoneInfo
) -> dict[str, Any]:
	return {
		"device": device,
		"purpose": purpose.value,
		"state": HistoryState.QUEUED.value,
		"since": shown(since, zone),
		"until": shown(until, zone),
		"since_utc": naive(since),
		"until_utc": naive(until),
	}


def stop(device: str) -> None:
	"""Nobody may read the device any more: what is still to be read of it is cancelled."""
	waits = {"device": device, "state": ["in", UNDER_WAY]}
	fails = {"device": device, "state": HistoryState.FAILED.value, "next_attempt_at_utc": ["is", "set"]}
	for filters in (waits, fails):
		for name in frappe.get_all(DOCTYPE, filters=filters, pluck="name"):
			frappe.get_doc(DOCTYPE, name, for_update=True).cancel_reading()


# Periodic readings.


def last_periodic(devices: Iterable[str]) -> tuple[dict[str, datetime], set[str]]:
	"""Until when the newest periodic reading of each device goes, and the devices with one under way."""
	fetch = frappe.qb.DocType(DOCTYPE)
	devices = sorted(devices) or [""]
	periodic = (fetch.purpose == Purpose.PERIODIC.value) & fetch.device.isin(devices)
	newest = (
		frappe.qb.from_(fetch)
		.select(fetch.device, Max(fetch.until_utc))
		.where(periodic)
		.groupby(fetch.device)
		.run()
	)
	waiting = (
		frappe.qb.from_(fetch)
		.select(fetch.device)
		.distinct()
		.where(periodic & fetch.state.isin([*UNDER_WAY, HistoryState.FAILED.value]))
		.where(fetch.state.isin(UNDER_WAY) | fetch.next_attempt_at_utc.isnotnull())
		.run(pluck=True)
	)
	return {device: aware(until) for device, until in newest}, set(waiting)


def periodic_since(
	devices: Mapping[str, datetime], now: datetime, chunk: int = 100
) -> dict[str, list[PeriodicReading]]:
	"""The periodic readings of each device asked for after an instant, and the one under way.

	Those that a person stopped are left out. now: UTC. Two statements for every hundred devices.
	"""
	found: dict[str, list[PeriodicReading]] = defaultdict(list)
	names = sorted(devices)
	for start in range(0, len(names), chunk):
		rows = _rows_since({name: devices[name] for name in names[start : start + chunk]})
		answering = {row.device for row in rows if _is_coming(row, now)}
		for row in {row.name: row for row in rows if row.purpose == Purpose.PERIODIC.value}.values():
			is_answered = HistoryState(row.state) in ANSWERED
			reading = PeriodicReading(aware(row.until_utc), is_answered, row.device in answering)
			found[row.device].append(reading)
	return found


def _is_coming(row: Any, now: datetime) -> bool:
	is_held = bool(row.leased_until and row.leased_until >= naive(now))
	return _is_running(row) and is_held and row.rows > 0


def _rows_since(devices: Mapping[str, datetime]) -> list[Any]:
	"""The periodic readings, and those of any purpose that are under way; some come twice.

	Two statements: with both in one, the database would look at every reading of the devices.
	"""
	fetch = frappe.qb.DocType(DOCTYPE)
	query = (
		frappe.qb.from_(fetch)
		.select(fetch.name, fetch.device, fetch.purpose, fetch.state)
		.select(fetch.until_utc, fetch.rows, fetch.leased_until)
	)
	asked_for_since = Criterion.any(
		[(fetch.device == device) & (fetch.until_utc > naive(since)) for device, since in devices.items()]
	)
	newer = (
		query.where(fetch.purpose == Purpose.PERIODIC.value)
		.where(asked_for_since)
		.where(fetch.state != HistoryState.CANCELLED.value)
	)
	waiting = (
		query.where(fetch.device.isin(sorted(devices)))
		.where(fetch.state.isin([*UNDER_WAY, HistoryState.FAILED.value]))
		.where(fetch.state.isin(UNDER_WAY) | fetch.next_attempt_at_utc.isnotnull())
	)
	return [*newer.run(as_dict=True), *waiting.run(as_dict=True)]


def move(gaps_by_name: Mapping[str, str]) -> None:
	"""Let the readings for some gaps be for others: {gap: the other gap}."""
	fetch = frappe.qb.DocType(DOCTYPE)
	for name, other in gaps_by_name.items():
		frappe.qb.update(fetch).set(fetch.gap, other).where(fetch.gap == name).run()


# Answers to gaps.


@dataclass(frozen=True, slots=True)
class Answer:
	"""What history said of a gap. told: rows that were new to the ledger; numbered: whether rows have numbers.

	failed_at: naive site time at which a reading failed, or was stopped, that is not tried again by itself; else None.
	"""

	answer: HistoryAnswer = HistoryAnswer.NONE
	told: int = 0
	numbered: bool = True
	failed_at: datetime | None = None


def answers(waiting: Sequence[Gap], latest_epochs: dict[str, int]) -> dict[str, Answer]:
	"""The newest answer to each gap that is over, where there is one; two statements.

	A reading answers when it was queued for the gap, or was proven and covers its time: readings never go beyond the
	moment at which they were asked for, so one that reaches the gap's end was begun after it. latest_epochs: by device.
	"""
	over = {gap.name: gap for gap in waiting if gap.until}
	found: dict[str, Answer] = {}
	for row in _readings_of(sorted(over)) if over else ():
		gap = over[row.gap_name]
		if gap.name not in found and _speaks_of(gap, row, latest_epochs.get(gap.device)):
			found[gap.name] = _answer(row)
	return found


def _readings_of(names: list[str]) -> list[Any]:
	"""The readings for these gaps, and those that cover their time, newest first.

	Two statements: with both in one, the database would look at every reading of the devices.
	"""
	fetch, gap = frappe.qb.DocType(DOCTYPE), frappe.qb.DocType(gaps.DOCTYPE)
	covers_time = (
		(fetch.state == HistoryState.PROVEN.value)
		& (fetch.first_serial == 0)
		& (fetch.since_utc <= gap.since_utc)
		& (fetch.until_utc >= gap.until_utc)
	)
	query = (
		frappe.qb.from_(fetch)
		.join(gap)
		.on(fetch.device == gap.device)
		.select(
			gap.name.as_("gap_name"),
			fetch.state,
			fetch.new_rows,
			fetch.numbered,
			fetch.first_serial,
			fetch.last_serial,
			fetch.next_attempt_at_utc,
			fetch.ended_at,
			fetch.creation,
			fetch.until_utc,
		)
		.where(gap.name.isin(names))
	)
	covering = query.where(covers_time)
	if frappe.db.db_type == "mariadb":  # its times are in the index, and few of many readings fit
		covering = covering.force_index("device_purpose_until_utc_since_utc_index")
	rows = [*query.where(fetch.gap == gap.name).run(as_dict=True), *covering.run(as_dict=True)]
	return sorted(rows, key=lambda row: (row.creation, row.until_utc), reverse=True)


def _speaks_of(gap: Gap, row: Any, latest_epoch: int | None) -> bool:
	"""Numbers that are known to be missing are asked for by number, whatever their time; only of the present count."""
	answer = ANSWERS[HistoryState(row.state)]
	is_read = answer in (HistoryAnswer.PROVEN, HistoryAnswer.UNPROVEN)
	if not is_read or row.numbered == "No" or gap.expected is None or gap.epoch != latest_epoch:
		return True
	first, last = row.first_serial, row.last_serial
	return bool(first) and first <= gap.first_serial and (not last or last >= gap.last_serial)


def _answer(row: Any) -> Answer:
	answer = ANSWERS[HistoryState(row.state)]
	is_final = answer is HistoryAnswer.FAILED and not row.next_attempt_at_utc
	return Answer(answer, row.new_rows, row.numbered != "No", row.ended_at if is_final else None)


# Lending.


def lend(listener: str, lease_seconds: float) -> list[HistoryTask]:
	"""See ``Site.history_tasks``. Part of the caller's transaction."""
	now = naive(utc_now())
	chosen = _choose(_due(listener, now), listener, now)
	renewed = [row.name for row in chosen if _is_held_by(row, listener)]
	begun = [row.name for row in chosen if not _is_held_by(row, listener)]
	_take(renewed, listener, now, lease_seconds, again=True)
	_take(begun, listener, now, lease_seconds, again=False)
	taken = set(_held(listener, [*renewed, *begun]))
	lent = [row for row in chosen if row.name in taken]
	clocks = gaps.clocks({row.gap for row in lent if row.gap})
	recorded = known_records([_stretch(row, clocks.get(row.gap, 0.0)) for row in lent])
	return [_task(row, recorded.get(row.name), clocks.get(row.gap, 0.0)) for row in lent]


def _due(listener: str, now: datetime, limit: int = 5_000) -> list[Any]:
	"""What could be read now on devices that are leased to the listener, oldest first."""
	fetch, device = frappe.qb.DocType(DOCTYPE), frappe.qb.DocType("Hikvision Device")
	is_due = fetch.state.isin(UNDER_WAY) | (
		(fetch.state == HistoryState.FAILED.value) & (fetch.next_attempt_at_utc <= now)
	)
	return (
		frappe.qb.from_(fetch)
		.join(device)
		.on(device.name == fetch.device)
		.select(
			fetch.name,
			fetch.device,
			fetch.state,
			fetch.since_utc,
			fetch.until_utc,
			fetch.first_serial,
			fetch.last_serial,
			fetch.read_until_utc,
			fetch.gap,
			fetch.leased_by,
			fetch.leased_until,
			device.clock_offset,
		)
		.where((device.enabled == 1) & (device.leased_by == listener) & (device.leased_until >= now))
		.where(is_due)
		.orderby(fetch.creation, fetch.until_utc, fetch.name)
		.limit(limit)
		.run(as_dict=True)
	)


def _choose(rows: Sequence[Any], listener: str, now: datetime) -> list[Any]:
	"""One reading for each device: the one that this listener is at, else the oldest; none where another is at it."""
	others = {
		row.device
		for row in rows
		if _is_running(row) and row.leased_by not in ("", None, listener) and row.leased_until >= now
	}
	chosen: dict[str, Any] = {}
	for row in sorted(rows, key=lambda row: not _is_held_by(row, listener)):
		if row.device not in others:
			chosen.setdefault(row.device, row)
	return list(chosen.values())


def _is_running(row: Any) -> bool:
	return row.state == HistoryState.RUNNING.value


def _is_held_by(row: Any, listener: str) -> bool:
	return _is_running(row) and row.leased_by == listener


def _take(names: list[str], listener: str, now: datetime, lease_seconds: float, *, again: bool) -> None:
	if not names:
		return
	fetch = frappe.qb.DocType(DOCTYPE)
	is_free = fetch.leased_by.isnull() | (fetch.leased_by == "") | (fetch.leased_until < now)
	query = (
		frappe.qb.update(fetch)
		.set(fetch.leased_by, listener)
		.set(fetch.leased_until, now + timedelta(seconds=lease_seconds))
		.where(fetch.name.isin(sorted(names)))
		.where(fetch.state.isin([*UNDER_WAY, HistoryState.FAILED.value]))
		.where((fetch.leased_by == listener) | is_free)
	)
	if not again:
		started = shown(utc_now(), site_zone())
		query = (
			query.set(fetch.state, HistoryState.RUNNING.value)
			.set(fetch.attempts, fetch.attempts + 1)
			.set(fetch.next_attempt_at_utc, NullValue())
			.set(fetch.started_at, Coalesce(fetch.started_at, started))
		)
	query.run()


def _held(listener: str, names: list[str]) -> list[str]:
	if not names:
		return []
	return frappe.get_all(
		DOCTYPE,
		filters={"name": ["in", names], "leased_by": listener, "state": HistoryState.RUNNING.value},
		pluck="name",
	)


def _stretch(row: Any, clock_offset: float) -> Stretch:
	return Stretch(row.name, row.device, aware(row.since_utc), row.clock_offset or 0.0, clock_offset)


def _task(row: Any, recorded: datetime | None, clock_offset: float) -> HistoryTask:
	return HistoryTask(
		name=row.name,
		device=row.device,
		since=aware(row.since_utc),
		until=aware(row.until_utc),
		first_serial=row.first_serial or None,
		last_serial=row.last_serial or None,
		resume_from=aware(row.read_until_utc),
		recorded=recorded,
		clock_offset=clock_offset,
	)


def release(listener: str) -> None:
	"""Let others go on with what this listener was reading."""
	fetch = frappe.qb.DocType(DOCTYPE)
	(
		frappe.qb.update(fetch)
		.set(fetch.state, HistoryState.QUEUED.value)
		.set(fetch.leased_by, NullValue())
		.set(fetch.leased_until, NullValue())
		.where((fetch.leased_by == listener) & (fetch.state == HistoryState.RUNNING.value))
	).run()


# What readers report.


def note(report: HistoryReport, listener: str) -> bool:
	"""See ``Site.report_history``. Part of the caller's transaction."""
	_note_device(report)
	row = frappe.db.get_value(
		DOCTYPE,
		report.task,
		["state", "device", "leased_by", "purpose", "since_utc", "until_utc", "first_serial", "attempts"],
		as_dict=True,
		for_update=True,
	)
	if not row or row.state != HistoryState.RUNNING.value or row.leased_by != listener:
		return False
	zone = site_zone()
	is_over = report.state not in (HistoryState.QUEUED, HistoryState.RUNNING)
	values = _reported(report, zone) | (_ended(report, row, zone) if is_over else {})
	frappe.db.set_value(DOCTYPE, report.task, values, update_modified=is_over)
	if is_over:
		_conclude(report, row, zone)
		frappe.db.after_commit.add(wake_keeper)
	_announce(report, values["state"])
	return True


def _reported(report: HistoryReport, zone: ZoneInfo) -> dict[str, Any]:
	values: dict[str, Any] = {
		"state": report.state.value,
		"rows": report.rows,
		"new_rows": report.new,
		"total": report.total or 0,
		"numbered": YES_NO[report.numbered],
		"reason": report.reason[:LONGEST_REASON],
	}
	if report.read_until:
		values |= {"read_until_utc": naive(report.read_until), "read_until": shown(report.read_until, zone)}
	return values


def _ended(report: HistoryReport, row: Any, zone: ZoneInfo) -> dict[str, Any]:
	"""A reading that failed for a passing reason is tried again, later each time, and by nobody in step."""
	again = None
	if report.state is HistoryState.FAILED and report.retry:
		again = utc_now() + timedelta(seconds=full_jitter(max(1, row.attempts), *RETRY_SECONDS))
	return {
		"next_attempt_at_utc": naive(again),
		"ended_at": None if again else shown(utc_now(), zone),
		"leased_by": None,
		"leased_until": None,
	}


def _note_device(report: HistoryReport) -> None:
	"""What the reading told of the device's memory, shown on its form; written where it is news."""
	values: dict[str, Any] = {}
	if report.supported is not None:
		values["history_supported"] = YES_NO[report.supported]
	if report.storage:
		values["storage_mode"] = report.storage
		values["storage_minutes"] = report.storage_minutes or 0
	if not values:
		return
	known = frappe.db.get_value("Hikvision Device", report.device, list(values), as_dict=True)
	if known and any(known[field] != value for field, value in values.items()):
		frappe.db.set_value("Hikvision Device", report.device, values, update_modified=False)


def _conclude(report: HistoryReport, row: Any, zone: ZoneInfo) -> None:
	"""What a reading of a stretch of time says of its device: until when it is proven, or that it cannot be."""
	if row.first_serial or report.state is HistoryState.FAILED:
		return
	device = frappe.db.get_value(
		"Hikvision Device",
		row.device,
		["mode", "clock_offset", "proven_until_utc", "complete_until_utc", *contacts.FIELDS],
		as_dict=True,
		for_update=True,
	)
	if not device:
		return
	since, until, proven = aware(row.since_utc), aware(row.until_utc), aware(device.proven_until_utc)
	others = [aware(device.heard_until_utc), aware(device.complete_until_utc)]
	further = proven
	if report.state is HistoryState.PROVEN:
		further = proven_further(proven, since, until, others)
	elif row.purpose == Purpose.PERIODIC.value and device.mode == "History":
		certain = certain_of(contacts.contact_of(device), proven)
		offset = timedelta(seconds=device.clock_offset or 0)
		further = _give_up(row.device, certain.until if certain else since, until, offset, zone) or proven
	elif row.purpose == Purpose.PERIODIC.value and _unproven(row.device, proven or since) >= MOST_UNPROVEN:
		further = pass_over(proven, until, others)
	if further != proven:
		frappe.db.set_value(
			"Hikvision Device", row.device, "proven_until_utc", naive(further), update_modified=False
		)


def _give_up(
	device: str, since: datetime, until: datetime, offset: timedelta, zone: ZoneInfo
) -> datetime | None:
	"""Where nothing proves a device that is only read, a gap takes the stretch over; until when it does, else None.

	Its outage is that gap already; else so many readings must have proven nothing. The gap is read once more by itself,
	and then waits for HR; what comes after it can be proven again, and is part of it as long as that cannot be either.
	since: until when all was certain.
	"""
	if until <= since:
		return None
	if not gaps.with_outage([device]):
		if _unproven(device, since) < MOST_UNPROVEN:
			return None
		gap = grown(gaps.unresolved([device]), since, until)
		if gap:
			gaps.update([gap], zone)
		else:
			latest = contacts.latest_of(epochs.read([device]).get(device, []))
			gaps.insert([gaps.unread(device, since, until, latest, offset)], zone)
	gaps.changed(device)
	return until


def _unproven(device: str, since: datetime) -> int:
	"""How many periodic readings of what came after an instant proved nothing."""
	return frappe.db.count(
		DOCTYPE,
		{
			"device": device,
			"purpose": Purpose.PERIODIC.value,
			"state": HistoryState.UNPROVEN.value,
			"until_utc": [">", naive(since)],
		},
	)


def _announce(report: HistoryReport, state: str) -> None:
	"""Progress for the open forms of the reading and of its device; numbers only."""
	message = {
		"fetch": report.task,
		"device": report.device,
		"state": state,
		"rows": report.rows,
		"new_rows": report.new,
		"total": report.total or 0,
	}
	for doctype, name in ((DOCTYPE, report.task), ("Hikvision Device", report.device)):
		frappe.publish_realtime(
			"hikvision_history", message, doctype=doctype, docname=name, after_commit=True
		)


# Without a listener.


def due_devices() -> list[str]:
	"""Enabled devices with a reading that nobody is at and that is due now."""
	now = naive(utc_now())
	fetch, device = frappe.qb.DocType(DOCTYPE), frappe.qb.DocType("Hikvision Device")
	is_due = fetch.state.isin(UNDER_WAY) | (
		(fetch.state == HistoryState.FAILED.value) & (fetch.next_attempt_at_utc <= now)
	)
	is_free = fetch.leased_by.isnull() | (fetch.leased_by == "") | (fetch.leased_until < now)
	return (
		frappe.qb.from_(fetch)
		.join(device)
		.on(device.name == fetch.device)
		.select(fetch.device)
		.distinct()
		.where((device.enabled == 1) & is_due & is_free)
		.run(pluck=True)
	)


def enqueue_reader() -> None:
	"""Queue one job that reads what is due, unless one waits or runs; for a site whose listener does not live."""
	if not is_job_enqueued(JOB_ID):
		frappe.enqueue(JOB, queue="long", job_id=JOB_ID, deduplicate=True)


def work_off() -> None:
	"""The background job: read everything that is due, as a listener of its own."""
	devices = due_devices()
	frappe.db.rollback()
	if devices:
		asyncio.run(_read_within(frappe.local.site, devices, JOB_SECONDS))


def reader_name() -> str:
	"""A name for the leases of this process."""
	return f"{socket.gethostname()[:60]}-reader-{os.getpid()}"


async def _read_within(site: str, devices: Sequence[str], seconds: float) -> None:
	"""What is left when the time is up is for the next job."""
	with suppress(asyncio.TimeoutError):
		await asyncio.wait_for(read(site, devices), seconds)


async def read(site: str, devices: Iterable[str]) -> None:
	"""Read what is due on these devices, by a connection in another thread; raises SiteUnavailable.

	Like every process of a bench, it works in the folder of the sites.
	"""
	from hikvision_frappe.ledger.site import FrappeSite

	folder = Path(site, "hikvision")
	folder.mkdir(exist_ok=True)
	settings = HistorySettings(refused_logins=folder / "reader.refused-logins.json")
	await read_due_histories(FrappeSite(site, only=devices), reader_name(), settings)
