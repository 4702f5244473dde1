"""No pass is lost in silence, whatever happens in whatever order: a device, a listener, a ledger, held against the truth.

An ordinary run tries the same examples on every machine. ``HYPOTHESIS_PROFILE=deep`` looks longer and further, elsewhere
each time (or where ``--hypothesis-seed`` says): what it finds becomes a step-by-step test, or a sentence of the model.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hikvision_frappe.core.event import AccessEvent, Source
from hikvision_frappe.core.gaps import UNRESOLVED, UNSETTLED, Cause, Gap, GapReason, GapState
from hikvision_frappe.core.identity import RESET_EVIDENCE
from hikvision_frappe.core.watermark import MARGIN
from hikvision_frappe.isapi.parsing import ParseContext, read_event
from hikvision_frappe.listener.local_completeness import KeeperSettings
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import (
	ConnectionState,
	DeviceReport,
	HistoryReport,
	HistoryState,
	IngestMode,
	ListenerReport,
)
from tests.simulated_truth import (
	KEY,
	KINDS,
	START,
	Door,
	Ear,
	Kind,
	Reading,
	Truth,
	begin_reading,
	config_of,
	row,
)

PERSONS = st.sampled_from(["0007", "0008"])
LEASE = 45.0
PATIENCE = KeeperSettings(tend_seconds=0, patience=timedelta(minutes=2), retry_least=1, retry_most=20)
CLOSE = timedelta(seconds=2)  # clocks of whole seconds
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


class NoPassIsLost(RuleBasedStateMachine):
	"""One device of any kind, from its entry at the site."""

	@initialize(
		kind=st.sampled_from(KINDS), first_serial=st.sampled_from([0, 400, 99_990]), before=st.integers(0, 3)
	)
	def enter(self, kind: Kind, first_serial: int, before: int) -> None:
		self.now = START
		self.kind = kind
		self.door = Door(kind, first_serial)
		self.ear = Ear(self.door)
		self.listener = 1
		self.reading: Reading | None = None
		self.first_contact: datetime | None = None
		self.watermark: datetime | None = None
		self.known_offset = 0.0  # to the site
		self.set_back = False
		self.other_clock: set[int] = set()  # positions of records from before the clock was last set
		self.behind: set[int] = set()  # positions of records that an unknown clock jump put into the past
		self.wiped: set[int] = set()  # positions of records that were wiped before they were pushed
		self.site = LocalSite(":memory:", [config_of(kind)], settings=PATIENCE, clock=lambda: self.now)
		for _ in range(before):
			self.door.make(self.now, "0007")
		self.door.pushed_until = before

	def teardown(self) -> None:
		if not hasattr(self, "site"):
			return
		try:
			self.settle()
			self.tell_everything()
		finally:
			self.site.close()

	# What happens.

	@rule(seconds=st.sampled_from([1, 2, 5, 20, 45, 150, 700]))
	def time_goes_by(self, seconds: int) -> None:
		self.now += timedelta(seconds=seconds)

	@rule(persons=st.lists(PERSONS, min_size=1, max_size=8))
	def people_pass(self, persons: list[str]) -> None:
		for person in persons:
			while self.is_like_a_wiped_one(person):
				self.now += timedelta(seconds=1)
			record = self.door.make(self.now, person)
			self.ear.made(record)
			if self.is_behind(record):
				self.behind.add(record.position)

	def is_like_a_wiped_one(self, person: str) -> bool:
		"""A clock that was set back comes to the same second again: without numbers the two would be one."""
		if self.kind.tells_numbers:
			return False
		content = (int((self.now + self.door.skew).timestamp()), person)
		return any(each.content == content for each in self.door.log[: self.door.start])

	def is_behind(self, record: Truth) -> bool:
		"""The clock was set back, and the site does not know yet (the listener may have measured it since, and not have
		told), or its watermark has passed that time already."""
		measured = self.ear.clock_offset
		known = self.known_offset if measured is None else min(self.known_offset, measured)
		unknown = -self.door.skew.total_seconds() > known
		passed = self.watermark is not None and record.occurred_at < self.watermark
		return unknown or (passed and self.set_back)

	@precondition(lambda self: not self.kind.heartbeats)  # whose clock nobody can read
	@rule(seconds=st.sampled_from([-3600, -90, 90, 3600]))
	def the_clock_jumps(self, seconds: int) -> None:
		assume(abs(self.door.skew + timedelta(seconds=seconds)) <= timedelta(hours=2))
		self.set_clock(self.door.skew + timedelta(seconds=seconds))

	def set_clock(self, skew: timedelta) -> None:
		if skew != self.door.skew:
			self.other_clock.update(range(len(self.door.log)))
		self.set_back |= skew < self.door.skew
		self.door.skew = skew

	@rule()
	def the_device_is_reset(self) -> None:
		"""The new count must be recognisable: smaller numbers, and clearly younger records."""
		self.now += timedelta(minutes=3)
		if self.kind.tells_numbers:
			newest = max((each.occurred_at for each in self.door.log), default=START)
			assume(self.door.last_serial > 200 and self.now + self.door.skew > newest + RESET_EVIDENCE)
		self.lose_stream()
		self.reading = None
		self.what_waits_is_wiped()
		self.door.forget_all(0)

	@rule()
	def the_log_is_cleared(self) -> None:
		"""By an administrator; the count goes on. Without numbers, equal records of one second would be one, told or not."""
		self.now += timedelta(seconds=7)
		self.reading = None
		self.what_waits_is_wiped()
		self.door.clear()

	@rule(first_serial=st.sampled_from([50, 700]))
	def the_device_is_replaced(self, first_serial: int) -> None:
		"""By one with other numbers: equal ones in the same second cannot be told from the old ones."""
		self.now += timedelta(minutes=5)
		self.lose_stream()
		self.reading = None
		self.what_waits_is_wiped()
		self.door.hardware_number += 1
		self.set_clock(timedelta())
		self.door.forget_all(first_serial + 1000 * self.door.hardware_number)

	def what_waits_is_wiped(self) -> None:
		"""A heartbeat says that nothing waits to be pushed, never that nothing was wiped before it: only the next number
		tells, and then a gap does. Until then nobody can know, and the watermark follows the heartbeats."""
		waiting = self.door.next_push() if self.kind.heartbeats else None
		if waiting is not None:
			self.wiped.update(range(waiting.position, len(self.door.log)))

	@rule()
	def the_listener_dies(self) -> None:
		self.ear.restart()
		self.reading = None
		self.listener += 1

	@precondition(lambda self: self.ear.spool.waiting)
	@rule(count=st.integers(1, 30), crash=st.booleans())
	def the_spool_is_forwarded(self, count: int, crash: bool) -> None:
		"""With a crash between the commit and its acknowledgement."""
		batch = [event for event, _ in zip(self.ear.spool.waiting, range(count), strict=False)]
		self.site.deliver(batch)
		if crash:
			self.the_listener_dies()
		else:
			self.ear.spool.drop(len(batch))

	@rule()
	def the_listener_reports(self) -> None:
		contact = self.ear.contact.told(self.ear.spool.settled)
		if contact is not None and self.first_contact is None:
			self.first_contact = contact.since
		report = DeviceReport(
			KEY, ConnectionState.CONNECTED, self.now, clock_offset=self.ear.clock_offset, contact=contact
		)
		self.known_offset = self.ear.clock_offset or 0.0
		self.site.report(ListenerReport(f"listener {self.listener}", self.now, devices=(report,)))

	@precondition(lambda self: any(gap.state is GapState.UNRECOVERABLE for gap in self.site.gaps()))
	@rule()
	def hr_accepts_what_nobody_can_fill(self) -> None:
		for gap in self.site.gaps():
			if gap.state is GapState.UNRECOVERABLE:
				assert self.site.accept_gap(gap.name, "known")

	# Streams.

	@precondition(lambda self: self.kind.mode is IngestMode.STREAM and self.ear.wire is None)
	@rule()
	def the_stream_is_opened(self) -> None:
		self.ear.connect(self.now)

	@precondition(lambda self: self.ear.wire is not None)
	@rule(silent=st.booleans())
	def the_stream_is_lost(self, silent: bool) -> None:
		self.ear.lose(Cause.SILENCE if silent else Cause.RECONNECT)

	@precondition(lambda self: self.ear.wire)
	@rule(count=st.integers(1, 20), times=st.integers(1, 2), dice=st.randoms(use_true_random=False))
	def the_stream_tells(self, count: int, times: int, dice: object) -> None:
		"""Some of it, perhaps twice, live records in any order."""
		wire = self.ear.wire
		assert wire is not None
		parts = [wire.popleft() for _ in range(min(count, len(wire)))]
		live = [part for part in parts if part.live]
		dice.shuffle(live)  # type: ignore[attr-defined]
		for part in [part for part in parts if not part.live] + live:
			self.ear.hear([part] * times, self.now)

	@precondition(lambda self: self.ear.wire is not None)
	@rule()
	def the_stream_beats(self) -> None:
		"""A heartbeat stands behind everything that was sent before."""
		assert self.ear.wire is not None
		while self.ear.wire:
			self.ear.hear([self.ear.wire.popleft()], self.now)
		self.ear.hear([], self.now)

	# Pushes.

	@precondition(lambda self: self.kind.mode is IngestMode.PUSH and self.door.next_push())
	@rule(count=st.integers(1, 20), heard=st.sampled_from(["yes", "yes", "yes", "answer lost", "refused"]))
	def the_device_pushes(self, count: int, heard: str) -> None:
		"""In order, each until it is acknowledged; an answer that is lost makes it push again."""
		for _ in range(count):
			record = self.door.next_push()
			if record is None:
				return
			if heard == "refused":
				self.ear.refuse_push(self.now)
				return
			self.ear.take_push(record, self.now)
			if heard == "answer lost":
				return
			self.door.pushed_until = record.position + 1

	@precondition(lambda self: self.kind.heartbeats)
	@rule()
	def the_device_pushes_a_heartbeat(self) -> None:
		"""A device that can post a heartbeat has posted the records before it."""
		waiting = self.door.next_push()
		if waiting is None or waiting.made_at >= self.now - MARGIN:
			self.ear.take_heartbeat(self.now)

	# History.

	@precondition(lambda self: self.kind.history and self.reading is None)
	@rule()
	def a_reading_begins(self) -> None:
		name = f"listener {self.listener}"
		self.site.devices(name, LEASE)
		for task in self.site.history_tasks(name, LEASE):
			self.ear.clock_offset = -self.door.skew.total_seconds()
			self.reading = begin_reading(self.door, task, self.now)

	@precondition(lambda self: self.reading is not None)
	@rule(page=st.integers(1, 30), end=st.booleans())
	def a_page_is_read(self, page: int, end: bool) -> None:
		reading = self.reading
		assert reading is not None
		batch = reading.events[reading.delivered : reading.delivered + page]
		if batch:
			reading.new += self.site.deliver(batch).new
			reading.delivered += len(batch)
		if end and reading.delivered >= len(reading.events):
			self.reading_ends(reading, HistoryState.PROVEN if reading.proven else HistoryState.UNPROVEN)

	@precondition(lambda self: self.reading is not None)
	@rule()
	def a_reading_fails(self) -> None:
		assert self.reading is not None
		self.reading_ends(self.reading, HistoryState.FAILED)

	@precondition(lambda self: self.kind.history)
	@rule(since=st.integers(0, 3000), length=st.integers(0, 3000))
	def a_user_asks_for_history(self, since: int, length: int) -> None:
		begins = self.now - timedelta(seconds=since)
		self.site.ask_history(KEY, begins, min(self.now, begins + timedelta(seconds=length)))

	def reading_ends(self, reading: Reading, state: HistoryState) -> None:
		self.reading = None
		self.site.report_history(
			HistoryReport(
				reading.task.name,
				KEY,
				state,
				rows=reading.delivered,
				new=reading.new,
				total=len(reading.events),
				numbered=self.kind.numbered_history if reading.delivered else None,
				retry=state is HistoryState.FAILED,
			)
		)

	# What must hold.

	@invariant()
	def every_row_is_a_record_and_no_record_is_twice(self) -> None:
		if not hasattr(self, "site"):
			return
		rows = self.site.rows()
		truth = Counter((each.serial_no, *each.content) for each in self.door.log)
		told = Counter((each.serial_no, each.occurred_second, each.person) for each in rows if each.serial_no)
		assert not told - truth
		contents = Counter((each.occurred_second, each.person) for each in rows)
		assert not contents - Counter(each.content for each in self.door.log)

	@invariant()
	def a_watermark_never_goes_back_nor_passes_a_missing_record(self) -> None:
		if not hasattr(self, "site"):
			return
		mark = self.site.watermarks().get(KEY)
		if mark is None or mark.moment is None:
			return
		assert self.watermark is None or mark.moment >= self.watermark
		self.watermark = mark.moment
		gaps = self.site.gaps()
		for record in self.missing():
			if record.occurred_at < mark.moment and record.position not in self.behind | self.wiped:
				assert any(gap.state is GapState.ACCEPTED and covers(gap, record) for gap in gaps), (
					self.story(record)
				)

	def missing(self) -> list[Truth]:
		"""Records that are not in the ledger and should be: those that it began with are not ours."""
		rows = self.site.rows()
		numbers = Counter(
			(each.serial_no, each.occurred_second, each.person) for each in rows if each.serial_no
		)
		unnumbered = Counter((each.occurred_second, each.person) for each in rows if not each.serial_no)
		missing = []
		for record in self.door.log:
			key = (record.serial_no, *record.content)
			if numbers[key]:
				numbers[key] -= 1
			elif unnumbered[record.content]:
				unnumbered[record.content] -= 1
			else:
				missing.append(record)
		told = sorted({each.position for each in self.door.log} - {each.position for each in missing})
		first = told[0] if told else len(self.door.log)
		runs = {self.door.log[position].run: position for position in reversed(told)}
		return [
			record
			for record in missing
			if not self.is_before_us(record, first, runs) and not self.is_out_of_time(record, runs)
		]

	def is_out_of_time(self, record: Truth, runs: dict[int, int]) -> bool:
		"""Made at another time than its clock said, which was put right: a history that is asked for that time does not
		tell it, and only a number before it would show that it is missing. runs: the first position told of each."""
		if record.position not in self.other_clock or not self.kind.history:
			return False
		return not self.kind.numbered_history or runs.get(record.run, len(self.door.log)) > record.position

	def is_before_us(self, record: Truth, first: int, runs: dict[int, int]) -> bool:
		"""Also a whole count of which nothing was ever heard and that was wiped out, when the next one begins at 1,
		heartbeats go on, or the device's history is read without a fault: nobody can see then that there was another."""
		if self.first_contact is not None and record.made_at <= self.first_contact:
			return True
		seems_new = first < len(self.door.log) and self.door.log[first].serial_no == 1
		if record.position < first and (self.first_contact is None or seems_new or self.kind.heartbeats):
			return True
		return record.position < first and any(
			gap.reason is GapReason.PROVEN_BY_HISTORY and covers(gap, record) for gap in self.site.gaps()
		)

	def settle(self) -> None:
		"""Let everybody do what they do by themselves, and have a last pass; then nothing may be missing in silence."""
		self.all_goes_well(seconds=120)
		self.people_pass(["0008"])
		self.all_goes_well(seconds=300)
		if self.missing_in_silence():
			self.the_clock_catches_up()
		for record in self.missing_in_silence():
			raise AssertionError(self.story(record))

	def missing_in_silence(self) -> list[Truth]:
		gaps = [gap for gap in self.site.gaps() if gap.state in UNRESOLVED or gap.state is GapState.ACCEPTED]
		return [record for record in self.missing() if not any(covers(gap, record) for gap in gaps)]

	def all_goes_well(self, seconds: int) -> None:
		for _ in range(seconds // 30):
			self.now += timedelta(seconds=30)
			self.everything_is_told()
			self.histories_are_read()
			self.a_watermark_never_goes_back_nor_passes_a_missing_record()

	def everything_is_told(self) -> None:
		if self.kind.mode is IngestMode.STREAM:
			if self.ear.wire is None:
				self.the_stream_is_opened()
			self.the_stream_beats()
		if self.kind.mode is IngestMode.PUSH:
			self.the_device_pushes(len(self.door.log), "yes")
		if self.kind.heartbeats:
			self.the_device_pushes_a_heartbeat()
		self.site.deliver(list(self.ear.spool.waiting))
		self.ear.spool.drop(len(self.ear.spool.waiting))
		self.the_listener_reports()

	def histories_are_read(self) -> None:
		while self.kind.history:
			if self.reading is None:
				self.a_reading_begins()
			if self.reading is None:
				return
			self.a_page_is_read(len(self.reading.events) or 1, True)

	def tell_everything(self) -> None:
		"""Somebody has kept all of it: the ledger is the truth, and no gap waits for anything."""
		self.site.deliver([self.numbered(record) for record in self.door.log])
		assert Counter(
			(row.serial_no, row.occurred_second, row.person) for row in self.site.rows()
		) == Counter((each.serial_no, *each.content) for each in self.door.log)
		self.people_pass(["0007"])
		self.all_goes_well(seconds=300)
		if self.waiting_gaps():
			self.the_clock_catches_up()
		assert not self.waiting_gaps(), self.story()

	def waiting_gaps(self) -> list[Gap]:
		return [gap for gap in self.site.gaps() if gap.state in UNSETTLED and not self.is_just_made(gap)]

	def the_clock_catches_up(self) -> None:
		"""A clock that was set back hides that a record is younger than a gap, or that the count began anew, until it
		says what it said before: so long a gap stays open, and the watermark stands still."""
		ends = [gap.until for gap in self.site.gaps() if gap.until is not None]
		latest = max(ends + [each.occurred_at for each in self.door.log]) + RESET_EVIDENCE
		behind = latest - (self.now + self.door.skew)
		if not self.set_back or behind <= timedelta():
			return
		self.now += behind
		self.all_goes_well(seconds=60)
		self.people_pass(["0008"])
		self.all_goes_well(seconds=300)

	def is_just_made(self, gap: Gap) -> bool:
		"""While nothing proves a device that is only read, a new gap takes over every few readings, and is read once."""
		return gap.cause is Cause.NOT_READ and self.now - gap.noticed_at <= timedelta(minutes=1)

	def numbered(self, record: Truth) -> AccessEvent:
		context = ParseContext(KEY, "UTC", True, Source.HISTORY, record.hardware)
		event = read_event(row(record, numbered=True), context, self.now)
		assert event is not None
		return event

	def story(self, record: Truth | None = None) -> str:
		lines = [f"{each.name}: {each.cause.value} {each.since:%T} to {each.until or each.since:%T}, epoch {each.epoch} "
			f"after {each.after_serial}, {each.first_serial} to {each.last_serial}: {each.state.value}, {each.reason.value}"
			for each in self.site.gaps()]  # fmt: skip
		return "\n".join([f"now {self.now:%T}", str(record or ""), *lines])

	def lose_stream(self) -> None:
		if self.ear.wire is not None:
			self.ear.lose(Cause.RECONNECT)


def covers(gap: Gap, record: Truth) -> bool:
	"""By its numbers, or by its time: the real one, or what the device took for it while nobody knew better."""
	first, last = gap.first_serial, gap.last_serial
	if first is not None and last is not None and first <= record.serial_no <= last:
		return True
	if (
		gap.cause is Cause.SERIAL_JUMP
		and gap.after_serial is not None
		and record.serial_no > gap.after_serial
	):
		return True  # a count that ended after this number, nobody knows when
	return any(
		gap.since - CLOSE <= at and (gap.until is None or at <= gap.until + CLOSE)
		for at in (record.made_at, record.occurred_at)
	)


NoPassIsLost.TestCase.settings = settings(
	max_examples=5_000 if DEEP else 150,
	derandomize=not DEEP,  # an ordinary run is the same everywhere and always; the deep one explores
	stateful_step_count=80 if DEEP else 40,
	deadline=None,
	print_blob=True,
	report_multiple_bugs=False,
	suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestNoPassIsLost = NoPassIsLost.TestCase


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.history], ids=str)
@pytest.mark.parametrize("is_reset", [False, True], ids=["cleared", "reset"])
def test_what_a_wiped_log_held_since_the_last_reading_is_not_taken_for_proven(
	kind: Kind, is_reset: bool
) -> None:
	"""Chance hardly ever makes passes that nobody hears, a wipe and a pass between two readings."""
	it = NoPassIsLost()
	it.enter(kind, 400, 1)
	it.all_goes_well(seconds=120)
	it.people_pass(["0007"])
	it.all_goes_well(seconds=120)
	it.lose_stream()
	it.people_pass(["0008"])
	it.time_goes_by(150)
	it.the_log_is_cleared()
	if is_reset:
		it.door.forget_all(0)
	it.people_pass(["0007"])
	it.all_goes_well(seconds=600)  # looks at the watermark again and again
	it.site.close()


