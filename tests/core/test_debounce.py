from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.debounce import double_read_of

EIGHT = datetime(2026, 5, 4, 8, 0, tzinfo=timezone.utc)
MINUTE = timedelta(seconds=60)


def moment(seconds: int):
	return at_site(EIGHT + timedelta(seconds=seconds), ZoneInfo("UTC"))


def counted(seconds: int, log_type=LogType.IN, event="E") -> Checkin:
	at = EIGHT + timedelta(seconds=seconds)
	return Checkin(f"C{seconds}", at.replace(tzinfo=None), log_type, at, event)


def test_a_second_read_within_the_window_names_the_first():
	first = counted(0)
	assert double_read_of(moment(60), LogType.IN, [first], MINUTE) is first
	assert double_read_of(moment(61), LogType.IN, [first], MINUTE) is None


def test_a_read_that_arrives_late_is_compared_with_the_pass_after_it():
	after = counted(30)
	assert double_read_of(moment(0), LogType.IN, [after], MINUTE) is after


def test_the_nearest_is_named():
	assert double_read_of(moment(0), LogType.IN, [counted(-50), counted(10)], MINUTE) == counted(10)


def test_leaving_right_after_arriving_is_no_double_read():
	assert double_read_of(moment(20), LogType.OUT, [counted(0)], MINUTE) is None


def test_at_an_alternating_door_any_way_is_compared():
	assert double_read_of(moment(20), None, [counted(0, LogType.OUT)], MINUTE) is not None


def test_a_log_made_by_hand_is_no_pass():
	assert double_read_of(moment(20), LogType.IN, [counted(0, event="")], MINUTE) is None


def test_one_second_is_one_pass_even_without_a_window():
	assert double_read_of(moment(0), LogType.IN, [counted(0)], timedelta(0)) is not None
	assert double_read_of(moment(1), LogType.IN, [counted(0)], timedelta(0)) is None


def test_reads_an_hour_apart_that_show_almost_the_same_time_in_autumn_are_two():
	zone = ZoneInfo("Europe/Ljubljana")
	first = datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc)
	second = at_site(first + timedelta(hours=1, seconds=10), zone)
	earlier = Checkin("C", at_site(first, zone).time, LogType.IN, first, "E")
	assert double_read_of(second, LogType.IN, [earlier], MINUTE) is None


@given(
	st.lists(st.tuples(st.integers(0, 600), st.sampled_from([LogType.IN, LogType.OUT])), max_size=20),
	st.integers(0, 120),
)
def test_in_any_order_counted_passes_of_one_way_keep_their_distance(reads, window):
	logs: list[Checkin] = []
	for seconds, kind in reads:
		double = double_read_of(moment(seconds), kind, logs, timedelta(seconds=window))
		if double is None:
			logs.append(counted(seconds, kind))
		else:
			assert double.log_type is kind
	for kind in (LogType.IN, LogType.OUT):
		times = sorted(log.time for log in logs if log.log_type is kind)
		gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
		assert all(gap > timedelta(seconds=window) for gap in gaps)


def written_down(seconds: int, log_type=LogType.IN) -> Checkin:
	at = EIGHT + timedelta(seconds=seconds)
	return Checkin(f"H{seconds}", at.replace(tzinfo=None), log_type, at, by_hand=True)


def test_a_pass_that_was_written_down_by_hand_stands_for_the_real_one():
	by_hand = written_down(0)
	assert double_read_of(moment(60), LogType.IN, [by_hand], MINUTE) is by_hand
	assert double_read_of(moment(61), LogType.IN, [by_hand], MINUTE) is None
	assert double_read_of(moment(10), LogType.OUT, [by_hand], MINUTE) is None


def test_a_pass_without_a_way_is_the_one_that_was_written_down_with_one():
	by_hand = written_down(0)
	assert double_read_of(moment(10), LogType.NONE, [by_hand], MINUTE) is by_hand
	assert double_read_of(moment(10), LogType.NONE, [counted(0)], MINUTE) is None
