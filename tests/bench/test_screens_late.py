"""What HR sees of late passes and of passes written down by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import frappe
import pytest
from playwright.sync_api import expect

from hikvision_frappe.attendance.late_passes import reprocess
from tests.bench.desk import Desk, Screen
from tests.bench.factories import create_test_device, create_test_gap
from tests.bench.hr_days import (
	MONDAY,
	attendance_of,
	day_shift,
	insert_row,
	punch,
	run_auto_attendance,
	worker,
)

LATE = "query-report/Late Passes?from_date=2026-03-01&to_date=2026-03-31"

pytestmark = pytest.mark.usefixtures("hr_data")


@pytest.fixture(scope="module")
def hr_desk(desk_of: Callable[..., Desk]) -> Desk:
	return desk_of("Hikvision Manager", "HR Manager", "HR User")


@pytest.fixture
def screen(hr_desk: Desk, seconds_shown: None) -> Iterator[Screen]:
	with hr_desk.screen() as opened:
		yield opened


def test_late_passes_are_chosen_and_counted_from_the_report(screen: Screen) -> None:
	shift = day_shift("HIK-TEST-Day")
	ana, bor, eva = (worker(shift, employee_name=name) for name in ("Ana Novak", "Bor Kos", "Eva Vidmar"))
	for each in (ana, bor):
		punch(each, f"{MONDAY} 08:00", "IN")
	run_auto_attendance(shift)
	for each in (ana, bor):
		punch(each, f"{MONDAY} 17:00", "OUT", device_id="Main Door")
	punch(eva, f"{MONDAY} 07:58", "IN")
	punch(eva, f"{MONDAY} 16:31", "OUT")
	slip = insert_row(
		"Salary Slip", employee=bor, start_date="2026-03-01", end_date="2026-03-31", docstatus=1
	)
	screen.open(LATE)
	screen.see(
		"Ana Novak",
		"Bor Kos",
		"Eva Vidmar",
		"OUT 17:00 (Main Door)",
		"IN 07:58 (Mobile)",
		"Absent, 08:00 – ?",
	)
	screen.see("Present, 08:00 – 17:00, 9.0 h", f"Salary slip {slip} was made", "Can Be Reprocessed")
	screen.keep("late-passes")

	screen.press("Cancel and Reprocess")
	screen.see("Choose rows first")
	close_message(screen)

	screen.page.locator(".dt-header .dt-cell--col-0 input[type=checkbox]").first.check()
	screen.press("Cancel and Reprocess")
	screen.dialog()
	screen.see(
		"Attendances to be cancelled and made anew",
		"Left as they are, because something stands in the way: 1.",
	)
	screen.keep("late-passes-confirm")
	screen.press("Yes")
	screen.see("Reprocessed: 2 of 2", "Before", "After")
	screen.keep("late-passes-result")
	assert attendance_of(ana).status == attendance_of(eva).status == "Present"
	assert attendance_of(bor).status == "Absent"

	name = attendance_of(ana).name
	close_message(screen)
	screen.open(f"attendance/{name}")
	screen.see("had it made anew with late passes")
	screen.keep("late-passes-attendance")


def test_no_late_pass_is_good_news(screen: Screen) -> None:
	screen.open(LATE)
	screen.see("Every pass of this period is counted in its Attendance.")
	screen.keep("late-passes-none")


def test_passes_of_an_outage_are_written_down(screen: Screen) -> None:
	shift = day_shift("HIK-TEST-Day")
	for name in ("Ana Novak", "Bor Kos", "Eva Vidmar"):
		worker(shift, employee_name=name)
	create_test_device("Main Door")
	screen.open("bulk-manual-punch/view/list")
	screen.see("Nothing was written down by hand.")
	screen.keep("manual-punch-list-empty")

	screen.open("bulk-manual-punch/new")
	screen.see("Say when the terminal was down", "Get Employees")
	screen.press("Get Employees")
	screen.see("Say first from when until when")
	close_message(screen)
	fill(
		screen,
		reason="Main Door without power",
		from_time="2026-03-02 07:00:00",
		to_time="2026-03-02 18:00:00",
	)
	screen.press("Get Employees")
	dialog = screen.dialog()
	screen.see("Arrivals (IN)", "Departures (OUT)", "IN at")
	screen.choose("shift", shift.name)
	screen.keep("manual-punch-get-employees")
	dialog.get_by_role("button", name="Get", exact=True).click()
	screen.see("Ana Novak", "Bor Kos", "Eva Vidmar")
	screen.keep("manual-punch-rows")
	if screen.page.locator(".modal.show").count():
		close_message(screen)

	screen.press("Save")
	screen.see("With Submit, an Employee Checkin is made of each row.")
	gone = frappe.get_all("Employee", {"employee_name": "Eva Vidmar"}, pluck="name")[0]
	frappe.db.set_value("Employee", gone, "status", "Inactive")
	frappe.db.commit()
	screen.press("Submit")
	screen.press("Yes")
	screen.see("Rows refused: 2.", "Try Again", "Needs Attention")
	screen.keep("manual-punch-refused")

	frappe.db.set_value("Employee", gone, "status", "Active")
	frappe.db.commit()
	screen.press("Try Again")
	expect(screen.page.get_by_text("Rows refused")).to_have_count(0)
	screen.see("Done")
	screen.keep("manual-punch-done")
	frappe.db.rollback()
	assert frappe.db.count("Employee Checkin") == 6
	screen.open("bulk-manual-punch/view/list")
	screen.see("Main Door without power", "Done")
	screen.keep("manual-punch-list")


def close_message(screen: Screen) -> None:
	screen.dialog().locator(".btn-modal-close:visible").first.click()
	expect(screen.page.locator(".modal.show")).to_have_count(0)


def fill(screen: Screen, **values: Any) -> None:
	"""Set fields of the form in front as typing would."""
	screen.page.evaluate("values => cur_frm.set_value(values)", values)
	screen.wait_until_quiet()


def test_reprocessed_days_are_gone_from_the_report(screen: Screen) -> None:
	shift = day_shift("HIK-TEST-Day")
	ana = worker(shift, employee_name="Ana Novak")
	run_auto_attendance(shift)
	punch(ana, f"{MONDAY} 08:00", "IN")
	reprocess([attendance_of(ana).name])
	screen.open(LATE)
	screen.see("Every pass of this period is counted in its Attendance.")


def test_what_a_gap_lost_is_written_down_by_hand(screen: Screen) -> None:
	door = create_test_device("Main Door")
	gap = create_test_gap(
		door.name,
		state="Unrecoverable",
		cause="Serial Jump",
		first_serial=1,
		last_serial=2,
		expected=2,
		missing=2,
	)
	screen.open(f"access-event-gap/{gap.name}")
	screen.press("Punch by Hand")
	screen.page.wait_for_function(
		"""([gap, device]) => cur_frm && cur_frm.doctype === "Bulk Manual Punch" && cur_frm.doc.gap === gap
		&& cur_frm.doc.device === device && cur_frm.doc.from_time && cur_frm.doc.to_time""",
		arg=[gap.name, gap.device],
	)
	screen.wait_until_quiet()
	screen.keep("punch-of-gap")
