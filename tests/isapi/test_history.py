"""Reading a device's history: what is read is what the device holds, and it is called proven only when it is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.isapi.answers import Storage
from hikvision_frappe.isapi.client import DeviceClient
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	ConnectionLost,
	DeviceBusy,
	LoginRefused,
	NotSupported,
)
from hikvision_frappe.isapi.history import (
	Finding,
	HistoryReader,
	HistorySettings,
	Range,
	Unproven,
)
from hikvision_frappe.isapi.parsing import ParseContext
from hikvision_frappe.simulator import PROFILES, Faults, SimulatedDevice
from hikvision_frappe.simulator.clock import repeated_hour
from hikvision_frappe.simulator.http import Response
from hikvision_frappe.simulator.profile import (
	SerialFilter,
	Storing,
	Unsupported,
	WindowOffset,
)
from tests.isapi.test_client import address_of

AT = datetime(2026, 5, 4, 8, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
QUICK = HistorySettings(retry_seconds=0.0)
SEARCH = "/ISAPI/AccessControl/AcsEvent?format=json"
COUNT = "/ISAPI/AccessControl/AcsEventTotalNum?format=json"


def profile(key="k1a340", **history):
	"""A profile whose history is another in some ways; ``log_capacity`` and ``wording`` are the profile's own."""
	kind = PROFILES[key]
	own = {name: history.pop(name) for name in ("log_capacity", "wording") if name in history}
	return replace(kind, history=replace(kind.history, **history), **own)


def reader_of(device, settings=QUICK, zone=None, trust_offset=True, client=None):
	zone = zone or device.profile.wording.zone
	context = ParseContext("GATE-1", zone, trust_offset, Source.HISTORY)
	address = address_of(device, zone=zone, trust_offset=trust_offset)
	return HistoryReader(client or DeviceClient(address), context, settings)


class Read:
	"""Everything that a reading gave."""

	def __init__(self, reader, pages):
		self.finding: Finding = reader.finding
		self.pages = pages
		self.events = [event for page in pages for event in page.events]

	@property
	def serials(self):
		return [event.serial_no for event in self.events]

	@property
	def reason(self):
		return self.finding.reason


async def read(reader, since=AT, until=AT + timedelta(hours=1), first=None, last=None, recorded=None):
	await reader.prepare()
	wanted = Range(since, until, first, last)
	pages = [page async for page in reader.read(wanted, recorded=recorded)]
	await reader._client.close()
	return Read(reader, pages)


def told(events):
	"""What is the same for a row at each reading of it."""
	return Counter(
		(event.serial_no, event.occurred_at, event.major, event.minor, event.person, event.ordinal)
		for event in events
	)


def truth(device, since=AT, until=AT + timedelta(hours=1), numbered=True):
	"""The same of the records that the device still holds; equal ones without a number are counted."""
	equals = Counter()
	expected = Counter()
	for record in device._state.log.stored():
		if since <= record.instant <= until:
			content = (record.instant, record.major, record.minor, record.person)
			ordinal = 0 if numbered else equals[content]
			equals[content] += 1
			expected[(record.serial_no if numbered else None, *content, ordinal)] += 1
	return expected


def fill(device, seconds, start=AT):
	for second in seconds:
		device.make_pass(str(second % 3), at=start + timedelta(seconds=second))


# Pages


@pytest.mark.parametrize("key", ["k1t344", "k1a340", "k2702", "k1t341am-old"])
async def test_everything_in_the_range_is_read_and_proven(key):
	async with SimulatedDevice(PROFILES[key]) as device:
		fill(device, range(0, 700, 10))
		device.make_pass("early", at=AT - timedelta(seconds=1))
		device.make_pass("late", at=AT + timedelta(minutes=10, seconds=1))
		found = await read(reader_of(device), until=AT + timedelta(minutes=10))
		assert told(found.events) == truth(device, until=AT + timedelta(minutes=10))
		assert found.finding == Finding(True, "", 61, 61, True)
		assert {(event.source, event.live, event.device) for event in found.events} == {
			(Source.HISTORY, False, "GATE-1")
		}


async def test_a_page_tells_how_far_the_reading_is():
	async with SimulatedDevice(profile(page=4)) as device:
		fill(device, range(10))
		found = await read(reader_of(device))
		assert [page.rows for page in found.pages] == [4, 8, 10, 10]
		assert [page.total for page in found.pages] == [10, 10, 10, 10]
		assert [page.read_until for page in found.pages] == [
			AT + timedelta(seconds=3),
			AT + timedelta(seconds=7),
			AT + timedelta(seconds=9),
			AT + timedelta(hours=1, seconds=1),
		]


async def test_nothing_in_the_range_is_proven_to_be_nothing():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		found = await read(reader_of(device))
		assert found.events == []
		assert found.finding == Finding(True, "", 0, 0, None)
		assert found.pages[-1].read_until == AT + timedelta(hours=1, seconds=1)


@pytest.mark.parametrize("no_match", ["NO MATCH", "NOMATCH", "no match"])
async def test_however_the_device_says_that_there_is_nothing(no_match):
	async with SimulatedDevice(profile(no_match=no_match)) as device:
		assert (await read(reader_of(device))).finding.proven


