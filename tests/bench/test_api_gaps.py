"""Gaps on the desk: what is told of them, who may accept them, and the notices that go out, once each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import frappe
import pytest

from hikvision_frappe.api import gaps as api
from hikvision_frappe.core.gaps import GapReason
from hikvision_frappe.hikvision_frappe.report.access_event_gaps.access_event_gaps import execute
from tests.bench.factories import create_test_device, create_test_fetch, create_test_gap
from tests.bench.users import create_test_user

LOST = {"state": "Unrecoverable", "reason": GapReason.NO_HISTORY.value}
RANGE = {"first_serial": 101, "last_serial": 117, "expected": 17, "found": 12, "missing": 5, "epoch": 1}
NOTICES = ("Device Not Heard", "Device Heard Again", "Passes Missing for Good")


@pytest.fixture
def device() -> Any:
	return create_test_device("Main Door")


def state_of(gap: Any) -> str:
	return frappe.db.get_value("Access Event Gap", gap.name, "state")


# In words


@pytest.mark.parametrize(
	("minutes", "values", "words"),
	[
		(None, {}, "Main Door is not heard since 02-03-2026 08:00"),
		(None, {"cause": "Not Read"}, "Main Door could not be read since 02-03-2026 08:00"),
		(30, {"cause": "Not Read"}, "Main Door could not be read for certain from"),
		(30, {}, "The connection to Main Door was lost from 02-03-2026 08:00"),
		(30, {"cause": "Silence"}, "Main Door was silent from"),
		(30, {"cause": "Reboot"}, "Main Door restarted; it was not heard from"),
		(30, {"cause": "Listener Start"}, "No listener heard Main Door from"),
		(30, {"cause": "Serial Jump", **RANGE}, "Main Door passed over the records 101 to 117, between"),
		(30, {"cause": "Serial Jump"}, "The count of Main Door began anew between"),
	],
)
def test_a_gap_tells_what_happened(device: Any, minutes: int | None, values: dict, words: str) -> None:
	gap = create_test_gap(device.name, minutes, **values)
	assert api.describe(gap.name)["story"].replace(":00:00", ":00").startswith(words)


@pytest.mark.parametrize(
	("values", "words"),
	[
		(RANGE, "12 of 17 records arrived."),
		({}, "How many records are missing is not known yet."),
		(
			{"state": "Recovered", "reason": GapReason.NOTHING_MISSED.value},
			"There was nothing to miss.",
		),
		(
			{"state": "Recovered", "reason": GapReason.PROVEN_BY_HISTORY.value, "found": 3},
			"3 records were found.",
		),
	],
)
def test_it_counts_what_is_missing(device: Any, values: dict, words: str) -> None:
	assert api.describe(create_test_gap(device.name, **values).name)["count"] == words


def test_only_a_gap_that_waits_for_somebody_says_what_to_do(device: Any) -> None:
	assert (
		"enter their check-ins by hand" in api.describe(create_test_gap(device.name, **LOST).name)["advice"]
	)
	assert "power, network and login" in api.describe(create_test_gap(device.name, None).name)["advice"]
	assert api.describe(create_test_gap(device.name, state="Recovered").name)["advice"] == ""


# Accepting


def test_an_accepted_gap_says_who_did_it_and_why(device: Any) -> None:
	gap = create_test_gap(device.name, **LOST)
	user = create_test_user("HR Manager")
	frappe.set_user(user)
	assert api.accept([gap.name], " Asked the shift: nobody passed. ") == 1
	gap.reload()
	assert (gap.state, gap.accepted_by) == ("Accepted", user)
	assert gap.remark == "Asked the shift: nobody passed."
	assert gap.accepted_at
	frappe.set_user("Administrator")
	comments = frappe.get_all("Comment", {"reference_name": gap.name}, pluck="content")
	assert any("Asked the shift" in each for each in comments)


def test_many_are_accepted_at_once_and_those_that_are_over_are_left_alone(device: Any) -> None:
	lost = [create_test_gap(device.name, **LOST), create_test_gap(device.name)]
	over = create_test_gap(device.name, state="Recovered")
	names = [each.name for each in (*lost, over)]
	assert api.accept(frappe.as_json(names), "Known") == 2
	assert state_of(over) == "Recovered"
	assert api.accept(names, "Again") == 0


def test_a_gap_that_goes_on_can_be_accepted_too(device: Any) -> None:
	gap = create_test_gap(device.name, None)
	assert api.accept([gap.name], "The gate is out of use")
	assert state_of(gap) == "Accepted"


@pytest.mark.parametrize("remark", ["", "   "])
def test_a_remark_is_needed(device: Any, remark: str) -> None:
	gap = create_test_gap(device.name, **LOST)
	with pytest.raises(frappe.MandatoryError):
		api.accept([gap.name], remark)
	assert state_of(gap) == "Unrecoverable"


@pytest.mark.parametrize("names", [[], ["x"] * 501, "{}"])
def test_how_many_are_accepted_at_once_is_bounded(names: Any) -> None:
	with pytest.raises(frappe.ValidationError):
		api.accept(names, "Known")


@pytest.mark.parametrize("role", ["HR User", "Hikvision User"])
def test_who_may_only_look_cannot_accept_or_fetch(device: Any, role: str) -> None:
	gap = create_test_gap(device.name, **LOST)
	frappe.set_user(create_test_user(role))
	assert api.describe(gap.name)["actions"] == []
	for act in (lambda: api.accept([gap.name], "Known"), lambda: api.fetch_again(gap.name)):
		with pytest.raises(frappe.PermissionError):
			act()
	with pytest.raises(frappe.PermissionError):
		frappe.get_doc("Access Event Gap", gap.name).save()


# Fetching again


def test_a_gap_is_fetched_again_by_its_time(device: Any) -> None:
	gap = create_test_gap(device.name)
	fetch = frappe.get_doc("Hikvision History Fetch", api.fetch_again(gap.name))
	assert (fetch.device, fetch.gap, fetch.purpose, fetch.state) == (device.name, gap.name, "Gap", "Queued")
	assert (fetch.since_utc, fetch.until_utc) == (datetime(2026, 3, 2, 7), datetime(2026, 3, 2, 7, 30))
	assert (fetch.since, fetch.until) == (gap.since, gap.until)
	assert not fetch.first_serial
	assert fetch.asked_by == "Administrator"
	assert api.fetch_again(gap.name) == fetch.name  # it is under way


def test_or_by_its_numbers_where_they_are_known(device: Any) -> None:
	gap = create_test_gap(device.name, **RANGE)
	fetch = frappe.get_doc("Hikvision History Fetch", api.fetch_again(gap.name))
	assert (fetch.first_serial, fetch.last_serial) == (101, 117)
	old = create_test_gap(device.name, **{**RANGE, "epoch": 7})
	assert not frappe.get_doc("Hikvision History Fetch", api.fetch_again(old.name)).first_serial


@pytest.mark.parametrize(
	("values", "words"),
	[
		({"enabled": 0}, "switched off"),
		({"history": 0}, "tick Fill Gaps from Its History"),
		({"history_supported": "No"}, "no history that can be read"),
		({"host": "", "mode": "Push"}, "address and login are needed"),
	],
)
def test_it_says_why_a_history_cannot_be_read(device: Any, values: dict, words: str) -> None:
	frappe.db.set_value("Hikvision Device", device.name, values)
	gap = create_test_gap(device.name)
	told = api.describe(gap.name)
	assert words in told["obstacle"] and told["actions"] == ["accept"]
	with pytest.raises(frappe.ValidationError, match=words):
		api.fetch_again(gap.name)


def test_a_gap_that_is_over_is_not_fetched_again(device: Any) -> None:
	gap = create_test_gap(device.name, state="Accepted")
	with pytest.raises(frappe.ValidationError):
		api.fetch_again(gap.name)


# On the device and in the report


def test_the_device_shows_its_open_gaps_and_what_is_read(device: Any) -> None:
	for number in range(12):
		create_test_gap(device.name, since=datetime(2026, 3, 2, 8) + timedelta(hours=number))
	create_test_gap(device.name, state="Recovered")
	create_test_gap(create_test_device().name)
	create_test_fetch(device.name, state="Complete")
	running = create_test_fetch(device.name, state="Running", rows=30, total=120)
	told = api.of_device(device.name)
	assert (told["open"], len(told["gaps"])) == (12, 10)
	assert told["gaps"][0]["since"] == datetime(2026, 3, 2, 19)
	assert told["gaps"][0]["story"] and told["gaps"][0]["advice"]
	assert told["fetch"]["name"] == running.name
	assert (told["fetch"]["percent"], told["fetch"]["under_way"]) == (25, True)
	assert told["may_fetch"] and told["obstacle"] == ""


def test_the_report_lists_gaps_of_a_period_with_what_became_of_them(device: Any) -> None:
	old = create_test_gap(device.name, since=datetime(2026, 1, 5), state="Recovered")
	lost = create_test_gap(device.name, **LOST, **RANGE)
	api.accept([create_test_gap(device.name).name], "Nobody was there")
	on = create_test_gap(create_test_device("Gate").name, None, since=datetime(2026, 2, 1))
	columns, rows, message, _chart, summary = execute({"from_date": "2026-03-01", "to_date": "2026-03-31"})
	assert message is None and len(columns) > 10
	assert {row["name"] for row in rows} >= {lost.name, on.name}
	assert old.name not in {row["name"] for row in rows}
	assert {row["title"] for row in rows} == {"Main Door", "Gate"}
	accepted = next(row for row in rows if row["state"] == "Accepted")
	assert (accepted["remark"], accepted["accepted_by"]) == ("Nobody was there", "Administrator")
	assert next(row for row in rows if row["name"] == lost.name)["length"] == 1800
	assert {each["label"]: each["value"] for each in summary} == {
		"Open": 1,
		"Unrecoverable": 1,
		"Records Missing for Good": 5,
		"Accepted": 1,
		"Recovered": 0,
	}


@pytest.mark.parametrize(
	("filters", "count"),
	[
		({}, 3),
		({"state": "Unresolved"}, 2),
		({"state": "Recovered"}, 1),
		({"cause": "Silence"}, 1),
		({"to_date": "2026-03-01"}, 0),
	],
)
def test_the_report_can_be_narrowed(device: Any, filters: dict, count: int) -> None:
	create_test_gap(device.name, **LOST)
	create_test_gap(device.name, None)
	create_test_gap(device.name, state="Recovered")
	assert len(execute(filters)[1]) == count
	assert len(execute({**filters, "device": create_test_device().name})[1]) == 0


def test_hr_reads_the_report_and_the_gaps(device: Any) -> None:
	create_test_gap(device.name)
	frappe.set_user(create_test_user("HR User"))
	assert len(execute({})[1]) == 1


# Notices


@pytest.fixture
def manager() -> Iterator[str]:
	"""Somebody with both roles that are told."""
	user = create_test_user("HR Manager", "Hikvision Manager")
	frappe.db.delete("Notification Log", {"for_user": user})
	yield user


def notices(user: str) -> list[str]:
	return frappe.get_all(
		"Notification Log", {"for_user": user}, pluck="subject", order_by="creation asc, name asc"
	)


def test_an_outage_is_told_once_and_its_end_once(device: Any, manager: str) -> None:
	gap = create_test_gap(device.name, None)
	assert len(notices(manager)) == 1 and notices(manager)[0].startswith("Main Door is not heard since")
	gap = frappe.get_doc("Access Event Gap", gap.name)
	gap.since += timedelta(minutes=1)  # it turned out to be heard a little longer
	gap.save()
	assert len(notices(manager)) == 1
	gap = frappe.get_doc("Access Event Gap", gap.name)
	gap.update({"until": gap.since + timedelta(hours=1), "reason": GapReason.AWAITING_RECORD.value})
	gap.save()
	assert notices(manager)[1:] == ["Main Door is heard again"]
	gap = frappe.get_doc("Access Event Gap", gap.name)
	gap.update({"state": "Recovered", "until": gap.until + timedelta(minutes=1)})
	gap.save()
	assert len(notices(manager)) == 2


def test_a_short_break_and_a_jump_are_told_to_nobody(device: Any, manager: str) -> None:
	create_test_gap(device.name)
	create_test_gap(device.name, cause="Serial Jump", **RANGE)
	assert notices(manager) == []


def test_passes_that_are_lost_are_told_once(device: Any, manager: str) -> None:
	gap = create_test_gap(device.name, **RANGE)
	for values in (LOST, {"found": 13, "missing": 4}):
		gap = frappe.get_doc("Access Event Gap", gap.name)
		gap.update(values)
		gap.save()
	assert notices(manager) == ["Passes at Main Door may be missing for good"]
	content = frappe.get_all("Notification Log", {"for_user": manager}, pluck="email_content")[0]
	assert "5 of 17 records are missing" in content and "the device has no history to read" in content


def test_accepting_an_outage_is_no_sign_of_life(device: Any, manager: str) -> None:
	gap = create_test_gap(device.name, None)
	frappe.set_user(manager)
	api.accept([gap.name], "Out of use")
	assert len(notices(manager)) == 1


def test_the_notices_can_be_edited_in_the_desk() -> None:
	for name in NOTICES:
		notice = frappe.get_doc("Notification", name)
		assert {row.receiver_by_role for row in notice.recipients} == {"HR Manager", "Hikvision Manager"}
		notice.subject = f"{notice.subject}!"
		notice.append("recipients", {"receiver_by_role": "System Manager"})
		notice.save()
	frappe.db.rollback()
	frappe.clear_cache(doctype="Access Event Gap")
