"""What devices told us, on disk before anybody is told that we have it, until the site has committed it.

One SQLite file in WAL mode with ``synchronous=FULL``: a commit is an fsync. One thread owns the connection and
commits whatever has queued up since the last time in one transaction (group commit), so a thousand callers who
each wait for their own event share a few hundred fsyncs. Callers live in one asyncio loop.

The spool holds personal data (who passed where): its file is readable by its owner alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from hikvision_frappe.core.event import AccessEvent

logger = logging.getLogger("hikvision.spool")

SCHEMA_VERSION = 1
SCHEMA = (
	"""CREATE TABLE IF NOT EXISTS waiting (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		stored_at REAL NOT NULL,
		event TEXT NOT NULL
	)""",
	"""CREATE TABLE IF NOT EXISTS set_aside (
		id INTEGER PRIMARY KEY,
		stored_at REAL NOT NULL,
		set_aside_at REAL NOT NULL,
		reason TEXT NOT NULL,
		event TEXT NOT NULL
	)""",
	f"PRAGMA user_version = {SCHEMA_VERSION}",
)
PAGE_BYTES = 4096
GROUP_LIMIT = 1_000  # jobs in one transaction
OPEN_APPENDS = 2_000  # callers that may wait at the same time; more of them wait for their turn
REMEMBERED = 65_536  # events that a replay need not bring again (about 8 MB)

T = TypeVar("T")


class SpoolUnavailable(Exception):
	"""Nothing can be written now (disk full, I/O error): do not acknowledge the sender, try again later."""


class SpoolUnusable(Exception):
	"""The file cannot be used at all: another process has it, it is damaged, or from a newer version."""


@dataclass(frozen=True, slots=True)
class Batch:
	"""The oldest waiting events, in the order of their coming. ``ids`` and ``stored_at`` (UTC) run parallel."""

	ids: tuple[int, ...]
	stored_at: tuple[datetime, ...]
	events: tuple[AccessEvent, ...]

	def __len__(self) -> int:
		return len(self.ids)


@dataclass(frozen=True, slots=True)
class SetAside:
	"""An event that the site will never take, kept for a person to look at."""

	reason: str
	set_aside_at: datetime
	event: str


class _Effect(Enum):
	"""What a job does to the file; when room is short, those that make some go first."""

	FREES = 0
	READS = 1
	ADDS = 2


@dataclass(slots=True)
class _Job(Generic[T]):
	"""One caller's work in the writer thread; ``after`` the commit runs in the loop, whether or not the caller
	still waits."""

	work: Callable[[sqlite3.Connection], T]
	done: asyncio.Future[T]
	effect: _Effect
	after: Callable[[T], None]


@dataclass(slots=True)
class _Outcome:
	job: _Job[Any]
	result: Any = None
	error: Exception | None = None

	def settle(self) -> None:
		if self.error is None:
			self.job.after(self.result)
		if self.job.done.done():  # the caller was cancelled
			return
		if self.error is not None:
			self.job.done.set_exception(self.error)
		else:
			self.job.done.set_result(self.result)


class EventMemory:
	"""A bounded memory of events that are on disk here or at the site, so that a replay at reconnect is not
	stored and sent again.

	Only to save work and room: which row an event is, is decided by the site.
	"""

	def __init__(self, limit: int = REMEMBERED) -> None:
		self._limit = limit
		self._keys: OrderedDict[int, None] = OrderedDict()

	def __contains__(self, event: AccessEvent) -> bool:
		return event.serial_no is not None and _fingerprint(event) in self._keys

	def add(self, event: AccessEvent) -> None:
		if event.serial_no is None:
			return
		key = _fingerprint(event)
		self._keys[key] = None
		self._keys.move_to_end(key)
		if len(self._keys) > self._limit:
			self._keys.popitem(last=False)

	def discard(self, event: AccessEvent) -> None:
		self._keys.pop(_fingerprint(event), None)


def _fingerprint(event: AccessEvent) -> int:
	"""64 bits of everything that makes a record; two of a device's records agree in them once in aeons."""
	told = (event.device, event.serial_no, event.occurred_text, event.major, event.minor)
	text = repr((*told, event.person, event.card_no))
	return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(slots=True)
class SpoolCounts:
	"""Since this process opened the spool."""

	appended: int = 0
	repeated: int = 0  # not stored again: they are here or at the site
	forwarded: int = 0
	refused: int = 0


