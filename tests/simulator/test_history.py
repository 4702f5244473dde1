from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from hikvision_frappe.simulator import PROFILES, Faults, Profile, SimulatedDevice
from hikvision_frappe.simulator.profile import SerialFilter, Storing, Unsupported, WindowOffset
from tests.simulator.conftest import Starter
from tests.simulator.support import Wire, fetch

SEARCH = "/ISAPI/AccessControl/AcsEvent?format=json"
STORAGE = "/ISAPI/AccessControl/AcsEvent/StorageCfg?format=json"
COUNT = "/ISAPI/AccessControl/AcsEventTotalNum?format=json"
AT = datetime(2026, 9, 9, 8, 35, tzinfo=timezone.utc)


def history(key: str = "k1a340", **changes: Any) -> Profile:
	"""A profile whose history is another in some ways."""
	kind = PROFILES[key]
	return replace(kind, history=replace(kind.history, **changes))


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


async def test_a_search_reaches_so_many_rows_and_no_more(start: Starter) -> None:
	device = await start(history(positions=4))
	device.fill_backlog(6)
	answer = await search(device)
	assert (answer["totalMatches"], len(answer["InfoList"])) == (4, 4)
	_, body = await fetch(device, COUNT, "POST", b'{"AcsEventTotalNumCond": {"major": 5, "minor": 0}}')
	assert json.loads(body) == {"AcsEventTotalNum": {"totalNum": 4}}


async def test_a_full_log_forgets_its_oldest_records_but_the_truth_does_not(start: Starter) -> None:
	device = await start("kv6124")
	device.fill_backlog(1003)
	assert (await search(device))["totalMatches"] == 1000
	assert len(device.log) == 1003


@pytest.mark.parametrize(
	("windows", "offset", "found"),
	[
		(WindowOffset.HONOURED, "+00:00", 0),
		(WindowOffset.IGNORED, "+00:00", 1),
		(WindowOffset.OWN_ONLY, "+00:00", 0),
		(WindowOffset.OWN_ONLY, "+03:00", 1),
	],
)
async def test_offsets_mean_different_things_to_devices(
	start: Starter, windows: WindowOffset, offset: str, found: int
) -> None:
	device = await start(history(windows=windows), zone="Asia/Riyadh")
	device.make_pass("1", at=AT)
	answer = await search(
		device, startTime=f"2026-09-09T11:34:00{offset}", endTime=f"2026-09-09T11:36:00{offset}"
	)
	assert answer["totalMatches"] == found


async def test_a_device_in_the_factorys_zone_takes_its_offset_for_wall_time(start: Starter) -> None:
	device = await start("k1t323-push")
	device.make_pass("1", at=AT)
	answer = await search(device, startTime="2026-09-09T11:34:00+08:00", endTime="2026-09-09T11:36:00+08:00")
	assert [row["time"] for row in answer["InfoList"]] == ["2026-09-09T11:35:00+08:00"]


@pytest.mark.parametrize(
	("serials_are", "status", "total"),
	[(SerialFilter.HONOURED, None, 1), (SerialFilter.IGNORED, None, 3), (SerialFilter.REFUSED, 400, None)],
)
async def test_serial_numbers_mean_different_things_to_devices(
	start: Starter, serials_are: SerialFilter, status: int | None, total: int | None
) -> None:
	device = await start(history(serials=serials_are))
	device.fill_backlog(3)
	answer = await search(device, beginSerialNo=2, endSerialNo=2)
	assert (answer.get("status"), answer.get("totalMatches")) == (status, total)


async def test_a_minor_code_or_a_major_may_be_required(start: Starter) -> None:
	device = await start(history(minor_zero=False, majors=frozenset({5})))
	assert (await search(device))["subStatusCode"] == "invalidOperation"
	assert (await search(device, minor=75))["totalMatches"] == 0
	assert (await search(device, major=2, minor=39))["errorMsg"] == "major"


async def test_a_position_behind_the_end_may_be_rejected(start: Starter) -> None:
	device = await start(history(past_end_rejected=True))
	device.fill_backlog(3)
	assert (await search(device, searchResultPosition=3))["subStatusCode"] == "badParameters"


