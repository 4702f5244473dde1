"""What may be missing: gaps, how they are noticed, and when one is over.

A gap is a stretch of time, and of serial numbers where the device has them, of which nobody can say that every
record is in the ledger. It is noticed in two ways. A **jump**: a record arrives whose number is not the next one, so
the numbers between are missing, and known one by one. A **break**: nobody heard the device for a while (a lost
connection, a silence, a listener that did not run), so it is not known whether there was anything to hear. The next
record that the device makes after a break tells: its number is the next one, and nothing was missed, or it is not,
and the gap has its numbers. Devices that can be asked for their history answer sooner. A device that is only read is heard
when it answers: where it does not, or proves nothing, its history must tell, whatever numbers its records have.

Everything here is pure. A store calls ``jumps`` and ``meet`` in the transactions that write the events and the
reports, and ``judge`` for each unresolved gap whenever something may have changed. Instants are UTC by our clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

from hikvision_frappe.core.identity import SERIAL_LIMIT, Outcome, Placement, SerialEpoch

# Two contacts that follow each other closer than this are one. It is for rounding alone: a stream that is opened
# again within a second may have missed a pass in between.
CONTACT_TOLERANCE = timedelta(milliseconds=1)
# A record is surely younger than an instant by our clock when the device's clock, put right, says so by this much.
INSTANT_TOLERANCE = timedelta(seconds=2)


class Cause(str, Enum):
	"""How a gap was noticed. Values are the labels stored in Access Event Gap.cause."""

	SERIAL_JUMP = "Serial Jump"
	RECONNECT = "Reconnect"
	SILENCE = "Silence"
	REBOOT = "Reboot"
	LISTENER_START = "Listener Start"
	NOT_READ = "Not Read"  # a device that is only read did not answer, or nothing proved what it told


class GapState(str, Enum):
	"""Values are the labels stored in Access Event Gap.state."""

	OPEN = "Open"
	FILLING = "Filling"  # its device's history is being read
	RECOVERED = "Recovered"  # every record is in the ledger, or there was none
	UNRECOVERABLE = "Unrecoverable"  # nobody can tell the rest any more: HR accepts it with a remark
	ACCEPTED = "Accepted"


UNRESOLVED = frozenset({GapState.OPEN, GapState.FILLING, GapState.UNRECOVERABLE})
UNSETTLED = frozenset({GapState.OPEN, GapState.FILLING})


class GapReason(str, Enum):
	"""Why a gap is in its state; shown translated."""

	GOING_ON = "the device is not heard"
	NOT_READ = "the device cannot be read"
	AWAITING_RECORD = "the next record of the device will tell"
	AWAITING_ROWS = "the device may still tell them"
	AWAITING_HISTORY = "the device's history will be read"
	NOTHING_MISSED = "the numbers go on without a hole: nothing was missed"
	ROWS_ARRIVED = "all missing records arrived"
	PROVEN_BY_HISTORY = "the device's history was read and its totals agree"
	NOT_IN_HISTORY = "the device's history does not hold them any more"
	HISTORY_UNPROVEN = "the device's history could not be read completely"
	COUNT_RESTARTED = (
		"the device began to count anew: nobody can tell how many records it had made until then"
	)
	NO_HISTORY = "the device has no history to read"
	NO_NUMBERS = "the device gives its records no numbers and has no history"


@dataclass(frozen=True, slots=True)
class Gap:
	"""One gap of one device.

	since, until: nothing is certain between them; until is None while the device is still not heard.
	after_serial: highest number that the ledger held (in ``epoch``) when a break began; None without numbers.
	first_serial, last_serial: the missing numbers, both inclusive; None until they are known.
	found: rows that arrived since, of the range; or that the history told, for a range of time.
	clock_offset: our clock minus the device's when the gap began, in seconds: its records were written by that clock.
	"""

	name: str
	device: str
	cause: Cause
	since: datetime
	until: datetime | None
	noticed_at: datetime
	epoch: int | None = None
	after_serial: int | None = None
	first_serial: int | None = None
	last_serial: int | None = None
	found: int = 0
	state: GapState = GapState.OPEN
	reason: GapReason = GapReason.AWAITING_RECORD
	clock_offset: float = 0.0

	@property
	def expected(self) -> int | None:
		"""How many records the range of numbers has; None while it is not known."""
		if self.first_serial is None or self.last_serial is None:
			return None
		return max(0, self.last_serial - self.first_serial + 1)

	@property
	def missing(self) -> int | None:
		return None if self.expected is None else max(0, self.expected - self.found)

	@property
	def is_going_on(self) -> bool:
		return self.until is None

	@property
	def is_told_by_history_alone(self) -> bool:
		"""Whether the numbers of later records tell nothing of it: none is known after which it misses something."""
		return self.cause is Cause.NOT_READ

	def holds(self, other: Gap) -> bool:
		"""Whether the other's numbers are among its own; not while either's are unknown."""
		if self.first_serial is None or self.last_serial is None:
			return False
		if other.first_serial is None or other.last_serial is None:
			return False
		is_of_same_count = (self.device, self.epoch) == (other.device, other.epoch)
		return (
			is_of_same_count
			and self.first_serial <= other.first_serial
			and other.last_serial <= self.last_serial
		)


# Jumps: from the records themselves.


@dataclass(frozen=True, slots=True)
class Jump:
	"""Numbers first..last (inclusive) of an epoch that were passed over; since and until: the records beside them."""

	device: str
	epoch: int
	first: int
	last: int
	since: datetime
	until: datetime

	@property
	def last_before(self) -> int:
		"""The number of the last record before what is missing."""
		return self.first - 1


def jumps(placements: Sequence[Placement], before: Mapping[str, Sequence[SerialEpoch]]) -> list[Jump]:
	"""The numbers that a batch passed over, judged after the whole batch: its own order does not matter.

	before: the epochs of each device as they were before the batch. The first record ever told by a device is where
	its count begins for us, and so is that of another hardware; a count that began again begins at 1.
	"""
	new: dict[tuple[str, int], list[Placement]] = defaultdict(list)
	for placement in placements:
		if placement.epoch is None or placement.event.serial_no is None:
			continue
		if placement.outcome is not Outcome.KNOWN:
			new[(placement.event.device, placement.epoch)].append(placement)
	found: list[Jump] = []
	for (device, epoch), placed in new.items():
		found += _jumps_in_epoch(device, epoch, placed, before.get(device, ()))
	return found


def _jumps_in_epoch(
	device: str, number: int, placed: Sequence[Placement], epochs: Sequence[SerialEpoch]
) -> list[Jump]:
	known = next((epoch for epoch in epochs if epoch.number == number), None)
	moments = {placement.event.serial_no or 0: placement.event.occurred_at for placement in placed}
	serials = sorted(moments)
	last, moment = _beginning(known, epochs, placed)
	if last is None:
		last, moment, serials = serials[0], moments[serials[0]], serials[1:]
	found = []
	for serial in serials:
		if serial > last + 1:
			at = moments[serial]
			found.append(Jump(device, number, last + 1, serial - 1, min(moment or at, at), at))
		if serial > last:
			last, moment = serial, moments[serial]
	return found


def _beginning(
	known: SerialEpoch | None, epochs: Sequence[SerialEpoch], placed: Sequence[Placement]
) -> tuple[int | None, datetime | None]:
	"""The last number before the batch and its instant; None where the batch itself is the beginning."""
	if known is not None and known.highest > 0:
		return known.highest, known.highest_at
	if not any(epoch.highest for epoch in epochs):
		return None, None
	latest = max(epochs, key=lambda epoch: epoch.number)
	hardware = next((each.event.hardware for each in placed if each.event.hardware), "")
	if (
		hardware
		and latest.hardware
		and not (hardware.endswith(latest.hardware) or latest.hardware.endswith(hardware))
	):
		return None, None
	return 0, latest.highest_at


@dataclass(frozen=True, slots=True)
class Restart:
	"""A count ended at ``highest`` in ``epoch`` and began anew: nobody can tell whether it had gone on in between.

	since: the last record of the old count, by the device's clock; until: when the new count was first told, by ours.
	"""

	device: str
	epoch: int
	highest: int
	since: datetime
	until: datetime

	@property
	def last_before(self) -> int:
		"""The number of the last record before what may be missing."""
		return self.highest


def restarts(
	before: Mapping[str, Sequence[SerialEpoch]], after: Mapping[str, Sequence[SerialEpoch]], now: datetime
) -> list[Restart]:
	"""The counts that a batch shows to have ended; a wrap is no end. A store opens a gap for each (``after_serial``
	is ``highest``), except for a stream that has contacts: it breaks when its device begins anew, and the break tells.

	before, after: the epochs of each device around the batch. now: UTC.
	"""
	return [
		_restart(device, ended, now)
		for device, epochs in after.items()
		for ended, epoch in pairwise(epochs)
		if 0 < ended.highest != SERIAL_LIMIT
		and all(known.number != epoch.number for known in before.get(device, ()))
	]


def _restart(device: str, ended: SerialEpoch, now: datetime) -> Restart:
	return Restart(device, ended.number, ended.highest, ended.highest_at or now, now)


def gap_of(
	found: Jump | Restart, came: datetime | None, clock_offset: float, now: datetime, name: str = ""
) -> Gap:
	"""The gap that a jump or a restart opens.

	Whatever the device's clock said, what is missing was made after the record before it may have come, and not in
	the future. came: when that record (``last_before``) was told first. clock_offset: our clock minus the device's,
	in seconds. now: UTC. name: for a store that does not number its gaps itself.
	"""
	offset = timedelta(seconds=clock_offset)
	gap = Gap(
		name=name,
		device=found.device,
		cause=Cause.SERIAL_JUMP,
		since=min(found.since + offset, came or now),
		until=min(found.until + offset, now),
		noticed_at=now,
		epoch=found.epoch,
		clock_offset=clock_offset,
	)
	if isinstance(found, Restart):
		return replace(gap, after_serial=found.highest)
	return replace(gap, first_serial=found.first, last_serial=found.last, reason=GapReason.AWAITING_ROWS)


# Breaks: from the times at which a device was heard.


@dataclass(frozen=True, slots=True)
class Contact:
	"""A device was heard without a break from ``since`` to ``until``; reason: why it was not heard before that."""

	since: datetime
	until: datetime
	reason: Cause = Cause.RECONNECT


@dataclass(frozen=True, slots=True)
class Break:
	"""Nobody heard the device between two contacts."""

	since: datetime
	until: datetime
	cause: Cause


def meet(before: Contact | None, now: Contact) -> tuple[Contact, Break | None]:
	"""Join a newly told contact to what is known: the contact to remember, and the break between them if any.

	The same contact may be told again and again, longer each time; one that began before the end of the last one
	(told by another listener, or late) continues it. The first contact ever has nothing before it.
	"""
	if before is None:
		return now, None
	if now.since <= before.until + CONTACT_TOLERANCE:
		return Contact(min(before.since, now.since), max(before.until, now.until), before.reason), None
	return now, Break(before.until, now.since, now.reason)


def certain_of(contact: Contact | None, proven_until: datetime | None) -> Contact | None:
	"""A contact, as if the device had been heard as long as its history is proven."""
	if proven_until is None or (contact and contact.until >= proven_until):
		return contact
	return replace(contact, until=proven_until) if contact else Contact(proven_until, proven_until)


def beat(before: Contact | None, at: datetime, limit: timedelta) -> Contact:
	"""The contact that a single heartbeat at ``at`` proves: the last one goes on if it ended less than ``limit`` ago.

	For devices that push: each heartbeat answers for the time since the one before. Give the result to ``meet``.
	"""
	if before is not None and at - before.until <= limit:
		return Contact(before.since, max(at, before.until), before.reason)
	return Contact(at, at, Cause.SILENCE)


# Readings: of devices that are only read.

# A device that answers nothing for so many periods has an outage.
UNREAD_PERIODS = 3
# So many periodic readings of the same stretch that prove nothing, and a gap takes it over.
MOST_UNPROVEN = 3


@dataclass(frozen=True, slots=True)
class PeriodicReading:
	"""One of the readings that are made every so often.

	asked_at: when it was asked for; it reads until then. answered: it was read to its end, proven or not. is_coming: its
	rows are coming in now, or those of another reading of its device, for which it waits.
	"""

	asked_at: datetime
	answered: bool
	is_coming: bool = False


def may_be_unread(certain_until: datetime, period: timedelta, unheard: timedelta, now: datetime) -> bool:
	"""Whether ``is_unread`` is worth its question: so long nothing new was certain of the device."""
	return now - certain_until > _unread_limit(period, unheard)


def is_unread(
	certain_until: datetime,
	readings: Iterable[PeriodicReading],
	period: timedelta,
	unheard: timedelta,
	now: datetime,
) -> bool:
	"""Whether a device that is only read, every ``period``, has not answered for too long: it has an outage.

	Time in which nobody asked does not count, as after a site was away, or before the first reading in this mode.
	certain_until: until when all of it was certain. readings: those asked for after that, and the one under way, without
	those that a person stopped. unheard: no outage is shorter.
	"""
	readings = list(readings)
	answered_at = max((each.asked_at for each in readings if each.answered), default=None)
	in_vain = [
		each for each in readings if not each.answered and (not answered_at or each.asked_at > answered_at)
	]
	if not in_vain or any(each.is_coming for each in in_vain):
		return False
	limit = _unread_limit(period, unheard)
	asked_at = min(each.asked_at for each in in_vain)
	return now - max(certain_until, answered_at or certain_until) > limit and now - asked_at > limit - period


def _unread_limit(period: timedelta, unheard: timedelta) -> timedelta:
	return max(unheard, UNREAD_PERIODS * period)


def gap_of_unread(
	name: str,
	device: str,
	since: datetime,
	until: datetime | None,
	now: datetime,
	epoch: int | None,
	clock_offset: float,
) -> Gap:
	"""What nobody could read, or prove, of a device that is only read; until None: nobody can still.

	Jumps in its numbers are gaps of their own, so there is no number after which something may be missing. epoch: the
	count that it was in.
	"""
	reason = GapReason.NOT_READ if until is None else GapReason.AWAITING_HISTORY
	return Gap(
		name, device, Cause.NOT_READ, since, until, now, epoch, reason=reason, clock_offset=clock_offset
	)


def grown(gaps: Iterable[Gap], since: datetime, until: datetime) -> Gap | None:
	"""The gap that waits for HR already and goes on from ``since`` to ``until``: nothing was proven of that either.

	gaps: the unresolved ones of one device that is only read. None where what comes is another gap, and another notice.
	"""
	waiting = [
		gap
		for gap in gaps
		if gap.cause is Cause.NOT_READ and gap.state is GapState.UNRECOVERABLE and gap.until == since
	]
	return replace(waiting[0], until=until) if waiting else None


def end_of_unread(outage: Gap, proven_until: datetime | None, now: datetime) -> Gap | None:
	"""The outage of a device that is only read as it ended; None while it goes on.

	One that began while the device was still to be heard ends now: what it is from now on is known by reading it.
	"""
	if outage.cause is not Cause.NOT_READ:
		return replace(outage, until=now, reason=GapReason.AWAITING_HISTORY)
	if proven_until is None or proven_until <= outage.since:
		return None
	return replace(outage, until=proven_until, reason=GapReason.AWAITING_HISTORY)


# What becomes of a gap.


class HistoryAnswer(str, Enum):
	"""What the device's history has said of a gap so far."""

	NONE = "none"  # not asked since the gap ended
	RUNNING = "running"  # queued, or being read
	PROVEN = "proven"  # everything between was read, and the totals agree
	UNPROVEN = "unproven"  # read, but nothing proves that it was all
	FAILED = "failed"  # could not be asked now; will be again


