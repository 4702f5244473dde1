"""What people see in the desk: every screen says what is wrong and what to do next, and nothing on it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import frappe
import pytest
from frappe.utils import now_datetime
from playwright.sync_api import expect

from hikvision_frappe.attendance.drain import drain
from hikvision_frappe.core.event import EventKind
from hikvision_frappe.ledger.listeners import forget_listener, remember_listener
from hikvision_frappe.ledger.site import state_values
from hikvision_frappe.listener.site import ConnectionState, DeviceReport, ListenerReport
from hikvision_frappe.simulator import PROFILES, SimulatedDevice
from tests.bench.desk import Desk, Screen
from tests.bench.factories import (
	create_test_device,
	create_test_employee,
	create_test_fetch,
	create_test_gap,
	create_test_shift,
)
from tests.bench.passes import ENTRY, checkins, passes, row
from tests.bench.processes import Terminals, register_terminal

MORNING, NOON, EVENING = "2026-03-02 07:00:00", "2026-03-02 11:00:00", "2026-03-02 16:00:00"
REFUSED = 'The device refused user "admin". Enter the terminal\'s own password; 3/5 tries are left.'
LISTENER = "screens"


@pytest.fixture(scope="module")
def opened_desks(desk_of: Callable[..., Desk]) -> tuple[Desk, Desk]:
	"""The desks of one who runs devices and attendance, and of one who may only look."""
	return desk_of("Hikvision Manager", "HR Manager", "HR User"), desk_of("Hikvision User")


@pytest.fixture
def screen(opened_desks: tuple[Desk, Desk]) -> Iterator[Screen]:
	with opened_desks[0].screen() as opened:
		yield opened


@pytest.fixture
def onlooker(opened_desks: tuple[Desk, Desk]) -> Iterator[Screen]:
	with opened_desks[1].screen() as opened:
		yield opened


@pytest.fixture
def listener() -> Iterator[None]:
	"""A listener of this site lives."""
	remember_listener(
		ListenerReport(LISTENER, datetime.now(timezone.utc), push_address="http://0.0.0.0:8090")
	)
	yield
	forget_listener(LISTENER)


def reported(device: Any, state: ConnectionState, **values: Any) -> None:
	"""Let a listener have said this of a device."""
	now = datetime.now(timezone.utc)
	report = DeviceReport(device.name, state, now - timedelta(minutes=5), **values)
	zone = ZoneInfo(frappe.utils.get_system_timezone())
	frappe.db.set_value("Hikvision Device", device.name, state_values(report, zone), update_modified=False)
	frappe.db.commit()


def connected(device: Any) -> None:
	now = datetime.now(timezone.utc)
	reported(
		device,
		ConnectionState.CONNECTED,
		connected_since=now - timedelta(minutes=5),
		last_heartbeat=now - timedelta(seconds=8),
		last_event=now - timedelta(seconds=20),
		clock_offset=0.4,
		reconnects=2,
	)


def stopped(device: Any) -> None:
	reported(device, ConnectionState.STOPPED, error=REFUSED)


# Devices


def test_without_a_device_the_list_says_what_to_do(screen: Screen) -> None:
	screen.open("hikvision-device/view/list")
	screen.see("No device yet.", "No listener runs")
	screen.keep("device-list-empty")


def test_a_new_device_asks_for_what_is_needed_and_says_what_comes_next(screen: Screen) -> None:
	screen.open("hikvision-device/new")
	screen.see("Save, then press Test connection", "Events Arrive By", "Host", "Password", "Time Zone")
	expect(screen.page.locator("[data-fieldname=time_zone] input")).to_have_value("Europe/Stockholm")
	screen.keep("device-form-new")


def test_the_list_tells_the_state_of_every_device(screen: Screen, listener: None) -> None:
	connected(create_test_device("Main Door"))
	stopped(create_test_device("Back Door"))
	create_test_device("Garage", mode="Push", host="", user="", password="")
	create_test_device("Old Gate", enabled=0)
	create_test_device("Roof", tls_mode="HTTPS, unverified")
	screen.open("hikvision-device/view/list")
	screen.see("Main Door", "Connected", "Back Door", "Stopped", "Garage", "Push", "Old Gate", "Switched off")
	screen.see("Roof", "unverified TLS", "Waiting", REFUSED)
	screen.do_not_see("No listener runs")
	screen.keep("device-list")


def test_a_healthy_device_shows_since_when_it_is_connected(screen: Screen, listener: None) -> None:
	device = create_test_device("Main Door", doors=[{"door_no": 1, "direction": "In", "label": "Entrance"}])
	connected(device)
	screen.open(f"hikvision-device/{device.name}")
	screen.see("Main Door", "Connected", "Test connection")
	screen.do_not_see("No listener runs")
	screen.keep("device-form-connected")
	screen.page.get_by_role("tab", name="Status").click()
	screen.see("Connected Since", "Last Heartbeat", "Last Event", "Clock Offset")
	screen.keep("device-form-connected-status")


def test_a_stopped_device_says_why_and_what_to_do(screen: Screen) -> None:
	device = create_test_device("Back Door")
	stopped(device)
	screen.open(f"hikvision-device/{device.name}")
	screen.see("Stopped", REFUSED, "No listener runs for this site")
	screen.keep("device-form-stopped")


def test_a_pushing_device_shows_the_urls_to_type_in(screen: Screen, listener: None) -> None:
	device = create_test_device("Garage", mode="Push", host="", user="", password="")
	screen.open(f"hikvision-device/{device.name}")
	screen.page.get_by_role("tab", name="Push").click()
	screen.see("Type this URL into the terminal", "Copy", f"/hikvision/event/{device.push_key}.")
	screen.see("The URL holds the device's secret")
	screen.do_not_see("No listener runs")
	screen.keep("device-form-push")


def test_the_connection_test_tells_what_works_and_what_does_not(screen: Screen, listener: None) -> None:
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as terminals:
		device = register_terminal(terminals.devices[0], title="Main Door")
		screen.open(f"hikvision-device/{device.name}")
		screen.press("Test connection")
		screen.see("The terminal answers", "Login", "Identity", "Clock")
		screen.dialog()
		screen.keep("test-connection-good")
		screen.press("Close")
		expect(screen.page.locator(".modal.show")).to_have_count(0)

		frappe.db.rollback()
		device.reload()
		assert device.serial_number == terminals.devices[0].serial_number
		device.password = "wrong-one"
		device.save()
		frappe.db.commit()
		screen.open(f"hikvision-device/{device.name}")
		screen.press("Test connection")
		screen.see("The connection does not work yet", "Login")
		assert "4" in screen.dialog().inner_text()
		screen.keep("test-connection-wrong-password")
		screen.press("Close")


# Events


def test_the_ledger_says_what_became_of_each_event(screen: Screen) -> None:
	events = one_of_each()
	screen.open("access-event/view/list")
	screen.see("Unmatched", "Double Read", "Failed", "Check-in Made", "Denied", "Door Event", "Ana Novak")
	for name in events.values():
		screen.do_not_see(name)
	screen.keep("event-list")


def test_an_event_form_says_what_to_do_next_and_says_it_once(screen: Screen) -> None:
	events = one_of_each()
	told = {
		"Unmatched": (
			"No employee has the person number 88",
			"Say whose number it is, and all",
		),
		"Double Read": ("Read again within 60 seconds", "Count it if it was a pass of its own."),
		"Failed": ("The shift needs IN or OUT.", "It will be tried again by itself."),
		"Check-in Made": ("An Employee Checkin was made of this pass.", "Open Check-in"),
		"Denied": ("The door stayed shut: this is no pass.",),
	}
	screen.open("access-event/view/list")
	screen.see("Unmatched")
	for state, words in told.items():
		screen.go(f"access-event/{events[state]}")
		screen.see(*words)
		for text in words:
			expect(screen.page.get_by_text(text).locator("visible=true")).to_have_count(1)
		screen.keep("event-form-" + state.lower().replace(" ", "-"))


def test_a_pass_that_was_left_aside_is_counted_from_its_form(seconds_shown: None, screen: Screen) -> None:
	double = one_of_each()["Double Read"]
	screen.open(f"access-event/{double}")
	screen.press("Actions")
	screen.page.locator(".dropdown-item:visible", has_text="Count Anyway").click()
	dialog = screen.dialog()
	screen.see("Make the check-in of this pass", "as the device told it")
	screen.keep("count-anyway")
	dialog.locator("[data-fieldname=log_type] select").select_option("OUT")
	dialog.locator("[data-fieldname=reason] textarea").fill("Left for the doctor")
	screen.press("Make Check-in")
	screen.see("An Employee Checkin was made of this pass.", "Left for the doctor")
	screen.keep("event-form-counted")
	assert row(double).state == "Check-in Made"


def one_of_each() -> dict[str, str]:
	"""Events in many states, as intake and the drain make them; event names by state."""
	device = create_test_device("Main Door", doors=ENTRY).name
	create_test_employee("1001", employee_name="Ana Novak")
	made, double = passes(device, "1001", MORNING, "2026-03-02 07:00:20", person_name="Ana Novak")
	(unmatched,) = passes(device, "88", NOON, person_name="")
	(failed,) = passes(device, "1001", EVENING, person_name="Ana Novak")
	frappe.db.set_value("Access Event", failed, "state", "Failed")  # out of the drain's reach
	frappe.db.commit()
	(denied,) = passes(device, "", "2026-03-02 12:00:00", kind=EventKind.DENIAL, minor=9, person_name="")
	(door,) = passes(device, "", "2026-03-02 12:00:05", kind=EventKind.DOOR, minor=21, person_name="")
	frappe.db.commit()
	drain()
	error = {
		"state_reason": "The shift needs IN or OUT. Set the direction of the doors of Main Door.",
		"attempts": 1,
		"next_attempt_at": "2036-03-02 16:00:30",
	}
	frappe.db.set_value("Access Event", failed, error)
	frappe.db.commit()
	return {
		"Check-in Made": made,
		"Double Read": double,
		"Unmatched": unmatched,
		"Failed": failed,
		"Denied": denied,
		"Door Event": door,
	}


# People


def test_nobody_unmatched_is_good_news(screen: Screen) -> None:
	screen.open("access-person/view/list")
	screen.see("Every number at the doors belongs to somebody.")
	screen.keep("person-list-empty")


def test_a_number_is_mapped_from_the_list_and_its_passes_count(screen: Screen) -> None:
	device = create_test_device("Main Door", doors=ENTRY).name
	employee = create_test_employee(employee_name="Ana Novak")
	events = passes(device, "88", MORNING, NOON, person_name="Ana Novak")
	passes(device, "89", NOON, person_name="")
	drain()
	screen.open("access-person/view/list")
	screen.see("Ana Novak · 88", "89", "Unmatched", "02-03-2026 12:00")
	screen.keep("person-list")

	line = screen.page.locator(".list-row-container", has_text="Ana Novak")
	line.get_by_role("button", name="Map", exact=True).click()
	screen.dialog()
	screen.see("Whose number is 88?", "This number is theirs")
	screen.choose("employee", employee)
	screen.keep("map-dialog")
	screen.press("Map and Count What Waits")
	expect(line).to_have_count(0)
	screen.keep("person-list-mapped")

	drain()
	assert {row(event).state for event in events} == {"Check-in Made"}
	assert {made.employee for made in checkins()} == {employee}


def test_a_person_form_says_where_the_number_was_seen(screen: Screen) -> None:
	device = create_test_device("Main Door", doors=ENTRY).name
	create_test_employee(employee_name="Ana Novak")
	passes(device, "88", MORNING, NOON, person_name="Ana Novak")
	drain()
	frappe.db.rollback()
	person = frappe.db.get_value("Access Person", {"person_code": "88"})
	screen.open(f"access-person/{person}")
	screen.see("Nobody is known by number 88. Passes that wait for an answer: 2.", "Has the same name.")
	screen.see("Seen At", "Main Door", "Map to Employee")
	screen.keep("person-form")


# Settings and workspace


def test_the_settings_say_what_each_does(screen: Screen) -> None:
	screen.open("hikvision-settings")
	screen.see("Debounce (seconds)", "Keep Person Names from Devices", "Address of the Listener's Push Port")
	screen.see("Log Settings")
	screen.keep("settings")


def test_the_workspace_counts_what_waits_for_a_person(screen: Screen) -> None:
	one_of_each()
	stopped(create_test_device("Back Door"))
	screen.open("hikvision")
	screen.see("Devices Connected", "Devices in Need of a Person", "Unmatched People", "Events Waiting")
	screen.see("Access Person", "Employee Checkin", "Hikvision Settings")
	screen.see("Open Gaps", "Shifts That Wait", "Shift Completeness", "Access Event Gaps", "Late Passes")
	screen.keep("workspace")


# Rights and looks


def test_who_may_only_look_is_offered_nothing_that_would_be_refused(onlooker: Screen, listener: None) -> None:
	events = one_of_each()
	device = frappe.get_all("Hikvision Device", pluck="name")[0]
	frappe.db.rollback()
	person = frappe.db.get_value("Access Person", {"person_code": "88"})
	forbidden = {
		"Map",
		"Test connection",
		"Renew notification URL",
		"Judge Again",
		"Set Aside",
		"Count Anyway",
		"Map to Employee",
		"Map to Employees",
		"Say Whose Number It Is",
		"Open Check-in",
	}
	places = {
		"hikvision": "Unmatched People",
		"hikvision-device/view/list": "Main Door",
		f"hikvision-device/{device}": "Events Arrive By",
		"access-event/view/list": "Double Read",
		f"access-event/{events['Double Read']}": "Read again within 60 seconds",
		f"access-event/{events['Unmatched']}": "No employee has the person number 88",
		"access-person/view/list": "88",
		f"access-person/{person}": "Nobody is known by number 88",
		"hikvision-settings": "Debounce (seconds)",
	}
	for number, (path, words) in enumerate(places.items()):
		onlooker.open(path) if number == 0 else onlooker.go(path)
		onlooker.see(words)
		onlooker.wait_until_quiet()
		assert not onlooker.buttons() & forbidden, path
		onlooker.keep(f"onlooker-{number}")


def test_everything_can_be_read_in_the_dark(screen: Screen, listener: None) -> None:
	with Terminals(SimulatedDevice(PROFILES["k1t344"])) as terminals:
		device = register_terminal(terminals.devices[0], title="Main Door", tls_mode="HTTP")
		stopped(device)
		screen.open(f"hikvision-device/{device.name}")
		screen.see(REFUSED)
		screen.darken()
		screen.keep("dark-device-form")
		screen.press("Test connection")
		screen.see("The terminal answers")
		screen.dialog()
		screen.keep("dark-test-connection")
		screen.press("Close")


# Completeness: gaps, readings of history, shifts


LOST = {"state": "Unrecoverable", "reason": "the device has no history to read"}
RANGE = {"first_serial": 101, "last_serial": 117, "expected": 17, "found": 12, "missing": 5, "epoch": 1}


def some_gaps() -> dict[str, Any]:
	"""One of each kind, by a short name."""
	door, gate = create_test_device("Main Door"), create_test_device("Gate")
	return {
		"on": create_test_gap(gate.name, None, since=now_datetime() - timedelta(hours=2)),
		"lost": create_test_gap(door.name, cause="Serial Jump", **LOST, **RANGE),
		"open": create_test_gap(door.name, since=datetime(2026, 3, 2, 10)),
		"filling": create_test_gap(
			door.name, since=datetime(2026, 3, 2, 12), state="Filling", reason="the device's history will be read"
		),
		"recovered": create_test_gap(
			door.name, since=datetime(2026, 3, 1, 8), state="Recovered", reason="all missing records arrived",
			**{**RANGE, "found": 17, "missing": 0},
		),
		"accepted": create_test_gap(
			door.name, since=datetime(2026, 2, 1, 8), state="Accepted", accepted_by="Administrator",
			accepted_at=datetime(2026, 2, 2, 9), remark="Asked the guards: nobody passed.",
		),
	}  # fmt: skip


def test_without_a_gap_the_lists_say_so(screen: Screen) -> None:
	screen.open("access-event-gap/view/list")
	screen.see("No gap: nothing is known to be missing.")
	screen.keep("gap-list-empty")
	screen.go("hikvision-history-fetch/view/list")
	screen.see("No history was read yet.")
	screen.keep("fetch-list-empty")


def test_the_list_of_gaps_tells_what_waits_for_whom(screen: Screen) -> None:
	gaps = some_gaps()
	screen.open("access-event-gap/view/list")
	screen.see(
		"Main Door",
		"Gate",
		"Unrecoverable",
		"Filling",
		"Recovered",
		"Accepted",
		"goes on",
		"5 of 17",
		"0 of 17",
	)
	for gap in gaps.values():
		screen.do_not_see(gap.name)
	screen.keep("gap-list")
	screen.darken()
	screen.keep("gap-list-dark")


def show(screen: Screen, label: str) -> None:
	"""Choose from a list's menu of filters."""
	screen.wait_until_quiet()
	screen.press("Show")
	screen.page.locator(".dropdown-item:visible", has_text=label).click()


