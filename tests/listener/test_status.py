"""The status page: what is wrong and what to do, without names, scripts or anything from elsewhere."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import aiohttp
from listener_support import a_device, until
from prometheus_client.parser import text_string_to_metric_families
from running import Running, streaming, with_stream

from hikvision_frappe.listener.site import ConnectionState, IngestMode
from hikvision_frappe.listener.status import render_page, snapshot
from hikvision_frappe.listener.supervisor import ANY_PORT
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.profile import PROFILES


async def get(it: Running, path: str) -> tuple[str, aiohttp.ClientResponse]:
	url = f"http://127.0.0.1:{it.parts.status.port}{path}"
	async with aiohttp.ClientSession() as session, session.get(url) as response:
		assert response.status == 200
		return await response.text(), response


async def test_the_page_shows_devices_and_passes_but_no_persons(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		gate = streaming(device, title="Gate <1>")
		async with Running(tmp_path, [gate], status_port=ANY_PORT) as it:
			await it.until_state(ConnectionState.CONNECTED)
			device.make_pass("4242", name="Ada Example")
			await it.until_stored(1)
			page, response = await get(it, "/")
			assert "Gate &lt;1&gt;" in page
			assert "Connected" in page
			assert "4242" not in page
			assert "Ada" not in page
			assert "<script" not in page
			assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_errors_are_shown_with_what_to_do(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		wrong = streaming(device, password="wrong-password")
		async with Running(tmp_path, [wrong], status_port=ANY_PORT) as it:
			await it.until_state(ConnectionState.STOPPED)
			it.site.down = True
			await until(lambda: it.parts.errors)
			page, _ = await get(it, "/")
			assert "refuses user or password" in page
			assert "The site cannot answer now (migration in progress)." in page
			assert "wrong-password" not in page


async def test_the_same_as_json(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device)], status_port=ANY_PORT) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.make_pass("4242")
		await it.until_stored(1)
		await until(lambda: it.parts.spool.depth == 0)
		text, _ = await get(it, "/status.json")
		status = json.loads(text)
		assert status["spool"]["depth"] == 0
		assert status["devices"][0]["state"] == "Connected"
		assert status["devices"][0]["serial_number"] == device.serial_number
		(event,) = status["last_events"]
		assert event["kind"] == "pass"
		assert "person" not in event


async def test_persons_are_shown_by_number_where_that_is_switched_on(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"]) as device, Running(tmp_path, [streaming(device)]) as it:
		await it.until_state(ConnectionState.CONNECTED)
		device.make_pass("4242", name="Ada Example")
		await it.until_stored(1)
		status = await snapshot(it.parts, show_names=True)
		assert status["last_events"][0]["person"] == "4242"
		assert "4242" in render_page(status)
		assert "Ada" not in render_page(status)


async def test_metrics_can_be_scraped(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(PROFILES["k1t344"]) as device,
		Running(tmp_path, [streaming(device), a_device("hall")], status_port=ANY_PORT) as it,
	):
		await it.until_state(ConnectionState.CONNECTED)
		device.make_pass("4242")
		await it.until_stored(1)
		await until(lambda: it.parts.forwarder.new == 1)
		text, _ = await get(it, "/metrics")
		samples = {
			(sample.name, *sample.labels.values()): sample.value
			for family in text_string_to_metric_families(text)
			for sample in family.samples
		}
		assert samples[("hikvision_device_connected", "gate")] == 1
		assert samples[("hikvision_device_connected", "hall")] == 0
		assert samples[("hikvision_device_events_total", "gate")] == 1
		assert samples[("hikvision_events_total", "new")] == 1
		assert samples[("hikvision_spool_writable",)] == 1
		assert samples[("hikvision_histories_being_read",)] == 0
		assert samples[("hikvision_device_contact_until_timestamp_seconds", "gate")] > 0
		assert ("hikvision_device_contact_until_timestamp_seconds", "hall") not in samples


async def test_since_and_until_when_a_device_was_heard_is_shown(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(with_stream("k1t344", heartbeat_seconds=0.05)) as device,
		Running(tmp_path, [streaming(device), a_device("hall")], status_port=ANY_PORT) as it,
	):
		await until(lambda: it.track().heartbeats > 1)
		gate, hall = (await snapshot(it.parts, show_names=False))["devices"]
		assert gate["heard_since"] <= gate["heard_until"]
		assert hall["heard_since"] is None
		page, _ = await get(it, "/")
		assert "heard without a break since" in page
		assert "Histories being read" not in page


async def test_histories_that_are_being_read_are_shown_with_how_far_they_are(tmp_path: Path) -> None:
	async with SimulatedDevice(PROFILES["k1t344"], faults=Faults(answer_delay=0.02)) as device:
		device.fill_backlog(3_000)
		gate = streaming(device, title="Gate <1>", mode=IngestMode.HISTORY)
		async with Running(tmp_path, [gate], status_port=ANY_PORT) as it:
			end = datetime.now(timezone.utc) - timedelta(seconds=4)
			it.ledger.ask_history("gate", end - timedelta(hours=10), end)
			await until(lambda: any(reading.rows for reading in it.parts.readings))
			(reading,) = (await snapshot(it.parts, show_names=False))["readings"]
			assert reading["device"] == "Gate <1>"
			assert 0 < reading["rows"] <= reading["new"] <= reading["total"]
			page, _ = await get(it, "/")
			assert "Histories being read" in page
			assert "Gate &lt;1&gt;" in page
