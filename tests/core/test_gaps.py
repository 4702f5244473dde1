"""Gaps: what the records and the contacts prove to be missing, and when nothing is any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.event import AccessEvent, EventKind, Source
from hikvision_frappe.core.gaps import (
	GIVE_UP,
	Break,
	Cause,
	Contact,
	Evidence,
	Gap,
	GapReason,
	GapState,
	HistoryAnswer,
	Jump,
	PeriodicReading,
	Restart,
	beat,
	end_of_unread,
	gap_of,
	gap_of_unread,
	is_unread,
	judge,
	jumps,
	may_be_unread,
	meet,
	restarts,
	told_before,
)
from hikvision_frappe.core.identity import SERIAL_LIMIT, LedgerView, SerialEpoch, place

MORNING = datetime(2026, 3, 2, 7, 30, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
	return MORNING + timedelta(seconds=seconds)


def told(*serials: int, hardware: str = "", late: timedelta = timedelta()) -> list[AccessEvent]:
	"""One record per second of its number."""
	return [
		AccessEvent(
			"gate",
			5,
			75,
			EventKind.PASS,
			at(serial) + late,
			str(serial),
			at(serial),
			Source.STREAM,
			serial_no=serial,
			hardware=hardware,
		)
		for serial in serials
	]


def found(events: list[AccessEvent], *epochs: SerialEpoch) -> list[tuple[int, int, int]]:
	"""Epoch, first and last of each jump."""
	view = LedgerView({"gate": list(epochs)})
	return [(jump.epoch, jump.first, jump.last) for jump in jumps(place(events, view), {"gate": epochs})]


KNOWN = SerialEpoch(1, highest=10, highest_at=at(10), first_at=at(0))


# Jumps.


def test_the_next_number_is_no_jump() -> None:
	assert found(told(11, 12), KNOWN) == []


def test_numbers_that_were_passed_over_are_named_with_the_instants_beside_them() -> None:
	view = LedgerView({"gate": [KNOWN]})
	assert jumps(place(told(14), view), {"gate": [KNOWN]}) == [Jump("gate", 1, 11, 13, at(10), at(14))]


def test_the_first_record_of_a_device_is_where_its_count_begins_for_us() -> None:
	assert found(told(500)) == []
	assert found(told(500, 503)) == [(1, 501, 502)]


def test_a_count_that_began_again_begins_at_one() -> None:
	assert found(told(3, late=timedelta(hours=1)), replace(KNOWN, highest=90)) == [(2, 1, 2)]


def test_another_hardware_begins_where_it_is() -> None:
	assert found(told(50, hardware="B2"), replace(KNOWN, hardware="A1")) == []


def test_a_known_record_is_no_news_of_the_numbers_before_it() -> None:
	view = LedgerView({"gate": [KNOWN]})
	place(told(14), view)
	epochs = list(view.epochs["gate"])
	assert jumps(place(told(14), view), {"gate": epochs}) == []


@given(
	numbers=st.sets(st.integers(1, 40), min_size=1), order=st.randoms(use_true_random=False), data=st.data()
)
def test_present_and_missing_numbers_together_are_all_there_are(numbers, order, data) -> None:
	"""Whatever the order and the batches, once every batch is judged the first number to the last is accounted for."""
	batches = sorted(numbers)
	order.shuffle(batches)
	cuts = sorted(data.draw(st.sets(st.integers(0, len(batches)))))
	view = LedgerView({"gate": [SerialEpoch(1, highest=100, highest_at=at(100), first_at=at(0))]})
	missing: set[int] = set()
	for start, end in zip([0, *cuts], [*cuts, len(batches)], strict=True):
		before = {"gate": tuple(view.epochs["gate"])}
		placements = place(told(*(100 + number for number in batches[start:end])), view)
		for jump in jumps(placements, before):
			missing.update(range(jump.first, jump.last + 1))
	present = {100 + number for number in numbers}
	assert missing | present >= set(range(101, max(present) + 1))
	assert max(missing, default=0) < max(present)


# Restarts.


def test_a_count_that_ends_is_told_once() -> None:
	after = [KNOWN, SerialEpoch(2, highest=1, highest_at=at(900), first_at=at(900))]
	assert restarts({"gate": [KNOWN]}, {"gate": after}, at(901)) == [Restart("gate", 1, 10, at(10), at(901))]
	assert restarts({"gate": after}, {"gate": after}, at(902)) == []


def test_a_wrap_is_no_end() -> None:
	full = replace(KNOWN, highest=SERIAL_LIMIT)
	assert restarts({"gate": [full]}, {"gate": [full, SerialEpoch(2, highest=1)]}, at(901)) == []


def test_records_without_numbers_have_no_count_that_could_end() -> None:
	assert restarts({}, {"gate": [SerialEpoch(1), SerialEpoch(2, highest=1)]}, at(1)) == []


# The gap that either opens.


def test_a_jump_opens_a_gap_of_its_numbers_between_instants_by_our_clock() -> None:
	gap = gap_of(Jump("gate", 2, 11, 13, at(10), at(14)), came=at(20), clock_offset=3.0, now=at(60), name="g")
	assert gap == Gap(
		"g",
		"gate",
		Cause.SERIAL_JUMP,
		since=at(13),
		until=at(17),
		noticed_at=at(60),
		epoch=2,
		first_serial=11,
		last_serial=13,
		reason=GapReason.AWAITING_ROWS,
		clock_offset=3.0,
	)


def test_a_restart_opens_a_gap_after_the_highest_number_of_the_count_that_ended() -> None:
	gap = gap_of(Restart("gate", 1, 90, at(10), at(14)), came=None, clock_offset=0.0, now=at(60))
	assert gap == Gap(
		"", "gate", Cause.SERIAL_JUMP, at(10), at(14), noticed_at=at(60), epoch=1, after_serial=90
	)


@pytest.mark.parametrize(
	"passed_over",
	[Jump("gate", 1, 11, 13, at(3600), at(3604)), Restart("gate", 1, 10, at(3600), at(3604))],
)
def test_what_is_missing_was_made_after_the_record_before_it_came_and_not_in_the_future(
	passed_over: Jump | Restart,
) -> None:
	"""The device's clock was ahead, and nobody knew."""
	assert passed_over.last_before == 10
	gap = gap_of(passed_over, came=at(20), clock_offset=0.0, now=at(60))
	assert (gap.since, gap.until) == (at(20), at(60))


