"""What may be missing in a local ledger, kept beside it: contacts, gaps, notices, watermarks.

Every function works in the caller's transaction. The decisions are those of ``core.gaps`` and ``core.watermark``;
here is what any store has to do for them. Instants are stored as UTC seconds since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import Enum

from hikvision_frappe.core.gaps import (
	INSTANT_TOLERANCE,
	MOST_UNPROVEN,
	UNSETTLED,
	Cause,
	Contact,
	Evidence,
	Gap,
	GapReason,
	GapState,
	HistoryAnswer,
	Jump,
	Restart,
	certain_of,
	end_of_unread,
	gap_of,
	gap_of_unread,
	grown,
	is_unread,
	judge,
	may_be_unread,
	meet,
	told_before,
)
from hikvision_frappe.core.identity import SERIAL_LIMIT
from hikvision_frappe.core.watermark import Coverage, HeldBy, Watermark, pass_over, watermark
from hikvision_frappe.listener import local_history
from hikvision_frappe.listener.site import (
	DeviceConfig,
	DeviceReport,
	HistoryReport,
	HistoryState,
	IngestMode,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS coverage (
	device TEXT PRIMARY KEY,
	heard_since REAL,
	heard_until REAL,
	heard_reason TEXT NOT NULL DEFAULT '',
	clock_offset REAL NOT NULL DEFAULT 0,
	proven_until REAL,
	complete_until REAL,
	held_by TEXT NOT NULL DEFAULT '',
	held_by_gap TEXT NOT NULL DEFAULT '',
	history_supported INTEGER,
	storage TEXT NOT NULL DEFAULT '',
	storage_minutes INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (
	id INTEGER PRIMARY KEY,
	device TEXT NOT NULL,
	cause TEXT NOT NULL,
	since REAL NOT NULL,
	until REAL,
	noticed_at REAL NOT NULL,
	epoch INTEGER,
	after_serial INTEGER,
	first_serial INTEGER,
	last_serial INTEGER,
	found INTEGER NOT NULL,
	state TEXT NOT NULL,
	reason TEXT NOT NULL,
	clock_offset REAL NOT NULL,
	remark TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS gap_unresolved ON gap (device) WHERE state IN ('Open', 'Filling', 'Unrecoverable');
CREATE TABLE IF NOT EXISTS notice (
	id INTEGER PRIMARY KEY,
	device TEXT NOT NULL,
	gap INTEGER NOT NULL,
	kind TEXT NOT NULL,
	at REAL NOT NULL
);
"""
GAP_COLUMNS = """id, device, cause, since, until, noticed_at, epoch, after_serial, first_serial, last_serial, found,
	state, reason, clock_offset"""
# The newest number of those that had come before an instant. Only rows younger than it are passed over.
SELECT_NEWEST_NUMBER = """
	SELECT epoch, serial_no FROM event INDEXED BY event_number
	WHERE device = ? AND epoch IS NOT NULL AND received_at <= ?
	ORDER BY epoch DESC, serial_no DESC LIMIT 1"""
# A record made after a gap: told live by a stream since then, or with a later instant (by our clock).
MADE_AFTER = """((live = 1 AND source = 'stream' AND received_at > :until)
	OR (plausible = 1 AND occurred_at + :clock_offset > :until + :tolerance))"""
SELECT_BOUND = f"""
	SELECT MIN(serial_no) FROM event
	WHERE device = :device AND epoch = :epoch AND serial_no > :after_serial AND {MADE_AFTER}"""  # noqa: S608 ours
SELECT_LATER_EPOCH = f"""
	SELECT EXISTS (SELECT 1 FROM event WHERE device = :device AND epoch > :epoch AND {MADE_AFTER})"""  # noqa: S608
POWER_ON = (2, 1024)


