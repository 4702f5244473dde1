"""What was sent against what was stored: counted from the simulators' logs and the ledger's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from hikvision_frappe.listener.local_site import StoredEvent, percentile
from hikvision_frappe.simulator.records import SimulatedRecord

Key = tuple[str, int, int, int, int, str]


@dataclass(frozen=True, slots=True)
class Verdict:
	"""The demo's result. Latency: from the record's making at the terminal to the commit of its row."""

	sent: int
	stored: int
	lost: int
	duplicates: int
	p50_ms: float
	p99_ms: float
	reconnects: int

	@property
	def is_good(self) -> bool:
		return self.lost == 0 and self.duplicates == 0

	def to_plain(self) -> dict[str, float]:
		return asdict(self)


def judge(
	records: Iterable[tuple[str, SimulatedRecord]],
	rows: Sequence[StoredEvent],
	committed_at: Mapping[tuple[str, int], float],
	reconnects: int,
) -> Verdict:
	"""Compare record by record: device, number, instant, codes and person must all agree.

	records: with the key of their device. committed_at: UTC seconds of the first commit, by device key and number.
	"""
	records = list(records)
	sent = Counter(_record_key(device, record) for device, record in records)
	stored = Counter(_row_key(row) for row in rows)
	latencies = [
		committed_at[(device, record.serial_no)] - record.made_at.timestamp()
		for device, record in records
		if (device, record.serial_no) in committed_at
	]
	return Verdict(
		sent=sum(sent.values()),
		stored=sum(stored.values()),
		lost=sum((sent - stored).values()),
		duplicates=sum((stored - sent).values()),
		p50_ms=round(percentile(latencies, 0.5) * 1_000, 1),
		p99_ms=round(percentile(latencies, 0.99) * 1_000, 1),
		reconnects=reconnects,
	)


def _record_key(device: str, record: SimulatedRecord) -> Key:
	return (
		device,
		record.serial_no,
		int(record.instant.timestamp()),
		record.major,
		record.minor,
		record.person,
	)


def _row_key(row: StoredEvent) -> Key:
	return (row.device, row.serial_no or 0, row.occurred_second, row.major, row.minor, row.person)