# Contacts.


def test_the_first_contact_has_nothing_before_it() -> None:
	assert meet(None, Contact(at(0), at(5))) == (Contact(at(0), at(5)), None)


def test_a_contact_told_again_is_the_same_and_longer() -> None:
	joined, between = meet(Contact(at(0), at(5)), Contact(at(0), at(9)))
	assert (joined.until, between) == (at(9), None)


def test_a_late_report_of_an_old_contact_takes_nothing_back() -> None:
	joined, between = meet(Contact(at(0), at(9)), Contact(at(0), at(5)))
	assert (joined.until, between) == (at(9), None)


def test_even_a_quick_reconnect_is_a_break() -> None:
	_, between = meet(Contact(at(0), at(9)), Contact(at(10), at(12), Cause.SILENCE))
	assert between == Break(at(9), at(10), Cause.SILENCE)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)), min_size=1, max_size=12))
def test_what_is_between_contacts_is_a_break_and_nothing_else(spans: list[tuple[int, int]]) -> None:
	"""Told in the order of their beginnings, contacts and breaks together cover everything once."""
	known: Contact | None = None
	heard: set[int] = set()
	broken: set[int] = set()
	for since, length in sorted(spans):
		heard.update(range(since, since + length))
		known, between = meet(known, Contact(at(since), at(since + length)))
		if between is not None:
			broken.update(
				range(*(int((moment - MORNING).total_seconds()) for moment in (between.since, between.until)))
			)
	assert known is not None
	first, last = min(since for since, _ in spans), max(since + length for since, length in spans)
	assert heard | broken == set(range(first, last))
	assert not heard & broken


