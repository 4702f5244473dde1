"""What to do about an exception, decided by its class and never by its text."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import frappe
import redis
import requests
from frappe import _
from rq.timeouts import BaseTimeoutException

from hikvision_frappe.ledger.database_errors import INTERFACE_ERROR, OPERATIONAL_ERROR

MAX_ATTEMPTS = 5
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)

# Another transaction was in the way: the same again, at once.
CONTENTION = (frappe.QueryDeadlockError, frappe.QueryTimeoutError)

# Something that a check-in, or another app's hook, needs beside the database is away. It comes back without a person.
OUTAGE = (
	redis.exceptions.RedisError,
	requests.exceptions.ConnectionError,
	requests.exceptions.Timeout,
	ConnectionError,
	TimeoutError,
)

# The site cannot be worked on now, whatever the event is.
INTERRUPTION = (
	*INTERFACE_ERROR,
	frappe.SessionStopped,
	frappe.InReadOnlyMode,
	BaseTimeoutException,
	MemoryError,
)

# MariaDB's numbers for: no connection, lost, killed, shut down, too many, timed out.
CONNECTION_CODES = {1040, 1053, 1158, 1159, 1160, 1161, 1203, 1927, 2002, 2003, 2006, 2013, 2055, 4031}


class SetupMissing(frappe.ValidationError):
	"""A pass cannot become a check-in until a person completes a setting; the text says which."""


def is_interruption(error: BaseException) -> bool:
	"""Whether the error says nothing about the event: the database is away, the site is in maintenance."""
	if isinstance(error, INTERRUPTION):
		return True
	return isinstance(error, OPERATIONAL_ERROR) and error.args[0] in CONNECTION_CODES


def next_attempt(attempts: int, now: datetime, outage: bool = False) -> datetime | None:
	"""When to try again after so many failed attempts (full jitter), or None: a person must look.

	outage: the error was one of OUTAGE; there is no last attempt then, only longer pauses.
	"""
	if attempts >= MAX_ATTEMPTS and not outage:
		return None
	longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 10))
	return now + longest * random.random()  # noqa: S311 - spreads load, hides nothing


def in_words(error: Exception) -> str:
	"""The reason that people read on the event: what a validation said, else what kind of error it was."""
	if isinstance(error, SetupMissing):
		return str(error)
	if isinstance(error, frappe.ValidationError):
		text = frappe.utils.strip_html(str(error)).strip()
		return _("The check-in was refused: {0}").format(text or type(error).__name__)
	if isinstance(error, OUTAGE):
		return _("Something that it needs cannot be reached now ({0}); it is tried again by itself.").format(
			type(error).__name__
		)
	return _("An error stopped it ({0}); the Error Log has the details.").format(type(error).__name__)
