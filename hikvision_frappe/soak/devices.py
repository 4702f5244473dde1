"""A process of simulated devices, led by lines on its standard input.

python -m hikvision_frappe.soak.devices OPTIONS

After the start its entries are in ``--configs``. Commands: ``one`` (a pass at each door), ``storm`` (people and
mishaps), ``calm`` (neither), ``end`` (write ``--truth`` and leave). Each is answered by a line of JSON with the
records made and the mishaps so far; so is ``tell``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path

from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.fleet import Fleet
from hikvision_frappe.simulator.records import SimulatedRecord
from hikvision_frappe.soak.storm import PERSONS, Storm
from hikvision_frappe.soak.town import Citizen, configs_to_text, enter, kinds_of, make_device


def main() -> int:
	options = _parser().parse_args()
	logging.getLogger("asyncio").setLevel(
		logging.ERROR
	)  # it warns of each write to a connection that was cut
	asyncio.run(_live(options))
	return 0


def _parser() -> argparse.ArgumentParser:
	parser = argparse.ArgumentParser()
	parser.add_argument("--first", type=int, required=True, help="number of the first device")
	parser.add_argument("--count", type=int, required=True)
	parser.add_argument("--total", type=int, required=True, help="devices of all processes")
	parser.add_argument("--rate", type=float, required=True, help="passes per second")
	parser.add_argument("--mishaps", type=float, required=True, help="mishaps per second")
	parser.add_argument("--ports", type=int, nargs="+", required=True, help="where listeners take pushes")
	parser.add_argument("--configs", type=Path, required=True)
	parser.add_argument("--truth", type=Path, required=True)
	parser.add_argument("--seed", type=int, required=True)
	return parser


async def _live(options: argparse.Namespace) -> None:
	numbers = range(options.first, options.first + options.count)
	kinds = kinds_of(options.total, options.seed)
	devices = {number: make_device(number, kinds[number], options.seed) for number in numbers}
	fleet = Fleet(devices.values(), PERSONS, options.rate, seed=options.seed + options.first)
	async with fleet:
		citizens = [enter(number, kinds[number], devices[number], options.ports) for number in numbers]
		for citizen in citizens:
			citizen.point_to_receiver()
		options.configs.write_text(configs_to_text([citizen.config for citizen in citizens]))
		await _obey(fleet, citizens, Storm(citizens, options.mishaps, options.seed + options.first))
		await fleet.pause()
		options.truth.write_text("".join(f"{line}\n" for line in _truth(citizens)))


async def _obey(fleet: Fleet, citizens: list[Citizen], storm: Storm) -> None:
	lines = asyncio.StreamReader()
	await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
	_answer(citizens, storm)
	while (command := (await lines.readline()).decode().strip()) not in ("", "end"):
		if command == "one":
			await _pass_everywhere(citizens)
		elif command == "storm":
			fleet.resume()
			storm.begin()
		elif command == "calm":
			await fleet.pause()
			await storm.end()
		_answer(citizens, storm)


async def _pass_everywhere(citizens: list[Citizen]) -> None:
	for citizen in citizens:
		citizen.device.make_pass(PERSONS[0])
		await asyncio.sleep(0.002)


def _answer(citizens: list[Citizen], storm: Storm) -> None:
	sent = sum(len(citizen.device.log) for citizen in citizens)
	print(json.dumps({"sent": sent, "faults": storm.counts}), flush=True)


def _truth(citizens: list[Citizen]) -> list[str]:
	return [json.dumps(_plain(citizen, record)) for citizen in citizens for record in _log(citizen.device)]


def _log(device: SimulatedDevice) -> list[SimulatedRecord]:
	return device.log


def _plain(citizen: Citizen, record: SimulatedRecord) -> dict[str, object]:
	return {
		"device": citizen.config.key,
		"serial_no": record.serial_no,
		"instant": int(record.instant.timestamp()),
		"made_at": record.made_at.timestamp(),
		"major": record.major,
		"minor": record.minor,
		"person": record.person,
	}


if __name__ == "__main__":
	sys.exit(main())