@dataclass(frozen=True, slots=True)
class KeeperSettings:
	"""How patient the keeper is. tend_seconds: least pause between two rounds.

	unheard: a device that was heard and is no more has an outage after so long. fetch_after: rows may still arrive by
	themselves before history is asked. patience: the same for devices without history. overlap: a periodic reading
	begins so long before the end of the last one; first_reading: how far back the first one goes. retry_*: seconds
	between attempts to read.
	"""

	tend_seconds: float = 1.0
	unheard: timedelta = timedelta(minutes=2)
	fetch_after: timedelta = timedelta(seconds=5)
	patience: timedelta = timedelta(minutes=10)
	overlap: timedelta = timedelta(minutes=2)
	first_reading: timedelta = timedelta(days=1)
	retry_least: float = 5.0
	retry_most: float = 600.0

	@property
	def steady(self) -> timedelta:
		"""After a time in which nobody could report, listeners need so long to tell what was heard meanwhile."""
		return self.unheard / 4


class NoticeKind(str, Enum):
	OUTAGE = "outage"
	RECOVERY = "recovery"
	UNRECOVERABLE = "unrecoverable"


@dataclass(frozen=True, slots=True)
class Notice:
	"""Something people are told, once. at: UTC."""

	device: str
	gap: str
	kind: NoticeKind
	at: datetime


def moment(seconds: float) -> datetime:
	return datetime.fromtimestamp(seconds, timezone.utc)


def moment_or_none(seconds: float | None) -> datetime | None:
	return None if seconds is None else moment(seconds)


def seconds_or_none(at: datetime | None) -> float | None:
	return None if at is None else at.timestamp()


# Contacts: what listeners report.


def note_report(
	connection: sqlite3.Connection, report: DeviceReport, settings: KeeperSettings, now: datetime
) -> None:
	"""Join what a listener says of a device to what is known; a break between contacts becomes a gap."""
	if report.contact is None and report.clock_offset is None:
		return
	connection.execute("INSERT OR IGNORE INTO coverage (device) VALUES (?)", (report.device,))
	clock_before = clock_offset_of(connection, report.device)
	if report.clock_offset is not None:
		connection.execute(
			"UPDATE coverage SET clock_offset = ? WHERE device = ?", (report.clock_offset, report.device)
		)
	if report.contact is not None:
		_note_contact(connection, report.device, report.contact, clock_before, settings, now)


def _note_contact(
	connection: sqlite3.Connection,
	device: str,
	told: Contact,
	clock_before: float,
	settings: KeeperSettings,
	now: datetime,
) -> None:
	joined, gap_between = meet(_contact_before(connection, device, told), told)
	connection.execute(
		"UPDATE coverage SET heard_since = ?, heard_until = ?, heard_reason = ? WHERE device = ?",
		(joined.since.timestamp(), joined.until.timestamp(), joined.reason.value, device),
	)
	going_on = _going_on(connection, device)
	if gap_between is not None:
		if going_on is not None:
			_end_outage(connection, replace(going_on, until=gap_between.until, cause=gap_between.cause), now)
		else:
			between = Gap(
				"",
				device,
				gap_between.cause,
				gap_between.since,
				gap_between.until,
				now,
				clock_offset=clock_before,
			)
			_open_break(connection, between, settings)
	elif going_on is not None:
		_shorten_outage(connection, going_on, joined, settings, now)


def contact_of(connection: sqlite3.Connection, device: str) -> Contact | None:
	row = connection.execute(
		"SELECT heard_since, heard_until, heard_reason FROM coverage WHERE device = ?", (device,)
	).fetchone()
	if row is None or row[1] is None:
		return None
	return Contact(moment(row[0]), moment(row[1]), Cause(row[2]))


def _contact_before(connection: sqlite3.Connection, device: str, told: Contact) -> Contact | None:
	"""The last contact; before another one, as if the device had been heard as long as its history is proven."""
	contact = contact_of(connection, device)
	is_another = contact is None or meet(contact, told)[1] is not None
	return _certain(connection, device) if is_another else contact


def _shorten_outage(
	connection: sqlite3.Connection, gap: Gap, contact: Contact, settings: KeeperSettings, now: datetime
) -> None:
	"""The contact that seemed to have ended went on: the gap begins later, or there was none."""
	if contact.until <= gap.since:
		return
	if now - contact.until > settings.unheard:
		_save_gap(connection, replace(gap, since=contact.until))
	else:
		heard = replace(gap, until=gap.since, state=GapState.RECOVERED, reason=GapReason.NOTHING_MISSED)
		_end_outage(connection, heard, now)


