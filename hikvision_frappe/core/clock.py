"""From an instant to the naive site time that HRMS keeps, and the hour in autumn in which that loses something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hikvision_frappe.core.checkin import Checkin
from hikvision_frappe.core.event import as_utc

# No zone ever put its clocks back by more than this, apart from changes of the calendar day.
LONGEST_REPETITION = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class SiteMoment:
	"""An instant and what the clock on the site's wall showed.

	moment: UTC. time: naive, site's zone, whole seconds. repeated: the wall showed this time twice that day.
	"""

	moment: datetime
	time: datetime
	repeated: bool = False


def at_site(moment: datetime, zone: ZoneInfo) -> SiteMoment:
	"""The site's wall clock at an aware instant; fractions of a second are cut, as HRMS does.

	Raises ValueError for a naive datetime.
	"""
	moment = as_utc(moment).replace(microsecond=0)
	local = moment.astimezone(zone)
	repeated = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
	return SiteMoment(moment, local.replace(tzinfo=None, fold=0), repeated)


def to_site_time(moment: datetime, zone: str) -> datetime:
	"""Naive wall time of an aware instant in an IANA zone, whole seconds: what Frappe stores."""
	return at_site(moment, ZoneInfo(zone)).time


def moment_of(time: datetime, zone: ZoneInfo) -> datetime | None:
	"""The UTC instant of a naive site time, or None in the repeated hour, where there are two."""
	local = time.replace(tzinfo=zone, fold=0)
	first, second = as_utc(local), as_utc(local.replace(fold=1))
	# In the hour skipped in spring the two differ as well, but the other way round.
	return None if first < second else first


def everything_before(moment: datetime, zone: ZoneInfo) -> datetime:
	"""The latest naive site time of which it can be said that no later instant shows an earlier one.

	For a watermark: whoever reads it compares naive times. When the repeated hour is gone through for the first time,
	its times are still to come once more, so the watermark stays at that hour's beginning until it is reached again.
	"""
	moment = as_utc(moment).replace(microsecond=0)
	local = moment.astimezone(zone)
	first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
	if first is None or second is None or first <= second or local.fold:
		return at_site(moment, zone).time
	before, after = moment, moment + (first - second)  # the clocks are put back between the two
	while after - before > timedelta(seconds=1):
		middle = before + ((after - before) / 2)
		before, after = (middle, after) if middle.astimezone(zone).utcoffset() == first else (before, middle)
	return at_site(after, zone).time


def elapsed(since: Checkin, until: SiteMoment) -> timedelta:
	"""Time from a check-in to a moment, negative when it lies after; by instants where both are known."""
	if since.moment is not None:
		return until.moment - since.moment
	return until.time - since.time


def unsure_beside(moment: SiteMoment, checkins: Iterable[Checkin]) -> Checkin | None:
	"""The first check-in beside which this moment's naive time would be wrong or cannot be judged.

	Only in the repeated hour: the naive times are equal or in another order than the instants, or the other
	check-in's instant within that hour is unknown. None when the naive time tells the truth.
	"""
	if not moment.repeated:
		return None
	return next((checkin for checkin in checkins if _contradicts(moment, checkin)), None)


def _contradicts(moment: SiteMoment, checkin: Checkin) -> bool:
	if abs(moment.time - checkin.time) > LONGEST_REPETITION:
		return False
	if checkin.moment is None:
		return True
	return _sign(moment.moment - checkin.moment) != _sign(moment.time - checkin.time)


def _sign(difference: timedelta) -> int:
	zero = timedelta(0)
	return (difference > zero) - (difference < zero)
