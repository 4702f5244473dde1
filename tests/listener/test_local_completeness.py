"""What a local site knows to be missing: contacts become gaps, gaps become readings, notices come once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from listener_support import MORNING, a_device, a_pass

from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.core.gaps import Cause, Contact, GapReason, GapState
from hikvision_frappe.core.watermark import MARGIN, HeldBy
from hikvision_frappe.listener.local_completeness import KeeperSettings, NoticeKind
from hikvision_frappe.listener.local_history import Purpose
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import (
	ConnectionState,
	DeviceConfig,
	DeviceReport,
	HistoryReport,
	HistoryState,
	HistoryTask,
	IngestMode,
	ListenerReport,
)

STREAM = a_device("gate", mode=IngestMode.STREAM)
WITH_HISTORY = replace(STREAM, history=True)
PATIENCE = KeeperSettings(tend_seconds=0.0, retry_least=5.0, retry_most=20.0)


def at(seconds: float) -> datetime:
	return MORNING + timedelta(seconds=seconds)


class World:
	"""A site at a time of the test's own; seconds are those since ``MORNING``."""

	def __init__(self, path: Path | str, *devices: DeviceConfig, settings: KeeperSettings = PATIENCE) -> None:
		self.now = MORNING
		self.site = LocalSite(path, devices, settings=settings, clock=lambda: self.now)

	def tells(self, *serials: int | None, live: bool = True, **changes: Any) -> None:
		"""Records made now, told now."""
		values = {"at": self.now, "received_at": self.now, "live": live, **changes}
		self.site.deliver([a_pass(serial, **values) for serial in serials])

	def hears(
		self, since: float, until: float, reason: Cause = Cause.RECONNECT, offset: float | None = None
	) -> None:
		"""A listener reports a contact, at its end."""
		self.now = max(self.now, at(until))
		contact = Contact(at(since), at(until), reason)
		report = DeviceReport(
			"gate", ConnectionState.CONNECTED, at(since), contact=contact, clock_offset=offset
		)
		self.site.report(ListenerReport("one", MORNING, devices=(report,)))

	def comes(self, seconds: float) -> None:
		"""The time comes, and the keeper looks."""
		self.now = at(seconds)
		self.site.tend()

	def tasks(self, listener: str = "one") -> list[HistoryTask]:
		self.site.devices(listener, 30)
		return list(self.site.history_tasks(listener, 30))

	def answers(self, task: HistoryTask, state: HistoryState = HistoryState.PROVEN, **more: Any) -> bool:
		return self.site.report_history(HistoryReport(task.name, task.device, state, **more))

	@property
	def states(self) -> list[tuple[GapState, GapReason]]:
		return [(gap.state, gap.reason) for gap in self.site.gaps()]

	@property
	def told(self) -> list[NoticeKind]:
		return [notice.kind for notice in self.site.notices()]

	@property
	def complete_until(self) -> datetime | None:
		return self.site.watermarks()["gate"].moment


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
	worlds: list[World] = []

	def make(*devices: DeviceConfig, **more: Any) -> World:
		worlds.append(World(":memory:", *devices, **more))
		return worlds[-1]

	yield make
	for each in worlds:
		each.site.close()


# Gaps.


