"""How to reach and log in to a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class TlsMode(str, Enum):
	OFF = "off"  # plain HTTP
	SYSTEM = "system"  # HTTPS, certificate checked against the system's authorities and the host name
	PINNED = "pinned"  # HTTPS, sha256 fingerprint of the (self-signed) certificate
	UNVERIFIED = "unverified"  # HTTPS without a check; shown as unsafe wherever it is used


@dataclass(frozen=True, slots=True)
class DeviceAddress:
	"""Host, port, TLS, login and time zone of one device.

	fingerprint: hex sha256 of the DER certificate, colons allowed, for TlsMode.PINNED.
	zone: IANA name used where a time text has no offset.
	trust_offset: False when the device is known to write a wrong offset (factory +08:00): only the wall time is
	read then, in ``zone``.
	"""

	host: str
	port: int
	user: str
	password: str = field(repr=False)
	tls: TlsMode = TlsMode.OFF
	fingerprint: str = ""
	zone: str = "UTC"
	trust_offset: bool = True

	@property
	def base_url(self) -> str:
		"""``http(s)://host:port`` without credentials, IPv6 in brackets."""
		scheme = "http" if self.tls is TlsMode.OFF else "https"
		host = f"[{self.host}]" if ":" in self.host else self.host
		return f"{scheme}://{host}:{self.port}"
