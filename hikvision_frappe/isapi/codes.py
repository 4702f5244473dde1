"""The vendor's event codes: what a pair (major, minor) means.

``event_codes.csv`` is the table. Only the pair has a meaning: the same minor code stands for different things
under different majors. A pair that the table does not know is ``EventKind.OTHER``: new firmware must never make
a pass out of something else.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from hikvision_frappe.core.event import EventKind


@dataclass(frozen=True, slots=True)
class EventCode:
	"""One row of the table. ``method`` names what was presented: "card", "face+pin", "" when it does not say."""

	kind: EventKind
	method: str
	meaning: str


_UNKNOWN = EventCode(EventKind.OTHER, "", "")


@cache
def _table() -> dict[tuple[int, int], EventCode]:
	text = resources.files(__package__).joinpath("event_codes.csv").read_text(encoding="utf-8")
	return {
		(int(row["major"]), int(row["minor"])): EventCode(
			EventKind(row["kind"]), row["method"], row["meaning"]
		)
		for row in csv.DictReader(text.splitlines())
	}


def _code(major: int, minor: int) -> EventCode:
	return _table().get((major, minor), _UNKNOWN)


def kind_of(major: int, minor: int) -> EventKind:
	"""What happened, by the pair of codes; OTHER for an unknown pair."""
	return _code(major, minor).kind


def meaning_of(major: int, minor: int) -> str:
	"""The vendor's English words for a pair of codes, or "Event <major>/<minor>" for an unknown one."""
	return _code(major, minor).meaning or f"Event {major}/{minor}"


def method_of(major: int, minor: int) -> str:
	"""What the person presented: "card", "fingerprint", "face", "pin", "qr", "card+pin", ...; "" if unknown.

	Some firmwares write 5/38 (fingerprint) for a card or a face as well, so this is a hint for people and no
	ground for a decision.
	"""
	return _code(major, minor).method


def minors_of(major: int, kind: EventKind) -> tuple[int, ...]:
	"""The minor codes which the table knows of a kind of event, in ascending order."""
	return tuple(sorted(pair[1] for pair, code in _table().items() if pair[0] == major and code.kind is kind))