def test_a_jump_is_noticed_with_the_next_event_and_over_with_the_last_missing_row(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.tells(4)
	(gap,) = it.site.gaps()
	assert (gap.cause, gap.first_serial, gap.last_serial) == (Cause.SERIAL_JUMP, 2, 3)
	it.tells(2, live=False)
	it.comes(1)
	assert it.site.gaps()[0].missing == 1
	it.tells(3, live=False)
	it.comes(2)
	assert it.states == [(GapState.RECOVERED, GapReason.ROWS_ARRIVED)]


def test_without_a_jump_a_delivery_writes_no_gap_and_asks_nothing_more(world) -> None:
	it = world(STREAM)
	it.tells(1)
	statements: list[str] = []
	it.site._connection.set_trace_callback(statements.append)
	it.tells(2)
	assert not [text for text in statements if "gap" in text]


def test_a_reconnect_is_a_gap_until_the_next_record_proves_that_nothing_was_missed(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.hears(20, 25)
	assert it.states == [(GapState.OPEN, GapReason.AWAITING_RECORD)]
	it.now = at(30)
	it.tells(2)
	it.comes(31)
	assert it.states == [(GapState.RECOVERED, GapReason.NOTHING_MISSED)]
	assert it.told == []


def test_a_reconnect_whose_proof_came_before_its_report_is_no_gap(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.now = at(22)
	it.tells(2)
	it.hears(20, 25)
	assert it.site.gaps() == []


def test_what_is_told_again_after_a_break_does_not_prove_its_end(world) -> None:
	"""Record 3 was made in the break and is replayed; that nothing follows it is not said by it."""
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.now = at(22)
	it.tells(3, live=False, at=at(15))
	it.hears(20, 25)
	states = {(gap.cause, gap.state, gap.first_serial) for gap in it.site.gaps()}
	assert (Cause.RECONNECT, GapState.OPEN, None) in states


def test_a_count_that_began_again_in_a_break_leaves_it_unrecoverable(world) -> None:
	it = world(STREAM)
	it.tells(480)
	it.hears(0, 10)
	it.hears(600, 610)
	it.now = at(620)
	it.tells(1)
	it.comes(620 + 700)
	assert (GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED) in it.states


def test_a_count_that_began_again_without_contacts_opens_a_gap_of_its_own(world) -> None:
	it = world(a_device("gate"))
	it.tells(480)
	it.now = at(900)
	it.tells(1)
	(gap,) = it.site.gaps()
	assert (gap.epoch, gap.after_serial, gap.since, gap.until) == (1, 480, at(0), at(900))
	it.comes(900 + 601)
	assert it.states == [(GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED)]


def test_a_lost_clock_proves_nothing(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.now = at(22)
	it.tells(2, live=False, at=at(10_000_000), time_quality=TimeQuality.IMPLAUSIBLE)
	it.hears(20, 25)
	assert [gap.state for gap in it.site.gaps()] == [GapState.OPEN]


def a_loss_with_two_names(world) -> Any:
	"""A jump that people were told of, and a break whose next record has still to show that it is the same loss."""
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.hears(20, 25)
	it.now = at(26)
	it.tells(5, live=False, at=at(20))
	it.hears(20, 700)
	it.comes(701)
	assert [gap.cause for gap in it.site.gaps() if gap.state is GapState.UNRECOVERABLE] == [Cause.SERIAL_JUMP]
	assert it.told == [NoticeKind.UNRECOVERABLE]
	return it


def test_a_loss_that_has_two_names_is_told_once(world) -> None:
	it = a_loss_with_two_names(world)
	it.now = at(702)
	it.tells(6)
	it.hears(20, 1400)
	it.comes(1401)
	(gap,) = it.site.gaps()
	assert (gap.cause, gap.state, gap.missing) == (Cause.RECONNECT, GapState.UNRECOVERABLE, 3)
	assert it.told == [NoticeKind.UNRECOVERABLE]
	it.tells(2, 3, 4, live=False, at=at(15))
	it.comes(1402)
	assert [gap.state for gap in it.site.gaps()] == [GapState.RECOVERED]


def test_a_loss_that_has_two_names_is_accepted_once(world) -> None:
	it = a_loss_with_two_names(world)
	(jump,) = [gap for gap in it.site.gaps() if gap.cause is Cause.SERIAL_JUMP]
	assert it.site.accept_gap(jump.name, "written down by hand")
	it.now = at(702)
	it.tells(6)
	it.hears(20, 1400)
	it.comes(1401)
	assert {gap.state for gap in it.site.gaps()} == {GapState.ACCEPTED}
	assert it.told == [NoticeKind.UNRECOVERABLE]


def test_a_break_that_missed_more_than_people_were_told_of_is_told(world) -> None:
	it = a_loss_with_two_names(world)
	it.now = at(702)
	it.tells(9)
	it.hears(20, 1400)
	it.comes(1401)
	(gap,) = it.site.gaps()
	assert (gap.state, gap.missing) == (GapState.UNRECOVERABLE, 6)
	assert it.told == [NoticeKind.UNRECOVERABLE] * 2


def test_people_accept_what_nobody_can_fill_and_the_watermark_goes_on(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.hears(20, 25)
	it.now = at(26)
	it.tells(5)
	it.hears(20, 30)
	it.comes(700)
	unrecoverable = [gap for gap in it.site.gaps() if gap.state is GapState.UNRECOVERABLE]
	assert it.told.count(NoticeKind.UNRECOVERABLE) == len(unrecoverable) == 1
	assert it.complete_until == at(10) - MARGIN
	assert it.site.accept_gap(unrecoverable[0].name, "written down by hand")
	it.hears(20, 720)
	assert it.complete_until == at(720) - MARGIN
	assert not it.site.accept_gap(unrecoverable[0].name, "again")


# Outages.


def test_an_outage_is_told_once_and_its_end_once(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	for seconds in (60, 129, 131, 140, 500):
		it.comes(seconds)
	assert it.told == [NoticeKind.OUTAGE]
	assert it.states == [(GapState.OPEN, GapReason.GOING_ON)]
	assert not it.site.accept_gap(it.site.gaps()[0].name, "not while it lasts")
	it.hears(600, 605)
	it.hears(600, 610)
	(gap,) = it.site.gaps()
	assert (gap.since, gap.until, gap.cause) == (at(10), at(600), Cause.RECONNECT)
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY]


def test_a_short_reconnect_rings_no_bell(world) -> None:
	it = world(STREAM)
	it.hears(0, 10)
	it.hears(20, 100)
	assert it.told == []


def test_a_contact_that_had_only_been_told_late_was_no_outage(world) -> None:
	it = world(STREAM)
	it.hears(0, 10)
	it.comes(200)
	it.hears(0, 201)
	assert it.states == [(GapState.RECOVERED, GapReason.NOTHING_MISSED)]
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY]


def test_an_outage_that_began_later_than_it_seemed_is_shortened(world) -> None:
	it = world(STREAM)
	it.hears(0, 10)
	it.comes(200)
	it.now = at(400)
	it.hears(0, 100)
	(gap,) = it.site.gaps()
	assert (gap.since, gap.until) == (at(100), None)
	assert it.told == [NoticeKind.OUTAGE]


def test_a_site_that_was_away_misses_no_device_that_was_heard_all_along(world) -> None:
	"""The first report after it may know less of the devices than the next one."""
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.now = at(900)
	report = DeviceReport("gate", ConnectionState.CONNECTED, at(0), contact=Contact(at(0), at(15)))
	it.site.report(ListenerReport("one", MORNING, devices=(report,)))
	it.hears(0, 905)
	assert it.told == []
	assert it.site.gaps() == []
	it.comes(905 + 200)
	assert it.told == [NoticeKind.OUTAGE]


def test_a_contact_that_is_told_again_does_not_end_an_outage_whose_history_was_read(world) -> None:
	it = world(WITH_HISTORY)
	it.hears(0, 10)
	it.comes(200)
	it.site.ask_history("gate", at(5), at(200))
	(task,) = it.tasks()
	it.answers(task)
	it.hears(0, 10)
	it.comes(201)
	assert [gap.until for gap in it.site.gaps()] == [None]
	assert it.told == [NoticeKind.OUTAGE]


def test_a_device_that_was_never_heard_has_no_outage(world) -> None:
	it = world(STREAM)
	it.comes(10_000)
	assert it.site.gaps() == []
	assert it.site.watermarks()["gate"].held_by is HeldBy.NOTHING_HEARD


# Readings.


def a_break(it: World) -> None:
	"""Unheard from second 10 to 20, and nobody knows of what."""
	it.tells(1)
	it.hears(0, 10)
	it.hears(20, 21)


def test_a_gap_of_a_device_with_history_is_read_after_a_moment(world) -> None:
	it = world(WITH_HISTORY)
	a_break(it)
	it.comes(22)
	assert it.tasks() == []
	it.comes(27)
	(task,) = it.tasks()
	assert (task.since, task.until, task.first_serial) == (at(10), at(20), None)
	assert it.states == [(GapState.FILLING, GapReason.AWAITING_HISTORY)]
	it.tells(2, at=at(15), source=Source.HISTORY, live=False)
	assert it.answers(task, rows=1, new=1, numbered=True)
	it.comes(28)
	assert it.states == [(GapState.RECOVERED, GapReason.PROVEN_BY_HISTORY)]
	assert not it.answers(task, HistoryState.RUNNING)


def test_known_numbers_are_asked_for_and_missing_ones_are_final(world) -> None:
	it = world(WITH_HISTORY)
	it.tells(1)
	it.tells(4)
	it.comes(6)
	(task,) = it.tasks()
	assert (task.first_serial, task.last_serial) == (2, 3)
	it.tells(2, source=Source.HISTORY)
	it.answers(task, rows=1, new=1, numbered=True)
	it.comes(7)
	it.comes(8)
	assert it.states == [(GapState.UNRECOVERABLE, GapReason.NOT_IN_HISTORY)]
	assert it.told == [NoticeKind.UNRECOVERABLE]


def test_a_stretch_of_time_that_was_read_says_nothing_of_numbers_with_another_time(world) -> None:
	"""The clock was set while nobody heard: what was read by time did not hold them, what is read by number may."""
	it = world(WITH_HISTORY)
	a_break(it)
	it.comes(27)
	(task,) = it.tasks()
	it.tells(5)
	it.answers(task, rows=0, numbered=True)
	it.comes(40)
	(task,) = it.tasks()
	assert (task.first_serial, task.last_serial) == (2, 4)


def test_a_reading_that_failed_is_tried_again_later(world) -> None:
	it = world(WITH_HISTORY)
	a_break(it)
	it.comes(27)
	(task,) = it.tasks()
	it.answers(task, HistoryState.FAILED, reason="not reached", retry=True, read_until=at(14))
	it.comes(28)
	assert it.tasks() == []
	it.comes(60)
	(again,) = it.tasks()
	assert (again.name, again.resume_from) == (task.name, at(14))
	assert it.site.fetches()[0].attempts == 2


def test_a_device_that_turns_out_to_have_no_history_is_judged_without(world) -> None:
	it = world(WITH_HISTORY)
	a_break(it)
	it.comes(27)
	(task,) = it.tasks()
	it.answers(task, HistoryState.FAILED, supported=False, reason="no history")
	it.comes(30)
	assert it.states[-1] == (GapState.OPEN, GapReason.AWAITING_RECORD)
	assert it.tasks() == []


def test_a_reading_is_lent_to_the_holder_of_the_device_and_renewed_by_asking(tmp_path: Path) -> None:
	it = World(tmp_path / "ledger.sqlite3", WITH_HISTORY)
	a_break(it)
	it.comes(27)
	(task,) = it.tasks("one")
	assert it.tasks("two") == []
	assert [each.name for each in it.tasks("one")] == [task.name]
	it.now = at(27 + 31)
	assert [each.name for each in it.tasks("two")] == [task.name]
	assert it.tasks("one") == []
	it.site.release("two")
	assert [each.name for each in it.tasks("one")] == [task.name]
	it.site.close()


def test_one_reading_per_device_at_a_time_the_oldest_first(world) -> None:
	it = world(WITH_HISTORY)
	first = it.site.ask_history("gate", at(-100), at(-50))
	second = it.site.ask_history("gate", at(-50), at(-10))
	(task,) = it.tasks()
	assert task.name == first
	it.answers(task)
	assert [each.name for each in it.tasks()] == [second]
	assert {fetch.purpose for fetch in it.site.fetches()} == {Purpose.ASKED}


def test_a_history_alone_is_read_again_and_again_and_moves_the_watermark(world) -> None:
	device = a_device("gate", mode=IngestMode.HISTORY, history=True, history_seconds=60.0)
	it = world(device)
	it.comes(0)
	(task,) = it.tasks()
	assert (task.since, task.until) == (at(-86_400), at(0))
	it.answers(task, rows=0, total=0)
	it.comes(1)
	assert it.complete_until == at(0) - MARGIN
	it.comes(59)
	assert it.tasks() == []
	it.comes(60)
	(task,) = it.tasks()
	assert (task.since, task.until) == (at(-120), at(60))
	it.answers(task, HistoryState.UNPROVEN)
	it.comes(61)
	assert it.complete_until == at(0) - MARGIN


def test_a_reading_knows_the_clock_that_the_device_had_when_its_gap_began(world) -> None:
	it = world(WITH_HISTORY)
	it.hears(0, 100, offset=3600.0)
	it.hears(200, 300, offset=0.0)
	it.comes(310)
	assert [task.clock_offset for task in it.tasks()] == [3600.0]


def test_a_record_that_the_stream_before_had_told_is_not_one_made_after_the_break(world) -> None:
	it = world(STREAM)
	it.hears(0, 100)
	it.now = at(160)
	it.tells(1)
	it.hears(160, 200, Cause.LISTENER_START)
	assert it.states == [(GapState.OPEN, GapReason.AWAITING_RECORD)]


AHEAD = timedelta(hours=1)


@pytest.mark.parametrize("number", [1, 9])
def test_what_is_missing_was_made_after_the_last_record_came_whatever_the_devices_clock(
	world, number: int
) -> None:
	"""The clock was an hour ahead, and nobody knew: a count that ended, and numbers that were passed over."""
	it = world(a_device("gate", mode=IngestMode.PUSH))
	it.tells(4, 5, at=at(0) + AHEAD, source=Source.PUSH)
	it.now = at(600)
	it.tells(number, at=at(600) + AHEAD, source=Source.PUSH)
	assert [gap.since for gap in it.site.gaps() if gap.epoch == 1] == [at(0)]


def test_a_record_that_came_says_nothing_of_the_time_after_its_coming(world) -> None:
	it = world(a_device("gate", mode=IngestMode.PUSH))
	it.tells(1, at=at(0) + AHEAD, source=Source.PUSH)
	it.comes(9_000)
	assert it.complete_until == at(0)


# Devices that are only read.

READ = a_device("gate", mode=IngestMode.HISTORY, history=True, history_seconds=60.0)


def read_at(it: World, seconds: float, state: HistoryState = HistoryState.PROVEN, **more: Any) -> None:
	"""The keeper looks, and what it has read is read."""
	it.comes(seconds)
	(task,) = it.tasks()
	it.answers(task, state, **more)


def refused_from(it: World, first: int, last: int) -> None:
	"""Each period's reading fails for good, from minute to minute."""
	for minute in range(first, last + 1):
		read_at(it, 60 * minute, HistoryState.FAILED, reason="The login was refused.")


def test_a_device_that_cannot_be_read_for_good_has_one_outage_that_goes_on(world) -> None:
	it = world(READ)
	read_at(it, 0)
	refused_from(it, 1, 3)
	it.comes(180)
	assert it.told == []
	it.comes(181)
	refused_from(it, 4, 13)
	(gap,) = it.site.gaps()
	assert (gap.cause, gap.since, gap.until) == (Cause.NOT_READ, at(0), None)
	assert it.states == [(GapState.OPEN, GapReason.NOT_READ)]
	assert it.told == [NoticeKind.OUTAGE]
	assert it.complete_until == at(0) - MARGIN
	assert it.site.watermarks()["gate"].held_by is HeldBy.GAP


def test_a_device_that_can_be_read_again_is_told_once_and_has_lost_nothing(world) -> None:
	it = world(READ)
	read_at(it, 0)
	refused_from(it, 1, 9)
	read_at(it, 600, rows=3)
	it.comes(601)
	it.comes(602)
	assert it.states == [(GapState.RECOVERED, GapReason.PROVEN_BY_HISTORY)]
	assert it.site.gaps()[0].until == at(600)
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY]
	assert it.complete_until == at(600) - MARGIN


def test_a_device_that_is_tried_in_vain_again_and_again_has_an_outage(world) -> None:
	it = world(READ)
	read_at(it, 0)
	read_at(it, 60, HistoryState.FAILED, reason="not reached", retry=True)
	for seconds in (100, 140, 180):
		it.comes(seconds)
		for task in it.tasks():
			it.answers(task, HistoryState.FAILED, reason="not reached", retry=True)
	assert it.told == []
	it.comes(240)
	assert it.told == [NoticeKind.OUTAGE]
	(task,) = it.tasks()
	assert task.until == at(60)  # nobody asked for more: the device is back
	it.answers(task)
	it.comes(241)
	assert it.site.gaps()[0].until == at(60)
	read_at(it, 242)
	it.comes(243)
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY]
	assert it.complete_until == at(241) - MARGIN


def test_a_reading_that_proves_nothing_ends_an_outage_in_a_gap_for_a_person(world) -> None:
	it = world(READ)
	read_at(it, 0)
	refused_from(it, 1, 4)
	assert it.told == [NoticeKind.OUTAGE]
	read_at(it, 300, HistoryState.UNPROVEN)
	it.comes(301)
	(task,) = it.tasks()
	assert (task.since, task.until) == (at(0), at(300))
	it.answers(task, HistoryState.UNPROVEN)
	it.comes(302)
	(gap,) = it.site.gaps()
	assert (gap.until, gap.state) == (at(300), GapState.UNRECOVERABLE)
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY, NoticeKind.UNRECOVERABLE]
	assert it.site.accept_gap(gap.name, "nobody was there")
	read_at(it, 360)
	it.comes(361)
	assert it.complete_until == at(360) - MARGIN


def test_the_third_reading_that_proves_nothing_of_a_stretch_makes_a_gap_of_it(world) -> None:
	it = world(READ)
	read_at(it, 0)
	for minute in (1, 2):
		read_at(it, 60 * minute, HistoryState.UNPROVEN)
		assert it.site.gaps() == []
	read_at(it, 180, HistoryState.UNPROVEN)
	(gap,) = it.site.gaps()
	assert (gap.cause, gap.since, gap.until) == (Cause.NOT_READ, at(0), at(180))
	it.comes(186)
	(task,) = it.tasks()
	it.answers(task, HistoryState.UNPROVEN)
	it.comes(187)
	assert it.told == [NoticeKind.UNRECOVERABLE]
	assert it.site.accept_gap(gap.name, "nobody was there")
	read_at(it, 240)
	it.comes(241)
	assert it.complete_until == at(240) - MARGIN
	assert len(it.site.gaps()) == 1


def test_a_device_that_is_heard_as_well_is_not_read_from_the_same_place_for_ever(world) -> None:
	it = world(replace(STREAM, history=True, history_seconds=60.0))
	it.hears(-60, 0)
	read_at(it, 0)
	begins = []
	for minute in range(1, 8):
		it.hears(-60, 60 * minute)
		it.comes(60 * minute)
		(task,) = it.tasks()
		begins.append((task.since - at(0)).total_seconds() + PATIENCE.overlap.total_seconds())
		it.answers(task, HistoryState.UNPROVEN)
	assert begins == [0, 0, 0, 180, 180, 180, 360]
	assert it.site.gaps() == []


def prove_nothing(it: Any, minutes: range) -> None:
	for minute in minutes:
		it.comes(60 * minute)
		for task in it.tasks():
			it.answers(task, HistoryState.UNPROVEN)
		for task in it.tasks():
			it.answers(task, HistoryState.UNPROVEN)


def test_readings_that_prove_nothing_again_and_again_are_one_gap_until_a_person_accepts_it(world) -> None:
	it = world(READ)
	read_at(it, 0)
	prove_nothing(it, range(1, 10))
	(gap,) = it.site.gaps()
	assert (gap.since, gap.until, gap.state) == (at(0), at(540), GapState.UNRECOVERABLE)
	assert it.told == [NoticeKind.UNRECOVERABLE]
	assert it.site.accept_gap(gap.name, "nobody was there")
	prove_nothing(it, range(10, 17))
	assert [(gap.since, gap.until) for gap in it.site.gaps()] == [(at(0), at(540)), (at(540), at(900))]
	assert it.told == [NoticeKind.UNRECOVERABLE] * 2


def test_a_count_that_began_again_while_a_device_was_not_read_is_told_by_its_own_gap_alone(world) -> None:
	it = world(READ)
	it.tells(480, source=Source.HISTORY)
	read_at(it, 60)
	refused_from(it, 2, 6)
	it.now = at(420)
	it.tells(1, source=Source.HISTORY, live=False)
	read_at(it, 421)
	it.comes(422)
	assert [(gap.cause, gap.state) for gap in it.site.gaps()] == [
		(Cause.NOT_READ, GapState.RECOVERED),
		(Cause.SERIAL_JUMP, GapState.UNRECOVERABLE),
	]


def test_a_first_record_by_a_clock_that_was_ahead_makes_nothing_complete_that_was_not_proven(world) -> None:
	it = world(READ)
	it.tells(1, source=Source.HISTORY, at=at(50_000))
	it.tells(2, source=Source.HISTORY)
	read_at(it, 0)
	for minute in (1, 2, 3):
		read_at(it, 60 * minute, HistoryState.UNPROVEN)
	it.comes(186)
	(task,) = it.tasks()
	it.answers(task, HistoryState.UNPROVEN)
	it.comes(187)
	assert it.states == [(GapState.UNRECOVERABLE, GapReason.HISTORY_UNPROVEN)]
	assert it.complete_until <= at(0)


def test_a_quiet_device_that_is_read_has_no_outage(world) -> None:
	it = world(READ)
	for minute in range(30):
		read_at(it, 60 * minute, rows=0)
	assert it.site.gaps() == []


def test_a_device_that_was_never_read_has_no_outage(world) -> None:
	it = world(READ)
	refused_from(it, 0, 20)
	assert it.site.gaps() == []
	assert it.site.watermarks()["gate"].held_by is HeldBy.NOTHING_HEARD


def test_after_a_site_was_away_a_device_that_is_read_gets_time_to_answer(world) -> None:
	it = world(READ)
	read_at(it, 0)
	it.comes(9_000)
	it.comes(9_120)
	assert it.told == []
	it.comes(9_121)
	assert it.told == [NoticeKind.OUTAGE]


def is_no_outage_until_its_reader_is_dead(it: World, task: HistoryTask, begins: int) -> None:
	for seconds in range(begins, 400, 20):
		it.comes(seconds)
		it.answers(task, HistoryState.RUNNING, rows=seconds)
		it.tasks()
	assert it.told == []
	it.comes(500)
	assert it.told == [NoticeKind.OUTAGE]


def test_a_long_reading_whose_rows_are_coming_is_no_outage(world) -> None:
	it = world(READ)
	read_at(it, 0)
	it.comes(60)
	(task,) = it.tasks()
	is_no_outage_until_its_reader_is_dead(it, task, 80)


def test_a_reading_that_waits_for_a_long_one_of_its_device_is_no_outage(world) -> None:
	it = world(READ)
	read_at(it, 0)
	it.site.ask_history("gate", at(-90_000), at(0))
	(task,) = it.tasks()
	is_no_outage_until_its_reader_is_dead(it, task, 20)


def test_a_device_that_is_streamed_and_not_read_any_more_is_missed_from_where_it_was_proven(world) -> None:
	it = world(READ)
	read_at(it, 0)
	refused_from(it, 1, 5)
	it.site.set_devices([replace(READ, mode=IngestMode.STREAM, history_seconds=0.0)])
	it.hears(400, 401)
	it.comes(402)
	(gap,) = it.site.gaps()
	assert (gap.since, gap.until, gap.cause) == (at(0), at(400), Cause.RECONNECT)
	assert gap.state is not GapState.RECOVERED
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY]