def test_the_lists_show_what_is_chosen_from_their_menus(screen: Screen) -> None:
	some_gaps()
	screen.open("access-event-gap/view/list")
	screen.see("5 of 17")
	show(screen, "Devices not heard now")
	expect(screen.page.get_by_text("5 of 17").locator("visible=true")).to_have_count(0)
	screen.see("goes on")
	show(screen, "Everything")
	screen.see("5 of 17", "0 of 17", "goes on")
	one_of_each()
	screen.go("access-event/view/list")
	screen.see("Double Read", "Unmatched")
	show(screen, "Waiting for a person")
	screen.see("Unmatched")
	expect(screen.page.get_by_text("Double Read").locator("visible=true")).to_have_count(0)
	screen.go("access-person/view/list")
	screen.see("88")
	show(screen, "Ignored")
	screen.see("No number is ignored.")


def test_a_gap_says_what_happened_and_what_to_do(screen: Screen) -> None:
	gaps = some_gaps()
	told = {
		"on": ("Gate is not heard since", "power, network and login"),
		"lost": ("Main Door passed over the records 101 to 117", "12 of 17 records arrived.", "enter their check-ins by hand"),
		"open": ("The connection to Main Door was lost", "the next record of the device tells"),
		"recovered": ("17 of 17 records arrived.",),
		"accepted": ("Asked the guards: nobody passed.",),
	}  # fmt: skip
	screen.open("access-event-gap/view/list")
	screen.see("Unrecoverable")
	for name, words in told.items():
		screen.go(f"access-event-gap/{gaps[name].name}")
		screen.see(*words)
		screen.wait_until_quiet()
		offered = {"Accept…", "Fetch Again"} & screen.buttons()
		assert offered == (set() if name in ("recovered", "accepted") else {"Accept…", "Fetch Again"})
		screen.keep(f"gap-form-{name}")
	screen.go(f"access-event-gap/{gaps['lost'].name}")
	screen.see("passed over the records")
	screen.darken()
	screen.keep("gap-form-dark")


