"""How a committed event wakes the drain: a note in Redis for one that listens, a job where none does.

All of it is best effort. The ledger is the queue; a signal that is lost costs time until the sweep, never an event.
"""

from __future__ import annotations

import time
from contextlib import suppress

import frappe
import redis
from frappe.utils.background_jobs import is_job_enqueued

WAKE_KEY = "hikvision_drain_wake"
ALIVE_KEY = "hikvision_drain_alive"
ENQUEUED_KEY = "hikvision_drain_enqueued"
KEEPER_KEY = "hikvision_keeper_due"
DRAIN_JOB = "hikvision_frappe.attendance.loop.work_off"
DRAIN_JOB_ID = "hikvision_drain"

MOST_NOTES = 100  # that nobody takes
ALIVE_SECONDS = 10  # a drain says at least this often that it lives
KEEPER_SECONDS = 60
ENQUEUE_SECONDS = 3  # at most one job in this time

REDIS_TROUBLE = (redis.exceptions.RedisError, OSError)


def wake_drain() -> None:
	"""Say that new events are committed; never raises."""
	try:
		alive, enqueued = _ring()
		if not alive and not enqueued:
			_enqueue_once_in(ENQUEUE_SECONDS)
	except REDIS_TROUBLE:
		pass  # the scheduler's sweep finds the events
	except Exception:
		frappe.logger("hikvision").exception("the drain could not be woken")


def wait_for_wake(seconds: float) -> bool:
	"""Wait for new events at most so long; says that a drain lives while it waits. Without Redis it sleeps."""
	deadline = time.monotonic() + seconds
	try:
		say_alive()
		woken = frappe.cache.blpop([_key(WAKE_KEY)], timeout=seconds) is not None
		frappe.cache.delete_value(WAKE_KEY)  # one look finds the events of all notes
		return woken
	except REDIS_TROUBLE:
		time.sleep(max(0.0, deadline - time.monotonic()))
		return False


def say_alive() -> None:
	"""A drain that listens for wakes must call this, or wait_for_wake, every ALIVE_SECONDS. May raise RedisError."""
	frappe.cache.setex(_key(ALIVE_KEY), ALIVE_SECONDS, b"1")


def drain_lives() -> bool:
	"""Whether a drain said within ALIVE_SECONDS that it lives; False when Redis cannot say."""
	try:
		return bool(frappe.cache.exists(ALIVE_KEY))
	except REDIS_TROUBLE:
		return False


def wake_keeper() -> None:
	"""Have the drain that lives look after gaps and watermarks at once; never raises."""
	with suppress(*REDIS_TROUBLE):
		frappe.cache.setex(_key(KEEPER_KEY), KEEPER_SECONDS, b"1")
		frappe.cache.lpush(WAKE_KEY, b"1")


def keeper_is_due() -> bool:
	"""Whether somebody woke the keeper since the last time this was asked."""
	try:
		return bool(frappe.cache.delete(_key(KEEPER_KEY)))
	except REDIS_TROUBLE:
		return False


def enqueue_drain() -> None:
	"""Queue one drain job for the site unless one waits or runs; raises RedisError when the queue is down.

	What is committed while a job runs, and after its last look, is left to the next wake or the sweep.
	"""
	if is_job_enqueued(DRAIN_JOB_ID):
		return
	with_user = frappe.session.user
	try:
		frappe.session.user = "Administrator"  # a job runs as who queued it, and a push is a guest's
		frappe.enqueue(DRAIN_JOB, queue="default", job_id=DRAIN_JOB_ID, deduplicate=True)
	finally:
		frappe.session.user = with_user


def _ring() -> tuple[bool, bool]:
	"""Leave a note; whether a drain lives to read it, and whether a job was queued a moment ago."""
	pipeline = frappe.cache.pipeline(transaction=False)
	pipeline.exists(_key(ALIVE_KEY))
	pipeline.exists(_key(ENQUEUED_KEY))
	pipeline.lpush(_key(WAKE_KEY), b"1")
	alive, enqueued, notes = pipeline.execute()
	if notes > MOST_NOTES:
		frappe.cache.ltrim(WAKE_KEY, 0, 0)
	return bool(alive), bool(enqueued)


def _enqueue_once_in(seconds: int) -> None:
	if frappe.cache.set(_key(ENQUEUED_KEY), b"1", nx=True, ex=seconds):
		enqueue_drain()


def _key(name: str) -> bytes:
	return frappe.cache.make_key(name)
