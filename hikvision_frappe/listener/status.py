"""The listener's own small page: devices, states, last passes, what waits, and what to do about errors.

Also as JSON and as Prometheus metrics. Reads only; it needs neither the site nor anything from the internet. Persons
are shown only where that is switched on, and by their number alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hikvision_frappe.core.event import AccessEvent
from hikvision_frappe.isapi.codes import meaning_of
from hikvision_frappe.listener.device_track import DeviceTrack, Intake
from hikvision_frappe.listener.forward import Forwarder
from hikvision_frappe.listener.push import PushServer
from hikvision_frappe.listener.site import ConnectionState, HistoryReport
from hikvision_frappe.listener.spool import Spool

REFRESH_SECONDS = 3
HEADERS = {
	"Cache-Control": "no-store",
	"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
	"Referrer-Policy": "no-referrer",
	"X-Content-Type-Options": "nosniff",
}
STYLE = """
:root { color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif }
body { margin: 0 auto; max-width: 60rem; padding: 1rem }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin: 1.5rem 0 .5rem }
.error { background: #b3261e; border-radius: .4rem; color: #fff; margin: .5rem 0; padding: .6rem .8rem }
.figures { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0; padding: 0; list-style: none }
.figures b { display: block; font-size: 1.4rem }
.device { border: 1px solid #8886; border-left-width: .4rem; border-radius: .4rem; margin: .5rem 0;
	padding: .5rem .8rem }
.device.good { border-left-color: #2e7d32 } .device.wait { border-left-color: #f9a825 }
.device.bad { border-left-color: #b3261e }
.device p { margin: .2rem 0 } small { opacity: .75 }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #8884; padding: .25rem .5rem .25rem 0 }
"""


class StatusSource(Protocol):
	"""What the page needs to see of a running listener."""

	started_at: datetime
	spool: Spool
	intake: Intake
	forwarder: Forwarder
	push: PushServer

	@property
	def tracks(self) -> Mapping[str, DeviceTrack]: ...

	@property
	def errors(self) -> list[str]: ...

	@property
	def push_address(self) -> str: ...

	@property
	def recent(self) -> deque[AccessEvent]: ...

	@property
	def readings(self) -> Sequence[HistoryReport]: ...


class StatusServer:
	"""Serves ``/``, ``/status.json`` and ``/metrics``."""

	def __init__(self, source: StatusSource, *, show_names: bool = False) -> None:
		self._source = source
		self._show_names = show_names
		self._registry = CollectorRegistry()
		self._registry.register(ListenerCollector(source))
		self._runner: web.AppRunner | None = None
		self.port = 0

	async def start(self, host: str, port: int) -> None:
		"""Bind and serve; raises OSError when the port cannot be had."""
		app = web.Application(client_max_size=1024)
		app.add_routes(
			[
				web.get("/", self._page),
				web.get("/status.json", self._json),
				web.get("/metrics", self._metrics),
			]
		)
		self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15.0)
		await self._runner.setup()
		site = web.TCPSite(self._runner, host, port)
		await site.start()
		self.port = self._runner.addresses[0][1]

	async def stop(self) -> None:
		if self._runner:
			await self._runner.cleanup()
			self._runner = None

	async def _page(self, _: web.Request) -> web.Response:
		text = render_page(await snapshot(self._source, show_names=self._show_names))
		return web.Response(text=text, content_type="text/html", headers=HEADERS)

	async def _json(self, _: web.Request) -> web.Response:
		return web.json_response(await snapshot(self._source, show_names=self._show_names), headers=HEADERS)

	async def _metrics(self, _: web.Request) -> web.Response:
		headers = {**HEADERS, "Content-Type": CONTENT_TYPE_LATEST}
		return web.Response(body=generate_latest(self._registry), headers=headers)


async def snapshot(source: StatusSource, *, show_names: bool) -> dict[str, Any]:
	"""Everything the page shows, JSON-ready: instants as ISO 8601 UTC texts, durations in seconds."""
	oldest = await source.spool.oldest() if source.spool.depth and not source.spool.fault else None
	titles = {track.device: track.title or track.device for track in source.tracks.values()}
	return {
		"at": _text(datetime.now(timezone.utc)),
		"started_at": _text(source.started_at),
		"push_address": source.push_address,
		"errors": source.errors,
		"spool": {
			"depth": source.spool.depth,
			"oldest_waiting": _text(oldest),
			"set_aside": source.spool.set_aside_depth,
			"appended": source.spool.counts.appended,
			"repeated": source.spool.counts.repeated,
		},
		"site": {
			"new": source.forwarder.new,
			"known": source.forwarder.known,
			"lag": round(source.forwarder.lag, 3),
		},
		"devices": [_device(track, source.intake.settled) for track in source.tracks.values()],
		"readings": [_reading(report, titles) for report in source.readings],
		"last_events": [_event(event, titles, show_names) for event in reversed(source.recent)],
	}


def _device(track: DeviceTrack, settled: int) -> dict[str, Any]:
	identity = track.identity
	contact = track.contact.told(settled)
	return {
		"device": track.device,
		"title": track.title or track.device,
		"state": track.state.value,
		"since": _text(track.since),
		"connected_since": _text(track.connected_since),
		"heard_since": _text(contact.since) if contact else None,
		"heard_until": _text(contact.until) if contact else None,
		"last_heartbeat": _text(track.last_heartbeat),
		"last_event": _text(track.last_event),
		"error": track.error,
		"retry_at": _text(track.retry_at),
		"reconnects": track.reconnects,
		"events": track.events,
		"malformed": track.malformed,
		"refused": track.refused,
		"clock_offset": None if track.clock_offset is None else round(track.clock_offset, 1),
		"model": identity.model if identity else "",
		"serial_number": identity.serial_number if identity else "",
	}


def _reading(report: HistoryReport, titles: Mapping[str, str]) -> dict[str, Any]:
	return {
		"device": titles.get(report.device, report.device),
		"task": report.task,
		"rows": report.rows,
		"new": report.new,
		"total": report.total,
		"read_until": _text(report.read_until),
	}


def _event(event: AccessEvent, titles: Mapping[str, str], show_names: bool) -> dict[str, Any]:
	shown = {
		"device": titles.get(event.device, event.device),
		"occurred_at": _text(event.occurred_at),
		"kind": event.kind.value,
		"meaning": meaning_of(event.major, event.minor),
		"source": event.source.value,
		"door": event.door_no,
	}
	return {**shown, "person": event.person} if show_names else shown


def _text(moment: datetime | None) -> str | None:
	return moment.isoformat(timespec="seconds") if moment else None


# The page.


def render_page(status: Mapping[str, Any]) -> str:
	"""One HTML document without scripts or anything from elsewhere, readable on a phone."""
	spool, site = status["spool"], status["site"]
	figures = {
		"waiting in the spool": spool["depth"],
		"stored by the site": site["new"],
		"told again": spool["repeated"] + site["known"],
		"seconds to the site": site["lag"],
		"set aside": spool["set_aside"],
	}
	return "".join(
		(
			'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Hikvision listener</title>',
			'<meta name="viewport" content="width=device-width, initial-scale=1">',
			f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><style>{STYLE}</style></head><body>',
			"<h1>Hikvision listener</h1>",
			*(f'<p class="error">{escape(error)}</p>' for error in status["errors"]),
			'<ul class="figures">',
			*(f"<li><b>{escape(str(figure))}</b>{name}</li>" for name, figure in figures.items()),
			"</ul>",
			_push_line(status["push_address"]),
			"<h2>Devices</h2>",
			*(_device_card(device) for device in status["devices"]),
			"" if status["devices"] else "<p>None yet: the site has not told its devices, or has none.</p>",
			*_readings_table(status["readings"]),
			"<h2>Last events</h2><table>",
			*(_event_row(event) for event in status["last_events"]),
			"</table>",
			f"<p><small>{escape(status['at'])} · running since {escape(status['started_at'])}</small></p>",
			"</body></html>",
		)
	)


def _push_line(address: str) -> str:
	return f"<p>Devices post to <code>{escape(address)}/hikvision/event/…</code></p>" if address else ""


def _device_card(device: Mapping[str, Any]) -> str:
	facts = (
		("connected since", device["connected_since"]),
		("heard without a break since", device["heard_since"]),
		("heard until", device["heard_until"]),
		("last heartbeat", device["last_heartbeat"]),
		("last event", device["last_event"]),
		("next try", device["retry_at"]),
		("events", device["events"]),
		("reconnects", device["reconnects"]),
		("not understood", device["malformed"]),
		("clock behind by s", device["clock_offset"]),
	)
	told = " · ".join(f"{name} {escape(str(value))}" for name, value in facts if value not in (None, 0))
	error = f"<p>{escape(device['error'])}</p>" if device["error"] else ""
	return (
		f'<div class="device {_mood(device["state"])}"><p><b>{escape(device["title"])}</b> '
		f"{escape(device['state'])} <small>{escape(device['model'])}</small></p>{error}"
		f"<p><small>{told}</small></p></div>"
	)


def _readings_table(readings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
	if not readings:
		return
	yield "<h2>Histories being read</h2><table>"
	for reading in readings:
		of_all = "" if reading["total"] is None else f" of {reading['total']}"
		cells = (reading["device"], f"{reading['rows']}{of_all} records", f"{reading['new']} new")
		yield _row(cells)
	yield "</table>"


def _mood(state: str) -> str:
	moods = {ConnectionState.CONNECTED.value: "good", ConnectionState.STOPPED.value: "bad"}
	return moods.get(state, "wait")


def _event_row(event: Mapping[str, Any]) -> str:
	return _row((event["occurred_at"], event["device"], event["meaning"], event.get("person", "")))


def _row(cells: Iterable[object]) -> str:
	return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"


# Metrics.


class ListenerCollector(Collector):
	"""Reads the listener's figures at each scrape; nothing is kept twice."""

	def __init__(self, source: StatusSource) -> None:
		self._source = source

	def collect(self) -> Iterator[Metric]:
		yield from self._spool_metrics()
		yield from self._device_gauges()
		yield from self._device_counters()
		yield GaugeMetricFamily(
			"hikvision_histories_being_read", "Readings of history now", len(self._source.readings)
		)
		push = CounterMetricFamily("hikvision_push_requests", "Requests to the push port", labels=["status"])
		push.add_metric(["200"], self._source.push.counts.accepted)
		for status, number in sorted(self._source.push.counts.refused.items()):
			push.add_metric([str(status)], number)
		yield push

	def _spool_metrics(self) -> Iterable[Metric]:
		spool, forwarder = self._source.spool, self._source.forwarder
		yield GaugeMetricFamily("hikvision_spool_depth", "Events waiting for the site", spool.depth)
		yield GaugeMetricFamily("hikvision_spool_set_aside", "Events the site refused", spool.set_aside_depth)
		yield GaugeMetricFamily(
			"hikvision_spool_writable", "0 when nothing can be written", int(not spool.fault)
		)
		yield GaugeMetricFamily(
			"hikvision_forward_lag_seconds", "Wait of the last forwarded event", forwarder.lag
		)
		yield GaugeMetricFamily(
			"hikvision_site_reachable", "0 when the site takes nothing", int(not forwarder.error)
		)
		events = CounterMetricFamily("hikvision_events", "Events taken by the site", labels=["result"])
		events.add_metric(["new"], forwarder.new)
		events.add_metric(["known"], forwarder.known)
		yield events

	def _device_gauges(self) -> Iterable[Metric]:
		connected = GaugeMetricFamily("hikvision_device_connected", "1 when connected", labels=["device"])
		offset = GaugeMetricFamily(
			"hikvision_device_clock_offset_seconds", "Our clock minus the device's", labels=["device"]
		)
		heard = GaugeMetricFamily(
			"hikvision_device_last_heard_timestamp_seconds", "Last event or heartbeat", labels=["device"]
		)
		complete = GaugeMetricFamily(
			"hikvision_device_contact_until_timestamp_seconds",
			"Everything told without a break until then is at the site",
			labels=["device"],
		)
		settled = self._source.intake.settled
		for track in self._source.tracks.values():
			connected.add_metric([track.device], int(track.state is ConnectionState.CONNECTED))
			if track.clock_offset is not None:
				offset.add_metric([track.device], track.clock_offset)
			moments = [moment for moment in (track.last_event, track.last_heartbeat) if moment]
			if moments:
				heard.add_metric([track.device], max(moments).timestamp())
			if contact := track.contact.told(settled):
				complete.add_metric([track.device], contact.until.timestamp())
		return connected, offset, heard, complete

	def _device_counters(self) -> Iterable[Metric]:
		families = {
			name: CounterMetricFamily(f"hikvision_device_{name}", text, labels=["device"])
			for name, text in (
				("events", "Events received"),
				("heartbeats", "Heartbeats received"),
				("reconnects", "Streams opened again"),
				("malformed", "Messages that could not be understood"),
				("refused", "Pushes turned away after the token"),
			)
		}
		for track in self._source.tracks.values():
			for name, family in families.items():
				family.add_metric([track.device], getattr(track, name))
		return families.values()
