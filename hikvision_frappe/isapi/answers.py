"""What a device answers to requests: its identity, its clock, and refusals sorted into our errors.

HTTP 200 is no success by itself: some firmwares say "notSupport" with it. Sub-status codes are compared without
regard to case, because firmwares do not agree on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from hikvision_frappe.isapi.documents import MalformedDocument, Tree, read_document, storable
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	BadAnswer,
	DeviceBusy,
	IsapiError,
	LoginFailed,
	LoginRefused,
	NotHikvision,
	NotPermitted,
	NotSupported,
	Rejected,
	SearchTooWide,
	SetupWrong,
	StreamSlotTaken,
)
from hikvision_frappe.isapi.times import UnreadableTime, read_device_time

MAX_TEXT = 140
# Devices lock for half an hour, and each further try begins it anew; used when one does not say how long.
DEFAULT_LOCK_SECONDS = 1800
MAX_LOCK_SECONDS = 24 * 3600

_BUSY = frozenset({"devicebusy", "serviceunavailable", "upgrading", "nomemory"})
_TOO_WIDE = "searchtimeout"
_NO_SLOT = frozenset({"deployexceedmax", "noarmingresource", "armingfull"})
_NO_RIGHT = frozenset({"lowprivilege", "badauthorization"})
_NO_FEATURE = frozenset({"notsupport", "methodnotallowed", "eventnotsupport"})
_STATUS_ROOTS = frozenset({"ResponseStatus", "userCheck"})
# "CST-3:00:00": POSIX counts west as positive; a daylight saving rule may follow.
_POSIX_ZONE = re.compile(r"[A-Za-z]{3,}(?P<sign>[+-]?)(?P<hours>\d{1,2})(?::(?P<minutes>\d{2}))?(?::\d{2})?")

ADVICE_LOGIN = (
	"Check user and password on the device; nothing more is sent until they are changed here, because the device "
	"locks itself after a few wrong tries."
)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
	"""Who a device is. serial_number: its identity, "" on devices that hide it; then mac_address, lower case."""

	serial_number: str
	mac_address: str
	model: str
	firmware: str
	name: str
	device_type: str


@dataclass(frozen=True, slots=True)
class DeviceClock:
	"""A device's clock. moment: what it shows, UTC. offset_seconds: our UTC minus the device's.

	time_zone: its POSIX rule. mode: "NTP", "manual", ... utc_offset: the offset that it writes, right or wrong; None
	when it writes none.
	"""

	moment: datetime
	offset_seconds: float
	time_zone: str
	mode: str
	utc_offset: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Storage:
	"""How a device keeps its records.

	mode: "regular" or "time" (old ones are deleted by a timer), "cycle" (the oldest is overwritten when the log is
	full), "" when the device does not tell. minutes: of the timer, None without one.
	"""

	mode: str = ""
	minutes: int | None = None

	@property
	def deletes_by_timer(self) -> bool:
		"""Whether records can vanish before the log is full."""
		return self.mode in ("regular", "time")


@dataclass(frozen=True, slots=True)
class ResponseStatus:
	"""A device's verdict on a request. code: 1 (or 0) is OK, None when it is missing. sub_status: in lower case."""

	code: int | None
	sub_status: str
	message: str

	@property
	def is_error(self) -> bool:
		return self.code not in (None, 0, 1) or self.sub_status not in ("", "ok")


def read_device_info(body: bytes) -> DeviceInfo:
	"""Raises NotHikvision when the body is no DeviceInfo."""
	fields = _fields(body, "DeviceInfo")
	if not fields or not ({"serialNumber", "model", "macAddress"} & fields.keys()):
		raise NotHikvision(
			"What answers at this address is not a Hikvision device.", "Check the address and the port."
		)
	firmware = f"{fields.get('firmwareVersion', '')} {fields.get('firmwareReleasedDate', '')}".strip()
	return DeviceInfo(
		serial_number=fields.get("serialNumber", ""),
		mac_address=fields.get("macAddress", "").lower(),
		model=fields.get("model", ""),
		firmware=firmware[:MAX_TEXT],
		name=fields.get("deviceName", ""),
		device_type=fields.get("deviceType", ""),
	)


