"""From the spool to the site, in batches, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timezone

from hikvision_frappe.listener.backoff import full_jitter
from hikvision_frappe.listener.faults import log_fault
from hikvision_frappe.listener.site import Delivery, SiteUnavailable
from hikvision_frappe.listener.site_thread import SiteThread
from hikvision_frappe.listener.spool import Batch, Spool, SpoolUnavailable

logger = logging.getLogger("hikvision.forward")


@dataclass(frozen=True, slots=True)
class ForwardSettings:
	"""batch: most events in one delivery. gather: seconds between deliveries under load, so that they grow; after
	one of fewer than ``company`` events the next waits for less. Waits after a failure go from ``least_wait`` to
	``most_wait`` seconds."""

	batch: int = 500
	gather: float = 0.15
	company: int = 20
	least_wait: float = 1.0
	most_wait: float = 30.0


class Forwarder:
	"""Takes the oldest events, delivers them, and only then lets the spool forget them.

	error: why the site cannot take events now, in words. lag: seconds that the last delivered event had waited.
	"""

	def __init__(self, spool: Spool, site: SiteThread, settings: ForwardSettings) -> None:
		self._spool = spool
		self._site = site
		self._settings = settings
		self._finishing = asyncio.Event()
		self.error = ""
		self.lag = 0.0
		self.new = 0
		self.known = 0

	async def run(self) -> None:
		"""Forward until ``finish`` was called and nothing waits any more."""
		while not (self._finishing.is_set() and self._spool.depth == 0):
			if not await self._something_waits():
				continue
			delivered = await self._forward_batch()
			if delivered < self._settings.batch and not self._finishing.is_set():
				await asyncio.sleep(self._settings.gather * min(1.0, delivered / self._settings.company))

	def finish(self) -> None:
		"""Let ``run`` end as soon as the spool is empty."""
		self._finishing.set()

	async def _something_waits(self) -> bool:
		"""Wait for work or for the end, whichever comes first; True when there is work."""
		if self._spool.depth:
			return True
		work = asyncio.ensure_future(self._spool.wait_for_work())
		finishing = asyncio.ensure_future(self._finishing.wait())
		try:
			await asyncio.wait({work, finishing}, return_when=asyncio.FIRST_COMPLETED)
			return work.done() or self._spool.depth > 0
		finally:
			work.cancel()
			finishing.cancel()

	async def _forward_batch(self) -> int:
		try:
			batch = await self._spool.take(self._settings.batch)
		except SpoolUnavailable:
			await asyncio.sleep(self._settings.least_wait)
			return 0
		if not batch:
			return 0
		delivery = await self._deliver_patiently(batch)
		await self._acknowledge_patiently(batch, delivery)
		self.new += delivery.new
		self.known += delivery.known
		self.lag = (datetime.now(timezone.utc) - batch.stored_at[0]).total_seconds()
		return len(batch)

	async def _deliver_patiently(self, batch: Batch) -> Delivery:
		failures = 0
		while True:
			try:
				delivery = await self._site.deliver(batch.events)
			except SiteUnavailable as unavailable:
				self._note(f"The site cannot take events now ({unavailable}).")
			except Exception as error:  # a fault of the site's code; the events are as precious as before
				self._note(f"The site failed with {type(error).__name__}; its log says more.")
				log_fault(logger, "the site", error)
			else:
				self._note("")
				self._log_refusals(delivery)
				return delivery
			failures += 1
			await asyncio.sleep(full_jitter(failures, self._settings.least_wait, self._settings.most_wait))

	async def _acknowledge_patiently(self, batch: Batch, delivery: Delivery) -> None:
		"""A spool that cannot be written now keeps the batch; delivering it twice would be only a waste."""
		while True:
			try:
				return await self._spool.acknowledge(batch, delivery.refused)
			except SpoolUnavailable:
				await asyncio.sleep(self._settings.least_wait)

	def _note(self, error: str) -> None:
		"""Remember the error in words, and log when it comes and goes, not while it lasts."""
		if error and not self.error:
			logger.error("%s The spool keeps everything until it can.", error)
		elif self.error and not error:
			logger.info("the site takes events again")
		self.error = error

	def _log_refusals(self, delivery: Delivery) -> None:
		for reason in sorted(set(delivery.refused.values())):
			logger.error("the site refuses events for good: %s; they are set aside in the spool", reason)
