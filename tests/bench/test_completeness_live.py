"""The whole way on a real site: terminals that tell nobody of some records, real listeners, the keeper beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import frappe
import pytest

from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger.completeness import tend
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.completeness import (
	AT_ONCE,
	complete_until,
	gaps,
	notices,
	of_device,
	with_manager,
)
from tests.bench.processes import ListenerProcess, Terminals, register_terminal, wait_until

pytestmark = pytest.mark.timeout(240)

MODEL = PROFILES["k1t344"]
# It tells what happens while somebody listens, and nothing again.
FORGETFUL = replace(MODEL, stream=replace(MODEL.stream, replay=0, heartbeat_seconds=1.0))


@pytest.fixture
def terminals() -> Iterator[Terminals]:
	with_manager()
	with Terminals(SimulatedDevice(FORGETFUL)) as running:
		yield running


def stored(device: str) -> int:
	return frappe.db.count("Access Event", {"device": device})


def connect(terminal: SimulatedDevice, **values: Any) -> str:
	device: str = register_terminal(terminal, **values).name
	wait_until(lambda: of_device(device, "heard_until_utc"), 60, "the first contact")
	return device


def lose(terminals: Terminals, count: int) -> None:
	"""Let records be made while nobody listens; the stream may come back at once."""

	def lose_all() -> None:
		terminals.devices[0].cut_streams()
		for number in range(count):
			terminals.devices[0].make_event(5, 21 + number % 2)

	terminals.call(lose_all)


def live_pass(terminals: Terminals, device: str) -> None:
	"""Records until one of them is told live: the stream may still be on its way back."""
	terminal, before = terminals.devices[0], stored(device)

	def one_more() -> bool:
		if stored(device) > before:
			return True
		terminals.call(terminal.make_event, 5, 21)
		time.sleep(0.5)
		return False

	wait_until(one_more, 60, "a record that is told")


def all_resolved(device: str) -> bool:
	return bool(gaps(device)) and all(each.state == "Recovered" for each in gaps(device))


def test_what_a_cut_stream_lost_is_noticed_and_read_from_the_history(
	terminals: Terminals, tmp_path: Path
) -> None:
	terminal = terminals.devices[0]
	with ListenerProcess(tmp_path) as listener:
		device = connect(terminal)
		live_pass(terminals, device)
		lose(terminals, 5)
		live_pass(terminals, device)
		noticed = time.monotonic()
		assert gaps(device), "the jump is a gap in the transaction of the record after it"
		wait_until(
			lambda: all_resolved(device) and stored(device) == len(terminal.log), 60, listener.log_text()
		)
		assert time.monotonic() - noticed < 30
		wait_until(lambda: moves_on(device), 30, "the watermark")
	assert stored(device) == len(terminal.log)
	assert notices(device) == []


def moves_on(device: str) -> bool:
	"""Whether the device is complete until a moment ago."""
	moment = complete_until(device)
	return moment is not None and (datetime.now(timezone.utc) - moment).total_seconds() < 60


def test_what_happened_while_no_listener_ran_is_read_when_one_does(
	terminals: Terminals, tmp_path: Path
) -> None:
	terminal = terminals.devices[0]
	with ListenerProcess(tmp_path) as listener:
		device = connect(terminal)
		live_pass(terminals, device)
		listener.kill()
		time.sleep(3)
		for number in range(7):
			terminals.call(terminal.make_event, 5, 21 + number % 2)
		listener.start()
		wait_until(
			lambda: all_resolved(device) and stored(device) == len(terminal.log), 90, listener.log_text()
		)
		assert {each.cause for each in gaps(device)} <= {"Listener Start", "Serial Jump"}
	assert notices(device) == []


def test_what_nobody_can_tell_any_more_alerts_once_and_is_accepted(
	terminals: Terminals, tmp_path: Path
) -> None:
	with ListenerProcess(tmp_path):
		device = connect(terminals.devices[0], history=0)
		live_pass(terminals, device)
		lose(terminals, 4)
		live_pass(terminals, device)
		wait_until(lambda: tend(AT_ONCE) and lost(device), 60, "the judgement")
		assert lost(device)[0].missing >= 4
		wait_until(lambda: accept_all(device) and moves_on(device), 90, "the watermark")
		assert len(notices(device)) == 1


def lost(device: str) -> list[Any]:
	return [each for each in gaps(device) if each.state == "Unrecoverable"]


def accept_all(device: str) -> bool:
	"""As HR would, whichever of its names the loss has by now: the break takes the place of its jump."""
	for each in gaps(device):
		if each.state not in ("Recovered", "Accepted"):
			ledger_gaps.accept(each.name, "Nobody was there.")
	frappe.db.commit()
	return True


def test_a_second_listener_takes_over_and_nothing_is_lost(terminals: Terminals, tmp_path: Path) -> None:
	terminal = terminals.devices[0]
	(tmp_path / "a").mkdir()
	(tmp_path / "b").mkdir()
	with ListenerProcess(tmp_path / "a", "--lease-seconds=6") as first:
		device = connect(terminal)
		live_pass(terminals, device)
		with ListenerProcess(tmp_path / "b", "--lease-seconds=6") as second:
			wait_until(lambda: len(frappe.cache.hgetall("hikvision_listeners") or {}) >= 2, 60, "the second")
			first.kill()
			for number in range(5):
				terminals.call(terminal.make_event, 5, 21 + number % 2)
			wait_until(
				lambda: stored(device) == len(terminal.log) and not_open(device), 90, second.log_text()
			)
			live_pass(terminals, device)
			wait_until(
				lambda: stored(device) == len(terminal.log) and not_open(device), 90, second.log_text()
			)
	serials = frappe.get_all("Access Event", {"device": device}, pluck="serial_no")
	assert sorted(serials) == sorted(record.serial_no for record in terminal.log)


def not_open(device: str) -> bool:
	return all(each.state == "Recovered" for each in gaps(device))