def read_clock(body: bytes, zone: str, trust_offset: bool, now: datetime) -> DeviceClock:
	"""The answer of /ISAPI/System/time, read by the same rules as the times of events.

	now: our UTC when the device wrote it. Raises BadAnswer.
	"""
	fields = _fields(body, "Time")
	local, rule = fields.get("localTime", ""), fields.get("timeZone", "")
	if re.fullmatch(r".*\d", local) and not re.search(r"[Zz]$|[+-]\d{1,2}:?\d{2}$", local[10:]):
		local += _fixed_offset(rule)
	try:
		time = read_device_time(local, zone, trust_offset, now)
	except UnreadableTime:
		raise BadAnswer("The device does not tell its time in a readable form.") from None
	offset_seconds = (now - time.moment).total_seconds()
	return DeviceClock(time.moment, offset_seconds, rule, fields.get("timeMode", ""), _told_offset(local))


def _told_offset(text: str) -> timedelta | None:
	"""The offset at the end of a time text, None when there is none with a sign."""
	if text[-1:] in ("Z", "z"):
		return timedelta(0)
	match = re.search(r"([+-])(\d{1,2}):?(\d{2})$", text[10:])
	if match is None:
		return None
	offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
	return None if offset >= timedelta(hours=24) else -offset if match[1] == "-" else offset


def read_storage(body: bytes) -> Storage:
	"""The answer of AcsEvent/StorageCfg, JSON or XML; nothing known when it is none."""
	fields = _fields(body, "EventStorageCfg")
	mode = fields.get("mode", "").lower()
	if mode not in ("regular", "time", "cycle"):
		return Storage()
	return Storage(mode, None if mode == "cycle" else _whole(fields.get("period", "")) or None)


def _fixed_offset(rule: str) -> str:
	"""An offset text from a POSIX rule without daylight saving; "" from any other."""
	match = _POSIX_ZONE.fullmatch(rule)
	if match is None:
		return ""
	sign = "+" if match["sign"] == "-" else "-"
	return f"{sign}{int(match['hours']):02d}:{match['minutes'] or '00'}"


def read_status(body: bytes) -> ResponseStatus | None:
	"""The ResponseStatus in a body, JSON or XML; None when there is none."""
	tree = _tree(body)
	fields = _leaves(tree, _STATUS_ROOTS)
	if not fields.keys() & {"statusCode", "statusValue", "subStatusCode"}:
		return None
	code = fields.get("statusCode", fields.get("statusValue", ""))
	return ResponseStatus(
		code=int(code) if re.fullmatch(r"\d{1,9}", code) else None,
		sub_status=fields.get("subStatusCode", "").lower(),
		message=fields.get("errorMsg", "") or fields.get("statusString", ""),
	)


def ensure_success(http_status: int, body: bytes) -> None:
	"""Raise the error that an answer means, if it means one."""
	status = read_status(body) if len(body) < 8192 else None
	if 200 <= http_status < 300 and (status is None or not status.is_error):
		return
	raise refusal(http_status, status)


def refusal(http_status: int, status: ResponseStatus | None) -> IsapiError:
	"""The error for a refused request, by its sub-status code first and its HTTP status otherwise."""
	if status is not None and status.sub_status not in ("", "ok"):
		return _by_sub_status(status)
	if 300 <= http_status < 400:
		return NotHikvision(
			"The device redirects instead of answering.",
			"If it allows only HTTPS, switch TLS on here and use its HTTPS port.",
		)
	if http_status == 403:
		return NotPermitted("The device forbids this.", "Give its user the right, or use another user.")
	if http_status in (404, 405, 501):
		return NotSupported("The device does not know this request.", "Its model or firmware may lack it.")
	if http_status >= 500 or (status is not None and status.code in (2, 3)):
		return DeviceBusy("The device reports that it cannot answer now.")
	return Rejected(f"The device refuses the request (HTTP {http_status}).")


