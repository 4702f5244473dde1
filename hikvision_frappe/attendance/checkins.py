"""From a decision to an Employee Checkin, always through HRMS's own document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import frappe
from frappe import _

from hikvision_frappe.attendance.facts import DeviceFacts, SiteRules
from hikvision_frappe.attendance.failures import SetupMissing
from hikvision_frappe.core.checkin import LogType


def make_checkin(
	event: str,
	employee: str,
	time: datetime,
	log_type: LogType,
	device: DeviceFacts,
	rules: SiteRules,
) -> Any:
	"""Insert the check-in of a pass and return the document; the caller commits.

	time: naive site time. HRMS's validations and all hooks run, with the session user's permissions.
	Raises SetupMissing where HRMS needs what the device does not give, else whatever HRMS or a hook raises.
	"""
	document = frappe.get_doc(
		{
			"doctype": "Employee Checkin",
			"employee": employee,
			"time": time,
			"log_type": log_type.value,
			"device_id": device.label,
			"access_event": event,
		}
	)
	if rules.geolocation:
		_set_coordinates(document, device)
	if log_type is LogType.NONE and rules.strict_shifts:
		_refuse_in_strict_shift(document, device, rules)
	return document.insert()


def _set_coordinates(document: Any, device: DeviceFacts) -> None:
	if device.latitude is None or device.longitude is None:
		raise SetupMissing(
			_("HR Settings ask for a location. Enter latitude and longitude of the device {0}.").format(
				device.label
			)
		)
	document.latitude, document.longitude = device.latitude, device.longitude


def _refuse_in_strict_shift(document: Any, device: DeviceFacts, rules: SiteRules) -> None:
	"""A strict shift counts only IN and OUT, and not every version of HRMS refuses a log without."""
	document.fetch_shift()
	if document.shift in rules.strict_shifts:
		raise SetupMissing(
			_("The shift {0} needs IN or OUT. Set the direction of the doors of {1}.").format(
				document.shift, device.label
			)
		)