@dataclass(slots=True)
class _Settings:
	path: Path
	max_bytes: int
	interval: float


class Spool:
	"""Append, take, acknowledge; see the module's docstring. Open it with ``Spool.open``."""

	def __init__(self, settings: _Settings, connection: sqlite3.Connection) -> None:
		self._settings = settings
		self._connection = connection
		self._loop = asyncio.get_running_loop()
		self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
		self._room = asyncio.Semaphore(OPEN_APPENDS)
		self._work = asyncio.Event()
		self._known = EventMemory()
		self._closed = False
		self.counts = SpoolCounts()
		self.fault = ""  # why nothing can be written now, in words; "" when well
		self.depth = _count(connection, "waiting")
		self.set_aside_depth = _count(connection, "set_aside")
		if self.depth:
			self._work.set()
		self._thread = threading.Thread(target=self._write_until_closed, name="spool", daemon=True)
		self._thread.start()

	@classmethod
	async def open(cls, path: Path, *, max_bytes: int = 2 * 1024**3, interval: float = 0.006) -> Spool:
		"""Open or create the file (mode 0600, its folder 0700 when made here) and check it.

		max_bytes bounds the file; beyond it the spool is full, like a disk. interval: seconds between the
		commits of a busy spool, which saves CPU and costs as much latency. Raises SpoolUnusable with what to do.
		"""
		settings = _Settings(path, max_bytes, interval)
		connection = await asyncio.get_running_loop().run_in_executor(None, _open_file, settings)
		return cls(settings, connection)

	async def append(self, events: Sequence[AccessEvent]) -> int:
		"""Store events; returns after the commit that contains them with the number that was new to us.

		Raises SpoolUnavailable when nothing was stored; nothing may be acknowledged then.
		"""
		fresh = [event for event in events if event not in self._known]
		self.counts.repeated += len(events) - len(fresh)
		if not fresh:
			return 0
		now = time.time()
		rows = [(now, _as_text(event)) for event in fresh]
		async with self._room:
			await self._run(
				lambda connection: _insert(connection, rows),
				_Effect.ADDS,
				lambda _: self._appended(fresh),
			)
		return len(rows)

	def _appended(self, events: Sequence[AccessEvent]) -> None:
		for event in events:
			self._known.add(event)
		self.depth += len(events)
		self.counts.appended += len(events)
		self._work.set()

	async def take(self, limit: int) -> Batch:
		"""The oldest events, at most ``limit``; they stay until acknowledged. For one forwarder at a time."""
		batch, _ = await self._run(
			lambda connection: _select(connection, limit),
			_Effect.READS,
			lambda result: self._moved_aside(result[1]),
		)
		if not self.depth:
			self._work.clear()
		return batch

	async def acknowledge(self, batch: Batch, refused: Mapping[int, str] | None = None) -> None:
		"""Forget a batch that the site has; keep its refused positions aside with their reasons."""
		reasons = dict(refused or {})
		await self._run(
			lambda connection: _settle(connection, batch, reasons),
			_Effect.FREES,
			lambda _: self._acknowledged(batch, reasons),
		)

	def _acknowledged(self, batch: Batch, refused: Mapping[int, str]) -> None:
		for position in refused:
			self._known.discard(batch.events[position])
		self.depth -= len(batch) - len(refused)
		self.counts.forwarded += len(batch) - len(refused)
		self._moved_aside(len(refused))

	def _moved_aside(self, number: int) -> None:
		self.depth -= number
		self.set_aside_depth += number
		self.counts.refused += number

	async def wait_for_work(self) -> None:
		"""Return when something waits to be forwarded."""
		await self._work.wait()

	async def oldest(self) -> datetime | None:
		"""When the oldest waiting event was stored (UTC)."""
		return await self._run(_oldest)

	async def set_aside(self, limit: int = 100) -> list[SetAside]:
		"""The latest events that the site refused."""
		return await self._run(lambda connection: _select_set_aside(connection, limit))

	async def close(self) -> None:
		"""Finish what is queued and close the file; the spool cannot be used afterwards."""
		if self._closed:
			return
		self._closed = True
		self._jobs.put(None)
		await self._loop.run_in_executor(None, self._thread.join)

	async def _run(
		self,
		work: Callable[[sqlite3.Connection], T],
		effect: _Effect = _Effect.READS,
		after: Callable[[T], None] = lambda _: None,
	) -> T:
		if self._closed:
			raise SpoolUnavailable("The spool is closed.")
		done: asyncio.Future[T] = self._loop.create_future()
		self._jobs.put(_Job(work, done, effect, after))
		return await done

	# The writer thread.

	def _write_until_closed(self) -> None:
		"""The first after a quiet time is committed at once; under load at most one group per ``interval``."""
		earliest = 0.0
		while (first := self._jobs.get()) is not None:
			time.sleep(max(0.0, earliest - time.monotonic()))
			group = [first, *self._queued(GROUP_LIMIT - 1)]
			outcomes = self._commit(group)
			earliest = time.monotonic() + self._settings.interval
			self._loop.call_soon_threadsafe(_settle_all, outcomes)
		self._connection.close()

	def _queued(self, limit: int) -> list[_Job[Any]]:
		jobs: list[_Job[Any]] = []
		while len(jobs) < limit:
			try:
				job = self._jobs.get_nowait()
			except queue.Empty:
				break
			if job is None:  # closing: this group first, then the end
				self._jobs.put(None)
				break
			jobs.append(job)
		return jobs

	def _commit(self, group: Sequence[_Job[Any]]) -> list[_Outcome]:
		"""All jobs in one transaction; when that fails, each alone, those first that make room."""
		try:
			results = self._transact(group)
		except Exception as error:
			if len(group) == 1:
				return [self._failed(group[0], error)]
			alone = sorted(group, key=lambda job: job.effect.value)
			return [outcome for job in alone for outcome in self._commit([job])]
		self._write_works(group)
		return [_Outcome(job, result) for job, result in zip(group, results, strict=True)]

	def _transact(self, group: Sequence[_Job[Any]]) -> list[Any]:
		try:
			self._connection.execute("BEGIN IMMEDIATE")
			results = [job.work(self._connection) for job in group]
			self._connection.execute("COMMIT")
		except Exception:
			if self._connection.in_transaction:
				self._connection.execute("ROLLBACK")
			raise
		return results

	def _failed(self, job: _Job[Any], error: Exception) -> _Outcome:
		if not isinstance(error, (sqlite3.Error, OSError)):
			return _Outcome(job, error=error)
		if not self.fault:
			logger.error("the spool cannot be written: %s", error)
		self.fault = f"The spool cannot be written ({error}). Make room on the disk that holds it."
		return _Outcome(job, error=SpoolUnavailable(self.fault))

	def _write_works(self, group: Iterable[_Job[Any]]) -> None:
		"""A successful append ends a fault; nothing else proves that there is room."""
		if self.fault and any(job.effect is _Effect.ADDS for job in group):
			logger.info("the spool can be written again")
			self.fault = ""


