"""A device's notification, from the token to the ledger, for both doors of the site (route and method).

Whoever finds a door is a stranger until the token proves otherwise, so everything is checked in this order: token,
mode, source network, length, rate; only then is the body parsed. The answer is ISAPI's OK after the commit, and a bare
status otherwise.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import frappe
import redis
from frappe import _
from frappe.utils import now_datetime

from hikvision_frappe.core.event import AccessEvent, Source
from hikvision_frappe.core.gaps import Cause, Contact, beat
from hikvision_frappe.isapi.acknowledgement import acknowledgement
from hikvision_frappe.isapi.messages import Heartbeat, Message
from hikvision_frappe.isapi.parsing import MalformedPayload, ParseContext, parse_push
from hikvision_frappe.ledger import beats, contacts
from hikvision_frappe.ledger.database_errors import (
	INTEGRITY_ERROR,
	INTERFACE_ERROR,
	INTERNAL_ERROR,
	OPERATIONAL_ERROR,
)
from hikvision_frappe.ledger.devices import comes_from, networks_of, secret_matches, split_token
from hikvision_frappe.ledger.intake import (
	DISABLED_DEVICE,
	UNKNOWN_DEVICE,
	IntakeSettings,
	deliver,
	read_settings,
)
from hikvision_frappe.listener.contact import ContactSettings

MAX_BODY = 4 * 1024 * 1024
REMEMBER_SECONDS = 60  # how long a change of the settings may take to be noticed; of a device, it is at once
NOTE_SECONDS = 30  # how often a push is noted on the device's form
RETRY_AFTER = 5
REPEATED_WITHIN = (
	ContactSettings().push_patience
)  # a push that was not taken is told again by then, if at all
REFUSED_SECONDS = 86_400  # a refusal is remembered
FAULT_KEY = "hikvision_push_fault"
FAULT_SECONDS = 60

REDIS_TROUBLE = (redis.exceptions.RedisError, OSError)
PASSING = (
	*OPERATIONAL_ERROR,
	*INTERFACE_ERROR,
	*INTERNAL_ERROR,
	*INTEGRITY_ERROR,  # intake met another writer too often
	frappe.QueryDeadlockError,
	frappe.QueryTimeoutError,
	frappe.InReadOnlyMode,
)


@dataclass(frozen=True, slots=True)
class Notification:
	"""One HTTP request of a device. peer: its IP address. length: as announced, None when it was not."""

	token: str
	method: str
	peer: str
	body: bytes
	content_type: str = ""
	length: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
	"""What to send back; no body means that the sender learns nothing."""

	status: int
	body: bytes = b""
	content_type: str = "text/plain"
	retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class PushDevice:
	"""What the doors need of a device, and of the settings beside it. rate: pushes per second, 0 for any number."""

	name: str
	enabled: bool
	mode: str
	secret_hash: str
	networks: tuple[str, ...]
	zone: str
	trust_offset: bool
	rate: int
	site_zone: str
	keep_person_names: bool


class Refusal(Exception):
	"""End of a request: a status for the sender, ``why`` for the device's form."""

	def __init__(self, status: int, why: str = "") -> None:
		super().__init__(status)
		self.status = status
		self.why = why


def receive(notification: Notification) -> Answer:
	"""Take one notification and say what to answer. Never raises; nothing uncommitted is left behind."""
	try:
		device = authenticate(notification.token)
		return _receive_from(device, notification)
	except Refusal as refusal:
		return _bare(refusal.status)
	except PASSING:
		return _bare(503)
	except Exception:
		return _unexpected(frappe.get_traceback())


def authenticate(token: str) -> PushDevice:
	"""The device whose token this is; an unknown key and a wrong secret are the same refusal."""
	push_key, secret = split_token(token)
	device = find_device(push_key) if push_key else None
	if not secret_matches(secret, device.secret_hash if device else "") or device is None:
		raise Refusal(404)
	return device


def _receive_from(device: PushDevice, notification: Notification) -> Answer:
	began = time.time()
	try:
		_admit(device, notification)
		counted = _count(device)
		messages = _parse(device, notification)
		_deliver(device, [message for message in messages if isinstance(message, AccessEvent)])
	except Refusal as refusal:
		if refusal.status not in (403, 405):
			_remember_refused(device, began)
		if refusal.why and _is_due(device, "refusal"):
			_note(device, {"last_error": refusal.why})
		raise
	except Exception:
		_remember_refused(device, began)
		raise
	if counted.refused_at and began > counted.refused_at:
		_forget_refused(device, messages)
	_note_contact(device, messages, counted.first_for_long)
	body, content_type = acknowledgement(notification.body)
	return Answer(200, body, content_type)