async def test_the_page_cap_may_change_in_the_middle():
	async with SimulatedDevice(PROFILES["k1a340"], faults=Faults(page_caps=(30, 5, 1, 7, 2))) as device:
		fill(device, range(60))
		found = await read(reader_of(device))
		assert found.serials == list(range(1, 61))
		assert found.finding.proven


async def test_each_search_has_an_identifier_of_its_own_and_its_pages_share_it():
	async with Watched(profile(page=5)) as device:
		fill(device, range(12))
		reader = reader_of(device)
		await reader.prepare()
		for _ in range(2):
			[_ async for _ in reader.read(Range(AT, AT + timedelta(hours=1)))]
		await reader._client.close()
		searches = [wish for wish in device.searches if wish["startTime"] == "2026-05-04T10:00:00+02:00"]
		assert [wish["searchResultPosition"] for wish in searches] == [0, 5, 10] * 2
		first, second = (
			{wish["searchID"] for wish in searches[:3]},
			{wish["searchID"] for wish in searches[3:]},
		)
		assert len(first) == len(second) == 1
		assert first != second
		assert all(wish["picEnable"] is False and wish["maxResults"] <= 30 for wish in searches)


async def test_a_single_row_needs_no_list():
	async with SimulatedDevice(profile(page=1, single_object=True)) as device:
		fill(device, range(3))
		found = await read(reader_of(device))
		assert (found.serials, found.finding.proven) == ([1, 2, 3], True)


async def test_a_device_that_tells_the_newest_row_first_is_read_as_well():
	async with SimulatedDevice(profile(page=3, newest_first=True)) as device:
		fill(device, [-7, *range(7)])
		found = await read(reader_of(device))
		assert found.serials == [8, 7, 6, 5, 4, 3, 2]
		assert found.finding.proven
		assert {page.read_until for page in found.pages[:-1]} == {AT}


async def test_a_device_that_rejects_positions_behind_the_end_has_come_to_its_end():
	faults = Faults(matches_error=3)
	async with SimulatedDevice(profile(past_end_rejected=True), faults=faults) as device:
		fill(device, range(7))
		found = await read(reader_of(device))
		assert len(found.events) == 7
		assert found.reason == Unproven.ENDS_EARLY.value


# Proof


@pytest.mark.parametrize("error", [-3, 3, 1000])
async def test_totals_that_lie_prove_nothing(error):
	async with SimulatedDevice(PROFILES["k1a340"], faults=Faults(total_error=error)) as device:
		fill(device, range(40))
		found = await read(reader_of(device))
		assert told(found.events) == truth(device)
		assert found.finding == Finding(False, Unproven.TOTALS_DIFFER.value, 40, 40 + error, True)


async def test_a_wrong_total_of_the_search_is_outvoted_by_rows_and_count():
	async with SimulatedDevice(PROFILES["k1a340"], faults=Faults(matches_error=-2)) as device:
		fill(device, range(40))
		assert (await read(reader_of(device))).finding == Finding(True, "", 40, 40, True)


async def test_a_wrong_count_is_outvoted_only_where_the_numbers_have_no_hole():
	async with SimulatedDevice(PROFILES["k1a340"], faults=Faults(count_error=5)) as device:
		fill(device, range(20))
		assert (await read(reader_of(device))).finding.proven
		device.set_serial(500)
		fill(device, range(20, 25))
		assert (await read(reader_of(device))).reason == Unproven.TOTALS_DIFFER.value


async def test_without_any_total_nothing_is_proven():
	async with SimulatedDevice(profile(totals=False, counts=False)) as device:
		fill(device, range(35))
		found = await read(reader_of(device))
		assert len(found.events) == 35
		assert found.finding == Finding(False, Unproven.NO_TOTALS.value, 35, None, True)


@pytest.mark.parametrize("style", [{"counts": False}, {"totals": False}])
async def test_one_of_the_two_totals_is_enough(style):
	async with SimulatedDevice(profile(**style)) as device:
		fill(device, range(35))
		assert (await read(reader_of(device))).finding == Finding(True, "", 35, 35, True)


async def test_rows_that_cannot_be_read_are_counted_and_told():
	async with SimulatedDevice(PROFILES["k1a340"], faults=Faults(broken_rows=2)) as device:
		fill(device, range(5))
		found = await read(reader_of(device))
		assert found.serials == [3, 4, 5]
		assert found.finding == Finding(False, Unproven.UNREADABLE_ROWS.value, 5, 5, True)


async def test_a_page_that_comes_again_is_asked_for_once_more():
	async with SimulatedDevice(profile(page=4), faults=Faults(repeated_pages=2)) as device:
		fill(device, range(10))
		found = await read(reader_of(device))
		assert found.serials == list(range(1, 11))
		assert found.finding.proven


@pytest.mark.parametrize("key", ["k1a340", "kv6124"])
async def test_a_device_that_never_turns_the_page_is_left_and_told(key):
	async with SimulatedDevice(profile(key, page=4), faults=Faults(repeated_pages=-1)) as device:
		fill(device, range(10))
		found = await read(reader_of(device))
		assert len(found.events) == 4
		assert found.reason == Unproven.REPEATED_ROWS.value
		assert len(device.requests) < 30


