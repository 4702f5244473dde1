"""`bench hikvision simulate`: simulated terminals as real devices of a site, with passes of its own employees.

The terminals speak the real protocols on loopback; the listener of the site reads them like any other device.
Everything made here carries a serial number that begins with SIM, so that ``remove`` finds it again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import click
import frappe

from hikvision_frappe.ledger.devices import push_url
from hikvision_frappe.ledger.listeners import live_listeners
from hikvision_frappe.simulator import PROFILES, Fleet, SimulatedDevice

KINDS = ("k1t344", "kv6124", "k2702", "k1t323-push")
SERIAL_PREFIX = "SIM"
PASSWORD = "simulated-only"  # noqa: S105 - of a terminal that exists only while the command runs
FIRST_NUMBER = 90001  # person numbers for employees that have no attendance device id


@dataclass(frozen=True, slots=True)
class SimulationPlan:
	"""How many terminals and employees, passes per second over all of them, seconds to run (0 = until Ctrl-C)."""

	devices: int
	rate: float
	seconds: int
	employees: int


def run(site: str, plan: SimulationPlan) -> None:
	"""Simulate until the plan's time is over or Ctrl-C; the devices are switched off at the end."""
	frappe.init(site=site)
	frappe.connect()
	try:
		if not frappe.db.exists("Employee", {"status": "Active"}):
			raise click.ClickException("There is no active employee on this site to let pass.")
		asyncio.run(_run(plan))
	finally:
		frappe.destroy()


async def _run(plan: SimulationPlan) -> None:
	terminals = [
		SimulatedDevice(
			PROFILES[KINDS[index % len(KINDS)]],
			serial_number=f"{SERIAL_PREFIX}-{KINDS[index % len(KINDS)].upper()}-{index + 1}",
			password=PASSWORD,
		)
		for index in range(plan.devices)
	]
	fleet = Fleet(terminals)
	await fleet.start()
	names = [register(terminal) for terminal in terminals]
	try:
		persons = person_numbers(plan.employees, names)
		frappe.db.commit()  # nosemgrep: the listener in another process must see the devices
		await _produce(fleet, persons, plan)
	finally:
		for name in names:
			frappe.db.set_value("Hikvision Device", name, "enabled", 0)
		frappe.db.commit()  # nosemgrep: see above
		await fleet.stop()


async def _produce(fleet: Fleet, persons: Sequence[str], plan: SimulationPlan) -> None:
	stop = asyncio.Event()
	for number in (signal.SIGINT, signal.SIGTERM):
		asyncio.get_running_loop().add_signal_handler(number, stop.set)
	passes = asyncio.create_task(fleet.produce(persons, plan.rate, stop))
	click.echo(f"{len(persons)} employees pass at {plan.rate:g} passes/s; Ctrl-C ends the simulation.")
	if not live_listeners():
		click.secho("No listener runs yet: bench --site SITE hikvision listen", fg="yellow")
	with suppress(asyncio.TimeoutError):
		await asyncio.wait_for(stop.wait(), plan.seconds or None)
	stop.set()
	await passes
	click.echo(f"{len(fleet.log)} records were made.")


def register(terminal: SimulatedDevice) -> str:
	"""Make the Hikvision Device of a simulated terminal, or point the one of an earlier run to it; returns its name."""
	name = frappe.db.get_value("Hikvision Device", {"serial_number": terminal.serial_number})
	device = frappe.get_doc("Hikvision Device", name) if name else frappe.new_doc("Hikvision Device")
	pushes = not terminal.profile.stream_supported
	device.update(
		{
			"title": f"Simulated {terminal.profile.model} {terminal.serial_number}",
			"enabled": 1,
			"mode": "Push" if pushes else "Stream",
			"host": "127.0.0.1",
			"port": terminal.port,
			"user": "admin",
			"password": PASSWORD,
			"tls_mode": "HTTP",
			"serial_number": terminal.serial_number,
		}
	)
	if not device.doors:
		device.append("doors", {"door_no": 1, "label": "Front door", "direction": "Alternating"})
	device.save()
	if pushes:
		terminal.push_to(receiver(device))
	click.echo(f"{device.title}: {terminal.url} ({device.mode.lower()})")
	return device.name