def machine(kind_name: str, first_serial: int = 400) -> NoPassIsLost:
	it = NoPassIsLost()
	it.enter(next(kind for kind in KINDS if kind.name == kind_name), first_serial, 0)
	return it


def test_what_was_wiped_before_it_was_pushed_is_a_gap_when_the_next_number_comes() -> None:
	it = machine("push + heartbeats")
	it.people_pass(["0007"])
	it.all_goes_well(seconds=60)
	it.time_goes_by(5)
	it.people_pass(["0007"])
	it.the_log_is_cleared()
	it.all_goes_well(seconds=60)
	assert it.missing() and not it.site.gaps()  # heartbeats go on, and nobody can know
	it.people_pass(["0007"])
	it.all_goes_well(seconds=60)
	assert [(gap.first_serial, gap.last_serial) for gap in it.site.gaps()] == [(402, 402)]
	it.teardown()


@pytest.mark.parametrize("seconds", [-90, -3600])
@pytest.mark.parametrize("kind", ["stream without replay", "stream with the last 10", "stream with all"])
def test_a_count_that_begins_anew_while_the_clock_is_set_back_is_told_when_the_clock_has_caught_up(
	kind: str, seconds: int
) -> None:
	it = machine(kind)
	it.people_pass(["0007"])
	it.all_goes_well(seconds=60)
	it.time_goes_by(150)
	it.lose_stream()
	it.door.forget_all(0)
	it.set_clock(timedelta(seconds=seconds))
	it.people_pass(["0008", "0008"])
	it.teardown()


