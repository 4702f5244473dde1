"""Instants as the database keeps them: UTC without a zone in columns named so, naive site time where people look."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import overload
from zoneinfo import ZoneInfo

from frappe.utils import get_system_timezone

from hikvision_frappe.core.clock import LONGEST_REPETITION, at_site, moment_of


def utc_now() -> datetime:
	return datetime.now(timezone.utc)


def site_zone() -> ZoneInfo:
	return ZoneInfo(get_system_timezone())


@overload
def naive(moment: datetime) -> datetime: ...
@overload
def naive(moment: None) -> None: ...


def naive(moment: datetime | None) -> datetime | None:
	"""An instant for a column in UTC."""
	return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment else None


@overload
def aware(moment: datetime) -> datetime: ...
@overload
def aware(moment: None) -> None: ...


def aware(moment: datetime | None) -> datetime | None:
	"""An instant from a column in UTC."""
	return moment.replace(tzinfo=timezone.utc) if moment else None


def shown(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
	"""An instant as naive site time without its fraction."""
	return at_site(moment, zone).time.replace(microsecond=0) if moment else None


def certainly_after(moment: datetime, zone: ZoneInfo) -> datetime:
	"""A naive site time from which on whatever shows it happened after the instant, also in the repeated hour."""
	time = at_site(moment, zone).time
	return time if moment_of(time, zone) else time + LONGEST_REPETITION
