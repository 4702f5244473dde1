"""Identity: the same pass is one row however it is told, two passes are two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikvision_frappe.core.event import AccessEvent, EventKind, Source, TimeQuality
from hikvision_frappe.core.identity import (
	SERIAL_LIMIT,
	LedgerView,
	Outcome,
	Placement,
	Recorded,
	numbered_name,
	place,
	second,
)

MORNING = datetime(2026, 3, 2, 7, 30, tzinfo=timezone.utc)


class Ledger:
	"""The least a store must do: load what a batch touches, place, write what it is told."""

	def __init__(self) -> None:
		self.rows: dict[str, Recorded] = {}
		self.epochs: dict = {}

	def take(self, *events: AccessEvent) -> list[Placement]:
		view = LedgerView({device: list(epochs) for device, epochs in self.epochs.items()})
		view.add(row for row in self.rows.values() if _touched(row, events))
		placements = place(events, view)
		for placement in placements:
			self._write(placement)
		self.epochs = view.epochs
		return placements

	def _write(self, placement: Placement) -> None:
		if placement.outcome is Outcome.KNOWN:
			assert placement.name in self.rows
			return
		if placement.outcome is Outcome.ADOPTED:
			del self.rows[placement.replaces]
		assert placement.name not in self.rows, "the unique key would refuse this"
		event = placement.event
		self.rows[placement.name] = Recorded(
			placement.name,
			event.device,
			placement.epoch,
			event.serial_no,
			event.occurred_at,
			event.major,
			event.minor,
			event.person,
			event.card_no,
			event.occurred_text,
		)


def _touched(row: Recorded, events: Sequence[AccessEvent]) -> bool:
	return any(
		row.device == event.device
		and (
			(row.serial_no is not None and row.serial_no == event.serial_no)
			or second(row.occurred_at) == second(event.occurred_at)
		)
		for event in events
	)


def a_pass(serial_no: int | None = 1, at: datetime = MORNING, **changes) -> AccessEvent:
	values = {
		"device": "gate",
		"major": 5,
		"minor": 75,
		"kind": EventKind.PASS,
		"occurred_at": at,
		"occurred_text": at.isoformat(),
		"received_at": at,
		"source": Source.STREAM,
		"serial_no": serial_no,
		"person": "0007",
	}
	return AccessEvent(**{**values, **changes})


def outcomes(placements: Sequence[Placement]) -> list[Outcome]:
	return [placement.outcome for placement in placements]


def test_a_replayed_event_is_known() -> None:
	ledger = Ledger()
	ledger.take(a_pass())
	assert outcomes(ledger.take(a_pass(live=False))) == [Outcome.KNOWN]


def test_the_same_pass_told_by_stream_and_push_is_one_row() -> None:
	ledger = Ledger()
	told = [a_pass(source=Source.STREAM), a_pass(source=Source.PUSH)]
	assert outcomes(ledger.take(*told)) == [Outcome.NEW, Outcome.KNOWN]


def test_two_passes_in_one_second_stay_two() -> None:
	ledger = Ledger()
	ledger.take(a_pass(1), a_pass(2))
	assert len(ledger.rows) == 2


def test_a_restarted_count_opens_a_new_epoch() -> None:
	ledger = Ledger()
	ledger.take(a_pass(480))
	(placement,) = ledger.take(a_pass(1, MORNING + timedelta(hours=1)))
	assert placement.name == numbered_name("gate", 2, 1)


def test_a_wrap_within_the_evidence_time_loses_nothing() -> None:
	ledger = Ledger()
	ledger.take(*(a_pass(serial, MORNING + timedelta(seconds=serial)) for serial in range(1, 6)))
	again = [a_pass(serial, MORNING + timedelta(seconds=5 + serial)) for serial in range(1, 6)]
	assert outcomes(ledger.take(*again)) == [Outcome.NEW] * 5
	assert outcomes(ledger.take(*again)) == [Outcome.KNOWN] * 5


@pytest.mark.parametrize("last", [SERIAL_LIMIT, SERIAL_LIMIT - 1])
def test_a_busy_count_begins_anew_with_the_first_record_after_its_last(last: int) -> None:
	"""Also where the ledger does not hold the first numbers of the old count, so that their places are free."""
	ledger = Ledger()
	ledger.take(*(a_pass(serial, MORNING) for serial in range(last - 2, last + 1)))
	again = [a_pass(serial, MORNING + timedelta(seconds=serial - 1)) for serial in (1, 2, 3)]
	assert {placement.epoch for placement in ledger.take(*again)} == {2}
	(late,) = ledger.take(a_pass(last - 3, MORNING - timedelta(seconds=1)))
	assert late.epoch == 1


def test_a_reset_soon_after_the_last_record_shows_by_a_number_far_below() -> None:
	ledger = Ledger()
	ledger.take(a_pass(41_367, MORNING))
	(placement,) = ledger.take(a_pass(1, MORNING + timedelta(seconds=20)))
	assert placement.epoch == 2
	(late,) = ledger.take(a_pass(41_366, MORNING - timedelta(seconds=1)))
	assert late.epoch == 1


def test_a_late_record_of_the_old_epoch_goes_to_the_old_epoch() -> None:
	ledger = Ledger()
	ledger.take(a_pass(480), a_pass(1, MORNING + timedelta(hours=1)))
	(placement,) = ledger.take(a_pass(3, MORNING - timedelta(hours=2)))
	assert placement.epoch == 1


def test_new_hardware_under_the_same_key_starts_its_own_epoch() -> None:
	ledger = Ledger()
	ledger.take(a_pass(5, hardware="DS-K1T34420240101V040300ENGN0000001"))
	(placement,) = ledger.take(a_pass(6, hardware="DS-K1T34420250101V040300ENGN0000002"))
	assert placement.epoch == 2


def test_the_short_serial_number_of_a_push_names_the_same_hardware() -> None:
	ledger = Ledger()
	ledger.take(a_pass(5, hardware="DS-K1T34420240101V040300ENGN0000001"))
	(placement,) = ledger.take(a_pass(6, hardware="GN0000001"))
	assert placement.epoch == 1


def test_a_lost_clock_does_not_open_an_epoch_nor_a_second_row() -> None:
	ledger = Ledger()
	lost = a_pass(7, datetime(1970, 1, 1, tzinfo=timezone.utc), time_quality=TimeQuality.IMPLAUSIBLE)
	ledger.take(a_pass(6))
	(placement,) = ledger.take(lost)
	assert placement.epoch == 1
	assert outcomes(ledger.take(lost)) == [Outcome.KNOWN]


def test_a_record_retold_after_a_change_of_zone_is_known() -> None:
	ledger = Ledger()
	ledger.take(a_pass(1, occurred_text="2026-03-02T07:30:00+00:00"))
	moved = a_pass(1, MORNING + timedelta(hours=8), occurred_text="2026-03-02T07:30:00-08:00")
	assert outcomes(ledger.take(moved)) == [Outcome.KNOWN]


def test_a_door_that_opens_again_with_the_same_number_after_a_reset_is_not_taken_for_a_change_of_zone() -> (
	None
):
	"""Door events name nobody: only the wall clock tells the two apart."""
	ledger = Ledger()
	later = MORNING + timedelta(hours=1)
	ledger.take(a_pass(1, minor=22, person="", kind=EventKind.DOOR))
	again = a_pass(1, later, minor=22, person="", kind=EventKind.DOOR)
	assert outcomes(ledger.take(again)) == [Outcome.NEW]


def test_a_numbered_record_adopts_the_row_that_came_without_a_number() -> None:
	ledger = Ledger()
	(first,) = ledger.take(a_pass(None, source=Source.HISTORY))
	(second_telling,) = ledger.take(a_pass(41))
	assert second_telling.outcome is Outcome.ADOPTED
	assert second_telling.replaces == first.name
	assert outcomes(ledger.take(a_pass(None, source=Source.HISTORY))) == [Outcome.KNOWN]
	assert list(ledger.rows) == [numbered_name("gate", 1, 41)]


def test_a_row_without_a_number_may_leave_out_the_card() -> None:
	ledger = Ledger()
	ledger.take(a_pass(41, card_no="123"))
	assert outcomes(ledger.take(a_pass(None))) == [Outcome.KNOWN]


def test_two_different_rows_without_numbers_in_one_second_stay_two() -> None:
	"""One names a person, the other nobody: in one form of telling that is a difference."""
	ledger = Ledger()
	told = [a_pass(None, minor=8, person=""), a_pass(None, minor=8, person="0007")]
	assert outcomes(ledger.take(*told)) == [Outcome.NEW, Outcome.NEW]


def test_equal_rows_of_one_second_may_come_in_any_order() -> None:
	ledger = Ledger()
	assert outcomes(ledger.take(a_pass(None, ordinal=1), a_pass(None, ordinal=0))) == [Outcome.NEW] * 2


def test_equal_rows_stay_two_when_a_numbered_record_comes_between_them() -> None:
	ledger = Ledger()
	ledger.take(a_pass(None, ordinal=1), a_pass(7), a_pass(None, ordinal=0))
	assert len(ledger.rows) == 2
	ledger.take(a_pass(8))
	assert sorted(ledger.rows) == [numbered_name("gate", 1, 7), numbered_name("gate", 1, 8)]


# A device's own log: the model that the ledger is compared with.


@st.composite
def device_logs(draw: st.DrawFn) -> list[AccessEvent]:
	"""Records in the order of their making: resets, wraps, several in a second, a clock that is set back."""
	records: list[AccessEvent] = []
	made: set[tuple] = set()
	serial, moment = 0, MORNING
	for _ in range(draw(st.integers(1, 25))):
		step = draw(st.sampled_from(["next", "next", "next", "wrap", "reset", "clock back"]))
		moment += timedelta(seconds=draw(st.sampled_from([0, 0, 1, 30, 900, 3600])))
		if step == "clock back":
			moment -= timedelta(minutes=draw(st.integers(1, 60)))
		serial = 1 if step in ("wrap", "reset") else serial + 1
		record = a_pass(
			serial,
			moment,
			minor=draw(st.sampled_from([75, 22])),
			person=draw(st.sampled_from(["0007", "8"])),
		)
		key = (record.serial_no, record.occurred_at, record.minor, record.person)
		if key not in made:  # two equal records with one number are one to everybody
			made.add(key)
			records.append(record)
	return records


@st.composite
def tellings(draw: st.DrawFn) -> tuple[list[AccessEvent], list[list[AccessEvent]]]:
	log = draw(device_logs())
	repeated = log + draw(st.lists(st.sampled_from(log), max_size=15))
	told = [
		record.retold(source=draw(st.sampled_from([Source.STREAM, Source.PUSH])), live=draw(st.booleans()))
		for record in draw(st.permutations(repeated))
	]
	return log, _cut(draw, told)


def _cut(draw: st.DrawFn, told: list[AccessEvent]) -> list[list[AccessEvent]]:
	size = draw(st.integers(1, 8))
	return [told[start : start + size] for start in range(0, len(told), size)]


@settings(max_examples=300, deadline=None)
@given(tellings())
def test_shuffled_repeated_and_batched_the_ledger_equals_the_log(case) -> None:
	log, batches = case
	ledger = Ledger()
	names: dict[tuple, set[str]] = defaultdict(set)
	for batch in batches:
		for placement in ledger.take(*batch):
			event = placement.event
			names[(event.serial_no, event.occurred_at, event.minor, event.person)].add(placement.name)
	assert len(ledger.rows) == len(log)
	assert all(len(found) == 1 for found in names.values()), "one record, one name"
	assert len(set.union(*names.values())) == len(log), "one name, one record"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_told_with_and_without_numbers_in_any_order_the_ledger_equals_the_log(data) -> None:
	log = data.draw(device_logs())
	ordinals: dict[tuple, int] = defaultdict(int)
	history = []
	for record in log:
		key = (record.occurred_at, record.minor, record.person)
		history.append(record.retold(serial_no=None, source=Source.HISTORY, ordinal=ordinals[key]))
		ordinals[key] += 1
	streamed = data.draw(st.lists(st.sampled_from(log), unique_by=id))
	told = data.draw(st.permutations(history + streamed + data.draw(st.lists(st.sampled_from(history)))))
	ledger = Ledger()
	for batch in _cut(data.draw, told):
		ledger.take(*batch)
	assert len(ledger.rows) == len(log)
	numbers = [row.serial_no for row in ledger.rows.values() if row.serial_no is not None]
	assert sorted(numbers) == sorted(record.serial_no for record in streamed)


def test_a_record_whose_time_cannot_be_read_is_known_again_by_its_text() -> None:
	ledger = Ledger()
	unreadable = {"occurred_text": "not a time", "time_quality": TimeQuality.IMPLAUSIBLE}
	ledger.take(a_pass(1, MORNING, **unreadable))
	later = a_pass(1, MORNING + timedelta(hours=1, seconds=7), **unreadable)
	assert outcomes(ledger.take(later)) == [Outcome.KNOWN]
