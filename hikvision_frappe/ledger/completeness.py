"""The keeper: what may be missing, what is done about it, and until when each device is complete.

``tend`` looks at the whole site: a number of statements that does not grow with the devices, and a few for each gap
that something has happened to. One process at a time does it. It may be killed anywhere: everything is derived anew
from the ledger, the contacts and the readings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import frappe
from frappe.query_builder.functions import Count, Min
from frappe.utils import get_datetime
from pypika import Criterion

from hikvision_frappe.core.clock import everything_before, moment_of
from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.core.gaps import (
	CONTACT_TOLERANCE,
	INSTANT_TOLERANCE,
	UNSETTLED,
	Break,
	Cause,
	Contact,
	Evidence,
	Gap,
	GapReason,
	GapState,
	HistoryAnswer,
	certain_of,
	end_of_unread,
	is_unread,
	judge,
	may_be_unread,
	told_before,
)
from hikvision_frappe.core.identity import SERIAL_LIMIT, SerialEpoch, numbered_name
from hikvision_frappe.core.states import EventState
from hikvision_frappe.core.watermark import Coverage, watermark
from hikvision_frappe.ledger import beats, contacts, epochs, gaps, history
from hikvision_frappe.ledger.alone import alone
from hikvision_frappe.ledger.devices import history_minutes, may_read_history
from hikvision_frappe.ledger.instants import aware, certainly_after, naive, site_zone, utc_now

LOCK_NAME = "hikvision_keeper"
# Passes that hold their device's watermark back until they are worked off, matched or set aside.
HOLDING = (EventState.NEW, EventState.UNMATCHED, EventState.FAILED, EventState.AMBIGUOUS_HOUR)
RESTARTS = ((2, 1024), (3, 123))  # power on, restarted from afar
MOST_NOTICES = 100  # in one round: each takes as long as the Notifications on it
_DEVICE_FIELDS = (
	"name",
	"mode",
	"host",
	"history",
	"history_minutes",
	"history_supported",
	"password",
	"clock_offset",
	"proven_until_utc",
	"complete_until_utc",
	"held_by",
	"held_by_gap",
	"modified",
	"creation",
	*contacts.FIELDS,
)


@dataclass(frozen=True, slots=True)
class KeeperSettings:
	"""How patient the keeper is.

	unheard: a device that was heard and is no more has an outage after so long. fetch_after: rows may still arrive by
	themselves before history is asked. patience: the same for devices without history. overlap: a periodic reading
	begins so long before the end of the last one. readings: under way for the gaps of one device at a time.
	"""

	unheard: timedelta = timedelta(minutes=2)
	fetch_after: timedelta = timedelta(seconds=5)
	patience: timedelta = timedelta(minutes=10)
	overlap: timedelta = timedelta(minutes=2)
	readings: int = 5


DEFAULT = KeeperSettings()


@dataclass(slots=True)
class _Device:
	"""One enabled device. limit: unheard for longer is an outage; None where nobody expects to hear it."""

	row: Any
	contact: Contact | None
	limit: timedelta | None
	epochs: list[SerialEpoch]
	gaps: list[Gap] = field(default_factory=list)

	@property
	def name(self) -> str:
		return str(self.row.name)

	@property
	def offset(self) -> timedelta:
		"""Our clock minus the device's."""
		return timedelta(seconds=self.row.clock_offset or 0)

	@property
	def history(self) -> bool:
		return may_read_history(self.row) and self.row.history_supported != "No"

	@property
	def is_only_read(self) -> bool:
		return bool(self.row.mode == "History")

	@property
	def period(self) -> timedelta:
		"""Between two readings of its history while no gap is known; zero for never."""
		return timedelta(minutes=history_minutes(self.row))

	@property
	def certain_until(self) -> datetime | None:
		"""Until when it was heard or proven, whichever is later."""
		certain = certain_of(self.contact, aware(self.row.proven_until_utc))
		return certain.until if certain else None

	@property
	def pushed_until(self) -> datetime | None:
		"""By our clock: the newest record of a device that pushes and is not known to beat was surely made after it."""
		if self.row.mode != "Push" or self.limit is not None or self.latest is None:
			return None
		made_at = self.latest.highest_at
		return made_at + self.offset - 2 * INSTANT_TOLERANCE if made_at else None

	@property
	def tells_by_numbers(self) -> bool:
		"""Whether nothing but its records tells that it is heard."""
		return self.row.mode == "Push" and (self.contact is None or self.limit is None)

	@property
	def latest(self) -> SerialEpoch | None:
		"""The run of numbers it counts in now; None while no record had a number."""
		return contacts.latest_of(self.epochs)


