"""Tell the site how the devices are: changes of state soon, mere progress now and then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor
from zlib import crc32

from hikvision_frappe.listener.site import DeviceReport

PROGRESS_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class _Sent:
	"""turn: in which period of its device it was sent. standing: what of it is more than progress."""

	report: DeviceReport
	turn: int
	standing: tuple[object, ...]


class ReportFilter:
	"""Chooses the device reports that are worth sending, so that a thousand heartbeats are not a thousand writes.

	Progress is told once in each period, and every device has its own place in the period, so that each report holds
	about as many as any other. A report counts as sent only after ``sent``: what a failing site missed is chosen
	again.
	"""

	def __init__(self, progress_seconds: float = PROGRESS_SECONDS) -> None:
		self._progress_seconds = progress_seconds
		self._sent: dict[str, _Sent] = {}

	def choose(self, reports: Iterable[DeviceReport], now: float) -> list[DeviceReport]:
		"""Those that are new, in another state, or have progressed since their last turn (``now`` in seconds)."""
		return [report for report in reports if self._is_due(report, now)]

	def sent(self, reports: Sequence[DeviceReport], now: float) -> None:
		for report in reports:
			self._sent[report.device] = _Sent(report, self._turn(report.device, now), _standing(report))

	def forget_others(self, devices: Iterable[str]) -> None:
		"""Forget devices that are no longer entered."""
		known = set(devices)
		self._sent = {device: sent for device, sent in self._sent.items() if device in known}

	def _is_due(self, report: DeviceReport, now: float) -> bool:
		before = self._sent.get(report.device)
		if before is None or _standing(report) != before.standing:
			return True
		return self._turn(report.device, now) != before.turn and report != before.report

	def _turn(self, device: str, now: float) -> int:
		place = crc32(device.encode()) % 1_000 / 1_000
		return floor(now / self._progress_seconds + place)


def _standing(report: DeviceReport) -> tuple[object, ...]:
	"""What people, or gaps, wait for; the rest is progress."""
	contact = report.contact
	return (
		report.state,
		report.since,
		report.connected_since,
		report.error,
		report.retry_at,
		report.reconnects,
		report.clock_offset,
		report.identity,
		(contact.since, contact.reason) if contact else None,
	)