def test_a_device_that_is_not_streamed_again_yet_is_missed_from_where_it_was_proven(world) -> None:
	it = world(STREAM)
	it.hears(0, 10)
	it.site.set_devices([READ])
	read_at(it, 60)
	read_at(it, 1_000)
	it.site.set_devices([STREAM])
	it.comes(1_001)
	(gap,) = it.site.gaps()
	assert (gap.since, gap.until) == (at(1_000), None)


def test_a_device_that_was_read_and_is_streamed_now_has_a_gap_between(world) -> None:
	it = world(READ)
	read_at(it, 0)
	it.site.set_devices([replace(READ, mode=IngestMode.STREAM, history_seconds=0.0)])
	it.hears(100, 101)
	(gap,) = it.site.gaps()
	assert (gap.since, gap.until) == (at(0), at(100))


def test_a_device_that_was_streamed_and_is_read_now_is_read_from_where_it_was_heard(world) -> None:
	it = world(STREAM)
	it.hears(0, 200_000)
	it.site.set_devices([READ])
	it.comes(400_000)
	(task,) = it.tasks()
	assert (task.since, task.until) == (at(200_000 - 120), at(400_000))
	assert it.told == []


def test_an_outage_from_when_a_device_was_streamed_ends_as_it_comes_to_be_read(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 10)
	it.comes(200)
	assert it.told == [NoticeKind.OUTAGE]
	it.site.set_devices([READ])
	it.comes(300)
	for task in it.tasks():
		it.answers(task)
	it.comes(301)
	it.comes(302)
	assert [(gap.state, gap.until) for gap in it.site.gaps()] == [(GapState.RECOVERED, at(300))]
	assert it.told == [NoticeKind.OUTAGE, NoticeKind.RECOVERY]
	it.comes(300 + 180)
	it.comes(300 + 301)
	assert [gap.since for gap in it.site.gaps()[1:]] == [at(300)]


