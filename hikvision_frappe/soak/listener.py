"""A process with a whole listener on a local ledger: python -m hikvision_frappe.soak.listener FOLDER NAME PUSH_PORT.

While there is a file ``away`` in the folder, the site is away.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.listener.contact import ContactSettings
from hikvision_frappe.listener.forward import ForwardSettings
from hikvision_frappe.listener.history import HistorySettings
from hikvision_frappe.listener.local_completeness import KeeperSettings
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.silence import SilenceSettings
from hikvision_frappe.listener.site import Delivery, DeviceConfig, ListenerReport, SiteUnavailable
from hikvision_frappe.listener.stream import StreamSettings
from hikvision_frappe.listener.supervisor import NO_PORT, Listener, ListenerSettings
from hikvision_frappe.soak.town import configs_from_text

LEASE_SECONDS = 6.0
SPOOL_BYTES = 400_000  # so little that it fills while the site is away
# All times are those of a site shortened, so that minutes show what hours would.
KEEPER = KeeperSettings(
	unheard=timedelta(seconds=20),
	fetch_after=timedelta(seconds=1),
	patience=timedelta(seconds=20),
	overlap=timedelta(seconds=30),
	first_reading=timedelta(hours=1),
	retry_least=1.0,
	retry_most=8.0,
)
STREAMS = StreamSettings(
	retry_least=0.2,
	retry_most=3.0,
	slot_least=0.5,
	slot_most=3.0,
	lock_margin=1.0,
	silence=SilenceSettings(floor=13.0, ceiling=20.0),
)
CONTACT = ContactSettings(
	replay=timedelta(seconds=3), heartbeat_floor=timedelta(seconds=13), push_patience=timedelta(seconds=12)
)


class MoodySite(LocalSite):
	"""Cannot answer while its folder says so."""

	def __init__(self, folder: Path) -> None:
		configs = configs_from_text((folder / "devices.json").read_text())
		super().__init__(folder / "ledger.sqlite3", configs, settings=KEEPER)
		self._away = folder / "away"

	def _answer(self) -> None:
		if self._away.exists():
			raise SiteUnavailable("the site is away")

	def devices(self, listener: str, lease_seconds: float) -> Sequence[DeviceConfig]:
		self._answer()
		return super().devices(listener, lease_seconds)

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		self._answer()
		return super().deliver(events)

	def report(self, report: ListenerReport) -> None:
		self._answer()
		super().report(report)


async def serve(folder: Path, name: str, push_port: int) -> None:
	stop = asyncio.Event()
	for number in (signal.SIGTERM, signal.SIGINT):
		asyncio.get_running_loop().add_signal_handler(number, stop.set)
	settings = ListenerSettings(
		spool_path=folder / name / "spool.sqlite3",
		push_host="127.0.0.1",
		push_port=push_port,
		status_port=NO_PORT,
		name=name,
		lease_seconds=LEASE_SECONDS,
		poll_seconds=1.5,
		report_seconds=1.0,
		progress_seconds=3.0,
		alive_seconds=1.0,
		stop_seconds=5.0,
		spool_max_bytes=SPOOL_BYTES,
		stream=STREAMS,
		forward=ForwardSettings(most_wait=2.0),
		contact=CONTACT,
		history=HistorySettings(poll_seconds=1.0, settle_seconds=2.0, most_wait=3.0),
	)
	await Listener(MoodySite(folder), settings).run(stop)


if __name__ == "__main__":
	logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
	asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
