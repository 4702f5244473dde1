"""The listener's push port alone, and a client to it."""

from __future__ import annotations

import asyncio

import aiohttp
from listener_support import SECRET, a_device

from hikvision_frappe.listener.device_track import DeviceTrack, Intake
from hikvision_frappe.listener.push import PushLimits, PushServer
from hikvision_frappe.listener.spool import Spool

JSON = {"Content-Type": "application/json"}


class Port:
	"""A running push port with one device, and a client to it."""

	def __init__(self, spool: Spool, limits: PushLimits | None = None) -> None:
		self.spool = spool
		self.intake = Intake(spool)
		self.server = PushServer(self.intake, limits)
		self.track = DeviceTrack("gate")
		self.session = aiohttp.ClientSession(auto_decompress=False)

	@property
	def settled(self) -> int:
		return self.intake.settled

	async def start(self, **device_changes) -> None:
		await self.server.start("127.0.0.1", 0)
		self.know(**device_changes)

	def know(self, **device_changes) -> None:
		self.server.set_devices([a_device(**device_changes)], {"gate": self.track})

	async def stop(self) -> None:
		await self.session.close()
		await self.server.stop()

	def url(self, token: str = f"keygate.{SECRET}") -> str:
		return f"http://127.0.0.1:{self.server.port}/hikvision/event/{token}"

	async def post(self, body: bytes, token: str = f"keygate.{SECRET}", headers=JSON) -> tuple[int, bytes]:
		async with self.session.post(self.url(token), data=body, headers=headers) as response:
			return response.status, await response.read()

	async def raw(self, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
		"""A connection on which something was begun; ``PATH`` stands for the right path."""
		reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
		writer.write(head.replace("PATH", f"/hikvision/event/keygate.{SECRET}").encode())
		await writer.drain()
		return reader, writer