async def test_a_single_row_may_be_no_list_and_totals_may_be_left_out(start: Starter) -> None:
	device = await start(history(single_object=True, totals=False, no_match="NOMATCH"))
	assert (await search(device))["responseStatusStrg"] == "NOMATCH"
	device.fill_backlog(1)
	answer = await search(device)
	assert answer["InfoList"]["serialNo"] == 1
	assert "totalMatches" not in answer


async def test_rows_may_move_under_a_search(start: Starter) -> None:
	device = await start(replace(history(page=2, snapshot=False), log_capacity=4))
	device.fill_backlog(4)
	first = await search(device)
	device.make_pass("9")
	assert serials(first["InfoList"]) == [1, 2]
	assert serials((await search(device, searchResultPosition=2))["InfoList"]) == [4, 5]


async def test_a_page_may_come_again_or_without_end(start: Starter) -> None:
	device = await start(history(page=2), faults=Faults(repeated_pages=1))
	device.fill_backlog(3)
	assert serials((await search(device))["InfoList"]) == [1, 2]
	assert serials((await search(device, searchResultPosition=2))["InfoList"]) == [1, 2]
	assert serials((await search(device, searchResultPosition=2))["InfoList"]) == [3]
	device.faults.endless = True
	answer = await search(device, searchResultPosition=3)
	assert (serials(answer["InfoList"]), answer["responseStatusStrg"]) == ([3], "MORE")


async def test_one_of_the_two_totals_may_lie(start: Starter) -> None:
	device = await start(faults=Faults(matches_error=2, count_error=-1))
	device.fill_backlog(5)
	assert (await search(device))["totalMatches"] == 7
	_, body = await fetch(device, COUNT, "POST", b'{"AcsEventTotalNumCond": {"major": 5, "minor": 0}}')
	assert json.loads(body) == {"AcsEventTotalNum": {"totalNum": 4}}


async def test_a_search_may_take_too_long_and_a_row_may_be_broken(start: Starter) -> None:
	device = await start(faults=Faults(busy_searches=1, broken_rows=1))
	device.fill_backlog(2)
	answer = await search(device)
	assert (answer["status"], answer["subStatusCode"]) == (503, "searchTimeout")
	first, second = (await search(device))["InfoList"]
	assert (first, second["serialNo"]) == ("?", 2)


async def test_the_connection_may_break_in_the_middle_of_a_page(start: Starter) -> None:
	device = await start(faults=Faults(cut_answers=1))
	device.fill_backlog(2)
	with pytest.raises(asyncio.IncompleteReadError):
		await search(device)
	assert len((await search(device))["InfoList"]) == 2


@pytest.mark.parametrize(
	("storing", "status", "settings"),
	[
		(Storing(), 200, {"mode": "cycle"}),
		(Storing("regular", 60), 200, {"mode": "regular", "period": 60}),
		(None, 404, None),
	],
)
async def test_how_records_are_kept_can_be_asked(
	start: Starter, storing: Storing | None, status: int, settings: dict[str, Any] | None
) -> None:
	device = await start(history(storing=storing))
	async with Wire(device) as wire:
		assert (await wire.ask(STORAGE))[0] == (401 if settings else 404)
	if settings:
		answered, body = await fetch(device, STORAGE)
		assert (answered, json.loads(body)) == (status, {"EventStorageCfg": settings})


@pytest.mark.parametrize("how", [Unsupported.OK_200, Unsupported.FORBIDDEN, Unsupported.METHOD_NOT_ALLOWED])
async def test_a_history_may_be_refused_to_every_method(start: Starter, how: Unsupported) -> None:
	device = await start(history(supported=False, unsupported=how))
	for method in ("GET", "POST"):
		_, body = await fetch(device, SEARCH, method, b"{}")
		assert json.loads(body)["subStatusCode"] in ("notSupport", "methodNotAllowed")


async def test_counts_and_limits_may_be_missing(start: Starter) -> None:
	device = await start(history(counts=False, capabilities=False))
	for path, method in ((COUNT, "POST"), ("/ISAPI/AccessControl/AcsEvent/capabilities?format=json", "GET")):
		async with Wire(device) as wire:
			assert (await wire.ask(path, method=method))[0] == 404
