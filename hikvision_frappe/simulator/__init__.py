"""Simulated Hikvision devices on real sockets, with the quirks of real ones as switches.

They are the test doubles of this project, the devices of its demo, and runnable by themselves::

	python -m hikvision_frappe.simulator --profile k1t344 --port 8090 --rate 0.5 --persons 1,2,3

Public pieces:

- ``SimulatedDevice``: one device. ``await start()``, then ``make_pass("42")`` and the like; ``log`` is the truth.
- ``PROFILES`` and ``Profile``: kinds of devices; derive others with ``dataclasses.replace``.
- ``Faults``: what goes wrong, switched at any time through ``device.faults``.
- ``Fleet``: many devices at which people pass at a given rate; ``log`` is the union of the truths.
- ``SimulatedRecord``, ``Method``, ``DoorEvent``: what is in a log.
- ``LockOut``, ``PushTiming``: shorten waiting times in tests. ``Certificate``: HTTPS.
- ``repeated_hour``: two instants with one wall time, for ``make_pass(at=...)``.

A device listens on 127.0.0.1 alone unless told otherwise, and its log is kept in memory.
"""

from hikvision_frappe.simulator.clock import OffsetForm, repeated_hour
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.digest import LockOut
from hikvision_frappe.simulator.faults import Faults, PartLength
from hikvision_frappe.simulator.fleet import Arrivals, Fleet
from hikvision_frappe.simulator.profile import PROFILES, Profile
from hikvision_frappe.simulator.push import PushAttempt, PushTiming
from hikvision_frappe.simulator.records import DoorEvent, Method, SimulatedRecord
from hikvision_frappe.simulator.tls import Certificate

__all__ = [
	"PROFILES",
	"Arrivals",
	"Certificate",
	"DoorEvent",
	"Faults",
	"Fleet",
	"LockOut",
	"Method",
	"OffsetForm",
	"PartLength",
	"Profile",
	"PushAttempt",
	"PushTiming",
	"SimulatedDevice",
	"SimulatedRecord",
	"repeated_hour",
]