def _end_outage(connection: sqlite3.Connection, gap: Gap, now: datetime) -> None:
	_save_gap(connection, gap)
	_notify(connection, gap, NoticeKind.RECOVERY, now)


# Readings: what listeners say of them.


def note_history(
	connection: sqlite3.Connection,
	report: HistoryReport,
	config: DeviceConfig | None,
	settings: KeeperSettings,
	now: datetime,
) -> bool:
	"""Write down how far a reading is, and what its end says of its device; False when it is not wanted any more."""
	if not local_history.note(connection, report, settings, now):
		return False
	if report.state is HistoryState.UNPROVEN:
		stretch = local_history.periodic_stretch(connection, report.task)
		if stretch is not None:
			give_up = _give_up if _is_only_read(config) else _pass_over
			give_up(connection, report.device, *stretch, now)
	return True


def _give_up(
	connection: sqlite3.Connection, device: str, since: datetime, until: datetime, now: datetime
) -> None:
	"""Where nothing proves a device that is only read, a gap takes the stretch over: what comes after can be proven.

	Its outage is that gap already; else so many readings must have proven nothing.
	"""
	since = _certain_until(connection, device) or since
	if until <= since:
		return
	if _going_on(connection, device) is None:
		if local_history.unproven_since(connection, device, since) < MOST_UNPROVEN:
			return
		gap = grown(unresolved(connection, device), since, until)
		if gap:
			_save_gap(connection, gap)
		else:
			_insert_gap(connection, _unread(connection, device, since, until, now))
	_set_proven(connection, device, until)


def _pass_over(
	connection: sqlite3.Connection, device: str, since: datetime, until: datetime, now: datetime
) -> None:
	"""Where nothing proves the history of a device that is heard as well, what is certain by that is not read for ever."""
	heard, proven, complete = connection.execute(
		"SELECT heard_until, proven_until, complete_until FROM coverage WHERE device = ?", (device,)
	).fetchone()
	proven_until = moment_or_none(proven)
	if local_history.unproven_since(connection, device, proven_until or since) < MOST_UNPROVEN:
		return
	further = pass_over(proven_until, until, [moment_or_none(heard), moment_or_none(complete)])
	if further is not None:
		_set_proven(connection, device, further)


def _set_proven(connection: sqlite3.Connection, device: str, until: datetime) -> None:
	connection.execute("UPDATE coverage SET proven_until = ? WHERE device = ?", (until.timestamp(), device))


def _unread(
	connection: sqlite3.Connection, device: str, since: datetime, until: datetime | None, now: datetime
) -> Gap:
	epoch = max((number for number, highest in _counts(connection, device).items() if highest), default=None)
	return gap_of_unread("", device, since, until, now, epoch, clock_offset_of(connection, device))


def _certain_until(connection: sqlite3.Connection, device: str) -> datetime | None:
	"""Until when a device was heard or proven, whichever is later."""
	certain = _certain(connection, device)
	return certain.until if certain else None


def _certain(connection: sqlite3.Connection, device: str) -> Contact | None:
	"""The last contact, as if the device had been heard as long as its history is proven."""
	row = connection.execute("SELECT proven_until FROM coverage WHERE device = ?", (device,)).fetchone()
	return certain_of(contact_of(connection, device), moment_or_none(row[0]) if row else None)


def _is_only_read(config: DeviceConfig | None) -> bool:
	return config is not None and config.mode is IngestMode.HISTORY


# Gaps: rows.


def open_jumps(connection: sqlite3.Connection, jumps: Iterable[Jump], now: datetime) -> None:
	"""A gap for each stretch of numbers that was passed over."""
	for jump in jumps:
		_open_passed_over(connection, jump, now)


def open_restarts(
	connection: sqlite3.Connection, restarts: Iterable[Restart], streams: Container[str], now: datetime
) -> None:
	"""A gap at the end of each count, unless it is a stream's: those break when a device begins anew, and the break
	tells. Heartbeats that are pushed may go on as if nothing had happened.
	"""
	for restart in restarts:
		if restart.device not in streams or contact_of(connection, restart.device) is None:
			_open_passed_over(connection, restart, now)