def _admit(device: PushDevice, notification: Notification) -> None:
	if notification.method != "POST":
		raise Refusal(405)
	if not device.enabled:
		raise Refusal(403)
	if device.mode != "Push":
		raise Refusal(403, _("The device pushes, but is set to Stream. Choose one of the two."))
	if not comes_from(notification.peer, device.networks):
		raise Refusal(403, _("A push from {0} is outside the networks allowed.").format(notification.peer))
	if max(notification.length or 0, len(notification.body)) > MAX_BODY:
		raise Refusal(413, _("A push was larger than 4 MiB."))


def _parse(device: PushDevice, notification: Notification) -> list[Message]:
	context = ParseContext(device.name, device.zone, device.trust_offset, Source.PUSH)
	try:
		return parse_push(notification.body, notification.content_type, context, datetime.now(timezone.utc))
	except MalformedPayload:
		raise Refusal(400, _("A push could not be understood.")) from None


def _deliver(device: PushDevice, events: list[AccessEvent]) -> None:
	"""Commit the events. The whole notification is refused when one of them is; the others stay stored."""
	if not events:
		return
	settings = IntakeSettings(ZoneInfo(device.site_zone), device.keep_person_names)
	refused = deliver(events, checked={device.name}, settings=settings, fresh=True).refused
	reasons = set(refused.values())
	if reasons & {UNKNOWN_DEVICE, DISABLED_DEVICE}:
		raise Refusal(403)
	if reasons:
		raise Refusal(400, _("An event of a push cannot be stored: {0}.").format(min(reasons)))


def _bare(status: int) -> Answer:
	return Answer(status, retry_after=RETRY_AFTER if status in (429, 503) else None)


def _unexpected(traceback: str) -> Answer:
	"""Our own fault: kept for us without the values of variables, among which the token is."""
	try:
		frappe.db.rollback()
		if _is_first_fault():
			frappe.log_error("Hikvision push", traceback)
	except PASSING:  # a connection lost before: the fault shows itself again on the next
		return _bare(503)
	return _bare(500)


def _is_first_fault() -> bool:
	"""A device repeats what failed, and so would the log: one entry in FAULT_SECONDS is enough to act on."""
	try:
		return bool(frappe.cache.set(frappe.cache.make_key(FAULT_KEY), b"1", nx=True, ex=FAULT_SECONDS))
	except REDIS_TROUBLE:
		return True


# Devices, remembered for a minute.


def find_device(push_key: str) -> PushDevice | None:
	"""The device with this public key, from Redis or by one statement; None for a stranger's key."""
	cached = frappe.cache.get_value(_cache_key(push_key), expires=True)
	if cached:
		return PushDevice(**cached)
	device = _read_device(push_key)
	frappe.db.rollback()  # intake wants a snapshot of its own
	if device:
		frappe.cache.set_value(_cache_key(push_key), asdict(device), expires_in_sec=REMEMBER_SECONDS)
	return device


def _read_device(push_key: str) -> PushDevice | None:
	fields = ["name", "enabled", "mode", "push_secret_hash", "source_networks", "time_zone", "trust_offset"]
	row = frappe.db.get_value("Hikvision Device", {"push_key": push_key}, fields, as_dict=True)
	if not row:
		return None
	settings = read_settings()
	return PushDevice(
		name=row.name,
		enabled=bool(row.enabled),
		mode=row.mode,
		secret_hash=row.push_secret_hash or "",
		networks=networks_of(row.source_networks),
		zone=row.time_zone,
		trust_offset=bool(row.trust_offset),
		rate=frappe.db.get_single_value("Hikvision Settings", "push_rate_limit", cache=False) or 0,
		site_zone=settings.zone.key,
		keep_person_names=settings.keep_person_names,
	)


def forget_device(push_key: str | None) -> None:
	"""Drop what is remembered of a device whose document changes: now, and when the change is committed."""
	if push_key:
		frappe.cache.delete_value(_cache_key(push_key))
		frappe.db.after_commit.add(lambda: frappe.cache.delete_value(_cache_key(push_key)))


def _cache_key(push_key: str) -> str:
	return f"hikvision_push_device:{push_key}"


# Counting and noting: without Redis, a push is taken all the same.


