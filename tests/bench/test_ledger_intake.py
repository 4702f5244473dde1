"""Intake on a real site: every event once, in one commit, whatever comes between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import frappe
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hikvision_frappe.core.event import EventKind, Source, TimeQuality
from hikvision_frappe.core.states import EventState
from hikvision_frappe.ledger.database_errors import ANY_ERROR
from hikvision_frappe.ledger.intake import (
	DISABLED_DEVICE,
	NOT_STORABLE,
	UNKNOWN_DEVICE,
	deliver,
	read_settings,
)
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, create_test_employee, make_event, make_events


@pytest.fixture
def device() -> str:
	return create_test_device().name


def stored(device: str, *fields: str) -> list[Any]:
	frappe.db.rollback()
	return frappe.get_all("Access Event", {"device": device}, list(fields or ["*"]), order_by="name")


def serials(device: str) -> list[int]:
	return [row.serial_no for row in stored(device, "serial_no")]


def epochs(device: str) -> list[Any]:
	frappe.db.rollback()
	return frappe.get_all("Hikvision Serial Epoch", {"device": device}, ["*"], order_by="number")


def test_a_pass_becomes_one_row_with_site_time_beside_utc(device: str) -> None:
	event = make_event(
		device,
		7,
		occurred_at=datetime(2026, 7, 1, 6, 30, 5, tzinfo=timezone.utc),
		received_at=datetime(2026, 7, 1, 6, 30, 6, tzinfo=timezone.utc),
		card_no="0012",
		attendance_status="checkIn",
		live=True,
	)
	assert deliver([event]).new == 1
	(row,) = stored(device)
	assert row.name == f"{device}-01-0000000007"
	assert row.occurred_at == datetime(2026, 7, 1, 8, 30, 5)
	assert row.occurred_at_utc == datetime(2026, 7, 1, 6, 30, 5)
	assert row.received_at == datetime(2026, 7, 1, 8, 30, 6)
	assert (row.serial_no, row.epoch, row.major, row.minor) == (7, 1, 5, 75)
	assert (row.kind, row.method, row.source, row.live, row.time_quality) == (
		"pass",
		"face",
		"stream",
		"Yes",
		"exact",
	)
	assert (row.person_code, row.person_name, row.card_no) == ("1001", "Test Person", "0012")
	assert (row.door_no, row.reader_no, row.attendance_status) == (1, 1, "checkIn")
	assert (row.state, row.attempts, row.employee_checkin) == ("New", 0, None)
	assert row.owner == "Administrator" and row.creation is not None


def test_a_replayed_event_is_stored_once(device: str) -> None:
	event = make_event(device, 1)
	assert deliver([event]).new == 1
	again = deliver([event.retold(source=Source.HISTORY, live=False)])
	assert (again.new, again.known) == (0, 1)
	assert len(stored(device)) == 1


def test_a_repetition_within_one_batch_is_stored_once(device: str) -> None:
	event = make_event(device, 1)
	delivery = deliver([event, event, make_event(device, 2), event])
	assert (delivery.new, delivery.known) == (2, 2)
	assert serials(device) == [1, 2]


def test_two_passes_in_one_second_are_two_rows(device: str) -> None:
	deliver([make_event(device, 1, second=0), make_event(device, 2, second=0)])
	assert serials(device) == [1, 2]


@pytest.mark.parametrize(
	("values", "state"),
	[
		({}, EventState.NEW),
		({"kind": EventKind.DENIAL}, EventState.DENIED),
		({"kind": EventKind.DOOR}, EventState.DOOR_EVENT),
		({"person": ""}, EventState.NO_PERSON),
		({"time_quality": TimeQuality.IMPLAUSIBLE}, EventState.IMPLAUSIBLE_TIME),
	],
)
def test_an_event_enters_in_the_state_that_its_kind_asks_for(
	device: str, values: dict[str, Any], state: EventState
) -> None:
	deliver([make_event(device, 1, **values)])
	assert stored(device, "state")[0].state == state.value


def test_unknown_and_disabled_devices_are_refused_and_the_others_committed(device: str) -> None:
	disabled = create_test_device(enabled=0).name
	delivery = deliver([make_event("nobody0000", 1), make_event(device, 1), make_event(disabled, 1)])
	assert delivery.new == 1
	assert delivery.refused == {0: UNKNOWN_DEVICE, 2: DISABLED_DEVICE}
	assert stored(disabled) == []
	assert serials(device) == [1]


@pytest.mark.parametrize(
	"values",
	[
		{"person": "9" * 65},
		{"card_no": "9" * 65},
		{"person": "\ud800"},
		{"person": "1\x00"},
		{"serial_no": 2**63},
		{"serial_no": -1},
		{"major": 2**31},
		{"hardware": "H" * 141},
		{"occurred_at": datetime(9999, 12, 31, tzinfo=timezone.utc)},
	],
)
def test_what_the_table_would_cut_or_clip_is_refused_with_a_reason(
	device: str, values: dict[str, Any]
) -> None:
	event = make_event(device, 1).retold(**values)
	delivery = deliver([event, make_event(device, 2)])
	assert list(delivery.refused) == [0]
	assert delivery.refused[0]
	assert serials(device) == [2]


@pytest.fixture
def narrowed_column() -> Iterator[None]:
	"""A site that made a column of ours shorter than we believe."""
	frappe.db.sql_ddl("alter table `tabAccess Event` modify verify_mode varchar(10)")
	yield
	frappe.db.sql_ddl("alter table `tabAccess Event` modify verify_mode varchar(64)")


def test_an_event_that_the_database_refuses_holds_up_no_other(device: str, narrowed_column: None) -> None:
	batch = [
		make_event(device, number, verify_mode="cardOrFaceOrFp" if number == 7 else "face")
		for number in range(1, 21)
	]
	delivery = deliver(batch)
	assert delivery.refused == {6: NOT_STORABLE} and delivery.new == 19
	assert serials(device) == [number for number in range(1, 21) if number != 7]


def test_texts_that_decide_nothing_are_cut_and_cleaned(device: str) -> None:
	deliver([make_event(device, 1, person_name="N\x00" + "å" * 200 + "\ud800", verify_mode="v" * 99)])
	(row,) = stored(device)
	assert row.person_name == "N" + "å" * 138
	assert row.verify_mode == "v" * 64


def test_a_serial_number_beyond_32_bits_is_kept(device: str) -> None:
	deliver([make_event(device, 4_294_967_295, second=0), make_event(device, 2**62, second=5)])
	assert serials(device) == [4_294_967_295, 2**62]
	assert epochs(device)[0].highest == 2**62


def test_a_lost_clock_in_1970_is_no_reason_to_lose_the_event(device: str) -> None:
	event = make_event(
		device,
		1,
		occurred_at=datetime(1969, 12, 31, 23, 59, tzinfo=timezone.utc),
		time_quality=TimeQuality.IMPLAUSIBLE,
	)
	assert deliver([event]).new == 1
	assert deliver([event]).known == 1


def test_person_names_are_left_out_when_the_settings_say_so(device: str) -> None:
	frappe.db.set_single_value("Hikvision Settings", "keep_person_names", 0)
	frappe.db.commit()
	deliver([make_event(device, 1)])
	(row,) = stored(device)
	assert (row.person_name, row.person_code) == ("", "1001")


def test_a_changed_site_zone_counts_from_the_next_batch_on(device: str) -> None:
	frappe.db.set_single_value("System Settings", "time_zone", "Asia/Kolkata")
	frappe.db.commit()
	try:
		deliver([make_event(device, 1, occurred_at=datetime(2026, 1, 1, 12, tzinfo=timezone.utc))])
	finally:
		frappe.db.set_single_value("System Settings", "time_zone", "Europe/Stockholm")
		frappe.db.commit()
	assert stored(device)[0].occurred_at == datetime(2026, 1, 1, 17, 30)


def test_a_restart_of_the_count_opens_an_epoch_that_later_batches_go_on_with(device: str) -> None:
	deliver(make_events(device, 3, first=1000))
	reset = make_event(device, 1, second=90_000)
	deliver([reset])
	deliver([make_event(device, 2, second=90_010), reset])
	rows = epochs(device)
	assert [(row.name, row.number, row.highest, row.epochs) for row in rows] == [
		(f"{device}-01", 1, 1002, 2),
		(f"{device}-02", 2, 2, 1),
	]
	assert [row.name[-13:] for row in stored(device, "name")] == [
		"01-0000001000",
		"01-0000001001",
		"01-0000001002",
		"02-0000000001",
		"02-0000000002",
	]


def test_new_epochs_of_several_devices_in_one_batch_are_all_written() -> None:
	devices = [create_test_device().name for _ in range(3)]
	deliver([event for device in devices for event in make_events(device, 2, first=50)])
	deliver([make_event(device, 1, second=90_000) for device in devices])
	assert [[row.highest for row in epochs(device)] for device in devices] == [[51, 1]] * 3


def test_a_record_without_a_number_is_adopted_when_its_number_is_told(device: str) -> None:
	history = make_event(device, None, second=5, source=Source.HISTORY, reader_no=None, person_name="")
	deliver([history])
	employee = create_test_employee()
	checkin = make_checkin(employee, datetime(2026, 3, 2, 8, 0, 5), stored(device)[0].name)
	frappe.db.set_value(
		"Access Event", stored(device)[0].name, {"state": "Check-in Made", "employee_checkin": checkin}
	)
	frappe.db.commit()
	delivery = deliver([make_event(device, 40, second=5)])
	assert (delivery.new, delivery.known) == (0, 1)
	(row,) = stored(device)
	assert (row.name, row.serial_no, row.epoch) == (f"{device}-01-0000000040", 40, 1)
	assert (row.reader_no, row.person_name, row.source) == (1, "Test Person", "history")
	assert (row.state, row.employee_checkin) == ("Check-in Made", checkin)
	assert frappe.db.get_value("Employee Checkin", checkin, "access_event") == row.name


def test_a_number_told_in_the_same_batch_is_adopted_too(device: str) -> None:
	deliver(
		[
			make_event(device, None, second=5),
			make_event(device, 40, second=5),
			make_event(device, None, second=5),
		]
	)
	assert [(row.serial_no, row.epoch) for row in stored(device)] == [(40, 1)]


def test_history_without_numbers_after_the_stream_adds_nothing(device: str) -> None:
	deliver(make_events(device, 20))
	told_again = [make_event(device, None, second=second, source=Source.HISTORY) for second in range(1, 21)]
	delivery = deliver(told_again)
	assert (delivery.new, delivery.known) == (0, 20)
	assert serials(device) == list(range(1, 21))


def test_the_same_number_from_new_hardware_is_another_event(device: str) -> None:
	deliver([make_event(device, 5, hardware="DS-K1T344MBFWX-A20230101000001")])
	deliver([make_event(device, 5, second=90_000, hardware="DS-K1T344MBFWX-A20250101000002")])
	assert [row.hardware[-6:] for row in epochs(device)] == ["000001", "000002"]
	assert serials(device) == [5, 5]


@pytest.mark.parametrize("prior", ["empty", "known", "unnumbered"])
def test_statements_do_not_grow_with_the_batch(prior: str) -> None:
	counts = []
	for size in (5, 500):
		device = create_test_device().name
		if prior == "known":
			deliver(make_events(device, size // 2))
		elif prior == "unnumbered":
			deliver([make_event(device, None, second=second) for second in range(1, size // 2)])
		with counted_statements() as statements:
			deliver(make_events(device, size))
		assert len(serials(device)) == size
		counts.append(len(statements))
	assert counts[0] == counts[1]
	assert counts[0] <= 14


def test_a_live_event_costs_four_statements(device: str) -> None:
	deliver([make_event(device, 1)])
	settings = read_settings()
	with counted_statements() as statements:
		deliver([make_event(device, 2)], checked={device}, settings=settings, fresh=True)
	assert len(statements) == 4, statements


def test_what_the_caller_left_uncommitted_is_dropped(device: str) -> None:
	frappe.db.set_value("Hikvision Device", device, "title", "Unsaved", update_modified=False)
	deliver([make_event(device, 1)])
	assert frappe.db.get_value("Hikvision Device", device, "title") != "Unsaved"


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_cut_and_repetition_gives_each_event_once(data: st.DataObject) -> None:
	device = create_test_device().name
	events = [make_event(device, number, second=number // 3) for number in range(1, 31)]
	told = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=60))
	sequence = data.draw(st.permutations([*told, *events]))
	while sequence:
		size = data.draw(st.integers(1, 25))
		batch, sequence = sequence[:size], sequence[size:]
		deliver(batch)
	assert serials(device) == list(range(1, 31))
	assert [row.highest for row in epochs(device)] == [30]


def in_threads(site: str, work: list[Any]) -> None:
	"""Run each piece of work in a thread with a connection of its own; raise the first error."""
	errors: list[BaseException] = []

	def run(piece: Any) -> None:
		try:
			frappe.init(site=site, sites_path=".")
			frappe.connect()
			piece()
		except BaseException as error:
			errors.append(error)
		finally:
			frappe.destroy()

	threads = [threading.Thread(target=run, args=(piece,)) for piece in work]
	for thread in threads:
		thread.start()
	for thread in threads:
		thread.join(60)
	if errors:
		raise errors[0]


def test_writers_at_the_same_time_store_each_event_once(site: str) -> None:
	devices = [create_test_device().name for _ in range(3)]
	events = [event for device in devices for event in make_events(device, 60)]

	def writer(seed: int) -> Any:
		def deliver_all() -> None:
			shuffled = list(events)
			random.Random(seed).shuffle(shuffled)
			for start in range(0, len(shuffled), 20):
				deliver(shuffled[start : start + 20])

		return deliver_all

	in_threads(site, [writer(seed) for seed in range(4)])
	for device in devices:
		assert serials(device) == list(range(1, 61))
		assert [row.highest for row in epochs(device)] == [60]


@contextmanager
def held_lock(device: str, seconds: float) -> Iterator[None]:
	"""Another connection holds the device's lock for some time."""
	config = frappe.get_site_config()
	other = pymysql.connect(
		host=config.db_host,
		port=config.db_port,
		user=config.db_name,
		password=config.db_password,
		database=config.db_name,
	)
	other.begin()
	other.cursor().execute(
		"select name from `tabHikvision Serial Epoch` where name = %s for update", f"{device}-01"
	)
	release = threading.Timer(seconds, other.rollback)
	release.start()
	try:
		yield
	finally:
		release.join()
		other.close()


