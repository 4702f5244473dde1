"""What a device can tell us besides an access event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hikvision_frappe.core.event import AccessEvent


@dataclass(frozen=True, slots=True)
class Heartbeat:
	"""The device is alive.

	device: key of the device. received_at: when we read it, UTC. device_time: the device's clock as UTC, None
	when it does not say; some firmwares write a heartbeat's offset wrongly, so it is no measure of their clock.
	"""

	device: str
	received_at: datetime
	device_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Notice:
	"""Any other notification (motion, video loss, input/output): kept for diagnosis, never for attendance.

	occurred_at: UTC, None when the device gave no readable time.
	"""

	device: str
	received_at: datetime
	event_type: str
	event_state: str = ""
	description: str = ""
	occurred_at: datetime | None = None


Message = AccessEvent | Heartbeat | Notice