@pytest.mark.parametrize("key", ["k1a340", "kv6124"])
async def test_answers_without_end_are_left_and_told(key):
	async with SimulatedDevice(profile(key, page=4), faults=Faults(endless=True)) as device:
		fill(device, range(10))
		found = await read(reader_of(device))
		assert told(found.events) == truth(device, numbered=key == "k1a340")
		assert not found.finding.proven
		assert len(device.requests) < 40


async def test_equal_rows_without_end_are_left_as_well():
	async with SimulatedDevice(
		profile("kv6124", page=4, totals=False, counts=False), faults=Faults(endless=True)
	) as device:
		fill(device, [0] * 4)
		found = await read(reader_of(device, replace(QUICK, max_requests=50)))
		assert found.reason == Unproven.ENDLESS.value
		assert len(device.requests) < 70


async def test_requests_of_a_reading_are_bounded():
	async with SimulatedDevice(profile(page=1)) as device:
		fill(device, range(30))
		found = await read(reader_of(device, replace(QUICK, max_requests=10)))
		assert (len(found.events), found.reason) == (10, Unproven.ENDLESS.value)
		assert found.finding.rows == 10


async def test_records_that_vanish_while_they_are_read_lead_to_another_reading():
	kind = profile("k1a340", page=5, snapshot=False, log_capacity=20)
	async with SimulatedDevice(kind) as device:
		fill(device, range(20))
		reader = reader_of(device)
		await reader.prepare()
		found = []
		async for page in reader.read(Range(AT, AT + timedelta(hours=1))):
			found += page.events
			if len(found) == 5:
				fill(device, range(7200, 7203))
		await reader._client.close()
		assert sorted(event.serial_no for event in found) == list(range(1, 21))
		assert reader.finding == Finding(False, Unproven.BEGINS_LATER.value, 17, 17, True)


async def test_a_device_that_changes_during_each_attempt_is_told_as_unproven():
	kind = profile("k1a340", page=5, snapshot=False, log_capacity=20)
	async with SimulatedDevice(kind) as device:
		fill(device, range(20))
		reader = reader_of(device)
		await reader.prepare()
		async for _ in reader.read(Range(AT, AT + timedelta(hours=1))):
			fill(device, [7200])
		await reader._client.close()
		assert reader.finding.reason == Unproven.TOTALS_CHANGED.value


async def test_a_record_made_while_the_range_is_read_does_not_spoil_the_proof():
	async with SimulatedDevice(profile(page=5)) as device:
		fill(device, range(12))
		reader = reader_of(device)
		await reader.prepare()
		found, added = [], False
		async for page in reader.read(Range(AT, AT + timedelta(hours=1))):
			found += page.events
			if not added:
				fill(device, [600])
				added = True
		await reader._client.close()
		assert [event.serial_no for event in found] == list(range(1, 14))
		assert reader.finding == Finding(True, "", 13, 13, True)


async def test_a_range_into_the_future_ends_with_the_devices_present():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		device.jump_clock(-86_400)
		before = device.clock.now()
		device.make_pass("1", at=before - timedelta(minutes=5))
		found = await read(reader_of(device), before - timedelta(hours=1), before + timedelta(hours=5))
		assert found.finding == Finding(True, "", 1, 1, True)
		assert before - timedelta(seconds=2) <= found.pages[-1].read_until <= device.clock.now()


# How far back the log goes


@pytest.mark.parametrize("key", ["k1a340", "kv6124"])
@pytest.mark.parametrize(("older", "proven"), [([-40 * 86_400], True), ([-86_400], True), ([], False)])
async def test_a_full_log_proves_only_what_is_younger_than_its_oldest_record(key, older, proven):
	kept = 10 + len(older)
	async with SimulatedDevice(profile(key, log_capacity=kept, positions=kept)) as device:
		fill(device, range(-50 * 86_400, -50 * 86_400 + 3))
		fill(device, [*older, *range(10)])
		found = await read(reader_of(device))
		assert len(found.events) == 10
		assert found.reason == ("" if proven else Unproven.BEGINS_LATER.value)


@pytest.mark.parametrize(
	("storing", "proven"), [(Storing("cycle"), True), (None, True), (Storing("regular", 60), False)]
)
async def test_a_log_without_numbers_that_was_never_full_is_whole_unless_a_timer_deletes(storing, proven):
	async with SimulatedDevice(profile("kv6124", storing=storing)) as device:
		fill(device, range(10))
		assert (await read(reader_of(device))).finding.proven is proven


@pytest.mark.parametrize("key", ["k1a340", "kv6124"])
async def test_an_empty_log_of_a_device_that_has_made_records_proves_nothing(key):
	"""It was cleared, or it is no log of what the device tells."""
	async with SimulatedDevice(profile(key)) as device:
		assert (await read(reader_of(device))).finding.proven
		found = await read(reader_of(device), recorded=AT - 9 * HOUR)
		assert (found.finding.proven, found.reason) == (False, Unproven.EMPTIED.value)