def test_heartbeats_close_enough_together_are_one_contact() -> None:
	limit = timedelta(seconds=90)
	first = beat(None, at(0), limit)
	second = beat(first, at(60), limit)
	assert second == Contact(at(0), at(60), Cause.SILENCE)
	assert beat(second, at(200), limit) == Contact(at(200), at(200), Cause.SILENCE)
	assert beat(second, at(30), limit) == second


# Judgement.

BREAK = Gap("1", "gate", Cause.RECONNECT, at(0), at(60), at(61), epoch=1, after_serial=10)
JUMP = Gap("2", "gate", Cause.SERIAL_JUMP, at(0), at(60), at(61), epoch=1, first_serial=11, last_serial=14)
SOON = at(62)
LATE = at(61 + 3600)


def judged(gap: Gap, now: datetime = SOON, **evidence: object) -> tuple[GapState, GapReason]:
	result = judge(gap, Evidence(**evidence), now)  # type: ignore[arg-type]
	return result.state, result.reason


def test_a_device_that_is_not_heard_is_judged_when_it_is() -> None:
	going_on = replace(BREAK, until=None)
	assert judged(going_on, LATE, bound=11) == (GapState.OPEN, GapReason.GOING_ON)


def test_the_next_number_after_a_break_proves_that_nothing_was_missed() -> None:
	assert judged(BREAK, bound=11) == (GapState.RECOVERED, GapReason.NOTHING_MISSED)


def test_a_later_number_after_a_break_says_what_was_missed() -> None:
	gap = judge(BREAK, Evidence(bound=15, present=1), SOON)
	assert (gap.first_serial, gap.last_serial, gap.expected, gap.found, gap.missing) == (11, 14, 4, 1, 3)
	assert (gap.state, gap.reason) == (GapState.OPEN, GapReason.AWAITING_ROWS)


def test_a_gap_whose_rows_have_come_is_recovered() -> None:
	assert judged(JUMP, present=4) == (GapState.RECOVERED, GapReason.ROWS_ARRIVED)


def test_a_break_waits_for_the_next_record_for_as_long_as_it_takes() -> None:
	assert judged(BREAK, LATE + timedelta(days=7)) == (GapState.OPEN, GapReason.AWAITING_RECORD)


def test_without_history_rows_have_their_time_to_come_and_no_more() -> None:
	assert judged(JUMP, present=3) == (GapState.OPEN, GapReason.AWAITING_ROWS)
	assert judged(JUMP, LATE, present=3) == (GapState.UNRECOVERABLE, GapReason.NO_HISTORY)


def test_without_numbers_and_history_nobody_can_tell() -> None:
	unnumbered = replace(BREAK, epoch=None, after_serial=None)
	assert judged(unnumbered, LATE, numbered=False) == (GapState.UNRECOVERABLE, GapReason.NO_NUMBERS)


def test_without_a_number_before_the_break_only_the_very_first_one_proves_anything() -> None:
	unknown = replace(BREAK, epoch=None, after_serial=None)
	assert judged(unknown, LATE) == (GapState.OPEN, GapReason.AWAITING_RECORD)
	assert judged(unknown, bound=1) == (GapState.RECOVERED, GapReason.NOTHING_MISSED)
	assert judged(unknown, LATE, bound=7)[0] is GapState.UNRECOVERABLE


def test_waiting_begins_when_the_device_is_heard_again_and_not_when_it_fell_silent() -> None:
	"""An outage of three days has not used up the time for reading its history when it ends."""
	long = replace(BREAK, until=at(3 * 86_400), noticed_at=at(120))
	just_after = at(3 * 86_400 + 5)
	assert judged(long, just_after, history=True) == (GapState.OPEN, GapReason.AWAITING_HISTORY)
	assert judged(long, just_after + GIVE_UP, history=True)[0] is GapState.UNRECOVERABLE
	assert judged(long, just_after, bound=12) == (GapState.OPEN, GapReason.AWAITING_ROWS)


