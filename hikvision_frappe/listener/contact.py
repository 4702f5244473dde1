"""Since and until when a device was heard, as far as everything that it told is at the site.

What was heard becomes certain in two steps: it is stored in the spool, and it has left the spool for the site. So
each claim remembers which events were stored before it (a *mark*: how many events the spool had ever taken), and is
made only after the spool has settled that many. All instants are aware UTC by our clock: those at which we read what
had come, which is later than its coming by the event loop's latency (less than ``core.watermark.MARGIN``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import median_low

from hikvision_frappe.core import gaps
from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.core.gaps import Cause, Contact

# A record that does not say whether it is live, and is so much older than its coming, is told again.
LIVE_FOR = timedelta(seconds=60)
# Claims that wait for the spool, of one device; when there are more, the latest are made together.
WAITING_CLAIMS = 64
LEARNED_FROM = 5  # intervals


@dataclass(frozen=True, slots=True)
class ContactSettings:
	"""replay: after so long without a record told again, a replay is over. heartbeat_factor, heartbeat_floor: a device
	that pushes heartbeats was heard between two that are no further apart than the usual interval times the factor,
	and at least the floor. push_patience: a push that was not taken is repeated by then, if at all.
	"""

	replay: timedelta = timedelta(seconds=15)
	heartbeat_factor: float = 3.0
	heartbeat_floor: timedelta = timedelta(minutes=5)
	push_patience: timedelta = timedelta(minutes=10)


@dataclass(slots=True)
class _Waiting:
	"""Events up to ``mark`` are not settled; until then nothing after ``until`` is certain, None for nothing at all."""

	mark: int
	until: datetime | None


class DeviceContact:
	"""The contact with one device over all its connections in this process; ``told`` is what may be claimed of it."""

	def __init__(self, settings: ContactSettings | None = None) -> None:
		self._settings = settings or ContactSettings()
		self._contact: Contact | None = None
		self._waiting: deque[_Waiting] = deque()
		self._reason = Cause.LISTENER_START
		self._replayed_at: datetime | None = None
		self._beats = _Heartbeats()
		self._beaten: Contact | None = None  # the contact as heartbeats alone would tell it
		self._refused = _RefusedPushes()

	def told(self, settled: int) -> Contact | None:
		"""The contact as far as everything within is delivered; None while that cannot be said.

		settled: how many of the spool's events of this process have left it; negative while older ones wait.
		"""
		while self._waiting and self._waiting[0].mark <= settled:
			self._waiting.popleft()
		if self._contact is None or settled < 0:
			return None
		if not self._waiting:
			return self._contact
		certain = self._waiting[0].until
		if certain is None or certain < self._contact.since:
			return None
		return replace(self._contact, until=min(self._contact.until, certain))

	# Streams.

	def begin(self, at: datetime) -> None:
		"""A stream was opened."""
		self._contact = Contact(at, at, self._reason)
		self._reason = Cause.RECONNECT
		self._replayed_at = None

	def lost(self, reason: Cause) -> None:
		"""The stream ended for a reason that is worth remembering until the next one begins."""
		if self._contact is not None:
			self._reason = reason

	def heard(self, at: datetime, mark: int | None, *, replayed: bool = False) -> None:
		"""What an open stream had sent by ``at`` is stored. mark: of its events, None without any. replayed: some of
		them are told again; live ones stand behind them in the device's queue."""
		self._wait_for(mark)
		if replayed:
			self._replayed_at = at
		if self._replayed_at is None or at - self._replayed_at >= self._settings.replay:
			self._replayed_at = None
			self._extend(at)

	# Pushes.

	def push_began(self, at: datetime) -> None:
		"""A push comes in; it must be followed by ``push_stored`` or ``push_refused`` with the same instant."""
		self._refused.open.append(at)

	def push_stored(self, began: datetime, mark: int | None, *, heartbeat: bool) -> None:
		"""A push is stored. mark: of its events, None without any. Only one that began after a refused one can be its
		repetition."""
		self._refused.open.remove(began)
		self._wait_for(mark)
		if mark is not None and self._refused.latest is not None and began > self._refused.latest:
			self._refused.latest = None
		if heartbeat:
			self._beat(began)

	def push_refused(self, began: datetime) -> None:
		"""A push was not taken: nothing after it is certain until the device has told it again."""
		self._refused.open.remove(began)
		self._refused.latest = began

	def _beat(self, at: datetime) -> None:
		"""A heartbeat answers for the time since the one before, if no push is on its way or waits for its repetition.

		The device may tell events and heartbeats on connections of their own, so that a heartbeat proves nothing of
		an event that was refused. When the device could have repeated it and did not, a new contact begins.
		"""
		limit = max(self._beats.usual * self._settings.heartbeat_factor, self._settings.heartbeat_floor)
		first = self._beaten is None
		self._beaten = gaps.beat(self._beaten, at, limit)
		self._beats.learn(at)
		if first:
			self._beaten = replace(self._beaten, reason=self._reason)
		if self._refused.latest is not None:
			if at - self._refused.latest < self._settings.push_patience:
				return
			self._refused.latest = None
			self._beaten = Contact(at, at, Cause.SILENCE)
		certain = min([at, *self._refused.open])
		if certain >= max(self._beaten.since, self._contact.until if self._contact else certain):
			self._contact = replace(self._beaten, until=certain)

	# Both.

	def _extend(self, at: datetime) -> None:
		if self._contact is not None and at > self._contact.until:
			self._contact = replace(self._contact, until=at)

	def _wait_for(self, mark: int | None) -> None:
		"""Nothing after what was certain before these events is certain until they have left the spool."""
		if mark is None:
			return
		if len(self._waiting) >= WAITING_CLAIMS:
			self._waiting[-1].mark = mark
		else:
			self._waiting.append(_Waiting(mark, self._contact.until if self._contact else None))


@dataclass(slots=True)
class _Heartbeats:
	"""How often a device pushes heartbeats; an outage among them does not count as its habit."""

	latest: datetime | None = None
	intervals: deque[timedelta] = field(default_factory=lambda: deque(maxlen=LEARNED_FROM))

	@property
	def usual(self) -> timedelta:
		return median_low(self.intervals) if self.intervals else timedelta()

	def learn(self, at: datetime) -> None:
		if self.latest is not None and at > self.latest:
			self.intervals.append(at - self.latest)
		self.latest = at


@dataclass(slots=True)
class _RefusedPushes:
	"""open: when the pushes on their way began. latest: when the last one began that was not taken."""

	open: list[datetime] = field(default_factory=list)
	latest: datetime | None = None


def is_told_again(events: Iterable[AccessEvent], clock_offset: float | None) -> bool:
	"""Whether one of the events is a replay: the device says so, or it does not say and the record is old.

	clock_offset: our clock minus the device's, in seconds.
	"""
	offset = timedelta(seconds=clock_offset or 0.0)
	return any(
		event.live is False
		or (event.live is None and event.received_at - event.occurred_at - offset > LIVE_FOR)
		for event in events
	)
