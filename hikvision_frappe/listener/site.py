"""What the listener needs of a site: its devices, a place to deliver to, somewhere to report.

The Frappe side implements ``Site`` in process and ``commands.py`` hands it in; ``local_site.LocalSite`` implements
it on SQLite for the demo and the tests; an agent on a LAN will implement it over HTTPS. All methods are called
from one thread that belongs to the site alone, so an implementation may keep a connection; they may block, and
they raise ``SiteUnavailable`` for whatever will pass by itself (database down, migration, network).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.core.gaps import Contact, HistoryAnswer
from hikvision_frappe.isapi.address import DeviceAddress


class SiteUnavailable(Exception):
	"""The site cannot answer now; keep what you have and try again."""


class IngestMode(str, Enum):
	STREAM = "stream"
	PUSH = "push"
	HISTORY = "history"  # nothing live: its history is read again and again


@dataclass(frozen=True, slots=True)
class DeviceConfig:
	"""A device as the listener must know it. ``revision`` changes whenever anything here does.

	leased: whether this listener is the one that may hold the device's stream, and read its history, now.
	history: whether its history may be read to fill gaps. history_seconds: how often the history is read even though
	no gap is known, 0 for never.
	push_key, push_secret_hash: public part of the notification token and the sha256 hex of its secret part.
	networks: CIDR texts a push may come from; empty means anywhere.
	serial_number: of the hardware expected at the address, "" until it was seen for the first time.
	"""

	key: str
	title: str
	revision: str
	mode: IngestMode
	address: DeviceAddress
	leased: bool = True
	push_key: str = ""
	push_secret_hash: str = ""
	networks: tuple[str, ...] = ()
	serial_number: str = ""
	history: bool = False
	history_seconds: float = 0.0


class ConnectionState(str, Enum):
	WAITING = "Waiting"  # not tried yet, or another listener holds it
	CONNECTING = "Connecting"
	CONNECTED = "Connected"
	RETRYING = "Retrying"  # will try again by itself
	STOPPED = "Stopped"  # needs a person: wrong password, locked, wrong device


@dataclass(frozen=True, slots=True)
class DeviceReport:
	"""The state of one device at one instant (UTC), as shown on its form.

	error: last error in words with what to do, "" when well. clock_offset: our UTC minus the device's, seconds.
	contact: since and until when the device was heard without a break, and everything that it told until then is
	delivered to the site; None while nothing can be said. A site compares it with the last one it knows
	(``core.gaps.meet``), so a lost report loses no gap.
	"""

	device: str
	state: ConnectionState
	since: datetime
	connected_since: datetime | None = None
	last_heartbeat: datetime | None = None
	last_event: datetime | None = None
	error: str = ""
	retry_at: datetime | None = None
	reconnects: int = 0
	events: int = 0
	clock_offset: float | None = None
	identity: DeviceIdentityReport | None = None
	contact: Contact | None = None


@dataclass(frozen=True, slots=True)
class DeviceIdentityReport:
	"""Who answered at the address, from deviceInfo."""

	serial_number: str
	mac_address: str = ""
	model: str = ""
	firmware: str = ""


@dataclass(frozen=True, slots=True)
class ListenerReport:
	"""The listener itself: who it is, where its push port is, how much waits in its spool."""

	listener: str
	started_at: datetime
	push_address: str = ""
	spool_depth: int = 0
	oldest_waiting: datetime | None = None
	devices: Sequence[DeviceReport] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Delivery:
	"""The site's answer to a batch: every event is committed, ``new`` of them for the first time.

	refused: positions of events the site can never take (unknown device, malformed), with the reason in words.
	The listener sets those aside; it never drops them in silence.
	"""

	new: int
	known: int
	refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryTask:
	"""Read a part of a device's history: a range of serial numbers where given, else a stretch of time.

	since, until: UTC by our clock; the reader converts to the device's clock and widens. first_serial, last_serial:
	inclusive; last_serial None means everything from first_serial on. resume_from: an earlier attempt has read and
	delivered everything before this instant. clock_offset: our clock minus the device's when the records were made, in
	seconds, as far as the site knows.

	recorded: the instant, UTC by the device's own clock, of a record that the site has and that the device's log must
	still hold (that one or an older one), if it has lost nothing: the newest from before the stretch, else the oldest
	in or after it. Only records of access (major 5) with a plausible time count, and none from before the end of a gap
	which began before the stretch and which nobody can fill any more, unless it lies within that gap and the log told it
	when that was over. None where there is no such record: then a log that looks whole is taken for it. See
	``core.recorded``.
	"""

	name: str
	device: str
	since: datetime
	until: datetime
	first_serial: int | None = None
	last_serial: int | None = None
	resume_from: datetime | None = None
	recorded: datetime | None = None
	clock_offset: float = 0.0


class HistoryState(str, Enum):
	"""Values are the labels stored in Hikvision History Fetch.state."""

	QUEUED = "Queued"
	RUNNING = "Running"
	PROVEN = "Complete"  # everything was read, and the totals agree
	UNPROVEN = "Unproven"  # read, but nothing proves that it was all; the reason says why
	FAILED = "Failed"  # could not be read; the error says what to do
	CANCELLED = "Cancelled"


# A reading in these states was answered to its end.
ANSWERED = (HistoryState.PROVEN, HistoryState.UNPROVEN)
# What a reading in each state says of the gaps that it covers.
ANSWERS = {
	HistoryState.QUEUED: HistoryAnswer.RUNNING,
	HistoryState.RUNNING: HistoryAnswer.RUNNING,
	HistoryState.PROVEN: HistoryAnswer.PROVEN,
	HistoryState.UNPROVEN: HistoryAnswer.UNPROVEN,
	HistoryState.FAILED: HistoryAnswer.FAILED,
	HistoryState.CANCELLED: HistoryAnswer.FAILED,
}


@dataclass(frozen=True, slots=True)
class HistoryReport:
	"""How far a task is. All rows counted here are delivered and committed.

	rows: read so far; new: of them, not in the ledger before; total: how many the device says there are, None while
	unknown; read_until: the instant (UTC) up to which all was read. numbered: whether the rows carry serial numbers, None
	while there were none. reason: why unproven, or the error in words with what to do. retry: whether a failed task is
	worth another try by itself. supported: False when the device turned out to have no history, None when not known.
	storage: how the device keeps its records ("regular", "time", "cycle", "" unknown); storage_minutes: after how long it
	deletes them by timer.
	"""

	task: str
	device: str
	state: HistoryState
	rows: int = 0
	new: int = 0
	total: int | None = None
	read_until: datetime | None = None
	numbered: bool | None = None
	reason: str = ""
	retry: bool = False
	supported: bool | None = None
	storage: str = ""
	storage_minutes: int | None = None


class Site(Protocol):
	"""The listener's view of a site; see the module's docstring for threads and errors."""

	def devices(self, listener: str, lease_seconds: float) -> Sequence[DeviceConfig]:
		"""All enabled devices; leases for ``listener`` those that are free, and renews those it holds."""

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		"""Commit the events to the ledger; on return they are durable and the sender may forget them."""

	def report(self, report: ListenerReport) -> None:
		"""Show states to people; losing one report harms nobody."""

	def history_tasks(self, listener: str, lease_seconds: float) -> Sequence[HistoryTask]:
		"""The readings that are due for devices leased to ``listener``, oldest first, one per device; leases them.

		A task that this listener holds already is named again, which renews its lease; one whose reader died is given
		to the next that asks.
		"""

	def report_history(self, report: HistoryReport) -> bool:
		"""Note the progress or the end of a task; False when it is not wanted any more and the reader shall stop."""

	def release(self, listener: str) -> None:
		"""Give up this listener's leases at a clean stop."""

	def close(self) -> None:
		"""Release connections; called once, last."""
