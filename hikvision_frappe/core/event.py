"""What a door told us: the one message that every source is parsed into.

An ``AccessEvent`` is frozen, parsed once at the edge and carried unchanged through spool, ledger and decisions.
All instants are timezone-aware UTC datetimes with whole seconds or finer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from enum import Enum
from typing import Any


class EventKind(str, Enum):
	"""What happened, by the pair (major, minor) of vendor codes; never guessed from other fields."""

	PASS = "pass"  # granted authentication of a person
	DENIAL = "denial"
	TIMEOUT = "timeout"  # authentication begun and not finished
	DOOR = "door"  # lock, contact, button
	ALARM = "alarm"
	OTHER = "other"


class Source(str, Enum):
	"""Who told us about an event."""

	STREAM = "stream"
	PUSH = "push"
	HISTORY = "history"


class TimeQuality(str, Enum):
	"""How far ``occurred_at`` can be trusted."""

	EXACT = "exact"  # the text carried its offset
	ZONE_ASSUMED = "zone assumed"  # no (or a distrusted) offset: the device's configured zone was used
	IMPLAUSIBLE = "implausible"  # 1970, far in the future: a lost clock


@dataclass(frozen=True, slots=True)
class AccessEvent:
	"""One record of a device.

	device: key of the Hikvision Device, never its address.
	serial_no: the record's number on the device, or None when the source leaves it out.
	occurred_at: the device's instant, UTC. occurred_text: the same as the device wrote it.
	received_at: when this process read it, UTC.
	live: the device's ``currentEvent``; False for a replay, None when it does not say.
	person: employeeNoString kept as text, "" when there is none. Leading zeros are part of it.
	ordinal: for rows without a serial number, the position among equal rows of one answer (0, 1, ...).
	"""

	device: str
	major: int
	minor: int
	kind: EventKind
	occurred_at: datetime
	occurred_text: str
	received_at: datetime
	source: Source
	time_quality: TimeQuality = TimeQuality.EXACT
	serial_no: int | None = None
	live: bool | None = None
	person: str = ""
	person_name: str = ""
	card_no: str = ""
	door_no: int | None = None
	reader_no: int | None = None
	user_type: str = ""
	attendance_status: str = ""
	verify_mode: str = ""
	hardware: str = ""  # serial number of the hardware, when the source names it
	ordinal: int = 0

	def to_plain(self) -> dict[str, Any]:
		"""A JSON-ready dict: enums as their values, instants as ISO 8601 UTC text, defaults left out."""
		plain: dict[str, Any] = {}
		for field in fields(self):
			value = getattr(self, field.name)
			if value == field.default:
				continue
			if isinstance(value, Enum):
				value = value.value
			elif isinstance(value, datetime):
				value = value.isoformat()
			plain[field.name] = value
		return plain

	@classmethod
	def from_plain(cls, plain: Mapping[str, Any]) -> AccessEvent:
		"""The inverse of ``to_plain``; unknown keys are ignored so that a newer sender is understood.

		Raises KeyError or ValueError when a required field is missing or malformed.
		"""
		values = {key: value for key, value in plain.items() if key in _FIELDS}
		values["kind"] = EventKind(values["kind"])
		values["source"] = Source(values["source"])
		values["time_quality"] = TimeQuality(values.get("time_quality", TimeQuality.EXACT))
		for key in ("occurred_at", "received_at"):
			values[key] = as_utc(datetime.fromisoformat(values[key]))
		return cls(**values)

	def retold(self, **changes: Any) -> AccessEvent:
		"""The same event with some fields changed."""
		return replace(self, **changes)


_FIELDS = frozenset(field.name for field in fields(AccessEvent))


def as_utc(moment: datetime) -> datetime:
	"""An aware datetime in UTC; raises ValueError for a naive one, whose zone nobody can know here."""
	if moment.tzinfo is None:
		raise ValueError(f"naive datetime {moment!r}: an instant needs its zone")
	return moment.astimezone(timezone.utc)
