"""One person, one door, read twice: the second read is told apart from a second pass by time alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from hikvision_frappe.core.checkin import Checkin, LogType
from hikvision_frappe.core.clock import SiteMoment, elapsed


def double_read_of(
	moment: SiteMoment,
	log_type: LogType | None,
	checkins: Iterable[Checkin],
	window: timedelta,
) -> Checkin | None:
	"""The nearest counted pass of the same way within the window on either side, or None.

	checkins: the employee's; only those made from events, or by hand in place of them, are passes. log_type: None
	compares with every way, for doors that alternate: a second read there would turn an arrival into a departure.
	Events arrive in any order, so a pass after this one counts as well as one before. Two passes within the
	same second are one even when the window is zero; HRMS could not keep both. A pass without a way is also the
	one that somebody wrote down as IN or OUT.
	"""
	near = [
		(abs(elapsed(checkin, moment)), checkin) for checkin in checkins if _is_same_way(checkin, log_type)
	]
	near = [pair for pair in near if pair[0] <= window]
	return min(near, key=lambda pair: (pair[0], pair[1].name))[1] if near else None


def _is_same_way(checkin: Checkin, log_type: LogType | None) -> bool:
	if checkin.by_hand and log_type is LogType.NONE:
		return True
	is_pass = bool(checkin.event) or checkin.by_hand
	return is_pass and (log_type is None or checkin.log_type is log_type)
