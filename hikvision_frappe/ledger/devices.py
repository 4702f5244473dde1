"""What a Hikvision Device row means to the listener and to the push doors: its token and its revision."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

PUSH_PATH = "hikvision/event"
NOBODYS_HASH = "0" * 64

# What a listener must know of a device: a change in one of these is a reason to connect anew.
CONFIG_FIELDS = (
	"title",
	"enabled",
	"mode",
	"host",
	"port",
	"tls_mode",
	"tls_fingerprint",
	"user",
	"time_zone",
	"trust_offset",
	"history",
	"history_minutes",
	"push_key",
	"push_secret_hash",
	"source_networks",
	"serial_number",
)

# What the listener and the connection test write beside an open form; saving the form must not undo it.
REPORTED_FIELDS = (
	"connection_state",
	"state_since",
	"connected_since",
	"last_heartbeat",
	"last_event",
	"last_error",
	"retry_at",
	"reconnects",
	"clock_offset",
	"serial_number",
	"mac_address",
	"model",
	"firmware",
	"leased_by",
	"leased_until",
	"history_supported",
	"storage_mode",
	"storage_minutes",
	"heard_since_utc",
	"heard_until_utc",
	"heard_reason",
	"proven_until_utc",
	"complete_until_utc",
	"complete_until",
	"held_by",
	"held_by_gap",
)


HISTORY_MINUTES = 15  # between two readings of a device that nothing else tells of


def reads_history(device: Mapping[str, Any]) -> bool:
	"""Whether somebody may log in to read the device's history."""
	return device["mode"] == "History" or bool(device["history"] and device["host"])


def may_read_history(device: Mapping[str, Any]) -> bool:
	"""Whether whoever holds the device would read its history: one that pushes may have no login."""
	return reads_history(device) and bool(device["mode"] != "Push" or device["password"])


def history_minutes(device: Mapping[str, Any]) -> int:
	"""How often the device's history is read though no gap is known; 0 for never."""
	if not reads_history(device):
		return 0
	minutes: int = device["history_minutes"] or 0
	return max(minutes or HISTORY_MINUTES, 1) if device["mode"] == "History" else max(minutes, 0)


def config_revision(device: Mapping[str, Any], password: str, key: str) -> str:
	"""A short text that changes whenever the configuration or the password does, and not with the state.

	key: any secret of the site, so that the revision tells nothing of the password.
	"""
	text = "\0".join(str(device.get(field) or "") for field in CONFIG_FIELDS)
	return hmac.new(key.encode(), f"{text}\0{password}".encode(), hashlib.sha256).hexdigest()[:16]


def new_push_key() -> str:
	"""The public half of a notification token: 16 hexadecimal digits."""
	return secrets.token_hex(8)


def new_push_secret() -> str:
	"""The secret half of a notification token: 32 hexadecimal digits, which every terminal's URL field takes."""
	return secrets.token_hex(16)


def secret_hash(secret: str) -> str:
	"""The sha256 of a push secret in hex; random secrets of 128 bits need no slow hash."""
	return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def split_token(token: str) -> tuple[str, str]:
	"""(push key, secret) of a ``<key>.<secret>`` token; ("", "") when it cannot be one."""
	key, dot, secret = token.partition(".")
	if not dot or not 1 <= len(key) <= 40 or not 1 <= len(secret) <= 140:
		return "", ""
	return key, secret


def secret_matches(secret: str, expected_hash: str) -> bool:
	"""Whether the secret is the one whose hash is stored; takes the same time when there is none."""
	given = secret_hash(secret)
	return hmac.compare_digest(given, expected_hash or NOBODYS_HASH) and bool(expected_hash)


def networks_of(text: str | None) -> tuple[str, ...]:
	"""The networks of a Source Networks text, one per line or separated by commas, in canonical form.

	Raises ValueError with the offending line.
	"""
	lines = (text or "").replace(",", "\n").splitlines()
	return tuple(str(ipaddress.ip_network(line.strip(), strict=False)) for line in lines if line.strip())


def comes_from(address: str, networks: Iterable[str]) -> bool:
	"""Whether the address lies in one of the networks; no networks means anywhere."""
	networks = tuple(networks)
	if not networks:
		return True
	try:
		peer = ipaddress.ip_address(address)
	except ValueError:
		return False
	peer = getattr(peer, "ipv4_mapped", None) or peer
	return any(peer in ipaddress.ip_network(network) for network in networks)


def push_url(base_url: str, push_key: str, secret: str) -> str:
	"""The notification URL to type into a device."""
	return f"{base_url.rstrip('/')}/{PUSH_PATH}/{push_key}.{secret}"


def duplicates(values: Iterable[Any], key: Callable[[Any], Any]) -> list[Any]:
	"""The values whose key was seen before, in order."""
	seen: set[Any] = set()
	return [value for value in values if key(value) in seen or seen.add(key(value))]  # type: ignore[func-returns-value]
