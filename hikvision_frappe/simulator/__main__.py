"""``hikvision-simulator``: run simulated devices from the command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.faults import Faults
from hikvision_frappe.simulator.fleet import Arrivals, Fleet
from hikvision_frappe.simulator.profile import PROFILES
from hikvision_frappe.simulator.tls import Certificate

DEFAULT_PASSWORD = "Sim-12345"  # noqa: S105 - printed at start; a simulated device guards nothing


def main(arguments: Sequence[str] | None = None) -> int:
	"""Run until interrupted; returns the exit status."""
	options = _parser().parse_args(arguments)
	with contextlib.suppress(KeyboardInterrupt):
		try:
			asyncio.run(_run(options))
		except (OSError, RuntimeError) as error:
			print(f"hikvision-simulator: {error}", file=sys.stderr)
			return 1
	return 0


def _parser() -> argparse.ArgumentParser:
	parser = argparse.ArgumentParser(
		prog="hikvision-simulator", description="Simulated Hikvision devices on this machine."
	)
	parser.add_argument("--profile", choices=sorted(PROFILES), default="k1t344", help="kind of device")
	parser.add_argument(
		"--count", type=_positive(int), default=1, help="number of devices, on ports one after the other"
	)
	parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
	parser.add_argument("--port", type=int, default=8090, help="port of the first device; 0 for any")
	parser.add_argument("--user", default="admin")
	parser.add_argument("--password", default=DEFAULT_PASSWORD)
	parser.add_argument(
		"--rate", type=_positive(float), default=0.5, help="passes per second, all devices together"
	)
	parser.add_argument("--persons", default="1,2,3", help="person numbers, separated by commas")
	parser.add_argument("--zone", help="IANA time zone of the devices, e.g. Europe/Bratislava")
	parser.add_argument("--backlog", type=int, default=0, help="records in each log at start")
	parser.add_argument("--push-to", metavar="URL", help="listening host to push events to")
	parser.add_argument("--cut-chance", type=float, default=0.0, help="chance per event of a cut stream")
	parser.add_argument("--tls", action="store_true", help="speak HTTPS with a certificate made now")
	parser.add_argument("--seconds", type=_positive(float), help="stop after so many seconds")
	parser.add_argument("--seed", type=int, default=1)
	return parser


def _positive(kind: type[int] | type[float]) -> type[int] | type[float]:
	def convert(text: str) -> int | float:
		value = kind(text)
		if value <= 0:
			raise ValueError
		return value

	return convert  # type: ignore[return-value]


async def _run(options: argparse.Namespace) -> None:
	persons = [person.strip() for person in options.persons.split(",") if person.strip()]
	certificate = Certificate.make(options.host) if options.tls else None
	devices = [_device(options, index, certificate) for index in range(options.count)]
	fleet = Fleet(devices, persons or ["1"], options.rate, Arrivals.POISSON, options.seed)
	stop = asyncio.Event()
	for number in (signal.SIGINT, signal.SIGTERM):
		with contextlib.suppress(NotImplementedError):
			asyncio.get_running_loop().add_signal_handler(number, stop.set)
	async with fleet:
		for device in devices:
			device.fill_backlog(options.backlog, persons or ["1"])
			if options.push_to:
				device.push_to(options.push_to)
			_introduce(device)
		fleet.resume()
		with contextlib.suppress(asyncio.TimeoutError):
			await asyncio.wait_for(stop.wait(), options.seconds)
	print(f"{len(fleet.log)} records were made.")


def _device(options: argparse.Namespace, index: int, certificate: Certificate | None) -> SimulatedDevice:
	return SimulatedDevice(
		PROFILES[options.profile],
		user=options.user,
		password=options.password,
		faults=Faults(cut_chance=options.cut_chance),
		host=options.host,
		port=options.port + index if options.port else 0,
		zone=options.zone,
		tls=certificate,
		seed=options.seed + index,
	)


def _introduce(device: SimulatedDevice) -> None:
	"""Say where the device listens and how to look at it."""
	flags = "-k " if device.fingerprint else ""
	login = f'--digest -u "{device.user}:{device.password}" -H "Connection: close"'
	print(f"{device.profile.model} {device.serial_number} listens on {device.url}")
	if device.fingerprint:
		print(f"  certificate sha256 {device.fingerprint}")
	print(f"  curl {flags}{login} {device.url}/ISAPI/System/deviceInfo")
	print(f"  curl {flags}-N {login} {device.url}{device.profile.stream.paths[0]}", flush=True)


if __name__ == "__main__":
	sys.exit(main())
