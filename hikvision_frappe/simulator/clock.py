"""A device's clock: real time with a skew, and the many ways in which terminals write an instant."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from enum import Enum
from zoneinfo import ZoneInfo

FACTORY_ZONE = "CST-8:00:00"
_FIXED_ZONE = re.compile(r"^[A-Z]{3}([+-])(\d{1,2}):(\d{2}):(\d{2})$")


class OffsetForm(str, Enum):
	"""How the offset is written after the wall time ``2026-03-01T08:00:00``."""

	COLON = "+05:00"
	BARE = "+0500"
	UNPADDED = "+5:00"
	SIGNLESS = "05:00"
	ZULU = "Z"  # the wall time is UTC then
	NONE = ""
	FACTORY = "factory"  # right wall time, but the offset of the factory (+08:00)


class DeviceClock:
	"""Real time plus a skew that ``jump`` changes, shown in a zone."""

	def __init__(self, zone: str) -> None:
		"""``zone``: IANA name, e.g. "Europe/Bratislava"."""
		self.zone: tzinfo = ZoneInfo(zone)
		self.skew = timedelta()
		self.mode = "NTP"

	def now(self) -> datetime:
		"""What the device believes: UTC, whole seconds, as every record has it."""
		return (datetime.now(timezone.utc) + self.skew).replace(microsecond=0)

	def jump(self, seconds: float) -> None:
		"""Set the clock forward, or back with a negative figure."""
		self.skew += timedelta(seconds=seconds)

	def set(self, moment: datetime) -> None:
		"""Set the clock; a naive ``moment`` is wall time in the device's zone."""
		aware = moment if moment.tzinfo else moment.replace(tzinfo=self.zone)
		self.skew = aware - datetime.now(timezone.utc)

	def text(self, moment: datetime, form: OffsetForm = OffsetForm.COLON, separator: str = "T") -> str:
		"""An instant as this device writes it."""
		local = moment.astimezone(timezone.utc if form is OffsetForm.ZULU else self.zone)
		wall = f"{local:%Y-%m-%d}{separator}{local:%H:%M:%S}"
		return wall + offset_text(local.utcoffset() or timedelta(), form)

	def posix_zone(self) -> str:
		"""The ``timeZone`` text of ``/ISAPI/System/time``; POSIX counts the other way: minus is east."""
		year = datetime.now(timezone.utc).year
		standard = min(_offset_at(self.zone, year, month) for month in (1, 7))
		text = f"CST{_posix_offset(standard)}"
		changes = _clock_changes(self.zone, year)
		if len(changes) != 2:
			return text
		starts, ends = sorted(changes, key=lambda change: change[1] < change[2])[::-1]
		amount = starts[2] - starts[1]
		return f"{text}DST{_clock_text(amount)},{_posix_rule(*starts[:2])},{_posix_rule(*ends[:2])}"

	def set_posix_zone(self, text: str) -> bool:
		"""Take over a ``timeZone`` text without daylight saving; False when it is another kind of text."""
		match = _FIXED_ZONE.match(text)
		if match is None:
			return False
		sign, hours, minutes, seconds = match.groups()
		amount = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
		self.zone = timezone(amount if sign == "-" else -amount)
		return True


def offset_text(offset: timedelta, form: OffsetForm) -> str:
	"""An UTC offset as the given form writes it."""
	if form is OffsetForm.NONE:
		return ""
	if form is OffsetForm.ZULU:
		return "Z"
	if form is OffsetForm.FACTORY:
		return "+08:00"
	sign = "-" if offset < timedelta() else "+"
	hours, minutes = divmod(int(abs(offset).total_seconds()) // 60, 60)
	return {
		OffsetForm.COLON: f"{sign}{hours:02}:{minutes:02}",
		OffsetForm.BARE: f"{sign}{hours:02}{minutes:02}",
		OffsetForm.UNPADDED: f"{sign}{hours}:{minutes:02}",
		OffsetForm.SIGNLESS: f"{hours:02}:{minutes:02}",
	}[form]


def repeated_hour(zone: str, year: int) -> tuple[datetime, datetime]:
	"""Two UTC instants with one wall time: half past in the hour that autumn repeats.

	Raises ValueError for a zone and year whose clocks are never set back.
	"""
	place = ZoneInfo(zone)
	for moment, before, after in _clock_changes(place, year):
		if after < before:
			second = moment.astimezone(timezone.utc) + (before - after) / 2
			return second - (before - after), second
	raise ValueError(f"no repeated hour in {zone} in {year}")


def _offset_at(zone: tzinfo, year: int, month: int) -> timedelta:
	return datetime(year, month, 1, tzinfo=zone).utcoffset() or timedelta()


def _clock_changes(zone: tzinfo, year: int) -> list[tuple[datetime, timedelta, timedelta]]:
	"""(instant UTC, offset before, offset after) for each change of the year; changes fall on full hours."""
	changes = []
	moment = datetime(year, 1, 1, tzinfo=timezone.utc)
	before = moment.astimezone(zone).utcoffset() or timedelta()
	for _ in range(366):
		after = (moment + timedelta(days=1)).astimezone(zone).utcoffset() or timedelta()
		if after != before:
			changes.append((_change_within_day(zone, moment, before), before, after))
		moment, before = moment + timedelta(days=1), after
	return changes


def _change_within_day(zone: tzinfo, day: datetime, before: timedelta) -> datetime:
	moment = day
	for _ in range(48):
		moment += timedelta(minutes=30)
		if moment.astimezone(zone).utcoffset() != before:
			break
	return moment


def _posix_offset(offset: timedelta) -> str:
	sign = "-" if offset >= timedelta() else "+"
	return sign + _clock_text(abs(offset), padded=False)


def _clock_text(amount: timedelta, padded: bool = True) -> str:
	minutes, seconds = divmod(int(amount.total_seconds()), 60)
	hours, minutes = divmod(minutes, 60)
	return f"{hours:02}:{minutes:02}:{seconds:02}" if padded else f"{hours}:{minutes:02}:{seconds:02}"


def _posix_rule(moment: datetime, before: timedelta) -> str:
	"""``M<month>.<week>.<weekday>/<wall time before the change>``; week 5 is the last one."""
	wall = moment.astimezone(timezone(before))
	last = (wall + timedelta(days=7)).month != wall.month
	week = 5 if last else (wall.day - 1) // 7 + 1
	return f"M{wall.month}.{week}.{wall.isoweekday() % 7}/{wall:%H:%M:%S}"
