from __future__ import annotations

import asyncio

import pytest

from hikvision_frappe.simulator import PROFILES, Arrivals, Fleet, SimulatedDevice
from tests.simulator.support import Stream, wait_until

KINDS = [PROFILES[key] for key in ("k1t344", "k1a340", "kv6124")]


def devices(count: int = 3) -> list[SimulatedDevice]:
	return [SimulatedDevice(KINDS[index % 3]) for index in range(count)]


def test_the_same_seed_makes_the_same_passes() -> None:
	first, second = (Fleet(devices(), ["1", "2", "3"], seed=5).make_passes(20) for _ in range(2))
	assert [(row.person, row.minor) for row in first] == [(row.person, row.minor) for row in second]


def test_the_log_is_everything_that_happened_anywhere() -> None:
	fleet = Fleet(devices(), ["1", "2"], with_door_events=True)
	fleet.make_passes(10)
	assert len(fleet.log) == 30
	assert {record.device for record in fleet.log} == {device.serial_number for device in fleet.devices}
	assert [record.made_at for record in fleet.log] == sorted(record.made_at for record in fleet.log)


@pytest.mark.parametrize("arrivals", list(Arrivals))
async def test_people_pass_at_about_the_rate(arrivals: Arrivals) -> None:
	async with Fleet(devices(), ["1"], rate=400, arrivals=arrivals) as fleet:
		await fleet.run(0.5)
	assert 140 <= len(fleet.log) <= 260


async def test_passes_go_on_in_the_background_until_paused() -> None:
	async with Fleet(devices(1), ["1"], rate=200) as fleet:
		fleet.resume()
		async with Stream(fleet.devices[0]) as stream:
			await stream.serials(5)
		await fleet.pause()
		count = len(fleet.log)
		assert count >= 5
	assert len(fleet.log) == count


async def test_a_hundred_devices_start_and_stop() -> None:
	async with Fleet(devices(100)) as fleet:
		assert len({device.port for device in fleet.devices}) == 100
		async with Stream(fleet.devices[99]):
			await wait_until(lambda: fleet.devices[99].open_streams == 1)


def test_a_fleet_without_devices_persons_or_rate_is_refused() -> None:
	for arguments in (([], ["1"], 1.0), (devices(1), [], 1.0), (devices(1), ["1"], 0.0)):
		with pytest.raises(ValueError, match="fleet"):
			Fleet(*arguments)


async def test_other_people_pass_until_told_to_stop() -> None:
	async with Fleet(devices(2)) as fleet:
		stop = asyncio.Event()
		producing = asyncio.create_task(fleet.produce(["9001"], 200.0, stop))
		await wait_until(lambda: len(fleet.log) >= 5)
		stop.set()
		await producing
	assert {record.person for record in fleet.log} == {"9001"}
