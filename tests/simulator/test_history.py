from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from hikvision_frappe.simulator import Faults, SimulatedDevice
from tests.simulator.conftest import Starter
from tests.simulator.support import Wire, fetch

SEARCH = "/ISAPI/AccessControl/AcsEvent?format=json"
COUNT = "/ISAPI/AccessControl/AcsEventTotalNum?format=json"
AT = datetime(2026, 9, 9, 8, 35, tzinfo=timezone.utc)


async def search(device: SimulatedDevice, **condition: Any) -> dict[str, Any]:
	asked = {
		"searchID": "1",
		"searchResultPosition": 0,
		"maxResults": 30,
		"major": 5,
		"minor": 0,
		**condition,
	}
	status, body = await fetch(device, SEARCH, "POST", json.dumps({"AcsEventCond": asked}).encode())
	answer: dict[str, Any] = json.loads(body)
	return answer["AcsEvent"] if status == 200 else {"status": status, **answer}


async def pages(device: SimulatedDevice, **condition: Any) -> list[dict[str, Any]]:
	"""All rows, advancing by the rows received."""
	rows: list[dict[str, Any]] = []
	for _ in range(50):
		answer = await search(device, searchResultPosition=len(rows), **condition)
		rows += answer.get("InfoList", [])
		if answer["responseStatusStrg"] != "MORE":
			return rows
	raise AssertionError("the pages do not end")


def serials(rows: Iterable[dict[str, Any]]) -> list[int]:
	return [row["serialNo"] for row in rows]


@pytest.mark.parametrize(("key", "page"), [("k1a340", 30), ("k2702", 5)])
async def test_a_page_has_as_many_rows_as_the_device_gives(start: Starter, key: str, page: int) -> None:
	device = await start(key)
	device.fill_backlog(32)
	first = await search(device, maxResults=100)
	assert (first["responseStatusStrg"], first["numOfMatches"], first["totalMatches"]) == ("MORE", page, 32)
	assert serials(await pages(device)) == list(range(1, 33))


async def test_nothing_found_has_no_list(start: Starter) -> None:
	answer = await search(await start())
	assert answer == {"searchID": "1", "responseStatusStrg": "NO MATCH", "numOfMatches": 0, "totalMatches": 0}


async def test_the_window_honours_any_offset(start: Starter) -> None:
	device = await start("kv6124")
	device.make_pass("1", at=AT)
	for start_time, end_time, found in [
		("2026-09-09T08:34:54+00:00", "2026-09-09T08:35:04+00:00", 1),
		("2026-09-09T11:34:54+03:00", "2026-09-09T11:35:04+03:00", 1),
		("2026-09-09T11:34:54", "2026-09-09T11:35:04", 1),
		("2026-09-09T09:34:54+00:00", "2026-09-09T09:35:04+00:00", 0),
	]:
		answer = await search(device, startTime=start_time, endTime=end_time)
		assert answer["totalMatches"] == found


async def test_an_intercoms_rows_have_local_times_and_no_serial_number(start: Starter) -> None:
	device = await start("kv6124")
	device.make_pass("1", at=AT)
	device.make_pass("1", at=AT)
	first, second = (await search(device))["InfoList"]
	assert first == second
	assert first["time"] == "2026-09-09 11:35:00"
	assert (first["major"], first["minor"], first["employeeNoString"]) == (5, 75, "1")
	assert "serialNo" not in first


async def test_rows_are_ordered_by_time_not_by_number(start: Starter) -> None:
	device = await start()
	device.make_pass("1", at=AT)
	device.make_pass("1", at=AT - timedelta(hours=1))
	assert serials(await pages(device)) == [2, 1]
	assert serials(await pages(device, timeReverseOrder=True)) == [1, 2]


