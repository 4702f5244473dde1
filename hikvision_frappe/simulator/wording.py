"""The documents of a device: records, heartbeats and notifications as JSON or XML text, in a profile's words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from hikvision_frappe.simulator.cjson import print_cjson
from hikvision_frappe.simulator.clock import DeviceClock
from hikvision_frappe.simulator.profile import Heartbeat, Profile
from hikvision_frappe.simulator.records import Method, SimulatedRecord

JSON_TYPE = 'application/json; charset="UTF-8"'
XML_TYPE = 'application/xml; charset="UTF-8"'

_STATUS_LABELS = {
	"checkIn": "Check In",
	"checkOut": "Check Out",
	"breakOut": "Break Out",
	"breakIn": "Break In",
	"overtimeIn": "Overtime In",
	"overtimeOut": "Overtime Out",
}
_FACE_RECT = {"height": 0.389, "width": 0.22, "x": 0.412, "y": 0.458}
_ZEROS: Mapping[str, Any] = {
	"cardNo": "",
	"cardType": 0,
	"name": "",
	"cardReaderKind": 0,
	"cardReaderNo": 0,
	"doorNo": 0,
	"verifyNo": 0,
	"employeeNoString": "",
	"userType": "normal",
	"currentVerifyMode": "invalid",
	"attendanceStatus": "undefined",
	"mask": "unknown",
	"picturesNumber": 0,
}


@dataclass(frozen=True, slots=True)
class Identity:
	"""Who the device says it is."""

	serial_number: str
	mac_address: str


def identity_of(profile: Profile, number: int, serial_number: str | None = None) -> Identity:
	"""A serial number in the vendor's style and a MAC address that belongs to it; distinct per ``number``."""
	serial = serial_number or _serial_number(profile, number)
	tail = hashlib.sha256(serial.encode()).digest()
	return Identity(serial, "a4:d5:c2:" + ":".join(f"{byte:02x}" for byte in tail[:3]))


def _serial_number(profile: Profile, number: int) -> str:
	version = "".join(f"{int(part):02}" for part in profile.firmware.lstrip("V").split("."))
	day = f"20{profile.firmware_released.removeprefix('build ')}"
	return f"{profile.model}{day}V{version}{profile.language}{number:09}"


