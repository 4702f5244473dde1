"""A process that appends to a spool and prints each serial number once it is acknowledged; made to be killed.

python spool_writer.py SPOOL FIRST_SERIAL
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from listener_support import a_pass

from hikvision_frappe.listener.spool import Spool


async def write(path: Path, first: int) -> None:
	spool = await Spool.open(path, interval=0.0)
	serials = itertools.count(first)
	await asyncio.gather(*(append_for_ever(spool, serials) for _ in range(8)))


async def append_for_ever(spool: Spool, serials: itertools.count) -> None:
	for serial in serials:
		await spool.append([a_pass(serial)])
		sys.stdout.write(f"{serial}\n")
		sys.stdout.flush()


if __name__ == "__main__":
	asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