def _settle_all(outcomes: Iterable[_Outcome]) -> None:
	for outcome in outcomes:
		outcome.settle()


# Opening.


def _open_file(settings: _Settings) -> sqlite3.Connection:
	_create_private(settings.path)
	connection = sqlite3.connect(settings.path, isolation_level=None, check_same_thread=False, timeout=0.5)
	try:
		_configure(connection, settings)
		_check(connection, settings.path)
		for statement in SCHEMA:
			connection.execute(statement)
	except sqlite3.OperationalError as error:
		connection.close()
		if "locked" in str(error):
			raise SpoolUnusable(
				f"Another process uses the spool {settings.path}. Stop it, or give this one another file."
			) from error
		raise SpoolUnusable(f"The spool {settings.path} cannot be opened: {error}.") from error
	except sqlite3.DatabaseError as error:
		connection.close()
		raise SpoolUnusable(_damaged(settings.path, str(error))) from error
	except SpoolUnusable:
		connection.close()
		raise
	return connection


def _create_private(path: Path) -> None:
	try:
		path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
		os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
		path.chmod(0o600)
	except OSError as error:
		raise SpoolUnusable(f"The spool {path} cannot be created: {error.strerror}.") from error


def _configure(connection: sqlite3.Connection, settings: _Settings) -> None:
	connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # one process per spool, released by its death
	connection.execute("PRAGMA journal_mode = WAL")
	connection.execute("PRAGMA synchronous = FULL")
	connection.execute(f"PRAGMA max_page_count = {max(settings.max_bytes // PAGE_BYTES, 1)}")
	connection.execute("PRAGMA journal_size_limit = 16777216")
	connection.execute("BEGIN IMMEDIATE")
	connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
	(version,) = connection.execute("PRAGMA user_version").fetchone()
	if version > SCHEMA_VERSION:
		raise SpoolUnusable(f"The spool {path} was written by a newer version ({version}). Update this one.")
	(verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
	if verdict != "ok":
		raise SpoolUnusable(_damaged(path, verdict))


def _damaged(path: Path, detail: str) -> str:
	return f"The spool {path} is damaged ({detail}). Move the file away, keep it, and start again."


# What the jobs do.


def _count(connection: sqlite3.Connection, table: str) -> int:
	queries = {"waiting": "SELECT count(*) FROM waiting", "set_aside": "SELECT count(*) FROM set_aside"}
	return int(connection.execute(queries[table]).fetchone()[0])


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[float, str]]) -> None:
	connection.executemany("INSERT INTO waiting (stored_at, event) VALUES (?, ?)", rows)