class Writer:
	"""Writes what a device with this profile and identity tells about its records."""

	def __init__(self, profile: Profile, identity: Identity, clock: DeviceClock) -> None:
		self._profile = profile
		self._wording = profile.wording
		self._identity = identity
		self._clock = clock

	@property
	def content_type(self) -> str:
		"""Content type of ``record``'s text."""
		return XML_TYPE if self._wording.xml else JSON_TYPE

	def record(self, record: SimulatedRecord, current: bool, pictures: int = 0) -> bytes:
		"""The notification of a record; ``current`` is false for a replay."""
		envelope = self._envelope(
			record.instant, "AccessControllerEvent", "active", "Access Controller Event"
		)
		inner = self._inner(record, current, pictures)
		if self._wording.nested:
			inner = {"AccessControllerEvent": inner}
		return self._text(envelope | inner)

	def heartbeat(self, form: Heartbeat) -> bytes:
		"""The sign of life."""
		wording = self._wording
		beats = form is Heartbeat.HEARTBEAT_JSON
		values = self._envelope(
			self._clock.now(),
			"heartBeat" if beats else "videoloss",
			"active" if beats else "inactive",
			"heartBeat" if beats else "videoloss alarm",
		)
		values["portNo"] = wording.heartbeat_port
		values["activePostCount"] = wording.heartbeat_count
		values["dateTime"] = self._clock.text(self._clock.now(), wording.heartbeat_offset or wording.offset)
		if "channelID" in values or wording.channel is None:
			values["channelID"] = wording.heartbeat_channel
		return self._text(values)

	def notification(self, event_type: str, state: str, channel: int) -> bytes:
		"""Any other notification, e.g. motion ("VMD") of a recorder's channel."""
		values = self._envelope(self._clock.now(), event_type, state, f"{event_type} alarm")
		values["channelID"] = channel
		return self._text(values)

	def history_row(self, record: SimulatedRecord) -> dict[str, Any]:
		"""One row of an ``AcsEvent`` answer."""
		history = self._profile.history
		inner = self._inner(record, current=False, pictures=0)
		row: dict[str, Any] = {
			"major": inner.pop("majorEventType"),
			"minor": inner.pop("subEventType"),
			"time": self._clock.text(record.instant, history.offset, history.separator),
		}
		for name in ("deviceName", "currentEvent", "frontSerialNo"):
			inner.pop(name, None)
		if not history.serial_in_rows:
			inner.pop("serialNo", None)
		return {**row, **inner}

	def _envelope(self, instant: Any, event_type: str, state: str, description: str) -> dict[str, Any]:
		wording = self._wording
		values = {
			"ipAddress": wording.ip_address,
			"portNo": wording.event_port,
			"protocol": wording.protocol,
			"macAddress": self._identity.mac_address,
			"channelID": wording.channel,
			"dateTime": self._clock.text(instant, wording.offset, wording.separator),
			"activePostCount": 1,
			"eventType": event_type,
			"eventState": state,
			"eventDescription": description,
		}
		return {name: values[name] for name in wording.envelope if values[name] is not None}

	def _inner(self, record: SimulatedRecord, current: bool, pictures: int) -> dict[str, Any]:
		wording = self._wording
		values = self._inner_values(record, current, pictures)
		if wording.verbose_zeros:
			values = {name: _ZEROS.get(name) if value is None else value for name, value in values.items()}
		return {name: values[name] for name in wording.inner_fields if values[name] is not None}

	def _inner_values(self, record: SimulatedRecord, current: bool, pictures: int) -> dict[str, Any]:
		"""Every field's value, None where this record has none."""
		wording = self._wording
		authentication = record.method is not None
		face = record.method is Method.FACE
		no_door = authentication and not wording.door_in_passes
		return {
			"deviceName": wording.device_name,
			"majorEventType": record.major,
			"subEventType": record.minor,
			"cardNo": record.card or None,
			"cardType": 1 if record.card else None,
			"name": record.name or None,
			"cardReaderKind": 1 if record.door is not None or authentication else None,
			"cardReaderNo": record.reader if authentication else None,
			"doorNo": None if no_door else record.door,
			"verifyNo": 136 if authentication else None,
			"employeeNoString": record.person or None,
			"serialNo": record.serial_no,
			"userType": wording.user_type if record.person else None,
			"currentVerifyMode": wording.verify_mode if authentication else None,
			"currentEvent": current if wording.current_event else None,
			"frontSerialNo": record.front_serial_no,
			"attendanceStatus": record.attendance_status or "undefined",
			"label": _STATUS_LABELS.get(record.attendance_status or "", ""),
			"statusValue": 0,
			"mask": "no" if face else None,
			"picturesNumber": pictures or None,
			"purePwdVerifyEnable": True,
			"FaceRect": _FACE_RECT if face else None,
		}

	def _text(self, values: Mapping[str, Any]) -> bytes:
		if not self._wording.xml:
			wrapper = self._wording.wrapper
			return print_cjson({wrapper: values} if wrapper else values).encode()
		newline = self._profile.stream.newline
		lines = [f'<EventNotificationAlert version="1.0" xmlns="{self._wording.namespace}">']
		lines += _elements(values)
		if self._wording.empty_elements:
			lines.insert(5, "<dynChannelID/>")
		lines += ["</EventNotificationAlert>", ""]
		return newline.join(lines).encode()


def _elements(values: Mapping[str, Any]) -> list[str]:
	lines: list[str] = []
	for name, value in values.items():
		if isinstance(value, Mapping):
			lines += [f"<{name}>", *_elements(value), f"</{name}>"]
		else:
			text = str(value).lower() if isinstance(value, bool) else escape(str(value))
			lines.append(f"<{name}>{text}</{name}>" if text else f"<{name}/>")
	return lines
