"""Readings of history in a local ledger: queued, lent to listeners, and what they said of a gap.

Every function works in the caller's transaction. Instants are stored as UTC seconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Protocol

from hikvision_frappe.core.gaps import Gap, HistoryAnswer, PeriodicReading
from hikvision_frappe.core.recorded import ACCESS, surely_after, surely_before
from hikvision_frappe.core.watermark import proven_further
from hikvision_frappe.listener.backoff import full_jitter
from hikvision_frappe.listener.site import (
	ANSWERED,
	ANSWERS,
	DeviceConfig,
	HistoryReport,
	HistoryState,
	HistoryTask,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS fetch (
	id INTEGER PRIMARY KEY,
	device TEXT NOT NULL,
	purpose TEXT NOT NULL,
	gap INTEGER,
	state TEXT NOT NULL,
	since REAL NOT NULL,
	until REAL NOT NULL,
	first_serial INTEGER,
	last_serial INTEGER,
	made_at REAL NOT NULL,
	started_at REAL,
	ended_at REAL,
	read_until REAL,
	rows INTEGER NOT NULL DEFAULT 0,
	new_rows INTEGER NOT NULL DEFAULT 0,
	total INTEGER,
	numbered INTEGER,
	reason TEXT NOT NULL DEFAULT '',
	attempts INTEGER NOT NULL DEFAULT 0,
	next_attempt_at REAL,
	leased_by TEXT NOT NULL DEFAULT '',
	leased_until REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS fetch_device ON fetch (device, state);
CREATE INDEX IF NOT EXISTS fetch_gap ON fetch (gap);
CREATE INDEX IF NOT EXISTS gap_lost ON gap (device, until) WHERE state IN ('Unrecoverable', 'Accepted');
"""
FETCH_COLUMNS = """id, device, purpose, gap, state, since, until, first_serial, last_serial, rows, new_rows, total,
	read_until, numbered, reason, attempts"""
ENDED = (HistoryState.PROVEN, HistoryState.UNPROVEN, HistoryState.FAILED, HistoryState.CANCELLED)
# What may be read now: not begun, begun by nobody who still lives, or failed long enough ago.
SELECT_DUE = """
	SELECT fetch.id, fetch.device, fetch.since, fetch.until, fetch.first_serial, fetch.last_serial,
		fetch.read_until, fetch.leased_by,
		COALESCE((SELECT clock_offset FROM gap WHERE gap.id = fetch.gap), 0),
		COALESCE((SELECT clock_offset FROM coverage WHERE coverage.device = fetch.device), 0)
	FROM fetch JOIN lease ON lease.device = fetch.device AND lease.listener = :listener AND lease.until >= :now
	WHERE (fetch.state IN ('Queued', 'Running') OR (fetch.state = 'Failed' AND fetch.next_attempt_at <= :now))
	AND NOT EXISTS (
		SELECT 1 FROM fetch AS held WHERE held.device = fetch.device AND held.state = 'Running'
		AND held.leased_by <> :listener AND held.leased_until >= :now
	)
	ORDER BY (fetch.state = 'Running' AND fetch.leased_by = :listener) DESC, fetch.id"""
SELECT_LATEST_LOSS = """
	SELECT since, until, clock_offset FROM gap
	WHERE device = ? AND state IN ('Unrecoverable', 'Accepted') AND since < ?
	ORDER BY until DESC LIMIT 1"""
# A log that told a record when the loss was over held it then, however old it is; what is pushed need not be in the log.
IS_WITNESS = """device = :device AND occurred_second > :at_least AND major = :major AND plausible = 1
	AND (occurred_second > :after OR (source <> 'push' AND received_at >= :lost_until))"""
# The newest record from before a stretch, else the oldest; a few rows of the index at most are passed over.
SELECT_RECORDED = f"""
	SELECT COALESCE((
		SELECT occurred_second FROM event INDEXED BY event_second
		WHERE {IS_WITNESS} AND occurred_second < :before ORDER BY occurred_second DESC LIMIT 1
	), (
		SELECT occurred_second FROM event INDEXED BY event_second
		WHERE {IS_WITNESS} ORDER BY occurred_second LIMIT 1
	))"""  # noqa: S608 ours


class Purpose(str, Enum):
	"""Values are the labels stored in Hikvision History Fetch.purpose."""

	GAP = "Gap"
	PERIODIC = "Periodic"
	ASKED = "Asked"


