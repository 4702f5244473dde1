"""A gap in words: what happened, and what to do next. For its form, the device's form and the reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frappe import _
from frappe.utils import format_datetime

from hikvision_frappe.core.gaps import Cause, GapReason, GapState


def story(gap: Mapping[str, Any], title: str) -> str:
	"""What happened, in one sentence. gap: the row of an Access Event Gap; title: its device's."""
	since = format_datetime(gap["since"]) if gap.get("since") else ""
	if not gap.get("until"):
		if gap.get("cause") == Cause.NOT_READ.value:
			return _("{0} could not be read since {1}.").format(title, since)
		return _("{0} is not heard since {1}.").format(title, since)
	until = format_datetime(gap["until"])
	if gap.get("cause") == Cause.SERIAL_JUMP.value:
		if not gap.get("first_serial"):
			return _("The count of {0} began anew between {1} and {2}.").format(title, since, until)
		return _("{0} passed over the records {1} to {2}, between {3} and {4}.").format(
			title, gap.get("first_serial"), gap.get("last_serial"), since, until
		)
	return _why_not_heard(gap.get("cause")).format(title, since, until)


def _why_not_heard(cause: str | None) -> str:
	return {
		Cause.SILENCE.value: _("{0} was silent from {1} to {2}."),
		Cause.REBOOT.value: _("{0} restarted; it was not heard from {1} to {2}."),
		Cause.NOT_READ.value: _("{0} could not be read for certain from {1} to {2}."),
		Cause.LISTENER_START.value: _("No listener heard {0} from {1} to {2}."),
	}.get(cause or "", _("The connection to {0} was lost from {1} to {2}."))


def count(gap: Mapping[str, Any]) -> str:
	"""n of n, or what is known instead."""
	expected, found = gap.get("expected") or 0, gap.get("found") or 0
	if expected:
		return _("{0} of {1} records arrived.").format(found, expected)
	if gap.get("state") == GapState.RECOVERED.value:
		if gap.get("reason") == GapReason.NOTHING_MISSED.value:
			return _("There was nothing to miss.")
		return _("{0} records were found.").format(found)
	return _("How many records are missing is not known yet.")


def advice(gap: Mapping[str, Any]) -> str:
	"""What to do next; "" when there is nothing to do."""
	state, reason = gap.get("state"), gap.get("reason")
	if state in (GapState.RECOVERED.value, GapState.ACCEPTED.value):
		return ""
	if state == GapState.UNRECOVERABLE.value:
		return _(
			"Find out who passed there in that time, and enter their check-ins by hand. Then accept the gap with a remark: until then attendance of the device's shifts waits."
		)
	if not gap.get("until"):
		return _(
			"Check the terminal's power, network and login; its form names the last error. If it is out of use, switch it off with Enabled, so that no shift waits for it."
		)
	if state == GapState.FILLING.value or reason == GapReason.AWAITING_HISTORY.value:
		return _("Nothing to do now: the device's own memory is read for it.")
	if reason == GapReason.AWAITING_ROWS.value:
		return _("Nothing to do yet: the device may still send them by itself.")
	return _(
		"Nothing to do: the next record of the device tells whether anything was missed. Anybody who shows a badge there makes one."
	)
