"""The listener and the site through the two weeks, in steps of an hour.

What the terminals tell goes the way that a listener's findings go: ``FrappeSite.deliver``, ``report`` with
contacts, ``history_tasks`` and ``report_history``. The site's own keeper, drain and scheduler steps run as they do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import frappe

from hikvision_frappe.api.gaps import accept
from hikvision_frappe.attendance.keeper import keep
from hikvision_frappe.attendance.loop import work_off
from hikvision_frappe.attendance.people import replay_known
from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.core.gaps import Cause
from hikvision_frappe.ledger.site import FrappeSite
from hikvision_frappe.listener.site import (
	ConnectionState,
	DeviceReport,
	HistoryReport,
	HistoryState,
	HistoryTask,
	ListenerReport,
	SiteUnavailable,
)
from tests.bench.factories import create_test_device
from tests.bench.two_weeks import hr
from tests.bench.two_weeks.calendar import END, START, STEP, at, wall
from tests.bench.two_weeks.faults import Faults, covered
from tests.bench.two_weeks.frozen import SimulatedClock
from tests.bench.two_weeks.terminals import KINDS, Record, Terminal, write_down
from tests.bench.two_weeks.truth import SHIFTS, Truth

# Whose number HR enters only on the second day: what this person passed meanwhile waits.
NEWCOMER, NUMBER_IS_ENTERED = 5001, at(1, "10:00")
OFFICE_HOUR = "09:00"
LISTENER = "two-weeks"
LEASE_SECONDS = 45.0
BATCH = 200
READINGS = 12  # of history at one step, at most
DOORS = [{"reader_no": 1, "direction": "In"}, {"reader_no": 2, "direction": "Out"}]


@dataclass
class Told:
	"""What a terminal has told the site: committed serial numbers, and those that HR accepted as lost."""

	committed: set[int] = field(default_factory=set)
	accepted: set[int] = field(default_factory=set)


class World:
	"""A staff, six terminals, a listener and a site. Use as a context manager."""

	def __init__(
		self, site: str, truth: Truth, faults: Faults, clock: SimulatedClock, **shift_values: Any
	) -> None:
		self.faults, self.clock = faults, clock
		clock.move_to(START)
		self.staff = hr.hire("", truth, **shift_values)
		self._jobs = hr.HourlyJobs(self.staff)
		self._give_numbers()
		records = write_down(truth, faults)
		self.terminals = {door: Terminal(door, self._install(door), records[door], faults) for door in KINDS}
		self.by_key = {terminal.key: terminal for terminal in self.terminals.values()}
		self.told = {key: Told() for key in self.by_key}
		self.accepted: dict[str, list[int]] = {}
		self.spool: list[AccessEvent] = []
		self._site = FrappeSite(site)
		self._thread = ThreadPoolExecutor(1)
		self._listener_was_down = True
		self._restarted: set[datetime] = set()
		self._started = START

	def __enter__(self) -> World:
		return self

	def __exit__(self, *_: object) -> None:
		self._ask("close")
		self._thread.shutdown()

	def _give_numbers(self) -> None:
		for number in self.staff.employees.keys() - {NEWCOMER}:
			self._give_number(number)
		frappe.db.commit()

	def _give_number(self, number: int) -> None:
		frappe.db.set_value("Employee", self.staff.employees[number], "attendance_device_id", str(number))

	def _install(self, door: str) -> str:
		kind = KINDS[door]
		shifts = [shift.name for shift in SHIFTS if door in shift.doors]
		return create_test_device(
			door.title(),
			DOORS,
			mode=kind.mode,
			history=int(kind.history),
			history_minutes=30 if kind.mode != "Stream" and kind.history else 0,
			shifts=[{"shift_type": self.staff.shifts[shift]} for shift in shifts],
		).name

	# Time

	def steps(self, until: datetime = END) -> Iterator[datetime]:
		"""Let the time pass; yields after each step, when everybody has done what they do in it."""
		while self.clock.now < until:
			since, now = self.clock.now, self.clock.now + STEP
			self.clock.move_to(now)
			self._listen(since, now)
			if not covered(self.faults.maintenance, now):
				self._work(now)
			yield now

	def _work(self, now: datetime) -> None:
		"""What the site does by itself: drain, keeper, HRMS's hourly jobs; and HR in its office hour."""
		frappe.db.rollback()
		if now == NUMBER_IS_ENTERED:
			self._give_number(NEWCOMER)
			frappe.db.commit()
		if f"{wall(now):%H:%M}" == OFFICE_HOUR:
			self._accept_what_is_lost()
		replay_known()
		frappe.db.commit()
		work_off()
		keep()
		self._jobs.run(now)

	def _accept_what_is_lost(self) -> None:
		"""HR asks who passed, writes it down by hand, and accepts the gap with a remark."""
		for gap in frappe.get_all("Access Event Gap", {"state": "Unrecoverable"}, ["*"], order_by="since"):
			lost = self._lost_in(gap)
			punches = [record for record in lost if record.is_pass and not record.again]
			if punches:
				hr.write_down(self.staff, gap, [(int(each.person), each.shown, each.out) for each in punches])
			accept([gap.name], "Asked the shift leaders; passes written down by hand.")
			frappe.db.commit()
			self.told[gap.device].accepted |= {record.serial for record in lost}
			self.accepted[gap.device] = [*self.accepted.get(gap.device, []), len(lost)]

	def _lost_in(self, gap: Any) -> list[Record]:
		told, terminal = self.told[gap.device], self.by_key[gap.device]
		assert gap.first_serial, "the gap does not say which records are missing"
		lost = [each for each in terminal.records if gap.first_serial <= each.serial <= gap.last_serial]
		lost = [each for each in lost if each.serial not in told.committed]
		assert len(lost) == gap.missing
		return lost

	# The listener

	def _listen(self, since: datetime, now: datetime) -> None:
		down = covered(self.faults.listener_down, now)
		reason = Cause.LISTENER_START if self._listener_was_down else Cause.RECONNECT
		for terminal in self.terminals.values():
			heard = not down and terminal.reachable(now)
			self.spool += terminal.tell(since, now, heard, reason)
		if down:
			self._listener_was_down = True
			return
		if self._listener_was_down:
			self._started = since
		self._listener_was_down = False
		with self._maintenance(now):
			try:
				self._visit_site(now)
			except SiteUnavailable:
				assert covered(self.faults.maintenance, now) or now in self.faults.database_restarts
				if now in self.faults.database_restarts:
					self._visit_site(now)

	def _visit_site(self, now: datetime) -> None:
		self._ask("devices", LISTENER, LEASE_SECONDS)
		if now in self.faults.database_restarts - self._restarted:
			self._restarted.add(now)
			self._cut_database_connection()
		while self.spool:
			self._deliver(self.spool[:BATCH])
			del self.spool[:BATCH]
		self._ask("report", self._report(now))
		for _ in range(READINGS):
			tasks = self._ask("history_tasks", LISTENER, LEASE_SECONDS)
			if not [self._read(task, now) for task in tasks]:
				break

	def _deliver(self, events: Sequence[AccessEvent], serials: Sequence[int] = ()) -> int:
		delivery = self._ask("deliver", events)
		assert not delivery.refused
		for event, serial in zip(events, serials or [event.serial_no for event in events], strict=True):
			self.told[event.device].committed.add(serial or 0)
		return int(delivery.new)

	def _read(self, task: HistoryTask, now: datetime) -> bool:
		"""Read a terminal's history as the listener's reader does; whether it could be reached."""
		terminal = self.by_key[task.device]
		if not terminal.reachable(now):
			self._ask(
				"report_history",
				HistoryReport(task.name, task.device, HistoryState.FAILED, reason="timed out", retry=True),
			)
			return False
		events, serials = terminal.answer(task, now)
		new = 0
		for first in range(0, len(events), BATCH):
			new += self._deliver(events[first : first + BATCH], serials[first : first + BATCH])
		numbered = terminal.kind.history_numbered if events else None
		self._ask(
			"report_history",
			HistoryReport(
				task.name, task.device, HistoryState.PROVEN, rows=len(events), new=new, total=len(events),
				read_until=task.until, numbered=numbered, supported=True,
			),
		)  # fmt: skip
		return True

	def _report(self, now: datetime) -> ListenerReport:
		devices = [self._device_report(terminal, now) for terminal in self.terminals.values()]
		return ListenerReport(LISTENER, self._started, spool_depth=len(self.spool), devices=devices)

	def _device_report(self, terminal: Terminal, now: datetime) -> DeviceReport:
		if not terminal.reachable(now):
			return DeviceReport(terminal.key, ConnectionState.RETRYING, now, error="timed out")
		contact = terminal.contact
		return DeviceReport(
			terminal.key,
			ConnectionState.CONNECTED,
			contact.since if contact else self._started,
			last_heartbeat=contact.until if contact else None,
			clock_offset=terminal.clock_offset(now),
			contact=contact,
		)

	def _ask(self, method: str, *arguments: Any) -> Any:
		return self._thread.submit(getattr(self._site, method), *arguments).result()

	# What is done to the site

	@contextmanager
	def _maintenance(self, now: datetime) -> Iterator[None]:
		if not covered(self.faults.maintenance, now):
			yield
			return
		path = Path(frappe.get_site_path("site_config.json"))
		before = path.read_text()
		path.write_text(json.dumps({**json.loads(before), "maintenance_mode": 1}))
		try:
			yield
		finally:
			path.write_text(before)

	def _cut_database_connection(self) -> None:
		connection = self._thread.submit(lambda: frappe.db.sql("select connection_id()")[0][0]).result()
		frappe.db.sql(f"kill {int(connection)}")

	# What the test asks

	def outstanding(self, shift: str, now: datetime) -> Record | None:
		"""The first record of a shift's terminals that happened, and that nobody has counted or accepted as lost."""
		doors = next(each.doors for each in SHIFTS if each.name == shift)
		first = [self._first_missing(self.terminals[door], now) for door in doors]
		return min((record for record in first if record), key=lambda record: record.shown, default=None)

	def _first_missing(self, terminal: Terminal, now: datetime) -> Record | None:
		told = self.told[terminal.key]
		missing = (
			record
			for record in terminal.records
			if record.at <= now
			and record.serial not in told.accepted
			and (record.serial not in told.committed or self._is_unmatched(record, now))
		)
		return min(missing, key=lambda record: record.shown, default=None)

	def _is_unmatched(self, record: Record, now: datetime) -> bool:
		return record.person == str(NEWCOMER) and now < NUMBER_IS_ENTERED

	def punches(self) -> list[tuple[int, datetime, bool]]:
		"""(person, instant as shown by the terminal, whether out) of everybody, once each."""
		return [
			(int(record.person), record.shown, record.out)
			for terminal in self.terminals.values()
			for record in terminal.records
			if record.is_pass and not record.again
		]
