"""A whole ``Site`` in one SQLite file: the ledger, its leases, and what it knows of its completeness.

The demo and the soak store into it, and it is the reference of what a site must do with ``core.identity``: one
transaction for a batch, a number of statements that does not grow with the batch, and a unique key that has the
last word. Gaps and watermarks are in ``local_completeness``, readings of history in ``local_history``.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hikvision_frappe.core.event import AccessEvent, TimeQuality
from hikvision_frappe.core.gaps import Gap, jumps, restarts
from hikvision_frappe.core.identity import (
	LedgerView,
	Outcome,
	Placement,
	Recorded,
	SerialEpoch,
	place,
	second,
)
from hikvision_frappe.core.watermark import Watermark
from hikvision_frappe.listener import local_completeness, local_history
from hikvision_frappe.listener.local_completeness import KeeperSettings, Notice
from hikvision_frappe.listener.local_history import HistoryFetch, Purpose
from hikvision_frappe.listener.site import (
	Delivery,
	DeviceConfig,
	HistoryReport,
	HistoryTask,
	IngestMode,
	ListenerReport,
	SiteUnavailable,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
	name TEXT PRIMARY KEY,
	device TEXT NOT NULL,
	epoch INTEGER,
	serial_no INTEGER,
	occurred_at REAL NOT NULL,
	occurred_second INTEGER NOT NULL,
	occurred_text TEXT NOT NULL,
	major INTEGER NOT NULL,
	minor INTEGER NOT NULL,
	person TEXT NOT NULL,
	card_no TEXT NOT NULL,
	kind TEXT NOT NULL,
	source TEXT NOT NULL,
	received_at REAL NOT NULL,
	stored_at REAL NOT NULL,
	live INTEGER,
	plausible INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS event_serial ON event (device, serial_no);
CREATE INDEX IF NOT EXISTS event_number ON event (device, epoch, serial_no) WHERE epoch IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_second ON event (device, occurred_second);
CREATE TABLE IF NOT EXISTS epoch (
	device TEXT NOT NULL,
	number INTEGER NOT NULL,
	highest INTEGER NOT NULL,
	highest_at REAL,
	first_at REAL,
	hardware TEXT NOT NULL,
	unnumbered INTEGER NOT NULL,
	PRIMARY KEY (device, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease (
	device TEXT PRIMARY KEY,
	listener TEXT NOT NULL,
	until REAL NOT NULL
) WITHOUT ROWID;
"""
RECORDED_COLUMNS = """event.name, event.device, event.epoch, event.serial_no, event.occurred_at, event.major,
	event.minor, event.person, event.card_no, event.occurred_text"""
SELECT_EPOCHS = """
	SELECT device, number, highest, highest_at, first_at, hardware, unnumbered FROM epoch
	WHERE device IN (SELECT value FROM json_each(?)) ORDER BY device, number"""
SELECT_TOUCHED = f"""
	SELECT {RECORDED_COLUMNS} FROM json_each(?) AS asked CROSS JOIN event
	ON event.device = json_extract(asked.value, '$[0]')
	AND event.serial_no = json_extract(asked.value, '$[1]')
	UNION
	SELECT {RECORDED_COLUMNS} FROM json_each(?) AS asked CROSS JOIN event
	ON event.device = json_extract(asked.value, '$[0]')
	AND event.occurred_second = json_extract(asked.value, '$[1]')"""  # noqa: S608 the columns are ours
DELETE_REPLACED = "DELETE FROM event WHERE name IN (SELECT value FROM json_each(?))"
INSERT_EVENTS = """
	INSERT INTO event SELECT
		json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
		json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
		json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'),
		json_extract(value, '$[9]'), json_extract(value, '$[10]'), json_extract(value, '$[11]'),
		json_extract(value, '$[12]'), json_extract(value, '$[13]'), json_extract(value, '$[14]'),
		json_extract(value, '$[15]'), json_extract(value, '$[16]')
	FROM json_each(?)"""
