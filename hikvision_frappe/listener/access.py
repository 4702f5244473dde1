"""What the stream of a device and the readings of its history share: one login, and certainty which terminal it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hikvision_frappe.core.event import Source
from hikvision_frappe.isapi.answers import DeviceInfo
from hikvision_frappe.isapi.client import DeviceClient, new_session
from hikvision_frappe.isapi.errors import SetupWrong, WrongDevice
from hikvision_frappe.isapi.parsing import ParseContext
from hikvision_frappe.listener.refused_logins import RefusedLogins
from hikvision_frappe.listener.site import DeviceConfig, DeviceIdentityReport


class Terminals:
	"""Which hardware is entered and connected under which device: one terminal never gets two streams, and its
	records never go to two devices."""

	def __init__(self) -> None:
		self._entered: dict[str, DeviceConfig] = {}  # serial number: the device that should have it
		self._connected: dict[str, DeviceConfig] = {}  # serial number: the device that holds its stream
		self._claims: dict[str, str] = {}  # the same from key to serial number

	def enter(self, devices: Iterable[DeviceConfig]) -> None:
		self._entered = {device.serial_number: device for device in devices if device.serial_number}

	def claim(self, serial_number: str, device: DeviceConfig) -> None:
		"""Note that ``device`` is this terminal; raises WrongDevice when it should or may not be."""
		self._compare(serial_number, device)
		self.release(device)
		self._connected[serial_number] = device
		self._claims[device.key] = serial_number

	def release(self, device: DeviceConfig) -> None:
		serial_number = self._claims.pop(device.key, None)
		if serial_number is not None:
			del self._connected[serial_number]

	def recognise(self, serial_number: str, device: DeviceConfig) -> None:
		"""Make sure that this terminal may speak for ``device``, without holding it; raises WrongDevice."""
		self._compare(serial_number, device)
		entered = self._entered.get(serial_number)
		if entered is not None and entered.key != device.key and not device.serial_number:
			raise WrongDevice(
				f"This terminal is already entered as {entered.title}.",
				"Correct the address, or disable one of the two devices.",
			)

	def _compare(self, serial_number: str, device: DeviceConfig) -> None:
		if device.serial_number and serial_number != device.serial_number:
			raise WrongDevice(
				f"Another terminal answers at this address: {self._name(serial_number)}.",
				"Correct the address; the terminal may have got a new one from DHCP. Or, if it was replaced on "
				"purpose, test the connection and accept the new serial number.",
			)
		holder = self._connected.get(serial_number)
		if holder is not None and holder.key != device.key:
			raise WrongDevice(
				f"This terminal is already connected as {holder.title}.",
				"Disable one of the two devices.",
			)

	def _name(self, serial_number: str) -> str:
		entered = self._entered.get(serial_number)
		return f"{serial_number}, which is entered as {entered.title}" if entered else serial_number


class Access:
	"""The ways to the devices that are entered now; to be made within the event loop.

	There is one client for each revision of a device's configuration, whoever uses it. Some terminals have a single
	nonce, so that two clients would take it from each other, and the loser could not tell that from a wrong
	password; one client asks one thing at a time, and remembers a refusal for all.
	"""

	def __init__(self, refused_logins: RefusedLogins) -> None:
		self.terminals = Terminals()
		self.refused_logins = refused_logins
		self._session = new_session()
		self._clients: dict[str, tuple[str, DeviceClient]] = {}  # by device: revision and client

	def enter(self, devices: Sequence[DeviceConfig]) -> None:
		"""Know these devices, and forget all about others and other revisions."""
		revisions = {device.key: device.revision for device in devices}
		self.terminals.enter(devices)
		self.refused_logins.forget_others(revisions)
		self._clients = {
			key: (revision, client)
			for key, (revision, client) in self._clients.items()
			if revisions.get(key) == revision
		}

	def client(self, device: DeviceConfig) -> DeviceClient:
		"""The client of this device in this revision; it needs no closing."""
		revision, client = self._clients.get(device.key, ("", None))
		if client is None or revision != device.revision:
			client = DeviceClient(device.address, self._session)
			self._clients[device.key] = (device.revision, client)
		return client

	async def close(self) -> None:
		await self._session.close()


def identity_of(info: DeviceInfo) -> DeviceIdentityReport:
	"""Who answered; a device that hides its serial number is known by its MAC address."""
	return DeviceIdentityReport(
		info.serial_number or info.mac_address, info.mac_address, info.model, info.firmware
	)


def parse_context(device: DeviceConfig, source: Source, hardware: str) -> ParseContext:
	"""How to read what this device tells. hardware: its serial number. Raises SetupWrong."""
	address = device.address
	try:
		return ParseContext(device.key, address.zone, address.trust_offset, source, hardware)
	except (ValueError, KeyError):
		raise SetupWrong(f"There is no time zone {address.zone!r}.", "Correct the device.") from None