def test_a_gap_is_accepted_with_a_remark(screen: Screen) -> None:
	gap = some_gaps()["lost"]
	screen.open(f"access-event-gap/{gap.name}")
	screen.press("Accept…")
	dialog = screen.dialog()
	screen.see("An accepted gap holds attendance back no longer.")
	screen.keep("gap-accept")
	dialog.locator("[data-fieldname=remark] textarea").fill("Asked the shift")
	screen.press("Accept")
	screen.see("Accepted: Asked the shift", "1 of 1 gaps were accepted.")
	frappe.db.rollback()
	assert frappe.db.get_value("Access Event Gap", gap.name, "remark") == "Asked the shift"


def test_many_gaps_are_accepted_from_the_list(screen: Screen) -> None:
	some_gaps()
	screen.open("access-event-gap/view/list")
	screen.see("Unrecoverable")
	screen.page.locator(".list-check-all:visible").click()
	screen.press("Actions")
	screen.page.locator(".dropdown-item:visible", has_text="Accept…").click()
	screen.dialog().locator("[data-fieldname=remark] textarea").fill("Before the go-live")
	screen.press("Accept")
	screen.see("4 of 6 gaps were accepted.")
	screen.keep("gap-list-accepted")


def test_who_only_looks_at_gaps_is_offered_nothing(onlooker: Screen) -> None:
	gap = some_gaps()["lost"]
	onlooker.open(f"access-event-gap/{gap.name}")
	onlooker.see("Main Door passed over the records")
	onlooker.wait_until_quiet()
	assert not {"Accept…", "Fetch Again"} & onlooker.buttons()
	onlooker.keep("gap-form-onlooker")


