"""What the listener knows of each device right now, and the way of a message from a device into the spool."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.isapi.messages import Heartbeat, Message
from hikvision_frappe.listener.contact import DeviceContact
from hikvision_frappe.listener.site import ConnectionState, DeviceIdentityReport, DeviceReport
from hikvision_frappe.listener.spool import Spool

RECENT_EVENTS = 20
USUAL_LOCK_SECONDS = 1_800  # what terminals of the field use when they do not say


def utc_now() -> datetime:
	return datetime.now(timezone.utc)


@dataclass(slots=True)
class DeviceTrack:
	"""The state of one device as it changes; ``report`` is a picture of it. Instants are UTC.

	malformed: messages that could not be understood. refused: pushes that were turned away after the token.
	"""

	device: str
	title: str = ""
	state: ConnectionState = ConnectionState.WAITING
	since: datetime = field(default_factory=utc_now)
	connected_since: datetime | None = None
	last_heartbeat: datetime | None = None
	last_event: datetime | None = None
	error: str = ""
	retry_at: datetime | None = None
	reconnects: int = 0
	events: int = 0
	heartbeats: int = 0
	malformed: int = 0
	refused: int = 0
	clock_offset: float | None = None
	identity: DeviceIdentityReport | None = None
	contact: DeviceContact = field(default_factory=DeviceContact)
	stopped_revision: str = ""  # of the configuration with which it stopped; the same one is not tried again
	_lock: tuple[str, datetime] | None = None

	def lock(self, base_url: str, seconds: int, margin: float) -> datetime:
		"""Remember that the device at this address locked our account; returns until when it may not be tried.

		seconds: the rest of the lock, 0 when the device does not say. margin: seconds to wait longer than that.
		"""
		until = utc_now() + timedelta(seconds=(seconds or USUAL_LOCK_SECONDS) + margin)
		self._lock = (base_url, until)
		return until

	def locked_until(self, base_url: str) -> datetime | None:
		"""When the device at this address may be tried again; None when now."""
		if self._lock is None or self._lock[0] != base_url or self._lock[1] <= utc_now():
			return None
		return self._lock[1]

	def enter(self, state: ConnectionState, error: str = "", retry_at: datetime | None = None) -> None:
		"""Go to a state; the error stays until the device is connected again, so that people can read it."""
		now = utc_now()
		if state is not self.state:
			self.since = now
		if state is ConnectionState.CONNECTED:
			self.connected_since = self.connected_since or now
			self.error = ""
		elif state is not ConnectionState.CONNECTING:
			self.connected_since = None
		self.state = state
		self.error = error or self.error
		self.retry_at = retry_at

	def stop(self, revision: str, error: str) -> None:
		"""Wait for a person to change the configuration that has this revision."""
		self.enter(ConnectionState.STOPPED, error)
		self.stopped_revision = revision

	def rest(self) -> None:
		"""Nobody is connecting any more: the device is gone, changed, or another listener's."""
		self.enter(ConnectionState.WAITING)
		self.error = ""

	def report(self, settled: int) -> DeviceReport:
		"""The picture now. settled: ``Intake.settled``, on which it depends what may be said of the contact."""
		return DeviceReport(
			device=self.device,
			state=self.state,
			since=self.since,
			connected_since=self.connected_since,
			last_heartbeat=self.last_heartbeat,
			last_event=self.last_event,
			error=self.error,
			retry_at=self.retry_at,
			reconnects=self.reconnects,
			events=self.events,
			clock_offset=self.clock_offset,
			identity=self.identity,
			contact=self.contact.told(settled),
		)


class Intake:
	"""The one way from a device into the spool: stored first, counted and shown afterwards."""

	def __init__(self, spool: Spool) -> None:
		self.spool = spool
		self.recent: deque[AccessEvent] = deque(maxlen=RECENT_EVENTS)

	@property
	def settled(self) -> int:
		"""How many of the events that the spool ever took have left it for the site; negative while some wait that it
		held before this process. They leave in the order of their coming."""
		return self.spool.counts.appended - self.spool.depth

	async def store(self, track: DeviceTrack, messages: Sequence[Message]) -> int | None:
		"""Return once every access event among the messages is on disk: with the number of events that must be
		``settled`` until the site has these, None when there are none.

		Raises SpoolUnavailable; nothing is counted then and the sender must not be told that we have it.
		"""
		events = [message for message in messages if isinstance(message, AccessEvent)]
		mark = None
		if events:
			await self.spool.append(events)
			mark = self.spool.counts.appended
			self.recent.extend(events)
			track.events += len(events)
			track.last_event = events[-1].received_at
		for message in messages:
			if isinstance(message, Heartbeat):
				track.heartbeats += 1
				track.last_heartbeat = message.received_at
		return mark
