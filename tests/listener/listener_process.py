"""A whole listener in a process of its own, which kills itself (-9) between delivery and acknowledgement.

python listener_process.py FOLDER DEVICE_PORT LIVES_FOR

Prints its push port, then serves. After ``LIVES_FOR`` deliveries it dies; 0 means it lives until SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from listener_support import a_device
from running import quick

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import Delivery, IngestMode
from hikvision_frappe.listener.supervisor import Listener


class DeadlySite(LocalSite):
	"""Commits, and takes the process with it before anybody can be told."""

	lives_for = 0

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		delivery = super().deliver(events)
		self.lives_for -= 1
		if self.lives_for == 0:
			os.kill(os.getpid(), signal.SIGKILL)
		return delivery


async def serve(folder: Path, device_port: int, lives_for: int) -> None:
	stop = asyncio.Event()
	asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
	stream = a_device("gate", mode=IngestMode.STREAM, port=device_port, password="Sim-12345", zone="UTC")
	site = DeadlySite(folder / "ledger.sqlite3", [stream, a_device("hall")])
	site.lives_for = lives_for
	listener = Listener(site, quick(folder / "spool.sqlite3"))
	running = asyncio.create_task(listener.run(stop))
	await listener.ready.wait()
	assert listener.parts is not None
	print(listener.parts.push.port, flush=True)
	await running


if __name__ == "__main__":
	asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
