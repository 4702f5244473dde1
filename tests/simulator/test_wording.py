from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from hikvision_frappe.simulator import PROFILES, DoorEvent, SimulatedDevice
from hikvision_frappe.simulator.clock import DeviceClock
from hikvision_frappe.simulator.profile import Heartbeat, Profile
from hikvision_frappe.simulator.wording import Writer, identity_of
from tests.simulator.support import PAYLOADS

LIVE = PAYLOADS / "alertstream" / "dsk1t344_v431_live_13ace_6videoloss.raw"
AT = datetime(2026, 3, 1, 7, 30, tzinfo=timezone.utc)


def writer(profile: Profile) -> Writer:
	return Writer(profile, identity_of(profile, 1), DeviceClock(profile.wording.zone))


def written(key: str, **options: str) -> dict[str, object]:
	device = SimulatedDevice(PROFILES[key])
	record = device.make_pass("0042", at=AT, **options)
	document: dict[str, object] = json.loads(writer(PROFILES[key]).record(record, current=True))
	return document


def test_leading_zeros_of_a_person_number_stay() -> None:
	inner = written("k1t344")["AccessControllerEvent"]
	assert isinstance(inner, dict)
	assert inner["employeeNoString"] == "0042"
	assert "doorNo" not in inner


def test_an_attendance_status_brings_its_label() -> None:
	inner = written("k1a340", attendance_status="checkIn")["AccessControllerEvent"]
	assert isinstance(inner, dict)
	assert (inner["attendanceStatus"], inner["label"], inner["statusValue"]) == ("checkIn", "Check In", 0)


def test_a_verbose_device_fills_what_it_does_not_know() -> None:
	inner = written("k1a340")["AccessControllerEvent"]
	assert isinstance(inner, dict)
	assert (inner["cardNo"], inner["cardType"], inner["name"]) == ("", 0, "")


@pytest.mark.parametrize(
	("key", "text"),
	[
		("k1t344", "2026-03-01T02:30:00-05:00"),
		("k2702", "2026-03-01T08:30:00+1:00"),
		("k1t323-push", "2026-03-01T10:30:00+08:00"),
	],
)
def test_each_profile_writes_times_its_own_way(key: str, text: str) -> None:
	assert written(key)["dateTime"] == text


def test_a_recorder_forgets_the_sign_of_the_offset() -> None:
	record = SimulatedDevice(PROFILES["nvr-typeb"]).make_pass("1", at=AT)
	text = writer(PROFILES["nvr-typeb"]).record(record, current=True)
	assert b"<dateTime>2026-03-01T07:30:0000:00</dateTime>" in text
	assert b"<dynChannelID/>" in text


def test_records_have_the_fields_of_a_real_terminal_in_their_order() -> None:
	"""Face and finger passes, mismatches, door and alarm records, and heartbeats of a DS-K1T344."""
	device = SimulatedDevice(PROFILES["k1t344"])
	write = writer(PROFILES["k1t344"])
	for part in LIVE.read_bytes().split(b"--MIME_boundary\r\n")[1:-1]:
		real = json.loads(part.split(b"\r\n\r\n", 1)[1])
		inner = real.get("AccessControllerEvent")
		if inner is None:
			assert list(json.loads(write.heartbeat(Heartbeat.VIDEOLOSS_JSON))) == list(real)
			continue
		codes = (inner["majorEventType"], inner["subEventType"])
		makers = {
			(5, 75): lambda: device.make_pass("9001", name="DM"),
			(5, 38): lambda: device.make_pass("9001", name="DM", method="fingerprint"),
			(5, 39): lambda: device.make_denial(method="fingerprint"),
			(5, 76): lambda: device.make_denial(method="face"),
			(5, 21): device.make_door_event,
			(5, 22): lambda: device.make_door_event(DoorEvent.LOCKED),
		}
		record = makers.get(codes, lambda codes=codes: device.make_event(*codes))()
		ours = json.loads(write.record(record, current=True))
		assert list(ours) == list(real)
		assert list(ours["AccessControllerEvent"]) == list(inner)


# Without the capture it is no test of this run, rather than a skipped one.
test_records_have_the_fields_of_a_real_terminal_in_their_order.__test__ = LIVE.exists()


def test_fields_may_stand_at_the_root_or_in_a_wrapper() -> None:
	kind = PROFILES["k1t344"]
	record = SimulatedDevice(kind).make_pass("0042", at=AT)
	flat = replace(kind, wording=replace(kind.wording, nested=False, wrapper="EventNotificationAlert"))
	document = json.loads(writer(flat).record(record, current=True))
	assert document["EventNotificationAlert"]["employeeNoString"] == "0042"
	assert document["EventNotificationAlert"]["eventType"] == "AccessControllerEvent"
