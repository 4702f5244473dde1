"""Typed messages out of what devices send, right or wrong."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime, timezone
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.event import AccessEvent, EventKind, Source, TimeQuality
from hikvision_frappe.isapi.messages import Heartbeat, Notice
from hikvision_frappe.isapi.parsing import (
	MAX_PIECES,
	MalformedPayload,
	ParseContext,
	parse_document,
	parse_push,
	read_event,
	with_ordinals,
)
from tests.isapi.support import HISTORY, NOW, PUSH, STREAM, alert_body, event_body, fixture, framed


def utc(*parts):
	return datetime(*parts, tzinfo=timezone.utc)


def parse_one(body, context=STREAM):
	(message,) = parse_document(body, context, NOW)
	return message


def stream_messages(name):
	return [message for part in framed([fixture(name)]) for message in parse_document(part.body, STREAM, NOW)]


def push(body, content_type="application/octet-stream"):
	return parse_push(body, content_type, PUSH, NOW)


def with_inner(**inner):
	return parse_one(event_body(**inner))


# What devices send


def test_a_terminals_stream_becomes_typed_messages():
	heartbeat, entry, unlocked, locked, replay = stream_messages("stream_terminal.bin")
	assert heartbeat == Heartbeat("GATE-1", NOW, utc(2026, 5, 4, 7, 59, 35))
	assert entry == AccessEvent(
		device="GATE-1",
		major=5,
		minor=75,
		kind=EventKind.PASS,
		occurred_at=utc(2026, 5, 4, 7, 59, 50),
		occurred_text="2026-05-04T09:59:50+02:00",
		received_at=NOW,
		source=Source.STREAM,
		serial_no=7001,
		live=True,
		person="0042",
		person_name="Zuzana Kováčová",
		reader_no=1,
		user_type="normal",
		verify_mode="faceOrFpOrCardOrPw",
	)
	assert [event.kind for event in (unlocked, locked, replay)] == [
		EventKind.DOOR, EventKind.DOOR, EventKind.DENIAL,
	]  # fmt: skip
	assert (unlocked.door_no, replay.live, replay.person) == (1, False, "")


def test_an_intercoms_nested_headers_hide_no_event():
	heartbeat, entry = stream_messages("stream_intercom_nested.bin")
	assert isinstance(heartbeat, Heartbeat)
	assert (entry.minor, entry.person, entry.kind) == (181, "7", EventKind.PASS)


def test_a_recorders_xml_is_read_in_every_namespace_and_with_empty_elements():
	heartbeat, motion, entry = stream_messages("stream_recorder_lf.bin")
	assert heartbeat == Heartbeat("GATE-1", NOW, utc(2026, 5, 4, 11, 47, 15))
	assert motion == Notice("GATE-1", NOW, "VMD", "active", "Motion alarm", utc(2026, 5, 4, 8, 0, 4))
	assert (entry.person, entry.card_no, entry.serial_no, entry.person_name) == ("0009", "0012345678", 31, "")
	assert entry.kind is EventKind.PASS


def test_a_push_with_a_picture_is_one_event():
	for content_type in ("multipart/form-data; boundary=mime_boundary", "", "application/json"):
		(event,) = push(fixture("push_with_picture.bin"), content_type)
		assert (event.serial_no, event.person, event.attendance_status) == (881, "118", "checkIn")
		assert event.source is Source.PUSH


def test_a_heartbeat_push_is_a_heartbeat_although_its_part_is_named_like_an_event():
	(heartbeat,) = push(fixture("push_heartbeat.bin"))
	assert heartbeat == Heartbeat("GATE-1", NOW, utc(2026, 5, 4, 5, 0, 30))


@pytest.mark.parametrize("as_text", [False, True])
def test_an_event_may_be_wrapped_in_event_log(as_text):
	document = json.loads(fixture("push_event_log.json"))
	if as_text:
		document["event_log"] = json.dumps(document["event_log"])
	(event,) = push(json.dumps(document).encode())
	assert (event.person, event.user_type, event.attendance_status) == ("000015", "custom1", "")


def test_a_form_field_may_hold_the_event():
	body = b"name=gate&event_log=" + quote_plus(event_body(9)).encode()
	(event,) = push(body, "application/x-www-form-urlencoded")
	assert event.serial_no == 9


@pytest.mark.parametrize("name", ["event_log", "AccessControllerEvent", "Event", "EventNotificationAlert"])
def test_the_name_of_the_part_does_not_matter(name):
	part = f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + event_body(3)
	(event,) = push(b"--x\r\n" + part + b"\r\n--x--\r\n", "multipart/form-data; boundary=other")
	assert event.serial_no == 3


def test_json_may_be_wrapped_in_a_notification_alert():
	(event,) = push(b'{"EventNotificationAlert": ' + event_body(4) + b"}")
	assert event.serial_no == 4


def test_fields_may_stand_at_the_root():
	event = parse_one(
		b'{"eventType":"AccessControllerEvent","dateTime":"2026-05-04T10:00:00+02:00","majorEventType":5,'
		b'"subEventType":75,"employeeNoString":"5","serialNo":8}'
	)
	assert (event.person, event.serial_no, event.occurred_at) == ("5", 8, utc(2026, 5, 4, 8))


def test_several_events_in_one_document_are_all_told():
	array = b"[" + event_body(1) + b"," + event_body(2) + b"]"
	wrapped = b"<List>" + alert_body("VMD", "active") + alert_body() + b"</List>"
	assert [event.serial_no for event in parse_document(array, STREAM, NOW)] == [1, 2]
	assert [event.serial_no for event in parse_document(event_body(1) + event_body(2), STREAM, NOW)] == [1, 2]
	assert [type(message) for message in parse_document(wrapped, STREAM, NOW)] == [Notice, Heartbeat]
	assert [type(message) for message in parse_document(alert_body() * 2, STREAM, NOW)] == [Heartbeat] * 2


def test_the_content_decides_and_not_the_content_type():
	assert isinstance(push(alert_body(), "application/json")[0], Heartbeat)
	assert push(event_body(6), "application/xml")[0].serial_no == 6
	assert push(b"\xef\xbb\xbf\r\n" + event_body(6), "text/html")[0].serial_no == 6


def test_history_rows_use_other_names():
	rows = json.loads(fixture("history_rows.json"))
	verbose = read_event(rows["verbose"], HISTORY, NOW)
	terse = read_event(rows["terse"], HISTORY, NOW)
	assert (verbose.major, verbose.minor, verbose.serial_no, verbose.live) == (5, 1, 400, False)
	assert verbose.occurred_at == terse.occurred_at == utc(2026, 5, 4, 7)
	assert (verbose.card_no, verbose.door_no, verbose.reader_no, verbose.verify_mode) == ("", None, None, "")
	assert (terse.serial_no, terse.time_quality, terse.person_name) == (
		None,
		TimeQuality.ZONE_ASSUMED,
		"Jana",
	)


# Fields


def test_a_person_number_stays_text():
	assert with_inner(employeeNoString="001").person == "001"
	assert with_inner(employeeNoString="", employeeNo=17).person == "17"
	assert with_inner(employeeNoString="004", employeeNo=4).person == "004"


@pytest.mark.parametrize("filler", ["", None, "null", "(null)", "  "])
def test_filler_is_nobody(filler):
	event = with_inner(employeeNoString=filler, employeeNo=0, cardNo=filler, name=filler)
	assert (event.person, event.card_no, event.person_name) == ("", "", "")


def test_a_card_of_zeros_is_filler_and_a_person_zero_is_kept():
	assert with_inner(cardNo="0").card_no == ""
	assert with_inner(cardNo="0000000000").card_no == ""
	assert with_inner(cardNo="0000000010").card_no == "0000000010"
	assert with_inner(cardNo="garten-XU7o").card_no == "garten-XU7o"
	assert with_inner(employeeNoString="0").person == "0"


@pytest.mark.parametrize(
	("told", "number"),
	[
		(1, 1), ("17", 17), (2**31 + 5, 2**31 + 5), (3_000_000_000, 3_000_000_000), (0, None), (-4, None),
		("", None), (None, None), (True, None), (1.0, 1), (1.5, None), ("abc", None), ([], None), ({}, None),
	],
)  # fmt: skip
def test_a_serial_number_is_positive_or_missing(told, number):
	assert with_inner(serialNo=told).serial_no == number


def test_a_serial_number_beyond_all_bounds_is_missing():
	body = event_body(1).replace(b'"serialNo":\t1', b'"serialNo":\t' + b"9" * 6000)
	assert parse_one(body).serial_no is None


@pytest.mark.parametrize(
	("told", "live"),
	[(True, True), (False, False), ("true", True), ("false", False), (1, True), (0, False), (None, None)],
)
def test_live_is_what_the_device_says_or_unknown(told, live):
	assert with_inner(currentEvent=told).live is live


def test_history_is_never_live():
	assert parse_one(event_body(currentEvent=True), HISTORY).live is False


@pytest.mark.parametrize(
	("told", "status"),
	[
		("checkIn", "checkIn"), ("CHECKOUT", "checkOut"), ("overTimeOut", "overtimeOut"), ("breakin", "breakIn"),
		("undefined", ""), ("", ""), (None, ""), ("lunch", "lunch"),
	],
)  # fmt: skip
def test_an_attendance_status_has_one_spelling(told, status):
	assert with_inner(attendanceStatus=told).attendance_status == status


def test_texts_are_bounded_and_free_of_what_a_database_cannot_hold():
	event = with_inner(
		name="A\x00B\x1f" + "é" * 500, employeeNoString="9" * 500, cardNo="1\x002", userType="u" * 500
	)
	lone_surrogate = parse_one(event_body(1).replace(b'"serialNo"', b'"name": "a\\ud800b", "serialNo"'))
	assert event.person_name == "AB" + "é" * 138
	assert (len(event.person), event.card_no, len(event.user_type)) == (64, "12", 64)
	assert lone_surrogate.person_name == "ab"
	event.person_name.encode()
	lone_surrogate.person_name.encode()


def test_a_name_in_an_old_chinese_encoding_is_read():
	event = parse_one(event_body(1, name="王芳").decode().encode("gb18030"))
	assert event.person_name == "王芳"


def test_hardware_is_only_what_the_configuration_says():
	told = event_body(1).replace(
		b'"eventType"', b'"shortSerialNumber": "GS1", "deviceID": "Default", "eventType"'
	)
	assert parse_one(told).hardware == ""
	known = ParseContext("GATE-1", "UTC", True, Source.STREAM, hardware="DS-1")
	assert parse_one(told, known).hardware == "DS-1"


def test_a_denial_may_name_a_person():
	event = with_inner(minor=8, employeeNoString="55")
	assert (event.kind, event.person) == (EventKind.DENIAL, "55")


def test_an_event_without_a_minor_code_is_kept():
	event = parse_one(
		b'{"eventType":"AccessControllerEvent","AccessControllerEvent":{"majorEventType":3,"serialNo":2}}'
	)
	assert (event.major, event.minor, event.kind, event.serial_no) == (3, 0, EventKind.OTHER, 2)


@pytest.mark.parametrize("text", ["soon", "", "2026-99-01T00:00:00Z"])
def test_an_event_with_an_unreadable_time_is_not_lost(text):
	body = event_body(1, employeeNoString="1").replace(b"2026-05-04T10:00:00+02:00", text.encode())
	event = parse_one(body)
	assert (event.occurred_at, event.time_quality, event.occurred_text) == (
		NOW,
		TimeQuality.IMPLAUSIBLE,
		text,
	)


def test_two_equal_rows_without_a_serial_number_stay_two():
	row = event_body(0, employeeNoString="1")
	first, second, other = parse_document(row + row + event_body(0, employeeNoString="2"), STREAM, NOW)
	assert [first.ordinal, second.ordinal, other.ordinal] == [0, 1, 0]
	assert [event.ordinal for event in with_ordinals([first, first, first])] == [0, 1, 2]


def test_a_context_with_an_unknown_zone_is_refused_at_once():
	with pytest.raises((ValueError, KeyError)):
		ParseContext("GATE-1", "Europe/Atlantis", True, Source.STREAM)


@pytest.mark.parametrize(
	("event_type", "state", "kind"),
	[
		("videoloss", "inactive", Heartbeat),
		("videoloss", "", Heartbeat),
		("VideoLoss", "Inactive", Heartbeat),
		("heartBeat", "active", Heartbeat),
		("videoloss", "active", Notice),
		("VMD", "active", Notice),
	],
)
def test_a_heartbeat_is_told_from_other_notices(event_type, state, kind):
	assert type(parse_one(alert_body(event_type, state))) is kind


# Hostile or broken input


@pytest.mark.parametrize(
	"body",
	[
		b"", b"   ", b"\x00\x00", b"hello", b"{", b"{}", b"[]", b"[1, 2]", b"null", b'"text"', b"<", b"<a", b"<a/>",
		b"<html><body>Hello</body></html>", b'{"statusCode": 1}', b"{" * 100_000, b"[" * 100_000,
		b'{"a":' * 5000 + b"1" + b"}" * 5000, b"<a>" * 5000 + b"</a>" * 5000, b"--x\r\n\r\nhello\r\n--x--",
		b"a=b&c=d", b"&&&===", b"\xff\xd8\xff\xe0", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff" * 1000,
		b'{"AccessControllerEvent": {}}'[:-1],
	],
)  # fmt: skip
def test_what_says_nothing_is_malformed(body):
	for parse in (lambda: parse_document(body, STREAM, NOW), lambda: push(body)):
		with pytest.raises(MalformedPayload):
			parse()


def test_entities_are_never_expanded():
	bomb = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + alert_body().replace(
		b"videoloss", b"&b;"
	)
	with pytest.raises(MalformedPayload):
		parse_document(bomb, STREAM, NOW)


def test_duplicate_keys_and_numbers_that_are_none_do_no_harm():
	body = event_body(1).replace(
		b'"serialNo"', b'"x": NaN, "y": -Infinity, "doorNo": 1e999, "serialNo": 5, "serialNo"'
	)
	event = parse_one(body)
	assert (event.serial_no, event.door_no) == (1, None)


def test_one_broken_part_of_a_push_does_not_take_the_others_with_it():
	body = b'--x\r\nA: b\r\n\r\n{"broken": \r\n--x\r\nA: b\r\n\r\n' + event_body(2) + b"\r\n--x--\r\n"
	assert [event.serial_no for event in push(body)] == [2]


def many_events(form, number):
	rows = [b'{"major":5,"serialNo":%d}' % serial for serial in range(1, number + 1)]
	if form == "list":
		return b"[" + b",".join(rows) + b"]"
	if form == "nested":
		return b'{"eventType":"AccessControllerEvent","AccessControllerEvent":[' + b",".join(rows) + b"]}"
	if form == "row":
		return b"\n".join(rows)
	return b"".join(b"--b\r\nX: y\r\n\r\n" + row + b"\r\n" for row in rows) + b"--b--\r\n"


@pytest.mark.parametrize("form", ["list", "nested", "row", "parts"])
def test_a_body_of_many_events_is_told_whole_or_not_at_all(form):
	assert [event.serial_no for event in push(many_events(form, MAX_PIECES))] == list(
		range(1, MAX_PIECES + 1)
	)
	with pytest.raises(MalformedPayload, match="more than"):
		push(many_events(form, MAX_PIECES + 1))


@pytest.mark.parametrize(
	"body",
	[
		b"--b\r\n\r\n" + b"<e/>" * 100_000,
		b"[" + b"[]," * 360_000 + b"[]]",
		b"<a>" + b"<b/>" * 270_000 + b"</a>",
		b'{"a":1}' * 150_000,
		b"a=1&" * 250_000,
		b"--b\r\n" * 60_000,
	],
)
def test_a_body_of_many_tiny_pieces_takes_little_room(body):
	tracemalloc.start()
	try:
		with pytest.raises(MalformedPayload):
			push(body)
		assert tracemalloc.get_traced_memory()[1] < 15_000_000
	finally:
		tracemalloc.stop()


def test_the_error_does_not_repeat_the_body():
	with pytest.raises(MalformedPayload) as caught:
		push(b'{"name": "Somebody Private", ')
	assert "Private" not in str(caught.value)


json_values = st.recursive(
	st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
	lambda inner: st.one_of(
		st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
	),
	max_leaves=12,
)
known_names = st.sampled_from(
	[
		"eventType", "AccessControllerEvent", "majorEventType", "subEventType", "major", "minor", "time", "dateTime",
		"serialNo", "employeeNoString", "employeeNo", "cardNo", "doorNo", "currentEvent", "event_log", "name",
	]
)  # fmt: skip


@given(st.dictionaries(known_names, json_values, max_size=8), st.sampled_from([STREAM, PUSH, HISTORY]))
def test_fields_of_any_type_give_storable_messages_or_none(fields, context):
	body = json.dumps(
		{**fields, "AccessControllerEvent": {**fields, "serialNo": fields.get("serialNo")}}
	).encode()
	try:
		messages = parse_document(body, context, NOW)
	except MalformedPayload:
		return
	for message in messages:
		if isinstance(message, AccessEvent):
			json.dumps(message.to_plain(), ensure_ascii=False).encode()
			assert AccessEvent.from_plain(message.to_plain()) == message


@given(st.binary(max_size=300))
def test_no_bytes_do_any_harm(body):
	for prefix in (b"", b"{", b"<", b"--b\r\n\r\n", b"a="):
		try:
			parse_push(prefix + body, "multipart/form-data", PUSH, NOW)
		except MalformedPayload:
			continue


@given(st.integers(0, 3000))
def test_a_push_broken_off_anywhere_gives_its_event_or_nothing(position):
	whole = push(fixture("push_with_picture.bin"))
	try:
		found = push(fixture("push_with_picture.bin")[:position])
	except MalformedPayload:
		return
	assert found == whole
