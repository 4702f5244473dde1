"""Waking the drain: a note for one that listens, a job where none does, silence when Redis is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import frappe
import pytest
from frappe.utils.background_jobs import get_job, is_job_enqueued

from hikvision_frappe.ledger import signal
from hikvision_frappe.ledger.intake import deliver
from tests.bench.factories import create_test_device, make_event


def forget() -> None:
	frappe.cache.delete_keys("hikvision_drain")
	if job := get_job(signal.DRAIN_JOB_ID):
		job.delete()


@pytest.fixture(autouse=True)
def nothing_noted(site: str) -> Iterator[None]:
	forget()
	yield
	forget()


@pytest.fixture
def device() -> str:
	return create_test_device().name


def test_a_waiting_drain_hears_of_new_events_at_once(site: str, device: str) -> None:
	heard: list[float] = []

	def listen() -> None:
		frappe.init(site=site, sites_path=".")
		frappe.connect()
		if signal.wait_for_wake(10):
			heard.append(time.monotonic())
		frappe.destroy()

	listener = threading.Thread(target=listen)
	listener.start()
	deadline = time.monotonic() + 10
	while not frappe.cache.exists(signal.ALIVE_KEY):
		assert time.monotonic() < deadline
		time.sleep(0.01)
	deliver([make_event(device, 1)])
	committed = time.monotonic()
	listener.join(15)
	assert heard and heard[0] - committed < 0.5
	assert not is_job_enqueued(signal.DRAIN_JOB_ID)


def test_without_a_drain_one_job_is_queued_for_many_events(device: str) -> None:
	for serial_no in range(1, 6):
		deliver([make_event(device, serial_no)])
	assert is_job_enqueued(signal.DRAIN_JOB_ID)


def test_a_job_of_a_guests_push_runs_as_administrator(device: str) -> None:
	frappe.set_user("Guest")
	deliver([make_event(device, 1)])
	assert frappe.session.user == "Guest"
	assert get_job(signal.DRAIN_JOB_ID).kwargs["user"] == "Administrator"


def test_an_event_that_needs_no_drain_wakes_nobody(device: str) -> None:
	deliver([make_event(device, 1, person="")])
	assert not frappe.cache.exists(signal.WAKE_KEY)
	assert not is_job_enqueued(signal.DRAIN_JOB_ID)


def test_many_wakes_are_one_to_the_drain(device: str) -> None:
	signal.say_alive()
	for serial_no in range(1, 6):
		deliver([make_event(device, serial_no)])
	assert signal.wait_for_wake(1)
	started = time.monotonic()
	assert not signal.wait_for_wake(1)
	assert time.monotonic() - started >= 0.9


def test_intake_does_not_need_redis(device: str) -> None:
	working = frappe.cache
	frappe.cache = type(working).from_url("redis://127.0.0.1:1")
	try:
		assert deliver([make_event(device, 1)]).new == 1
		started = time.monotonic()
		assert not signal.wait_for_wake(0.3)
		assert time.monotonic() - started >= 0.25
	finally:
		frappe.cache = working
