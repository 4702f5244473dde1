from datetime import date, datetime, timedelta

import pytest

from hikvision_frappe.core.shift_days import Verdict, end_of_day, verdict

DAY = date(2026, 3, 2)
HOUR = timedelta(hours=1)
ENDS = datetime(2026, 3, 2, 18, 0)
NEXT_MORNING = datetime(2026, 3, 3, 7, 0)


@pytest.mark.parametrize(
	("start", "end", "allowance", "expected"),
	[
		(8 * HOUR, 17 * HOUR, HOUR, ENDS),
		(8 * HOUR, 17 * HOUR, timedelta(0), datetime(2026, 3, 2, 17, 0)),
		(22 * HOUR, 6 * HOUR, HOUR, datetime(2026, 3, 3, 7, 0)),
		(14 * HOUR, 23 * HOUR, 2 * HOUR, datetime(2026, 3, 3, 1, 0)),
		(16 * HOUR, timedelta(0), HOUR, datetime(2026, 3, 3, 1, 0)),
	],
)
def test_a_shift_ends_with_its_last_check_out(start, end, allowance, expected):
	assert end_of_day(DAY, start, end, allowance) == expected


@pytest.mark.parametrize(
	("now", "last_sync", "watermarks", "expected"),
	[
		(NEXT_MORNING, None, [], Verdict.NO_DEVICE),
		(NEXT_MORNING, ENDS + HOUR, [ENDS + HOUR, NEXT_MORNING], Verdict.COMPLETE),
		(NEXT_MORNING, None, [ENDS + HOUR], Verdict.COMPLETE),
		(NEXT_MORNING, None, [NEXT_MORNING, ENDS - HOUR], Verdict.WAITING),
		(NEXT_MORNING, None, [NEXT_MORNING, ENDS], Verdict.WAITING),
		(NEXT_MORNING, ENDS - HOUR, [NEXT_MORNING, None], Verdict.WAITING),
		(NEXT_MORNING, ENDS + HOUR, [NEXT_MORNING, ENDS - HOUR], Verdict.TOO_EARLY),
		(NEXT_MORNING, ENDS, [ENDS - HOUR], Verdict.WAITING),
		(ENDS - HOUR, None, [ENDS - 2 * HOUR], Verdict.NOT_OVER),
		(ENDS, None, [None], Verdict.NOT_OVER),
	],
)
def test_a_day_is_complete_when_all_devices_are_complete_beyond_its_end(now, last_sync, watermarks, expected):
	assert verdict(ENDS, now, last_sync, watermarks) is expected
