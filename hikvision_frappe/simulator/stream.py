"""One open alertStream: replay, live events, heartbeats, and the ways in which it goes wrong."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from hikvision_frappe.simulator.framing import StreamFramer, jpeg
from hikvision_frappe.simulator.http import Connection, Takeover
from hikvision_frappe.simulator.profile import Heartbeat
from hikvision_frappe.simulator.records import SimulatedRecord
from hikvision_frappe.simulator.state import DeviceState
from hikvision_frappe.simulator.wording import JSON_TYPE, XML_TYPE

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class AlertStream(Takeover):
	"""Tells one client everything from its place in the log onwards, in order, as fast as it reads.

	on_lost is called once, when the connection is gone.
	"""

	__slots__ = (
		"_broken_in", "_cursor", "_ended", "_framer", "_held", "_hung", "_last_sent", "_live_from", "_loop",
		"_on_lost", "_sent", "_slow", "_state", "_timers", "authorization", "connection",
	)  # fmt: skip

	def __init__(
		self, state: DeviceState, authorization: str | None, on_lost: Callable[[AlertStream], None]
	) -> None:
		self._state = state
		self._on_lost = on_lost
		self._framer = StreamFramer(state.profile.stream)
		self._loop = asyncio.get_running_loop()
		self._live_from = state.log.end
		self._cursor = self._first_position()
		self._held: list[SimulatedRecord] = []
		self._slow = bytearray()
		self._sent = 0
		self._broken_in = 0
		self._last_sent = self._loop.time()
		self._hung = False
		self._ended = False
		self._timers: dict[str, asyncio.TimerHandle] = {}
		self.authorization = authorization
		self.connection: Connection

	@property
	def is_live(self) -> bool:
		"""Whether the device still sends here."""
		return not (self._ended or self._hung)

	def begin(self, connection: Connection) -> None:
		self.connection = connection
		style = self._state.profile.stream
		lines = ["HTTP/1.1 200 OK", "MIME-Version: 1.0", f"Server: {self._state.profile.server}"]
		lines += [f"Connection: {style.connection_header}", f"Content-Type: {self._framer.content_type()}"]
		if style.chunked:
			lines.append("Transfer-Encoding: chunked")
		connection.transport.write("\r\n".join([*lines, "", ""]).encode())
		self._write(self._framer.opening())
		if self._cursor == self._live_from:
			self.beat()
		self._in(style.heartbeat_seconds, "heartbeat", self._heartbeat_due)
		if style.seconds is not None:
			self._in(style.seconds, "end", self.cut)
		self.pump()

	def pump(self) -> None:
		"""Tell whatever the log has beyond what was told, until the client stops reading."""
		log = self._state.log
		while self.is_live and not self.connection.writing_paused and not self._slow:
			self._cursor = max(self._cursor, log.start)
			if self._cursor >= log.end:
				return
			record = log.records[self._cursor]
			self._cursor += 1
			self._tell(record, live=self._cursor > self._live_from)

	def notify(self, event_type: str, event_state: str, channel: int) -> None:
		"""Send a notification that is no record, e.g. motion."""
		if self.is_live and not self.connection.writing_paused:
			body = self._state.writer.notification(event_type, event_state, channel)
			self._write(self._framer.part(body, self._state.writer.content_type, event_type))

	def beat(self) -> None:
		"""Send a heartbeat now."""
		if not self.is_live or self.connection.writing_paused:
			return
		self._flush_held()
		form = self._state.profile.stream.heartbeat
		kind = XML_TYPE if form is Heartbeat.VIDEOLOSS_XML else JSON_TYPE
		self._write(self._framer.part(self._state.writer.heartbeat(form), kind))

	def cut(self, mid_frame: bool = False, reset: bool = False) -> None:
		"""End the connection: after half of a frame if asked, with RST instead of FIN if asked."""
		if not self.is_live:
			return
		if mid_frame:
			frame = self._some_frame()
			self._raw_write(frame[: len(frame) // 2])
		self._end(reset)

	def hang(self) -> None:
		"""Become half-open: nothing is sent any more, and the socket stays."""
		self._hung = True

	def writable(self) -> None:
		self.pump()

	def lost(self) -> None:
		self._ended = True
		for timer in self._timers.values():
			timer.cancel()
		self._timers.clear()
		self._on_lost(self)

	def _first_position(self) -> int:
		log, replay = self._state.log, self._state.profile.stream.replay
		return log.start if replay is None else max(log.start, log.end - replay)

	def _tell(self, record: SimulatedRecord, live: bool) -> None:
		faults = self._state.faults
		if live and faults.reorder > 1:
			self._held.append(record)
			if len(self._held) >= faults.reorder:
				self._flush_held()
			return
		for _ in range(max(1, faults.duplicates)):
			self._send_record(record, live)

	def _flush_held(self) -> None:
		held, self._held = self._held, []
		self._state.dice.shuffle(held)
		for record in held:
			for _ in range(max(1, self._state.faults.duplicates)):
				self._send_record(record, live=True)

	def _send_record(self, record: SimulatedRecord, live: bool) -> None:
		faults = self._state.faults
		frame = self._record_frame(record, live)
		self._broken_in += 1
		if faults.malformed_every and self._broken_in % faults.malformed_every == 0:
			body = self._state.writer.record(record, live)
			self._write(self._framer.malformed(body))
		if faults.cut_chance and self._state.dice.random() < faults.cut_chance:
			self._raw_write(frame[: self._state.dice.randrange(1, len(frame))])
			self._end(reset=False)
			return
		self._write(frame)

	def _record_frame(self, record: SimulatedRecord, live: bool) -> bytes:
		size = self._state.faults.picture_bytes if record.is_pass else 0
		body = self._state.writer.record(record, live, 1 if size else 0)
		return self._framer.part(
			body,
			self._state.writer.content_type,
			"AccessControllerEvent",
			jpeg(size) if size else b"",
			self._state.faults.part_length,
		)

	def _some_frame(self) -> bytes:
		"""A frame to cut: of the newest record, or of a heartbeat when there is none."""
		log = self._state.log
		if log.end > log.start:
			return self._record_frame(log.records[-1], live=True)
		form = self._state.profile.stream.heartbeat
		return self._framer.part(self._state.writer.heartbeat(form), JSON_TYPE)

	def _write(self, data: bytes) -> None:
		"""Send bytes as the faults want them: whole, cut at a limit, or slowly."""
		if not self.is_live or not data:
			return
		self._last_sent = self._loop.time()
		limit = self._state.faults.cut_after_bytes
		if limit is not None and self._sent + len(data) >= limit:
			self._raw_write(bytes(self._slow) + data[: max(0, limit - self._sent)])
			self._end(reset=False)
			return
		self._sent += len(data)
		if self._state.faults.dribble_bytes or self._slow:
			self._slow += data
			if "dribble" not in self._timers:
				self._dribble()
			return
		self._raw_write(data)

	def _dribble(self) -> None:
		self._timers.pop("dribble", None)
		size = self._state.faults.dribble_bytes or len(self._slow)
		if not self.is_live:
			return
		self._raw_write(bytes(self._slow[:size]))
		del self._slow[:size]
		if self._slow:
			self._in(self._state.faults.dribble_seconds, "dribble", self._dribble)
		else:
			self._loop.call_soon(self.pump)

	def _raw_write(self, data: bytes) -> None:
		if self._ended or not data:
			return
		if self._state.profile.stream.chunked:
			data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
		self.connection.transport.write(data)

	def _end(self, reset: bool) -> None:
		self._ended = True
		transport = self.connection.transport
		if reset:
			sock = transport.get_extra_info("socket")
			sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
			transport.abort()
		else:
			transport.close()

	def _heartbeat_due(self) -> None:
		"""A heartbeat after so much silence; events restart the time."""
		interval = self._state.profile.stream.heartbeat_seconds
		silence = self._loop.time() - self._last_sent
		if silence >= interval - 0.001:
			self.beat()
			silence = 0.0
		self._in(interval - silence, "heartbeat", self._heartbeat_due)

	def _in(self, seconds: float, name: str, action: Callable[[], None]) -> None:
		if not self._ended:
			self._timers[name] = self._loop.call_later(seconds, action)