def test_a_batch_waits_for_another_process_with_the_same_device(device: str) -> None:
	with held_lock(device, 0.4):
		started = time.monotonic()
		assert deliver([make_event(device, 1)]).new == 1
		assert time.monotonic() - started > 0.2
	assert serials(device) == [1]


def test_a_lock_wait_that_times_out_is_tried_again(device: str) -> None:
	frappe.db.sql("set session innodb_lock_wait_timeout = 1")
	try:
		with held_lock(device, 1.6):
			assert deliver([make_event(device, 1)]).new == 1
	finally:
		frappe.db.sql("set session innodb_lock_wait_timeout = 50")
	assert serials(device) == [1]


def test_a_lock_that_is_never_released_gives_up_after_a_bounded_time(device: str) -> None:
	frappe.db.sql("set session innodb_lock_wait_timeout = 1")
	try:
		with held_lock(device, 10), pytest.raises(frappe.QueryTimeoutError):
			deliver([make_event(device, 1)])
	finally:
		frappe.db.sql("set session innodb_lock_wait_timeout = 50")
	assert serials(device) == []
	assert deliver([make_event(device, 1)]).new == 1


def test_a_lost_database_connection_is_an_operational_error_and_the_next_batch_succeeds(device: str) -> None:
	frappe.db.sql("select 1")
	connection_id = frappe.db.sql("select connection_id()")[0][0]
	config = frappe.get_site_config()
	other = pymysql.connect(
		host=config.db_host, port=config.db_port, user=config.db_name, password=config.db_password
	)
	other.cursor().execute(f"kill {connection_id}")
	other.close()
	with pytest.raises(ANY_ERROR):
		deliver([make_event(device, 1)])
	assert deliver([make_event(device, 1)]).new == 1