def tend(settings: KeeperSettings = DEFAULT, *, notice_outages: bool = True) -> bool:
	"""One round on the connected site, as the session's user; False when another process is at it.

	notice_outages: False while it is not certain that listeners could report lately. Commits as it goes; raises what
	the database raises, with nothing half done.
	"""
	frappe.db.rollback()
	with alone(LOCK_NAME) as is_alone:
		if is_alone:
			_Round(settings).run(notice_outages)
	return is_alone


class _Round:
	"""What one look at the site sees, and does about it."""

	def __init__(self, settings: KeeperSettings) -> None:
		self.settings = settings
		self.zone: ZoneInfo = site_zone()
		self.now = utc_now()
		self.devices = self._read_devices()
		self.changed: set[str] = set()

	def run(self, notice_outages: bool) -> None:
		self._tend_outages(notice_outages)
		self._tend_gaps()
		self._queue_periodic()
		self._move_watermarks()
		for device in sorted(self.changed):
			gaps.changed(device)
		frappe.db.commit()  # nosemgrep: the round's last transaction

	def _read_devices(self) -> dict[str, _Device]:
		rows = frappe.get_all("Hikvision Device", filters={"enabled": 1}, fields=list(_DEVICE_FIELDS))
		pushing = [row.name for row in rows if row.mode == "Push" and row.heard_until_utc]
		limits = beats.limits(pushing)
		unheard = {"Stream": self.settings.unheard}
		known = epochs.read()
		devices = {
			row.name: _Device(
				row,
				contacts.contact_of(row),
				limits.get(row.name) if row.mode == "Push" else unheard.get(row.mode),
				known.get(row.name, []),
			)
			for row in rows
		}
		for gap in gaps.unresolved():
			if gap.device in devices:
				devices[gap.device].gaps.append(gap)
		return devices

	# Outages: the only gaps whose beginning and end people are told of.

	def _tend_outages(self, notice_outages: bool) -> None:
		notices = 0
		unheard = self._unheard() if notice_outages else set()
		for device in self.devices.values():
			changes = [self._end_of(gap, device) for gap in device.gaps if gap.is_going_on]
			if device.name in unheard:
				changes = [self._outage(device)]
			for change in filter(None, changes):
				if notices == MOST_NOTICES:
					return
				notices += self._tell(change, device)

	def _unheard(self) -> set[str]:
		"""The devices that nobody hears, or can read, although they should be, and that have no outage yet."""
		well = [device for device in self.devices.values() if not any(gap.is_going_on for gap in device.gaps)]
		return {device.name for device in well if self._is_unheard(device)} | self._unread(
			[device for device in well if device.is_only_read]
		)

	def _is_unheard(self, device: _Device) -> bool:
		"""Whether nobody hears a device that should be heard."""
		if device.contact is None or device.limit is None:
			return False
		return self.now - device.contact.until > device.limit

	def _unread(self, devices: Iterable[_Device]) -> set[str]:
		"""Which of these devices, that are only read, do not answer; asks the readings only of those that may not."""
		unheard = self.settings.unheard
		doubtful = {
			device.name: device.certain_until
			for device in devices
			if device.certain_until and may_be_unread(device.certain_until, device.period, unheard, self.now)
		}
		readings = history.periodic_since(doubtful, self.now)
		return {
			name
			for name, certain in doubtful.items()
			if is_unread(certain, readings.get(name, ()), self.devices[name].period, unheard, self.now)
		}

	def _outage(self, device: _Device) -> Gap:
		assert device.certain_until
		if device.is_only_read:
			return gaps.unread(device.name, device.certain_until, None, device.latest, device.offset)
		unheard = Break(device.certain_until, self.now, Cause.SILENCE)
		gap = gaps.gap_of_break(device.name, unheard, device.latest, device.offset, self.now)
		return replace(gap, until=None, reason=GapReason.GOING_ON)

	def _end_of(self, gap: Gap, device: _Device) -> Gap | None:
		"""The outage as it ended, or begins later than it seemed; None while it goes on as it is."""
		contact = device.contact
		if device.is_only_read:
			return end_of_unread(gap, device.certain_until, self.now)
		if contact is None or contact.until <= gap.since:
			pushed = device.pushed_until
			return replace(gap, until=pushed) if pushed and pushed > gap.since else None
		if contact.since > gap.since + CONTACT_TOLERANCE:
			return replace(gap, until=contact.since, cause=contact.reason, reason=GapReason.AWAITING_RECORD)
		if self.now - contact.until > (device.limit or self.settings.unheard):
			return replace(gap, since=contact.until)
		return gaps.as_recovered(gap)

	def _tell(self, change: Gap, device: _Device) -> bool:
		"""Write the beginning or the end of an outage; whether it was written."""
		is_new = all(gap.name != change.name for gap in device.gaps)
		if is_new and not self._is_still_unheard(change):
			return False
		write = gaps.insert_document if is_new else self._end_outage
		if not gaps.tell(lambda: write(change, self.zone)):
			return False
		device.gaps = [gap for gap in device.gaps if gap.name != change.name]
		if change.state is not GapState.RECOVERED:
			device.gaps.append(change)
		self.changed.add(device.name)
		return True

	@staticmethod
	def _end_outage(change: Gap, zone: ZoneInfo) -> None:
		"""Where it was not a contact that ended it, the next break begins here and is another gap."""
		gaps.save_document(change, zone)
		if change.until:
			gaps.hear_until(change.device, change.until)

	def _is_still_unheard(self, outage: Gap) -> bool:
		"""The device's row is locked until the outage is written, so that its contact, or a proof, cannot come between."""
		heard = contacts.lock([outage.device]).get(outage.device)
		is_of_readings = outage.cause is Cause.NOT_READ
		known = heard and (heard.certain if is_of_readings else heard.contact)
		if heard and known and known.until <= outage.since and heard.is_only_read is is_of_readings:
			exists = frappe.db.exists(gaps.DOCTYPE, outage.name)
			if not exists:
				return True
		frappe.db.rollback()
		return False

	# Gaps.

	def _tend_gaps(self) -> None:
		waiting = [gap for device in self.devices.values() for gap in device.gaps if not gap.is_going_on]
		if not waiting:
			return
		evidence = self._evidence(waiting)
		judged = {gap.name: judge(gap, evidence[gap.name], self.now) for gap in waiting}
		asked = self._queue_for_gaps(waiting, judged, evidence)
		judged |= asked
		before = {gap.name: gap for gap in waiting}
		told = self._told_before(judged, before)
		judged |= told
		absorbed = _absorbed(judged)
		changes = [
			judged[gap.name] for gap in waiting if judged[gap.name] != gap and gap.name not in absorbed
		]
		alarming = [
			gap
			for gap in changes
			if gap.state is GapState.UNRECOVERABLE
			and before[gap.name].state is not GapState.UNRECOVERABLE
			and gap.name not in told
		]
		apart = {gap.name for gap in alarming}
		gaps.update([gap for gap in changes if gap.name not in apart], self.zone)
		gaps.delete(absorbed)
		history.move(absorbed)
		gaps.move_notices(
			{name: outer for name, outer in absorbed.items() if before[name].state is GapState.UNRECOVERABLE}
		)
		frappe.db.commit()  # nosemgrep: the judgements are one transaction, each notice is its own
		for gap in alarming[:MOST_NOTICES]:
			gaps.tell(partial(gaps.save_document, gap, self.zone, alerted=1))
		self.changed |= {gap.device for gap in changes}
		for device in self.devices.values():
			device.gaps = [judged.get(gap.name, gap) for gap in device.gaps if gap.name not in absorbed]

	def _told_before(self, judged: Mapping[str, Gap], before: Mapping[str, Gap]) -> dict[str, Gap]:
		"""The breaks whose numbers have just become known, of which jumps had told people all; as those were."""
		ranged = [
			gap
			for name, gap in judged.items()
			if gap.cause is not Cause.SERIAL_JUMP and gap.missing and before[name].first_serial is None
		]
		if not ranged:
			return {}
		jumps = [gap for gap in before.values() if gap.cause is Cause.SERIAL_JUMP]
		jumps += gaps.accepted_jumps({gap.device for gap in ranged})
		told = {}
		for outer in ranged:
			held = [jump for jump in jumps if outer.holds(jump)]
			known = told_before(outer, held)
			if known is not outer:
				told[outer.name] = known
			if known.state is GapState.ACCEPTED:
				accepted = next(jump for jump in held if jump.state is GapState.ACCEPTED)
				gaps.accept_like(outer.name, accepted.name)
		return told

	def _evidence(self, waiting: Sequence[Gap]) -> dict[str, Evidence]:
		answers = history.answers(
			waiting, {name: device.latest.number for name, device in self.devices.items() if device.latest}
		)
		self.answers = answers
		bounds = {gap.name: self._bound(gap) for gap in waiting}
		ranged = {gap.name: _range(gap, bounds[gap.name][0]) for gap in waiting}
		present = _present({gap.name: (gap, *ends) for gap in waiting if (ends := ranged[gap.name])})
		rebooted = self._rebooted(waiting)
		evidence = {}
		for gap in waiting:
			device = self.devices[gap.device]
			bound, restarted = bounds[gap.name]
			answer = answers.get(gap.name, history.Answer())
			evidence[gap.name] = Evidence(
				present=present.get(gap.name, 0),
				bound=bound,
				restarted=restarted,
				numbered=device.latest is not None or not any(epoch.unnumbered for epoch in device.epochs),
				history=device.history,
				answer=answer.answer,
				told=answer.told,
				history_numbered=answer.numbered,
				rebooted=gap.name in rebooted,
				patience=self.settings.patience,
			)
		return evidence

	def _bound(self, gap: Gap) -> tuple[int | None, bool]:
		"""The number that ends a gap without a range; or whether the count began anew, so that there is none.

		Asks the ledger only where the device has made records since the gap began.
		"""
		device = self.devices[gap.device]
		if gap.first_serial is not None or gap.until is None or gap.is_told_by_history_alone:
			return None, False
		epoch, after = gap.epoch or 1, gap.after_serial or 0
		latest = device.latest
		if latest is None or (latest.number, latest.highest) <= (epoch, after):
			return None, False
		bound, later = self._made_after(gap, device, epoch, after)
		if bound is not None or not later:
			return bound, False
		highest = next((each.highest for each in device.epochs if each.number == epoch), 0)
		return (SERIAL_LIMIT + 1, False) if highest == SERIAL_LIMIT else (None, True)

	def _made_after(self, gap: Gap, device: _Device, epoch: int, after: int) -> tuple[int | None, bool]:
		"""The lowest number above ``after`` on a record that was made after the gap; whether there are later counts."""
		assert gap.until
		event = frappe.qb.DocType("Access Event")
		told_live = (
			(event.source == Source.STREAM.value)
			& (event.live == "Yes")
			& (event.received_at > certainly_after(gap.until, self.zone))
		)
		offset = min(device.offset, timedelta(seconds=gap.clock_offset))
		later = (event.time_quality != TimeQuality.IMPLAUSIBLE.value) & (
			event.occurred_at_utc > naive(gap.until + INSTANT_TOLERANCE - offset)
		)
		query = (
			frappe.qb.from_(event)
			.select(event.serial_no)
			.where((event.device == gap.device) & (told_live | later))
			.limit(1)
		)
		# In the order of the index, so that the first one found ends the search.
		numbered = query.where((event.epoch == epoch) & (event.serial_no > after)).orderby(event.serial_no)
		bound = next((number for (number,) in numbered.run()), None)
		if bound is not None or device.latest is None or device.latest.number == epoch:
			return bound, False
		return None, bool(query.where(event.epoch > epoch).run())

	def _rebooted(self, waiting: Iterable[Gap], chunk: int = 100) -> set[str]:
		"""Gaps in which a device wrote that it had restarted; one statement for every hundred gaps."""
		asked = [gap for gap in waiting if gap.until and gap.cause in (Cause.RECONNECT, Cause.SILENCE)]
		restarted: dict[str, list[datetime]] = defaultdict(list)
		for start in range(0, len(asked), chunk):
			for device, moment in self._restarts(asked[start : start + chunk]):
				restarted[device].append(moment)
		return {
			gap.name for gap in asked if any(self._lies_in(gap, moment) for moment in restarted[gap.device])
		}

	def _restarts(self, asked: Sequence[Gap]) -> list[tuple[str, datetime]]:
		"""The restarts that devices wrote down at the time of these gaps."""
		event = frappe.qb.DocType("Access Event")
		rows = (
			frappe.qb.from_(event)
			.select(event.device, event.occurred_at_utc, event.major, event.minor)
			.where(Criterion.any([self._is_at_time_of(gap, event) for gap in asked]))
			.where(event.kind == "other")
			.where(event.major.isin([major for major, _minor in RESTARTS]))
			.where(event.minor.isin([minor for _major, minor in RESTARTS]))
			.run()
		)
		return [(device, aware(moment)) for device, moment, *codes in rows if tuple(codes) in RESTARTS]

	def _is_at_time_of(self, gap: Gap, event: Any) -> Any:
		assert gap.until
		offset = abs(self.devices[gap.device].offset)
		since, until = naive(gap.since - offset), naive(gap.until + offset)
		return (event.device == gap.device) & event.occurred_at_utc[since:until]

	def _lies_in(self, gap: Gap, moment: datetime) -> bool:
		ours = moment + self.devices[gap.device].offset
		return gap.since - CONTACT_TOLERANCE <= ours <= (gap.until or self.now) + CONTACT_TOLERANCE

	# Readings.

	def _queue_for_gaps(
		self, waiting: Sequence[Gap], judged: Mapping[str, Gap], evidence: Mapping[str, Evidence]
	) -> dict[str, Gap]:
		"""Have the histories read for what is still missing; the gaps that wait for it, as they are then."""
		under_way: dict[str, int] = defaultdict(int)
		for each in waiting:
			under_way[each.device] += evidence[each.name].answer is HistoryAnswer.RUNNING
		asked: dict[str, Gap] = {}
		readings = []
		for gap in (judged[each.name] for each in waiting):
			device = self.devices[gap.device]
			if under_way[gap.device] >= self.settings.readings or not self._may_ask(gap, device):
				continue
			under_way[gap.device] += 1
			by_number = gap.expected is not None and bool(device.latest and device.latest.number == gap.epoch)
			readings.append(history.queue_for_gap(gap, self.zone, by_number))
			running = replace(evidence[gap.name], answer=HistoryAnswer.RUNNING)
			asked[gap.name] = judge(gap, running, self.now)
		history.insert(readings, self.zone)
		return asked

	def _may_ask(self, gap: Gap, device: _Device) -> bool:
		if gap.state not in UNSETTLED or not device.history:
			return False
		if self.now - gap.noticed_at < self.settings.fetch_after:
			return False
		answer = self.answers.get(gap.name, history.Answer())
		if answer.answer is HistoryAnswer.NONE:
			return True
		# A person was needed, and has been at the device since.
		return answer.failed_at is not None and get_datetime(device.row.modified) > answer.failed_at

	def _queue_periodic(self) -> None:
		"""Have histories read again that are read every so often, from where they were proven."""
		wanted = {
			name: timedelta(minutes=minutes)
			for name, device in self.devices.items()
			if (minutes := history_minutes(device.row)) and device.history
		}
		if not wanted:
			return
		newest, under_way = history.last_periodic(wanted)
		readings = []
		for name in sorted(wanted.keys() - under_way):
			last = newest.get(name)
			if last is None or self.now - last >= wanted[name]:
				since = self._reading_begins(self.devices[name])
				readings.append(history.queue_periodic(name, since, self.now, self.zone))
		history.insert(readings, self.zone)
		frappe.db.commit()  # nosemgrep: readings may begin before the round is over

	def _reading_begins(self, device: _Device) -> datetime:
		"""Where the last proven reading ended; the first one begins when the device was entered."""
		proven = aware(device.row.proven_until_utc)
		if proven:
			return proven - self.settings.overlap
		entered = moment_of(get_datetime(device.row.creation), self.zone) or self.now
		return min(entered, self.now - self.settings.overlap)

	# Watermarks.

	def _move_watermarks(self) -> None:
		waiting, recorded = waiting_since(), self._recorded_until()
		updates = {}
		for name, device in self.devices.items():
			values = self._watermark(device, waiting.get(name), recorded.get(name))
			if any(device.row[column] != value for column, value in values.items()):
				if values["complete_until_utc"]:
					complete = aware(values["complete_until_utc"])
					values["complete_until"] = everything_before(complete, self.zone)
				updates[name] = values
				self.changed.add(name)
		frappe.db.bulk_update("Hikvision Device", updates, update_modified=False)

	def _recorded_until(self) -> dict[str, datetime]:
		"""The newest record, no later than it came, of the devices that tell by their numbers what is missing."""
		newest = {
			numbered_name(name, device.latest.number, device.latest.highest): (name, device.latest.highest_at)
			for name, device in self.devices.items()
			if device.tells_by_numbers and device.latest and device.latest.highest_at
		}
		came = gaps.came_at(newest, self.zone) if newest else {}
		return {device: min(made, came.get(record, made)) for record, (device, made) in newest.items()}

	def _watermark(
		self, device: _Device, waiting: datetime | None, recorded: datetime | None
	) -> dict[str, Any]:
		row = device.row
		coverage = Coverage(
			device=device.name,
			heard_until=device.contact.until if device.contact else None,
			proven_until=aware(row.proven_until_utc),
			recorded_until=recorded,
			waiting_since=waiting,
			clock_offset=row.clock_offset or 0.0,
		)
		mark = watermark(coverage, device.gaps, aware(row.complete_until_utc))
		moment = mark.moment.replace(microsecond=0) if mark.moment else None
		return {
			"complete_until_utc": naive(moment),
			"held_by": mark.held_by.value,
			"held_by_gap": mark.gap or None,
		}


