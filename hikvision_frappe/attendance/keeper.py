"""The keeper's rounds beside the drain: gaps and watermarks of devices, and the Shift Types that follow them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import frappe

from hikvision_frappe.attendance.failures import is_interruption
from hikvision_frappe.attendance.shifts import sync_shifts
from hikvision_frappe.ledger import signal as wake
from hikvision_frappe.ledger.completeness import tend

logger = logging.getLogger("hikvision.keeper")

ROUND_SECONDS = 5.0
WOKEN_SECONDS = 1.0  # rounds follow each other no closer, however often somebody wakes the keeper
SHARE = 10  # a round that takes long is followed by a pause so many times as long
FAILED_SECONDS = 30.0
# After an outage of the site listeners need some time to tell what was heard meanwhile.
STEADY_SECONDS = 30.0


def keep(*, notice_outages: bool = True) -> None:
	"""One round on the connected site, and the shifts after it. Commits."""
	if tend(notice_outages=notice_outages):
		sync_shifts()
		frappe.db.commit()  # nosemgrep: the shifts follow what is committed


class Keeper:
	"""When a round is due; belongs to one process and its connection."""

	def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
		self._clock = clock
		self._next = self._woken_from = clock()
		self._steady_from = clock() + STEADY_SECONDS

	def look(self) -> None:
		"""Make a round when it is time. Its own faults are logged and waited out; an interruption is raised."""
		if not self._is_due():
			return
		began = self._clock()
		try:
			keep(notice_outages=began >= self._steady_from)
		except Exception as error:
			if is_interruption(error):
				raise
			frappe.db.rollback()
			logger.error("the keeper failed; trying again", exc_info=error)
			self._next = self._woken_from = self._clock() + FAILED_SECONDS
			return
		took = self._clock() - began
		self._next = self._clock() + max(ROUND_SECONDS, SHARE * took)
		self._woken_from = self._clock() + max(WOKEN_SECONDS, SHARE * took)

	def interrupted(self) -> None:
		"""The site could not be worked on, nor could listeners report to it."""
		self._steady_from = self._clock() + STEADY_SECONDS

	def _is_due(self) -> bool:
		now = self._clock()
		return now >= self._next or (now >= self._woken_from and wake.keeper_is_due())
