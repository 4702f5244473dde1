"""What a simulated device has in its event log, and what really happened (the truth a test compares with)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

AUTHENTICATION = 5  # majorEventType "event": authentications and doors
ALARM = 1
EXCEPTION = 2
OPERATION = 3

SERIAL_LIMIT = 100_000  # the number after this one is 1 again


class Method(str, Enum):
	"""How a person showed who they are."""

	FACE = "face"
	CARD = "card"
	FINGERPRINT = "fingerprint"
	PIN = "pin"


PASS_CODES = {Method.CARD: 1, Method.FINGERPRINT: 38, Method.FACE: 75, Method.PIN: 181}
DENIAL_CODES = {Method.CARD: 9, Method.FINGERPRINT: 39, Method.FACE: 76, Method.PIN: 150}


class DoorEvent(int, Enum):
	"""Minor codes of major 5 which concern a door alone."""

	UNLOCKED = 21
	LOCKED = 22
	BUTTON_PRESSED = 23
	BUTTON_RELEASED = 24
	CONTACT_OPEN = 25
	CONTACT_CLOSED = 26
	OPEN_TIMED_OUT = 28
	UNLOCKING_EXCEPTION = 92


class Code(Enum):
	"""(major, minor) pairs the device writes by itself."""

	POWER_ON = (EXCEPTION, 1024)
	NETWORK_DOWN = (EXCEPTION, 39)
	NETWORK_UP = (EXCEPTION, 1031)
	TAMPER = (ALARM, 1028)
	REMOTE_LOGIN = (OPERATION, 112)
	REMOTE_ARMING = (OPERATION, 121)
	REMOTE_DISARMING = (OPERATION, 122)


@dataclass(frozen=True, slots=True)
class SimulatedRecord:
	"""One record of a device.

	serial_no: as the device numbers it, 1..100000 and around. epoch: how often the count restarted before
	(a factory reset or a wrap), 0 first. instant: UTC, whole seconds, what the device's clock said.
	made_at: UTC, real time of the making. method is None for what is no authentication.
	"""

	device: str
	serial_no: int
	epoch: int
	instant: datetime
	made_at: datetime
	major: int
	minor: int
	person: str = ""
	name: str = ""
	card: str = ""
	door: int | None = None
	reader: int | None = None
	method: Method | None = None
	attendance_status: str | None = None
	front_serial_no: int = 0
	live: bool = False  # a stream or a listening host was there when it happened

	@property
	def is_pass(self) -> bool:
		"""A granted authentication of a person."""
		return self.method is not None and self.minor == PASS_CODES[self.method] and bool(self.person)


class EventLog:
	"""The truth, and the window of it which the device still stores.

	``records`` only grows. The device keeps the newest ``capacity`` of them, and none from before ``clear``.
	Positions are indexes into ``records`` and never change.
	"""

	def __init__(self, capacity: int) -> None:
		self.records: list[SimulatedRecord] = []
		self._capacity = capacity
		self._cleared_at = 0

	def append(self, record: SimulatedRecord) -> None:
		self.records.append(record)

	def clear(self) -> None:
		"""Forget everything stored, as a factory reset does; the truth stays."""
		self._cleared_at = len(self.records)

	@property
	def start(self) -> int:
		"""Position of the oldest record still stored."""
		return max(self._cleared_at, len(self.records) - self._capacity)

	@property
	def end(self) -> int:
		"""Position which the next record will get."""
		return len(self.records)

	def stored(self) -> Iterator[SimulatedRecord]:
		"""The stored records, oldest first."""
		return (self.records[position] for position in range(self.start, self.end))


@dataclass(slots=True)
class SerialCounter:
	"""The device's running number: wraps at its limit, restarts on a reset; knows how often it did."""

	last: int = 0
	epoch: int = 0
	limit: int = SERIAL_LIMIT

	def advance(self) -> int:
		"""The number of the next record."""
		if self.last >= self.limit:
			self.restart()
		self.last += 1
		return self.last

	def restart(self) -> None:
		"""Begin again at 1."""
		self.last = 0
		self.epoch += 1
