"""From a Hikvision Device document to the address that the protocol code understands."""

from __future__ import annotations

from typing import Any

from frappe.utils import get_system_timezone

from hikvision_frappe.isapi.address import DeviceAddress, TlsMode

TLS_MODES = {
	"HTTP": TlsMode.OFF,
	"HTTPS, system CA": TlsMode.SYSTEM,
	"HTTPS, pinned certificate": TlsMode.PINNED,
	"HTTPS, unverified": TlsMode.UNVERIFIED,
}


def device_address(device: Any, password: str) -> DeviceAddress:
	"""The address of a Hikvision Device row or document; the password comes from its Password field."""
	return DeviceAddress(
		host=device.host or "",
		port=device.port or 0,
		user=device.user or "",
		password=password,
		tls=TLS_MODES[device.tls_mode],
		fingerprint=device.tls_fingerprint or "",
		zone=device.time_zone or get_system_timezone(),
		trust_offset=bool(device.trust_offset),
	)
