"""Short words for tests about gaps: what listeners tell, what the keeper makes of it, what people are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import frappe

from hikvision_frappe.core.gaps import Cause, Contact
from hikvision_frappe.ledger.completeness import KeeperSettings, tend
from hikvision_frappe.ledger.site import FrappeSite
from hikvision_frappe.listener.site import ConnectionState, DeviceReport, ListenerReport
from tests.bench.users import create_test_user

AT_ONCE = KeeperSettings(fetch_after=timedelta(0), patience=timedelta(0))


_begun = [datetime.now(timezone.utc)]


def begin_now() -> None:
	"""Let ``ago`` count from now on; for the beginning of a test."""
	_begun[0] = datetime.now(timezone.utc).replace(microsecond=0)


def ago(**span: float) -> datetime:
	"""An instant so long before the test began, UTC, whole seconds."""
	return _begun[0] - timedelta(**span)


class Listener:
	"""A listener's calls to its site, from a thread of their own as always."""

	def __init__(self, site: str, name: str = "this-listener") -> None:
		self.name = name
		self._site = FrappeSite(site)
		self._thread = ThreadPoolExecutor(1)

	def __getattr__(self, method: str) -> Callable[..., Any]:
		def call(*arguments: Any) -> Any:
			result = self._thread.submit(getattr(self._site, method), *arguments).result()
			frappe.db.rollback()
			return result

		return call

	def hears(
		self, device: str, since: datetime, until: datetime, reason: Cause = Cause.RECONNECT, **values: Any
	) -> None:
		"""Report that the device was heard without a break, and everything is delivered."""
		contact = Contact(since, until, reason)
		report = DeviceReport(device, ConnectionState.CONNECTED, since, contact=contact, **values)
		self.report(ListenerReport(self.name, since, devices=[report]))

	def end(self) -> None:
		self.release(self.name)
		self.close()
		self._thread.shutdown()


@contextmanager
def listening(site: str, name: str = "this-listener") -> Iterator[Listener]:
	listener = Listener(site, name)
	try:
		yield listener
	finally:
		listener.end()


def look(settings: KeeperSettings = AT_ONCE) -> None:
	"""One round of the keeper, patient for no time unless told otherwise."""
	assert tend(settings)
	frappe.db.rollback()


def gaps(device: str) -> list[Any]:
	frappe.db.rollback()
	return frappe.get_all("Access Event Gap", {"device": device}, ["*"], order_by="since_utc, name")


def gap(device: str) -> Any:
	"""The device's only gap."""
	(found,) = gaps(device)
	return found


def fetches(device: str) -> list[Any]:
	frappe.db.rollback()
	return frappe.get_all("Hikvision History Fetch", {"device": device}, ["*"], order_by="creation, name")


def of_device(device: str, field: str) -> Any:
	frappe.db.rollback()
	return frappe.db.get_value("Hikvision Device", device, field)


def complete_until(device: str) -> datetime | None:
	moment = of_device(device, "complete_until_utc")
	return moment.replace(tzinfo=timezone.utc) if moment else None


def with_manager() -> str:
	"""Somebody who is told of outages and gaps."""
	return create_test_user("Hikvision Manager")


def notices(device: str) -> list[str]:
	"""What a manager was told of the device's gaps, in order; ``with_manager`` must have been called before."""
	frappe.db.rollback()
	names = [each.name for each in gaps(device)]
	told = frappe.get_all(
		"Notification Log",
		{
			"document_type": "Access Event Gap",
			"document_name": ["in", names or [""]],
			"for_user": with_manager(),
		},
		["subject"],
		order_by="creation, name",
	)
	return [row.subject for row in told]
