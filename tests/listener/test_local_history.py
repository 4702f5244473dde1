"""What a local site lends: each reading with the record that the device's log must still hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from listener_support import a_device
from test_local_completeness import STREAM, WITH_HISTORY, World, at

from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.core.gaps import GapReason, GapState
from hikvision_frappe.listener.local_history import SELECT_LATEST_LOSS, SELECT_RECORDED
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import HistoryState, HistoryTask, IngestMode

NO_NUMBERS = a_device("gate", mode=IngestMode.STREAM, history=True)
HOUR = timedelta(hours=1)


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
	worlds: list[World] = []

	def make(*devices: Any) -> World:
		worlds.append(World(":memory:", *(devices or [NO_NUMBERS])))
		return worlds[-1]

	yield make
	for each in worlds:
		each.site.close()


def lent(it: World, since: float, until: float) -> HistoryTask:
	"""The reading of a stretch that a person asks for."""
	it.site.ask_history("gate", at(since), at(until))
	(task,) = it.tasks()
	return task


def made(it: World, *seconds: float, **changes: Any) -> None:
	"""Records without numbers, made and told then."""
	for second in seconds:
		it.now = at(second)
		it.tells(None, **changes)


def test_a_log_is_held_against_the_newest_record_from_before_the_stretch(world) -> None:
	it = world()
	made(it, 10, 20, 30, 40)
	assert lent(it, 30, 50).recorded == at(20)


def test_without_one_from_before_it_is_held_against_the_oldest(world) -> None:
	it = world()
	assert lent(it, -100, -50).recorded is None
	it.answers(it.tasks()[0])
	made(it, 10, 20)
	assert lent(it, 5, 50).recorded == at(10)


@pytest.mark.parametrize(
	"changes", [{"major": 1}, {"major": 3}, {"time_quality": TimeQuality.IMPLAUSIBLE}, {"device": "hall"}]
)
def test_a_record_that_no_log_of_the_device_need_hold_at_its_time_does_not_count(
	world, changes: dict[str, Any]
) -> None:
	it = world(NO_NUMBERS, a_device("hall"))
	made(it, 20, **changes)
	assert lent(it, 30, 50).recorded is None
	made(it, 10)
	assert it.tasks()[0].recorded == at(10)


def a_loss(it: World) -> None:
	"""Nobody heard the device from second 100 to 200, and its history does not tell what it made."""
	made(it, 50)
	it.hears(0, 100)
	it.hears(200, 210)
	it.comes(220)
	(task,) = it.tasks()
	assert (task.since, task.recorded) == (at(100), at(50))
	it.answers(task, HistoryState.UNPROVEN, reason="wiped")
	it.comes(221)
	assert it.states == [(GapState.UNRECOVERABLE, GapReason.HISTORY_UNPROVEN)]


@pytest.mark.parametrize("accepted", [False, True])
def test_what_people_know_to_be_lost_casts_no_doubt_on_what_comes_after(world, accepted: bool) -> None:
	"""Else nothing would ever be proven again after a log was cleared, and each reading would make another gap."""
	it = world()
	a_loss(it)
	if accepted:
		assert it.site.accept_gap(it.site.gaps()[0].name, "an administrator cleared the log")
	task = lent(it, 195, 230)
	assert task.recorded is None
	made(it, 198, 201, 203, 204, source=Source.PUSH)
	assert it.tasks()[0].recorded == at(203)  # surely made after the loss
	it.answers(task)
	assert lent(it, 300, 310).recorded == at(204)


@pytest.mark.parametrize("source", [Source.STREAM, Source.HISTORY])
def test_what_the_log_told_after_a_loss_it_must_hold_from_then_on(world, source: Source) -> None:
	"""However old it is: a log that does not hold it any more was wiped again, and proves nothing of what came after."""
	it = world()
	a_loss(it)
	it.tells(None, at=at(151), person="0009", source=Source.PUSH)  # of a queue, that no wipe need empty
	assert lent(it, 300, 310).recorded is None
	it.answers(it.tasks()[0])
	it.tells(None, at=at(150), live=False, source=source)
	assert lent(it, 300, 310).recorded == at(150)


@pytest.mark.parametrize("since", [-1000, 60, 99, 100])
def test_a_reading_that_covers_a_loss_is_not_excused_by_it(world, since: float) -> None:
	"""It would answer the gap, or one from before it, with a log that may have been wiped."""
	it = world()
	a_loss(it)
	assert lent(it, since, 230).recorded == at(50)


def test_a_gap_that_can_still_be_filled_excuses_nothing(world) -> None:
	it = world(STREAM)
	made(it, 50)
	it.hears(0, 100)
	it.hears(200, 210)
	it.comes(215)
	assert [gap.state for gap in it.site.gaps()] == [GapState.OPEN]
	assert lent(it, 195, 230).recorded == at(50)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_device_whose_clock_is_wrong_is_held_against_what_it_wrote_before(world, hours: int) -> None:
	"""hours: how far its clock is behind ours."""
	it = world(WITH_HISTORY)
	it.hears(0, 5, offset=hours * 3600.0)
	for second in (10, 20, 30):
		it.now = at(second)
		it.tells(second, at=it.now - hours * HOUR)
	task = lent(it, 25, 40)
	assert task.recorded is not None
	assert task.recorded + hours * HOUR <= at(20)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_loss_is_told_by_our_clock_and_records_by_the_devices(world, hours: int) -> None:
	it = world()
	behind = hours * HOUR

	def passes(second: float) -> None:
		made(it, second, at=at(second) - behind)

	passes(50)
	it.hears(0, 100, offset=behind.total_seconds())
	it.hears(200, 210, offset=behind.total_seconds())
	it.comes(220)
	it.answers(it.tasks()[0], HistoryState.UNPROVEN, reason="wiped")
	it.comes(221)
	assert [state for state, _ in it.states] == [GapState.UNRECOVERABLE]
	passes(198)
	passes(250)
	assert lent(it, 190, 260).recorded == at(250) - behind


def test_both_look_ups_are_made_in_an_index(tmp_path) -> None:
	site = LocalSite(tmp_path / "ledger.sqlite3", [STREAM])
	values = {"device": "gate", "after": 0.0, "at_least": 0.0, "lost_until": 0.0, "before": 1, "major": 5}
	for query, arguments in ((SELECT_RECORDED, values), (SELECT_LATEST_LOSS, ("gate", 1.0))):
		plan = [row[3] for row in site._connection.execute(f"EXPLAIN QUERY PLAN {query}", arguments)]
		searches = [step for step in plan if step.startswith(("SEARCH", "SCAN")) and "CONSTANT" not in step]
		assert searches
		assert all("INDEX" in step and step.startswith("SEARCH") for step in searches), plan
		assert not any("B-TREE" in step for step in plan)
	site.close()