class Patience(Protocol):
	"""The part of the keeper's settings that concerns readings."""

	@property
	def overlap(self) -> timedelta: ...

	@property
	def first_reading(self) -> timedelta: ...

	@property
	def retry_least(self) -> float: ...

	@property
	def retry_most(self) -> float: ...


@dataclass(frozen=True, slots=True)
class HistoryFetch:
	"""One reading as people see it. Instants are UTC."""

	name: str
	device: str
	purpose: Purpose
	gap: str
	state: HistoryState
	since: datetime
	until: datetime
	first_serial: int | None
	last_serial: int | None
	rows: int
	new: int
	total: int | None
	read_until: datetime | None
	numbered: bool | None
	reason: str
	attempts: int


@dataclass(frozen=True, slots=True)
class GapAnswer:
	"""What history said of a gap: told, how many rows; numbered, whether they had serial numbers."""

	answer: HistoryAnswer = HistoryAnswer.NONE
	told: int = 0
	numbered: bool = True


def supported(connection: sqlite3.Connection, device: str) -> bool | None:
	"""Whether the device has a history; None while nobody has asked it."""
	row = connection.execute("SELECT history_supported FROM coverage WHERE device = ?", (device,)).fetchone()
	return None if row is None or row[0] is None else bool(row[0])


# Queueing.


def queue(
	connection: sqlite3.Connection,
	device: str,
	purpose: Purpose,
	since: datetime,
	until: datetime,
	now: datetime,
) -> str:
	"""Ask for a stretch of time; returns the reading's name."""
	cursor = connection.execute(
		"INSERT INTO fetch (device, purpose, state, since, until, made_at) VALUES (?, ?, 'Queued', ?, ?, ?)",
		(device, purpose.value, since.timestamp(), until.timestamp(), now.timestamp()),
	)
	return str(cursor.lastrowid)


def queue_for_gap(connection: sqlite3.Connection, gap: Gap, now: datetime) -> None:
	"""Ask for what a gap misses: its numbers where they are known."""
	name = queue(connection, gap.device, Purpose.GAP, gap.since, gap.until or now, now)
	connection.execute(
		"UPDATE fetch SET gap = ?, first_serial = ?, last_serial = ? WHERE id = ?",
		(int(gap.name), gap.first_serial, gap.last_serial, int(name)),
	)


def queue_periodic(
	connection: sqlite3.Connection, device: DeviceConfig, settings: Patience, now: datetime
) -> None:
	"""Ask for what came since the last reading, when it is time and none is on its way."""
	if device.history_seconds <= 0 or supported(connection, device.key) is False:
		return
	last = connection.execute(
		"""SELECT state, made_at, next_attempt_at FROM fetch WHERE device = ? AND purpose = 'Periodic'
		ORDER BY id DESC LIMIT 1""",
		(device.key,),
	).fetchone()
	if last is not None:
		state, made_at, next_attempt_at = last
		is_under_way = HistoryState(state) not in ENDED or next_attempt_at is not None
		if is_under_way or now.timestamp() - made_at < device.history_seconds:
			return
	queue(
		connection,
		device.key,
		Purpose.PERIODIC,
		_reading_begins(connection, device.key, settings, now),
		now,
		now,
	)


def _reading_begins(
	connection: sqlite3.Connection, device: str, settings: Patience, now: datetime
) -> datetime:
	"""Where the last proven reading ended; the first one begins no later than the device was heard otherwise."""
	row = connection.execute(
		"SELECT proven_until, heard_until FROM coverage WHERE device = ?", (device,)
	).fetchone()
	proven, heard = (None, None) if row is None else row
	if proven is not None:
		return _moment(proven) - settings.overlap
	first = now - settings.first_reading
	return first if heard is None else min(first, _moment(heard) - settings.overlap)


def periodic_since(
	connection: sqlite3.Connection, device: str, since: datetime, now: datetime
) -> list[PeriodicReading]:
	"""The periodic readings asked for after an instant, and the one under way; without those that were stopped."""
	rows = connection.execute(
		"""SELECT until, state, EXISTS (
			SELECT 1 FROM fetch WHERE device = :device AND state = 'Running' AND rows > 0 AND leased_until >= :now
		) FROM fetch
		WHERE device = :device AND purpose = 'Periodic' AND state <> 'Cancelled'
		AND (until > :since OR state IN ('Queued', 'Running') OR next_attempt_at IS NOT NULL)""",
		{"device": device, "since": since.timestamp(), "now": now.timestamp()},
	)
	return [
		PeriodicReading(_moment(until), HistoryState(state) in ANSWERED, is_coming=bool(comes))
		for until, state, comes in rows
	]


