"""The fault list, fault by fault, with a simulated terminal over real sockets and the whole listener behind it.

After each the ledger holds what the terminal wrote down, nothing of it twice; whoever waits for the device was told
once that it is not heard and once that it is again, or not at all where nobody had to know; and no gap is left, or one
that says exactly what is missing. ``docs/faults.md`` lists the faults and their tests.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from listener_support import SECRET, a_device, until
from running import QUICK_STREAMS, MoodySite, Running, streaming, with_stream

from hikvision_frappe.core.gaps import UNRESOLVED, GapReason, GapState
from hikvision_frappe.listener.contact import ContactSettings
from hikvision_frappe.listener.local_completeness import KeeperSettings, NoticeKind
from hikvision_frappe.listener.local_site import LocalSite
from hikvision_frappe.listener.silence import SilenceSettings
from hikvision_frappe.listener.site import ConnectionState, DeviceConfig
from hikvision_frappe.simulator.device import SimulatedDevice
from hikvision_frappe.simulator.profile import PROFILES, Profile
from hikvision_frappe.simulator.push import PushTiming
from hikvision_frappe.simulator.records import SimulatedRecord

# What a terminal has to tell after an outage; a benchmark reads 100,000.
BACKLOG = 600
# After so many seconds a fault that is meant to be an outage is one; the others never last that long.
UNHEARD, NEVER = 1.5, 3600.0
KEEPER = KeeperSettings(
	tend_seconds=0.05,
	unheard=timedelta(seconds=UNHEARD),
	fetch_after=timedelta(0),
	patience=timedelta(seconds=1),
	retry_least=0.05,
	retry_most=0.2,
)
CONTACT = ContactSettings(
	replay=timedelta(seconds=0.3),
	heartbeat_floor=timedelta(seconds=0.6),
	push_patience=timedelta(seconds=1),
)
# Silence of a terminal that says something every 50 ms.
SILENCE = SilenceSettings(floor=0.4, regular_after=2)
TOLD = [NoticeKind.OUTAGE, NoticeKind.RECOVERY]
NOT_TOLD: list[NoticeKind] = []
# Until the next record tells which numbers are missing, a reading that proves nothing is all there is.
ALARMED = [NoticeKind.UNRECOVERABLE]


def terminal(**changes: Any) -> Profile:
	"""A terminal that tells nothing again by itself, so that what a stream misses only its history holds."""
	return with_stream("k1t344", **{"replay": 0, "heartbeat_seconds": 0.05, **changes})


class Kept(Running):
	"""A running listener whose site looks after gaps every few milliseconds."""

	def __init__(
		self, folder: Path, devices: Sequence[DeviceConfig], unheard: float = UNHEARD, **settings: Any
	) -> None:
		keeper = replace(KEEPER, unheard=timedelta(seconds=unheard))
		ledger = LocalSite(folder / "ledger.sqlite3", devices, settings=keeper)
		super().__init__(folder, devices, site=MoodySite(ledger), **{"contact": CONTACT, **settings})
		self.ledger.close()
		self.ledger = ledger


class Scene:
	"""One terminal and one listener."""

	def __init__(self, device: SimulatedDevice, it: Running, config: DeviceConfig) -> None:
		self.device, self.it, self.config = device, it, config
		self._people = 0

	@property
	def made(self) -> list[SimulatedRecord]:
		"""Every record that the terminal ever wrote down, whatever was reset since."""
		return self.device.log

	@property
	def ledger(self) -> LocalSite:
		return self.it.ledger

	def passes(self, count: int) -> None:
		for _ in range(count):
			self._people += 1
			self.device.make_pass(f"{self._people:04d}")

	async def stored(self) -> None:
		await self.until(lambda: len(self.it.rows()) >= len(self.made))

	async def heard(self) -> None:
		"""Until everything is stored, and the site was told of a contact later than that."""
		await self.stored()
		newest = max((row.received_at for row in self.it.rows()), default=0.0)

		def told() -> bool:
			contacts = [each.contact for report in self.it.site.reports for each in report.devices]
			return any(contact and contact.until.timestamp() > newest for contact in contacts)

		await self.until(told)

	async def told(self, kind: NoticeKind) -> None:
		await self.until(lambda: kind in self.notices())

	def notices(self) -> list[NoticeKind]:
		return [notice.kind for notice in self.ledger.notices()]

	async def complete(self) -> None:
		"""Until no gap is left, and the watermark has passed the newest record; a clock may be ahead of ours."""
		newest = min(self.made[-1].instant, datetime.now(timezone.utc))

		def done() -> bool:
			if any(gap.state in UNRESOLVED for gap in self.ledger.gaps()):
				return False
			mark = self.ledger.watermarks().get(self.config.key)
			return bool(mark and mark.moment and mark.moment >= newest)

		await self.until(done)

	async def until(self, condition: Callable[[], bool]) -> None:
		"""Says what was known when the condition never held."""
		try:
			await until(condition, 20.0)
		except AssertionError:
			known = [*self.ledger.gaps(), *self.ledger.watermarks().values(), *self.ledger.fetches()]
			raise AssertionError("\n".join(str(each) for each in known)) from None

	def assert_nothing_is_lost_or_doubled(self) -> None:
		"""Every record once; those of a clock that was set meanwhile by number and person alone."""
		assert Counter((row.serial_no, row.person) for row in self.it.rows()) == Counter(
			(record.serial_no, record.person) for record in self.made
		)


async def cut_in_the_middle_of_a_frame(scene: Scene) -> None:
	for reset in (False, True):
		await scene.it.until_state(ConnectionState.CONNECTED)
		scene.device.cut_streams(mid_frame=True, reset=reset)
		scene.passes(3)
		await until(lambda wanted=1 + reset: scene.it.track().reconnects >= wanted)


async def half_open(scene: Scene) -> None:
	await until(lambda: scene.it.track().heartbeats >= 3)
	scene.device.hang()
	scene.passes(3)
	await until(lambda: scene.it.track().reconnects >= 1)


async def a_storm_of_401(scene: Scene) -> None:
	scene.device.faults.unauthorized = -1
	scene.device.cut_streams()
	scene.passes(3)
	await scene.told(NoticeKind.OUTAGE)
	await scene.it.until_state(ConnectionState.STOPPED)
	scene.device.faults.unauthorized = 0
	scene.ledger.set_devices([replace(scene.config, revision="2")])  # a person saved its form


async def a_leaked_slot(scene: Scene) -> None:
	scene.device.faults.leak_slots = True
	scene.device.cut_streams()
	scene.passes(3)
	await scene.told(NoticeKind.OUTAGE)
	await until(lambda: "somebody else" in scene.it.track().error)
	scene.device.faults.leak_slots = False
	scene.device.reboot()


async def a_slow_loris(scene: Scene) -> None:
	scene.device.faults.dribble_bytes, scene.device.faults.dribble_seconds = 200, 0.001
	scene.passes(5)


async def pages_that_become_smaller(scene: Scene) -> None:
	scene.device.faults.page_caps = (7, 3, 1, 5, 2)
	scene.device.cut_streams()
	scene.passes(40)


async def a_total_that_lies(scene: Scene) -> None:
	scene.device.faults.total_error = 3
	scene.device.cut_streams()
	scene.passes(5)


async def pages_that_come_again(scene: Scene) -> None:
	scene.device.faults.repeated_pages = 1
	scene.device.cut_streams()
	scene.passes(65)


async def answers_that_break_off(scene: Scene) -> None:
	scene.device.faults.cut_answers = 2
	scene.device.cut_streams()
	scene.passes(5)


async def duplicates(scene: Scene) -> None:
	scene.device.faults.duplicates = 3
	scene.passes(5)


async def another_order(scene: Scene) -> None:
	scene.device.faults.reorder = 4
	scene.passes(12)


async def a_reset_count(scene: Scene) -> None:
	await scene.stored()
	scene.device.reset_serial()
	scene.device.jump_clock(600)
	scene.passes(3)
	await scene.heard()  # else the count may have ended while nobody listened
	scene.device.cut_streams()  # the difference of the clocks is asked for when the stream is opened
	await until(lambda: scene.it.track().reconnects >= 1)


async def a_clock_set_forward(scene: Scene) -> None:
	scene.device.jump_clock(7200)
	scene.passes(3)
	await scene.stored()
	scene.device.jump_clock(-7200)


async def a_clock_set_back(scene: Scene) -> None:
	scene.device.jump_clock(-7200)
	scene.passes(3)
	await scene.stored()
	scene.device.jump_clock(7200)


async def a_terminal_switched_off(scene: Scene) -> None:
	await scene.device.stop()
	await scene.told(NoticeKind.OUTAGE)
	await scene.device.start()


async def a_backlog(scene: Scene) -> None:
	await scene.device.stop()
	await scene.told(NoticeKind.OUTAGE)
	scene.device.fill_backlog(BACKLOG, seconds_between=UNHEARD / 2 / BACKLOG)
	await scene.device.start()


async def a_reboot(scene: Scene) -> None:
	scene.device.reboot()
	scene.passes(2)


async def broken_parts(scene: Scene) -> None:
	scene.device.faults.malformed_every = 2
	scene.passes(6)


async def pictures_of_3_mb(scene: Scene) -> None:
	scene.device.faults.picture_bytes = 3_000_000
	scene.passes(3)


async def a_site_in_maintenance(scene: Scene) -> None:
	scene.it.site.down = True
	scene.passes(3)
	await until(lambda: "migration in progress" in scene.it.parts.forwarder.error)
	scene.it.site.down = False


async def a_full_disk(scene: Scene) -> None:
	scene.it.site.down = True
	scene.device.fill_backlog(1_500, seconds_between=0.1)
	await until(lambda: "Make room" in scene.it.track().error)
	scene.it.site.down = False


@dataclass(frozen=True)
class Fault:
	"""What happens, and what people are told of it."""

	happens: Callable[[Scene], Awaitable[None]]
	notices: list[NoticeKind]
	or_notices: list[NoticeKind] | None = None
	stream: Any = QUICK_STREAMS
	settings: Any = None


FAULTS = {
	"cut mid-frame": Fault(cut_in_the_middle_of_a_frame, NOT_TOLD),
	"half-open TCP": Fault(
		half_open, TOLD, stream=replace(QUICK_STREAMS, silence=replace(SILENCE, floor=UNHEARD * 2))
	),
	"401 storm": Fault(a_storm_of_401, TOLD),
	"stream slot leaked": Fault(a_leaked_slot, TOLD),
	"slow loris": Fault(a_slow_loris, NOT_TOLD),
	"page cap changes mid-search": Fault(pages_that_become_smaller, NOT_TOLD),
	"total count lies": Fault(a_total_that_lies, NOT_TOLD, ALARMED),
	"repeated page": Fault(pages_that_come_again, NOT_TOLD),
	"history answer breaks off": Fault(answers_that_break_off, NOT_TOLD),
	"duplicates": Fault(duplicates, NOT_TOLD),
	"reordering": Fault(another_order, NOT_TOLD),
	"serial reset": Fault(a_reset_count, NOT_TOLD),
	"clock jump forward and back": Fault(a_clock_set_forward, NOT_TOLD),
	"clock jump back and forward": Fault(a_clock_set_back, NOT_TOLD),
	"device switched off": Fault(a_terminal_switched_off, TOLD),
	"backlog": Fault(a_backlog, TOLD),
	"reboot": Fault(a_reboot, NOT_TOLD),
	"malformed multipart": Fault(broken_parts, NOT_TOLD),
	"3 MB picture": Fault(pictures_of_3_mb, NOT_TOLD),
	"migrate in progress": Fault(a_site_in_maintenance, NOT_TOLD),
	"disk full for the spool": Fault(a_full_disk, NOT_TOLD, settings={"spool_max_bytes": 512 * 1024}),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseException | None]:
	"""What became of every fault, all of them at the same time: most of each is waiting."""
	folder = tmp_path_factory.mktemp("faults")

	async def play_all(faults: dict[str, Fault]) -> dict[str, BaseException | None]:
		scenes = [play(fault, folder / name.replace(" ", "-")) for name, fault in faults.items()]
		return dict(zip(faults, await asyncio.gather(*scenes, return_exceptions=True), strict=True))

	outages = {name: fault for name, fault in FAULTS.items() if fault.notices}
	others = {name: fault for name, fault in FAULTS.items() if not fault.notices}
	return {**asyncio.run(play_all(outages)), **asyncio.run(play_all(others))}


async def play(fault: Fault, folder: Path) -> None:
	"""A terminal at work, the fault, and what must be true in the end."""
	folder.mkdir()
	async with SimulatedDevice(terminal()) as device:
		config = streaming(device, history=True)
		unheard = UNHEARD if fault.notices else NEVER
		settings = {"stream": fault.stream, "unheard": unheard, **(fault.settings or {})}
		async with Kept(folder, [config], **settings) as it:
			scene = Scene(device, it, config)
			await it.until_state(ConnectionState.CONNECTED)
			await until(lambda: it.track().heartbeats)
			scene.passes(2)
			await scene.heard()
			await fault.happens(scene)
			await it.until_state(ConnectionState.CONNECTED)
			await scene.stored()
			scene.passes(2)
			await scene.stored()
			await scene.complete()
			scene.assert_nothing_is_lost_or_doubled()
			assert scene.notices() in (fault.notices, fault.or_notices)


@pytest.mark.parametrize("name", FAULTS)
def test_after_each_fault_of_the_list_the_ledger_is_complete_and_people_were_told_once(
	name: str, outcomes: dict[str, BaseException | None]
) -> None:
	if error := outcomes[name]:
		raise error


async def test_what_a_terminal_without_history_tells_nobody_is_named_number_by_number(tmp_path: Path) -> None:
	async with SimulatedDevice(terminal()) as device:
		config = streaming(device)
		async with Kept(tmp_path, [config]) as it:
			scene = Scene(device, it, config)
			await it.until_state(ConnectionState.CONNECTED)
			scene.passes(2)
			await scene.heard()
			device.cut_streams()
			scene.passes(3)
			await until(lambda: it.track().reconnects >= 1)
			await it.until_state(ConnectionState.CONNECTED)
			scene.passes(1)
			await scene.told(NoticeKind.UNRECOVERABLE)
			await scene.until(
				lambda: len([gap for gap in scene.ledger.gaps() if gap.state in UNRESOLVED]) == 1
			)
			(gap,) = [gap for gap in scene.ledger.gaps() if gap.state in UNRESOLVED]
			missed = [record.serial_no for record in device.log][2:5]
			assert (gap.first_serial, gap.last_serial, gap.missing) == (missed[0], missed[-1], 3)
			assert gap.reason is GapReason.NO_HISTORY
			held = scene.ledger.watermarks()[config.key].moment
			assert held is not None
			assert held <= device.log[2].instant
			assert scene.ledger.accept_gap(gap.name, "Nobody passed but the guard.")
			await until(lambda: scene.ledger.watermarks()[config.key].moment > device.log[-1].instant)
			assert [gap.state for gap in scene.ledger.gaps()] == [GapState.ACCEPTED]
			assert scene.notices() == [NoticeKind.UNRECOVERABLE]


async def test_a_reboot_that_forgets_where_to_push_is_an_outage_until_it_is_written_again(
	tmp_path: Path,
) -> None:
	known = PROFILES["k1t323-push"]
	profile = replace(known, push=replace(known.push, heartbeat_seconds=0.1))
	timing = PushTiming(first_retry=0.01, longest_retry=0.05)
	config = a_device(zone="Asia/Riyadh", trust_offset=False)
	async with (
		SimulatedDevice(profile, push_timing=timing) as device,
		Kept(tmp_path, [config]) as it,
	):
		scene = Scene(device, it, config)
		url = f"http://127.0.0.1:{it.parts.push.port}/hikvision/event/keygate.{SECRET}"
		device.push_to(url)
		scene.passes(2)
		await scene.heard()
		device.reboot()
		scene.passes(3)
		await scene.told(NoticeKind.OUTAGE)
		device.push_to(url)
		await scene.told(NoticeKind.RECOVERY)
		device.make_pass("0009", at=device.clock.now() + timedelta(seconds=4))
		await scene.told(NoticeKind.UNRECOVERABLE)
		unresolved = [gap for gap in it.ledger.gaps() if gap.state in UNRESOLVED]
		assert [gap.missing for gap in unresolved] == [len(device.log) - len(it.rows())]
		(gap,) = unresolved
		stored = {row.serial_no for row in it.rows()}
		missing = {record.serial_no for record in device.log} - stored
		assert {gap.first_serial, gap.last_serial} == {min(missing), max(missing)}
		assert scene.notices() == [*TOLD, NoticeKind.UNRECOVERABLE]


async def test_two_listeners_at_once_lose_and_double_nothing_when_one_dies(tmp_path: Path) -> None:
	devices = [SimulatedDevice(terminal()) for _ in range(3)]
	for device in devices:
		await device.start()
	configs = [streaming(device, f"gate{number}", history=True) for number, device in enumerate(devices)]
	(tmp_path / "second").mkdir()
	lease = 2 * UNHEARD  # so that the outage is noticed before the other takes over
	first = Kept(tmp_path, configs, lease_seconds=lease, name="first")
	async with first:
		for config in configs:
			await first.until_state(ConnectionState.CONNECTED, config.key)
		ledger = LocalSite(tmp_path / "ledger.sqlite3", configs, settings=KEEPER)
		second = Running(
			tmp_path / "second",
			configs,
			site=MoodySite(ledger),
			contact=CONTACT,
			lease_seconds=lease,
			name="second",
		)
		async with second:
			for number in range(4):
				for device in devices:
					device.make_pass(f"{number}")
				await asyncio.sleep(0.05)
			assert all(device.open_streams == 1 for device in devices)
			await first.die()
			for device in devices:
				device.make_pass("9")
			for config in configs:
				await second.until_state(ConnectionState.CONNECTED, config.key)
			await until(lambda: len(ledger.rows()) == sum(len(device.log) for device in devices), 30.0)
			await until(lambda: not any(gap.state in UNRESOLVED for gap in ledger.gaps()), 30.0)
			await until(lambda: len(ledger.notices()) == 2 * len(devices), 10.0)
			for config, device in zip(configs, devices, strict=True):
				serials = [row.serial_no for row in ledger.rows() if row.device == config.key]
				assert sorted(serials) == [record.serial_no for record in device.log]
				told = [notice.kind for notice in ledger.notices() if notice.device == config.key]
				assert told == TOLD
	for device in devices:
		await device.stop()


REPO = Path(__file__).resolve().parents[2]


def test_every_test_that_the_documents_list_of_faults_names_exists() -> None:
	named = re.findall(r"`(tests/[^`]+)`", (REPO / "docs" / "faults.md").read_text())
	assert len(named) > 50
	wrong = [name for name in named if not _exists(*re.fullmatch(TEST, name).groups())]  # type: ignore[union-attr]
	assert wrong == []
	cases = {
		name.rpartition("[")[2].rstrip("]")
		for name in named
		if "test_fault_list.py::" in name and "[" in name
	}
	assert cases >= FAULTS.keys(), "every fault above stands in the document"


TEST = r"([^:\[]+)(?:::(\w+))?(?:\[(.+)\])?"


def _exists(path: str, test: str | None, case: str | None) -> bool:
	file = REPO / path
	text = file.read_text() if file.exists() else ""
	has_test = bool(text) and (test is None or f"def {test}(" in text)
	return has_test and (case is None or f'"{case}"' in text)