@pytest.mark.parametrize(
	("gap", "evidence", "state", "reason"),
	[
		(BREAK, {"answer": "running"}, GapState.FILLING, GapReason.AWAITING_HISTORY),
		(BREAK, {"answer": "proven", "told": 3}, GapState.RECOVERED, GapReason.PROVEN_BY_HISTORY),
		(BREAK, {"answer": "unproven"}, GapState.OPEN, GapReason.AWAITING_RECORD),
		(
			BREAK,
			{"answer": "unproven", "numbered": False},
			GapState.UNRECOVERABLE,
			GapReason.HISTORY_UNPROVEN,
		),
		(BREAK, {"answer": "unproven", "restarted": True}, GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED),
		(JUMP, {"answer": "unproven", "present": 3}, GapState.UNRECOVERABLE, GapReason.HISTORY_UNPROVEN),
		(BREAK, {"answer": "failed"}, GapState.OPEN, GapReason.AWAITING_HISTORY),
		(BREAK, {"answer": "proven", "restarted": True}, GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED),
		(JUMP, {"answer": "proven", "present": 3}, GapState.UNRECOVERABLE, GapReason.NOT_IN_HISTORY),
		(
			JUMP,
			{"answer": "proven", "history_numbered": False},
			GapState.RECOVERED,
			GapReason.PROVEN_BY_HISTORY,
		),
	],
)
def test_what_history_says_of_a_gap(gap: Gap, evidence: dict, state: GapState, reason: GapReason) -> None:
	evidence = {**evidence, "answer": HistoryAnswer(evidence["answer"])}
	assert judged(gap, history=True, **evidence) == (state, reason)


def test_a_count_that_began_again_leaves_a_break_that_nobody_can_fill() -> None:
	assert judged(BREAK, restarted=True) == (GapState.OPEN, GapReason.AWAITING_ROWS)
	assert judged(BREAK, LATE, restarted=True) == (GapState.UNRECOVERABLE, GapReason.COUNT_RESTARTED)


def test_a_restart_within_a_break_is_its_cause() -> None:
	assert judge(BREAK, Evidence(rebooted=True), SOON).cause is Cause.REBOOT
	assert judge(JUMP, Evidence(rebooted=True), SOON).cause is Cause.SERIAL_JUMP


def test_rows_that_come_late_recover_even_what_seemed_unrecoverable() -> None:
	given_up = judge(JUMP, Evidence(present=3), LATE)
	assert given_up.state is GapState.UNRECOVERABLE
	assert judged(given_up, LATE, present=4) == (GapState.RECOVERED, GapReason.ROWS_ARRIVED)


ANSWERS = st.sampled_from(HistoryAnswer)
EVIDENCE = st.builds(
	Evidence,
	present=st.integers(0, 6),
	bound=st.none() | st.integers(11, 20),
	restarted=st.booleans(),
	numbered=st.booleans(),
	history=st.booleans(),
	answer=ANSWERS,
	told=st.integers(0, 9),
	history_numbered=st.booleans(),
	rebooted=st.booleans(),
)


@given(gap=st.sampled_from([BREAK, JUMP]), evidence=st.lists(EVIDENCE, max_size=8), hours=st.integers(0, 50))
def test_a_gap_that_is_settled_stays_so_and_an_alert_rings_once(
	gap: Gap, evidence: list[Evidence], hours: int
) -> None:
	alerts = 0
	for number, each in enumerate(evidence):
		after = judge(gap, each, SOON + timedelta(hours=hours * number))
		if gap.state is GapState.RECOVERED:
			assert after == gap
		alerts += after.state is GapState.UNRECOVERABLE and gap.state is not GapState.UNRECOVERABLE
		gap = after
	assert alerts <= 1


