"""One process of a site at a time: a lock that the database gives to one connection and takes back when that dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import frappe

from hikvision_frappe.ledger.database_errors import ANY_ERROR


@contextmanager
def alone(name: str) -> Iterator[bool]:
	"""Hold the site's lock of this name without waiting for it; False when another connection has it."""
	key = f"{name}:{frappe.conf.db_name}"[:64]
	taken = frappe.db.multisql(
		{
			"mariadb": "select get_lock(%s, 0)",
			"postgres": "select pg_try_advisory_lock(hashtext(%s))",
		},
		(key,),
	)[0][0]
	if not taken:
		yield False
		return
	try:
		yield True
	finally:
		with suppress(*ANY_ERROR):  # a lost connection has given it back already
			frappe.db.multisql(
				{"mariadb": "select release_lock(%s)", "postgres": "select pg_advisory_unlock(hashtext(%s))"},
				(key,),
			)
