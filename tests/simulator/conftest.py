from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hikvision_frappe.simulator import PROFILES, Profile, SimulatedDevice

Starter = Callable[..., Awaitable[SimulatedDevice]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
	"""Starts devices that are stopped when the test ends: ``device = await start(profile, **options)``."""
	devices: list[SimulatedDevice] = []

	async def start_one(kind: Profile | str = "k1a340", **options: object) -> SimulatedDevice:
		profile = PROFILES[kind] if isinstance(kind, str) else kind
		device = SimulatedDevice(profile, **options)  # type: ignore[arg-type]
		devices.append(device)
		await device.start()
		return device

	yield start_one
	for device in devices:
		await device.stop()