@given(gap=st.sampled_from([BREAK, JUMP]), evidence=EVIDENCE)
def test_no_gap_with_known_numbers_is_recovered_while_one_is_missing_unless_history_without_numbers_says_so(
	gap: Gap, evidence: Evidence
) -> None:
	after = judge(gap, evidence, SOON)
	if after.state is GapState.RECOVERED and after.missing:
		assert evidence.answer is HistoryAnswer.PROVEN
		assert not evidence.history_numbered


@given(state=st.sampled_from([GapState.ACCEPTED, GapState.RECOVERED]), evidence=EVIDENCE)
def test_what_is_over_is_not_judged_again(state: GapState, evidence: Evidence) -> None:
	over = replace(JUMP, state=state)
	assert judge(over, evidence, LATE) == over


# Devices that are only read.

PERIOD, UNHEARD = timedelta(minutes=15), timedelta(minutes=2)


def minute(minutes: float) -> datetime:
	return MORNING + timedelta(minutes=minutes)


def unread(now: float, *readings: PeriodicReading, period: timedelta = PERIOD) -> bool:
	"""Of a device that was certain until minute 0."""
	return is_unread(minute(0), readings, period, UNHEARD, minute(now))


def in_vain(at: float) -> PeriodicReading:
	return PeriodicReading(minute(at), answered=False)


def test_a_device_that_answers_nothing_for_three_periods_is_unread() -> None:
	asked = [in_vain(15), in_vain(30), in_vain(45)]
	assert not unread(45, *asked)
	assert unread(46, *asked)


def test_a_device_that_is_read_every_few_seconds_is_unread_no_sooner_than_it_would_be_unheard() -> None:
	second = timedelta(seconds=1)
	assert not unread(2, in_vain(0.1), period=second)
	assert unread(2.2, in_vain(0.1), period=second)


def test_an_answer_that_proves_nothing_is_an_answer() -> None:
	answered = PeriodicReading(minute(45), answered=True)
	assert not unread(60, in_vain(15), in_vain(30), answered)
	assert not unread(90, in_vain(15), answered, in_vain(60))
	assert unread(91, in_vain(15), answered, in_vain(60))


def test_a_device_that_nobody_asked_is_not_unread() -> None:
	assert not unread(10_000)
	assert not unread(10_000, in_vain(9_990))
	assert unread(10_021, in_vain(9_990))


def test_a_long_reading_whose_rows_are_coming_is_no_outage() -> None:
	assert not unread(500, PeriodicReading(minute(15), answered=False, is_coming=True))


@given(
	readings=st.lists(
		st.builds(PeriodicReading, st.integers(1, 600).map(minute), answered=st.booleans()), max_size=8
	),
	now=st.integers(0, 900),
)
def test_the_cheap_question_never_hides_a_device_that_is_unread(
	readings: list[PeriodicReading], now: int
) -> None:
	if unread(now, *readings):
		assert may_be_unread(minute(0), PERIOD, UNHEARD, minute(now))


def test_the_outage_of_a_device_that_is_only_read_ends_where_it_is_certain_again() -> None:
	outage = gap_of_unread("g", "gate", minute(0), None, minute(46), 3, 0.0)
	assert (outage.cause, outage.is_going_on, outage.after_serial) == (Cause.NOT_READ, True, None)
	assert end_of_unread(outage, minute(0), minute(50)) is None
	assert end_of_unread(outage, None, minute(50)) is None
	ended = end_of_unread(outage, minute(49), minute(50))
	assert ended is not None and ended.until == minute(49)


def test_an_outage_from_when_the_device_was_still_to_be_heard_ends_as_it_comes_to_be_read() -> None:
	outage = Gap("g", "gate", Cause.SILENCE, minute(0), None, minute(3))
	ended = end_of_unread(outage, minute(0), minute(5))
	assert ended is not None and ended.until == minute(5)