LATER_LOGS = {
	"numbers from 1": profile("k1a340"),
	"no numbers": profile("kv6124"),
	"the newest row first": profile("kv6124", newest_first=True, page=3),
	"no major for all": profile("k1t341am-old"),
	"wall times": profile("kv6124", windows=WindowOffset.IGNORED),
}


@pytest.mark.parametrize("kind", LATER_LOGS.values(), ids=LATER_LOGS)
async def test_a_log_that_was_wiped_since_a_known_record_is_not_whole(kind):
	"""It was never full, and its first record is there: of those from before the wipe nobody can tell how many."""
	async with SimulatedDevice(kind) as device:
		fill(device, [-600, 5, 6])
		assert (await read(reader_of(device), recorded=AT - timedelta(seconds=600))).finding.proven
		device.reset_serial()
		fill(device, range(10, 20))
		found = await read(reader_of(device), recorded=AT - timedelta(seconds=600))
		assert (len(found.events), found.reason) == (10, Unproven.BEGINS_LATER.value)
		assert (await read(reader_of(device))).finding.proven


@pytest.mark.parametrize("kind", LATER_LOGS.values(), ids=LATER_LOGS)
async def test_a_log_that_reaches_back_to_a_known_record_is_whole(kind):
	"""To its second, whatever fraction of it is told, or further."""
	async with SimulatedDevice(kind) as device:
		fill(device, range(0, 20, 2))
		for moment in (0, 0.9, 4, 9):
			found = await read(reader_of(device), recorded=AT + timedelta(seconds=moment))
			assert (len(found.events), found.reason) == (10, "")
		found = await read(reader_of(device), recorded=AT - timedelta(seconds=0.1))
		assert found.reason == Unproven.BEGINS_LATER.value


async def test_a_log_that_was_wiped_before_the_range_proves_the_range():
	async with SimulatedDevice(PROFILES["kv6124"]) as device:
		fill(device, [-20, *range(10)])
		assert (await read(reader_of(device), recorded=AT - HOUR)).finding.proven


async def test_a_count_that_begins_anew_without_a_wipe_casts_no_doubt():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		device.set_serial(99_998)
		fill(device, range(5))
		found = await read(reader_of(device), recorded=AT)
		assert (found.serials, found.reason) == ([99_999, 100_000, 1, 2, 3], "")


async def test_records_of_any_kind_tell_how_far_back_a_log_goes():
	async with SimulatedDevice(PROFILES["k1t341am-old"]) as device:
		device.make_event(2, 1024, at=AT)
		fill(device, [60])
		assert (await read(reader_of(device), recorded=AT + timedelta(seconds=30))).finding.proven


async def test_rows_that_cannot_be_read_do_not_show_that_nothing_was_wiped():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		fill(device, range(5))
		reader = reader_of(device)
		await reader.prepare()
		reaches, device.faults.broken_rows = reader._reaches_back_to(AT + timedelta(seconds=2)), 3
		assert not await reaches
		assert await reader._reaches_back_to(AT + timedelta(seconds=2))
		await reader._client.close()


@pytest.mark.parametrize("windows", [WindowOffset.HONOURED, WindowOffset.IGNORED])
async def test_a_wipe_between_the_passes_of_the_repeated_hour_is_no_proof(windows):
	"""A record of the second pass shows an earlier wall time than one of the first."""
	first, second = repeated_hour("Europe/Athens", 2025)
	minutes = timedelta(minutes=1)
	async with SimulatedDevice(profile("kv6124", windows=windows)) as device:
		device.make_pass("1", at=first)
		device.reset_serial()
		device.make_pass("1", at=second - 20 * minutes)
		found = await read(reader_of(device), first - 20 * minutes, second + HOUR, recorded=first)
		assert found.reason == Unproven.BEGINS_LATER.value
		device.make_pass("1", at=first - 40 * minutes)
		found = await read(reader_of(device), first - HOUR, second + HOUR, recorded=first)
		assert found.finding.proven


async def test_an_empty_log_that_a_timer_empties_proves_nothing():
	async with SimulatedDevice(profile("kv6124", storing=Storing("regular", 60))) as device:
		assert (await read(reader_of(device))).reason == Unproven.EMPTIED.value


async def test_a_clock_that_was_lost_once_proves_nothing_of_the_logs_beginning():
	async with SimulatedDevice(profile(log_capacity=11)) as device:
		fill(device, range(20))
		device.make_pass("1", at=datetime(1970, 1, 1, 1, tzinfo=timezone.utc))
		assert (await read(reader_of(device))).reason == Unproven.BEGINS_LATER.value


# Halving


async def test_windows_that_hold_more_than_a_search_are_halved():
	async with SimulatedDevice(profile("kv6124", log_capacity=5000, positions=100)) as device:
		fill(device, [-4, *range(0, 3000, 4)])
		found = await read(reader_of(device))
		assert told(found.events) == truth(device, numbered=False)
		assert found.finding == Finding(True, "", 750, 750, False)


async def test_a_single_second_that_holds_too_much_is_told():
	async with SimulatedDevice(profile(positions=10)) as device:
		fill(device, [5] * 12 + [6])
		found = await read(reader_of(device))
		assert len(found.events) == 11
		assert found.reason == Unproven.TOO_FULL.value