def _open_passed_over(connection: sqlite3.Connection, found: Jump | Restart, now: datetime) -> None:
	came = _came(connection, found.device, found.epoch, found.last_before)
	_insert_gap(connection, gap_of(found, came, clock_offset_of(connection, found.device), now))


def _came(connection: sqlite3.Connection, device: str, epoch: int, number: int) -> datetime | None:
	"""When a record was told first."""
	row = connection.execute(
		"SELECT received_at FROM event WHERE device = ? AND epoch = ? AND serial_no = ?",
		(device, epoch, number),
	).fetchone()
	return moment(row[0]) if row else None


def clock_offset_of(connection: sqlite3.Connection, device: str) -> float:
	row = connection.execute("SELECT clock_offset FROM coverage WHERE device = ?", (device,)).fetchone()
	return float(row[0]) if row else 0.0


def _open_break(connection: sqlite3.Connection, gap: Gap, settings: KeeperSettings) -> Gap | None:
	"""Open a gap, unless the numbers prove already that nothing was missed, or a jump says the same better."""
	number = connection.execute(SELECT_NEWEST_NUMBER, (gap.device, gap.since.timestamp())).fetchone()
	if number is not None:
		gap = replace(gap, epoch=number[0], after_serial=number[1])
	if gap.until is not None:
		judged = judge(gap, _evidence(connection, gap, settings, None), gap.noticed_at)
		if judged.state is GapState.RECOVERED or _is_covered(connection, judged):
			return None
	return _insert_gap(connection, gap)


def _is_covered(connection: sqlite3.Connection, gap: Gap) -> bool:
	if gap.first_serial is None or gap.last_serial is None:
		return False
	return any(
		other.epoch == gap.epoch
		and other.first_serial is not None
		and other.last_serial is not None
		and other.first_serial <= gap.first_serial
		and other.last_serial >= gap.last_serial
		for other in unresolved(connection, gap.device)
	)


def _insert_gap(connection: sqlite3.Connection, gap: Gap) -> Gap:
	cursor = connection.execute(
		f"INSERT INTO gap ({GAP_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 ours
		_gap_values(gap),
	)
	return replace(gap, name=str(cursor.lastrowid))


def _save_gap(connection: sqlite3.Connection, gap: Gap) -> None:
	connection.execute(
		"""UPDATE gap SET device = ?, cause = ?, since = ?, until = ?, noticed_at = ?, epoch = ?, after_serial = ?,
		first_serial = ?, last_serial = ?, found = ?, state = ?, reason = ?, clock_offset = ? WHERE id = ?""",
		(*_gap_values(gap), int(gap.name)),
	)


def _gap_values(gap: Gap) -> tuple[object, ...]:
	return (
		gap.device,
		gap.cause.value,
		gap.since.timestamp(),
		seconds_or_none(gap.until),
		gap.noticed_at.timestamp(),
		gap.epoch,
		gap.after_serial,
		gap.first_serial,
		gap.last_serial,
		gap.found,
		gap.state.value,
		gap.reason.value,
		gap.clock_offset,
	)


def gaps(connection: sqlite3.Connection) -> list[Gap]:
	"""Every gap there ever was, in the order of noticing."""
	return _read_gaps(connection, f"SELECT {GAP_COLUMNS} FROM gap ORDER BY id")  # noqa: S608 ours


def unresolved(connection: sqlite3.Connection, device: str) -> list[Gap]:
	return _read_gaps(
		connection,
		f"""SELECT {GAP_COLUMNS} FROM gap WHERE device = ?
		AND state IN ('Open', 'Filling', 'Unrecoverable') ORDER BY id""",  # noqa: S608 ours
		(device,),
	)


def _going_on(connection: sqlite3.Connection, device: str) -> Gap | None:
	"""The device's outage."""
	return next((gap for gap in unresolved(connection, device) if gap.is_going_on), None)


def _read_gaps(connection: sqlite3.Connection, query: str, values: Sequence[object] = ()) -> list[Gap]:
	return [_gap_from(*row) for row in connection.execute(query, values)]


