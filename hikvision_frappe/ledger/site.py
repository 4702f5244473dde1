"""The listener's ``Site`` on a Frappe bench: devices with leases, delivery to the ledger, states for the desk.

All of it runs in one thread that owns one database connection. Each call is a transaction of its own: MariaDB's
REPEATABLE READ would otherwise never show a changed setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import wraps
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import frappe
from frappe import _
from frappe.utils.password import get_decrypted_password, get_encryption_key

from hikvision_frappe.core.clock import at_site
from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.isapi.address import DeviceAddress
from hikvision_frappe.ledger import contacts, history, intake
from hikvision_frappe.ledger.addresses import device_address
from hikvision_frappe.ledger.database_errors import (
	ANY_ERROR,
	INTERFACE_ERROR,
	INTERNAL_ERROR,
	OPERATIONAL_ERROR,
)
from hikvision_frappe.ledger.devices import (
	CONFIG_FIELDS,
	config_revision,
	history_minutes,
	networks_of,
	reads_history,
)
from hikvision_frappe.ledger.listeners import forget_listener, remember_listener
from hikvision_frappe.listener.site import (
	ConnectionState,
	Delivery,
	DeviceConfig,
	DeviceReport,
	HistoryReport,
	HistoryTask,
	IngestMode,
	ListenerReport,
	SiteUnavailable,
)

T = TypeVar("T")

# What can be wrong with one row, however it got there: a password under another key, a zone, mode or network that
# does not exist. None of it comes from the database.
UNUSABLE = (ValueError, LookupError, frappe.ValidationError)


class PasswordUnreadable(frappe.ValidationError):
	"""A password was encrypted with another key: the site was restored without its site_config.json."""


def transaction(method: Callable[..., T]) -> Callable[..., T]:
	"""Run a method of FrappeSite in a transaction of its own; whatever the database refuses will pass by itself."""

	@wraps(method)
	def run(self: FrappeSite, *args: Any) -> T:
		try:
			self.connect()
			result = method(self, *args)
			frappe.db.commit()  # nosemgrep: a call of the listener is one transaction
			return result
		except Exception as error:
			self.disconnect()
			if is_passing(error):
				raise SiteUnavailable(type(error).__name__) from error
			raise

	return run


def is_passing(error: Exception) -> bool:
	"""Whether waiting helps: the database, Redis or the site itself (migration) cannot answer now."""
	import redis

	passing = (
		*OPERATIONAL_ERROR,
		*INTERFACE_ERROR,
		*INTERNAL_ERROR,
		redis.exceptions.RedisError,
		frappe.SessionStopped,
		frappe.QueryDeadlockError,
		frappe.QueryTimeoutError,
		OSError,
	)
	return isinstance(error, passing)


class FrappeSite:
	"""Implements ``listener.site.Site``; see there for what each method promises.

	only: the devices to lease and to speak of, for one who reads a history and ends; None for all.
	"""

	def __init__(self, site: str, sites_path: str = ".", only: Iterable[str] | None = None) -> None:
		self.site = site
		self.sites_path = sites_path
		self._only = None if only is None else sorted(only)
		self._reader = ""  # in whose name readings of history were leased
		self._connected = False
		# By device: when its document was modified, and the address with the password decrypted then.
		self._addresses: dict[str, tuple[str, DeviceAddress]] = {}
		self._reported: dict[str, DeviceReport] = {}
		self._stored_serials: dict[str, str] = {}  # by device, as the rows had them when last read
		self._learned: dict[str, str] = {}  # by device: the serial number that this listener was first to see

	def connect(self) -> None:
		"""Use the open connection, or open one; a site in maintenance is unavailable."""
		if not self._connected:
			frappe.init(site=self.site, sites_path=self.sites_path)
			frappe.connect()
			self._connected = True
		if frappe.get_site_config(
			sites_path=self.sites_path, site_path=frappe.local.site_path
		).maintenance_mode:
			raise SiteUnavailable("the site is in maintenance")
		frappe.db.rollback()  # a fresh snapshot

	def disconnect(self) -> None:
		"""Forget the connection, whatever state it is in; a lost one may refuse to be closed."""
		self._connected = False
		self._reported.clear()  # nobody knows what of it was committed
		with suppress(*ANY_ERROR):
			frappe.destroy()

	@transaction
	def devices(self, listener: str, lease_seconds: float) -> Sequence[DeviceConfig]:
		now = datetime.now(timezone.utc).replace(tzinfo=None)
		lease_devices(listener, now, now + timedelta(seconds=lease_seconds), self._only)
		only = {} if self._only is None else {"name": ["in", self._only]}
		rows = frappe.get_all(
			"Hikvision Device",
			filters={"enabled": 1, **only},
			fields=["name", "modified", "leased_by", "connection_state", "last_error", *CONFIG_FIELDS],
		)
		self._stored_serials = {row.name: row.serial_number or "" for row in rows}
		configs = [self._config_or_none(row, listener) for row in rows]
		return [config for config in configs if config]

	def _config_or_none(self, row: Any, listener: str) -> DeviceConfig | None:
		"""None for a device whose row cannot be used: its form says so, and the others go on."""
		try:
			return self._config(row, listener)
		except UNUSABLE as error:
			frappe.clear_messages()
			_say_unusable(row, error)
			return None

	def _config(self, row: Any, listener: str) -> DeviceConfig:
		address, has_history = self._address(row), reads_history(row)
		if row.mode == "Push" and not address.password:
			has_history = False  # what it pushes is taken all the same
		return DeviceConfig(
			key=row.name,
			title=row.title,
			revision=self._revision(row, address.password),
			mode=IngestMode(row.mode.lower()),
			address=address,
			leased=row.leased_by == listener,
			push_key=row.push_key or "",
			push_secret_hash=row.push_secret_hash or "",
			networks=networks_of(row.source_networks),
			serial_number=row.serial_number or "",
			history=has_history,
			history_seconds=history_minutes(row) * 60.0 if has_history else 0.0,
		)

	def _revision(self, row: Any, password: str) -> str:
		"""A serial number that this very listener learned and reported is no change of configuration."""
		known = row | {"serial_number": ""} if self._learned.get(row.name) == row.serial_number else row
		return config_revision(known, password, get_encryption_key())

	def _address(self, row: Any) -> DeviceAddress:
		known = self._addresses.get(row.name)
		if known and known[0] == str(row.modified):
			return known[1]
		address = device_address(row, _password(row))
		ZoneInfo(address.zone)  # raises where it would be too late otherwise: at the first event
		self._addresses[row.name] = (str(row.modified), address)
		return address

	@transaction
	def deliver(self, events: Sequence[AccessEvent]) -> Delivery:
		return intake.deliver(events)

	@transaction
	def report(self, report: ListenerReport) -> None:
		remember_listener(report)
		changed = [each for each in report.devices if self._reported.get(each.device) != each]
		if not changed:
			return
		zone = ZoneInfo(frappe.utils.get_system_timezone())
		claims: dict[str, str] = {}
		heard = self._heard(changed, zone)
		updates = {
			each.device: state_values(each, zone)
			| self._identity_values(each, claims)
			| heard.get(each.device, {})
			for each in changed
		}
		frappe.db.bulk_update("Hikvision Device", updates, update_modified=False)
		self._announce(changed)
		self._reported.update({each.device: each for each in changed})

	def _heard(self, changed: Sequence[DeviceReport], zone: ZoneInfo) -> dict[str, dict[str, Any]]:
		"""The columns that say until when devices were heard; opens the gaps between contacts."""
		told = {each.device: each.contact for each in changed if each.contact}
		if not told:
			return {}
		offsets = {
			each.device: timedelta(seconds=each.clock_offset)
			for each in changed
			if each.clock_offset is not None
		}
		return contacts.join(contacts.lock(told), told, zone, offsets)

	def _identity_values(self, report: DeviceReport, claims: dict[str, str]) -> dict[str, Any]:
		"""Identity fields when they are news; a terminal that another document owns is named, not stored twice.

		claims: which device of this report each new serial number goes to. One document of two is refused here, where
		the unique key would refuse the report of all devices.
		"""
		identity = report.identity
		if identity is None or self._is_stored(report):
			return {}
		owners = dict(
			frappe.get_all(
				"Hikvision Device",
				or_filters={"serial_number": identity.serial_number, "name": report.device},
				fields=["name", "serial_number"],
				as_list=True,
			)
		)
		expected = owners.pop(report.device, None)
		if expected and expected != identity.serial_number:
			return {}  # another terminal answered; the report's error says so
		if identity.serial_number:
			first = claims.setdefault(identity.serial_number, report.device)
			if owner := next(iter(owners), first if first != report.device else None):
				title = frappe.db.get_value("Hikvision Device", owner, "title")
				return {"last_error": _("This terminal is already registered as {0}.").format(title)}
		if not expected:
			self._learned[report.device] = identity.serial_number
		return {
			"serial_number": identity.serial_number or None,
			"mac_address": identity.mac_address,
			"model": identity.model,
			"firmware": identity.firmware,
		}

	def _is_stored(self, report: DeviceReport) -> bool:
		"""Whether we told this identity before and nobody has made the document forget it since."""
		before = self._reported.get(report.device)
		if before is None or before.identity != report.identity:
			return False
		return self._stored_serials.get(report.device, "") == report.identity.serial_number

	def _announce(self, changed: Sequence[DeviceReport]) -> None:
		"""Tell open forms and lists whose connection state changed; numbers alone are not worth a message."""
		for each in changed:
			before = self._reported.get(each.device)
			if before is None or before.state != each.state:
				message = {"device": each.device, "state": each.state.value}
				frappe.publish_realtime(
					"hikvision_device_state", message, doctype="Hikvision Device", after_commit=True
				)

	@transaction
	def history_tasks(self, listener: str, lease_seconds: float) -> Sequence[HistoryTask]:
		self._reader = listener
		return history.lend(listener, lease_seconds)

	@transaction
	def report_history(self, report: HistoryReport) -> bool:
		return history.note(report, self._reader)

	@transaction
	def release(self, listener: str) -> None:
		device = frappe.qb.DocType("Hikvision Device")
		(
			frappe.qb.update(device)
			.set(device.leased_by, None)
			.set(device.leased_until, None)
			.where(device.leased_by == listener)
		).run()
		history.release(listener)
		forget_listener(listener)

	def close(self) -> None:
		if self._connected:
			self.disconnect()


def _password(row: Any) -> str:
	"""The password to log in with; a device that only pushes is not logged in to."""
	if row.mode != "Stream" and not reads_history(row):
		return ""
	try:
		return get_decrypted_password("Hikvision Device", row.name, raise_exception=False) or ""
	except frappe.ValidationError:
		if row.mode == "Push":
			frappe.clear_messages()
			return ""
		raise PasswordUnreadable(
			_("The stored password cannot be read with this site's encryption key. Enter it again.")
		) from None


def _say_unusable(row: Any, error: Exception) -> None:
	"""Show on the device's form why the listener leaves it alone; written once, not at every reading."""
	if isinstance(error, PasswordUnreadable):
		text = str(error)
	else:
		text = _("The settings of this device cannot be used ({0}). Correct and save them.").format(
			type(error).__name__
		)
	if (row.connection_state, row.last_error) != (ConnectionState.STOPPED.value, text):
		values = {"connection_state": ConnectionState.STOPPED.value, "last_error": text}
		frappe.db.set_value("Hikvision Device", row.name, values, update_modified=False)