REPLACE_EPOCHS = """
	INSERT OR REPLACE INTO epoch SELECT
		json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
		json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
		json_extract(value, '$[6]')
	FROM json_each(?)"""
LEASE_FREE = """
	INSERT INTO lease SELECT value, ?, ? FROM json_each(?) WHERE true
	ON CONFLICT (device) DO UPDATE SET listener = excluded.listener, until = excluded.until
	WHERE lease.listener = excluded.listener OR lease.until < ?"""

CommitObserver = Callable[[Sequence[AccessEvent], float], None]


@dataclass(frozen=True, slots=True)
class StoredEvent:
	"""A row of the ledger, in the order of the table's columns. Times are UTC seconds since 1970.

	live: as the first to tell it said. plausible: whether the device's clock was not lost.
	"""

	name: str
	device: str
	epoch: int | None
	serial_no: int | None
	occurred_at: float
	occurred_second: int
	occurred_text: str
	major: int
	minor: int
	person: str
	card_no: str
	kind: str
	source: str
	received_at: float
	stored_at: float
	live: bool | None = None
	plausible: bool = True


def utc_now() -> datetime:
	return datetime.now(timezone.utc)


class LocalSite:
	"""Implements ``Site``. Two of them on one file share leases and ledger, also across processes.

	path: a file, or ":memory:". devices: as entered; while there are none, events of any device are taken.
	on_commit: called in the site's thread after each commit with the events stored for the first time and the
	moment (UTC seconds since 1970). settings: how patient it is with gaps. clock: the present, UTC.
	"""

	def __init__(
		self,
		path: Path | str,
		devices: Sequence[DeviceConfig] = (),
		on_commit: CommitObserver | None = None,
		settings: KeeperSettings | None = None,
		clock: Callable[[], datetime] = utc_now,
	) -> None:
		self._devices = tuple(devices)
		self._on_commit = on_commit
		self._settings = settings or KeeperSettings()
		self._clock = clock
		self._tended_at: datetime | None = None
		self._reported_at: datetime | None = None
		self._steady_from = self._clock()
		self._lock = threading.Lock()  # the demo and the tests look in while the listener's thread works
		self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
		self._connection.execute("PRAGMA journal_mode = WAL")
		self._connection.execute("PRAGMA synchronous = FULL")
		self._connection.executescript(SCHEMA + local_completeness.SCHEMA + local_history.SCHEMA)

	def set_devices(self, devices: Sequence[DeviceConfig]) -> None:
		"""Enter other devices; the listener sees them at its next look."""
		self._devices = tuple(devices)

	def devices(self, listener: str, lease_seconds: float) -> Sequence[DeviceConfig]:
		devices, now = self._devices, self._clock().timestamp()
		keys = json.dumps([device.key for device in devices])
		with self._transaction() as connection:
			connection.execute(LEASE_FREE, (listener, now + lease_seconds, keys, now))
			held = {
				row[0]
				for row in connection.execute("SELECT device FROM lease WHERE listener = ?", (listener,))
			}
		return [replace(device, leased=device.key in held) for device in devices]

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		refused = self._refused(events)
		accepted = [event for position, event in enumerate(events) if position not in refused]
		now = self._clock()
		with self._transaction() as connection:
			view = _load_view(connection, accepted)
			before = {device: tuple(epochs) for device, epochs in view.epochs.items()}
			placements = place(accepted, view)
			_write(connection, placements, view, now)
			local_completeness.open_jumps(connection, jumps(placements, before), now)
			local_completeness.open_restarts(
				connection, restarts(before, view.epochs, now), self._streams(), now
			)
		new = [placement.event for placement in placements if placement.outcome is Outcome.NEW]
		if self._on_commit:
			self._on_commit(new, now.timestamp())
		return Delivery(new=len(new), known=len(accepted) - len(new), refused=refused)

	def _refused(self, events: Sequence[AccessEvent]) -> dict[int, str]:
		known = {device.key for device in self._devices}
		if not known:
			return {}
		return {
			position: f"unknown device {event.device}"
			for position, event in enumerate(events)
			if event.device not in known
		}

	def _streams(self) -> set[str]:
		return {device.key for device in self._devices if device.mode is IngestMode.STREAM}

	def report(self, report: ListenerReport) -> None:
		"""Note contacts and, at most every ``tend_seconds``, look after gaps; there are no forms to show states on."""
		now = self._clock()
		if self._reported_at is not None and now - self._reported_at > self._settings.unheard / 2:
			self._steady_from = now + self._settings.steady
		self._reported_at = now
		with self._transaction() as connection:
			for device in report.devices:
				local_completeness.note_report(connection, device, self._settings, now)
		if self._tended_at is None or (now - self._tended_at).total_seconds() >= self._settings.tend_seconds:
			self.tend(now)

	def tend(self, now: datetime | None = None) -> None:
		"""Judge what may be missing, queue readings, move the watermarks; ``now`` is UTC, the present by default."""
		now = now or self._clock()
		self._tended_at = now
		devices = {device.key: device for device in self._devices}
		with self._transaction() as connection:
			local_completeness.tend(connection, devices, self._settings, now, now >= self._steady_from)

	def history_tasks(self, listener: str, lease_seconds: float) -> Sequence[HistoryTask]:
		with self._transaction() as connection:
			return local_history.lend(connection, listener, lease_seconds, self._clock())

	def report_history(self, report: HistoryReport) -> bool:
		config = next((each for each in self._devices if each.key == report.device), None)
		with self._transaction() as connection:
			return local_completeness.note_history(connection, report, config, self._settings, self._clock())

	def release(self, listener: str) -> None:
		with self._transaction() as connection:
			connection.execute("DELETE FROM lease WHERE listener = ?", (listener,))
			local_history.release(connection, listener)

	def close(self) -> None:
		with self._lock:
			self._connection.close()

	def rows(self) -> list[StoredEvent]:
		"""The whole ledger, by device and order."""
		with self._lock:
			rows = self._connection.execute("SELECT * FROM event ORDER BY name").fetchall()
		return [StoredEvent(*row) for row in rows]

	# What people would see and do on a desk.

	def gaps(self) -> list[Gap]:
		"""Every gap there ever was, in the order of noticing."""
		with self._transaction() as connection:
			return local_completeness.gaps(connection)

	def watermarks(self) -> dict[str, Watermark]:
		"""Until when each device is complete, as of the last look after it."""
		with self._transaction() as connection:
			return local_completeness.watermarks(connection)

	def notices(self) -> list[Notice]:
		"""Outages, their ends, and gaps that nobody can fill, in the order of telling."""
		with self._transaction() as connection:
			return local_completeness.notices(connection)

	def fetches(self) -> list[HistoryFetch]:
		"""Every reading of history, in the order of asking."""
		with self._transaction() as connection:
			return local_history.fetches(connection)

	def ask_history(self, device: str, since: datetime, until: datetime) -> str:
		"""Have a stretch of time (aware instants) read; returns the reading's name."""
		with self._transaction() as connection:
			return local_history.queue(connection, device, Purpose.ASKED, since, until, self._clock())

	def accept_gap(self, name: str, remark: str) -> bool:
		"""Take a gap as it is; False when it is over already, or still goes on."""
		with self._transaction() as connection:
			return local_completeness.accept(connection, name, remark)

	@contextmanager
	def _transaction(self) -> Iterator[sqlite3.Connection]:
		"""One transaction that sees nobody else's half; raises SiteUnavailable when the file cannot be had."""
		with self._lock:
			try:
				self._connection.execute("BEGIN IMMEDIATE")
				yield self._connection
				self._connection.execute("COMMIT")
			except sqlite3.OperationalError as error:
				raise SiteUnavailable(f"the local ledger cannot be written: {error}") from error
			finally:
				if self._connection.in_transaction:
					self._connection.execute("ROLLBACK")