async def test_a_limit_that_is_not_told_is_learned():
	kind = profile(positions=150, capabilities=False)
	async with SimulatedDevice(replace(kind, history=replace(kind.history, counts=False))) as device:
		fill(device, range(100))
		assert (await read(reader_of(device))).finding.proven
	async with Uncut(kind) as device:
		fill(device, range(400))
		found = await read(reader_of(device))
		assert told(found.events) == truth(device)
		assert found.finding == Finding(True, "", 400, 400, True)


async def test_a_search_that_takes_the_device_too_long_is_narrowed():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		fill(device, range(0, 3000, 60))
		reader = reader_of(device)
		await reader.prepare()
		device.faults.busy_searches = 2
		found = await read(reader)
		assert told(found.events) == truth(device)
		assert found.finding.proven


# Numbers


@pytest.mark.parametrize("key", ["k1t344", "k1a340", "k2702"])
async def test_a_range_of_numbers_is_proven_by_the_numbers(key):
	async with SimulatedDevice(PROFILES[key], faults=Faults(total_error=7)) as device:
		fill(device, range(60))
		found = await read(reader_of(device), first=11, last=50)
		assert found.serials == list(range(11, 51))
		assert found.finding.proven


async def test_everything_from_a_number_on_is_proven_without_holes():
	async with SimulatedDevice(PROFILES["k1t344"]) as device:
		fill(device, range(60))
		found = await read(reader_of(device), first=41)
		assert found.serials == list(range(41, 61))
		assert found.finding == Finding(True, "", 20, 20, True)


@pytest.mark.parametrize("serials", [SerialFilter.IGNORED, SerialFilter.REFUSED])
async def test_where_numbers_cannot_be_asked_for_the_time_is(serials):
	async with SimulatedDevice(profile("k1a340", serials=serials)) as device:
		fill(device, range(60))
		found = await read(reader_of(device), AT + timedelta(seconds=10), AT + timedelta(seconds=49), 15, 40)
		assert sorted(found.serials) == list(range(11, 51))
		assert found.finding == Finding(True, "", 40, 40, True)


async def test_numbers_that_the_device_does_not_hold_though_it_holds_older_ones_are_proven_to_be_gone():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		fill(device, range(-30, 10))
		device.set_serial(50)
		fill(device, range(10, 20))
		found = await read(reader_of(device), first=41, last=50)
		assert set(found.serials) == {*range(31, 41), *range(51, 61)}
		assert found.finding == Finding(True, "", 20, 20, True)  # of the time: what is not here, is nowhere


async def test_numbers_that_were_overwritten_are_not_called_proven():
	async with SimulatedDevice(profile("k1a340", log_capacity=20)) as device:
		fill(device, range(60))
		found = await read(reader_of(device), first=31, last=50)
		assert sorted(found.serials)[:10] == list(range(41, 51))
		assert found.finding == Finding(False, Unproven.BEGINS_LATER.value, 20, 20, True)


async def test_numbers_are_found_although_the_clock_was_set_in_between():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		fill(device, range(5))
		fill(device, range(5), start=AT - timedelta(days=400))
		fill(device, range(5, 10))
		found = await read(reader_of(device), first=1, last=15)
		assert sorted(found.serials) == list(range(1, 16))
		assert len(found.events) == 15
		assert found.finding.proven


async def test_the_same_numbers_of_an_earlier_count_prove_nothing():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		fill(device, range(10), start=AT - timedelta(days=100))
		device.set_serial(0)
		fill(device, [0, 1])
		device.set_serial(5)
		fill(device, [2, 3])
		reader = reader_of(device, replace(QUICK, attempts=1))
		found = await read(reader, until=AT + timedelta(minutes=1), first=3, last=5)
		assert found.finding.rows == 4  # of the time


@settings(max_examples=40)
@given(
	seconds=st.lists(st.integers(-100, 100), max_size=40),
	capacity=st.integers(5, 60),
	page=st.integers(1, 30),
	serials=st.sampled_from(SerialFilter),
	wanted=st.tuples(st.integers(1, 45), st.integers(0, 20), st.booleans()),
)
async def test_every_number_that_the_device_holds_is_found(seconds, capacity, page, serials, wanted):
	first, more, is_open = wanted
	kind = profile(page=page, serials=serials, log_capacity=capacity)
	async with SimulatedDevice(kind) as device:
		fill(device, [-200, *seconds])
		since, until = AT - timedelta(seconds=100), AT + timedelta(seconds=100)
		found = await read(reader_of(device), since, until, first, None if is_open else first + more)
		last = len(seconds) + 1 if is_open else first + more
		held = {record.serial_no for record in device._state.log.stored() if record.instant >= since}
		numbers = {*range(first, last + 1)}
		assert (numbers & {*found.serials}) - {1} == held & numbers
		assert len(set(found.serials)) == len(found.serials)
		by_numbers = bool(numbers) and numbers <= held and serials is SerialFilter.HONOURED
		assert found.finding.proven == (by_numbers or len(seconds) < capacity)