def _select(connection: sqlite3.Connection, limit: int) -> tuple[Batch, int]:
	"""The batch, and how many rows had to be set aside because nobody can read them."""
	rows = connection.execute(
		"SELECT id, stored_at, event FROM waiting ORDER BY id LIMIT ?", (limit,)
	).fetchall()
	reading = _Reading()
	for row in rows:
		reading.read(*row)
	for identifier, reason in reading.unreadable:
		_move_aside(connection, identifier, reason)
	connection.executemany("DELETE FROM waiting WHERE id = ?", [(each[0],) for each in reading.unreadable])
	return reading.batch(), len(reading.unreadable)


@dataclass(slots=True)
class _Reading:
	ids: list[int] = field(default_factory=list)
	stored_at: list[datetime] = field(default_factory=list)
	events: list[AccessEvent] = field(default_factory=list)
	unreadable: list[tuple[int, str]] = field(default_factory=list)

	def read(self, identifier: int, stored_at: float, text: str) -> None:
		try:
			event = _from_text(text)
		except (ValueError, KeyError, TypeError) as error:
			self.unreadable.append((identifier, f"unreadable in the spool: {type(error).__name__}"))
			return
		self.ids.append(identifier)
		self.stored_at.append(_utc(stored_at))
		self.events.append(event)

	def batch(self) -> Batch:
		return Batch(tuple(self.ids), tuple(self.stored_at), tuple(self.events))


def _settle(connection: sqlite3.Connection, batch: Batch, refused: Mapping[int, str]) -> None:
	for position, reason in refused.items():
		_move_aside(connection, batch.ids[position], reason)
	if batch.ids:  # a batch is the oldest rows without a hole
		connection.execute("DELETE FROM waiting WHERE id BETWEEN ? AND ?", (batch.ids[0], batch.ids[-1]))


def _move_aside(connection: sqlite3.Connection, identifier: int, reason: str) -> None:
	connection.execute(
		"""INSERT INTO set_aside (stored_at, set_aside_at, reason, event)
		SELECT stored_at, ?, ?, event FROM waiting WHERE id = ?""",
		(time.time(), reason[:500], identifier),
	)


def _oldest(connection: sqlite3.Connection) -> datetime | None:
	row = connection.execute("SELECT stored_at FROM waiting ORDER BY id LIMIT 1").fetchone()
	return _utc(row[0]) if row else None


def _select_set_aside(connection: sqlite3.Connection, limit: int) -> list[SetAside]:
	rows = connection.execute(
		"SELECT reason, set_aside_at, event FROM set_aside ORDER BY id DESC LIMIT ?", (limit,)
	)
	return [SetAside(reason, _utc(at), event) for reason, at, event in rows]


def _as_text(event: AccessEvent) -> str:
	"""JSON of all fields; texts and numbers that only Python's own JSON can hold are left to it."""
	try:
		return orjson.dumps(event).decode()
	except orjson.JSONEncodeError:
		return json.dumps(event.to_plain())


def _from_text(text: str) -> AccessEvent:
	try:
		plain = orjson.loads(text)
	except orjson.JSONDecodeError:
		plain = json.loads(text)
	return AccessEvent.from_plain(plain)


def _utc(seconds: float) -> datetime:
	return datetime.fromtimestamp(seconds, timezone.utc)