def _gap_from(
	name: int,
	device: str,
	cause: str,
	since: float,
	until: float | None,
	noticed_at: float,
	epoch: int | None,
	after_serial: int | None,
	first_serial: int | None,
	last_serial: int | None,
	found: int,
	state: str,
	reason: str,
	clock_offset: float,
) -> Gap:
	return Gap(
		name=str(name),
		device=device,
		cause=Cause(cause),
		since=moment(since),
		until=moment_or_none(until),
		noticed_at=moment(noticed_at),
		epoch=epoch,
		after_serial=after_serial,
		first_serial=first_serial,
		last_serial=last_serial,
		found=found,
		state=GapState(state),
		reason=GapReason(reason),
		clock_offset=clock_offset,
	)


def accept(connection: sqlite3.Connection, name: str, remark: str) -> bool:
	"""A person takes a gap as it is; False when it is over, or goes on."""
	changed = connection.execute(
		"""UPDATE gap SET state = 'Accepted', remark = ? WHERE id = ? AND until IS NOT NULL
		AND state IN ('Open', 'Filling', 'Unrecoverable')""",
		(remark, int(name)),
	)
	return changed.rowcount == 1


# The keeper.


def tend(
	connection: sqlite3.Connection,
	devices: Mapping[str, DeviceConfig],
	settings: KeeperSettings,
	now: datetime,
	notice_outages: bool = True,
) -> None:
	"""One round: outages, evidence and judgement of each unresolved gap, readings, watermarks.

	notice_outages: False while it is not certain that listeners could report lately.
	"""
	known = {
		row[0] for row in connection.execute("SELECT device FROM coverage UNION SELECT device FROM epoch")
	}
	for device in sorted(known | set(devices)):
		config = devices.get(device)
		if config is not None and _is_only_read(config):
			_tend_unread(connection, config, settings, now, notice_outages)
		elif notice_outages:
			_notice_outage(connection, device, settings, now)
		_join_jumps_to_breaks(connection, device)
		for gap in unresolved(connection, device):
			_tend_gap(connection, gap, config, settings, now)
		if config is not None:
			local_history.queue_periodic(connection, config, settings, now)
		_save_watermark(connection, device, config)


def _notice_outage(
	connection: sqlite3.Connection, device: str, settings: KeeperSettings, now: datetime
) -> None:
	contact, certain = contact_of(connection, device), _certain_until(connection, device)
	if contact is None or certain is None or now - contact.until <= settings.unheard:
		return
	if _going_on(connection, device) is not None:
		return
	offset = clock_offset_of(connection, device)
	silence = Gap("", device, Cause.SILENCE, certain, None, now, clock_offset=offset)
	gap = _open_break(connection, silence, settings)
	if gap is not None:
		_save_gap(connection, judge(gap, Evidence(), now))
		_notify(connection, gap, NoticeKind.OUTAGE, now)


def _tend_unread(
	connection: sqlite3.Connection,
	config: DeviceConfig,
	settings: KeeperSettings,
	now: datetime,
	notice_outages: bool,
) -> None:
	"""The outage of a device that is only read: it ends when the device answers."""
	going_on, certain = _going_on(connection, config.key), _certain_until(connection, config.key)
	if going_on is not None:
		ended = end_of_unread(going_on, certain, now)
		if ended is not None and ended.until is not None:
			_end_outage(connection, ended, now)
			_hear_until(connection, config.key, ended.until)
	elif notice_outages and certain is not None and _is_unread(connection, config, certain, settings, now):
		gap = _insert_gap(connection, _unread(connection, config.key, certain, None, now))
		_notify(connection, gap, NoticeKind.OUTAGE, now)


def _is_unread(
	connection: sqlite3.Connection,
	config: DeviceConfig,
	certain: datetime,
	settings: KeeperSettings,
	now: datetime,
) -> bool:
	period = timedelta(seconds=config.history_seconds)
	if not period or not may_be_unread(certain, period, settings.unheard, now):
		return False
	readings = local_history.periodic_since(connection, config.key, certain, now)
	return is_unread(certain, readings, period, settings.unheard, now)


def _hear_until(connection: sqlite3.Connection, device: str, until: datetime) -> None:
	"""What a gap stands for until then needs no other gap."""
	connection.execute(
		"UPDATE coverage SET heard_until = MAX(heard_until, ?) WHERE device = ?", (until.timestamp(), device)
	)


