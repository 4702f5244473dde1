"""A terminal, controller or recorder: how to reach it, what its doors mean, what it last said."""

from __future__ import annotations

import re
from zoneinfo import available_timezones

import frappe
from frappe import _
from frappe.model.document import Document
from frappe.utils import get_system_timezone

from hikvision_frappe.hikvision_frappe.doctype.hikvision_serial_epoch.hikvision_serial_epoch import (
	create_first_epoch,
)
from hikvision_frappe.ledger import history
from hikvision_frappe.ledger.devices import (
	HISTORY_MINUTES,
	REPORTED_FIELDS,
	duplicates,
	may_read_history,
	networks_of,
	new_push_key,
	new_push_secret,
	secret_hash,
)
from hikvision_frappe.ledger.push import forget_device

PINNED = "HTTPS, pinned certificate"
UNVERIFIED = "HTTPS, unverified"


class HikvisionDevice(Document):
	def before_insert(self) -> None:
		self.push_key = new_push_key()
		self._set_push_secret(new_push_secret())

	def before_validate(self) -> None:
		self.host = (self.host or "").strip()
		self.port = self.port or (80 if self.tls_mode == "HTTP" else 443)
		self.time_zone = (self.time_zone or "").strip() or get_system_timezone()
		self.tls_fingerprint = (self.tls_fingerprint or "").replace(":", "").strip().lower()
		self._settle_history()

	def validate(self) -> None:
		self._check_address()
		self._check_fingerprint()
		self._check_time_zone()
		self._check_coordinates()
		self._check_networks()
		self._check_doors()

	def before_save(self) -> None:
		self._keep_what_was_reported()

	def after_insert(self) -> None:
		create_first_epoch(self.name)

	def on_update(self) -> None:
		forget_device(self.push_key)
		if not may_read_history(self.as_dict()):
			history.stop(self.name)

	def on_trash(self) -> None:
		if frappe.db.exists("Access Event", {"device": self.name}):
			frappe.throw(
				_("{0} has events in the ledger. Switch it off with Enabled instead.").format(self.title),
				frappe.LinkExistsError,
			)
		for doctype in ("Hikvision Serial Epoch", "Hikvision History Fetch", "Access Event Gap"):
			frappe.db.delete(doctype, {"device": self.name})
		forget_device(self.push_key)

	@frappe.whitelist()
	def rotate_push_secret(self) -> None:
		"""Give the device a new notification URL; the old one stops working at once."""
		self.check_permission("write")
		self._set_push_secret(new_push_secret())
		self.save()

	@frappe.whitelist()
	def forget_identity(self) -> None:
		"""The hardware was replaced: let the next connection store who answers."""
		self.check_permission("write")
		unknown = {"serial_number": None, "mac_address": "", "model": "", "firmware": ""}
		self.db_set(unknown, update_modified=False)

	def _set_push_secret(self, secret: str) -> None:
		self.push_secret = secret
		self.push_secret_hash = secret_hash(secret)

	def _settle_history(self) -> None:
		"""A device that only pushes has no address to ask at, unless somebody gives it one."""
		if self.mode == "History":
			self.history = 1
			self.history_minutes = self.history_minutes or HISTORY_MINUTES
		elif (
			self.mode == "Push" and not self.host and (self.is_new() or not self.has_value_changed("history"))
		):
			self.history = 0

	def _check_address(self) -> None:
		if self.mode == "Stream" and not self.host:
			frappe.throw(_("Host is needed for a device whose stream we ask for."), frappe.MandatoryError)
		if self.history and not self.host:
			frappe.throw(_("Host is needed for a device whose history we read."), frappe.MandatoryError)
		if re.search(r"[\s/@?#]", self.host):
			frappe.throw(_("Write only the IP address or name of the device as its host."), title=_("Host"))
		if not 1 <= self.port <= 65535:
			frappe.throw(_("A port is a number from 1 to 65535."), title=_("Port"))

	def _check_fingerprint(self) -> None:
		if self.tls_mode == PINNED and not re.fullmatch(r"[0-9a-f]{64}", self.tls_fingerprint):
			frappe.throw(
				_("A SHA-256 fingerprint has 64 hexadecimal digits. Test Connection shows the device's own."),
				title=_("Certificate Fingerprint"),
			)

	def _check_time_zone(self) -> None:
		if self.time_zone not in available_timezones():
			frappe.throw(
				_("{0} is not a time zone. Write it like Europe/Stockholm.").format(self.time_zone),
				title=_("Time Zone"),
			)

	def _check_coordinates(self) -> None:
		if abs(self.latitude or 0) > 90 or abs(self.longitude or 0) > 180:
			frappe.throw(
				_("Latitude goes from -90 to 90, longitude from -180 to 180."), title=_("Coordinates")
			)

	def _check_networks(self) -> None:
		try:
			self.source_networks = "\n".join(networks_of(self.source_networks))
		except ValueError as error:
			frappe.throw(_("Not a network: {0}").format(error), title=_("Accept Pushes Only From"))

	def _check_doors(self) -> None:
		for row in duplicates(self.doors, key=lambda row: (row.door_no or 0, row.reader_no or 0)):
			frappe.throw(
				_("Row {0}: this door and reader are listed above already.").format(row.idx),
				title=_("Doors and Readers"),
			)

	def _keep_what_was_reported(self) -> None:
		"""The listener writes beside an open form; what it wrote since the form was loaded stays."""
		if self.is_new():
			return
		reported = frappe.db.get_value(self.doctype, self.name, REPORTED_FIELDS, as_dict=True)
		self.update(reported)
