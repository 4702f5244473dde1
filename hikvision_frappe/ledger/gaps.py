"""Rows of Access Event Gap: opened by intake and by reports, judged by the keeper, accepted by HR.

Rows are written in sets. Only what people are told about goes through the document, so that Notifications see it: the
beginning and the end of an outage, and a gap that nobody can fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import frappe
from frappe import _

from hikvision_frappe.core.event import as_utc
from hikvision_frappe.core.gaps import (
	UNRESOLVED,
	Break,
	Cause,
	Gap,
	GapReason,
	GapState,
	Jump,
	Restart,
	gap_of,
	gap_of_unread,
)
from hikvision_frappe.core.identity import SerialEpoch, numbered_name
from hikvision_frappe.ledger.database_errors import INTERFACE_ERROR, INTERNAL_ERROR, OPERATIONAL_ERROR
from hikvision_frappe.ledger.instants import aware, naive, shown, site_zone, utc_now
from hikvision_frappe.ledger.signal import REDIS_TROUBLE

DOCTYPE = "Access Event Gap"
LARGEST_COUNT = 2**31 - 1
LONGEST_REMARK = 500
PASSING = (
	*OPERATIONAL_ERROR,
	*INTERFACE_ERROR,
	*INTERNAL_ERROR,
	frappe.QueryDeadlockError,
	frappe.QueryTimeoutError,
)
COLUMNS = (
	"name",
	"device",
	"cause",
	"since_utc",
	"until_utc",
	"noticed_at_utc",
	"epoch",
	"after_serial",
	"first_serial",
	"last_serial",
	"found",
	"state",
	"reason",
	"clock_offset",
)


def unresolved(devices: Iterable[str] | None = None) -> list[Gap]:
	"""The gaps that are not over, oldest first; of all devices unless some are named."""
	gap = frappe.qb.DocType(DOCTYPE)
	is_wanted = gap.state.isin([state.value for state in sorted(UNRESOLVED)])
	return _select(is_wanted if devices is None else is_wanted & gap.device.isin(sorted(devices) or [""]))


def accepted_jumps(devices: Iterable[str]) -> list[Gap]:
	"""The jumps in the numbers of these devices that HR accepted, oldest first."""
	gap = frappe.qb.DocType(DOCTYPE)
	is_accepted = (gap.state == GapState.ACCEPTED.value) & (gap.cause == Cause.SERIAL_JUMP.value)
	return _select(is_accepted & gap.device.isin(sorted(devices) or [""]))


def _select(is_wanted: Any) -> list[Gap]:
	gap = frappe.qb.DocType(DOCTYPE)
	query = frappe.qb.from_(gap).select(*COLUMNS).where(is_wanted).orderby(gap.since_utc, gap.name)
	return [gap_from(*row) for row in query.run()]


def gap_from(
	name: str,
	device: str,
	cause: str,
	since: datetime,
	until: datetime | None,
	noticed_at: datetime,
	epoch: int,
	after_serial: int,
	first_serial: int,
	last_serial: int,
	found: int,
	state: str,
	reason: str,
	clock_offset: float,
) -> Gap:
	"""A row of COLUMNS. An integer column knows no NULL in Frappe: 0 is unknown. A range that turned out empty keeps its first number."""
	return Gap(
		name=name,
		device=device,
		cause=Cause(cause),
		since=aware(since),
		until=aware(until),
		noticed_at=aware(noticed_at),
		epoch=epoch or None,
		after_serial=after_serial or None,
		first_serial=first_serial or None,
		last_serial=last_serial if first_serial else None,
		found=found,
		state=GapState(state),
		reason=GapReason(reason),
		clock_offset=clock_offset,
	)


def accept_like(name: str, other: str) -> None:
	"""Write down that a gap was accepted with another one, by the same person and with the same remark."""
	columns = ["accepted_by", "accepted_at", "remark"]
	values = frappe.db.get_value(DOCTYPE, other, columns, as_dict=True)
	frappe.db.set_value(DOCTYPE, name, values, update_modified=False)


def move_notices(gaps_by_name: Mapping[str, str]) -> None:
	"""Let the notices of some gaps lead to others: {gap that is no more: the other gap}."""
	log = frappe.qb.DocType("Notification Log")
	for name, other in gaps_by_name.items():
		(
			frappe.qb.update(log)
			.set(log.document_name, other)
			.where((log.document_type == DOCTYPE) & (log.document_name == name))
		).run()


def values_of(gap: Gap, zone: ZoneInfo) -> dict[str, Any]:
	"""The columns of a gap, but its name."""
	return {
		"device": gap.device,
		"cause": gap.cause.value,
		"state": gap.state.value,
		"reason": gap.reason.value,
		"since": shown(gap.since, zone),
		"until": shown(gap.until, zone),
		"noticed_at": shown(gap.noticed_at, zone),
		"since_utc": naive(gap.since),
		"until_utc": naive(gap.until),
		"noticed_at_utc": naive(gap.noticed_at),
		"epoch": gap.epoch or 0,
		"after_serial": gap.after_serial or 0,
		"first_serial": gap.first_serial or 0,
		"last_serial": gap.last_serial or 0,
		"expected": min(gap.expected or 0, LARGEST_COUNT),
		"found": min(gap.found, LARGEST_COUNT),
		"missing": min(gap.missing or 0, LARGEST_COUNT),
		"clock_offset": gap.clock_offset,
	}


def insert(gaps: Sequence[Gap], zone: ZoneInfo) -> None:
	"""Write gaps in one statement. Their names say what they are: one that is there already stays as it is."""
	if not gaps:
		return
	stamp = shown(utc_now(), zone)
	common = {"creation": stamp, "modified": stamp, "owner": "Administrator", "modified_by": "Administrator"}
	rows = [{"name": gap.name, **values_of(gap, zone), **common} for gap in gaps]
	fields = list(rows[0])
	frappe.db.bulk_insert(
		DOCTYPE, fields, [tuple(row[field] for field in fields) for row in rows], ignore_duplicates=True
	)


def update(gaps: Iterable[Gap], zone: ZoneInfo) -> None:
	"""Write gaps as they were judged, except those that a person has accepted meanwhile."""
	judged = {gap.name: values_of(gap, zone) for gap in gaps}
	if not judged:
		return
	gap = frappe.qb.DocType(DOCTYPE)
	locked = (
		frappe.qb.from_(gap)
		.select(gap.name, gap.state)
		.where(gap.name.isin(sorted(judged)))
		.orderby(gap.name)
		.for_update()
		.run()
	)
	changes = {name: judged[name] for name, state in locked if GapState(state) in UNRESOLVED}
	frappe.db.bulk_update(DOCTYPE, changes, update_modified=False)


def tell(change: Callable[[], None]) -> bool:
	"""Make a change that Notifications hear of, in a transaction of its own; False when they cannot be told now.

	A Notification, or a hook of the site, that fails takes the change with it: it is made once more without anybody
	being told, and the fault goes to the error log. Raises PASSING when the database cannot answer.
	"""
	try:
		change()
		frappe.db.commit()  # nosemgrep: a gap that people are told of is one transaction
	except REDIS_TROUBLE:
		frappe.db.rollback()
		return False
	except PASSING:
		raise
	except Exception:
		fault = frappe.get_traceback()
		frappe.db.rollback()
		frappe.clear_messages()
		frappe.log_error("Hikvision: a notification about a gap failed", fault)
		with _without_notifications():
			change()
		frappe.db.commit()  # nosemgrep: as above
	finally:
		frappe.clear_messages()
	return True


class _without_notifications:
	"""Frappe asks these flags before it looks for Notifications."""

	def __enter__(self) -> None:
		self._before = frappe.flags.in_patch
		frappe.flags.in_patch = True

	def __exit__(self, *_error: object) -> None:
		frappe.flags.in_patch = self._before


def insert_document(gap: Gap, zone: ZoneInfo) -> None:
	"""Open a gap through its document: the notice of an outage."""
	document = frappe.new_doc(DOCTYPE)
	document.update(values_of(gap, zone))
	document.insert(ignore_permissions=True, set_name=gap.name)


def save_document(gap: Gap, zone: ZoneInfo, **values: Any) -> None:
	"""Write a judged gap through its document, unless a person has accepted it meanwhile."""
	document = frappe.get_doc(DOCTYPE, gap.name, for_update=True)
	if GapState(document.state) not in UNRESOLVED:
		return
	document.update({**values_of(gap, zone), **values})
	document.save(ignore_permissions=True)


# Jumps and restarts: intake opens their gaps in the transaction that writes the events.


def open_passed_over(jumps: Sequence[Jump], restarts: Sequence[Restart], zone: ZoneInfo) -> None:
	"""A gap for each stretch of numbers that was passed over, and for each count that ended, nobody knows where.

	A restart of a stream that has contacts lies in a break between two of them. Three statements, and none when there
	is neither jump nor restart.
	"""
	if not jumps and not restarts:
		return
	devices = _clocks({each.device for each in (*jumps, *restarts)})
	came = came_at({_last_before(each) for each in (*jumps, *restarts)}, zone)
	now = utc_now()
	passed_over = (
		*jumps,
		*(restart for restart in restarts if not devices[restart.device].is_heard_streaming),
	)
	insert(
		[
			gap_of(each, came.get(_last_before(each)), devices[each.device].offset, now, _name_of(each))
			for each in passed_over
		],
		zone,
	)


def _name_of(found: Jump | Restart) -> str:
	if isinstance(found, Jump):
		return f"{found.device}-n{found.epoch:02d}-{found.first:010d}"
	return f"{found.device}-r{found.epoch:02d}-{found.highest:010d}"


def _last_before(found: Jump | Restart) -> str:
	"""The name of the last record before what is missing."""
	return numbered_name(found.device, found.epoch, found.last_before)


def came_at(names: Iterable[str], zone: ZoneInfo) -> dict[str, datetime]:
	"""When these records were told first, at the earliest (there are two such instants in the repeated hour)."""
	rows = frappe.get_all(
		"Access Event", {"name": ["in", sorted(names) or [""]]}, ["name", "received_at"], as_list=True
	)
	return {name: as_utc(time.replace(tzinfo=zone, fold=0)) for name, time in rows if time}


class _Clock(NamedTuple):
	"""offset: our clock minus the device's, in seconds. is_heard_streaming: whether a device that begins anew breaks its
	contact."""

	offset: float
	is_heard_streaming: bool


def _clocks(devices: Iterable[str]) -> dict[str, _Clock]:
	rows = frappe.get_all(
		"Hikvision Device",
		filters={"name": ["in", sorted(devices)]},
		fields=["name", "clock_offset", "heard_until_utc", "mode"],
		as_list=True,
	)
	return {
		name: _Clock(seconds or 0.0, bool(heard) and mode == "Stream") for name, seconds, heard, mode in rows
	}


def clocks(names: Iterable[str]) -> dict[str, float]:
	"""Our clock minus the device's when each of these gaps began, in seconds; no statement for none."""
	wanted = sorted(names)
	if not wanted:
		return {}
	rows = frappe.get_all(DOCTYPE, {"name": ["in", wanted]}, ["name", "clock_offset"], as_list=True)
	return dict(rows)


