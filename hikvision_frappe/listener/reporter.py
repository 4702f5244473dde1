"""Tell the site how the devices are: changes of state soon, mere progress now and then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hikvision_frappe.listener.site import DeviceReport

PROGRESS_SECONDS = 30.0


class ReportFilter:
	"""Chooses the device reports that are worth sending, so that a thousand heartbeats are not a thousand writes.

	A report counts as sent only after ``sent``: what a failing site missed is chosen again.
	"""

	def __init__(self, progress_seconds: float = PROGRESS_SECONDS) -> None:
		self._progress_seconds = progress_seconds
		self._sent: dict[str, tuple[DeviceReport, float]] = {}

	def choose(self, reports: Iterable[DeviceReport], now: float) -> list[DeviceReport]:
		"""Those that are new, in another state, or have progressed since long enough (``now`` in seconds)."""
		return [report for report in reports if self._is_due(report, now)]

	def sent(self, reports: Sequence[DeviceReport], now: float) -> None:
		for report in reports:
			self._sent[report.device] = (report, now)

	def forget_others(self, devices: Iterable[str]) -> None:
		"""Forget devices that are no longer entered."""
		known = set(devices)
		self._sent = {device: sent for device, sent in self._sent.items() if device in known}

	def _is_due(self, report: DeviceReport, now: float) -> bool:
		if report.device not in self._sent:
			return True
		before, at = self._sent[report.device]
		if _without_progress(report) != _without_progress(before):
			return True
		return report != before and now - at >= self._progress_seconds


def _without_progress(report: DeviceReport) -> DeviceReport:
	return replace(report, last_heartbeat=None, last_event=None, events=0)
