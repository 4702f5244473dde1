"""Devices that are only read and cannot be, over real sockets: one outage, one recovery, and nothing is lost.

A device that can be read and proves nothing ends in a gap that a person accepts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from listener_support import until
from running import QUICK_HISTORY, MoodySite, Running, streaming

from hikvision_frappe.core.gaps import Cause, GapReason, GapState
from hikvision_frappe.core.watermark import HeldBy
from hikvision_frappe.listener.local_completeness import KeeperSettings, NoticeKind
from hikvision_frappe.listener.local_history import Purpose
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.site import ConnectionState, DeviceConfig, HistoryState, IngestMode
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.profile import PROFILES

PERIOD = 0.3
# After so many seconds a device that does not answer has an outage.
UNHEARD, NEVER = 1.5, 3600.0
KEEPER = KeeperSettings(
	tend_seconds=0.05,
	fetch_after=timedelta(0),
	overlap=timedelta(seconds=2),
	retry_least=0.05,
	retry_most=0.2,
)
HISTORY = replace(QUICK_HISTORY, settle_seconds=0.05)
TOLD = [NoticeKind.OUTAGE, NoticeKind.RECOVERY]


class Town(Running):
	"""One terminal that is only read, and a listener."""

	def __init__(self, folder: Path, device: SimulatedDevice, unheard: float = UNHEARD) -> None:
		self.device = device
		self.config: DeviceConfig = streaming(
			device, mode=IngestMode.HISTORY, history=True, history_seconds=PERIOD
		)
		keeper = replace(KEEPER, unheard=timedelta(seconds=unheard))
		ledger = LocalSite(folder / "ledger.sqlite3", [self.config], settings=keeper)
		super().__init__(folder, [self.config], site=MoodySite(ledger), history=HISTORY, alive_seconds=0.2)
		self.ledger.close()
		self.ledger = ledger

	def passes(self, count: int) -> None:
		for number in range(count):
			self.device.make_pass(f"{number:04d}")

	def notices(self) -> list[NoticeKind]:
		return [notice.kind for notice in self.ledger.notices()]

	def asked(self) -> int:
		return sum(fetch.purpose is Purpose.PERIODIC for fetch in self.ledger.fetches())

	async def until(self, condition: Callable[[], bool]) -> None:
		"""Says what was known when the condition never held."""
		try:
			await until(condition, 20.0)
		except AssertionError:
			known = [*self.ledger.gaps(), *self.ledger.notices(), *self.ledger.fetches()[-8:]]
			raise AssertionError("\n".join(str(each) for each in known)) from None

	async def complete(self) -> None:
		"""Until the watermark has passed the newest record."""
		newest = self.device.log[-1].instant

		def done() -> bool:
			mark = self.ledger.watermarks().get(self.config.key)
			return bool(mark and mark.moment and mark.moment >= newest)

		await self.until(done)

	def assert_nothing_is_lost_or_doubled(self) -> None:
		assert Counter(row.serial_no for row in self.rows()) == Counter(
			record.serial_no for record in self.device.log
		)


def a_terminal(profile: str = "k1t344") -> SimulatedDevice:
	return SimulatedDevice(PROFILES[profile])


async def test_a_wrong_password_is_one_outage_until_a_person_mends_it(tmp_path: Path) -> None:
	async with a_terminal() as device, Town(tmp_path, device) as it:
		it.passes(2)
		await it.complete()
		device.faults.refuse_logins = -1
		it.passes(3)
		await it.until(lambda: it.notices() == TOLD[:1])
		await it.until_state(ConnectionState.STOPPED)
		(gap,) = it.ledger.gaps()
		assert (gap.cause, gap.until, gap.reason) == (Cause.NOT_READ, None, GapReason.NOT_READ)
		before = it.asked()
		await it.until(lambda: it.asked() >= before + 10)
		assert it.ledger.gaps() == [gap]
		assert it.notices() == TOLD[:1]
		mark = it.ledger.watermarks()[it.config.key]
		assert (mark.held_by, mark.gap) == (HeldBy.GAP, gap.name)
		assert mark.moment and mark.moment < device.log[2].instant
		device.faults.refuse_logins = 0
		it.ledger.set_devices([replace(it.config, revision="2")])  # a person saved its form
		await it.complete()
		assert [each.state for each in it.ledger.gaps()] == [GapState.RECOVERED]
		assert it.notices() == TOLD
		it.assert_nothing_is_lost_or_doubled()


async def test_a_terminal_that_is_not_reached_for_a_while_is_one_outage(tmp_path: Path) -> None:
	device = a_terminal()
	await device.start()
	async with Town(tmp_path, device) as it:
		it.passes(2)
		await it.complete()
		await device.stop()
		it.passes(3)
		await it.until(lambda: it.notices() == TOLD[:1])
		await device.start()
		it.passes(1)
		await it.complete()
		await it.until(lambda: it.ledger.gaps()[0].state is GapState.RECOVERED)
		assert len(it.ledger.gaps()) == 1
		assert it.notices() == TOLD
		it.assert_nothing_is_lost_or_doubled()
	await device.stop()


async def test_a_terminal_that_proves_nothing_has_a_gap_that_a_person_accepts(tmp_path: Path) -> None:
	"""Its rows have no numbers, and its totals are wrong."""
	async with a_terminal("kv6124") as device, Town(tmp_path, device, NEVER) as it:
		it.passes(2)
		await it.complete()
		device.faults.total_error = 3
		it.passes(3)
		await it.until(lambda: NoticeKind.UNRECOVERABLE in it.notices())
		gap = it.ledger.gaps()[0]
		assert (gap.cause, gap.state) == (Cause.NOT_READ, GapState.UNRECOVERABLE)
		unproven = [
			fetch
			for fetch in it.ledger.fetches()
			if fetch.state is HistoryState.UNPROVEN and fetch.purpose is Purpose.PERIODIC
		]
		assert gap.until == unproven[2].until
		assert NoticeKind.OUTAGE not in it.notices()
		device.faults.total_error = 0
		assert it.ledger.accept_gap(gap.name, "The door was locked.")

		def rest_is_accepted() -> bool:
			for each in it.ledger.gaps():
				it.ledger.accept_gap(each.name, "The door was locked.")
			mark = it.ledger.watermarks()[it.config.key].moment
			return bool(mark and mark > device.log[-1].instant)

		await it.until(rest_is_accepted)
		assert len(it.rows()) == len(device.log)
