"""Readings of histories on a real site: asked for, lent to one reader at a time, reported, tried again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import frappe
import pytest
from frappe.installer import update_site_config
from frappe.utils.background_jobs import get_job

from hikvision_frappe.core.event import Source
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger import history
from hikvision_frappe.ledger.intake import deliver
from hikvision_frappe.ledger.site import FrappeSite
from hikvision_frappe.listener.site import HistoryReport, HistoryState, SiteUnavailable
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from hikvision_frappe.tasks.keeper import keep_and_read
from tests.bench.completeness import Listener, ago, begin_now, fetches, gap, listening, look, of_device
from tests.bench.counting import counted_statements
from tests.bench.factories import create_test_device, make_event, make_events
from tests.bench.processes import Terminals, register_terminal, wait_until

LEASE = 45.0


@pytest.fixture(autouse=True)
def clock() -> None:
	begin_now()


@pytest.fixture
def device() -> str:
	return create_test_device("Gate").name


@pytest.fixture
def other(site: str) -> Iterator[Listener]:
	with listening(site, "another") as listener:
		yield listener


def ask(device: str, **span: float) -> str:
	name = history.ask(device, ago(**(span or {"hours": 2})), ago(hours=1), "Administrator")
	frappe.db.commit()
	return name


def lent(listener: Listener) -> list[Any]:
	listener.devices(listener.name, LEASE)
	return list(listener.history_tasks(listener.name, LEASE))


def fetch(name: str) -> Any:
	frappe.db.rollback()
	return frappe.db.get_value("Hikvision History Fetch", name, "*", as_dict=True)


def write(name: str, **values: Any) -> None:
	frappe.db.set_value("Hikvision History Fetch", name, values)
	frappe.db.commit()


def ended(name: str, device: str, state: HistoryState, **values: Any) -> HistoryReport:
	return HistoryReport(name, device, state, **values)


# Asking.


def test_what_lies_in_the_future_is_not_asked_for(device: str) -> None:
	name = history.ask(device, ago(hours=1), ago(hours=-9), "Administrator")
	assert fetch_now(name).until_utc <= datetime.now(timezone.utc).replace(tzinfo=None)
	assert fetch_now(name).purpose == "Asked"


def fetch_now(name: str) -> Any:
	return frappe.db.get_value("Hikvision History Fetch", name, "*", as_dict=True)


@pytest.mark.parametrize(
	("values", "since"),
	[
		({"enabled": 0}, {"hours": 2}),
		({"mode": "Push", "host": "", "history": 0}, {"hours": 2}),
		({}, {"hours": 1}),
		({}, {"hours": -1}),
		({}, {"days": 30_000}),
	],
)
def test_what_cannot_be_read_is_not_queued(values: dict[str, Any], since: dict[str, float]) -> None:
	device = create_test_device(**values).name
	with pytest.raises(frappe.ValidationError):
		history.ask(device, ago(**since), ago(hours=1), "Administrator")


# Lending.


def test_a_reading_is_lent_to_who_holds_the_device(device: str, listener: Listener, other: Listener) -> None:
	name = ask(device)
	(task,) = lent(listener)
	assert (task.name, task.device, task.since, task.until) == (name, device, ago(hours=2), ago(hours=1))
	assert (task.first_serial, task.last_serial, task.resume_from) == (None, None, None)
	assert lent(other) == []
	row = fetch(name)
	assert (row.state, row.leased_by, row.attempts) == ("Running", listener.name, 1)
	assert row.started_at is not None


def test_the_same_reading_is_named_again_while_it_is_held(device: str, listener: Listener) -> None:
	name = ask(device)
	ask(device, hours=3)
	lent(listener)
	write(name, leased_until="2001-01-01")
	assert [task.name for task in lent(listener)] == [name]
	row = fetch(name)
	assert row.attempts == 1 and row.leased_until > datetime(2020, 1, 1)


def test_one_reading_goes_on_at_each_device_oldest_first(listener: Listener) -> None:
	devices = [create_test_device().name for _ in range(3)]
	oldest = []
	for device in devices:
		oldest.append(ask(device))
		write(oldest[-1], creation="2026-01-01")
		ask(device, hours=3)
	assert sorted(task.name for task in lent(listener)) == sorted(oldest)


def test_what_a_dead_reader_left_goes_to_the_next_with_what_it_had(
	device: str, listener: Listener, other: Listener
) -> None:
	name = ask(device)
	lent(listener)
	listener.report_history(
		HistoryReport(name, device, HistoryState.RUNNING, rows=7, read_until=ago(minutes=90))
	)
	write(name, leased_until="2001-01-01")
	frappe.db.set_value("Hikvision Device", device, "leased_until", "2001-01-01")
	frappe.db.commit()
	(task,) = lent(other)
	assert (task.name, task.resume_from) == (name, ago(minutes=90))
	assert fetch(name).attempts == 2
	assert not listener.report_history(HistoryReport(name, device, HistoryState.PROVEN, rows=9))
	assert fetch(name).state == "Running"


def test_a_listener_that_stops_gives_its_readings_back(
	device: str, listener: Listener, other: Listener
) -> None:
	name = ask(device)
	lent(listener)
	listener.release(listener.name)
	assert (fetch(name).state, fetch(name).leased_by) == ("Queued", None)
	assert [task.name for task in lent(other)] == [name]


def test_a_device_that_pushes_is_leased_for_its_history(listener: Listener) -> None:
	pushing = create_test_device(mode="Push").name
	silent = create_test_device(mode="Push", history=0).name
	configs = {config.key: config for config in listener.devices(listener.name, LEASE)}
	assert (configs[pushing].leased, configs[pushing].history) == (True, True)
	assert configs[pushing].address.password == "Secret123"
	assert (configs[silent].leased, configs[silent].history) == (False, False)
	assert configs[silent].address.password == ""


def test_a_reader_of_some_devices_takes_no_other(site: str, device: str, other: Listener) -> None:
	create_test_device()
	reader = FrappeSite(site, only=[device])
	with ThreadPoolExecutor(1) as thread:
		assert [each.key for each in thread.submit(reader.devices, "reader", LEASE).result()] == [device]
		thread.submit(reader.close).result()
	leased = {config.key for config in other.devices(other.name, LEASE) if config.leased}
	assert device not in leased and len(leased) == 1


# Reports.


def test_progress_and_what_the_device_told_of_its_memory_are_shown(device: str, listener: Listener) -> None:
	name = ask(device)
	lent(listener)
	assert listener.report_history(
		HistoryReport(
			name,
			device,
			HistoryState.RUNNING,
			rows=40,
			new=3,
			total=100,
			read_until=ago(minutes=90),
			numbered=True,
			supported=True,
			storage="time",
			storage_minutes=1440,
		)
	)
	row = fetch(name)
	assert (row.rows, row.new_rows, row.total, row.numbered) == (40, 3, 100, "Yes")
	assert row.read_until_utc == ago(minutes=90).replace(tzinfo=None) and row.read_until
	assert [
		of_device(device, field) for field in ("history_supported", "storage_mode", "storage_minutes")
	] == [
		"Yes",
		"time",
		1440,
	]


def test_a_proven_reading_that_joins_what_was_certain_proves_further(device: str, listener: Listener) -> None:
	frappe.db.set_value("Hikvision Device", device, "proven_until_utc", ago(minutes=100).replace(tzinfo=None))
	frappe.db.commit()
	name = ask(device)
	lent(listener)
	assert listener.report_history(ended(name, device, HistoryState.PROVEN, rows=4, total=4))
	row = fetch(name)
	assert (row.state, row.leased_by) == ("Complete", None) and row.ended_at
	assert of_device(device, "proven_until_utc") == ago(hours=1).replace(tzinfo=None)


def test_a_proven_reading_apart_from_what_was_certain_proves_nothing_of_the_time_between(
	device: str, listener: Listener
) -> None:
	before = ago(hours=9).replace(tzinfo=None)
	frappe.db.set_value("Hikvision Device", device, "proven_until_utc", before)
	frappe.db.commit()
	name = ask(device)
	lent(listener)
	listener.report_history(ended(name, device, HistoryState.PROVEN))
	assert of_device(device, "proven_until_utc") == before


@pytest.mark.parametrize("state", [HistoryState.UNPROVEN, HistoryState.FAILED])
def test_what_is_not_proven_moves_nothing(device: str, listener: Listener, state: HistoryState) -> None:
	name = ask(device)
	lent(listener)
	listener.report_history(ended(name, device, state, reason="The totals differ."))
	assert (fetch(name).state, fetch(name).reason) == (state.value, "The totals differ.")
	assert of_device(device, "proven_until_utc") is None
	assert lent(listener) == []


def test_a_passing_failure_is_tried_again_and_not_at_once(device: str, listener: Listener) -> None:
	name = ask(device)
	lent(listener)
	listener.report_history(ended(name, device, HistoryState.FAILED, retry=True, reason="No answer."))
	row = fetch(name)
	assert (row.state, row.ended_at) == ("Failed", None)
	assert timedelta(seconds=4) < row.next_attempt_at_utc - ago().replace(tzinfo=None) < timedelta(minutes=10)
	assert lent(listener) == []
	write(name, next_attempt_at_utc="2001-01-01")
	assert [task.name for task in lent(listener)] == [name]
	assert fetch(name).attempts == 2


def test_a_reader_hears_that_its_reading_is_not_wanted_any_more(device: str, listener: Listener) -> None:
	cancelled, deleted = ask(device), ask(create_test_device().name)
	tasks = lent(listener)
	assert frappe.get_doc("Hikvision History Fetch", cancelled).cancel_reading()
	frappe.db.delete("Hikvision History Fetch", {"name": deleted})
	frappe.db.commit()
	assert [
		listener.report_history(HistoryReport(task.name, task.device, HistoryState.RUNNING)) for task in tasks
	] == [False, False]
	assert fetch(cancelled).state == "Cancelled"


def test_rows_of_a_proven_reading_fill_the_gap(device: str, listener: Listener) -> None:
	deliver([make_event(device, number) for number in (1, 2, 5)])
	look()
	(task,) = lent(listener)
	assert (task.first_serial, task.last_serial) == (3, 4)
	deliver(make_events(device, 2, first=3, source=Source.HISTORY))
	listener.report_history(
		ended(task.name, device, HistoryState.PROVEN, rows=2, new=2, total=2, numbered=True)
	)
	look()
	assert (gap(device).state, gap(device).found) == ("Recovered", 2)


def test_what_the_history_does_not_hold_is_unrecoverable(device: str, listener: Listener) -> None:
	deliver([make_event(device, number) for number in (1, 2, 5)])
	look()
	(task,) = lent(listener)
	listener.report_history(ended(task.name, device, HistoryState.PROVEN, numbered=True))
	look()
	assert (gap(device).state, gap(device).reason) == (
		"Unrecoverable",
		"the device's history does not hold them any more",
	)


def test_a_history_that_a_person_was_needed_for_is_asked_again_when_one_was_there(
	device: str, listener: Listener
) -> None:
	deliver([make_event(device, number) for number in (1, 3)])
	frappe.db.set_value("Hikvision Device", device, "modified", "2026-01-01", update_modified=False)
	frappe.db.commit()
	look()
	(task,) = lent(listener)
	listener.report_history(ended(task.name, device, HistoryState.FAILED, reason="Wrong password."))
	look()
	assert len(fetches(device)) == 1 and gap(device).state == "Open"
	write(task.name, ended_at="2026-01-01")
	frappe.get_doc("Hikvision Device", device).save()
	frappe.db.commit()
	look()
	assert [each.state for each in fetches(device)].count("Queued") == 1


def test_a_site_in_maintenance_lends_nothing_and_hears_of_it_later(
	site: str, device: str, listener: Listener
) -> None:
	name = ask(device)
	lent(listener)
	report = ended(name, device, HistoryState.PROVEN)
	path = frappe.get_site_path("site_config.json")
	update_site_config("maintenance_mode", 1, validate=False, site_config_path=path)
	try:
		with pytest.raises(SiteUnavailable):
			listener.history_tasks(listener.name, LEASE)
		with pytest.raises(SiteUnavailable):
			listener.report_history(report)
	finally:
		update_site_config("maintenance_mode", 0, validate=False, site_config_path=path)
	assert listener.report_history(report)
	assert fetch(name).state == "Complete"


# Without a listener.


@pytest.fixture
def no_job() -> Iterator[None]:
	"""Nobody works off the queue of a test's site."""

	def forget() -> None:
		if job := get_job(history.JOB_ID):
			job.delete()

	forget()
	yield
	forget()