def _tend_gap(
	connection: sqlite3.Connection,
	gap: Gap,
	config: DeviceConfig | None,
	settings: KeeperSettings,
	now: datetime,
) -> None:
	evidence = _evidence(connection, gap, settings, config)
	judged = judge(gap, evidence, now)
	if evidence.history and evidence.answer is HistoryAnswer.NONE and _may_ask(judged, settings, now):
		local_history.queue_for_gap(connection, judged, now)
		judged = judge(judged, replace(evidence, answer=HistoryAnswer.RUNNING), now)
	if judged != gap:
		_save_gap(connection, judged)
	if judged.state is GapState.UNRECOVERABLE and gap.state is not GapState.UNRECOVERABLE:
		_notify(connection, judged, NoticeKind.UNRECOVERABLE, now)


def _join_jumps_to_breaks(connection: sqlite3.Connection, device: str) -> None:
	"""A jump that is what an unresolved break missed is forgotten, for the break says the same, and more."""
	found = unresolved(connection, device)
	jumps = [gap for gap in found if gap.cause is Cause.SERIAL_JUMP]
	counts = _counts(connection, device)
	for gap in found:
		if gap.cause is Cause.SERIAL_JUMP:
			continue
		first, last = _range(gap, _bound(connection, gap, counts)[0])
		outer = replace(gap, first_serial=first, last_serial=last)
		held = [jump for jump in jumps if outer.holds(jump)]
		if gap.first_serial is None and first is not None:
			outer = replace(outer, found=_present(connection, gap, first, last))
			if outer.missing:
				_save_gap(connection, told_before(outer, [*held, *_accepted_within(connection, outer)]))
		for jump in held:
			connection.execute("DELETE FROM gap WHERE id = ?", (int(jump.name),))
			jumps.remove(jump)


def _accepted_within(connection: sqlite3.Connection, outer: Gap) -> list[Gap]:
	accepted = _read_gaps(
		connection,
		f"SELECT {GAP_COLUMNS} FROM gap WHERE device = ? AND state = 'Accepted' AND cause = ?",  # noqa: S608 ours
		(outer.device, Cause.SERIAL_JUMP.value),
	)
	return [gap for gap in accepted if outer.holds(gap)]


def _range(gap: Gap, bound: int | None) -> tuple[int | None, int | None]:
	"""The numbers of a gap, known before or by its bound now."""
	if gap.first_serial is None and gap.after_serial is not None and bound is not None:
		return gap.after_serial + 1, bound - 1
	return gap.first_serial, gap.last_serial


def _may_ask(gap: Gap, settings: KeeperSettings, now: datetime) -> bool:
	return not gap.is_going_on and gap.state in UNSETTLED and now - gap.noticed_at >= settings.fetch_after


def _evidence(
	connection: sqlite3.Connection, gap: Gap, settings: KeeperSettings, config: DeviceConfig | None
) -> Evidence:
	device = gap.device
	history = (
		config is not None and config.history and local_history.supported(connection, device) is not False
	)
	counts = _counts(connection, gap.device)
	bound, restarted = _bound(connection, gap, counts)
	first, last = _range(gap, bound)
	answer = local_history.answer_for(connection, replace(gap, first_serial=first, last_serial=last))
	return Evidence(
		present=_present(connection, gap, first, last),
		bound=bound,
		restarted=restarted,
		numbered=not counts or any(counts.values()),
		history=history,
		answer=answer.answer,
		told=answer.told,
		history_numbered=answer.numbered,
		rebooted=_rebooted(connection, gap),
		patience=settings.patience,
	)


def _counts(connection: sqlite3.Connection, device: str) -> dict[int, int]:
	"""The highest number of each epoch, 0 when its records have none."""
	return dict(connection.execute("SELECT number, highest FROM epoch WHERE device = ?", (device,)))


