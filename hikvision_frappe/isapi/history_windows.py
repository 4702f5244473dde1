"""Stretches of time to search in: cut into halves without a second in both or in none, and written as a device does.

Devices keep whole seconds, and both ends of a search belong to it. So a window is counted in seconds as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo

from hikvision_frappe.isapi.answers import DeviceClock
from hikvision_frappe.isapi.parsing import ParseContext
from hikvision_frappe.isapi.times import zone_named

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
# A range of more days is not looked through for changes of the clock.
MAX_DAYS = 40 * 366


@dataclass(frozen=True, slots=True)
class Window:
	"""The seconds from ``since`` to ``until``, both inclusive; UTC by the device's clock."""

	since: datetime
	until: datetime

	@property
	def seconds(self) -> int:
		return int((self.until - self.since).total_seconds()) + 1

	def halves(self) -> tuple[Window, Window]:
		"""The earlier and the later half, of at least one second each; raises ValueError for a single second."""
		if self.seconds < 2:
			raise ValueError("a second has no halves")
		middle = self.since + timedelta(seconds=self.seconds // 2)
		return Window(self.since, middle - SECOND), Window(middle, self.until)

	def holds(self, moment: datetime) -> bool:
		return self.since <= moment < self.until + SECOND


@dataclass(frozen=True, slots=True)
class RepeatedHour:
	"""The wall clock times that the end of summer time shows twice, as two windows of equal length."""

	first: Window
	second: Window

	@property
	def amount(self) -> timedelta:
		return self.second.since - self.first.since


@dataclass(frozen=True, slots=True)
class WindowText:
	"""How a device writes instants in a search: wall time of ``zone``, and ``offset`` or else that of the zone."""

	zone: tzinfo
	offset: timedelta | None = None

	def write(self, moment: datetime) -> str:
		"""``2026-05-04T10:00:00+02:00``: no fraction and no Z, which devices reject."""
		local = moment.astimezone(self.zone)
		offset = self.offset if self.offset is not None else local.utcoffset() or timedelta()
		minutes = int(abs(offset).total_seconds()) // 60
		sign = "-" if offset < timedelta() else "+"
		return f"{local:%Y-%m-%dT%H:%M:%S}{sign}{minutes // 60:02}:{minutes % 60:02}"


def texts_for(context: ParseContext, clock: DeviceClock) -> tuple[WindowText, WindowText]:
	"""The way to write windows for a device, and another one for when nothing is found that way.

	It mirrors how the times in the rows will be read. Where the device follows the configured zone, each instant is
	written with the offset of its own season, so that a device which looks at the wall time alone finds the same;
	the other way has today's offset for all, because some devices find nothing with any other.
	"""
	zone = zone_named(context.zone)
	if not context.trust_offset:
		text = WindowText(zone, clock.utc_offset)
		return text, text
	today = clock.moment.astimezone(zone).utcoffset() or timedelta()
	if clock.utc_offset is None or clock.utc_offset == today:
		return WindowText(zone), WindowText(timezone(today))
	text = WindowText(timezone(clock.utc_offset))
	return text, text


def stretches(window: Window, zone: tzinfo) -> Iterator[Window | RepeatedHour]:
	"""The window in order, cut at the hours that ``zone`` repeats; such an hour is given whole, once its part is."""
	since = window.since
	for hour in _repeated_hours(window, zone):
		if since < hour.first.since:
			yield Window(since, hour.first.since - SECOND)
		yield hour
		since = hour.second.until + SECOND
	if since <= window.until:
		yield Window(since, window.until)


def _repeated_hours(window: Window, zone: tzinfo) -> Iterator[RepeatedHour]:
	# An hour that began before the window belongs to it as well.
	moment, end = window.since - DAY, window.until + DAY
	before = _offset(moment, zone)
	for _ in range(MAX_DAYS):
		if moment >= end:
			return
		after = _offset(moment + DAY, zone)
		if after < before:
			hour = _hour_of_change(_change_between(moment, moment + DAY, zone), before - after)
			if hour.second.until >= window.since and hour.first.since <= window.until:
				yield hour
		moment, before = moment + DAY, after


def _hour_of_change(change: datetime, amount: timedelta) -> RepeatedHour:
	return RepeatedHour(Window(change - amount, change - SECOND), Window(change, change + amount - SECOND))


def _change_between(before: datetime, after: datetime, zone: tzinfo) -> datetime:
	"""The first second with the later offset."""
	offset = _offset(after, zone)
	while after - before > SECOND:
		middle = before + (after - before) // (2 * SECOND) * SECOND
		if _offset(middle, zone) == offset:
			after = middle
		else:
			before = middle
	return after


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
	return moment.astimezone(zone).utcoffset() or timedelta()