async def test_a_range_must_be_one():
	for wrong in ((AT, AT - timedelta(seconds=1)), (AT, AT, None, 5), (AT, AT, 5, 4), (AT, AT, 0, 4)):
		with pytest.raises(ValueError):
			Range(*wrong)
	with pytest.raises(ValueError):
		Range(AT.replace(tzinfo=None), AT)


# Codes


async def test_a_device_that_refuses_every_major_at_once_is_asked_for_each():
	async with SimulatedDevice(PROFILES["k1t341am-old"]) as device:
		for major, minor in ((1, 1028), (2, 39), (3, 112), (5, 75), (5, 75)):
			device.make_event(major, minor, at=AT)
		found = await read(reader_of(device))
		assert told(found.events) == truth(device)
		assert found.finding == Finding(True, "", 5, 5, True)


async def test_a_kind_of_records_that_is_refused_leaves_the_reading_unproven():
	kind = profile("k1t341am-old", majors=frozenset({5}))
	async with SimulatedDevice(kind) as device:
		fill(device, range(5))
		found = await read(reader_of(device))
		assert (len(found.events), found.reason) == (5, Unproven.CODES_REFUSED.value)


async def test_a_device_that_wants_a_minor_code_is_asked_for_each_that_it_knows():
	async with SimulatedDevice(profile(minor_zero=False)) as device:
		fill(device, range(5))
		device.make_denial(at=AT)
		found = await read(reader_of(device))
		assert told(found.events) == truth(device)
		assert found.reason == Unproven.CODES_REFUSED.value


async def test_a_device_that_wants_a_minor_code_and_names_none_is_asked_for_passes():
	async with SimulatedDevice(profile(minor_zero=False, capabilities=False)) as device:
		fill(device, range(5))
		device.make_denial(at=AT)
		found = await read(reader_of(device))
		assert {event.minor for event in found.events} == {75}
		assert found.reason == Unproven.CODES_REFUSED.value


@pytest.mark.parametrize("how", list(Unsupported))
async def test_a_device_without_history_says_so(how):
	async with SimulatedDevice(profile(supported=False, unsupported=how)) as device:
		reader = reader_of(device)
		with pytest.raises(NotSupported):
			await reader.prepare()
		assert await reader.storage() == Storage()
		await reader._client.close()
		assert len([seen for seen in device.requests if seen.authorized]) < 8


async def test_a_device_that_refuses_every_minor_as_well_has_no_history():
	kind = profile(minor_zero=False, major_zero=False, majors=frozenset())
	async with SimulatedDevice(kind) as device:
		reader = reader_of(device)
		with pytest.raises(NotSupported):
			await reader.prepare()
		await reader._client.close()


# Rows without numbers


async def test_equal_rows_have_the_same_ordinals_whatever_the_pages():
	async with SimulatedDevice(PROFILES["kv6124"]) as device:
		fill(device, [1, 1, 1, 2, 4, 4, 4, 4])
		expected = truth(device, numbered=False)
		for caps in ((), (1,) * 9, (2, 3, 1), (5, 1)):
			device.faults.page_caps = caps
			found = await read(reader_of(device))
			assert told(found.events) == expected
			assert found.finding == Finding(True, "", 8, 8, False)


async def test_a_reading_may_go_on_where_it_broke_off():
	async with SimulatedDevice(profile("kv6124", page=3)) as device:
		fill(device, [0, 1, 2, 2, 2, 2, 3])
		reader = reader_of(device)
		await reader.prepare()
		events = []
		async for page in reader.read(Range(AT, AT + timedelta(hours=1))):
			events += page.events
			if len(events) >= 6:
				break
		assert reader.finding.reason == Unproven.UNFINISHED.value
		rest = await read(reader, since=page.read_until)
		assert page.read_until == AT + timedelta(seconds=2)
		assert set(told([*events, *rest.events])) == set(truth(device, numbered=False))


# Time


async def test_a_devices_own_offset_is_used_and_its_clock_known():
	async with Watched(PROFILES["k1t344"]) as device:
		device.jump_clock(-120)
		reader = reader_of(device)
		await read(reader)
		assert 118 < reader.clock_offset < 122
		assert device.searches[1]["startTime"] == "2026-05-04T03:00:00-05:00"
		assert device.searches[1]["endTime"] == "2026-05-04T04:00:00-05:00"


async def test_another_zone_than_the_configured_one_is_followed():
	async with Watched(PROFILES["k1t344"]) as device:
		fill(device, [0])
		found = await read(reader_of(device, zone="Europe/Bratislava"))
		assert device.searches[1]["startTime"].endswith("-05:00")
		assert told(found.events) == truth(device)


@pytest.mark.parametrize("windows", list(WindowOffset))
@pytest.mark.parametrize("month", [1, 7])
async def test_both_seasons_are_found_however_the_device_takes_offsets(windows, month):
	at = datetime(2026, month, 10, 12, tzinfo=timezone.utc)
	async with SimulatedDevice(profile("k1a340", windows=windows)) as device:
		for second in (-1, 0, 1800, 3600, 3601):
			device.make_pass("1", at=at + timedelta(seconds=second))
		found = await read(reader_of(device), at, at + timedelta(hours=1))
		assert found.serials == [2, 3, 4]
		assert found.finding.proven


