"""Run a soak; its last line is one JSON object, its exit status 0 only when nothing was lost or doubled."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hikvision_frappe.soak.run import SoakOptions, run_soak
from hikvision_frappe.soak.target import LocalTarget, Target


def main(arguments: Sequence[str] | None = None, make_target: Callable[[Path], Target] = LocalTarget) -> int:
	"""Returns the exit status: 0 all well, 1 something lost in silence or doubled, 130 interrupted."""
	options = _parser().parse_args(arguments)
	soak = SoakOptions(
		options.minutes, options.devices, options.seed, options.rate, options.mishaps, options.keep
	)
	try:
		outcome = asyncio.run(run_soak(soak, lambda text: print(text, flush=True), make_target))
	except KeyboardInterrupt:
		return 130
	print(json.dumps(outcome.to_plain()), flush=True)
	return 0 if outcome.verdict.is_good else 1


def _parser() -> argparse.ArgumentParser:
	parser = argparse.ArgumentParser(
		prog="python -m hikvision_frappe.soak",
		description="Simulated devices, two listeners, faults by chance, and a count of what arrived.",
	)
	parser.add_argument("--minutes", type=_positive, default=1.0, help="how long the storm lasts [1]")
	parser.add_argument("--devices", type=int, default=200, help="[200]")
	parser.add_argument("--rate", type=_positive, default=50.0, help="passes per second, all together [50]")
	parser.add_argument("--mishaps", type=_positive, default=2.0, help="faults of devices per second [2]")
	parser.add_argument("--seed", type=int, default=1, help="the same one gives the same town and faults [1]")
	parser.add_argument("--keep", action="store_true", help="keep ledger, spools and logs")
	return parser


def _positive(text: str) -> float:
	value = float(text)
	if not 0 < value <= 100_000:
		raise argparse.ArgumentTypeError("more than 0")
	return value


if __name__ == "__main__":
	sys.exit(main())
