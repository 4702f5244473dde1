"""Until when everything is in: per device, and per shift.

The watermark of a device, *complete until*, is the instant up to which every record that counts is known to be in
the ledger and worked off. It never goes back, and it never follows the clock: it follows what was heard and proven.
``Shift Type.last_sync_of_checkin`` is the least watermark of the shift's devices, and HRMS calls people absent by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from hikvision_frappe.core.gaps import UNRESOLVED, Gap

# Devices write whole seconds, and a record of this second may follow the heartbeat of this second.
MARGIN = timedelta(seconds=2)


class HeldBy(str, Enum):
	"""What keeps a watermark from going further."""

	NOTHING_HEARD = "nothing was heard of the device yet"
	CONTACT = "the device was heard until then"
	GAP = "a gap is not resolved"
	WAITING = "a pass waits to be matched or worked off"


@dataclass(frozen=True, slots=True)
class Coverage:
	"""What is known of one device. All instants are UTC.

	By our clock: heard_until, the end of the latest contact, from the heartbeats of an unbroken stream or of a pushing
	device; proven_until, up to which history was read and proven without a hole. By the device's clock:
	recorded_until, the newest plausible record of a device that pushes without heartbeats and whose numbers tell what
	is missing, but never after its coming (its clock may be ahead, and be put right), None for all others; waiting_since, the oldest pass that is not worked off or not matched.
	clock_offset: our clock minus the device's, in seconds.
	"""

	device: str
	heard_until: datetime | None = None
	proven_until: datetime | None = None
	recorded_until: datetime | None = None
	waiting_since: datetime | None = None
	clock_offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Watermark:
	"""moment: UTC by the device's clock, on which check-ins stand; None when nothing was heard yet. gap: which one."""

	moment: datetime | None
	held_by: HeldBy
	gap: str = ""


def watermark(coverage: Coverage, gaps: Iterable[Gap], before: datetime | None) -> Watermark:
	"""The device's watermark now, never less than ``before``.

	gaps: those of this device; every break between contacts must be among them until it is resolved.
	"""
	behind = _behind(coverage.clock_offset)
	told = _latest(coverage.heard_until, coverage.proven_until)
	reached = _latest(told - behind if told else None, coverage.recorded_until)
	if reached is None:
		return Watermark(before, HeldBy.NOTHING_HEARD)
	limits = [  # an outage begins where the contact ended: it comes first, for it says more
		Watermark(gap.since - max(behind, _behind(gap.clock_offset)), HeldBy.GAP, gap.name)
		for gap in gaps
		if gap.state in UNRESOLVED
	]
	limits.append(Watermark(reached, HeldBy.CONTACT))
	if coverage.waiting_since is not None:
		limits.append(Watermark(coverage.waiting_since - timedelta(seconds=1), HeldBy.WAITING))
	least = min(limits, key=lambda limit: limit.moment or reached)
	if before is not None and least.moment is not None and least.moment < before:
		return Watermark(before, least.held_by, least.gap)
	return least


def _behind(clock_offset: float) -> timedelta:
	"""How much less a record's instant may be than our clock says."""
	return timedelta(seconds=max(0.0, clock_offset)) + MARGIN


def _latest(*moments: datetime | None) -> datetime | None:
	return max((moment for moment in moments if moment is not None), default=None)


def proven_further(
	proven_until: datetime | None, since: datetime, until: datetime, others: Iterable[datetime | None] = ()
) -> datetime | None:
	"""``Coverage.proven_until`` after a proven reading of since..until: only where it joins what was certain before.

	others: further instants until which all was certain (the watermark, the latest contact).
	"""
	certain = _latest(proven_until, *others)
	if certain is not None and since > certain:
		return proven_until
	return _latest(proven_until, until)


def pass_over(
	proven_until: datetime | None, until: datetime, others: Iterable[datetime | None]
) -> datetime | None:
	"""``Coverage.proven_until`` after readings up to ``until`` that proved nothing again and again, of a device that is
	heard as well: what is certain by that is not read for ever. others: the instants until which it is.
	"""
	certain = _latest(*others)
	return proven_until if certain is None else _latest(proven_until, min(until, certain))


def shift_watermark(moments: Iterable[datetime | None]) -> datetime | None:
	"""The least of the watermarks of a shift's devices; None when there is none, or one of them has none."""
	known = list(moments)
	if not known or any(moment is None for moment in known):
		return None
	return min(moment for moment in known if moment is not None)