@pytest.mark.parametrize("month", [1, 7])
@pytest.mark.parametrize("seconds", [(-1, 0, 3600, 3601), (-1, 3601)])
async def test_both_seasons_are_found_where_all_offsets_but_that_of_today_are_rejected(month, seconds):
	at = datetime(2026, month, 10, 12, tzinfo=timezone.utc)
	async with Choosy(profile("k1a340")) as device:
		for second in seconds:
			device.make_pass("1", at=at + timedelta(seconds=second))
		found = await read(reader_of(device), at, at + timedelta(hours=1))
		assert told(found.events) == truth(device, at, at + timedelta(hours=1))
		assert found.finding.proven


async def test_a_window_of_another_hour_is_not_taken_for_ours():
	at = datetime(2026, 7, 10, 12, tzinfo=timezone.utc)
	async with SimulatedDevice(profile("k1a340", windows=WindowOffset.IGNORED)) as device:
		for hour in (-2, -1, 2):
			device.make_pass("1", at=at + timedelta(hours=hour, minutes=30))
		found = await read(reader_of(device), at, at + timedelta(hours=1))
		assert (found.events, found.finding.proven) == ([], True)


async def test_a_factory_offset_that_is_not_trusted_goes_into_the_window_as_well():
	async with Watched(PROFILES["k1t323-push"]) as device:
		fill(device, [0, 3600, 3601])
		found = await read(reader_of(device, trust_offset=False))
		assert device.searches[1]["startTime"] == "2026-05-04T11:00:00+08:00"
		assert {event.occurred_at for event in found.events} == {AT, AT + timedelta(hours=1)}
		assert found.finding.proven


@pytest.mark.parametrize("windows", [WindowOffset.HONOURED, WindowOffset.IGNORED])
@pytest.mark.parametrize("page", [1, 30])
async def test_both_passes_of_the_repeated_hour_get_their_instants(windows, page):
	first, second = repeated_hour("Europe/Athens", 2025)
	minutes = timedelta(minutes=1)
	async with SimulatedDevice(profile("kv6124", windows=windows, page=page)) as device:
		moments = [
			first - 40 * minutes,
			first,
			first,
			first + minutes,
			second - minutes,
			second,
			second + 50 * minutes,
		]
		for moment in moments:
			device.make_pass("1", at=moment)
		since, until = first - timedelta(hours=1), second + timedelta(hours=1)
		found = await read(reader_of(device), since, until)
		assert told(found.events) == truth(device, since, until, numbered=False)
		assert found.finding.proven
		assert found.pages[-1].read_until == until + timedelta(seconds=1)


@settings(max_examples=30)
@given(
	minutes=st.lists(st.integers(-150, 150), max_size=25),
	page=st.integers(1, 30),
	positions=st.integers(5, 60),
	span=st.tuples(st.integers(-180, 180), st.integers(-180, 180)),
)
async def test_any_rows_around_the_repeated_hour_get_their_instants(minutes, page, positions, span):
	first, second = repeated_hour("Europe/Athens", 2025)
	change = first + (second - first) / 2
	since, until = (change + timedelta(minutes=minute) for minute in sorted(span))
	most = max(Counter(minutes).values(), default=0)
	async with SimulatedDevice(profile("kv6124", page=page, positions=max(positions, most + 1))) as device:
		for minute in (-400, *minutes):
			device.make_pass("1", at=change + timedelta(minutes=minute))
		found = await read(reader_of(device), since, until)
		inside = [event for event in found.events if since <= event.occurred_at <= until]
		assert told(inside) == truth(device, since, until, numbered=False)
		assert set(told(found.events)) <= set(
			truth(device, since - 2 * HOUR, until + 2 * HOUR, numbered=False)
		)
		assert found.finding.proven


async def test_one_equal_row_in_each_pass_of_the_repeated_hour_stays_two():
	first, second = repeated_hour("Europe/Athens", 2025)
	async with SimulatedDevice(PROFILES["kv6124"]) as device:
		for moment in (first, second):
			device.make_pass("1", at=moment)
		found = await read(reader_of(device), first - timedelta(hours=3), second + timedelta(hours=3))
		assert [event.occurred_at for event in found.events] == [first, second]


async def test_a_range_within_one_pass_of_the_repeated_hour_dates_its_rows():
	first, second = repeated_hour("Europe/Athens", 2025)
	async with SimulatedDevice(PROFILES["kv6124"]) as device:
		device.make_pass("1", at=second)
		found = await read(reader_of(device), second - timedelta(minutes=5), second + timedelta(minutes=5))
		assert [event.occurred_at for event in found.events] == [second]
		assert found.events[0].time_quality is TimeQuality.ZONE_ASSUMED


# Storage, and what goes wrong


@pytest.mark.parametrize(
	("storing", "expected", "by_timer"),
	[
		(Storing("cycle"), Storage("cycle", None), False),
		(Storing("regular", 1440), Storage("regular", 1440), True),
		(Storing("time"), Storage("time", None), True),
		(Storing("other"), Storage(), False),
		(None, Storage(), False),
	],
)
async def test_how_the_device_keeps_its_records_is_read(storing, expected, by_timer):
	async with SimulatedDevice(profile(storing=storing)) as device:
		reader = reader_of(device)
		storage = await reader.storage()
		await reader._client.close()
		assert storage == expected
		assert storage.deletes_by_timer is by_timer