def complete(device: Any, **values: Any) -> None:
	frappe.db.set_value("Hikvision Device", device.name, values, update_modified=False)
	frappe.db.commit()


def test_a_device_shows_until_when_it_is_complete_and_what_is_missing(screen: Screen, listener: None) -> None:
	device = create_test_device("Main Door")
	connected(device)
	gap = create_test_gap(device.name, cause="Serial Jump", **LOST, **RANGE)
	complete(
		device,
		complete_until="2026-03-02 08:00:00",
		held_by="a gap is not resolved",
		held_by_gap=gap.name,
		storage_mode="time",
		storage_minutes=1440,
		history_supported="Yes",
	)
	screen.open(f"hikvision-device/{device.name}")
	screen.see("The terminal deletes its records after 24 hours")
	screen.page.get_by_role("tab", name="Completeness").click()
	screen.see(
		"Complete Until", "a gap is not resolved", "Main Door passed over the records 101 to 117", "12 of 17"
	)
	screen.keep("device-form-completeness")
	screen.darken()
	screen.keep("device-form-completeness-dark")


def test_a_device_without_gaps_says_so(screen: Screen, listener: None) -> None:
	device = create_test_device("Main Door")
	connected(device)
	screen.open(f"hikvision-device/{device.name}")
	screen.page.get_by_role("tab", name="Completeness").click()
	screen.see("No gap: nothing is known to be missing.", "Its shifts wait for it.")
	screen.keep("device-form-complete")