@dataclass(frozen=True, slots=True)
class Evidence:
	"""What is known about one gap now.

	present: rows of the ledger within first_serial..last_serial. bound: for a gap without a range, the lowest number
	above after_serial on a record that was made after the gap's end: told live by a stream later than that, or with an
	instant (put right by the clock offset) that is later. What a device sends again tells nothing of what follows it.
	numbered: whether the device gives its live records numbers. history: whether it can be asked at all.
	answer: of the newest reading that covers the gap and began after its end, and that asked for the missing numbers
	where they are known; told: rows that it gave for the gap; history_numbered: whether those carried serial numbers.
	restarted: records that were made after the gap's end count anew, so there is no bound, and what the old count had
	may be wiped out (a wrap is no restart: its bound is SERIAL_LIMIT + 1). rebooted: a record of a restart lies in the
	gap. patience: how long records may still arrive by themselves (a replay, the device's own repetition of pushes).
	"""

	present: int = 0
	bound: int | None = None
	restarted: bool = False
	numbered: bool = True
	history: bool = False
	answer: HistoryAnswer = HistoryAnswer.NONE
	told: int = 0
	history_numbered: bool = True
	rebooted: bool = False
	patience: timedelta = timedelta(minutes=10)


# History that cannot be asked for so long will not be asked any more by itself.
GIVE_UP = timedelta(hours=24)