# Breaks.


def break_name(device: str, since: datetime) -> str:
	"""The name of the gap that begins when the device was heard last."""
	return f"{device}-b{round(since.timestamp() * 1000)}"


def with_outage(devices: Iterable[str]) -> set[str]:
	"""Those of the devices whose outage goes on: the keeper ends it."""
	gap = frappe.qb.DocType(DOCTYPE)
	rows = (
		frappe.qb.from_(gap)
		.select(gap.device)
		.where(gap.device.isin(sorted(devices) or [""]))
		.where(gap.state.isin([state.value for state in sorted(UNRESOLVED)]))
		.where(gap.until_utc.isnull())
		.run(pluck=True)
	)
	return set(rows)


def gap_of_break(
	device: str,
	unheard: Break,
	latest: SerialEpoch | None,
	offset: timedelta,
	now: datetime,
) -> Gap:
	"""latest: the run of numbers that the ledger held when it began. offset: our clock minus the device's, then."""
	return Gap(
		name=break_name(device, unheard.since),
		device=device,
		cause=unheard.cause,
		since=unheard.since,
		until=unheard.until,
		noticed_at=now,
		epoch=latest.number if latest else None,
		after_serial=latest.highest if latest else None,
		clock_offset=offset.total_seconds(),
	)


def unread(
	device: str,
	since: datetime,
	until: datetime | None,
	latest: SerialEpoch | None,
	offset: timedelta,
) -> Gap:
	"""What nobody could read, or prove, of a device that is only read; until None: nobody can still."""
	return gap_of_unread(
		break_name(device, since),
		device,
		since,
		until,
		utc_now(),
		latest.number if latest else None,
		offset.total_seconds(),
	)


