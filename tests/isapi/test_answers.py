"""What devices answer, in the forms that were seen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.isapi import answers
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	BadAnswer,
	DeviceBusy,
	IsapiError,
	LoginRefused,
	NotHikvision,
	NotPermitted,
	NotSupported,
	Rejected,
	SearchTooWide,
	SetupWrong,
)
from tests.isapi.support import NOW, fixture


def test_an_identity_without_declaration_and_with_empty_lines_is_read():
	info = answers.read_device_info(fixture("device_info.xml"))
	assert info.serial_number == "DS-K1T341AM20220301V030230EN111222333"
	assert (info.mac_address, info.model, info.device_type) == ("02:00:5e:10:20:30", "DS-K1T341AM", "ACS")
	assert (info.firmware, info.name) == ("V3.2.30 build 220301", "North Gate")


def test_an_identity_in_json_is_read_too():
	body = b'{"DeviceInfo": {"model": "DS-K1", "serialNumber": "S1", "deviceName": null, "deviceID": 255}}'
	assert answers.read_device_info(body).serial_number == "S1"


@pytest.mark.parametrize(
	"body", [b"", b"<html/>", b"<DeviceInfo/>", b"[]", b"{}", b"\xff\xd8", fixture("login_page.html")]
)
def test_what_is_no_identity_is_no_hikvision_device(body):
	with pytest.raises(NotHikvision):
		answers.read_device_info(body)


@pytest.mark.parametrize(
	("local", "rule", "offset"),
	[
		("2026-05-04T10:00:00+02:00", "CST-1:00:00DST01:00:00,M3.5.0/02:00:00,M10.5.0/03:00:00", 30),
		("2026-05-04T11:00:30", "CST-3:00:00", 0),
		("2026-05-04T03:00:30", "CST+5:00:00", 0),
		("2026-05-04T13:30:30", "CST-5:30:00", 0),
		("2026-05-04T10:00:30", "CST-1:00:00DST01:00:00,M3.5.0/02:00:00,M10.5.0/03:00:00", 0),
		("2026-05-04T10:00:30", "", 0),
	],
)
def test_a_clock_is_compared_with_ours(local, rule, offset):
	body = fixture("time_summer.xml").decode().replace("2026-05-04T10:00:00+02:00", local)
	body = body.replace("CST-1:00:00DST01:00:00,M3.5.0/02:00:00,M10.5.0/03:00:00", rule)
	clock = answers.read_clock(body.encode(), "Europe/Bratislava", True, NOW)
	assert (clock.offset_seconds, clock.mode, clock.time_zone) == (offset, "NTP", rule)


def test_a_lost_clock_is_told_as_it_is():
	body = b"<Time><timeMode>manual</timeMode><localTime>1970-01-01T00:10:00+00:00</localTime></Time>"
	assert answers.read_clock(body, "UTC", True, NOW).moment == datetime(
		1970, 1, 1, 0, 10, tzinfo=timezone.utc
	)


@pytest.mark.parametrize("body", [b"", b"<Time/>", b"<Time><localTime>soon</localTime></Time>", b"12:00"])
def test_a_clock_that_cannot_be_read_is_a_bad_answer(body):
	with pytest.raises(BadAnswer):
		answers.read_clock(body, "UTC", True, NOW)


def test_a_refused_login_tells_the_tries_left():
	failure = answers.login_failure(fixture("login_refused.xml"))
	assert isinstance(failure, LoginRefused)
	assert failure.tries_left == 3


def test_a_lock_tells_how_long_it_lasts_and_half_an_hour_if_it_does_not():
	assert answers.login_failure(fixture("login_locked.xml")).seconds == 1260
	unknown = answers.login_failure(b"<userCheck><lockStatus>LOCK</lockStatus></userCheck>")
	assert isinstance(unknown, AccountLocked)
	assert unknown.seconds == 1800
	endless = b"<userCheck><lockStatus>lock</lockStatus><unlockTime>999999999</unlockTime></userCheck>"
	assert answers.login_failure(endless).seconds == 24 * 3600


def test_filler_in_a_challenge_is_no_lock():
	filler = b"<userCheck><lockStatus>unlock</lockStatus><unlockTime>0</unlockTime><retryLoginTime>0</retryLoginTime></userCheck>"
	assert answers.locked(filler) is None
	assert answers.locked(fixture("login_page.html")) is None


@pytest.mark.parametrize(
	("http_status", "body", "error"),
	[
		(200, fixture("not_supported.json"), NotSupported),
		(403, fixture("not_supported.json"), NotSupported),
		(200, b'{"statusCode":4,"subStatusCode":"LOWPRIVILEGE"}', NotPermitted),
		(
			200,
			b"<ResponseStatus><statusCode>2</statusCode><statusString>Device Busy</statusString></ResponseStatus>",
			DeviceBusy,
		),
		(503, b'{"statusCode":2,"subStatusCode":"deviceBusy"}', DeviceBusy),
		(403, b'{"statusCode":4,"subStatusCode":"notActivated"}', SetupWrong),
		(400, b'{"statusCode":6,"subStatusCode":"badJsonContent","errorMsg":"endSerialNo"}', Rejected),
		(404, b"", NotSupported),
		(405, b"", NotSupported),
		(500, b"", DeviceBusy),
		(301, b"", NotHikvision),
	],
)
def test_a_refusal_is_sorted_by_what_to_do_about_it(http_status, body, error):
	with pytest.raises(IsapiError) as caught:
		answers.ensure_success(http_status, body)
	assert type(caught.value) is error


@pytest.mark.parametrize(
	"body",
	[
		b"", b'{"statusCode":1,"statusString":"OK","subStatusCode":"ok"}', b'{"statusCode":0}',
		b"<ResponseStatus><statusCode>1</statusCode></ResponseStatus>", b'{"AcsEvent": {}}', fixture("device_info.xml"),
	],
)  # fmt: skip
def test_a_success_is_one(body):
	answers.ensure_success(200, body)


@given(st.binary(max_size=200), st.integers(100, 599))
def test_no_answer_does_any_harm(body, http_status):
	for prefix in (b"", b"<userCheck>", b'{"statusCode":'):
		answers.locked(prefix + body)
		assert isinstance(answers.stream_refusal(http_status, prefix + body), IsapiError)


@pytest.mark.parametrize(
	("local", "rule", "hours"),
	[
		("2026-05-04T10:00:00+02:00", "", 2),
		("2026-05-04T10:00:00-03:30", "", -3.5),
		("2026-05-04T10:00:00Z", "", 0),
		("2026-05-04T10:00:00", "CST-5:00:00", 5),
		("2026-05-04T10:00:00", "", None),
		("2026-05-04T10:00:0005:00", "", None),
	],
)
def test_a_clock_tells_the_offset_that_it_writes(local, rule, hours):
	body = f"<Time><localTime>{local}</localTime><timeZone>{rule}</timeZone></Time>".encode()
	expected = None if hours is None else timedelta(hours=hours)
	assert answers.read_clock(body, "Europe/Bratislava", False, NOW).utc_offset == expected


@pytest.mark.parametrize(
	("body", "storage"),
	[
		(b'{"EventStorageCfg":{"mode":"cycle"}}', answers.Storage("cycle")),
		(b'{"EventStorageCfg":{"mode":"regular","period":1440}}', answers.Storage("regular", 1440)),
		(b'{"mode":"time","checkTime":"2026-01-01T00:00:00","period":0}', answers.Storage("time")),
		(
			b"<EventStorageCfg><mode>cycle</mode><period>60</period></EventStorageCfg>",
			answers.Storage("cycle"),
		),
		(b'{"EventStorageCfg":{"mode":"elsewhere"}}', answers.Storage()),
		(b"[]", answers.Storage()),
		(b"", answers.Storage()),
	],
)
def test_how_records_are_kept_is_read(body, storage):
	assert answers.read_storage(body) == storage


@pytest.mark.parametrize(
	("mode", "by_timer"), [("regular", True), ("time", True), ("cycle", False), ("", False)]
)
def test_records_may_be_deleted_by_a_timer(mode, by_timer):
	assert answers.Storage(mode).deletes_by_timer is by_timer


def test_a_search_that_took_too_long_can_be_told_from_a_busy_device():
	with pytest.raises(SearchTooWide):
		answers.ensure_success(503, b'{"statusCode":2,"subStatusCode":"searchTimeout"}')