def test_without_a_listener_a_background_job_reads_what_is_due(no_job: None) -> None:
	frappe.cache.delete_value("hikvision_listeners")
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as terminals:
		terminal = terminals.devices[0]
		device = register_terminal(terminal).name
		for person in range(5):
			terminals.call(terminal.make_pass, str(100 + person))
		name = history.ask(
			device, ago(minutes=5), datetime.now(timezone.utc) + timedelta(hours=1), "Administrator"
		)
		frappe.db.commit()
		keep_and_read()
		assert get_job(history.JOB_ID).kwargs["method"] == history.JOB
		keep_and_read()  # queues no second one
		history.work_off()
		row = fetch(name)
		assert (row.state, row.reason) == ("Complete", "")
		assert frappe.db.count("Access Event", {"device": device}) == len(terminal.log)
	assert not of_device(device, "leased_by")


def test_a_job_whose_time_is_up_gives_back_what_it_has_not_read(
	no_job: None, monkeypatch: pytest.MonkeyPatch
) -> None:
	frappe.cache.delete_value("hikvision_listeners")
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as terminals:
		device = register_terminal(terminals.devices[0]).name
		name = history.ask(
			device, ago(minutes=5), datetime.now(timezone.utc) + timedelta(hours=1), "Administrator"
		)
		frappe.db.commit()
		monkeypatch.setattr(history, "JOB_SECONDS", 0.3)
		history.work_off()
	found = fetch(name)
	assert (found.state, found.leased_by) == ("Queued", None)


