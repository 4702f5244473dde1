"""Which records a log is held against, whatever its clock shows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.recorded import surely_after, surely_before

AT = datetime(2026, 3, 2, 7, 30, tzinfo=timezone.utc)
offsets = st.floats(-90_000, 90_000)


@given(known=st.lists(offsets, min_size=1, max_size=3), data=st.data())
def test_whichever_of_the_known_clocks_a_record_was_written_by_it_lies_before_or_after(
	known: list[float], data: st.DataObject
) -> None:
	clock = timedelta(seconds=data.draw(st.sampled_from(known)))
	made_before = surely_before(AT, *known) - timedelta(seconds=1) + clock
	made_after = surely_after(AT, *known) + timedelta(seconds=1) + clock
	assert made_after > AT
	assert made_before < AT


def test_a_clock_that_is_ahead_only_makes_an_older_record_the_one_to_look_for() -> None:
	assert surely_before(AT, -3600.0) == AT