def receiver(device: frappe.model.document.Document) -> str:
	"""Where the simulated terminal posts: a live listener's port on this machine, else the site itself."""
	ports = [
		str(each["push_address"]).rsplit(":", 1)[-1] for each in live_listeners() if each["push_address"]
	]
	base = f"http://127.0.0.1:{ports[0]}" if ports else frappe.utils.get_url()
	return push_url(base, device.push_key, device.get_password("push_secret"))


def person_numbers(count: int, devices: Sequence[str]) -> list[str]:
	"""Person numbers of active employees; those without one get a number that is valid on these devices only."""
	employees = frappe.get_all(
		"Employee",
		filters={"status": "Active"},
		fields=["name", "employee_name", "attendance_device_id"],
		order_by="creation",
		limit=count,
	)
	numbers = []
	for offset, employee in enumerate(employees):
		number = employee.attendance_device_id
		if not number:
			number = str(FIRST_NUMBER + offset)
			_give_number(employee.name, number, devices)
		numbers.append(number)
	return numbers


def _give_number(employee: str, number: str, devices: Sequence[str]) -> None:
	name = frappe.db.get_value("Access Person", {"employee": employee})
	person = frappe.get_doc("Access Person", name) if name else frappe.new_doc("Access Person")
	person.update({"employee": employee, "status": "Matched"})
	known = {(row.device, row.person_code) for row in person.numbers}
	for device in devices:
		if (device, number) not in known:
			person.append("numbers", {"device": device, "person_code": number})
	person.save()


def remove(site: str) -> None:
	"""Take away simulated devices with their events, check-ins, person numbers and epochs.

	Check-ins that an Attendance is linked to stay, and are counted in the message.
	"""
	frappe.init(site=site)
	frappe.connect()
	try:
		devices = frappe.get_all(
			"Hikvision Device", filters={"serial_number": ["like", f"{SERIAL_PREFIX}-%"]}, pluck="name"
		)
		kept = sum(_remove_device(device) for device in devices)
		frappe.db.commit()  # nosemgrep: end of the command
	finally:
		frappe.destroy()
	click.echo(
		f"{len(devices)} simulated devices removed, {kept} check-ins kept because Attendance uses them."
	)


def _remove_device(device: str) -> int:
	kept = 0
	checkins = frappe.get_all(
		"Access Event",
		filters={"device": device, "employee_checkin": ["is", "set"]},
		pluck="employee_checkin",
	)
	for checkin in checkins:
		if frappe.db.get_value("Employee Checkin", checkin, "attendance"):
			frappe.db.set_value("Employee Checkin", checkin, "access_event", None)
			kept += 1
		else:
			frappe.delete_doc("Employee Checkin", checkin, force=True)
	events = frappe.get_all("Access Event", {"device": device}, pluck="name")
	frappe.db.delete(
		"Comment", {"reference_doctype": "Access Event", "reference_name": ["in", events or [""]]}
	)
	frappe.db.delete("Access Event", {"device": device})
	_remove_numbers(device)
	frappe.db.delete("Hikvision Serial Epoch", {"device": device})
	frappe.delete_doc("Hikvision Device", device, force=True)
	return kept


def _remove_numbers(device: str) -> None:
	"""Person numbers on the device, and the people who have no other number."""
	people = frappe.get_all("Access Person Number", {"device": device}, pluck="parent", distinct=True)
	frappe.db.delete("Access Person Number", {"device": device})
	for person in people:
		numbers = frappe.db.exists("Access Person Number", {"parent": person})
		if not numbers and not frappe.db.get_value("Access Person", person, "person_code"):
			frappe.delete_doc("Access Person", person, force=True)
