"""What the simulated devices made against what the ledger holds, record by record."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from hikvision_frappe.core.gaps import UNRESOLVED, Gap, GapState
from hikvision_frappe.listener.local_site import StoredEvent

CLOSE_SECONDS = 2.0
EXAMPLES = 20

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Made:
	"""A record as its device made it. instant: whole UTC seconds by the device's clock; made_at: by the real one."""

	device: str
	serial_no: int
	instant: int
	made_at: float
	major: int
	minor: int
	person: str

	@property
	def content(self) -> tuple[str, int, int, int, str]:
		return (self.device, self.instant, self.major, self.minor, self.person)

	@classmethod
	def from_line(cls, line: str) -> Made:
		return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Verdict:
	"""lost: missing, and no gap tells of it. in_gaps: missing, and a gap that is not resolved says so; unrecoverable: of
	these, those in gaps that nobody can fill any more. before_start: missing, and made before every device was heard for
	the first time. gaps: how many there ever were, by state. sent + duplicates = stored + lost + in_gaps + before_start.
	"""

	sent: int
	stored: int
	lost: int
	duplicates: int
	in_gaps: int
	unrecoverable: int
	before_start: int
	gaps: int
	gaps_by_state: Mapping[str, int]
	examples: Sequence[Made] = field(default=(), repr=False)

	@property
	def is_good(self) -> bool:
		return self.lost == 0 and self.duplicates == 0

	def to_plain(self) -> dict[str, object]:
		plain = asdict(self)
		del plain["examples"]
		return plain


def judge(
	made: Sequence[Made], rows: Sequence[StoredEvent], gaps: Sequence[Gap], since: float = 0.0
) -> Verdict:
	"""Every record must have its row, and every row its record.

	since: UTC seconds; what was made before, when not every device was heard yet, nobody has promised to have.
	"""
	absent = _missing(made, rows)
	missing = [record for record in absent if record.made_at >= since]
	telling = defaultdict(list)
	for gap in gaps:
		if gap.state in UNRESOLVED:
			telling[gap.device].append(gap)
	covered = [(record, _covering(record, telling[record.device])) for record in missing]
	lost = [record for record, covering in covered if not covering]
	final = [
		record for record, covering in covered if any(gap.state is GapState.UNRECOVERABLE for gap in covering)
	]
	return Verdict(
		sent=len(made),
		stored=len(rows),
		lost=len(lost),
		duplicates=_surplus(made, rows),
		in_gaps=len(missing) - len(lost),
		unrecoverable=len(final),
		before_start=len(absent) - len(missing),
		gaps=len(gaps),
		gaps_by_state=dict(Counter(gap.state.value for gap in gaps)),
		examples=tuple(lost[:EXAMPLES]),
	)


def _missing(made: Sequence[Made], rows: Sequence[StoredEvent]) -> list[Made]:
	numbered = Counter((row.serial_no, *_content(row)) for row in rows if row.serial_no is not None)
	unnumbered = Counter(_content(row) for row in rows if row.serial_no is None)
	rest = []
	for record in made:
		if not _take(numbered, (record.serial_no, *record.content)):
			rest.append(record)
	return [record for record in rest if not _take(unnumbered, record.content)]


def _take(counter: Counter[Key], key: Key) -> bool:
	if counter[key] <= 0:
		return False
	counter[key] -= 1
	return True


def _surplus(made: Iterable[Made], rows: Iterable[StoredEvent]) -> int:
	"""Rows beyond the records of the same second, door event and person; a row that is no record is one too."""
	stored = Counter(_content(row) for row in rows)
	return sum((stored - Counter(record.content for record in made)).values())


def _content(row: StoredEvent) -> tuple[str, int, int, int, str]:
	return (row.device, row.occurred_second, row.major, row.minor, row.person)


def _covering(record: Made, gaps: Iterable[Gap]) -> list[Gap]:
	return [gap for gap in gaps if _names(gap, record) or _spans(gap, record)]


def _names(gap: Gap, record: Made) -> bool:
	if gap.first_serial is None or gap.last_serial is None:
		return False
	return gap.first_serial <= record.serial_no <= gap.last_serial


def _spans(gap: Gap, record: Made) -> bool:
	"""By the real time, or by what the device took for it while nobody knew better."""
	begins = gap.since.timestamp() - CLOSE_SECONDS
	ends = gap.until.timestamp() + CLOSE_SECONDS if gap.until else float("inf")
	return any(begins <= at <= ends for at in (record.made_at, record.instant))
