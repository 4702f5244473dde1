"""What the Access Event Gap form and list, and the device's form, ask for."""

from __future__ import annotations

from typing import Any

import frappe
from frappe import _

from hikvision_frappe.api import history
from hikvision_frappe.api.events import ROLES
from hikvision_frappe.core.gaps import UNRESOLVED, Gap
from hikvision_frappe.ledger import epochs, gap_words
from hikvision_frappe.ledger import gaps as ledger_gaps
from hikvision_frappe.ledger.history import queue_for_gap
from hikvision_frappe.ledger.instants import site_zone

MOST_AT_ONCE = 500
MOST_SHOWN = 10
UNRESOLVED_STATES = [each.value for each in UNRESOLVED]
SHOWN_FIELDS = (
	"name",
	"state",
	"reason",
	"cause",
	"since",
	"until",
	"expected",
	"found",
	"missing",
	"first_serial",
	"last_serial",
)


@frappe.whitelist()
def describe(gap: str) -> dict[str, Any]:
	"""The gap in words, and what this user can do about it now.

	Returns {"title": of its device, "story", "count", "advice", "actions": of "accept" and "fetch", "obstacle": why its
	history cannot be fetched, "" when it can, "fetch": its newest reading or None}.
	"""
	document = frappe.get_doc("Access Event Gap", gap)
	document.check_permission("read")
	title = frappe.db.get_value("Hikvision Device", document.device, "title") or document.device
	row = document.as_dict()
	obstacle = history.obstacle(document.device)
	return {
		"title": title,
		"story": gap_words.story(row, title),
		"count": gap_words.count(row),
		"advice": gap_words.advice(row),
		"actions": _actions(document, obstacle),
		"obstacle": obstacle,
		"fetch": history.newest({"gap": gap}),
	}


def _actions(document: Any, obstacle: str) -> list[str]:
	if document.state not in UNRESOLVED_STATES or not ROLES & set(frappe.get_roles()):
		return []
	return ["accept"] if obstacle else ["accept", "fetch"]


@frappe.whitelist()
def of_device(device: str) -> dict[str, Any]:
	"""What the device's form shows of its completeness.

	Returns {"gaps": the newest unresolved ones with a "story", "open": how many there are, "obstacle": why its history
	cannot be read, "fetch": the reading under way or the newest, or None, "may_fetch": whether this user may ask}.
	"""
	frappe.has_permission("Access Event Gap", "read", throw=True)
	document = frappe.get_doc("Hikvision Device", device)
	document.check_permission("read")
	unresolved = {"device": device, "state": ["in", UNRESOLVED_STATES]}
	gaps = frappe.get_list(
		"Access Event Gap",
		filters=unresolved,
		fields=list(SHOWN_FIELDS),
		order_by="since desc",
		limit=MOST_SHOWN,
	)
	for gap in gaps:
		gap.story = gap_words.story(gap, document.title)
		gap.advice = gap_words.advice(gap)
	return {
		"gaps": gaps,
		"open": frappe.db.count("Access Event Gap", unresolved),
		"obstacle": history.obstacle(device),
		"fetch": history.newest({"device": device}),
		"may_fetch": bool(ROLES & set(frappe.get_roles())),
	}


@frappe.whitelist(methods=["POST"])
def accept(gaps: list[str] | str, remark: str) -> int:
	"""Stop waiting for what these gaps miss, all or none; the remark says why. Returns how many were accepted.

	A gap that is resolved already is left alone; one that goes on is accepted until now.
	"""
	history.must_decide()
	return sum(_accept(name, remark) for name in _chosen(gaps))


def _accept(name: str, remark: str) -> bool:
	document = frappe.get_doc("Access Event Gap", name)
	document.check_permission("read")
	if document.state not in UNRESOLVED_STATES:
		return False
	ledger_gaps.accept(name, remark)
	return True


@frappe.whitelist(methods=["POST"])
def fetch_again(gap: str) -> str:
	"""Have the device's history read for this gap once more; returns the reading's name."""
	history.must_decide()
	document = frappe.get_doc("Access Event Gap", gap)
	document.check_permission("read")
	if reason := history.obstacle(document.device):
		frappe.throw(reason)
	unresolved = {each.name: each for each in ledger_gaps.unresolved([document.device])}
	if gap not in unresolved:
		frappe.throw(_("The gap is resolved already."))
	running = history.newest({"gap": gap})
	if running and running["under_way"] and not running["again"]:
		return running["name"]
	name = _queue(unresolved[gap])
	history.begin_soon()
	return name


def _queue(gap: Gap) -> str:
	"""By its numbers where they are known and the device still counts the same way, else by its time."""
	known = epochs.read([gap.device]).get(gap.device, [])
	by_number = gap.expected is not None and bool(known) and gap.epoch == known[-1].number
	document = frappe.new_doc("Hikvision History Fetch")
	document.update({**queue_for_gap(gap, site_zone(), by_number), "asked_by": frappe.session.user})
	return str(document.insert(ignore_permissions=True).name)  # nobody makes one by hand


def _chosen(gaps: list[str] | str) -> list[str]:
	chosen = frappe.parse_json(gaps) if isinstance(gaps, str) else gaps
	if not isinstance(chosen, list) or not 0 < len(chosen) <= MOST_AT_ONCE:
		frappe.throw(_("Choose at most {0} at a time.").format(MOST_AT_ONCE))
	return list(dict.fromkeys(str(name) for name in chosen))
