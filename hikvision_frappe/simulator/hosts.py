"""Listening hosts: where a device pushes its events, as ``/ISAPI/Event/notification/httpHosts`` reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

HOST_LIMITS: Mapping[str, Any] = {
	"urlLen": {"@max": 128},
	"protocolType": {"@opt": "HTTP,HTTPS,EHome"},
	"addressingFormatType": {"@opt": "ipaddress,hostname"},
	"ipAddress": {"@opt": "ipv4"},
	"portNo": {"@min": 0, "@max": 65535},
	"userNameLen": {"@min": 1, "@max": 32},
	"passwordLen": {"@min": 8, "@max": 16},
	"httpAuthenticationMethod": {"@opt": "MD5digest,none,basic"},
	"SubscribeEventCap": {"heartbeat": {"@min": 1, "@max": 30}, "eventMode": {"@opt": "all,list"}},
}
_ALL_EVENTS: Mapping[str, Any] = {
	"heartbeat": 30,
	"eventMode": "all",
	"EventList": {"Event": {"type": "AccessControllerEvent", "pictureURLType": "binary"}},
}


class HostError(ValueError):
	"""The device does not take these settings; ``args[0]`` is the field's name."""


class NotXml(ValueError):
	"""The body is no XML document."""


@dataclass(frozen=True, slots=True)
class ListeningHost:
	"""One receiver of pushes; ``port`` 0 or an empty address means that it is not set."""

	number: int
	path: str = ""
	protocol: str = "HTTP"
	address: str = "0.0.0.0"  # noqa: S104 - what an unset slot reads back
	port: int = 0
	addressing: str = "ipaddress"
	user: str = ""
	password: str = field(default="", repr=False)
	authentication: str = "none"

	@property
	def is_set(self) -> bool:
		return self.port > 0 and self.address not in ("", "0.0.0.0")  # noqa: S104

	def members(self, with_url: bool = True) -> dict[str, Any]:
		"""The XML members of a read; the password is never told, and the format reads back empty."""
		return {
			"id": self.number,
			"url": self.path if with_url else "",
			"protocolType": self.protocol,
			"parameterFormatType": "",
			"addressingFormatType": self.addressing,
			"hostName": self.address if self.addressing == "hostname" else None,
			"ipAddress": self.address if self.addressing == "ipaddress" else None,
			"portNo": self.port,
			"userName": self.user or None,
			"httpAuthenticationMethod": self.authentication,
			"SubscribeEvent": _ALL_EVENTS if self.is_set else None,
		}


def host_at(url: str, number: int = 1) -> ListeningHost:
	"""A host from an address as people type it; user and password in it mean Digest."""
	parts = urlsplit(url)
	secure = parts.scheme == "https"
	if not parts.hostname:
		raise HostError("url")
	return ListeningHost(
		number,
		parts.path + (f"?{parts.query}" if parts.query else ""),
		"HTTPS" if secure else "HTTP",
		parts.hostname,
		parts.port or (443 if secure else 80),
		user=parts.username or "",
		password=parts.password or "",
		authentication="MD5digest" if parts.username else "none",
	)


def read_hosts(body: bytes, default_number: int, takes_names: bool) -> list[ListeningHost]:
	"""The hosts of an HttpHostNotification(List) document.

	Raises NotXml, or HostError with the offending field.
	"""
	try:
		root = fromstring(body)
	except (ParseError, DefusedXmlException) as error:
		raise NotXml from error
	elements = [item for item in root.iter() if _local(item) == "HttpHostNotification"]
	if not elements:
		raise HostError("HttpHostNotification")
	return [_read_host(item, default_number, takes_names) for item in elements]


def _read_host(item: Element, default_number: int, takes_names: bool) -> ListeningHost:
	texts = {_local(child): (child.text or "").strip() for child in item}
	by_name = texts.get("addressingFormatType") == "hostname"
	if by_name and not takes_names:
		raise HostError("ipAddress")
	host = ListeningHost(
		_number(texts, "id", default_number),
		texts.get("url", ""),
		texts.get("protocolType") or "HTTP",
		texts.get("hostName" if by_name else "ipAddress", ""),
		_number(texts, "portNo", 80),
		"hostname" if by_name else "ipaddress",
		texts.get("userName", ""),
		texts.get("password", ""),
		texts.get("httpAuthenticationMethod") or "none",
	)
	if host.path.startswith("http://") or host.path.startswith("https://"):
		parts = urlsplit(host.path)
		host = replace(host, path=parts.path + (f"?{parts.query}" if parts.query else ""))
	return host


def _number(texts: dict[str, str], name: str, default: int) -> int:
	try:
		return int(texts.get(name) or default)
	except ValueError as error:
		raise HostError(name) from error


def _local(item: Element) -> str:
	return str(item.tag).rpartition("}")[2]