async def test_codes_persons_and_serials_can_be_asked_for(start: Starter) -> None:
	device = await start()
	device.make_pass("1", with_door_events=True)
	device.make_pass("2", card="77", method="card")
	assert serials(await pages(device, minor=21)) == [2]
	assert serials(await pages(device, employeeNoString="2")) == [4]
	assert serials(await pages(device, cardNo="77")) == [4]
	assert serials(await pages(device, beginSerialNo=2, endSerialNo=3)) == [2, 3]
	assert serials(await pages(device, major=0)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
	("key", "condition", "message"),
	[
		("k1t344", {"beginSerialNo": 3}, "endSerialNo"),
		("k1t344", {"beginSerialNo": 1, "endSerialNo": 4294967295}, "endSerialNo"),
		("k1t341am-old", {"major": 0}, "major"),
		("k1a340", {"minor": "x"}, "minor"),
		("k1a340", {"startTime": "yesterday"}, "startTime"),
		("k1a340", {"startTime": "2026-09-09T08:34:54Z"}, "startTime"),
		("k1a340", {"endTime": "2026-19-09T08:34:54+00:00"}, "endTime"),
		("k1a340", {"searchResultPosition": -1}, "searchResultPosition"),
	],
)
async def test_a_condition_the_device_rejects_names_the_field(
	start: Starter, key: str, condition: dict[str, Any], message: str
) -> None:
	answer = await search(await start(key), **condition)
	assert (answer["status"], answer["subStatusCode"], answer["errorMsg"]) == (400, "badJsonContent", message)


async def test_major_and_minor_and_the_root_are_mandatory(start: Starter) -> None:
	device = await start()
	for body in (b'{"AcsEventCond": {"minor": 0}}', b"{}"):
		status, answer = await fetch(device, SEARCH, "POST", body)
		assert (status, json.loads(answer)["subStatusCode"]) == (400, "MessageParametersLack")
	status, answer = await fetch(device, COUNT, "POST", b'{"AcsEventCond": {"major": 5, "minor": 0}}')
	assert json.loads(answer)["errorMsg"] == "AcsEventTotalNumCond"


async def test_get_is_not_allowed_and_xml_is_no_json(start: Starter) -> None:
	device = await start("k1t341am-old")
	status, body = await fetch(device, SEARCH)
	assert (status, json.loads(body)["subStatusCode"]) == (405, "methodNotAllowed")
	status, body = await fetch(device, SEARCH, "POST", b"<AcsEventCond/>")
	assert json.loads(body)["subStatusCode"] == "badJsonFormat"


async def test_a_recorder_has_no_history(start: Starter) -> None:
	async with Wire(await start("nvr-typeb")) as wire:
		assert (await wire.ask(SEARCH, method="POST"))[0] == 404


async def test_the_total_can_be_asked_for_alone(start: Starter) -> None:
	device = await start()
	device.fill_backlog(7)
	_, body = await fetch(device, COUNT, "POST", b'{"AcsEventTotalNumCond": {"major": 5, "minor": 75}}')
	assert json.loads(body) == {"AcsEventTotalNum": {"totalNum": 7}}


async def test_new_records_do_not_shift_the_pages_of_a_running_search(start: Starter) -> None:
	device = await start("k2702")
	device.fill_backlog(8)
	first = await search(device, timeReverseOrder=True)
	device.make_pass("9")
	second = await search(device, timeReverseOrder=True, searchResultPosition=5)
	assert serials(first["InfoList"] + second["InfoList"]) == [8, 7, 6, 5, 4, 3, 2, 1]


async def test_the_page_cap_may_change_while_a_search_runs(start: Starter) -> None:
	device = await start(faults=Faults(page_caps=(7, 2)))
	device.fill_backlog(40)
	sizes = []
	position = 0
	while position < 40:
		rows = (await search(device, searchResultPosition=position))["InfoList"]
		sizes.append(len(rows))
		position += len(rows)
	assert sizes == [7, 2, 30, 1]


async def test_the_total_may_lie(start: Starter) -> None:
	device = await start(faults=Faults(total_error=-3))
	device.fill_backlog(10)
	assert (await search(device))["totalMatches"] == 7
	assert len(await pages(device)) == 10


async def test_the_limits_of_a_search_are_told(start: Starter) -> None:
	path = "/ISAPI/AccessControl/AcsEvent/capabilities?format=json"
	status, body = await fetch(await start("k2702"), path)
	assert (status, json.loads(body)["AcsEvent"]["AcsEventCond"]["maxResults"]["@max"]) == (200, 5)