class _Counted(NamedTuple):
	"""first_for_long: whether it is the first push for NOTE_SECONDS. refused_at: when a push was not taken that may
	still be repeated, by the clock of ``time.time``; 0 for none."""

	first_for_long: bool = False
	refused_at: float = 0.0


def _count(device: PushDevice) -> _Counted:
	"""Count this push against the device's limit.

	The window is one second, common to all web workers. Where Redis fails, nginx still limits in front.
	"""
	key = frappe.cache.make_key(f"hikvision_push_rate:{device.name}:{int(time.time())}")
	pipeline = frappe.cache.pipeline(transaction=False)
	pipeline.incr(key)
	pipeline.expire(key, 2)
	pipeline.set(_noted_key(device, "event"), b"1", nx=True, ex=NOTE_SECONDS)
	pipeline.get(_refused_key(device))
	try:
		pushes, _expires, first, refused_at = pipeline.execute()
	except REDIS_TROUBLE:
		return _Counted()
	if device.rate and pushes > device.rate:
		raise Refusal(429, _("The device pushes faster than Hikvision Settings allow."))
	return _Counted(bool(first), float(refused_at or 0))


def _remember_refused(device: PushDevice, began: float) -> None:
	"""Until the device has told it again, its heartbeats prove nothing: they may come on a connection of their own."""
	with suppress(*REDIS_TROUBLE):
		frappe.cache.set(_refused_key(device), str(began), ex=REFUSED_SECONDS)


def _forget_refused(device: PushDevice, messages: list[Message]) -> None:
	if any(isinstance(message, AccessEvent) for message in messages):
		with suppress(*REDIS_TROUBLE):
			frappe.cache.delete(_refused_key(device))


def _refused_at(device: PushDevice) -> datetime | None:
	"""When a push was not taken that may still be repeated, UTC."""
	stamp = float(frappe.cache.get(_refused_key(device)) or 0)
	return datetime.fromtimestamp(stamp, timezone.utc) if stamp else None


def _refused_key(device: PushDevice) -> bytes:
	return bytes(frappe.cache.make_key(f"hikvision_push_refused:{device.name}"))


def _note_contact(device: PushDevice, messages: list[Message], first_for_long: bool) -> None:
	fields = set()
	if first_for_long and any(isinstance(message, AccessEvent) for message in messages):
		fields.add("last_event")
	if any(isinstance(message, Heartbeat) for message in messages) and _is_due(device, "heartbeat"):
		fields.add("last_heartbeat")
	if fields:
		now = now_datetime().replace(microsecond=0)
		values = {"connection_state": "Connected", "last_error": "", **dict.fromkeys(fields, now)}
		_note(device, values, heartbeat="last_heartbeat" in fields)


def _is_due(device: PushDevice, kind: str) -> bool:
	"""Whether nothing of the kind was noted for NOTE_SECONDS."""
	try:
		return bool(frappe.cache.set(_noted_key(device, kind), b"1", nx=True, ex=NOTE_SECONDS))
	except REDIS_TROUBLE:
		return False


def _note(device: PushDevice, values: dict[str, Any], *, heartbeat: bool = False) -> None:
	"""Show it on the device's form; a heartbeat says until when it was heard. Losing a note harms nobody."""
	try:
		if heartbeat:
			values |= _heard(device)
		frappe.db.set_value("Hikvision Device", device.name, values, update_modified=False)
		frappe.db.commit()  # nosemgrep: the events are committed already, and no one commits after a refusal
	except PASSING:
		frappe.db.rollback()


def _heard(device: PushDevice) -> dict[str, Any]:
	"""The columns that say until when the device was heard; opens a gap where its heartbeats stayed away too long.

	None of them while a push that was refused waits for its repetition; if that never comes, a new contact begins.
	"""
	now = datetime.now(timezone.utc)
	try:
		refused_at = _refused_at(device)
	except REDIS_TROUBLE:
		return {}
	if refused_at and now - refused_at < REPEATED_WITHIN:
		return {}
	frappe.db.rollback()  # the row's lock is to be the transaction's first look
	known = contacts.lock([device.name])
	if device.name not in known:
		return {}
	before = known[device.name].contact
	contact = beat(before, now, beats.limit(device.name))
	if refused_at and before and before.since <= refused_at:
		contact = Contact(now, now, Cause.SILENCE)
	return contacts.join(known, {device.name: contact}, ZoneInfo(device.site_zone)).get(device.name, {})


def _noted_key(device: PushDevice, kind: str) -> bytes:
	return bytes(frappe.cache.make_key(f"hikvision_push_noted:{device.name}:{kind}"))