def _range(gap: Gap, bound: int | None) -> tuple[int, int] | None:
	"""The numbers of a gap, known before or by its bound now."""
	if gap.first_serial is not None and gap.last_serial is not None:
		first, last = gap.first_serial, gap.last_serial
	elif bound is not None and gap.after_serial is not None:
		first, last = gap.after_serial + 1, bound - 1
	else:
		return None
	return (first, last) if last >= first else None


def _absorbed(judged: Mapping[str, Gap]) -> dict[str, str]:
	"""Jumps that a break turned out to have caused, with the break, which says the same and more."""
	breaks = defaultdict(list)
	for gap in judged.values():
		if gap.cause is not Cause.SERIAL_JUMP and gap.missing:
			breaks[gap.device].append(gap)
	return {
		gap.name: outer.name
		for gap in judged.values()
		if gap.cause is Cause.SERIAL_JUMP
		for outer in breaks[gap.device]
		if outer.holds(gap)
	}


def _present(ranges: Mapping[str, tuple[Gap, int, int]], chunk: int = 100) -> dict[str, int]:
	"""How many rows of the ledger each range holds; one statement for every hundred ranges."""
	found: dict[str, int] = {}
	names = sorted(ranges)
	for start in range(0, len(names), chunk):
		counts = [_count(*ranges[name], name) for name in names[start : start + chunk]]
		union = counts[0]
		for query in counts[1:]:
			union = union.union_all(query)
		found.update(union.run())
	return found


def _count(gap: Gap, first: int, last: int, name: str) -> Any:
	event = frappe.qb.DocType("Access Event")
	return (
		frappe.qb.from_(event)
		.select(frappe.qb.terms.ValueWrapper(name), Count("*"))
		.where((event.device == gap.device) & (event.epoch == gap.epoch))
		.where(event.serial_no[first:last])
	)


def waiting_since() -> dict[str, datetime]:
	"""The oldest pass of each device that is not worked off or not matched; UTC by the device's clock.

	Looks at what waits alone: MariaDB would rather go through the whole ledger in the order of devices, when much waits.
	"""
	rows = _waiting_query().run()
	return {device: moment.replace(tzinfo=timezone.utc) for device, moment in rows}


def _waiting_query() -> Any:
	event = frappe.qb.DocType("Access Event")
	query = (
		frappe.qb.from_(event)
		.select(event.device, Min(event.occurred_at_utc))
		.where(event.state.isin([state.value for state in HOLDING]))
		.groupby(event.device)
	)
	return query.force_index("state_occurred_at_utc_index") if frappe.db.db_type == "mariadb" else query
