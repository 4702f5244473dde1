"""The devices of a soak: many kinds side by side, entered at the site as an administrator would."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hikvision_frappe.demo.scene import address_of
from hikvision_frappe.isapi.address import DeviceAddress
from hikvision_frappe.listener.site import DeviceConfig, IngestMode
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.digest import LockOut
from hikvision_frappe.simulator.profile import PROFILES, Heartbeat, Profile
from hikvision_frappe.simulator.push import PushTiming

NETWORKS = ("127.0.0.0/8",)
HEARTBEAT_SECONDS = 4.0
HISTORY_SECONDS = 10.0
FEW_RECORDS = 40
PUSH_TIMING = PushTiming(timeout=5.0, first_retry=0.5, longest_retry=4.0)


@dataclass(frozen=True, slots=True)
class Kind:
	"""A kind of device and how it is used. share: how many of them, relatively."""

	name: str
	profile: Profile
	mode: IngestMode
	history: bool = False
	history_seconds: float = 0.0
	share: int = 1


def _stream(base: str, *, replay: int | None, slots: int = 1) -> Profile:
	known = PROFILES[base]
	style = replace(known.stream, heartbeat_seconds=HEARTBEAT_SECONDS, replay=replay, slots=slots)
	return replace(known, tls=False, stream=style)


def _push(base: str, *, heartbeats: bool) -> Profile:
	known = PROFILES[base]
	return replace(
		known,
		tls=False,
		stream=replace(known.stream, supported=False),
		push=replace(known.push, heartbeat_seconds=HEARTBEAT_SECONDS if heartbeats else None, remembers=True),
	)


def _video(base: str) -> Profile:
	"""A stream whose heartbeats look like those of a recorder."""
	known = _stream(base, replay=0)
	return replace(known, stream=replace(known.stream, heartbeat=Heartbeat.VIDEOLOSS_JSON))


KINDS = (
	Kind("stream that replays all", _stream("k1t344", replay=None), IngestMode.STREAM, share=3),
	Kind("stream that replays ten", _stream("k1t341am-old", replay=10), IngestMode.STREAM, share=2),
	Kind("stream alone", _video("k2702"), IngestMode.STREAM, share=3),
	Kind("stream and history", _stream("k1t344", replay=0), IngestMode.STREAM, history=True, share=6),
	Kind("stream and history in pages of five", _stream("k2702", replay=0), IngestMode.STREAM, history=True, share=3),
	Kind("stream and history without numbers", _stream("kv6124", replay=10), IngestMode.STREAM, history=True, share=3),
	Kind(
		"stream and history that forgets",
		replace(_stream("k1t344", replay=0), log_capacity=FEW_RECORDS),
		IngestMode.STREAM,
		history=True,
		share=2,
	),
	Kind("push with heartbeats", _push("k1t323-push", heartbeats=True), IngestMode.PUSH, share=3),
	Kind("push alone", _push("k1t341am-old", heartbeats=False), IngestMode.PUSH, share=2),
	Kind("push and history", _push("k1t344", heartbeats=True), IngestMode.PUSH, history=True, share=3),
	Kind(
		"history alone",
		_stream("k1t344", replay=0),
		IngestMode.HISTORY,
		history=True,
		history_seconds=HISTORY_SECONDS,
		share=2,
	),
	Kind(
		"history without numbers",
		_stream("kv6124", replay=0),
		IngestMode.HISTORY,
		history=True,
		history_seconds=HISTORY_SECONDS,
		share=1,
	),
)  # fmt: skip


@dataclass(slots=True)
class Citizen:
	"""One simulated device, its entry at the site and, where it pushes, the address that was typed into it."""

	kind: Kind
	device: SimulatedDevice
	config: DeviceConfig
	receiver: str = ""

	def point_to_receiver(self) -> None:
		if self.receiver:
			self.device.push_to(self.receiver)


def kinds_of(count: int, seed: int) -> list[Kind]:
	"""A kind for each device; the same seed gives the same town, and every kind is there when there is room."""
	weighted = [kind for kind in KINDS for _ in range(kind.share)]
	dice = random.Random(seed)  # noqa: S311 a simulation
	chosen = [*KINDS, *(dice.choice(weighted) for _ in range(count))][:count]
	dice.shuffle(chosen)
	return chosen


def make_device(number: int, kind: Kind, seed: int) -> SimulatedDevice:
	device = SimulatedDevice(
		kind.profile,
		serial_number=f"{kind.profile.model}{number:09d}",
		lock_out=LockOut(max_tries=1_000, seconds=5.0),
		push_timing=PUSH_TIMING,
		seed=seed + number,
	)
	device.set_serial(40_000 + 7 * number)
	return device


def enter(number: int, kind: Kind, device: SimulatedDevice, ports: Sequence[int]) -> Citizen:
	"""Enter a running device at the site, and the listener's address at the device."""
	key, secret = f"d{number:04d}", f"secret-of-{number}"
	config = DeviceConfig(
		key,
		f"{kind.name} {number}",
		"1",
		kind.mode,
		address_of(device),
		push_key=f"key{number}" if kind.mode is IngestMode.PUSH else "",
		push_secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
		networks=NETWORKS,
		history=kind.history,
		history_seconds=kind.history_seconds,
	)
	receiver = ""
	if kind.mode is IngestMode.PUSH:
		port = ports[number % len(ports)]
		receiver = f"http://127.0.0.1:{port}/hikvision/event/{config.push_key}.{secret}"
	return Citizen(kind, device, config, receiver)


def configs_to_text(configs: Sequence[DeviceConfig]) -> str:
	"""As JSON, passwords included: a file for child processes in a folder of the user's own."""
	return json.dumps([_to_plain(config) for config in configs])


def _to_plain(config: DeviceConfig) -> dict[str, Any]:
	address = config.address
	return {
		"key": config.key,
		"title": config.title,
		"mode": config.mode.value,
		"host": address.host,
		"port": address.port,
		"user": address.user,
		"password": address.password,
		"zone": address.zone,
		"trust_offset": address.trust_offset,
		"push_key": config.push_key,
		"push_secret_hash": config.push_secret_hash,
		"history": config.history,
		"history_seconds": config.history_seconds,
	}


def configs_from_text(text: str) -> list[DeviceConfig]:
	return [_from_plain(plain) for plain in json.loads(text)]


def _from_plain(plain: Mapping[str, Any]) -> DeviceConfig:
	address = DeviceAddress(
		plain["host"],
		plain["port"],
		plain["user"],
		plain["password"],
		zone=plain["zone"],
		trust_offset=plain["trust_offset"],
	)
	return DeviceConfig(
		plain["key"],
		plain["title"],
		"1",
		IngestMode(plain["mode"]),
		address,
		push_key=plain["push_key"],
		push_secret_hash=plain["push_secret_hash"],
		networks=NETWORKS,
		history=plain["history"],
		history_seconds=plain["history_seconds"],
	)
