"""One database connection per thread and site, kept from one push to the next.

Frappe connects anew for every request, and for a push that takes as long as storing the event. As with Django's
CONN_MAX_AGE, a thread of a web worker keeps its connection for a while. Only whole transactions happen on it: it is
given back after a commit or a rollback, or not at all.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Any

import frappe

from hikvision_frappe.ledger.database_errors import ANY_ERROR

KEEP_SECONDS = 20.0  # shorter than any server's wait_timeout


@dataclass(frozen=True, slots=True)
class _Kept:
	connection: Any
	settings: tuple[Any, ...]
	since: float


class _Thread(threading.local):
	def __init__(self) -> None:
		self.kept: _Kept | None = None


_thread = _Thread()


def take() -> bool:
	"""Use the kept connection for this request; False when there is none that fits, and Frappe connects itself."""
	kept, _thread.kept = _thread.kept, None
	if kept is None or frappe.db._conn:
		return False
	if kept.settings != _settings() or time.monotonic() - kept.since > KEEP_SECONDS:
		_close(kept.connection)
		return False
	frappe.db._conn = kept.connection
	frappe.db._cursor = kept.connection.cursor()
	return True


def keep() -> None:
	"""Take the connection out of this request, whose transaction is over, and keep it for the thread's next push."""
	connection = frappe.db._conn
	frappe.db._conn = frappe.db._cursor = None
	if connection and frappe.db.db_type == "mariadb":
		_thread.kept = _Kept(connection, _settings(), time.monotonic())
	elif connection:
		_close(connection)


def drop() -> None:
	"""Close the request's connection: it failed, or something may be open on it."""
	connection = frappe.db._conn
	frappe.db._conn = frappe.db._cursor = None
	if connection:
		_close(connection)


def _settings() -> tuple[Any, ...]:
	"""Whom the connection belongs to: sites share the threads of a worker."""
	database = frappe.db
	return (database.host, database.port, database.user, database.password, database.cur_db_name)


def _close(connection: Any) -> None:
	with contextlib.suppress(*ANY_ERROR, OSError):
		connection.close()
