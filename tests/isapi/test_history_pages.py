"""Answers of AcsEvent in the forms in which devices give them, and in those that none should."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikvision_frappe.core.event import TimeQuality
from hikvision_frappe.isapi.client import DeviceClient
from hikvision_frappe.isapi.errors import BadAnswer, IsapiError
from hikvision_frappe.isapi.history import HistoryReader, HistorySettings, Range, Unproven
from hikvision_frappe.isapi.history_pages import Code, Condition, Limits, Page, read_limits, read_page
from hikvision_frappe.isapi.history_reading import RowReader
from hikvision_frappe.isapi.history_windows import Window
from tests.isapi.servers import CHALLENGE, CannedServer, answer
from tests.isapi.support import HISTORY, NOW

ROW = {"major": 5, "minor": 75, "time": "2026-05-04T09:00:00+02:00", "serialNo": 7}
TIME = b"<Time><timeMode>NTP</timeMode><localTime>2026-05-04T10:00:30+02:00</localTime></Time>"


def body(**members):
	return json.dumps({"AcsEvent": members}).encode()


@pytest.mark.parametrize(
	("members", "page"),
	[
		(
			{"responseStatusStrg": "MORE", "numOfMatches": 9, "totalMatches": 3, "InfoList": [ROW]},
			Page((ROW,), 3, False),
		),
		({"totalMatches": "3", "responseStatusStrg": "OK", "InfoList": ROW}, Page((ROW,), 3, True)),
		({"responseStatusStrg": "NO MATCH", "totalMatches": 0}, Page((), 0, True)),
		({"responseStatusStrg": "NOMATCH", "InfoList": None}, Page((), None, True)),
		({"responseStatusStrg": "no_idea", "totalMatches": -1, "InfoList": ""}, Page((), None, None)),
		({"InfoList": []}, Page((), None, None)),
		({"InfoList": [None, "x", ROW]}, Page((None, "x", ROW), None, None)),
	],
)
def test_an_answer_is_read_in_all_its_forms(members, page):
	assert read_page(body(**members)) == page


def test_the_root_may_be_missing_and_the_body_xml():
	assert read_page(b'{"responseStatusStrg":"OK","totalMatches":0}') == Page((), 0, True)
	xml = b"<AcsEvent><responseStatusStrg>OK</responseStatusStrg><totalMatches>1</totalMatches>"
	xml += b"<InfoList><major>5</major><minor>1</minor></InfoList></AcsEvent>"
	assert read_page(xml) == Page(({"major": "5", "minor": "1"},), 1, True)


@pytest.mark.parametrize(
	"rubbish", [b"", b"[]", b"7", b"{", b"<html>", b'{"AcsEvent":{}}', b'{"AcsEvent":[]}']
)
def test_what_is_no_answer_is_a_bad_one(rubbish):
	with pytest.raises(BadAnswer):
		read_page(rubbish)


def test_limits_are_read_and_never_above_what_devices_take():
	told = {
		"maxResults": {"@max": 5},
		"searchResultPosition": {"@max": "1000"},
		"minorEvent": {"@opt": "75, 1,x"},
	}
	assert read_limits(body(AcsEventCond=told)) == Limits(5, 1000, (1, 75))
	assert read_limits(
		body(AcsEventCond={"maxResults": {"@max": 2000}, "minorEvent": {"@opt": [1]}})
	) == Limits(30, None, (1,))
	for nothing in (b"", b"{}", b"[]", body(AcsEventCond={"maxResults": {"@max": 0}, "minorEvent": []})):
		assert read_limits(nothing) == Limits()


def test_serial_numbers_are_asked_for_as_a_pair_and_no_pictures():
	fields = Condition(Code(5, 0), "a", "b", (3, 9)).fields()
	assert fields == {
		"major": 5,
		"minor": 0,
		"startTime": "a",
		"endTime": "b",
		"picEnable": False,
		"beginSerialNo": 3,
		"endSerialNo": 9,
	}


# Rows


def rows_of(*rows):
	reader = RowReader(HISTORY, Window(NOW - timedelta(days=1), NOW), set())
	return reader, reader.read(rows)


def test_a_row_is_told_once_and_its_equals_are_numbered():
	bare = {name: value for name, value in ROW.items() if name != "serialNo"}
	reader, events = rows_of(ROW, ROW, bare, bare, {**bare, "employeeNoString": "1"})
	assert [(event.serial_no, event.ordinal) for event in events] == [(7, 0), (None, 0), (None, 1), (None, 0)]
	reader.begin()
	assert reader.read([bare, bare, bare])[0].ordinal == 2


def test_a_row_without_number_and_time_is_counted_as_unreadable():
	reader, events = rows_of(
		{"major": 5, "minor": 1}, {"major": 5, "minor": 1, "serialNo": 3}, {"minor": 1}, 7
	)
	assert [event.serial_no for event in events] == [3]
	assert events[0].time_quality is TimeQuality.IMPLAUSIBLE
	assert reader.unreadable == 3


values = st.recursive(
	st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
	lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
	max_leaves=6,
)
names = st.sampled_from(["major", "minor", "time", "serialNo", "employeeNoString", "cardNo"])
rows = st.lists(values | st.dictionaries(names, values, max_size=6), max_size=5)
answers = st.fixed_dictionaries(
	{},
	optional={
		"InfoList": rows | values,
		"totalMatches": values | st.integers(0, 9),
		"responseStatusStrg": values | st.sampled_from(["OK", "MORE", "NO MATCH"]),
	},
)


@given(answers)
def test_no_answer_is_too_odd_to_be_counted(members):
	try:
		page = read_page(body(**members))
	except BadAnswer:
		return
	reader, events = rows_of(*page.rows)
	assert len(events) + reader.unreadable <= len(page.rows)


@settings(max_examples=25)
@given(st.lists(answers, min_size=1, max_size=6))
async def test_a_hostile_device_is_neither_believed_nor_endless(pages):
	asked = 0

	def reply(head):
		nonlocal asked
		if "Authorization:" not in head:
			return answer(401, b"", CHALLENGE.format(count=1))
		if "/System/time" in head:
			return answer(200, TIME)
		if "AcsEvent?" not in head:
			return answer(404)
		asked += 1
		return answer(200, body(**pages[asked % len(pages)]), content_type="application/json")

	async with CannedServer(reply) as server:
		client = DeviceClient(server.address)
		reader = HistoryReader(client, HISTORY, HistorySettings(max_requests=40, retry_seconds=0.0))
		try:
			async for _ in reader.read(Range(NOW - timedelta(hours=1), NOW)):
				pass
		except IsapiError:
			assert reader.finding.reason == Unproven.UNFINISHED.value
		finally:
			await client.close()
		assert asked <= 90
