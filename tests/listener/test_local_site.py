"""The local site: a ledger that decides by identity, in one commit and few statements, and lends devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from listener_support import MORNING, a_device, a_pass

from hikvision_frappe.core.event import Source
from hikvision_frappe.listener.local_site import LocalSite, percentile
from hikvision_frappe.listener.site import Delivery, SiteUnavailable


@pytest.fixture
def site() -> Iterator[LocalSite]:
	site = LocalSite(":memory:")
	yield site
	site.close()


def test_a_replayed_batch_is_stored_once(site: LocalSite) -> None:
	batch = [a_pass(1), a_pass(2)]
	assert site.deliver(batch) == Delivery(new=2, known=0)
	assert site.deliver(batch) == Delivery(new=0, known=2)


def test_the_same_pass_told_by_stream_and_push_is_one_row(site: LocalSite) -> None:
	site.deliver([a_pass(1), a_pass(1, source=Source.PUSH)])
	assert len(site.rows()) == 1


def test_epochs_survive_between_batches(site: LocalSite) -> None:
	site.deliver([a_pass(480)])
	site.deliver([a_pass(1, at=MORNING.replace(hour=12))])
	site.deliver([a_pass(2, at=MORNING.replace(hour=13))])
	assert [row.epoch for row in site.rows()] == [1, 2, 2]


def test_a_row_without_a_number_is_adopted_in_the_same_or_a_later_batch(site: LocalSite) -> None:
	unnumbered = a_pass(None, at=MORNING, source=Source.HISTORY)
	site.deliver([unnumbered, a_pass(7, at=MORNING)])
	later = a_pass(None, at=MORNING.replace(hour=9), source=Source.HISTORY)
	site.deliver([later])
	assert site.deliver([a_pass(8, at=MORNING.replace(hour=9))]) == Delivery(new=0, known=1)
	assert [row.serial_no for row in site.rows()] == [7, 8]
	assert site.deliver([unnumbered, later]) == Delivery(new=0, known=2)


def test_an_event_of_an_unknown_device_is_refused_by_its_position() -> None:
	site = LocalSite(":memory:", [a_device("gate")])
	delivery = site.deliver([a_pass(1), a_pass(2, device="nowhere"), a_pass(3)])
	assert delivery == Delivery(new=2, known=0, refused={1: "unknown device nowhere"})
	site.close()


def test_the_number_of_statements_does_not_grow_with_the_batch(site: LocalSite) -> None:
	statements: list[str] = []
	site._connection.set_trace_callback(statements.append)
	site.deliver([a_pass(1)])
	for_one = len(statements)
	statements.clear()
	site.deliver([a_pass(serial) for serial in range(2, 502)])
	assert len(statements) == for_one <= 8


def test_a_device_is_lent_to_one_listener_until_the_lease_ends_or_is_given_up(tmp_path: Path) -> None:
	first = LocalSite(tmp_path / "ledger.sqlite3", [a_device()])
	second = LocalSite(tmp_path / "ledger.sqlite3", [a_device()])
	assert first.devices("one", 60)[0].leased
	assert not second.devices("two", 60)[0].leased
	assert first.devices("one", -1)[0].leased  # a lease that is over at once
	assert second.devices("two", 60)[0].leased
	assert not first.devices("one", 60)[0].leased
	second.release("two")
	assert first.devices("one", 60)[0].leased
	first.close()
	second.close()


def test_a_ledger_that_another_holds_is_unavailable_and_not_an_error_of_the_events(tmp_path: Path) -> None:
	site = LocalSite(tmp_path / "ledger.sqlite3")
	other = LocalSite(tmp_path / "ledger.sqlite3")
	site._connection.execute("PRAGMA busy_timeout = 10")
	with other._transaction(), pytest.raises(SiteUnavailable):
		site.deliver([a_pass(1)])
	assert site.deliver([a_pass(1)]).new == 1
	site.close()
	other.close()


def test_an_observer_hears_of_new_events_after_the_commit() -> None:
	heard: list[int | None] = []
	site = LocalSite(":memory:", on_commit=lambda events, _: heard.extend(e.serial_no for e in events))
	site.deliver([a_pass(1)])
	site.deliver([a_pass(1), a_pass(2)])
	assert heard == [1, 2]
	site.close()


def test_percentiles_of_few_values() -> None:
	assert percentile([], 0.5) == 0.0
	assert percentile([3.0], 0.99) == 3.0
	assert percentile([float(value) for value in range(100)], 0.99) == 99.0