def test_a_database_that_goes_away_amid_a_reading_costs_nothing(site: str) -> None:
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as terminals:
		terminal = terminals.devices[0]
		device = register_terminal(terminal).name
		for person in range(60):
			terminals.call(terminal.make_pass, str(100 + person))
		name = history.ask(
			device, ago(minutes=5), datetime.now(timezone.utc) + timedelta(hours=1), "Administrator"
		)
		frappe.db.commit()
		kill_connections_soon(site)
		history.work_off()
		wait_until(lambda: fetch(name).state in ("Complete", "Failed", "Queued"), 30, "the reading")
		for _ in range(3):
			if fetch(name).state != "Complete":
				write(name, next_attempt_at_utc="2001-01-01")
				history.work_off()
		assert fetch(name).state == "Complete"
		assert frappe.db.count("Access Event", {"device": device}) == len(terminal.log)


def kill_connections_soon(site: str) -> None:
	"""Close every connection of the site but this one, a little later, as a restart of the server does."""
	own = frappe.db.sql("select connection_id()")[0][0]
	database = frappe.conf.db_name

	def kill() -> None:
		frappe.init(site=site, sites_path=".")
		frappe.connect()
		mine = frappe.db.sql("select connection_id()")[0][0]
		for (number,) in frappe.db.sql(
			"select id from information_schema.processlist where db = %s", (database,)
		):
			if number not in (own, mine):
				frappe.db.sql(f"kill {int(number)}")
		frappe.destroy()

	threading.Timer(0.3, kill).start()


