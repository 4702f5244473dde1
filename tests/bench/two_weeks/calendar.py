"""The two weeks: from a Monday in October over the night in which the clock shows an hour twice."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Stockholm")
MONDAY = date(2026, 10, 19)
DAYS = [MONDAY + timedelta(days=number) for number in range(14)]
BANK_HOLIDAY = DAYS[9]
SUNDAYS = [day for day in DAYS if day.weekday() == 6]
WEEKENDS = [day for day in DAYS if day.weekday() >= 5]


def at(day: int, clock: str) -> datetime:
	"""The UTC instant of ``HH:MM`` on the site's wall, on the day with this number; 0 is the first Monday."""
	return instant(MONDAY + timedelta(days=day), time.fromisoformat(clock))


def instant(day: date, clock: time) -> datetime:
	"""The UTC instant of a time on the site's wall; of the repeated hour the first."""
	return datetime.combine(day, clock, ZONE).astimezone(timezone.utc)


def wall(moment: datetime) -> datetime:
	"""Naive site time of an instant, as HRMS keeps it."""
	return moment.astimezone(ZONE).replace(tzinfo=None, fold=0)


START = at(0, "00:00")
# Who was absent is marked a day after the shift.
END = at(14, "23:00")
STEP = timedelta(hours=1)
