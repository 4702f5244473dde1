"""Whose number is this: from a device and a person number to an employee, or to an honest "nobody knows"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

# The longest person number of any known device (employeeNo) is 32 characters.
LONGEST_CODE = 32


class Standing(str, Enum):
	"""What is known about a person number."""

	MATCHED = "matched"
	IGNORED = "ignored"  # somebody said: never count this number
	UNKNOWN = "unknown"
	AMBIGUOUS = "ambiguous"  # several people have it; a choice would be a guess


class MatchedBy(str, Enum):
	"""Which rule found the employee, in order of precedence."""

	DEVICE_NUMBER = "device number"
	PERSON_CODE = "person code"
	ATTENDANCE_DEVICE_ID = "attendance device id"
	LEADING_ZEROS = "leading zeros"


@dataclass(frozen=True, slots=True)
class KnownPerson:
	"""An Access Person: its number everywhere, and numbers that hold on single devices.

	code: "" when the person has numbers on single devices alone. employee: "" while unmatched.
	device_numbers: pairs (device, number).
	"""

	name: str
	code: str = ""
	employee: str = ""
	ignored: bool = False
	device_numbers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
	"""The answer: ``employee`` when MATCHED, ``candidates`` (employees, sorted) when AMBIGUOUS."""

	standing: Standing
	employee: str = ""
	person: str = ""
	matched_by: MatchedBy | None = None
	candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
	employee: str
	person: str = ""
	ignored: bool = False


@dataclass(slots=True)
class Directory:
	"""The part of the mapping that a batch needs; build it with ``directory_of``."""

	_on_device: dict[tuple[str, str], set[_Entry]] = field(default_factory=lambda: defaultdict(set))
	_everywhere: dict[str, set[_Entry]] = field(default_factory=lambda: defaultdict(set))
	_by_device_id: dict[str, set[_Entry]] = field(default_factory=lambda: defaultdict(set))
	_without_zeros: dict[str, set[_Entry]] = field(default_factory=lambda: defaultdict(set))

	def resolve(self, device: str, code: str, forgive_zeros: bool = False) -> Resolution:
		"""Who has this number on this device.

		The first rule that knows the number decides: the number on this device, the code everywhere,
		attendance_device_id, and, with ``forgive_zeros``, the only one whose number differs in nothing but leading
		zeros. Capital and small letters are one, as in the database's unique keys.
		"""
		code = folded(code)
		rules = [
			(MatchedBy.DEVICE_NUMBER, self._on_device.get((device, code))),
			(MatchedBy.PERSON_CODE, self._everywhere.get(code)),
			(MatchedBy.ATTENDANCE_DEVICE_ID, self._by_device_id.get(code)),
		]
		if forgive_zeros:
			rules.append((MatchedBy.LEADING_ZEROS, self._without_zeros.get(without_zeros(code))))
		for matched_by, entries in rules:
			if entries:
				return _resolution(matched_by, entries)
		return Resolution(Standing.UNKNOWN)


def directory_of(people: Iterable[KnownPerson], attendance_device_ids: Mapping[str, str]) -> Directory:
	"""A directory of Access People and of attendance_device_id by employee."""
	directory = Directory()
	for person in people:
		_add_person(directory, person)
	for employee, code in attendance_device_ids.items():
		entry = _Entry(employee)
		directory._by_device_id[folded(code)].add(entry)
		directory._without_zeros[without_zeros(folded(code))].add(entry)
	return directory


def _add_person(directory: Directory, person: KnownPerson) -> None:
	if not person.employee and not person.ignored:
		return  # unmatched: it knows nothing that could decide
	entry = _Entry(person.employee, person.name, person.ignored)
	if person.code:
		directory._everywhere[folded(person.code)].add(entry)
		if not person.ignored:
			directory._without_zeros[without_zeros(folded(person.code))].add(entry)
	for device, number in person.device_numbers:
		directory._on_device[(device, folded(number))].add(entry)


def _resolution(matched_by: MatchedBy, entries: set[_Entry]) -> Resolution:
	if len({(entry.employee, entry.ignored) for entry in entries}) > 1:
		candidates = tuple(sorted({entry.employee for entry in entries if entry.employee}))
		return Resolution(Standing.AMBIGUOUS, matched_by=matched_by, candidates=candidates)
	entry = max(entries, key=lambda entry: entry.person)
	if entry.ignored:
		return Resolution(Standing.IGNORED, person=entry.person, matched_by=matched_by)
	return Resolution(Standing.MATCHED, entry.employee, entry.person, matched_by)


def folded(code: str) -> str:
	"""The number as it is compared."""
	return code.strip().casefold()


def without_zeros(code: str) -> str:
	"""The number without leading zeros; zero itself keeps one."""
	return code.lstrip("0") or code[-1:]


def zero_variants(code: str, longest: int = LONGEST_CODE) -> list[str]:
	"""Every text of at most ``longest`` characters that differs from the number in leading zeros alone.

	For an indexed look-up of many numbers at once.
	"""
	core = without_zeros(code)
	return [core.rjust(length, "0") for length in range(len(core), max(longest, len(core)) + 1)]