def judge(gap: Gap, evidence: Evidence, now: datetime) -> Gap:
	"""The gap as it stands after the evidence; what HR accepted and what is recovered stays so."""
	if gap.state in (GapState.ACCEPTED, GapState.RECOVERED):
		return gap
	if gap.is_going_on:
		reason = GapReason.NOT_READ if gap.cause is Cause.NOT_READ else GapReason.GOING_ON
		return replace(gap, state=GapState.OPEN, reason=reason)
	if gap.is_told_by_history_alone:  # a count that began anew has a gap of its own there
		evidence = replace(evidence, bound=None, restarted=False)
	if evidence.rebooted and gap.cause in (Cause.RECONNECT, Cause.SILENCE):
		gap = replace(gap, cause=Cause.REBOOT)
	gap = _with_range(gap, evidence)
	if gap.expected is not None:
		gap = replace(gap, found=min(evidence.present, gap.expected))
		if gap.missing == 0:
			reason = GapReason.ROWS_ARRIVED if gap.expected else GapReason.NOTHING_MISSED
			return replace(gap, state=GapState.RECOVERED, reason=reason)
	return _judge_by_history(gap, evidence, now)


def told_before(outer: Gap, jumps: Iterable[Gap]) -> Gap:
	"""A break whose numbers have become known, as far as people were told of them already.

	jumps: those that it holds, as they were before. Where they tell of all that it misses, nobody is told again: it is
	as unrecoverable as they were, or accepted when each of them was. How many an accepted one misses is not counted
	any more, so none of which they were not told may be among them.
	"""
	jumps = list(jumps)
	told = [each for each in jumps if each.state in (GapState.UNRECOVERABLE, GapState.ACCEPTED)]
	is_open = outer.state in UNRESOLVED and outer.missing
	if any(each.state in UNSETTLED and each.missing for each in jumps):
		return outer
	if not is_open or sum(each.missing or 0 for each in told) < (outer.missing or 0):
		return outer
	state = max((each.state for each in told), key=lambda state: state is GapState.UNRECOVERABLE)
	return replace(outer, state=state, reason=told[0].reason)


