"""The captures of real devices, where they are at hand, say what their index says.

Without the folder there is nothing to collect here; the project's own fixtures cover the same shapes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from hikvision_frappe.core.event import AccessEvent, EventKind, Source, TimeQuality
from hikvision_frappe.isapi import answers
from hikvision_frappe.isapi.errors import AccountLocked, NotSupported, Rejected, StreamSlotTaken
from hikvision_frappe.isapi.history_pages import Limits, read_limits, read_page
from hikvision_frappe.isapi.history_reading import RowReader
from hikvision_frappe.isapi.history_windows import Window
from hikvision_frappe.isapi.messages import Heartbeat, Notice
from hikvision_frappe.isapi.parsing import (
	MalformedPayload,
	ParseContext,
	parse_document,
	parse_push,
	read_event,
)
from tests.isapi.support import HISTORY, NOW, PAYLOADS, PUSH, STREAM, cut, framed

if not PAYLOADS.is_dir():
	__test__ = False

# Parts, then messages by type, of everything that came on a stream.
STREAMS = {
	"alertstream/dsk1t344_v431_live_13ace_6videoloss.raw": (19, {AccessEvent: 13, Heartbeat: 6}),
	"alertstream/dsk1t344_v431_first_connect_41_history.redacted.raw": (41, {AccessEvent: 41}),
	"alertstream/constructed_kv6124_nested_headers.bin": (2, {Heartbeat: 1, Notice: 1}),
	"alertstream/dsk2702_single_chunk.bin": (1, {AccessEvent: 1}),
	"alertstream/dsk2702_mixed_good_bad.bin": (2, {Notice: 1}),
	"typeB/heartbeat_cam_hik20_CRLF_514.bin": (1, {Heartbeat: 1}),
	"typeB/heartbeat_nvr_hik10_LF_468.bin": (1, {Heartbeat: 1}),
	"typeB/heartbeat_nvr_stdcgi_LF_465.bin": (1, {Heartbeat: 1}),
	"typeB/event_dvr_VMD_no_offset_truncated.txt": (0, {}),
	"typeB/heartbeat_nvr_isapi_ns_truncated.txt": (0, {}),
	"push/multipart_heartBeat_dsk1t323.bin": (1, {Heartbeat: 1}),
	"push/multipart_5-75_with_picture_pushsdk.bin": (2, {AccessEvent: 1}),
}
# Codes, serial number, person, UTC time, live.
EVENTS = {
	"push/emulator_shape_unlockRoomNo.json": ("5/75", 4435, "1", "2026-01-01T13:00:00", True),
	"push/form_event_log_wrapper_5-75.json": ("5/75", 1358, "2", "2022-12-06T18:20:10", None),
	"push/json_5-21_door_unlocked_deviceID_Default.json": ("5/21", 1187, "", "2026-02-23T11:34:21", None),
	"push/json_5-21_ds-k1t502dbfwx-c.json": ("5/21", 257, "", "2024-08-26T11:32:28", True),
	"push/json_5-22_verifymode_invalid.json": ("5/22", 159, "", "2025-10-22T05:55:52", None),
	"push/json_5-38_checkIn_cardNo.json": ("5/38", 139, "001", "2025-10-22T05:43:48", None),
	"push/json_5-38_dsk1t323_userType_custom1.json": ("5/38", 217, "000015", "2026-09-19T15:02:38", None),
	"push/json_5-75_face_deviceID_Default.json": ("5/75", 1199, "123123123", "2026-02-24T11:45:13", None),
	"push/json_5-75_ds-k1t673dx_template.json": ("5/75", 25523, "", "1970-01-01T00:00:00", None),
	"alertstream/dsk1t805mbfwx_5-38_replayed.json": ("5/38", 5606, "00000001", "2026-07-12T11:57:33", False),
	"alertstream/dskv9503_5-214_unlockType.json": ("5/214", None, "", "2026-06-02T05:23:29", False),
}
LATER = datetime(2027, 1, 1, tzinfo=timezone.utc)


def payload(name: str) -> bytes:
	return (PAYLOADS / name).read_bytes()


def messages_of(parts):
	for part in parts:
		try:
			yield from parse_document(part.body, STREAM, LATER)
		except MalformedPayload:
			continue


@pytest.mark.parametrize("name", STREAMS)
def test_a_captured_stream_has_the_parts_and_messages_of_its_index(name):
	parts, expected = STREAMS[name]
	found = framed([payload(name)])
	assert len(found) == parts
	assert Counter(type(message) for message in messages_of(found)) == expected


@pytest.mark.parametrize("name", STREAMS)
def test_a_captured_stream_is_read_the_same_in_random_pieces(name):
	data, dice = payload(name), random.Random(name)
	whole = framed([data])
	for _ in range(20):
		positions = [dice.randrange(len(data)) for _ in range(dice.randrange(1, 60))]
		assert framed(cut(data, positions)) == whole
	assert framed(data[position : position + 1] for position in range(len(data))) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_captured_stream_broken_off_anywhere_gives_a_prefix(name):
	data, dice = payload(name), random.Random(name)
	whole = framed([data])
	positions = range(len(data)) if len(data) < 3000 else sorted(dice.sample(range(len(data)), 400))
	for position in positions:
		found = framed([data[:position]])
		assert found == whole[: len(found)]


def test_the_first_connect_replays_forty_one_records_in_order():
	parts = framed([payload("alertstream/dsk1t344_v431_first_connect_41_history.redacted.raw")])
	events = list(messages_of(parts))
	assert [event.serial_no for event in events] == list(range(1, 42))
	assert {event.live for event in events} == {False}
	assert {event.time_quality for event in events} == {TimeQuality.EXACT}


def test_live_events_of_the_capture_are_live_and_only_granted_ones_name_somebody():
	parts = framed([payload("alertstream/dsk1t344_v431_live_13ace_6videoloss.raw")])
	events = [message for message in messages_of(parts) if isinstance(message, AccessEvent)]
	assert {event.live for event in events} == {True}
	assert {event.kind for event in events if event.person} == {EventKind.PASS}
	serials = [event.serial_no for event in events]
	assert serials == list(range(serials[0], serials[0] + 13))


@pytest.mark.parametrize("name", EVENTS)
def test_a_captured_event_says_what_its_index_says(name):
	codes, serial_no, person, moment, live = EVENTS[name]
	(event,) = parse_push(payload(name), "", PUSH, LATER)
	assert f"{event.major}/{event.minor}" == codes
	assert (event.serial_no, event.person, event.live) == (serial_no, person, live)
	assert event.occurred_at == datetime.fromisoformat(moment + "+00:00")


def test_a_wrong_zone_is_read_by_its_wall_time_when_the_offset_is_distrusted():
	context = type(PUSH)("G", "America/Sao_Paulo", False, PUSH.source)
	(event,) = parse_push(payload("push/json_5-75_minmoe_wrong_zone.json"), "", context, LATER)
	assert event.occurred_at == datetime(2026, 7, 14, 14, 33, 19, tzinfo=timezone.utc)
	assert event.kind is EventKind.PASS


def test_a_pushed_picture_does_not_hide_its_event():
	(event,) = parse_push(payload("push/multipart_5-75_with_picture_pushsdk.bin"), "", PUSH, LATER)
	assert (event.major, event.minor, event.kind) == (5, 75, EventKind.PASS)


def test_captured_history_rows_are_read():
	_, _, body = payload("acsevent/gardengate_http_response_6_rows.http").partition(b"\n\n")
	rows = json.loads(
		body or payload("acsevent/gardengate_http_response_6_rows.http").partition(b"\r\n\r\n")[2]
	)
	events = [read_event(row, HISTORY, LATER) for row in rows["AcsEvent"]["InfoList"]]
	assert len(events) == 6
	assert {(event.major, event.minor, event.person, event.live) for event in events} == {
		(5, 1, "100054", False)
	}


def test_captured_answers_are_understood():
	assert answers.read_device_info(payload("system/dsk1t341am_deviceInfo.xml")).model == "DS-K1T341AM"
	assert answers.read_device_info(payload("system/dsk1t341cmfw_deviceInfo.xml")).firmware.startswith(
		"V3.3.15"
	)
	lock = answers.login_failure(payload("system/401_lockout_userCheck.xml"))
	assert isinstance(lock, AccountLocked)
	assert lock.seconds == 1800
	refused = answers.login_failure(payload("system/401_old_camera_html.txt"))
	assert refused.tries_left is None
	clock = answers.read_clock(payload("system/kv6124_clock.json"), "UTC", True, NOW)
	assert clock.moment == datetime(2026, 9, 8, 21, 8, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize(
	("name", "status", "error"),
	[
		("errors/deployExceedMax_503_shape.xml", 503, StreamSlotTaken),
		("errors/notSupport_403_cardreader.json", 403, NotSupported),
		("errors/badJsonContent_endSerialNo.json", 400, Rejected),
		("errors/employeeNoAlreadyExist_6.json", 400, Rejected),
	],
)
def test_captured_refusals_are_sorted(name, status, error):
	assert type(answers.refusal(status, answers.read_status(payload(name)))) is error


def test_a_page_of_history_from_a_device_gives_all_of_its_rows():
	page = read_page(payload("acsevent/gardengate_http_response_6_rows.http").partition(b"\n\n")[2])
	assert (len(page.rows), page.total, page.last) == (6, 6, True)
	zone = ParseContext("GATE-1", "Asia/Bangkok", True, Source.HISTORY)
	since = datetime(2023, 6, 9, tzinfo=timezone.utc)
	events = RowReader(zone, Window(since, since + timedelta(days=1)), set()).read(page.rows)
	assert len(events) == 6
	assert all(event.serial_no and event.person == "100054" and event.live is False for event in events)
	assert events[0].occurred_at == datetime(2023, 6, 9, 12, 5, 47, tzinfo=timezone.utc)


def test_the_limits_of_a_count_are_no_limits_of_a_search():
	assert read_limits(payload("acsevent/kv6124_totalnum_capabilities.json")) == Limits()
