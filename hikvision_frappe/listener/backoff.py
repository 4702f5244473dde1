"""How long to wait before the next try."""

from __future__ import annotations

import random


def full_jitter(failures: int, least: float, most: float) -> float:
	"""Seconds to wait after so many failures in a row (1, 2, ...): anything from ``least`` to a doubling bound.

	tenacity's ``wait_random_exponential`` is the same sum, but belongs to its loop, which has no place for states
	shown to people or for waiting out an account lock.
	"""
	highest = min(most, least * 2.0 ** min(failures, 32))
	return random.uniform(least, max(highest, least))  # noqa: S311 spreads load, guards nothing
