"""Which record a device's log must still hold, if it has lost nothing: what a reading of it is held against.

A log that was wiped looks like one that is new: it was never full, and its numbers begin at 1. Only who has older
records can tell. Any of them will do, as a log loses its oldest records first. But the stretch that is read must be
behind it, and people must not know yet that the log has lost it: then nothing would ever be proven again. What the log
itself told (it was not pushed) after a loss was over it has not lost by that, however old it is.

The ledger has instants by the device's clock; stretches and gaps are by ours.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hikvision_frappe.core.gaps import INSTANT_TOLERANCE, GapState

ACCESS = 5  # the major code of what the log of a door is about; a stream may tell alarms that no log keeps
# The gaps of which people know that nobody can fill them. One tells that the log may have been wiped until its end. It
# excuses no reading that begins before it does: such a reading covers it, and would be taken for its answer.
LOST = (GapState.UNRECOVERABLE, GapState.ACCEPTED)


def surely_before(since: datetime, *clock_offsets: float) -> datetime:
	"""An instant by the device's clock that is no later than ``since`` by ours, whichever of the offsets is right.

	clock_offsets: our clock minus the device's, seconds. That it may be too early does no harm: an older record tells
	the same.
	"""
	return since - timedelta(seconds=max(0.0, *clock_offsets))


def surely_after(until: datetime, *clock_offsets: float) -> datetime:
	"""A record with a later instant by the device's clock was made after ``until`` by ours."""
	return until - timedelta(seconds=min(clock_offsets)) + INSTANT_TOLERANCE
