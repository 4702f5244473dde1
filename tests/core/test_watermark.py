"""Watermarks: until when everything is in, by what was heard and proven and never by the clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.gaps import UNRESOLVED, Cause, Gap, GapState
from hikvision_frappe.core.watermark import (
	MARGIN,
	Coverage,
	HeldBy,
	Watermark,
	proven_further,
	shift_watermark,
	watermark,
)

MORNING = datetime(2026, 3, 2, 7, 30, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
	return MORNING + timedelta(seconds=seconds)


def a_gap(since: float, state: GapState = GapState.OPEN, clock_offset: float = 0.0, name: str = "g1") -> Gap:
	return Gap(
		name,
		"gate",
		Cause.RECONNECT,
		at(since),
		at(since + 10),
		at(since + 11),
		state=state,
		clock_offset=clock_offset,
	)


def heard(until: float, **more: object) -> Coverage:
	return Coverage("gate", heard_until=at(until), **more)  # type: ignore[arg-type]


def test_nothing_heard_is_nothing_known() -> None:
	assert watermark(Coverage("gate"), [], None) == Watermark(None, HeldBy.NOTHING_HEARD)


def test_it_follows_the_contact_at_a_little_distance() -> None:
	assert watermark(heard(100), [], None) == Watermark(at(100) - MARGIN, HeldBy.CONTACT)


def test_a_history_that_was_proven_further_counts_as_well() -> None:
	assert watermark(heard(100, proven_until=at(200)), [], None).moment == at(200) - MARGIN


def test_a_device_whose_clock_is_behind_may_still_write_earlier_times() -> None:
	assert watermark(heard(100, clock_offset=30.0), [], None).moment == at(70) - MARGIN
	assert watermark(heard(100, clock_offset=-30.0), [], None).moment == at(100) - MARGIN


def test_records_of_a_pushing_device_speak_by_its_own_clock() -> None:
	pushing = Coverage("gate", recorded_until=at(100), clock_offset=30.0)
	assert watermark(pushing, [], None).moment == at(100)


def test_a_gap_holds_it_until_it_is_resolved_or_accepted() -> None:
	held = watermark(heard(100), [a_gap(50)], None)
	assert held == Watermark(at(50) - MARGIN, HeldBy.GAP, "g1")
	for state in GapState:
		free = watermark(heard(100), [a_gap(50, state)], None).held_by is HeldBy.CONTACT
		assert free is (state not in UNRESOLVED)


def test_a_gap_holds_it_by_the_clock_that_the_device_had_then() -> None:
	"""The clock was an hour behind when the gap began and is right now: what it misses was written an hour earlier."""
	held = watermark(heard(9000, clock_offset=0.0), [a_gap(5000, clock_offset=3600.0)], None)
	assert held.moment == at(1400) - MARGIN


def test_a_pass_that_waits_holds_it() -> None:
	held = watermark(heard(100, waiting_since=at(40)), [a_gap(50)], None)
	assert held == Watermark(at(39), HeldBy.WAITING)


def test_it_never_goes_back_and_still_says_what_holds_it() -> None:
	held = watermark(heard(100), [a_gap(50)], before=at(80))
	assert held == Watermark(at(80), HeldBy.GAP, "g1")


OFFSETS = st.integers(-100, 100).map(float)
MOMENTS = st.none() | st.integers(0, 1000).map(at)
COVERAGES = st.builds(
	Coverage,
	device=st.just("gate"),
	heard_until=MOMENTS,
	proven_until=MOMENTS,
	recorded_until=MOMENTS,
	waiting_since=MOMENTS,
	clock_offset=OFFSETS,
)
GAPS = st.lists(st.builds(a_gap, st.integers(0, 1000), st.sampled_from(GapState), OFFSETS), max_size=4)


@given(looks=st.lists(st.tuples(COVERAGES, GAPS), min_size=1, max_size=6))
def test_whatever_is_told_in_whatever_order_it_only_goes_forward(
	looks: list[tuple[Coverage, list[Gap]]],
) -> None:
	before = None
	for coverage, gaps in looks:
		after = watermark(coverage, gaps, before).moment
		assert before is None or (after is not None and after >= before)
		before = after


@given(coverage=COVERAGES, gaps=GAPS)
def test_the_first_one_is_never_beyond_what_limits_it(coverage: Coverage, gaps: list[Gap]) -> None:
	moment = watermark(coverage, gaps, None).moment
	if moment is None:
		assert coverage.heard_until is coverage.proven_until is coverage.recorded_until is None
		return
	told = [each for each in (coverage.heard_until, coverage.proven_until, coverage.recorded_until) if each]
	assert moment <= max(told)
	assert all(moment < gap.since for gap in gaps if gap.state in UNRESOLVED)
	assert coverage.waiting_since is None or moment < coverage.waiting_since


def test_a_proven_reading_extends_only_what_it_joins() -> None:
	assert proven_further(None, at(0), at(50)) == at(50)
	assert proven_further(at(40), at(30), at(50)) == at(50)
	assert proven_further(at(40), at(45), at(50)) == at(40)
	assert proven_further(at(40), at(45), at(50), [at(46), None]) == at(50)
	assert proven_further(at(90), at(30), at(50)) == at(90)


def test_a_shift_is_as_complete_as_the_least_of_its_devices() -> None:
	assert shift_watermark([at(5), at(3), at(9)]) == at(3)
	assert shift_watermark([at(5), None]) is None
	assert shift_watermark([]) is None
