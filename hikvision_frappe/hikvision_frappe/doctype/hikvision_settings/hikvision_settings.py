"""How passes become check-ins, what is kept, and how devices reach this site."""

from __future__ import annotations

from urllib.parse import urlsplit

import frappe
from frappe import _
from frappe.model.document import Document


class HikvisionSettings(Document):
	def validate(self) -> None:
		self.push_base_url = (self.push_base_url or "").strip().rstrip("/")
		self._check_push_base_url()

	def _check_push_base_url(self) -> None:
		if not self.push_base_url:
			return
		parts = urlsplit(self.push_base_url)
		if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
			frappe.throw(
				_("Write the address of the push port like http://192.0.2.10:8090, without a path."),
				title=_("Push Port"),
			)
