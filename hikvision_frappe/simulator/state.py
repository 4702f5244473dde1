"""What a simulated device knows; shared by its endpoints, streams and push clients."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from hikvision_frappe.simulator.clock import DeviceClock
from hikvision_frappe.simulator.digest import DigestGate, LockOut
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.hosts import ListeningHost
from hikvision_frappe.simulator.profile import Profile
from hikvision_frappe.simulator.records import EventLog, SerialCounter
from hikvision_frappe.simulator.wording import Identity, Writer

HOST_SLOTS = 2
_REQUESTS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class LoginFailure:
	"""A login that the device counted: when (UTC), from where, for which request."""

	at: datetime
	client: str
	path: str
	locked: bool


@dataclass(frozen=True, slots=True)
class SeenRequest:
	"""A request that was answered: for tests that count what a client asks."""

	method: str
	target: str
	status: int
	authorized: bool


def empty_hosts() -> dict[int, ListeningHost]:
	"""The listening hosts of a device fresh from the factory."""
	return {number: ListeningHost(number) for number in range(1, HOST_SLOTS + 1)}


@dataclass(slots=True)
class DeviceState:
	"""Settings, clock, log and switches of one device."""

	profile: Profile
	identity: Identity
	clock: DeviceClock
	writer: Writer
	log: EventLog
	serials: SerialCounter
	faults: Faults
	gate: DigestGate
	lock_out: LockOut
	dice: random.Random
	hosts: dict[int, ListeningHost] = field(default_factory=empty_hosts)
	login_failures: list[LoginFailure] = field(default_factory=list)
	requests: deque[SeenRequest] = field(default_factory=lambda: deque(maxlen=_REQUESTS_KEPT))
	push_positions: dict[int, int] = field(default_factory=dict)  # slot -> place in the log
	leaked_slots: int = 0