# Watermarks.


def test_the_watermark_follows_the_contact_and_never_the_clock(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 100)
	it.comes(219)
	assert it.complete_until == at(100) - MARGIN
	assert it.site.watermarks()["gate"].held_by is HeldBy.CONTACT


def test_a_pushing_device_without_heartbeats_is_complete_until_its_newest_number(world) -> None:
	it = world(a_device("gate"))
	it.tells(1)
	it.now = at(50)
	it.tells(2)
	it.comes(5000)
	assert it.complete_until == at(50)
	it.tells(5)
	it.comes(5001)
	assert it.complete_until == at(50)
	assert it.site.watermarks()["gate"].held_by is HeldBy.GAP


def test_a_clock_that_was_put_right_does_not_free_a_gap_from_before(world) -> None:
	it = world(STREAM)
	it.tells(1)
	it.hears(0, 7200, offset=3600.0)
	it.hears(7300, 7400, offset=0.0)
	assert it.complete_until == at(3600) - MARGIN


def test_two_sites_on_one_file_see_the_same(tmp_path: Path) -> None:
	one, two = (World(tmp_path / "ledger.sqlite3", WITH_HISTORY) for _ in range(2))
	a_break(one)
	two.comes(27)
	assert two.site.gaps() == one.site.gaps()
	assert [fetch.purpose for fetch in one.site.fetches()] == [Purpose.GAP]
	one.comes(28)
	assert len(one.site.fetches()) == 1
	one.site.close()
	two.site.close()


def test_reports_look_after_gaps_no_more_often_than_they_should(world) -> None:
	it = world(STREAM, settings=replace(PATIENCE, tend_seconds=30.0))
	it.tells(1)
	it.hears(0, 10)
	first = it.complete_until
	it.hears(0, 20)
	assert it.complete_until == first
	it.hears(0, 41)
	assert it.complete_until == at(41) - MARGIN
