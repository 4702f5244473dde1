"""Access Event Gaps: what may be missing, of which device, and who accepted what."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import _
from frappe.utils import getdate

from hikvision_frappe.core.gaps import UNRESOLVED, GapState
from hikvision_frappe.hikvision_frappe.report.columns import column
from hikvision_frappe.ledger.gap_words import advice

MOST_ROWS = 5000
ROW_FIELDS = (
	"name",
	"device",
	"since",
	"until",
	"cause",
	"state",
	"reason",
	"first_serial",
	"last_serial",
	"expected",
	"found",
	"missing",
	"accepted_by",
	"accepted_at",
	"remark",
)


def execute(filters: dict[str, Any] | None = None) -> tuple[Any, ...]:
	filters = frappe._dict(filters or {})
	rows = _rows(filters)
	message = _("The newest {0} gaps are shown.").format(MOST_ROWS) if len(rows) == MOST_ROWS else None
	return _columns(), rows, message, None, _summary(rows)


def _rows(filters: Any) -> list[dict[str, Any]]:
	rows = frappe.get_list(
		"Access Event Gap",
		filters=_conditions(filters),
		or_filters=_still_there(filters),
		fields=list(ROW_FIELDS),
		order_by="since desc",
		limit_page_length=MOST_ROWS,
	)
	titles = dict(
		frappe.get_all(
			"Hikvision Device",
			filters={"name": ["in", list({row.device for row in rows})]},
			fields=["name", "title"],
			as_list=True,
		)
	)
	for row in rows:
		row.title = titles.get(row.device, row.device)
		row.length = (row["until"] - row["since"]).total_seconds() if row["since"] and row["until"] else None
		row.advice = advice(row)
		row.state_label, row.cause, row.reason = _(row.state), _(row.cause), _(row.reason or "")
	return rows


def _conditions(filters: Any) -> list[list[Any]]:
	conditions: list[list[Any]] = []
	if filters.device:
		conditions.append(["device", "=", filters.device])
	if filters.cause:
		conditions.append(["cause", "=", filters.cause])
	if filters.state == "Unresolved":
		conditions.append(["state", "in", [each.value for each in UNRESOLVED]])
	elif filters.state:
		conditions.append(["state", "=", filters.state])
	if filters.to_date:
		conditions.append(["since", "<=", f"{getdate(filters.to_date)} 23:59:59"])
	return conditions


def _still_there(filters: Any) -> list[list[Any]]:
	"""Gaps that reach into the period, among them those that go on."""
	if not filters.from_date:
		return []
	return [["until", ">=", f"{getdate(filters.from_date)} 00:00:00"], ["until", "is", "not set"]]


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
	def number(*states: GapState) -> int:
		return sum(row["state"] in {each.value for each in states} for row in rows)

	if not rows:
		return []
	missing = sum(row["missing"] or 0 for row in rows if row["state"] == GapState.UNRECOVERABLE.value)
	return [
		{"value": number(GapState.OPEN, GapState.FILLING), "label": _("Open"), "datatype": "Int"},
		{
			"value": number(GapState.UNRECOVERABLE),
			"label": _("Unrecoverable"),
			"datatype": "Int",
			"indicator": "Red" if number(GapState.UNRECOVERABLE) else "Green",
		},
		{"value": missing, "label": _("Records Missing for Good"), "datatype": "Int"},
		{"value": number(GapState.ACCEPTED), "label": _("Accepted"), "datatype": "Int"},
		{
			"value": number(GapState.RECOVERED),
			"label": _("Recovered"),
			"datatype": "Int",
			"indicator": "Green",
		},
	]


def _columns() -> list[dict[str, Any]]:
	return [
		column("title", _("Device"), "Data", 160),
		column("state_label", _("State"), "Data", 145),
		column("since", _("Since"), "Datetime", 160),
		column("until", _("Until"), "Datetime", 160),
		column("length", _("Length"), "Duration", 110),
		column("expected", _("Records"), "Int", 90),
		column("missing", _("Missing"), "Int", 90),
		column("cause", _("Noticed By"), "Data", 120),
		column("reason", _("Reason"), "Data", 260),
		column("advice", _("What to Do"), "Data", 320),
		column("accepted_by", _("Accepted By"), "Link", 150, options="User"),
		column("accepted_at", _("Accepted At"), "Datetime", 160),
		column("remark", _("Remark"), "Data", 220),
		column("name", _("Gap"), "Link", 120, options="Access Event Gap"),
	]
