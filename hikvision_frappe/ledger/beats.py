"""The heartbeats of devices that push: how often they come, and how long a silence may last.

Each device has its own interval, so it is learned; it is kept in Redis, and learned anew when that is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from statistics import median_low

import frappe

from hikvision_frappe.ledger.signal import REDIS_TROUBLE

KEY = "hikvision_beats"
LEAST = timedelta(minutes=5)  # no silence is too long before
TIMES = 3
REMEMBERED = 5


def limit(device: str) -> timedelta:
	"""How long the silence between two heartbeats of the device may last for it to be heard all the while."""
	return _limit(_known([device]).get(device, ()))


def limits(devices: Collection[str]) -> dict[str, timedelta]:
	"""How long each device may be silent before that is an outage; without those that are not known to beat."""
	known = _known(devices)
	return {device: _limit(known[device]) for device in devices if known.get(device)}


def learn(intervals: Mapping[str, float]) -> None:
	"""Remember how long, in seconds, each device's latest silence lasted; losing it harms nothing but the limit."""
	if not intervals:
		return
	known = _known(intervals)
	with suppress(*REDIS_TROUBLE):
		for device, seconds in intervals.items():
			frappe.cache.hset(KEY, device, [*known.get(device, ()), seconds][-REMEMBERED:])


def _known(devices: Collection[str]) -> dict[str, Sequence[float]]:
	if not devices:
		return {}
	try:
		if len(devices) == 1:
			(device,) = devices
			return {device: frappe.cache.hget(KEY, device) or ()}
		return frappe.cache.hgetall(KEY) or {}
	except REDIS_TROUBLE:
		return {}


def _limit(intervals: Sequence[float]) -> timedelta:
	"""By the usual interval, of which an outage is not one."""
	usual = timedelta(seconds=median_low(intervals) if intervals else 0)
	return max(LEAST, TIMES * usual)