def _by_sub_status(status: ResponseStatus) -> IsapiError:
	sub_status = status.sub_status
	if sub_status in _NO_SLOT:
		return slot_taken()
	if sub_status == _TOO_WIDE:
		return SearchTooWide("A search took the device too long.")
	if sub_status in _BUSY or status.code in (2, 3):
		return DeviceBusy(f"The device is busy ({sub_status}).")
	if sub_status in _NO_RIGHT:
		return NotPermitted(
			"The device's user lacks the right for this.",
			"Give it remote rights for notifications and access control, or use another user.",
		)
	if sub_status in _NO_FEATURE:
		return NotSupported(f"The device does not support this ({sub_status}).")
	if sub_status == "notactivated":
		return SetupWrong(
			"The device is not activated.", "Set its first password, on its own screen or web page."
		)
	detail = f": {status.message}" if status.message and status.message.lower() != sub_status else ""
	return Rejected(f"The device refuses the request ({sub_status}{detail}).", reason=sub_status)


def stream_refusal(http_status: int, body: bytes) -> IsapiError:
	"""The error for a refused alert stream. Terminals refuse a second stream in several ways."""
	status = read_status(body)
	error = refusal(http_status, status)
	if isinstance(error, Rejected) or (isinstance(error, DeviceBusy) and http_status == 503):
		return slot_taken()
	return error


def slot_taken() -> StreamSlotTaken:
	return StreamSlotTaken(
		"The device gives its event stream to somebody else now.",
		"Disconnect other receivers (iVMS-4200, HikCentral, a recorder, the device's own web page), or use push.",
	)


def login_failure(body: bytes) -> LoginFailed:
	"""The error for a refused login, with what the device says about further tries."""
	lock = locked(body)
	if lock is not None:
		return lock
	tries_left = _whole(_fields(body, "userCheck").get("retryLoginTime", ""))
	left = "" if tries_left is None else f" {tries_left} tries are left before it locks."
	return LoginRefused(f"The device refuses user or password.{left}", ADVICE_LOGIN, tries_left)


def locked(body: bytes) -> AccountLocked | None:
	"""The lock that a 401 tells of, if it does."""
	fields = _fields(body, "userCheck")
	status, unlock_seconds = fields.get("lockStatus", "").lower(), _whole(fields.get("unlockTime", ""))
	no_tries = not status and unlock_seconds and _whole(fields.get("retryLoginTime", "")) == 0
	if status not in ("lock", "locked") and not no_tries:
		return None
	return lock_of(min(unlock_seconds or DEFAULT_LOCK_SECONDS, MAX_LOCK_SECONDS))


def lock_of(seconds: int) -> AccountLocked:
	minutes = max(1, round(seconds / 60))
	return AccountLocked(
		f"The device has locked itself against us after too many wrong logins, for about {minutes} more minutes.",
		"Correct user and password, and wait: every further try begins the lock anew.",
		seconds,
	)


def _whole(text: str) -> int | None:
	return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _fields(body: bytes, root: str) -> dict[str, str]:
	return _leaves(_tree(body), frozenset({root}))


def _tree(body: bytes) -> Tree:
	try:
		return read_document(body)
	except MalformedDocument:
		return None


def _leaves(tree: Tree, roots: frozenset[str]) -> dict[str, str]:
	"""The leaf values directly under one of the roots, or at the top when a JSON answer leaves its root out."""
	if not isinstance(tree, dict):
		return {}
	for root in roots:
		inner = tree.get(root)
		if isinstance(inner, dict):
			tree = inner
			break
	return {name: _leaf(value) for name, value in tree.items() if isinstance(value, (str, int))}


def _leaf(value: str | int) -> str:
	text = str(value).lower() if isinstance(value, bool) else str(value)
	return storable(text).strip()[:MAX_TEXT]