def told_of(fetch: str, **values: Any) -> None:
	"""Let the reader have said this of its reading."""
	frappe.db.rollback()
	frappe.db.set_value("Hikvision History Fetch", fetch, values, update_modified=False)
	frappe.db.commit()


def test_a_history_is_fetched_and_watched_also_after_a_reload(
	seconds_shown: None, screen: Screen, listener: None
) -> None:
	device = create_test_device("Main Door")
	connected(device)
	screen.open(f"hikvision-device/{device.name}")
	screen.press("Fetch History")
	screen.dialog()
	screen.see("Records that are in already are not stored twice.")
	screen.keep("fetch-history")
	screen.press("Fetch")
	screen.see("Reading the History", "Waits for its turn.")
	frappe.db.rollback()
	name = frappe.get_all("Hikvision History Fetch", pluck="name")[0]
	told_of(name, state="Running", rows=30, new_rows=12, total=120)
	screen.see("30 of 120 records read, 12 of them new.", "25 %")
	screen.dialog()
	screen.keep("fetch-history-running")
	screen.open(f"hikvision-device/{device.name}")
	screen.page.get_by_role("tab", name="Completeness").click()
	screen.see("Reading of its history", "30 of 120 records read", "Stop Reading")
	screen.keep("device-form-reading")
	told_of(name, state="Complete", rows=120, new_rows=40, ended_at=now_datetime())
	screen.see("Complete: 120 records read, 40 of them new.")
	screen.keep("device-form-read")


