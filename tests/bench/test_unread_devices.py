"""Devices that are only read and cannot be, on a real site: one outage and one recovery; what stays unproven is a gap.

With readers of the test's own first, then with real terminals and the reader that works without a listener.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import frappe
import pytest

from hikvision_frappe.core.event import Source
from hikvision_frappe.core.watermark import MARGIN
from hikvision_frappe.ledger import completeness, history
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger.completeness import KeeperSettings
from hikvision_frappe.ledger.instants import aware, naive
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.listener.site import HistoryState
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.completeness import (
	AT_ONCE,
	Listener,
	ago,
	begin_now,
	complete_until,
	fetches,
	gap,
	gaps,
	look,
	notices,
	of_device,
	with_manager,
)
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, make_events
from tests.bench.processes import Terminals, register_terminal
from tests.bench.test_ledger_history import ended, lent

PERIOD = 15  # minutes, as nobody said otherwise


@pytest.fixture(autouse=True)
def clock() -> None:
	with_manager()
	begin_now()


class Time:
	"""Lets the keeper and its rows grow older, a few minutes at a time."""

	def __init__(self, device: str, listener: Listener | None = None) -> None:
		self.device = device
		self.listener = listener

	def passes(self, minutes: int = PERIOD) -> None:
		"""What is written of the device happened so much earlier."""
		frappe.db.rollback()
		for doctype, columns in TIMES.items():
			earlier = ", ".join(f"{column} = {column} - interval %(minutes)s minute" for column in columns)
			key = "name" if doctype == "Hikvision Device" else "device"
			frappe.db.sql(
				f"update `tab{doctype}` set {earlier} where {key} = %(device)s",
				{"minutes": minutes, "device": self.device},
			)
		frappe.db.commit()

	def reads(self, state: HistoryState, minutes: int = PERIOD, **values: Any) -> None:
		"""A period goes by, the device is asked, and answers so."""
		self.passes(minutes)
		look()
		self.answers(state, **values)
		look()

	def answers(self, state: HistoryState, **values: Any) -> None:
		assert self.listener
		(task,) = lent(self.listener)
		self.listener.report_history(ended(task.name, self.device, state, **values))


TIMES = {
	"Hikvision Device": ("proven_until_utc", "heard_until_utc", "heard_since_utc", "complete_until_utc"),
	"Hikvision History Fetch": ("since_utc", "until_utc", "next_attempt_at_utc", "creation"),
	"Access Event Gap": ("since_utc", "until_utc", "noticed_at_utc"),
}


@pytest.fixture
def time(listener: Listener) -> Time:
	"""Of a device that was read a moment ago."""
	time = Time(create_test_device("Gate", mode="History").name, listener)
	look()
	time.answers(HistoryState.PROVEN)
	look()
	assert complete_until(time.device) >= ago(seconds=5)
	return time


def refused(time: Time, periods: int) -> None:
	for _ in range(periods):
		time.reads(HistoryState.FAILED, reason="The login was refused.")


def test_a_device_that_cannot_be_read_for_good_has_one_outage_that_goes_on(time: Time) -> None:
	proven = of_device(time.device, "proven_until_utc")
	refused(time, 2)
	assert gaps(time.device) == []
	refused(time, 11)
	found = gap(time.device)
	assert (found.cause, found.state, found.until) == ("Not Read", "Open", None)
	assert found.since_utc == proven - timedelta(minutes=13 * PERIOD)
	(told,) = notices(time.device)
	assert told.startswith("Gate could not be read since ")
	assert of_device(time.device, "held_by") == "a gap is not resolved"
	assert of_device(time.device, "held_by_gap") == found.name
	assert complete_until(time.device) <= aware(found.since_utc)


def test_a_device_that_can_be_read_again_is_told_once_and_recovered(time: Time) -> None:
	refused(time, 5)
	time.reads(HistoryState.PROVEN, rows=3, new=3, total=3)
	look()
	found = gap(time.device)
	assert (found.state, found.until_utc) == ("Recovered", of_device(time.device, "proven_until_utc"))
	assert found.until is not None
	assert notices(time.device)[1:] == ["Gate can be read again"]
	assert complete_until(time.device) >= aware(found.until_utc) - 2 * MARGIN


def test_a_device_that_is_tried_in_vain_again_and_again_has_an_outage(time: Time) -> None:
	time.reads(HistoryState.FAILED, retry=True, reason="Not reached.")
	for _ in range(4):
		time.passes()
		look()
	assert len(fetches(time.device)) == 2
	assert [each.until for each in gaps(time.device)] == [None]
	time.answers(HistoryState.PROVEN)
	look()
	time.answers(HistoryState.PROVEN)  # the time since it was asked first
	look()
	assert gap(time.device).state == "Recovered"
	assert len(notices(time.device)) == 2
	assert complete_until(time.device) >= ago(seconds=5)


def test_a_reading_that_proves_nothing_ends_an_outage_in_a_gap_for_hr(time: Time) -> None:
	refused(time, 4)
	time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
	found = gap(time.device)
	assert (found.until_utc, found.state) == (of_device(time.device, "proven_until_utc"), "Filling")
	time.answers(HistoryState.UNPROVEN, reason="The totals differ.")
	look()
	found = gap(time.device)
	assert (found.state, found.alerted) == ("Unrecoverable", 1)
	assert len(notices(time.device)) == 3
	ledger_gaps.accept(found.name, "Nobody was there.")
	frappe.db.commit()
	time.reads(HistoryState.PROVEN)
	assert complete_until(time.device) >= ago(seconds=5)
	assert len(gaps(time.device)) == 1


def test_the_third_reading_that_proves_nothing_is_a_gap_and_no_outage(time: Time) -> None:
	proven = of_device(time.device, "proven_until_utc")
	for _ in range(2):
		time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
		assert gaps(time.device) == []
	time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
	found = gap(time.device)
	assert (found.cause, found.since_utc) == ("Not Read", proven - timedelta(minutes=3 * PERIOD))
	assert found.until_utc == of_device(time.device, "proven_until_utc")
	time.answers(HistoryState.UNPROVEN, reason="The totals differ.")
	look()
	assert gap(time.device).state == "Unrecoverable"
	assert [subject.startswith("Passes at Gate") for subject in notices(time.device)] == [True]
	ledger_gaps.accept(found.name, "Nobody was there.")
	frappe.db.commit()
	time.reads(HistoryState.PROVEN)
	assert complete_until(time.device) >= ago(seconds=5)


def test_readings_that_prove_nothing_again_and_again_are_one_gap_until_hr_accepts_it(time: Time) -> None:
	for _ in range(3):
		time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
	time.answers(HistoryState.UNPROVEN, reason="The totals differ.")
	look()
	for _ in range(6):
		time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
	found = gap(time.device)
	assert found.state == "Unrecoverable"
	assert found.until_utc == of_device(time.device, "proven_until_utc") > ago(minutes=1).replace(tzinfo=None)
	assert found.until > found.since
	assert len(notices(time.device)) == 1
	ledger_gaps.accept(found.name, "Nobody was there.")
	frappe.db.commit()
	for _ in range(3):
		time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
	assert len(gaps(time.device)) == 2


def test_an_outage_that_is_accepted_is_not_told_again_at_once_and_its_passes_are_still_read(
	time: Time,
) -> None:
	proven = of_device(time.device, "proven_until_utc")
	refused(time, 5)
	ledger_gaps.accept(gap(time.device).name, "The wall is being painted.")
	frappe.db.commit()
	refused(time, 2)
	accepted = gap(time.device)
	assert accepted.state == "Accepted"
	assert complete_until(time.device) >= aware(accepted.until_utc) - 2 * MARGIN
	refused(time, 3)
	accepted, second = gaps(time.device)
	assert (second.since_utc, second.until) == (accepted.until_utc, None)
	assert len(notices(time.device)) == 2
	time.passes()
	look()
	newest = fetches(time.device)[-1]
	assert newest.since_utc < proven - timedelta(minutes=11 * PERIOD - 1)
	time.answers(HistoryState.PROVEN, rows=9, new=9)
	look()
	assert [each.state for each in gaps(time.device)] == ["Accepted", "Recovered"]
	assert len(notices(time.device)) == 3
	assert complete_until(time.device) >= ago(seconds=5)


def test_a_device_that_was_never_read_has_no_outage(listener: Listener) -> None:
	time = Time(create_test_device("Gate", mode="History").name, listener)
	refused(time, 6)
	assert gaps(time.device) == []
	assert of_device(time.device, "held_by") == "nothing was heard of the device yet"


def test_after_an_outage_of_the_site_a_device_that_is_read_gets_time_to_answer(time: Time) -> None:
	time.passes(3_000)
	look()
	time.passes(2 * PERIOD - 1)
	look()
	assert gaps(time.device) == []
	time.passes(2)
	look()
	assert gap(time.device).until is None


def test_no_outage_is_told_while_listeners_may_not_have_read_yet(time: Time) -> None:
	refused(time, 2)
	time.passes(2 * PERIOD)
	assert completeness.tend(AT_ONCE, notice_outages=False)
	assert gaps(time.device) == []


def test_a_device_that_is_switched_off_is_not_missed(time: Time) -> None:
	refused(time, 2)
	frappe.db.set_value("Hikvision Device", time.device, "enabled", 0)
	frappe.db.commit()
	time.passes(100)
	look()
	assert gaps(time.device) == []


def test_its_outage_goes_on_when_it_comes_to_be_streamed_until_it_is_heard(
	time: Time, listener: Listener
) -> None:
	refused(time, 5)
	since = gap(time.device).since_utc
	change_mode(time.device, "Stream")
	look()
	assert gap(time.device).until is None
	listener.hears(time.device, ago(seconds=9), ago(seconds=1))
	look()
	found = gap(time.device)
	assert (found.since_utc, found.until_utc) == (since, naive(ago(seconds=9)))
	assert notices(time.device)[1:] == ["Gate is heard again"]


def test_when_it_comes_to_be_streamed_nothing_that_was_proven_is_missed(time: Time) -> None:
	"""Although it was last unheard, or accepted as such, long before."""
	refused(time, 4)
	ledger_gaps.accept(gap(time.device).name, "The wall is being painted.")
	frappe.db.commit()
	for _ in range(3):
		time.reads(HistoryState.PROVEN)
	proven = of_device(time.device, "proven_until_utc")
	change_mode(time.device, "Stream")
	look()
	_accepted, outage = gaps(time.device)
	assert (outage.since_utc, outage.until) == (proven, None)


def test_its_outage_goes_on_when_its_mode_is_changed_there_and_back(time: Time) -> None:
	refused(time, 5)
	change_mode(time.device, "Stream")
	look()
	change_mode(time.device, "History")
	look()
	assert gap(time.device).until is None
	assert len(notices(time.device)) == 1


def test_an_outage_from_when_it_was_streamed_ends_once_as_it_comes_to_be_read(listener: Listener) -> None:
	time = Time(create_test_device("Gate").name, listener)
	listener.hears(time.device, ago(hours=1), ago(minutes=5))
	look()
	change_mode(time.device, "History")
	for _ in range(3):
		look()
	assert gap(time.device).until is not None
	assert len(notices(time.device)) == 2


def test_a_device_that_is_heard_as_well_is_not_read_from_the_same_place_for_ever(listener: Listener) -> None:
	device = create_test_device("Gate", mode="Stream", history=1, history_minutes=PERIOD).name
	time = Time(device, listener)
	listener.hears(device, ago(hours=1), ago(seconds=1))
	look()
	time.answers(HistoryState.PROVEN)
	spans = []
	for turn in range(4):
		time.passes(PERIOD)
		listener.hears(device, ago(hours=2), ago(seconds=9 - turn))  # a report that says the same is none
		look()
		(task,) = lent(listener)
		spans.append(round((task.until - task.since) / timedelta(minutes=PERIOD), 1))
		listener.report_history(ended(task.name, device, HistoryState.UNPROVEN))
	overlap = AT_ONCE.overlap / timedelta(minutes=PERIOD)
	assert spans == [pytest.approx(periods + overlap, abs=0.1) for periods in (1, 2, 3, 1)]
	assert gaps(device) == []


def change_mode(device: str, mode: str) -> None:
	frappe.db.set_value("Hikvision Device", device, "mode", mode)
	frappe.db.commit()


def test_a_reading_that_waits_for_a_long_one_of_its_device_is_no_outage(
	time: Time, listener: Listener
) -> None:
	history.ask(time.device, ago(days=300), ago(days=1), "Administrator")
	frappe.db.commit()
	for rows in range(1, 5):
		time.passes()
		(task,) = lent(listener)
		listener.report_history(ended(task.name, time.device, HistoryState.RUNNING, rows=rows))
		look()
	assert gaps(time.device) == []
	frappe.db.set_value("Hikvision History Fetch", task.name, "leased_until", naive(ago(minutes=1)))
	frappe.db.commit()  # its reader is dead
	look()
	assert gap(time.device).until is None


def test_a_gap_that_only_history_can_tell_asks_the_ledger_nothing(time: Time) -> None:
	deliver(make_events(time.device, 3, source=Source.HISTORY))
	for _ in range(3):
		time.reads(HistoryState.UNPROVEN, reason="The totals differ.")
	time.answers(HistoryState.UNPROVEN, reason="The totals differ.")
	look()
	assert gap(time.device).state == "Unrecoverable"
	with counted_statements() as statements:
		look()
	assert [each for each in statements if "Access Event`" in each and "`serial_no`>" in each] == []


def test_devices_that_answer_cost_nothing_and_the_others_little(time: Time) -> None:
	with counted_statements() as well:
		look()
	time.reads(HistoryState.UNPROVEN)
	time.passes(2 * PERIOD)
	look()
	with counted_statements() as doubtful:
		look()
	assert len(doubtful) <= len(well) + 2
	assert sum("`rows`" in statement for statement in well) == 0


# Real terminals.


QUICK = KeeperSettings(fetch_after=timedelta(0), patience=timedelta(0), overlap=timedelta(minutes=300))


class Scene(Time):
	"""A real terminal, read by the background job."""

	def __init__(self, terminals: Terminals, **values: Any) -> None:
		self.terminals, self.terminal = terminals, terminals.devices[0]
		super().__init__(register_terminal(self.terminal, title="Gate", mode="History", **values).name)

	def makes(self, count: int) -> None:
		for number in range(count):
			self.terminals.call(self.terminal.make_pass, str(100 + number))

	def reads_all(self, minutes: int = PERIOD) -> None:
		self.passes(minutes)
		look(QUICK)
		due = "update `tabHikvision History Fetch` set next_attempt_at_utc = '2001-01-01' where next_attempt_at_utc > 0"
		frappe.db.sql(due)
		frappe.db.commit()
		history.work_off()
		look(QUICK)

	def stored(self) -> list[int]:
		frappe.db.rollback()
		return sorted(frappe.get_all("Access Event", {"device": self.device}, pluck="serial_no"))

	def readings(self) -> str:
		"""For the message of a test that fails."""
		shown = (
			"purpose",
			"state",
			"since_utc",
			"until_utc",
			"rows",
			"reason",
			"next_attempt_at_utc",
			"leased_by",
		)
		return "\n".join(str([each[column] for column in shown]) for each in fetches(self.device))

	def made(self) -> list[int]:
		return sorted(record.serial_no for record in self.terminal.log)


@pytest.fixture
def terminals() -> Iterator[Terminals]:
	frappe.cache.delete_value("hikvision_listeners")
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as running:
		yield running


@pytest.mark.timeout(240)
def test_a_wrong_password_is_one_outage_until_it_is_mended(terminals: Terminals) -> None:
	scene = Scene(terminals)
	scene.makes(2)
	scene.reads_all(0)
	assert scene.stored() == scene.made(), scene.readings()
	set_password(scene.device, "Wrong-12345")
	scene.makes(3)
	for _ in range(6):
		scene.reads_all()
	assert gap(scene.device).until is None
	assert len(notices(scene.device)) == 1
	set_password(scene.device, scene.terminal.password)
	scene.reads_all()
	scene.reads_all(0)
	assert scene.stored() == scene.made(), scene.readings()
	assert gap(scene.device).state == "Recovered"
	assert notices(scene.device)[1:] == ["Gate can be read again"]


def set_password(device: str, password: str) -> None:
	document = frappe.get_doc("Hikvision Device", device)
	document.password = password
	document.save()
	frappe.db.commit()


@pytest.mark.timeout(240)
def test_a_terminal_that_is_not_reached_for_a_while_is_one_outage(terminals: Terminals) -> None:
	scene = Scene(terminals)
	scene.makes(2)
	scene.reads_all(0)
	terminals.run(scene.terminal.stop())
	scene.makes(3)
	for _ in range(4):
		scene.reads_all()
	assert gap(scene.device).until is None
	terminals.run(scene.terminal.start())
	for _ in range(3):
		scene.reads_all(0)  # what is moved into the past is read without the wait for its last second
	assert scene.stored() == scene.made(), scene.readings()
	assert gap(scene.device).state == "Recovered"
	assert len(notices(scene.device)) == 2
