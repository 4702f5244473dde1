"""How long a device's stream may say nothing before something is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SilenceSettings:
	"""Seconds; the limit is ``factor`` times the longest gap seen, between ``floor`` and ``ceiling``.

	regular_after: heartbeats until a device counts as one that sends them regularly. probes: how often a device
	without regular heartbeats may answer for its silent stream before the stream is opened anew all the same.
	"""

	floor: float = 90.0
	factor: float = 3.0
	ceiling: float = 600.0
	regular_after: int = 3
	probes: int = 10


class Silence:
	"""Learns a device's rhythm, over all of its connections. Times are those of the event loop's clock."""

	def __init__(self, settings: SilenceSettings) -> None:
		self._settings = settings
		self._longest_gap = 0.0
		self._heard_at = 0.0
		self._heartbeats = 0
		self._probes = 0

	@property
	def limit(self) -> float:
		"""Seconds of silence that are still normal."""
		learned = self._longest_gap * self._settings.factor
		return min(max(learned, self._settings.floor), self._settings.ceiling)

	@property
	def is_proof(self) -> bool:
		"""Whether silence alone proves that the stream is dead: the device used to send heartbeats all the time,
		or has been asked often enough."""
		return self._heartbeats >= self._settings.regular_after or self._probes >= self._settings.probes

	def begin(self, now: float) -> None:
		"""A stream was opened; the time without one is no gap."""
		self._heard_at = now
		self._probes = 0

	def heard(self, now: float, heartbeats: int = 0) -> None:
		"""Something came; ``heartbeats`` of it were such."""
		self._longest_gap = max(self._longest_gap, now - self._heard_at)
		self._heard_at = now
		self._heartbeats += heartbeats
		self._probes = 0

	def excused(self, now: float) -> None:
		"""We did not listen, or the device answered a probe: wait again without learning from it."""
		self._heard_at = now

	def probed(self, now: float) -> None:
		self._probes += 1
		self.excused(now)

	def remaining(self, now: float) -> float:
		"""Seconds until the silence is too long; 0 or less when it is."""
		return self._heard_at + self.limit - now
