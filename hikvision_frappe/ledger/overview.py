"""`bench hikvision status`: devices, their state and what waits, for a terminal or a monitoring script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import frappe
from frappe.query_builder.functions import Count

from hikvision_frappe.core.gaps import UNRESOLVED, GapState
from hikvision_frappe.ledger.listeners import live_listeners


def print_overview() -> bool:
	"""Print the state of the connected site; returns False when something needs a person."""
	listeners = live_listeners()
	for each in listeners:
		click.echo(
			f"listener {each['listener']}: push port {each['push_address'] or 'off'}, {each['spool_depth']} waiting"
		)
	devices = _devices()
	for device in devices:
		click.echo(_device_line(device))
	if not devices:
		click.echo("No devices yet: add one in the desk under Hikvision Device.")
	for state, count in _counts("Access Event"):
		click.echo(f"events {state}: {count}")
	gaps = dict(_counts("Access Event Gap", [state.value for state in UNRESOLVED]))
	for state, count in gaps.items():
		click.echo(f"gaps {state}: {count}")
	streams = [device for device in devices if device.mode == "Stream"]
	if streams and not listeners:
		click.secho("No listener runs: bench --site SITE hikvision listen", fg="yellow")
	stopped = [device for device in devices if device.connection_state == "Stopped"]
	return not stopped and not (streams and not listeners) and GapState.UNRECOVERABLE.value not in gaps


def _devices() -> list[Any]:
	return frappe.get_all(
		"Hikvision Device",
		filters={"enabled": 1},
		fields=[
			"title",
			"mode",
			"host",
			"port",
			"connection_state",
			"last_event",
			"last_error",
			"complete_until",
			"held_by",
		],
		order_by="title",
	)


def _device_line(device: Any) -> str:
	parts = [f"device {device.title} ({device.mode.lower()}"]
	parts.append(f", {device.host}:{device.port}): " if device.host else "): ")
	parts.append(device.connection_state or "not connected yet")
	parts.append(f", last event {device.last_event}" if device.last_event else ", no event yet")
	if device.complete_until:
		parts.append(f", complete until {device.complete_until}: {device.held_by}")
	parts.append(f", {device.last_error}" if device.last_error else "")
	return "".join(parts)


def _counts(doctype: str, states: Sequence[str] = ()) -> list[tuple[str, int]]:
	row = frappe.qb.DocType(doctype)
	query = frappe.qb.from_(row).select(row.state, Count("*")).groupby(row.state).orderby(row.state)
	return (query.where(row.state.isin(states)) if states else query).run()
