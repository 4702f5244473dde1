"""With which record each reading is lent that the device's log must still hold, and what comes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import frappe
import pytest

from hikvision_frappe.core.event import Source, TimeQuality
from hikvision_frappe.core.gaps import Cause, Gap, GapState
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger import history
from hikvision_frappe.ledger.instants import site_zone
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.ledger.recorded import CHUNK, Stretch, known_records
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.completeness import Listener, ago, begin_now, fetches, gap, look, of_device
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, make_event
from tests.bench.processes import Terminals, register_terminal


@pytest.fixture(autouse=True)
def clock() -> None:
	begin_now()


@pytest.fixture
def device() -> str:
	return create_test_device("Gate").name


def made(device: str, *minutes: float, **values: Any) -> None:
	"""Records without numbers, made so many minutes ago, and told then."""
	for each in minutes:
		deliver([make_event(device, None, occurred_at=ago(minutes=each), **values)])


def recorded(device: str, minutes: float, **values: float) -> datetime | None:
	"""Of a reading that begins so many minutes ago."""
	stretch = Stretch("it", device, ago(minutes=minutes), **values)
	return known_records([stretch]).get("it")


def loses(
	device: str,
	since: float,
	until: float,
	state: GapState = GapState.UNRECOVERABLE,
	clock_offset: float = 0.0,
) -> None:
	"""A gap from so many minutes ago to so many minutes ago."""
	lost = Gap(
		f"{device}-{since}",
		device,
		Cause.SILENCE,
		ago(minutes=since),
		ago(minutes=until),
		ago(minutes=until),
		state=state,
		clock_offset=clock_offset,
	)
	ledger_gaps.insert([lost], site_zone())
	frappe.db.commit()


def test_a_reading_is_lent_with_the_newest_record_from_before_it(device: str, listener: Listener) -> None:
	made(device, 50, 40, 20)
	history.ask(device, ago(minutes=30), ago(minutes=10), "Administrator")
	frappe.db.commit()
	listener.devices(listener.name, 45.0)
	assert [each.recorded for each in listener.history_tasks(listener.name, 45.0)] == [ago(minutes=40)]


def test_without_one_from_before_it_is_the_oldest(device: str) -> None:
	assert recorded(device, 60) is None
	made(device, 50, 40)
	assert recorded(device, 60) == ago(minutes=50)


def test_a_record_that_no_log_of_the_device_need_hold_at_its_time_does_not_count(device: str) -> None:
	made(device, 20, major=1, minor=1028)
	made(device, 21, time_quality=TimeQuality.IMPLAUSIBLE)
	made(create_test_device().name, 22)
	assert recorded(device, 10) is None


@pytest.mark.parametrize("state", [GapState.UNRECOVERABLE, GapState.ACCEPTED])
def test_what_people_know_to_be_lost_casts_no_doubt_on_what_comes_after(device: str, state: GapState) -> None:
	made(device, 50, 31)
	loses(device, 40, 30, state)
	assert recorded(device, 39) is None
	made(device, 29, 28)
	assert recorded(device, 39) == ago(minutes=29)
	assert recorded(device, 10) == ago(minutes=28)


@pytest.mark.parametrize("source", Source)
def test_what_the_log_told_after_a_loss_it_must_hold_from_then_on(device: str, source: Source) -> None:
	"""However old it is: a log that does not hold it any more was wiped again. What is pushed comes from a queue."""
	made(device, 50)
	loses(device, 40, 30)
	made(device, 35, source=source, received_at=ago(minutes=29))
	assert recorded(device, 10) == (None if source is Source.PUSH else ago(minutes=35))


def test_a_reading_that_covers_a_loss_is_not_excused_by_it(device: str) -> None:
	made(device, 50)
	loses(device, 40, 30)
	assert [recorded(device, minutes) for minutes in (40, 45)] == [ago(minutes=50)] * 2


@pytest.mark.parametrize("state", [GapState.OPEN, GapState.FILLING, GapState.RECOVERED])
def test_a_gap_that_is_not_lost_excuses_nothing(device: str, state: GapState) -> None:
	made(device, 50)
	loses(device, 40, 30, state)
	assert recorded(device, 31) == ago(minutes=50)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_loss_is_told_by_our_clock_and_records_by_the_devices(device: str, hours: int) -> None:
	"""hours: how far the device is behind."""
	offset = hours * 3600.0
	for minutes in (50, 31, 29):
		made(device, minutes + hours * 60, received_at=ago(minutes=minutes))
	loses(device, 40, 30, clock_offset=offset)
	assert recorded(device, 20, device_offset=offset) == ago(minutes=29 + hours * 60)


def test_many_readings_cost_no_statement_each(device: str) -> None:
	made(device, 50)
	stretches = [Stretch(str(number), device, ago(minutes=number)) for number in range(2 * CHUNK)]
	with counted_statements() as statements:
		assert len(known_records(stretches)) == 2 * CHUNK
		assert known_records([]) == {}
	assert len(statements) == 4


def test_the_record_is_found_in_an_index_of_a_ledger_of_many(device: str) -> None:
	"""Whether nearly all records are younger than the stretch, or older than the end of what is lost."""
	fill(device, 20_000)
	frappe.db.sql("ANALYZE TABLE `tabAccess Event`")
	loses(device, 15_000, 14_000)
	for minutes, expected in ((19_000, 19_001), (14_500, 13_999), (100, 101)):
		with counted_statements() as statements:
			assert recorded(device, minutes) == ago(minutes=expected)
		after = naive(ago(minutes=14_000)) if minutes < 15_000 else datetime(1900, 1, 1)
		at_least = naive(ago(minutes=15_000)) if minutes < 15_000 else after
		known = (device, at_least, after, after)
		values = ("it", *known, naive(ago(minutes=minutes)), *known)
		plan = frappe.db.sql(f"EXPLAIN {statements[-1]}", values, as_dict=True)
		steps = [step for step in plan if step.table and step.key]
		assert {(step.type, step.key) for step in steps} == {("range", "device_occurred_at_utc_index")}
		assert not any("filesort" in step.Extra for step in steps)


def naive(value: Any) -> Any:
	return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def fill(device: str, count: int) -> None:
	"""So many records, one a minute up to now, past intake."""
	now = naive(ago())
	rows = [
		(f"{device}-{number}", device, naive(ago(minutes=number)), "exact", 5, 75, "pass", now, now)
		for number in range(count)
	]
	fields = ["name", "device", "occurred_at_utc", "time_quality", "major", "minor", "kind"]
	frappe.db.bulk_insert("Access Event", [*fields, "creation", "modified"], rows)
	frappe.db.commit()


def test_a_log_that_was_wiped_between_two_readings_is_not_called_complete(device: str) -> None:
	"""A device of which only the history is read, whose rows have no numbers. A gap takes over; when that is accepted,
	quiet readings are complete again."""
	kind = PROFILES["kv6124"]
	with Terminals(SimulatedDevice(kind)) as terminals:
		terminal = terminals.devices[0]
		device = register_terminal(
			terminal, mode="History", history_minutes=60, time_zone=kind.wording.zone
		).name

		def passes(minutes: float) -> None:
			terminals.call(terminal.make_pass, "7", at=ago(minutes=minutes))

		passes(50)
		assert periodic(device, 180, 45).state == "Complete"
		passes(40)
		terminals.call(terminal.reset_serial)
		passes(35)
		for until in (30, 28, 26):
			reading = periodic(device, 47, until)
			assert (reading.state, "records begin" in reading.reason) == ("Unproven", True)
		assert of_device(device, "proven_until_utc") == naive(ago(minutes=26))
		look()
		history.work_off()
		look()
		assert (gap(device).state, gap(device).reason) == (
			"Unrecoverable",
			"the device's history could not be read completely",
		)
		ledger_gaps.accept(gap(device).name, "an administrator cleared the log")
		frappe.db.commit()
		for since, until in ((28, 20), (22, 10)):
			assert periodic(device, since, until).state == "Complete"
		passes(9)
		assert periodic(device, 12, 5).state == "Complete"
		assert of_device(device, "proven_until_utc") == naive(ago(minutes=5))
	assert len(fetches(device)) == 8


def periodic(device: str, since: float, until: float) -> Any:
	"""A periodic reading from so many minutes ago to so many minutes ago, read to its end."""
	zone = site_zone()
	history.insert([history.queue_periodic(device, ago(minutes=since), ago(minutes=until), zone)], zone)
	frappe.db.commit()
	history.work_off()
	(ended,) = (each for each in fetches(device) if each.until_utc == naive(ago(minutes=until)))
	return ended
