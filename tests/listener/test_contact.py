"""Since and until when a device was heard: never more than the site has, never less than it need be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listener_support import HEARTBEAT_BODY, a_device, a_pass, push_body, until
from push_client import Port
from running import QUICK_STREAMS, MoodySite, Running, streaming, with_stream

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.core.gaps import Cause, Contact
from hikvision_frappe.core.watermark import MARGIN
from hikvision_frappe.listener.contact import (
	WAITING_CLAIMS,
	ContactSettings,
	DeviceContact,
	is_told_again,
)
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.push import PushLimits
from hikvision_frappe.listener.silence import SilenceSettings
from hikvision_frappe.listener.site import ConnectionState, Delivery, IngestMode, SiteUnavailable
from hikvision_frappe.listener.spool import Spool
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.profile import PROFILES

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)
QUICK = ContactSettings(replay=timedelta(seconds=0.3))
BEATING = with_stream("k1t344", heartbeat_seconds=0.05, replay=0)


def at(seconds: float) -> datetime:
	return NOW + timedelta(seconds=seconds)


# Streams: what may be claimed.


def test_before_a_stream_was_open_nothing_is_claimed() -> None:
	assert DeviceContact().told(0) is None


def test_a_stream_is_heard_from_its_opening_to_its_last_message() -> None:
	contact = DeviceContact()
	contact.begin(at(0))
	assert contact.told(0) == Contact(at(0), at(0), Cause.LISTENER_START)
	contact.heard(at(10), None)
	contact.heard(at(20), None)
	assert contact.told(0) == Contact(at(0), at(20), Cause.LISTENER_START)


def test_events_that_wait_in_the_spool_hold_the_claim_where_it_was_before_them() -> None:
	contact = DeviceContact()
	contact.begin(at(0))
	contact.heard(at(10), None)
	contact.heard(at(20), mark=3)
	contact.heard(at(30), None)
	contact.heard(at(40), mark=7)
	assert contact.told(2).until == at(10)
	assert contact.told(3).until == at(30)
	assert contact.told(7).until == at(40)


def test_events_of_another_process_that_still_wait_forbid_any_claim() -> None:
	contact = DeviceContact()
	contact.begin(at(0))
	contact.heard(at(10), None)
	assert contact.told(-1) is None
	assert contact.told(0).until == at(10)


def test_events_of_the_stream_before_forbid_a_claim_of_the_next() -> None:
	contact = DeviceContact()
	contact.begin(at(0))
	contact.heard(at(10), mark=1)
	contact.begin(at(20))
	contact.heard(at(30), None)
	assert contact.told(0) is None
	assert contact.told(1) == Contact(at(20), at(30), Cause.RECONNECT)


def test_a_replay_stands_before_the_live_events_so_nothing_is_claimed_until_it_is_over() -> None:
	contact = DeviceContact(ContactSettings(replay=timedelta(seconds=15)))
	contact.begin(at(0))
	contact.heard(at(1), mark=1, replayed=True)
	contact.heard(at(10), None)
	contact.heard(at(11), mark=2, replayed=True)
	contact.heard(at(25), None)
	assert contact.told(2).until == at(0)
	contact.heard(at(26), None)
	assert contact.told(2).until == at(26)


def test_the_reason_of_a_loss_is_kept_until_the_next_stream_and_no_longer() -> None:
	contact = DeviceContact()
	contact.lost(Cause.SILENCE)
	contact.begin(at(0))
	assert contact.told(0).reason is Cause.LISTENER_START
	contact.lost(Cause.SILENCE)
	contact.begin(at(100))
	assert contact.told(0).reason is Cause.SILENCE
	contact.begin(at(200))
	assert contact.told(0).reason is Cause.RECONNECT


def test_claims_that_wait_are_bounded_and_still_true() -> None:
	contact = DeviceContact()
	contact.begin(at(0))
	for number in range(1, 1_001):
		contact.heard(at(number), mark=number)
	assert len(contact._waiting) == WAITING_CLAIMS
	for settled in range(0, 1_001):
		assert contact.told(settled).until <= at(settled)
	assert contact.told(1_000).until == at(1_000)


@given(
	st.lists(
		st.one_of(
			st.tuples(st.just("heartbeat"), st.integers(0, 0)),
			st.tuples(st.just("events"), st.integers(1, 5)),
			st.tuples(st.just("others"), st.integers(1, 5)),
			st.tuples(st.just("replay"), st.integers(1, 5)),
			st.tuples(st.just("settle"), st.integers(1, 9)),
			st.tuples(st.just("open"), st.integers(0, 0)),
		),
		max_size=60,
	)
)
def test_whatever_happens_every_event_until_the_claims_end_is_delivered(steps: list[tuple[str, int]]) -> None:
	contact = DeviceContact(ContactSettings(replay=timedelta(seconds=3)))
	appended = settled = 0
	arrivals: list[tuple[int, datetime]] = []  # of this device's events: place in the spool and time
	for second, (step, number) in enumerate(steps):
		if step == "open":
			contact.begin(at(second))
		elif step == "settle":
			settled = min(appended, settled + number)
		elif step == "heartbeat":
			contact.heard(at(second), None)
		else:
			appended += number
			if step != "others":
				arrivals.append((appended, at(second)))
				contact.heard(at(second), appended, replayed=step == "replay")
		told = contact.told(settled)
		if told is not None:
			assert all(place <= settled for place, arrived in arrivals if arrived <= told.until)
			assert told.since <= told.until <= at(second)


def test_a_record_is_told_again_when_the_device_says_so_or_when_it_is_old_and_the_device_does_not_say() -> (
	None
):
	fresh = a_pass(1, at=NOW, received_at=at(5), live=None)
	assert not is_told_again([fresh], None)
	assert not is_told_again([fresh.retold(live=True, received_at=at(900))], None)
	assert is_told_again([fresh.retold(live=False)], None)
	assert is_told_again([fresh.retold(received_at=at(300))], None)
	assert not is_told_again([fresh.retold(received_at=at(300))], clock_offset=290.0)


# Pushes: what may be claimed.


def beat(contact: DeviceContact, seconds: float) -> None:
	contact.push_began(at(seconds))
	contact.push_stored(at(seconds), None, heartbeat=True)


def an_event(contact: DeviceContact, seconds: float, mark: int) -> None:
	contact.push_began(at(seconds))
	contact.push_stored(at(seconds), mark, heartbeat=False)


def refused(contact: DeviceContact, seconds: float) -> None:
	contact.push_began(at(seconds))
	contact.push_refused(at(seconds))


def test_a_device_that_pushes_no_heartbeats_has_no_contact() -> None:
	contact = DeviceContact()
	an_event(contact, 0, mark=1)
	assert contact.told(1) is None


def test_heartbeats_make_one_contact_as_long_as_they_come() -> None:
	contact = DeviceContact()
	for seconds in range(0, 300, 30):
		beat(contact, seconds)
	assert contact.told(0) == Contact(at(0), at(270), Cause.LISTENER_START)
	beat(contact, 269 + 300)
	assert contact.told(0).since == at(0)
	beat(contact, 569 + 301)
	assert contact.told(0) == Contact(at(870), at(870), Cause.SILENCE)


def test_the_interval_of_rare_heartbeats_is_learned_and_an_outage_is_not() -> None:
	contact = DeviceContact()
	for number in range(6):
		beat(contact, number * 600)
	assert contact.told(0) == Contact(at(600), at(3_000), Cause.SILENCE)
	beat(contact, 3_000 + 1_700)
	assert contact.told(0).since == at(600)
	beat(contact, 4_700 + 36_000)
	assert contact.told(0).since == at(40_700)
	beat(contact, 40_700 + 600)
	beat(contact, 41_300 + 36_000)
	assert contact.told(0).since == at(77_300)


def test_after_a_refused_push_nothing_is_claimed_until_the_device_told_it_again() -> None:
	contact = DeviceContact()
	beat(contact, 0)
	beat(contact, 30)
	refused(contact, 40)
	beat(contact, 60)
	beat(contact, 90)
	assert contact.told(0).until == at(30)
	an_event(contact, 100, mark=1)
	beat(contact, 120)
	assert contact.told(0).until == at(30)
	assert contact.told(1) == Contact(at(0), at(120), Cause.LISTENER_START)


def test_a_push_that_came_before_the_refused_one_does_not_stand_for_it() -> None:
	contact = DeviceContact()
	beat(contact, 0)
	contact.push_began(at(10))
	refused(contact, 20)
	contact.push_stored(at(10), 1, heartbeat=False)
	beat(contact, 30)
	assert contact.told(1).until == at(0)


def test_a_refused_push_that_was_never_told_again_ends_the_contact() -> None:
	contact = DeviceContact()
	beat(contact, 0)
	refused(contact, 10)
	for seconds in range(30, 900, 30):
		beat(contact, seconds)
	assert contact.told(0) == Contact(at(630), at(870), Cause.SILENCE)


def test_a_push_on_its_way_holds_the_claim_where_it_began() -> None:
	contact = DeviceContact()
	beat(contact, 0)
	contact.push_began(at(10))
	beat(contact, 30)
	assert contact.told(0).until == at(10)
	contact.push_stored(at(10), 1, heartbeat=False)
	beat(contact, 60)
	assert contact.told(0).until == at(10)
	assert contact.told(1).until == at(60)


# At the push port.


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
	spool = await Spool.open(tmp_path / "spool.sqlite3", interval=0.0)
	yield spool
	await spool.close()


@pytest.fixture
async def port(spool: Spool) -> AsyncIterator[Port]:
	port = Port(spool, PushLimits(rate=1.0, burst=3))
	await port.start()
	yield port
	await port.stop()


async def deliver(spool: Spool) -> None:
	await spool.acknowledge(await spool.take(1_000))


async def test_pushed_heartbeats_are_a_contact_and_a_pushed_event_waits_for_its_delivery(port: Port) -> None:
	await port.post(HEARTBEAT_BODY)
	first = port.track.report(port.settled).contact
	assert first.since == first.until
	await port.post(push_body(1))
	await port.post(HEARTBEAT_BODY)
	assert port.track.report(port.settled).contact == first
	await deliver(port.spool)
	later = port.track.report(port.settled).contact
	assert later.since == first.since
	assert later.until > first.until


@pytest.mark.parametrize("body", [b'{"eventType": ', b" " * (5 * 1024 * 1024)], ids=["malformed", "too long"])
async def test_a_push_that_was_turned_away_holds_the_contact(body: bytes, port: Port) -> None:
	await port.post(HEARTBEAT_BODY)
	before = port.track.report(port.settled).contact
	assert (await port.post(body))[0] in (400, 413)
	await port.post(HEARTBEAT_BODY)
	assert port.track.report(port.settled).contact == before


async def test_a_push_that_was_too_fast_holds_the_contact(port: Port) -> None:
	statuses = [(await port.post(HEARTBEAT_BODY))[0] for _ in range(4)]
	assert statuses == [200, 200, 200, 429]
	before = port.track.report(port.settled).contact
	await asyncio.sleep(1.1)
	assert (await port.post(HEARTBEAT_BODY))[0] == 200
	assert port.track.report(port.settled).contact == before


async def test_a_device_with_a_stream_has_no_contact_by_its_pushes(port: Port) -> None:
	port.know(mode=IngestMode.STREAM)
	await port.post(HEARTBEAT_BODY)
	assert port.track.heartbeats == 1
	assert port.track.report(port.settled).contact is None


# A listener and simulated terminals.


class SlowSite(MoodySite):
	"""Takes reports, and events only when told to."""

	def __init__(self, site: LocalSite) -> None:
		super().__init__(site)
		self.takes_events = True

	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		if not self.takes_events:
			raise SiteUnavailable("no room")
		return super().deliver(events)


def contact_of(it: Running, key: str = "gate") -> Contact | None:
	return it.track(key).contact.told(it.parts.intake.settled)


def reported(it: Running, key: str = "gate") -> Contact | None:
	told = [each.contact for report in it.site.reports for each in report.devices if each.device == key]
	return told[-1] if told else None


async def until_heard(it: Running, key: str = "gate") -> Contact:
	"""The contact, as soon as something was heard from now on."""
	began = datetime.now(timezone.utc)
	await until(lambda: (contact := contact_of(it, key)) is not None and contact.until > began)
	return contact_of(it, key)


async def test_a_beating_stream_is_one_contact_that_grows_and_a_cut_one_begins_another(
	tmp_path: Path,
) -> None:
	async with (
		SimulatedDevice(BEATING) as device,
		Running(tmp_path, [streaming(device)], contact=QUICK) as it,
	):
		first = await until_heard(it)
		assert first.reason is Cause.LISTENER_START
		longer = await until_heard(it)
		assert longer.since == first.since
		device.cut_streams()
		await until(lambda: it.track().reconnects == 1)
		second = await until_heard(it)
		assert second.since > longer.until
		assert second.reason is Cause.RECONNECT
		await until(lambda: reported(it) and reported(it).since == second.since)


async def test_a_stream_that_fell_silent_is_opened_anew_with_that_reason(tmp_path: Path) -> None:
	settings = replace(QUICK_STREAMS, silence=SilenceSettings(floor=0.4, regular_after=2))
	async with (
		SimulatedDevice(BEATING) as device,
		Running(tmp_path, [streaming(device)], stream=settings, contact=QUICK) as it,
	):
		heard = await until_heard(it)
		await until(lambda: it.track().heartbeats >= 3)
		device.hang()
		await until(lambda: it.track().reconnects == 1)
		again = await until_heard(it)
		assert again.reason is Cause.SILENCE
		assert again.since - heard.until >= timedelta(seconds=0.3)


async def test_an_event_that_the_site_does_not_take_holds_the_contact(tmp_path: Path) -> None:
	async with SimulatedDevice(BEATING) as device:
		site = SlowSite(LocalSite(tmp_path / "ledger.sqlite3", [streaming(device)]))
		async with Running(tmp_path, [streaming(device)], site=site, contact=QUICK) as it:
			await until_heard(it)
			site.takes_events = False
			made = device.make_pass("1").made_at
			await until(lambda: it.parts.spool.depth == 1)
			stuck, heartbeats = contact_of(it), it.track().heartbeats
			await until(lambda: it.track().heartbeats > heartbeats + 3)
			assert contact_of(it) == stuck
			assert stuck.until - made < MARGIN
			site.takes_events = True
			assert (await until_heard(it)).until > made


async def test_while_the_spool_is_full_the_contact_does_not_grow(tmp_path: Path) -> None:
	async with (
		SimulatedDevice(BEATING) as device,
		Running(tmp_path, [streaming(device)], spool_max_bytes=256 * 1024, contact=QUICK) as it,
	):
		await until_heard(it)
		it.site.down = True
		for number in range(1_500):
			device.make_pass(f"{number}")
		await until(lambda: "Make room" in it.track().error)
		stuck = contact_of(it)
		await asyncio.sleep(0.2)
		assert contact_of(it) == stuck
		it.site.down = False
		await it.until_stored(1_500)
		assert (await until_heard(it)).since == stuck.since


async def test_while_a_replay_comes_the_contact_stands_still(tmp_path: Path) -> None:
	profile = with_stream("k1t344", heartbeat_seconds=0.05)
	slow = ContactSettings(replay=timedelta(seconds=1))
	async with SimulatedDevice(profile) as device:
		device.fill_backlog(20)
		async with Running(tmp_path, [streaming(device)], contact=slow) as it:
			await it.until_stored(20)
			await until(lambda: it.track().heartbeats >= 3 and it.parts.spool.depth == 0)
			contact = contact_of(it)
			assert contact.until == contact.since
			heard = await until_heard(it)
			assert heard.since == contact.since
			assert heard.until - heard.since >= timedelta(seconds=1)


async def test_the_gap_of_a_restart_is_as_short_as_the_restart(tmp_path: Path) -> None:
	async with SimulatedDevice(BEATING) as device:
		async with Running(tmp_path, [streaming(device)], contact=QUICK) as first:
			await until_heard(first)
			before = datetime.now(timezone.utc)
			await first.end()
			last = first.site.reports[-1].devices[0].contact
			assert before - last.until < timedelta(seconds=1)
		await asyncio.sleep(2.1)  # two contacts that are closer are one
		async with Running(tmp_path, [streaming(device)], contact=QUICK) as second:
			await until(lambda: second.ledger.gaps())
			(gap,) = second.ledger.gaps()
			assert gap.since == last.until
			assert gap.cause is Cause.LISTENER_START
			assert gap.until == contact_of(second).since


async def test_a_listener_that_takes_over_tells_since_when_it_hears(tmp_path: Path) -> None:
	async with SimulatedDevice(BEATING) as device:
		first = Running(tmp_path, [streaming(device)], name="first", lease_seconds=0.6, contact=QUICK)
		async with first:
			heard = await until_heard(first)
			second = Running(
				tmp_path,
				[streaming(device)],
				name="second",
				lease_seconds=0.6,
				spool_path=tmp_path / "other" / "spool.sqlite3",
				contact=QUICK,
			)
			async with second:
				await until(lambda: second.listener.tracks)
				assert contact_of(second) is None
				await first.die()
				await second.until_state(ConnectionState.CONNECTED)
				taken = await until_heard(second)
				assert taken.reason is Cause.LISTENER_START
				assert taken.since > heard.until


async def test_events_left_in_the_spool_by_the_last_process_come_before_any_claim(tmp_path: Path) -> None:
	async with SimulatedDevice(BEATING) as device:
		site = SlowSite(LocalSite(tmp_path / "ledger.sqlite3", [streaming(device)]))
		async with Running(tmp_path, [streaming(device)], site=site, contact=QUICK) as it:
			await until_heard(it)
			site.takes_events = False
			device.make_pass("1")
			await until(lambda: it.parts.spool.depth == 1)
			await it.die()
		again = SlowSite(LocalSite(tmp_path / "ledger.sqlite3", [streaming(device)]))
		again.takes_events = False
		async with Running(tmp_path, [streaming(device)], site=again, contact=QUICK) as it:
			await until(lambda: it.track().heartbeats >= 3)
			assert contact_of(it) is None
			again.takes_events = True
			await until_heard(it)
			assert len(it.rows()) == 1


async def test_pushed_heartbeats_of_a_terminal_reach_the_site_as_a_contact(tmp_path: Path) -> None:
	known = PROFILES["k1t323-push"]
	profile = replace(known, push=replace(known.push, heartbeat_seconds=0.05))
	async with SimulatedDevice(profile) as device, Running(tmp_path, [a_device(zone="Asia/Riyadh")]) as it:
		await until(lambda: it.listener.tracks)
		device.push_to(f"http://127.0.0.1:{it.parts.push.port}/hikvision/event/keygate.correct-horse-battery")
		await until(lambda: (contact := reported(it)) and contact.until > contact.since)
		assert reported(it).reason is Cause.LISTENER_START