def percentile(values: Sequence[float], share: float) -> float:
	"""The value that ``share`` (0 to 1) of the values do not exceed; 0 for no values."""
	if not values:
		return 0.0
	ordered = sorted(values)
	return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _load_view(connection: sqlite3.Connection, events: Sequence[AccessEvent]) -> LedgerView:
	devices = json.dumps(sorted({event.device for event in events}))
	epochs: dict[str, list[SerialEpoch]] = {}
	for device, *values in connection.execute(SELECT_EPOCHS, (devices,)):
		epochs.setdefault(device, []).append(_epoch(*values))
	view = LedgerView(epochs)
	asked = (json.dumps(_serials(events)), json.dumps(_seconds(events, epochs)))
	view.add(
		Recorded(name, device, epoch, serial_no, _moment(occurred_at), *rest)
		for name, device, epoch, serial_no, occurred_at, *rest in connection.execute(SELECT_TOUCHED, asked)
	)
	return view


def _serials(events: Sequence[AccessEvent]) -> list[tuple[str, int]]:
	return sorted({(event.device, event.serial_no) for event in events if event.serial_no is not None})


def _seconds(events: Sequence[AccessEvent], epochs: dict[str, list[SerialEpoch]]) -> list[tuple[str, int]]:
	"""The seconds whose rows matter: of events without a number, and all of devices that ever sent such."""
	return sorted(
		{
			(event.device, _second(event))
			for event in events
			if event.serial_no is None or any(epoch.unnumbered for epoch in epochs.get(event.device, ()))
		}
	)


