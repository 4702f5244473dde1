"""``bench --site SITE hikvision ...``: run the listener, the drain, simulated terminals; read histories; see how things stand.

Nothing heavy is imported at the top: bench loads this module for every command, and a failing import here would
take all of the app's commands away in silence.
"""

from __future__ import annotations

import click
import frappe
from frappe.commands import get_site, pass_context


@click.group("hikvision")
def hikvision() -> None:
	"""Hikvision access control: listener, drain, histories, simulator, status."""


@hikvision.command("listen")
@click.option("--push-host", default="0.0.0.0", show_default=True, help="Address of the port devices post to")  # noqa: S104
@click.option("--push-port", default=8090, show_default=True, help="Port devices post to; 0 = none")
@click.option("--status-host", default="127.0.0.1", show_default=True, help="Address of the status page")
@click.option("--status-port", default=8091, show_default=True, help="Port of the status page; 0 = none")
@click.option("--spool", "spool_path", default=None, help="Spool file [default: inside the site's folder]")
@click.option(
	"--lease-seconds",
	default=45.0,
	type=click.FloatRange(min=1.0),
	show_default=True,
	help="How long a dead listener's devices wait",
)
@click.option("--no-drain", is_flag=True, help="Do not run the drain beside the listener")
@pass_context
def listen(
	context: frappe._dict,
	push_host: str,
	push_port: int,
	status_host: str,
	status_port: int,
	spool_path: str | None,
	lease_seconds: float,
	no_drain: bool,
) -> None:
	"""Hold one alertStream per streaming device and take device pushes, until SIGTERM."""
	from hikvision_frappe.ledger.listen import ListenOptions, run_listener

	options = ListenOptions(
		push_host=push_host,
		push_port=push_port,
		status_host=status_host,
		status_port=status_port,
		spool_path=spool_path,
		lease_seconds=lease_seconds,
		with_drain=not no_drain,
	)
	run_listener(get_site(context), options)


@hikvision.command("drain")
@click.option("--once", is_flag=True, help="Work off what waits and end")
@click.option("--until-input-ends", is_flag=True, hidden=True)
@pass_context
def drain(context: frappe._dict, once: bool, until_input_ends: bool) -> None:
	"""Turn waiting ledger rows into Employee Checkins, now and as they come, until SIGTERM."""
	from hikvision_frappe.attendance.loop import run_drain

	run_drain(get_site(context), once=once, until_input_ends=until_input_ends)


@hikvision.command("simulate")
@click.option("--devices", default=3, show_default=True, help="Number of simulated terminals")
@click.option("--rate", default=1.0, show_default=True, help="Passes per second, all terminals together")
@click.option("--seconds", default=0, show_default=True, help="End after so many seconds; 0 = on Ctrl-C")
@click.option("--employees", default=20, show_default=True, help="How many active employees pass")
@click.option(
	"--remove", is_flag=True, help="Remove what earlier simulations left: terminals, events, check-ins"
)
@click.option("--yes", is_flag=True, help="Do not ask")
@pass_context
def simulate(
	context: frappe._dict,
	devices: int,
	rate: float,
	seconds: int,
	employees: int,
	remove: bool,
	yes: bool,
) -> None:
	"""Start simulated terminals, register them as devices and let existing employees pass.

	Real Employee Checkins come of it: use a site for trying things out.
	"""
	from hikvision_frappe.attendance import simulation

	site = get_site(context)
	if remove:
		simulation.remove(site)
		return
	if not yes:
		click.confirm(
			f"Simulated passes become Employee Checkins of real employees on {site}. Go on?", abort=True
		)
	plan = simulation.SimulationPlan(devices=devices, rate=rate, seconds=seconds, employees=employees)
	simulation.run(site, plan)


@hikvision.command("status")
@pass_context
def status(context: frappe._dict) -> None:
	"""Print devices, their state and what waits. Exit code 1 when a device needs a person."""
	from hikvision_frappe.attendance.set_listeners import in_one_line
	from hikvision_frappe.ledger.overview import print_overview

	site = get_site(context)
	frappe.init(site=site)
	frappe.connect()
	try:
		healthy = print_overview()
		click.echo(in_one_line())
	finally:
		frappe.destroy()
	raise SystemExit(0 if healthy else 1)


@hikvision.command("backfill")
@click.option("--device", "devices", multiple=True, help="Name or title of a device; may be given again")
@click.option("--all-devices", is_flag=True, help="Every enabled device whose history can be read")
@click.option(
	"--from", "since", required=True, help='Beginning, site time: "2026-03-01" or "2026-03-01 08:00"'
)
@click.option("--to", "until", default=None, help="End, site time; a day alone means its end [default: now]")
@pass_context
def backfill(
	context: frappe._dict, devices: tuple[str, ...], all_devices: bool, since: str, until: str | None
) -> None:
	"""Read the history of devices into the ledger and say whether it is proven complete.

	Exit code 1 when one of the readings is not. A running listener that holds a device reads it itself.
	"""
	from hikvision_frappe.ledger.backfill import run_backfill

	if bool(devices) == all_devices:
		raise click.UsageError("Name devices with --device, or say --all-devices.")
	raise SystemExit(0 if run_backfill(get_site(context), devices, since, until) else 1)


commands = [hikvision]