def lease_devices(listener: str, now: datetime, until: datetime, only: Sequence[str] | None = None) -> None:
	"""Take every enabled device that is logged in to and that nobody holds, renew those held; one atomic statement."""
	device = frappe.qb.DocType("Hikvision Device")
	is_logged_in_to = device.mode.isin(["Stream", "History"]) | (device.history == 1)
	query = (
		frappe.qb.update(device)
		.set(device.leased_by, listener)
		.set(device.leased_until, until)
		.where((device.enabled == 1) & is_logged_in_to)
		.where(
			(device.leased_by == listener)
			| device.leased_by.isnull()
			| (device.leased_by == "")
			| (device.leased_until < now)
		)
	)
	if only is not None:
		query = query.where(device.name.isin(only or [""]))
	query.run()


def state_values(report: DeviceReport, zone: ZoneInfo) -> dict[str, Any]:
	"""The state fields of a Hikvision Device, instants as naive site time as Frappe keeps them."""
	values: dict[str, Any] = {
		"connection_state": report.state.value,
		"state_since": at_site(report.since, zone).time,
		"connected_since": _or_none(report.connected_since, zone),
		"last_error": report.error,
		"retry_at": _or_none(report.retry_at, zone),
		"reconnects": report.reconnects,
	}
	for field in ("last_heartbeat", "last_event"):
		if moment := getattr(report, field):
			values[field] = at_site(moment, zone).time
	if report.clock_offset is not None:
		values["clock_offset"] = report.clock_offset
	return values


def _or_none(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
	return at_site(moment, zone).time if moment else None