# HR.


def accept(name: str, remark: str) -> None:
	"""Take a gap as it is, with a remark; it holds no watermark back any more. The caller has checked the permission.

	An outage that goes on is accepted until now: if the device stays unheard, what follows is another gap. Raises
	ValidationError for a gap that is over, and MandatoryError without a remark. Nothing is committed here.
	"""
	remark = " ".join((remark or "").split())[:LONGEST_REMARK]
	if not remark:
		frappe.throw(_("Write down what became of the missing passes."), frappe.MandatoryError)
	document = frappe.get_doc(DOCTYPE, name, for_update=True)
	if GapState(document.state) not in UNRESOLVED:
		frappe.throw(_("This gap is over: its state is {0}.").format(_(document.state)))
	zone, now = site_zone(), utc_now()
	if not document.until_utc:
		document.update({"until_utc": naive(now), "until": shown(now, zone)})
		hear_until(document.device, now)
	document.update(
		{
			"state": GapState.ACCEPTED.value,
			"accepted_by": frappe.session.user,
			"accepted_at": shown(now, zone),
			"remark": remark,
		}
	)
	document.save(ignore_permissions=True)
	document.add_comment("Info", _("Accepted: {0}").format(frappe.utils.escape_html(remark)))
	changed(document.device)


def hear_until(device: str, moment: datetime) -> None:
	"""What a gap stands for until a moment needs no other gap.

	What is proven of a device's history stays: a device that is only read is still read from there.
	"""
	row = frappe.qb.DocType("Hikvision Device")
	(
		frappe.qb.update(row)
		.set(row.heard_until_utc, naive(moment))
		.where(row.name == device)
		.where(row.heard_until_utc.isnull() | (row.heard_until_utc < naive(moment)))
	).run()


def changed(device: str, message: Mapping[str, Any] | None = None) -> None:
	"""Tell the open form of a device that its gaps or its watermark are others now, once that is committed."""
	frappe.publish_realtime(
		"hikvision_completeness",
		{"device": device, **(message or {})},
		doctype="Hikvision Device",
		docname=device,
		after_commit=True,
	)


def as_recovered(gap: Gap) -> Gap:
	"""An outage that turns out to have been none."""
	return replace(gap, until=gap.since, state=GapState.RECOVERED, reason=GapReason.NOTHING_MISSED)


def delete(names: Iterable[str]) -> None:
	"""Forget gaps that another one stands for, except those that a person has accepted meanwhile."""
	names = sorted(names)
	if names:
		unresolved = [state.value for state in sorted(UNRESOLVED)]
		frappe.db.delete(DOCTYPE, {"name": ["in", names], "state": ["in", unresolved]})
