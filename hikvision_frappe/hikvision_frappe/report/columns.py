"""What the reports' tables have in common."""

from __future__ import annotations

from typing import Any

NUMBERS = ("Int", "Duration")


def column(fieldname: str, label: str, fieldtype: str, width: int, **more: Any) -> dict[str, Any]:
	"""A column of a report; width in pixels. Aligned here: the desk would go by the first row alone."""
	return {
		"fieldname": fieldname,
		"label": label,
		"fieldtype": fieldtype,
		"width": width,
		"align": "right" if fieldtype in NUMBERS else "left",
		**more,
	}
