"""Count what goes to the database, as Frappe's own assertQueryCount does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import frappe


@contextmanager
def counted_statements() -> Iterator[list[str]]:
	"""The statements sent to the database within the block, in order."""
	statements: list[str] = []
	database = frappe.db
	original = database.sql

	def counting(query: Any, *args: Any, **kwargs: Any) -> Any:
		statements.append(str(query))
		return original(query, *args, **kwargs)

	database.sql = counting
	try:
		yield statements
	finally:
		database.sql = original