def test_a_gap_is_chosen_first_when_history_is_fetched_and_a_reading_can_be_stopped(
	seconds_shown: None, screen: Screen, listener: None
) -> None:
	device = create_test_device("Main Door")
	connected(device)
	create_test_gap(device.name, since=datetime(2026, 3, 2, 8))
	screen.open(f"hikvision-device/{device.name}")
	screen.press("Fetch History")
	screen.dialog()
	screen.see("What For")
	screen.keep("fetch-history-gap")
	screen.press("Fetch")
	screen.see("Waits for its turn.")
	screen.press("Stop Reading")
	screen.see("Stopped. What was read is kept.")
	screen.press("Close")
	frappe.db.rollback()
	fetch = frappe.get_last_doc("Hikvision History Fetch")
	assert (fetch.state, fetch.purpose) == ("Cancelled", "Gap")
	screen.go(f"hikvision-history-fetch/{fetch.name}")
	screen.see("Stopped by")
	screen.keep("fetch-form-stopped")


def test_the_list_of_readings_tells_what_came_of_them(screen: Screen) -> None:
	device = create_test_device("Main Door")
	for state in ("Queued", "Complete", "Unproven", "Failed", "Cancelled"):
		create_test_fetch(device.name, state=state, rows=30, total=120, reason="The reason in words.")
	running = create_test_fetch(device.name, state="Running", rows=30, total=120)
	screen.open("hikvision-history-fetch/view/list")
	screen.see("Main Door", "Queued", "Complete", "Unproven", "Failed", "Cancelled", "Running", "30 of 120")
	screen.keep("fetch-list")
	screen.go(f"hikvision-history-fetch/{running.name}")
	screen.see("30 of 120 records read", "Stop Reading")
	screen.keep("fetch-form-running")