async def test_a_connection_that_breaks_in_the_middle_is_made_anew():
	async with SimulatedDevice(profile(page=5)) as device:
		fill(device, range(12))
		reader = reader_of(device)
		await reader.prepare()
		device.faults.cut_answers = 2
		found = await read(reader)
		assert (found.serials, found.finding.proven) == (list(range(1, 13)), True)


async def test_a_device_that_keeps_breaking_off_is_left():
	async with SimulatedDevice(profile(page=5)) as device:
		fill(device, range(12))
		reader = reader_of(device)
		await reader.prepare()
		device.faults.cut_answers = -1
		with pytest.raises(ConnectionLost):
			await read(reader)
		assert reader.finding.reason == Unproven.UNFINISHED.value


async def test_a_search_that_is_always_too_long_ends():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		reader = reader_of(device)
		await reader.prepare()
		device.faults.busy_searches = -1
		with pytest.raises(DeviceBusy):
			await read(reader)
		assert len(device.requests) < 40


async def test_slow_answers_are_waited_for():
	async with SimulatedDevice(PROFILES["k1a340"], faults=Faults(answer_delay=0.05)) as device:
		fill(device, range(3))
		assert (await read(reader_of(device))).finding.proven


async def test_a_device_that_fails_at_everything_else_still_gives_its_history():
	async with Failing(PROFILES["k1a340"]) as device:
		fill(device, range(40))
		reader = reader_of(device)
		assert await reader.storage() == Storage()
		found = await read(reader)
		assert found.finding == Finding(True, "", 40, 40, True)


async def test_a_wrong_password_is_told_after_one_try():
	async with SimulatedDevice(PROFILES["k1a340"]) as device:
		reader = reader_of(device, client=DeviceClient(address_of(device, password="Not-it-99")))
		for _ in range(3):
			with pytest.raises((LoginRefused, AccountLocked)):
				await reader.prepare()
		assert len(device.login_failures) == 1


# Anything


seconds_of_rows = st.lists(st.integers(0, 40), max_size=60)


@settings(max_examples=60)
@given(
	seconds=seconds_of_rows,
	caps=st.lists(st.integers(1, 31), max_size=8),
	page=st.integers(1, 30),
	positions=st.integers(4, 70),
	numbered=st.booleans(),
	error=st.sampled_from([0, 0, 0, -1, 2]),
	span=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
async def test_what_is_read_is_what_the_device_holds(seconds, caps, page, positions, numbered, error, span):
	since, until = (AT + timedelta(seconds=second) for second in sorted(span))
	kind = profile("k1a340" if numbered else "kv6124", page=page, positions=positions)
	async with SimulatedDevice(kind, faults=Faults(page_caps=tuple(caps), total_error=error)) as device:
		fill(device, [-60, *seconds])
		found = await read(reader_of(device), since, until)
		expected = truth(device, since, until, numbered)
		per_second = Counter(key[1] for key in expected.elements())
		too_full = any(count >= positions for count in per_second.values())
		if not too_full:
			assert told(found.events) == expected
			assert found.finding.rows == sum(expected.values())
		lies = error > 0 or (error < 0 and bool(expected))
		assert found.finding.proven == (not too_full and not lies)
		assert max(told(found.events).values(), default=1) == 1


# Devices that are watched, or that tell less than they could


class Watched(SimulatedDevice):
	"""Keeps what it was asked for."""

	def __init__(self, *arguments, **options):
		super().__init__(*arguments, **options)
		self.searches = []

	def _answer(self, request):
		if request.target == SEARCH and request.method == "POST" and "authorization" in request.headers:
			self.searches.append(json.loads(request.body)["AcsEventCond"])
		return super()._answer(request)


class Failing(SimulatedDevice):
	"""Answers 500 to whatever is no search."""

	def _answer(self, request):
		answer = super()._answer(request)
		asked = (
			"AcsEvent" in request.target and request.target != SEARCH and "authorization" in request.headers
		)
		return Response(500) if asked else answer


class Choosy(SimulatedDevice):
	"""Rejects every search whose times have another offset than its own of today."""

	def _answer(self, request):
		if request.method == "POST" and "AcsEvent" in request.target and "authorization" in request.headers:
			(asked,) = json.loads(request.body).values()
			today = datetime.now(ZoneInfo(self.profile.wording.zone)).utcoffset()
			times = [datetime.fromisoformat(asked[name]) for name in ("startTime", "endTime")]
			if any(time.utcoffset() != today for time in times):
				return Response(400)
		return super()._answer(request)


class Uncut(SimulatedDevice):
	"""Counts all of its rows, though a search reaches only some of them."""

	def _answer(self, request):
		if request.target != COUNT:
			return super()._answer(request)
		history = self._endpoints._history
		kept, history._state.profile = history._state.profile, profile(positions=100_000)
		try:
			return super()._answer(request)
		finally:
			history._state.profile = kept
