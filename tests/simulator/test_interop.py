"""pyHik, the client behind Home Assistant's Hikvision integration, works against the recorder."""

from __future__ import annotations

import asyncio

from pyhik.hikvision import HikCamera

from hikvision_frappe.simulator import SimulatedDevice
from tests.simulator.conftest import Starter
from tests.simulator.support import PATIENCE, STREAM, profile, wait_until


class Motion:
	"""What pyHik's callback, which comes in pyHik's own thread, finds of channel 2's motion.

	pyHik also calls back when the stream itself connects; that says nothing of motion.
	"""

	def __init__(self, camera: HikCamera) -> None:
		self._camera = camera
		self.states: list[bool] = []
		camera.add_update_callback(self._changed, f"{camera.get_id}.Motion.2")

	def _changed(self, name: str) -> None:
		self.states.append(self._camera.fetch_attributes("Motion", 2)[0])


async def connected(device: SimulatedDevice) -> HikCamera:
	return await asyncio.to_thread(
		HikCamera, f"http://{device.host}", device.port, device.user, device.password
	)


async def follow_motion(device: SimulatedDevice) -> list[bool]:
	"""Let pyHik follow a motion that begins and ends; returns the states it told its callback.

	pyHik reads the stream in blocks of 512 bytes, so a heartbeat must follow each notification.
	"""
	camera = await connected(device)
	motion = Motion(camera)
	camera.start_stream()
	try:
		await wait_until(lambda: camera.stream_connected)
		device.make_notification("VMD", "active", 2)
		await wait_until(lambda: True in motion.states)
		device.make_notification("VMD", "inactive", 2)
		await wait_until(lambda: motion.states[-1:] == [False])
		return list(motion.states)
	finally:
		await asyncio.wait_for(asyncio.to_thread(camera.disconnect), PATIENCE)


async def test_pyhik_reads_the_device_and_its_events(start: Starter) -> None:
	device = await start(profile("nvr-typeb", heartbeat_seconds=0.05))
	camera = await connected(device)
	assert camera.get_name == "Embedded Net DVR"
	assert camera.get_type == "NVR"
	assert [state[1] for state in camera.current_event_states["Motion"]] == [1, 2]
	assert not device.login_failures


async def test_pyhik_is_told_when_motion_begins_and_ends(start: Starter) -> None:
	device = await start(profile("nvr-typeb", heartbeat_seconds=0.05))
	states = await follow_motion(device)
	assert states[states.index(True) :] == [True, False]


async def test_pyhik_falls_back_to_the_old_path_of_the_stream(start: Starter) -> None:
	old = "/Event/notification/alertStream"
	device = await start(profile("nvr-typeb", heartbeat_seconds=0.05, paths=(old,)))
	assert True in await follow_motion(device)
	asked = [request.target for request in device.requests if request.target.endswith("alertStream")]
	assert asked[0] == STREAM
	assert asked[-1] == old
