"""Whether the passes of one shift on one day are all in: what a report says, and why HRMS may count that day or not.

Times are naive site times, as HRMS keeps and compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import Enum


class Verdict(str, Enum):
	"""Values are the labels shown in the report."""

	COMPLETE = "Complete"
	WAITING = "Waiting"  # the shift is over, and a device is not complete until its end
	TOO_EARLY = "Counted Too Early"  # HRMS may have counted the day although a device was not complete
	NOT_OVER = "Not Over"
	NO_DEVICE = "No Device"  # no device feeds the shift: nothing of ours moves it


def end_of_day(day: date, start: timedelta, end: timedelta, allowance: timedelta) -> datetime:
	"""When the last check-out of the shift that begins on ``day`` may still be made.

	start, end: of the shift, as times since midnight; one that ends before it starts ends on the next day.
	allowance: HRMS's *Allow check-out after shift end time*.
	"""
	midnight = datetime.combine(day, datetime.min.time())
	return midnight + end + (timedelta(days=1) if end < start else timedelta(0)) + allowance


def is_over(until: datetime | None, ends: datetime) -> bool:
	"""Whether a watermark lies behind the end; HRMS, too, asks for more than the very second."""
	return until is not None and until > ends


def verdict(
	ends: datetime, now: datetime, last_sync: datetime | None, watermarks: Sequence[datetime | None]
) -> Verdict:
	"""The verdict for one day of a shift.

	watermarks: of the devices that feed the shift, None for one that was never heard. last_sync: the shift's own
	*Last Sync of Checkin*, by which HRMS counts.
	"""
	if not watermarks:
		return Verdict.NO_DEVICE
	if all(is_over(each, ends) for each in watermarks):
		return Verdict.COMPLETE
	if is_over(last_sync, ends):
		return Verdict.TOO_EARLY
	return Verdict.NOT_OVER if now <= ends else Verdict.WAITING
