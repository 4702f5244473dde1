"""What the Hikvision Device form asks for: test the connection, take over an address, renew the push secret."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import frappe
from frappe import _
from frappe.utils import now_datetime

from hikvision_frappe.isapi.probe import ConnectionTest
from hikvision_frappe.isapi.probe import test_connection as run_test
from hikvision_frappe.ledger.addresses import device_address
from hikvision_frappe.ledger.devices import push_url
from hikvision_frappe.ledger.listeners import live_listeners

PUSH_PORT = 8090  # of `bench hikvision listen` unless it is told otherwise


@frappe.whitelist(methods=["POST"])
def test_connection(device: str) -> dict[str, Any]:
	"""Log in to the device once and say in plain words what worked; stores identity and clock offset.

	Returns {"ok", "steps": [{"name", "ok", "text", "advice"}], "tries_left", "fingerprint", "clock_offset",
	"registered_as": {"name", "title"} | None}. Never raises for a fault of the device.
	"""
	document = frappe.get_doc("Hikvision Device", device)
	document.check_permission("write")
	password = document.get_password("password", raise_exception=False) or ""
	address = device_address(document, password)
	result = asyncio.run(run_test(address, expected_serial=document.serial_number or ""))
	owner = _owner_of(result, document.name)
	if result.info and not owner and _is_expected(result, document):
		_remember(document.name, result)
	return _plain(result) | {"registered_as": owner}


def _is_expected(result: ConnectionTest, document: Any) -> bool:
	return not document.serial_number or result.info.serial_number == document.serial_number


def _owner_of(result: ConnectionTest, device: str) -> dict[str, str] | None:
	if not result.info or not result.info.serial_number:
		return None
	return frappe.db.get_value(
		"Hikvision Device",
		{"serial_number": result.info.serial_number, "name": ["!=", device]},
		["name", "title"],
		as_dict=True,
	)


def _remember(device: str, result: ConnectionTest) -> None:
	values: dict[str, Any] = {
		"serial_number": result.info.serial_number or None,
		"mac_address": result.info.mac_address,
		"model": result.info.model,
		"firmware": result.info.firmware,
	}
	if result.clock_offset is not None:
		values["clock_offset"] = result.clock_offset
	frappe.db.set_value("Hikvision Device", device, values, update_modified=False)


def _plain(result: ConnectionTest) -> dict[str, Any]:
	steps = [
		{"name": _(step.name), "ok": step.ok, "text": _(step.text), "advice": _(step.advice)}
		for step in result.steps
	]
	return {
		"ok": result.ok,
		"steps": steps,
		"tries_left": result.tries_left,
		"fingerprint": result.fingerprint,
		"clock_offset": result.clock_offset,
	}


@frappe.whitelist(methods=["POST"])
def move_to_address(device: str, address_of: str) -> str:
	"""Give ``device`` the address, login and TLS of ``address_of`` (the same terminal, met again); returns its name.

	The newer document is deleted when nothing came through it, else only disabled.
	"""
	target = frappe.get_doc("Hikvision Device", device)
	source = frappe.get_doc("Hikvision Device", address_of)
	target.check_permission("write")
	source.check_permission("delete")
	for field in ("host", "port", "tls_mode", "tls_fingerprint", "user"):
		target.set(field, source.get(field))
	if password := source.get_password("password", raise_exception=False):
		target.password = password
	target.enabled = 1
	target.save()
	target.add_comment("Info", _("Moved to {0}:{1}").format(source.host, source.port))
	if frappe.db.exists("Access Event", {"device": source.name}):
		source.enabled = 0
		source.save()
	else:
		frappe.delete_doc("Hikvision Device", source.name)
	return target.name


@frappe.whitelist(methods=["POST"])
def accept_fingerprint(device: str, fingerprint: str) -> None:
	"""Pin the certificate that the connection test saw; from then on any other one is refused."""
	document = frappe.get_doc("Hikvision Device", device)
	document.check_permission("write")
	document.tls_mode = "HTTPS, pinned certificate"
	document.tls_fingerprint = fingerprint
	document.save()


@frappe.whitelist(methods=["POST"])
def rotate_push_secret(device: str) -> dict[str, str]:
	"""Make a new notification secret; the old URL stops working at once. Returns the new URLs."""
	document = frappe.get_doc("Hikvision Device", device)
	document.check_permission("write")
	document.rotate_push_secret()
	document.add_comment("Info", _("Notification URL renewed"))
	return notification_urls(device)


@frappe.whitelist()
def notification_urls(device: str) -> dict[str, Any]:
	"""The two URLs a device may post to, and whether a listener runs that serves the first.

	Returns {"listener": url, "guessed": bool, "site": url, "listener_running": bool}; guessed: Hikvision Settings do
	not say how terminals reach the listener. The URLs hold the secret: managers only.
	"""
	document = frappe.get_doc("Hikvision Device", device)
	document.check_permission("write")
	secret = document.get_password("push_secret")
	listeners = live_listeners()
	base = frappe.db.get_single_value("Hikvision Settings", "push_base_url")
	return {
		"listener": push_url(base or _guessed_base(listeners), document.push_key, secret),
		"guessed": not base,
		"site": push_url(frappe.utils.get_url(), document.push_key, secret),
		"listener_running": bool(listeners),
	}


def _guessed_base(listeners: list[dict[str, Any]]) -> str:
	"""This server by the name its users know, with the port of a live listener or the usual one."""
	host = urlsplit(frappe.utils.get_url()).hostname
	ports = [urlsplit(each["push_address"]).port for each in listeners if each["push_address"]]
	return f"http://{host}:{next(iter(ports), None) or PUSH_PORT}"


@frappe.whitelist()
def listener_status() -> dict[str, Any]:
	"""Whether a listener of this site reported within the last minute, for the list of devices."""
	frappe.has_permission("Hikvision Device", "read", throw=True)
	return {"listeners": live_listeners(), "now": str(now_datetime())}
