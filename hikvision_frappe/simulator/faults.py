"""The switches of what goes wrong: change them at any time on ``SimulatedDevice.faults``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PartLength(str, Enum):
	"""The Content-Length of the parts of a stream or push."""

	RIGHT = "right"
	WRONG = "wrong"
	MISSING = "missing"


@dataclass(slots=True)
class Faults:
	"""Everything is well by default.

	cut_after_bytes: each stream ends after so many bytes of body. cut_chance: chance per frame that the stream
	is cut in the middle of it. duplicates: how often each event is sent. reorder: live events wait until so many
	are there (or a heartbeat is due) and leave shuffled. dribble_bytes: stream bytes leave in pieces of that
	size, one each ``dribble_seconds``. unauthorized: the next so many right logins get a 401 with a fresh
	challenge, -1 for all. refuse_logins: the same, but as a wrong password, and counted for the lock-out.
	mute: connections are accepted and nothing is ever answered. leak_slots: a closed stream keeps its slot
	until the reboot. malformed_every: each n-th event part is broken. picture_bytes: each pass carries a picture
	of that size. page_caps: rows of the next history answers, in turn. total_error: added to totalMatches.
	reboot_forgets_hosts: listening hosts are empty after a reboot.
	"""

	cut_after_bytes: int | None = None
	cut_chance: float = 0.0
	duplicates: int = 1
	reorder: int = 0
	dribble_bytes: int = 0
	dribble_seconds: float = 0.01
	unauthorized: int = 0
	refuse_logins: int = 0
	mute: bool = False
	answer_delay: float = 0.0
	leak_slots: bool = False
	part_length: PartLength = PartLength.RIGHT
	malformed_every: int = 0
	picture_bytes: int = 0
	page_caps: tuple[int, ...] = ()
	total_error: int = 0
	reboot_forgets_hosts: bool = False

	def takes_login(self) -> bool:
		"""Whether a right login counts as one; uses up one of ``refuse_logins``."""
		if self.refuse_logins == 0:
			return True
		self.refuse_logins -= 1
		return False

	def storms(self) -> bool:
		"""Whether a right login is answered with 401 all the same; uses up one of ``unauthorized``."""
		if self.unauthorized > 0:
			self.unauthorized -= 1
			return True
		return self.unauthorized < 0

	def next_page_cap(self, usual: int) -> int:
		"""Rows of the next history answer."""
		if not self.page_caps:
			return usual
		cap, self.page_caps = self.page_caps[0], self.page_caps[1:]
		return cap
