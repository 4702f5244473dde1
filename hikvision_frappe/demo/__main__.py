"""Run the demo; its last line is one JSON object, its exit status 0 only when nothing was lost or doubled."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from hikvision_frappe.demo.show import DemoOptions, run_demo
from hikvision_frappe.listener.supervisor import ANY_PORT


def main(arguments: Sequence[str] | None = None) -> int:
	"""Returns the exit status: 0 all well, 1 something lost or doubled, 130 interrupted."""
	options = _parser().parse_args(arguments)
	demo = DemoOptions(options.seconds, options.port or ANY_PORT, options.keep)
	try:
		verdict = asyncio.run(run_demo(demo, lambda text: print(text, flush=True)))
	except KeyboardInterrupt:
		return 130
	print(json.dumps(verdict.to_plain()), flush=True)
	return 0 if verdict.is_good else 1


def _parser() -> argparse.ArgumentParser:
	parser = argparse.ArgumentParser(
		prog="python -m hikvision_frappe.demo",
		description="Three simulated terminals, the real listener, and a count of what arrived.",
	)
	parser.add_argument("--seconds", type=_seconds, default=60.0, help="how long people pass [60]")
	parser.add_argument("--port", type=int, default=0, help="port of the status page [a free one]")
	parser.add_argument("--keep", action="store_true", help="keep the ledger and the spool")
	return parser


def _seconds(text: str) -> float:
	value = float(text)
	if not 1 <= value <= 86_400:
		raise argparse.ArgumentTypeError("between 1 and 86400")
	return value


if __name__ == "__main__":
	sys.exit(main())