KILLED_WRITER = """
import sys
import frappe
from tests.bench.factories import make_events
from hikvision_frappe.ledger.intake import deliver
site, device, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
frappe.init(site=site, sites_path=".")
frappe.connect()
events = make_events(device, count)
print("ready", flush=True)
for start in range(0, count, 25):
	deliver(events[start : start + 25])
	print(start + 25, flush=True)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_and_doubles_nothing(site: str, device: str) -> None:
	dice = random.Random(20260302)
	events = make_events(device, 2_000)
	for _ in range(6):
		process = subprocess.Popen(
			[sys.executable, "-c", KILLED_WRITER, site, device, "2000"], stdout=subprocess.PIPE, text=True
		)
		assert process.stdout is not None
		assert process.stdout.readline() == "ready\n"
		time.sleep(dice.uniform(0.02, 0.4))
		os.kill(process.pid, signal.SIGKILL)
		told = [int(line) for line in process.stdout.read().split("\n")[:-1]]
		process.wait()
		acknowledged = max(told, default=0)
		there = serials(device)
		assert there[:acknowledged] == list(range(1, acknowledged + 1))
		assert there == list(range(1, len(there) + 1))
	deliver(events)
	assert serials(device) == list(range(1, 2_001))


def make_checkin(employee: str, time: datetime, event: str) -> str:
	checkin = frappe.get_doc(
		{
			"doctype": "Employee Checkin",
			"employee": employee,
			"time": time,
			"log_type": "IN",
			"access_event": event,
		}
	).insert()
	frappe.db.commit()
	return checkin.name


def test_one_check_in_per_event_is_what_the_database_says(device: str) -> None:
	deliver([make_event(device, 1)])
	event = stored(device)[0].name
	employee = create_test_employee()
	make_checkin(employee, datetime(2026, 3, 2, 8), event)
	with pytest.raises(frappe.UniqueValidationError):
		make_checkin(employee, datetime(2026, 3, 2, 9), event)


def test_events_of_a_moment_that_falls_back_keep_their_order_in_utc(device: str) -> None:
	first = datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc)
	deliver(
		[
			make_event(device, 1, occurred_at=first),
			make_event(device, 2, occurred_at=first + timedelta(hours=1)),
		]
	)
	rows = stored(device, "occurred_at", "occurred_at_utc")
	assert rows[0].occurred_at == rows[1].occurred_at == datetime(2026, 10, 25, 2, 30)
	assert rows[1].occurred_at_utc - rows[0].occurred_at_utc == timedelta(hours=1)


def test_markup_from_a_device_is_stored_as_harmless_text_and_known_again() -> None:
	device = create_test_device().name
	event = make_event(device, 1, person="<b>88</b>", person_name="<script>x</script>")

	assert deliver([event]).new == 1
	assert deliver([event]).known == 1

	stored = frappe.db.get_value("Access Event", {"device": device}, ["person_code", "person_name"])
	assert stored == ("‹b›88‹/b›", "‹script›x‹/script›")
