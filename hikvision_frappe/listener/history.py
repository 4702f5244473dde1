"""Reads the history of devices for a site: takes what is due, reads it, hands the rows over, tells how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hikvision_frappe.listener.site import Site


@dataclass(frozen=True, slots=True)
class HistorySettings:
	"""How histories are read; times in seconds unless they are timedeltas.

	poll_seconds: how often the site is asked what is due, and leases renewed. lease_seconds: after so long without
	renewal another reader may take a task over. readers: devices read at the same time. batch, gather_seconds: rows
	are handed over when so many are there or so long after the first of them. report_seconds: between two reports
	of progress. widen: read on each side of a stretch of time, as clocks drift. least_wait, most_wait: while the
	site is away. stop_seconds: how long a reading that is stopped may take to hand over what it has.
	lock_margin: added to the lock of an account. refused_logins: file that remembers which logins were refused, so
	that a wrong password is not tried once per start; the listener's is beside its spool. None: in memory alone.
	"""

	poll_seconds: float = 3.0
	lease_seconds: float = 45.0
	readers: int = 8
	batch: int = 500
	gather_seconds: float = 1.0
	report_seconds: float = 2.0
	widen: timedelta = timedelta(minutes=5)
	least_wait: float = 1.0
	most_wait: float = 30.0
	stop_seconds: float = 0.8
	lock_margin: float = 30.0
	refused_logins: Path | None = None


async def read_due_histories(site: Site, listener_name: str, settings: HistorySettings) -> None:
	"""Work off every reading that is due for devices which no other listener holds, then end; no listener is needed.

	site: used from a thread of its own and closed at the end, its leases given up. listener_name: for the leases; not
	the name of a running listener. Each task is read once, with progress and its end told by ``report_history``; one
	that fails is the site's to give out again. Cancel it to stop: what was read so far is kept.

	Raises SiteUnavailable when the site cannot say what is due.
	"""
	raise NotImplementedError