A_BREAK = Gap("", "gate", Cause.RECONNECT, at(10), at(20), at(20), epoch=1)


def test_a_break_is_told_as_its_jumps_were_where_they_told_all_of_it() -> None:
	outer = replace(A_BREAK, first_serial=2, last_serial=9, found=2)
	unrecoverable = replace(A_BREAK, first_serial=2, last_serial=4, state=GapState.UNRECOVERABLE)
	accepted = replace(A_BREAK, first_serial=7, last_serial=9, state=GapState.ACCEPTED)
	assert told_before(outer, [unrecoverable, accepted]).state is GapState.UNRECOVERABLE
	assert (
		told_before(outer, [replace(unrecoverable, state=GapState.ACCEPTED), accepted]).state
		is GapState.ACCEPTED
	)


def test_what_came_of_an_accepted_jump_later_does_not_stand_for_what_nobody_was_told_of() -> None:
	"""2 and 3 have come since, so that 4, 7 and 8 are missing: as many as were accepted."""
	outer = replace(A_BREAK, first_serial=2, last_serial=9, found=5)
	accepted = replace(A_BREAK, first_serial=2, last_serial=4, state=GapState.ACCEPTED)
	untold = replace(A_BREAK, first_serial=7, last_serial=8, state=GapState.OPEN)
	assert outer.missing == 3
	assert told_before(outer, [accepted, untold]) is outer


@pytest.mark.parametrize("state", [GapState.OPEN, GapState.FILLING, GapState.RECOVERED])
def test_a_break_of_which_people_were_told_in_part_is_told_of_itself(state: GapState) -> None:
	outer = replace(A_BREAK, first_serial=2, last_serial=9)
	told = replace(A_BREAK, first_serial=2, last_serial=4, state=GapState.UNRECOVERABLE)
	rest = replace(A_BREAK, first_serial=5, last_serial=9, state=state)
	assert told_before(outer, [told, rest]) is outer


def test_a_break_that_is_over_stays_so() -> None:
	outer = replace(A_BREAK, first_serial=2, last_serial=4, state=GapState.RECOVERED)
	assert told_before(outer, [replace(outer, state=GapState.UNRECOVERABLE)]) is outer


def test_a_gap_holds_another_of_the_same_count_within_its_numbers() -> None:
	outer = replace(A_BREAK, epoch=1, first_serial=2, last_serial=9)
	assert outer.holds(replace(outer, first_serial=9))
	assert not outer.holds(replace(outer, last_serial=10))
	assert not outer.holds(replace(outer, epoch=2))
	assert not outer.holds(replace(outer, device="another"))
	assert not outer.holds(A_BREAK)
	assert not A_BREAK.holds(outer)


UNREAD = gap_of_unread("g", "gate", minute(0), minute(60), minute(60), 1, 0.0)


def test_whatever_numbers_its_records_have_only_history_tells_what_was_not_read() -> None:
	"""Its first record may seem to be made after the gap because the clock was ahead then."""
	first_seems_later = Evidence(bound=1, history=True)
	assert judge(UNREAD, first_seems_later, minute(61)).state is GapState.OPEN
	unproven = judge(UNREAD, replace(first_seems_later, answer=HistoryAnswer.UNPROVEN), minute(61))
	assert (unproven.state, unproven.reason) == (GapState.UNRECOVERABLE, GapReason.HISTORY_UNPROVEN)


def test_what_was_not_read_waits_for_no_record_where_there_is_no_history_any_more() -> None:
	without = Evidence(history=False, patience=timedelta(minutes=10))
	assert judge(UNREAD, without, minute(65)).reason is GapReason.AWAITING_ROWS
	given_up = judge(UNREAD, without, minute(75))
	assert (given_up.state, given_up.reason) == (GapState.UNRECOVERABLE, GapReason.NO_HISTORY)
