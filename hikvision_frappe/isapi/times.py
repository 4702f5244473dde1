"""Instants from the ways in which devices write them.

Seen on devices: ``2026-07-16T19:23:13-05:00``, ``Z``, no offset, a space instead of ``T``, ``-6:00``, ``-0300``,
``+08:30``, and an offset without its sign (``11:47:1500:00``). The offset may be the factory's and wrong: then
the caller distrusts it and the wall time is read in the device's configured zone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from hikvision_frappe.core.event import TimeQuality

EARLIEST_YEAR = 2000
FIRST_CLOCK_YEAR = 1970  # an earlier year is no clock's, but rubbish
FUTURE_TOLERANCE = timedelta(days=1)
# A record read within this time of its writing is taken for a live one when its hour happens twice.
LIVE_SPAN = timedelta(minutes=30)
WIDEST_OFFSET = timedelta(hours=18)
MAX_TEXT = 64

_MOMENT = re.compile(
	r"(?P<date>\d{4}-\d{1,2}-\d{1,2})(?:[Tt]|[ ]+)"
	r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
	r"[ ]*(?P<offset>\S*)",
	re.ASCII,
)
_OFFSET = re.compile(r"(?P<sign>[+-]?)(?P<hours>\d{1,2}):?(?P<minutes>\d{2})?(?::\d{2})?", re.ASCII)


class UnreadableTime(ValueError):
	"""A text in which no date and time can be found."""


@dataclass(frozen=True, slots=True)
class DeviceTime:
	"""An instant as a device told it. moment: UTC. text: what the device wrote. quality: how far to trust it."""

	moment: datetime
	text: str
	quality: TimeQuality


def read_device_time(text: str, zone: str, trust_offset: bool, received_at: datetime) -> DeviceTime:
	"""Read a device's time text into a UTC instant.

	zone: IANA name, used when the text has no usable offset or ``trust_offset`` is False. received_at: aware.
	An instant before 2000 or more than a day after ``received_at`` is IMPLAUSIBLE (a lost clock), and kept.

	In the hour that the end of summer time repeats, a time without offset has two instants. A live record (one of
	the two lies within half an hour of ``received_at``) is the nearer one; otherwise the first one is taken.

	Raises UnreadableTime; ``zone`` must exist (ZoneInfoNotFoundError, a KeyError, otherwise).
	"""
	wall, offset = _read_text(text, zone, trust_offset)
	try:
		if offset is None:
			moment = _in_zone(wall, zone_named(zone), received_at)
			quality = TimeQuality.ZONE_ASSUMED
		else:
			moment = wall.replace(tzinfo=timezone(offset)).astimezone(timezone.utc)
			quality = TimeQuality.EXACT
	except OverflowError:
		raise UnreadableTime(f"time out of range: {text[:MAX_TEXT]!r}") from None
	if not _is_plausible(moment, received_at):
		quality = TimeQuality.IMPLAUSIBLE
	return DeviceTime(moment, text[:MAX_TEXT], quality)


@lru_cache(maxsize=256)
def zone_named(name: str) -> tzinfo:
	"""The IANA zone; raises ZoneInfoNotFoundError or ValueError for a name that is none."""
	return ZoneInfo(name)


@lru_cache(maxsize=256)  # what many devices tell within a second is written alike
def _read_text(text: str, zone: str, trust_offset: bool) -> tuple[datetime, timedelta | None]:
	"""The naive wall time, and its offset from UTC if that can be used."""
	wall, offset_text = _split(text)
	return wall, _read_offset(offset_text, wall, zone) if trust_offset else None


def _split(text: str) -> tuple[datetime, str]:
	"""The naive wall time and whatever stands behind it."""
	match = _MOMENT.fullmatch(text.strip()) if len(text) <= MAX_TEXT else None
	if match is None:
		raise UnreadableTime(f"no time in {text[:MAX_TEXT]!r}")
	year, month, day = (int(part) for part in match["date"].split("-"))
	fraction = (match["fraction"] or "0").ljust(6, "0")[:6]
	leap_free_second = min(int(match["second"] or 0), 59)
	try:
		wall = datetime(
			year, month, day, int(match["hour"]), int(match["minute"]), leap_free_second, int(fraction)
		)
		if year < FIRST_CLOCK_YEAR:
			raise ValueError("before all clocks")
	except ValueError:
		raise UnreadableTime(f"no such time: {text[:MAX_TEXT]!r}") from None
	return wall, match["offset"]


def _read_offset(text: str, wall: datetime, zone: str) -> timedelta | None:
	"""The offset from UTC, or None when the text has none that can be used."""
	if text in ("Z", "z"):
		return timedelta(0)
	match = _OFFSET.fullmatch(text)
	if match is None:
		return None
	offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
	if offset > WIDEST_OFFSET:
		return None
	if match["sign"]:
		return -offset if match["sign"] == "-" else offset
	return _with_lost_sign(offset, wall, zone)


def _with_lost_sign(offset: timedelta, wall: datetime, zone: str) -> timedelta | None:
	"""An offset whose sign the device left out: the one that the configured zone has at that time, if any."""
	if not offset:
		return offset
	local = zone_named(zone).utcoffset(wall)
	return local if local in (offset, -offset) else None


def _in_zone(wall: datetime, zone: tzinfo, received_at: datetime) -> datetime:
	first = wall.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
	second = wall.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
	if second <= first:  # no repeated hour, or an hour that the zone skips
		return first
	nearer = min(first, second, key=lambda moment: abs(moment - received_at))
	return nearer if abs(nearer - received_at) <= LIVE_SPAN else first


def _is_plausible(moment: datetime, received_at: datetime) -> bool:
	return moment.year >= EARLIEST_YEAR and moment <= received_at + FUTURE_TOLERANCE