# Lending.


def lend(
	connection: sqlite3.Connection, listener: str, lease_seconds: float, now: datetime
) -> Sequence[HistoryTask]:
	"""One due reading per device leased to the listener; the one that it reads already comes first."""
	tasks: dict[str, HistoryTask] = {}
	values = {"listener": listener, "now": now.timestamp()}
	for name, device, since, until, first, last, read_until, leased_by, *clocks in connection.execute(
		SELECT_DUE, values
	).fetchall():
		if device in tasks:
			continue
		_lease(connection, name, listener, lease_seconds, now, again=leased_by == listener)
		resume_from = None if read_until is None else _moment(read_until)
		tasks[device] = HistoryTask(
			str(name),
			device,
			_moment(since),
			_moment(until),
			first,
			last,
			resume_from,
			_recorded(connection, device, _moment(since), clocks),
			clocks[0],
		)
	return list(tasks.values())


def _recorded(
	connection: sqlite3.Connection, device: str, since: datetime, clocks: Sequence[float]
) -> datetime | None:
	"""See ``HistoryTask.recorded``. clocks: our clock minus the device's, as far as it is known."""
	lost = connection.execute(SELECT_LATEST_LOSS, (device, since.timestamp())).fetchone()
	values = {"device": device, "at_least": 0.0, "after": 0.0, "lost_until": 0.0, "major": ACCESS}
	if lost:
		lost_since, lost_until, clock_then = lost
		values |= {
			"at_least": surely_before(_moment(lost_since), clock_then, clocks[-1]).timestamp(),
			"after": surely_after(_moment(lost_until), clock_then, clocks[-1]).timestamp(),
			"lost_until": lost_until,
		}
	values["before"] = int(surely_before(since, *clocks).timestamp())
	(second,) = connection.execute(SELECT_RECORDED, values).fetchone()
	return None if second is None else _moment(second)


def _lease(
	connection: sqlite3.Connection,
	name: int,
	listener: str,
	lease_seconds: float,
	now: datetime,
	*,
	again: bool,
) -> None:
	connection.execute(
		"""UPDATE fetch SET state = 'Running', leased_by = ?, leased_until = ?, next_attempt_at = NULL,
		attempts = attempts + ?, started_at = COALESCE(started_at, ?) WHERE id = ?""",
		(listener, now.timestamp() + lease_seconds, int(not again), now.timestamp(), name),
	)


def release(connection: sqlite3.Connection, listener: str) -> None:
	"""Let others go on with what this listener was reading."""
	connection.execute(
		"UPDATE fetch SET state = 'Queued', leased_by = '', leased_until = 0 WHERE state = 'Running' AND leased_by = ?",
		(listener,),
	)


# Answers.


def note(connection: sqlite3.Connection, report: HistoryReport, settings: Patience, now: datetime) -> bool:
	"""Write down how far a reading is; False when it is over or not wanted any more."""
	row = connection.execute(
		"SELECT state, since, until, attempts, first_serial FROM fetch WHERE id = ? AND device = ?",
		(int(report.task), report.device),
	).fetchone()
	_note_device(connection, report)
	if row is None or HistoryState(row[0]) in ENDED:
		return False
	_write_report(connection, report, _next_attempt(report, row[3], settings, now), now)
	if report.state is HistoryState.PROVEN and row[4] is None:
		_extend_proof(connection, report.device, _moment(row[1]), _moment(row[2]))
	return True


def periodic_stretch(connection: sqlite3.Connection, task: str) -> tuple[datetime, datetime] | None:
	"""Since and until when a periodic reading reads; None for another one."""
	row = connection.execute(
		"SELECT since, until FROM fetch WHERE id = ? AND purpose = 'Periodic'", (int(task),)
	).fetchone()
	return None if row is None else (_moment(row[0]), _moment(row[1]))


def unproven_since(connection: sqlite3.Connection, device: str, since: datetime) -> int:
	"""How many periodic readings of what came after an instant proved nothing."""
	row = connection.execute(
		"""SELECT COUNT(*) FROM fetch WHERE device = ? AND purpose = 'Periodic' AND state = 'Unproven'
		AND until > ?""",
		(device, since.timestamp()),
	).fetchone()
	return int(row[0])