def _bound(connection: sqlite3.Connection, gap: Gap, counts: Mapping[int, int]) -> tuple[int | None, bool]:
	"""The number that ends the gap; or whether its count ended before, so that there is none."""
	if gap.until is None or gap.first_serial is not None or gap.is_told_by_history_alone:
		return None, False
	values = {
		"device": gap.device,
		"epoch": gap.epoch or 1,
		"after_serial": gap.after_serial or 0,
		"until": gap.until.timestamp(),
		"clock_offset": min(clock_offset_of(connection, gap.device), gap.clock_offset),
		"tolerance": INSTANT_TOLERANCE.total_seconds(),
	}
	bound = connection.execute(SELECT_BOUND, values).fetchone()[0]
	if bound is not None or max(counts, default=1) <= (gap.epoch or 1):
		return bound, False
	if counts.get(gap.epoch or 1) != SERIAL_LIMIT:
		return None, True
	has_wrapped = connection.execute(SELECT_LATER_EPOCH, values).fetchone()[0]
	return SERIAL_LIMIT + 1 if has_wrapped else None, False


def _present(connection: sqlite3.Connection, gap: Gap, first: int | None, last: int | None) -> int:
	if first is None or last is None or last < first:
		return 0
	query = "SELECT COUNT(*) FROM event WHERE device = ? AND epoch = ? AND serial_no BETWEEN ? AND ?"
	return int(connection.execute(query, (gap.device, gap.epoch, first, last)).fetchone()[0])


def _rebooted(connection: sqlite3.Connection, gap: Gap) -> bool:
	if gap.until is None or gap.cause not in (Cause.RECONNECT, Cause.SILENCE):
		return False
	offset = clock_offset_of(connection, gap.device)
	values = (gap.device, gap.since.timestamp() - offset, gap.until.timestamp() - offset, *POWER_ON)
	query = """SELECT EXISTS (SELECT 1 FROM event WHERE device = ? AND occurred_second BETWEEN ? AND ?
		AND major = ? AND minor = ?)"""
	return bool(connection.execute(query, values).fetchone()[0])


# Watermarks.


def _save_watermark(connection: sqlite3.Connection, device: str, config: DeviceConfig | None) -> None:
	connection.execute("INSERT OR IGNORE INTO coverage (device) VALUES (?)", (device,))
	heard, proven, offset, before = connection.execute(
		"SELECT heard_until, proven_until, clock_offset, complete_until FROM coverage WHERE device = ?",
		(device,),
	).fetchone()
	coverage = Coverage(
		device=device,
		heard_until=moment_or_none(heard),
		proven_until=moment_or_none(proven),
		recorded_until=_recorded_until(connection, device) if heard is None and _pushes(config) else None,
		clock_offset=offset,
	)
	mark = watermark(coverage, unresolved(connection, device), moment_or_none(before))
	connection.execute(
		"UPDATE coverage SET complete_until = ?, held_by = ?, held_by_gap = ? WHERE device = ?",
		(seconds_or_none(mark.moment), mark.held_by.value, mark.gap, device),
	)


def _pushes(config: DeviceConfig | None) -> bool:
	return config is not None and config.mode is IngestMode.PUSH


def _recorded_until(connection: sqlite3.Connection, device: str) -> datetime | None:
	"""The instant of the newest number, no later than it came: what came before it is here, or known to be missing."""
	row = connection.execute(
		"SELECT number, highest, highest_at FROM epoch WHERE device = ? AND highest > 0 ORDER BY number DESC LIMIT 1",
		(device,),
	).fetchone()
	if row is None or row[2] is None:
		return None
	return min(moment(row[2]), _came(connection, device, row[0], row[1]) or moment(row[2]))


def watermarks(connection: sqlite3.Connection) -> dict[str, Watermark]:
	rows = connection.execute(
		"SELECT device, complete_until, held_by, held_by_gap FROM coverage WHERE held_by <> ''"
	)
	return {
		device: Watermark(moment_or_none(until), HeldBy(held_by), gap) for device, until, held_by, gap in rows
	}


# Notices.


def _notify(connection: sqlite3.Connection, gap: Gap, kind: NoticeKind, now: datetime) -> None:
	connection.execute(
		"INSERT INTO notice (device, gap, kind, at) VALUES (?, ?, ?, ?)",
		(gap.device, int(gap.name), kind.value, now.timestamp()),
	)


def notices(connection: sqlite3.Connection) -> list[Notice]:
	rows = connection.execute("SELECT device, gap, kind, at FROM notice ORDER BY id")
	return [Notice(device, str(gap), NoticeKind(kind), moment(at)) for device, gap, kind, at in rows]
