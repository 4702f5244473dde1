"""An Employee Checkin as the decisions see it: which way, when, and from which event.

HRMS keeps a check-in's time as a naive datetime in the site's time zone. Where the check-in came from an event of
the ledger its instant is known too, and the instant is what intervals are measured by: in the repeated hour in
autumn naive times lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class LogType(str, Enum):
	"""HRMS's log_type; NONE leaves it to the shift (HRMS may alternate by itself)."""

	IN = "IN"
	OUT = "OUT"
	NONE = ""

	@property
	def opposite(self) -> LogType:
		"""The other way; NONE has none."""
		return {LogType.IN: LogType.OUT, LogType.OUT: LogType.IN, LogType.NONE: LogType.NONE}[self]


@dataclass(frozen=True, slots=True)
class Checkin:
	"""One check-in that HRMS holds for an employee.

	time: naive, site's zone, whole seconds. moment: the UTC instant, or None where the naive time alone does not
	give it (by hand or mobile, in the repeated hour). event: the ledger row it was made from, "" when it was not.
	by_hand: HR wrote it for a pass that no terminal could tell at the time.
	"""

	name: str
	time: datetime
	log_type: LogType = LogType.NONE
	moment: datetime | None = None
	event: str = ""
	by_hand: bool = False
