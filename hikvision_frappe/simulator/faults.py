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
	"""Everything is well by default. Figures are bytes, seconds, or a number of times."""

	# Streams
	cut_after_bytes: int | None = None  # each stream ends after so much body, wherever that is
	cut_chance: float = 0.0  # per frame, that the stream ends in the middle of it
	duplicates: int = 1  # how often each event is sent
	reorder: int = 0  # live events wait until so many are there (or a heartbeat is due), then leave shuffled
	dribble_bytes: int = 0  # slow loris: bytes leave in pieces of that size,
	dribble_seconds: float = 0.01  # one piece each so often
	leak_slots: bool = False  # a closed stream keeps its slot until the reboot
	# Streams and pushes
	part_length: PartLength = PartLength.RIGHT
	malformed_every: int = 0  # a broken part precedes each n-th event; each n-th push is cut off
	picture_bytes: int = 0  # each pass carries a picture of that size
	# Requests
	mute: bool = False  # connections are accepted and nothing is ever answered
	answer_delay: float = 0.0
	unauthorized: int = 0  # the next so many right logins get a 401 with a fresh challenge, -1 for all
	refuse_logins: int = 0  # the same, but as a wrong password, and counted for the lock-out
	# History
	page_caps: tuple[int, ...] = ()  # most rows of the next answers, in turn
	total_error: int = 0  # added to totalMatches and totalNum
	matches_error: int = 0  # added to totalMatches alone
	count_error: int = 0  # added to totalNum alone
	repeated_pages: int = 0  # the next so many pages, first ones aside, are the one before; -1 for all
	endless: bool = False  # each page says MORE, and the last one comes again and again
	broken_rows: int = 0  # the next so many rows are no objects
	cut_answers: int = 0  # the connection of each of the next so many pages breaks in the middle
	busy_searches: int = 0  # the next so many searches are answered with searchTimeout
	# Listening hosts
	reboot_forgets_hosts: bool = False

	def takes_login(self) -> bool:
		"""Whether a right login counts as one; uses up one of ``refuse_logins``."""
		if self.refuse_logins == 0:
			return True
		self.refuse_logins -= 1
		return False

	def storms(self) -> bool:
		"""Whether a right login is answered with 401 all the same; uses up one of ``unauthorized``."""
		return self.uses_up("unauthorized")

	def uses_up(self, name: str) -> bool:
		"""Whether the switch of that name, a number of times or -1 for always, is on; uses up one."""
		times: int = getattr(self, name)
		if times > 0:
			setattr(self, name, times - 1)
		return times != 0

	def next_page_cap(self, usual: int) -> int:
		"""Rows of the next history answer."""
		if not self.page_caps:
			return usual
		cap, self.page_caps = self.page_caps[0], self.page_caps[1:]
		return cap