@pytest.mark.parametrize("pushed", [0, 1])
@pytest.mark.parametrize("more", [0, 8])
def test_a_count_that_wraps_while_the_clock_is_set_back_is_told_when_the_clock_has_caught_up(
	pushed: int, more: int
) -> None:
	it = machine("push", 99_990)
	it.people_pass(["0007"] * (2 + more))
	it.set_clock(timedelta(hours=-1))
	if pushed:
		it.the_device_pushes(pushed, "yes")
	it.the_log_is_cleared()
	it.people_pass(["0007"] * 6)
	it.teardown()


def test_what_a_replaced_device_lost_before_anything_but_one_record_was_known_is_not_taken_for_proven() -> (
	None
):
	"""Its log is empty, and the one record lies beside a loss that people know."""
	it = machine("stream + history", 0)
	it.the_stream_is_opened()
	it.the_listener_reports()
	it.the_listener_dies()
	it.the_device_is_replaced(50)
	it.the_stream_is_opened()
	it.people_pass(["0007"])
	it.the_stream_beats()
	it.the_listener_reports()
	it.the_device_is_replaced(50)
	it.the_listener_dies()
	it.people_pass(["0007"])
	it.the_device_is_replaced(50)
	it.teardown()


def test_what_was_lost_before_a_second_wipe_is_not_taken_for_proven() -> None:
	"""The only record of the count that was wiped again lies within the loss that the first wipe was."""
	it = machine("stream + history that forgets")
	it.people_pass(["0007"])
	it.all_goes_well(seconds=60)
	for person in ("0007", "0008"):
		it.time_goes_by(150)
		it.lose_stream()
		it.people_pass([person])
		it.time_goes_by(150)
		it.door.forget_all(0)
		it.people_pass([person] if person == "0007" else [])
		it.time_goes_by(150)
		it.all_goes_well(seconds=60)
	it.teardown()
