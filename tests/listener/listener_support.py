"""What the listener's tests share: events with sensible values, and waiting on conditions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from hikvision_frappe.core.event import AccessEvent, EventKind, Source
from hikvision_frappe.isapi.address import DeviceAddress
from hikvision_frappe.listener.site import DeviceConfig, IngestMode

MORNING = datetime(2026, 3, 2, 7, 30, tzinfo=timezone.utc)
SECRET = "correct-horse-battery"


def a_pass(serial_no: int | None = 1, **changes: Any) -> AccessEvent:
	"""A face pass at device ``gate``, one per second of serial number."""
	at = changes.pop("at", MORNING + timedelta(seconds=serial_no or 0))
	values: dict[str, Any] = {
		"device": "gate",
		"major": 5,
		"minor": 75,
		"kind": EventKind.PASS,
		"occurred_at": at,
		"occurred_text": at.isoformat(),
		"received_at": datetime.now(timezone.utc),
		"source": Source.STREAM,
		"serial_no": serial_no,
		"person": "0007",
	}
	return AccessEvent(**{**values, **changes})


def a_device(key: str = "gate", **changes: Any) -> DeviceConfig:
	"""A push device with the secret ``SECRET``; ``host``, ``port`` and other address fields may be given."""
	address_fields = {
		name: changes.pop(name)
		for name in ("host", "port", "user", "password", "tls", "zone", "trust_offset", "fingerprint")
		if name in changes
	}
	address = {
		"host": "127.0.0.1",
		"port": 1,
		"user": "admin",
		"password": "right-password",
		**address_fields,
	}
	values: dict[str, Any] = {
		"key": key,
		"title": f"Device {key}",
		"revision": "1",
		"mode": IngestMode.PUSH,
		"address": DeviceAddress(**address),
		"push_key": f"key{key}",
		"push_secret_hash": hashlib.sha256(SECRET.encode()).hexdigest(),
	}
	return DeviceConfig(**{**values, **changes})


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
	"""Wait until the condition holds; fail with its source line when it never does."""
	deadline = asyncio.get_running_loop().time() + seconds
	while not condition():
		assert asyncio.get_running_loop().time() < deadline, "the condition never held"
		await asyncio.sleep(0.01)


def free_port() -> int:
	with socket.socket() as probe:
		probe.bind(("127.0.0.1", 0))
		return int(probe.getsockname()[1])


def push_body(serial_no: int = 1, **inner: Any) -> bytes:
	"""A notification as a terminal posts it, as JSON."""
	event = {
		"deviceName": "Gate",
		"majorEventType": 5,
		"subEventType": 75,
		"name": "Ada Example",
		"employeeNoString": "0007",
		"serialNo": serial_no,
		"currentEvent": True,
		"cardReaderNo": 1,
		"doorNo": 1,
		**inner,
	}
	notification = {
		"ipAddress": "192.0.2.7",
		"portNo": 80,
		"protocol": "HTTP",
		"macAddress": "00:00:5e:00:53:07",
		"channelID": 1,
		"dateTime": (MORNING + timedelta(seconds=serial_no)).isoformat(),
		"activePostCount": 1,
		"eventType": "AccessControllerEvent",
		"eventState": "active",
		"eventDescription": "Access Controller Event",
		"AccessControllerEvent": event,
	}
	return json.dumps(notification, indent="\t").encode()


HEARTBEAT_BODY = json.dumps(
	{
		"ipAddress": "192.0.2.7",
		"dateTime": MORNING.isoformat(),
		"activePostCount": 1,
		"eventType": "heartBeat",
		"eventState": "active",
		"eventDescription": "heartBeat",
	}
).encode()