def _note_device(connection: sqlite3.Connection, report: HistoryReport) -> None:
	connection.execute("INSERT OR IGNORE INTO coverage (device) VALUES (?)", (report.device,))
	connection.execute(
		"""UPDATE coverage SET history_supported = COALESCE(?, history_supported),
		storage = CASE WHEN ? <> '' THEN ? ELSE storage END, storage_minutes = COALESCE(?, storage_minutes)
		WHERE device = ?""",
		(report.supported, report.storage, report.storage, report.storage_minutes, report.device),
	)


def _next_attempt(report: HistoryReport, attempts: int, settings: Patience, now: datetime) -> float | None:
	if report.state is not HistoryState.FAILED or not report.retry:
		return None
	return now.timestamp() + full_jitter(attempts, settings.retry_least, settings.retry_most)


def _write_report(
	connection: sqlite3.Connection, report: HistoryReport, next_attempt_at: float | None, now: datetime
) -> None:
	over = report.state in ENDED
	connection.execute(
		"""UPDATE fetch SET state = ?, rows = ?, new_rows = ?, total = ?, read_until = COALESCE(?, read_until),
		numbered = COALESCE(?, numbered), reason = ?, next_attempt_at = ?, ended_at = ?,
		leased_by = CASE WHEN ? THEN '' ELSE leased_by END WHERE id = ?""",
		(
			report.state.value,
			report.rows,
			report.new,
			report.total,
			report.read_until.timestamp() if report.read_until else None,
			report.numbered,
			report.reason,
			next_attempt_at,
			now.timestamp() if over else None,
			over,
			int(report.task),
		),
	)


def _extend_proof(connection: sqlite3.Connection, device: str, since: datetime, until: datetime) -> None:
	row = connection.execute(
		"SELECT proven_until, heard_until FROM coverage WHERE device = ?", (device,)
	).fetchone()
	proven, heard = (None if value is None else _moment(value) for value in row)
	further = proven_further(proven, since, until, [heard])
	connection.execute(
		"UPDATE coverage SET proven_until = ? WHERE device = ?",
		(further.timestamp() if further else None, device),
	)


def answer_for(connection: sqlite3.Connection, gap: Gap) -> GapAnswer:
	"""The newest answer to a gap among the readings that began when the gap was over."""
	if gap.until is None:
		return GapAnswer()
	rows = connection.execute(
		"""SELECT state, rows, numbered, first_serial, last_serial FROM fetch
		WHERE device = ? AND state <> 'Cancelled' AND COALESCE(started_at, made_at) >= ? AND (
			gap = ? OR (state = 'Complete' AND first_serial IS NULL AND since <= ? AND until >= ?)
		) ORDER BY id DESC""",
		(
			gap.device,
			min(gap.until, gap.noticed_at).timestamp(),
			int(gap.name) if gap.name else None,
			gap.since.timestamp(),
			gap.until.timestamp(),
		),
	)
	for state, told, numbered, first, last in rows:
		answer = ANSWERS[HistoryState(state)]
		is_read = answer in (HistoryAnswer.PROVEN, HistoryAnswer.UNPROVEN)
		if not is_read or numbered == 0 or _speaks_of(gap, first, last):
			return GapAnswer(answer, told, numbered != 0)
	return GapAnswer()


def _speaks_of(gap: Gap, first: int | None, last: int | None) -> bool:
	"""Whether the condition fits: numbers that are known to be missing are asked for by number, whatever their time."""
	if gap.first_serial is None or gap.last_serial is None:
		return True
	return first is not None and first <= gap.first_serial and (last is None or last >= gap.last_serial)


def fetches(connection: sqlite3.Connection) -> list[HistoryFetch]:
	rows = connection.execute(f"SELECT {FETCH_COLUMNS} FROM fetch ORDER BY id")  # noqa: S608 the columns are ours
	return [
		HistoryFetch(
			str(name),
			device,
			Purpose(purpose),
			"" if gap is None else str(gap),
			HistoryState(state),
			_moment(since),
			_moment(until),
			first,
			last,
			told,
			new,
			total,
			None if read_until is None else _moment(read_until),
			None if numbered is None else bool(numbered),
			reason,
			attempts,
		)
		for name, device, purpose, gap, state, since, until, first, last, told, new, total, read_until, numbered,
			reason, attempts in rows
	]  # fmt: skip


def _moment(seconds: float) -> datetime:
	return datetime.fromtimestamp(seconds, timezone.utc)