def test_where_nothing_proves_a_device_that_is_only_read_a_gap_takes_over(listener: Listener) -> None:
	device = create_test_device(mode="History").name
	for _ in range(history.MOST_UNPROVEN):
		look()
		newest = [each for each in fetches(device) if each.state == "Queued"][-1]
		write(
			newest.name,
			since_utc=ago(hours=3).replace(tzinfo=None),
			until_utc=ago(hours=1).replace(tzinfo=None),
		)
		assert gap_count(device) == 0
		(task,) = lent(listener)
		listener.report_history(ended(task.name, device, HistoryState.UNPROVEN, reason="The totals differ."))
	assert of_device(device, "proven_until_utc") == ago(hours=1).replace(tzinfo=None)
	look()
	assert (gap(device).state, gap(device).until_utc) == ("Filling", ago(hours=1).replace(tzinfo=None))


def gap_count(device: str) -> int:
	return frappe.db.count("Access Event Gap", {"device": device})


def test_readings_that_cover_a_gap_are_found_by_their_times(device: str, listener: Listener) -> None:
	listener.hears(device, ago(hours=3), ago(hours=2))
	listener.hears(device, ago(hours=1), ago(seconds=1))
	name = gap(device).name
	waiting = [each for each in ledger_gaps.unresolved([device]) if each.name == name]
	with counted_statements() as statements:
		history.answers(waiting, {})
	assert len(statements) == 2
	assert "device_purpose_until_utc_since_utc_index" in statements[-1]