def _with_range(gap: Gap, evidence: Evidence) -> Gap:
	"""The gap with its numbers, once both ends are known; without a number before it only the very first tells."""
	if gap.first_serial is not None or evidence.bound is None:
		return gap
	after = gap.after_serial if gap.after_serial is not None else 0
	if gap.after_serial is None and evidence.bound != 1:
		return gap
	return replace(gap, first_serial=after + 1, last_serial=evidence.bound - 1)


def _judge_by_history(gap: Gap, evidence: Evidence, now: datetime) -> Gap:
	if evidence.answer is HistoryAnswer.RUNNING:
		return _in_state(gap, GapState.FILLING, GapReason.AWAITING_HISTORY)
	if evidence.answer is HistoryAnswer.PROVEN:
		if gap.expected is None and evidence.restarted:
			return _in_state(gap, GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED)
		if gap.expected is None or not evidence.history_numbered:
			return replace(
				gap, found=evidence.told, state=GapState.RECOVERED, reason=GapReason.PROVEN_BY_HISTORY
			)
		return _in_state(gap, GapState.UNRECOVERABLE, GapReason.NOT_IN_HISTORY)
	if evidence.answer is HistoryAnswer.UNPROVEN:
		return _judge_unproven(gap, evidence)
	if evidence.history:
		if _waited(gap, now) > GIVE_UP:
			return _in_state(gap, GapState.UNRECOVERABLE, GapReason.HISTORY_UNPROVEN)
		return _in_state(gap, GapState.OPEN, GapReason.AWAITING_HISTORY)
	return _judge_without_history(gap, evidence, now)


