"""A clock for a whole test: everything that asks for the time, ours, Frappe's and HRMS's, is told the simulated one."""

from __future__ import annotations

import datetime as real
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import frappe
from freezegun import freeze_time
from freezegun.api import FakeDate, FakeDatetime
from pymysql.converters import escape_date, escape_datetime

# Their deadlines and pauses are about this process, not about the simulated fortnight.
LEFT_ALONE = ["tenacity", "redis", "pymysql", "concurrent", "logging", "pytest_timeout", "_pytest"]


class SimulatedClock:
	"""Stands still until it is moved. ``now`` is UTC."""

	# Frappe compares the texts of times, and that of a whole second has no fraction in one place and one in another.
	_FRACTION = real.timedelta(microseconds=1)

	def __init__(self, frozen: Any, now: real.datetime) -> None:
		self._frozen = frozen
		self.now = now

	def move_to(self, moment: real.datetime) -> None:
		self.now = moment
		self._frozen.move_to(moment + self._FRACTION)


@contextmanager
def simulated_clock(start: real.datetime) -> Iterator[SimulatedClock]:
	"""Freeze the clock of this process at ``start`` (UTC)."""
	_let_the_driver_write_frozen_times()
	frappe.db.connect()  # the open connection copied the driver's table before
	with freeze_time(start, ignore=LEFT_ALONE) as frozen:
		clock = SimulatedClock(frozen, start)
		clock.move_to(start)
		yield clock
	frappe.db.connect()


def _let_the_driver_write_frozen_times() -> None:
	from frappe.database.mariadb.database import MariaDBConnectionUtil, MariaDBDatabase

	for owner in (MariaDBDatabase, MariaDBConnectionUtil):
		if table := getattr(owner, "CONVERSION_MAP", None):
			table |= {FakeDatetime: escape_datetime, FakeDate: escape_date}
