"""What became of an event: a state with a next action, never an exception in a log."""

from __future__ import annotations

from enum import Enum

from hikvision_frappe.core.event import AccessEvent, EventKind, TimeQuality


class EventState(str, Enum):
	"""States of a ledger row as attendance sees it. Values are the labels stored in Access Event.state."""

	NEW = "New"  # waits for the drain
	CHECKED_IN = "Check-in Made"
	ALREADY_RECORDED = "Already Recorded"  # HRMS had this log (mobile, by hand)
	DOUBLE_READ = "Double Read"  # within the debounce time of a counted pass
	UNMATCHED = "Unmatched"  # nobody has this person number: map once, all of it is replayed
	EMPLOYEE_INACTIVE = "Employee Inactive"
	EMPLOYEE_SUSPENDED = "Employee Suspended"
	EMPLOYEE_LEFT = "Employee Left"
	AMBIGUOUS_HOUR = "Ambiguous Hour"  # the repeated hour in autumn: HR decides
	IMPLAUSIBLE_TIME = "Implausible Time"  # the device's clock was lost
	NOT_COUNTED = "Not Counted"  # a door, person or kind of user that does not count for attendance
	DENIED = "Denied"
	NO_PERSON = "No Person"  # a pass that names nobody
	DOOR_EVENT = "Door Event"  # locks, contacts, alarms, operations
	FAILED = "Failed"  # an error kept on the event; retried, then waits for a person


# A person can have these judged again, after putting right what stood in the way.
REPLAYABLE = frozenset(
	{
		EventState.FAILED,
		EventState.UNMATCHED,
		EventState.EMPLOYEE_INACTIVE,
		EventState.EMPLOYEE_SUSPENDED,
		EventState.EMPLOYEE_LEFT,
		EventState.AMBIGUOUS_HOUR,
		EventState.DOUBLE_READ,
		EventState.ALREADY_RECORDED,
		EventState.NOT_COUNTED,
	}
)

# A person can count these although the rules do not; the rest never were passes of a known person.
COUNTABLE = REPLAYABLE | {EventState.IMPLAUSIBLE_TIME}

# A person can set these aside, so that they no longer wait.
IGNORABLE = COUNTABLE - {EventState.NOT_COUNTED} | {EventState.NEW}


def initial_state(event: AccessEvent) -> EventState:
	"""The state in which an event enters the ledger; only NEW ones need the drain."""
	if event.kind is EventKind.DENIAL or event.kind is EventKind.TIMEOUT:
		return EventState.DENIED
	if event.kind is not EventKind.PASS:
		return EventState.DOOR_EVENT
	if not event.person:
		return EventState.NO_PERSON
	if event.time_quality is TimeQuality.IMPLAUSIBLE:
		return EventState.IMPLAUSIBLE_TIME
	return EventState.NEW