def test_the_report_of_gaps(screen: Screen) -> None:
	screen.open("query-report/Access Event Gaps")
	screen.see("No gap in this period: nothing is known to be missing.")
	screen.keep("report-gaps-empty")
	some_gaps()
	screen.open("query-report/Access Event Gaps?from_date=2026-01-01")
	screen.see("Main Door", "Gate", "Unrecoverable", "Records Missing for Good", "goes on", "not known")
	screen.keep("report-gaps")
	screen.darken()
	screen.keep("report-gaps-dark")


def shifts_that_wait() -> tuple[Any, Any]:
	"""One that follows its devices, one that follows the clock; a device behind, one never heard, one well."""
	now = datetime.now(timezone.utc).replace(tzinfo=None)
	day = create_test_shift("HIK-TEST-Day", process_attendance_after="2026-01-01")
	clock = create_test_shift(
		"HIK-TEST-Clock", process_attendance_after="2026-01-01", auto_update_last_sync=1
	)
	frappe.db.set_value(
		"Shift Type", clock.name, "last_sync_of_checkin", now_datetime().replace(microsecond=0)
	)
	behind, well = create_test_device("Behind"), create_test_device("Well")
	create_test_device("Never Heard of", shifts=[{"shift_type": day.name}])
	gap = create_test_gap(behind.name, **LOST)
	complete(
		behind,
		complete_until_utc=now - timedelta(days=3),
		held_by="a gap is not resolved",
		held_by_gap=gap.name,
	)
	complete(well, complete_until_utc=now, held_by="the device was heard until then")
	return day, clock


def test_the_report_says_why_a_shift_waits_and_puts_one_right(screen: Screen) -> None:
	screen.open("query-report/Shift Completeness")
	screen.see("No shift to show")
	screen.keep("report-shifts-empty")
	_day, clock = shifts_that_wait()
	screen.open("query-report/Shift Completeness")
	screen.see(
		"HIK-TEST-Day", "Behind", "Never Heard of", "Well", "Counted Too Early", "a gap is not resolved"
	)
	screen.keep("report-shifts")
	screen.press("Follow the Devices")
	screen.see("follows its devices now. To undo it")
	frappe.db.rollback()
	assert not frappe.db.get_value("Shift Type", clock.name, "auto_update_last_sync")
	screen.darken()
	screen.keep("report-shifts-dark")


def test_the_shift_itself_says_so_too(seconds_shown: None, screen: Screen) -> None:
	day, clock = shifts_that_wait()
	screen.open(f"shift-type/{day.name}")
	screen.see("Last Sync of Checkin waits for", "nothing was heard of the device yet", "Completeness")
	screen.keep("shift-type-waits")
	screen.go(f"shift-type/{clock.name}")
	screen.see("2 devices feed this shift, but HRMS counts it by the clock")
	screen.keep("shift-type-clock")
	screen.press("Follow the Devices")
	if screen.page.evaluate("cur_frm.is_dirty()"):  # HRMS's times, as some builds of the desk write them
		screen.press("Yes")
	screen.see("The shift follows its devices now.", "All passes until")
	screen.keep("shift-type-follows")