def _judge_unproven(gap: Gap, evidence: Evidence) -> Gap:
	"""What a history leaves open the next number may still tell; then what is missing can be asked for by number."""
	if gap.expected is None and evidence.restarted:
		return _in_state(gap, GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED)
	if evidence.numbered and gap.after_serial is not None and gap.expected is None:
		return _in_state(gap, GapState.OPEN, GapReason.AWAITING_RECORD)
	return _in_state(gap, GapState.UNRECOVERABLE, GapReason.HISTORY_UNPROVEN)


def _judge_without_history(gap: Gap, evidence: Evidence, now: datetime) -> Gap:
	nothing_came = evidence.bound is None and not evidence.restarted
	will_be_told = evidence.numbered and not gap.is_told_by_history_alone
	if gap.expected is None and will_be_told and nothing_came:
		return _in_state(gap, GapState.OPEN, GapReason.AWAITING_RECORD)
	if _waited(gap, now) < evidence.patience:
		return _in_state(gap, GapState.OPEN, GapReason.AWAITING_ROWS)
	if gap.expected is None and evidence.restarted:
		return _in_state(gap, GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED)
	reason = GapReason.NO_HISTORY if evidence.numbered else GapReason.NO_NUMBERS
	return _in_state(gap, GapState.UNRECOVERABLE, reason)


def _waited(gap: Gap, now: datetime) -> timedelta:
	"""How long something could have been done about the gap: not before it was noticed, nor before its end."""
	return now - max(gap.noticed_at, gap.until or gap.noticed_at)


def _in_state(gap: Gap, state: GapState, reason: GapReason) -> Gap:
	"""A gap that is unrecoverable waits for HR or for its rows; another attempt does not ring the bell again."""
	if gap.state is GapState.UNRECOVERABLE:
		return gap
	return replace(gap, state=state, reason=reason)
