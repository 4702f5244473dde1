"""Faults of our own code or of the site's, which must end nothing but the call in which they came up."""

from __future__ import annotations

import logging
import traceback


def log_fault(logger: logging.Logger, who: str, error: Exception) -> None:
	"""Say what kind of fault it was and where; the text of an error may hold anything, also a secret."""
	trace = "".join(traceback.format_tb(error.__traceback__))
	logger.error("%s failed with %s:\n%s", who, type(error).__name__, trace)