def _write(
	connection: sqlite3.Connection, placements: Sequence[Placement], view: LedgerView, now: datetime
) -> None:
	inserts: dict[str, Placement] = {}
	replaced: list[str] = []
	for placement in placements:
		if placement.outcome is Outcome.KNOWN:
			continue
		inserts[placement.name] = placement
		if placement.replaces and inserts.pop(placement.replaces, None) is None:
			replaced.append(placement.replaces)
	rows = [astuple(_stored(placement, now.timestamp())) for placement in inserts.values()]
	connection.execute(DELETE_REPLACED, (json.dumps(replaced),))
	connection.execute(INSERT_EVENTS, (json.dumps(rows),))
	epochs = [_epoch_row(device, epoch) for device in view.touched for epoch in view.epochs[device]]
	connection.execute(REPLACE_EPOCHS, (json.dumps(epochs),))


def _stored(placement: Placement, now: float) -> StoredEvent:
	event = placement.event
	return StoredEvent(
		name=placement.name,
		device=event.device,
		epoch=placement.epoch,
		serial_no=event.serial_no,
		occurred_at=event.occurred_at.timestamp(),
		occurred_second=_second(event),
		occurred_text=event.occurred_text,
		major=event.major,
		minor=event.minor,
		person=event.person,
		card_no=event.card_no,
		kind=event.kind.value,
		source=event.source.value,
		received_at=event.received_at.timestamp(),
		stored_at=now,
		live=event.live,
		plausible=event.time_quality is not TimeQuality.IMPLAUSIBLE,
	)


def _second(event: AccessEvent) -> int:
	return int(second(event.occurred_at).timestamp())


def _epoch(
	number: int,
	highest: int,
	highest_at: float | None,
	first_at: float | None,
	hardware: str,
	unnumbered: int,
) -> SerialEpoch:
	return SerialEpoch(
		number=number,
		highest=highest,
		highest_at=None if highest_at is None else _moment(highest_at),
		first_at=None if first_at is None else _moment(first_at),
		hardware=hardware,
		unnumbered=bool(unnumbered),
	)


def _epoch_row(device: str, epoch: SerialEpoch) -> tuple[Any, ...]:
	return (
		device,
		epoch.number,
		epoch.highest,
		epoch.highest_at.timestamp() if epoch.highest_at else None,
		epoch.first_at.timestamp() if epoch.first_at else None,
		epoch.hardware,
		int(epoch.unnumbered),
	)


def _moment(seconds: float) -> datetime:
	return datetime.fromtimestamp(seconds, timezone.utc)
