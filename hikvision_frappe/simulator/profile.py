"""How the kinds of devices differ: one frozen ``Profile`` each, every quirk a field."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from hikvision_frappe.simulator.clock import OffsetForm
from hikvision_frappe.simulator.digest import DeadNonce, DigestFlavour


class ConnectionRule(str, Enum):
	"""What becomes of a connection after an answer."""

	KEEP_ALIVE = "kept, as the client wishes"
	CLOSE_AFTER_401 = "closed after each 401"
	CLOSE = "closed after each answer"
	ONE_REQUEST = "kept open, but a second request gets no answer"


class Heartbeat(str, Enum):
	"""Form of the sign of life on a stream."""

	VIDEOLOSS_JSON = "videoloss JSON"
	VIDEOLOSS_XML = "videoloss XML"
	HEARTBEAT_JSON = "heartBeat JSON"


class SlotRefusal(str, Enum):
	"""Answer to a stream too many."""

	BAD_REQUEST = "400"
	DEPLOY_EXCEED_MAX = "503 deployExceedMax"


class PushForm(str, Enum):
	"""What the body of a push is: the document itself, or a part of a form."""

	PLAIN = "plain"
	MULTIPART = "multipart"


class Acknowledgement(str, Enum):
	"""Which answer of a receiver ends the repetition of an event."""

	ANY_200 = "status 200"
	BODY = "status 200 with a body"


class Unsupported(str, Enum):
	"""How a device says that it does not know a function."""

	NOT_FOUND = "404"
	OK_200 = "notSupport with HTTP 200"
	FORBIDDEN = "403 notSupport"
	METHOD_NOT_ALLOWED = "methodNotAllowed"


class SerialFilter(str, Enum):
	"""What a device makes of beginSerialNo and endSerialNo."""

	HONOURED = "rows of these numbers"
	IGNORED = "rows of any number"
	REFUSED = "badJsonContent"


class WindowOffset(str, Enum):
	"""What a device makes of the offsets in startTime and endTime."""

	HONOURED = "any instant is understood"
	OWN_ONLY = "with another offset than its own of today nothing is found"
	IGNORED = "only the wall time is looked at"


class Lie(str, Enum):
	"""Capability flags that say the opposite of what works."""

	CARD_INFO = "isSupportCardInfo"
	FACE_LIBRARY = "isSupportFDLib"


ENVELOPE = (
	"ipAddress",
	"portNo",
	"protocol",
	"macAddress",
	"channelID",
	"dateTime",
	"activePostCount",
	"eventType",
	"eventState",
	"eventDescription",
)

# Order and presence of the fields of a K1T344 record; those without a value in an event are left out.
TERMINAL_FIELDS = (
	"deviceName",
	"majorEventType",
	"subEventType",
	"cardNo",
	"cardType",
	"name",
	"cardReaderKind",
	"cardReaderNo",
	"doorNo",
	"employeeNoString",
	"serialNo",
	"userType",
	"currentVerifyMode",
	"currentEvent",
	"frontSerialNo",
	"label",
	"mask",
	"picturesNumber",
	"purePwdVerifyEnable",
	"FaceRect",
)

# Firmware with an attendance mode: status, label and a value that is always 0.
ATTENDANCE_FIELDS = (
	"deviceName",
	"majorEventType",
	"subEventType",
	"cardNo",
	"cardType",
	"name",
	"cardReaderKind",
	"cardReaderNo",
	"doorNo",
	"verifyNo",
	"employeeNoString",
	"serialNo",
	"userType",
	"currentVerifyMode",
	"frontSerialNo",
	"attendanceStatus",
	"label",
	"statusValue",
	"mask",
	"picturesNumber",
	"purePwdVerifyEnable",
)


@dataclass(frozen=True, slots=True)
class Streaming:
	"""The alertStream of a device.

	boundary: parameter of the Content-Type header, None leaves it out; delimiter: what parts really begin with.
	trailing_delimiter: the delimiter follows its part at once instead of waiting for the next part.
	replay: how many stored records a new stream gets first, None for all.
	needs_close: a request without ``Connection: close`` hangs. seconds: the device ends the stream after that.
	logs_arming: opening and closing a stream are records themselves (3/121 and 3/122).
	"""

	supported: bool = True
	paths: tuple[str, ...] = ("/ISAPI/Event/notification/alertStream",)
	boundary: str | None = "MIME_boundary"
	delimiter: str = "--MIME_boundary"
	newline: str = "\r\n"
	trailing_delimiter: bool = True
	disposition: bool = True
	part_length: bool = True
	inner_headers: bool = False
	chunked: bool = False
	connection_header: str = "close"
	needs_close: bool = False
	replay: int | None = None
	slots: int = 1
	refusal: SlotRefusal = SlotRefusal.BAD_REQUEST
	heartbeat: Heartbeat = Heartbeat.VIDEOLOSS_JSON
	heartbeat_seconds: float = 10.0
	seconds: float | None = None
	logs_arming: bool = False


@dataclass(frozen=True, slots=True)
class Wording:
	"""How a device writes what happened.

	inner_fields: fields of AccessControllerEvent in their order; a field that has no value is left out, unless
	verbose_zeros fills it with 0 or "". nested: they stand under AccessControllerEvent, else beside it.
	wrapper: name of an object around everything. zone: IANA name of the default clock.
	"""

	xml: bool = False
	zone: str = "UTC"
	offset: OffsetForm = OffsetForm.COLON
	heartbeat_offset: OffsetForm | None = None
	separator: str = "T"
	protocol: str = "HTTP"
	ip_address: str = "192.0.2.64"
	event_port: int = 80
	heartbeat_port: int = 80
	channel: int | None = 1
	heartbeat_channel: int = 1
	heartbeat_count: int = 1
	empty_elements: bool = False
	namespace: str = "http://www.isapi.org/ver20/XMLSchema"
	device_name: str = "Access Controller"
	envelope: tuple[str, ...] = ENVELOPE
	inner_fields: tuple[str, ...] = TERMINAL_FIELDS
	verbose_zeros: bool = False
	nested: bool = True
	wrapper: str | None = None
	door_in_passes: bool = True
	current_event: bool = True
	user_type: str = "normal"
	verify_mode: str = "faceOrFpOrCardOrPw"


@dataclass(frozen=True, slots=True)
class Pushing:
	"""The listening hosts of a device.

	boundary: what the request's header says; delimiter: what the body uses.
	remembers: whether the settings survive a reboot and a PUT at all. heartbeat: sends heartBeat by push too.
	"""

	supported: bool = True
	form: PushForm = PushForm.MULTIPART
	part_name: str = "AccessControllerEvent"
	boundary: str = "MIME_boundary"
	delimiter: str = "--MIME_boundary"
	picture: bool = False
	keep_alive: bool = False
	acknowledgement: Acknowledgement = Acknowledgement.ANY_200
	heartbeat_seconds: float | None = None
	reads_back_url: bool = True
	remembers: bool = True
	capabilities: bool = True


@dataclass(frozen=True, slots=True)
class Storing:
	"""How the device keeps its records. mode: "regular", "time" or "cycle". period: minutes, with "regular"."""

	mode: str = "cycle"
	period: int | None = None


@dataclass(frozen=True, slots=True)
class History:
	"""``AcsEvent`` of a device.

	page: rows per answer at most. positions: how many rows a search reaches and a count counts; more are cut off.
	counts: there is AcsEventTotalNum. totals: searches tell totalMatches. snapshot: the rows of a search are fixed
	when its first page is asked for, else they move under it. single_object: a single row is no list.
	past_end_rejected: a position behind the last row is badParameters. storing: None for no StorageCfg.
	"""

	supported: bool = True
	page: int = 30
	positions: int = 300_000
	unsupported: Unsupported = Unsupported.METHOD_NOT_ALLOWED
	serial_in_rows: bool = True
	offset: OffsetForm = OffsetForm.COLON
	separator: str = "T"
	serial_pair: bool = False
	serials: SerialFilter = SerialFilter.HONOURED
	windows: WindowOffset = WindowOffset.HONOURED
	major_zero: bool = True
	minor_zero: bool = True
	majors: frozenset[int] = frozenset({1, 2, 3, 5})
	capabilities: bool = True
	counts: bool = True
	totals: bool = True
	snapshot: bool = True
	newest_first: bool = False
	single_object: bool = False
	no_match: str = "NO MATCH"
	past_end_rejected: bool = False
	storing: Storing | None = field(default_factory=Storing)


@dataclass(frozen=True, slots=True)
class Profile:
	"""One kind of device: model, login, connections, stream, wording, push, history."""

	key: str
	model: str
	firmware: str
	firmware_released: str
	device_type: str = "ACS"
	language: str = "EN"
	server: str = "webs"
	tls: bool = False  # the real one speaks HTTPS only; ask SimulatedDevice(tls=...) for it
	xml_declaration: bool = True
	digest: DigestFlavour = field(default_factory=DigestFlavour)
	connections: ConnectionRule = ConnectionRule.KEEP_ALIVE
	html_401: bool = False
	stream: Streaming = field(default_factory=Streaming)
	wording: Wording = field(default_factory=Wording)
	push: Pushing = field(default_factory=Pushing)
	history: History = field(default_factory=History)
	log_capacity: int = 100_000
	lies: frozenset[Lie] = frozenset()
	doors: int = 1

	@property
	def stream_supported(self) -> bool:
		"""Whether there is an alertStream."""
		return self.stream.supported

	@property
	def push_supported(self) -> bool:
		"""Whether listening hosts are ever used."""
		return self.push.supported


def _k1t344() -> Profile:
	return Profile(
		key="k1t344",
		model="DS-K1T344MBFWX-E1",
		firmware="V4.31.0",
		firmware_released="build 240515",
		tls=True,
		digest=DigestFlavour(realm="DS-K1T344", algorithm_quoted=None),
		stream=Streaming(needs_close=True, heartbeat_seconds=25.0, refusal=SlotRefusal.DEPLOY_EXCEED_MAX),
		wording=Wording(
			zone="America/Bogota",
			protocol="HTTPS",
			event_port=443,
			device_name="Face Terminal",
			door_in_passes=False,
		),
		history=History(serial_pair=True),
	)


def _k1a340() -> Profile:
	return Profile(
		key="k1a340",
		model="DS-K1A340FWX",
		firmware="V1.2.7",
		firmware_released="build 240102",
		digest=DigestFlavour(
			realm="DS-K1A340",
			algorithms=("SHA-256", "MD5"),
			opaque="",
			dead_nonce=DeadNonce.STALE_DENIED,
		),
		stream=Streaming(connection_header="keep-alive"),
		wording=Wording(
			zone="Europe/Bratislava",
			ip_address="192.0.0.64",
			channel=None,
			heartbeat_channel=3,
			envelope=tuple(name for name in ENVELOPE if name not in ("macAddress", "channelID")),
			inner_fields=(*ATTENDANCE_FIELDS[:12], "currentEvent", *ATTENDANCE_FIELDS[12:]),
			verbose_zeros=True,
		),
		push=Pushing(supported=False, reads_back_url=False, capabilities=False),
		log_capacity=300_000,
		lies=frozenset({Lie.CARD_INFO, Lie.FACE_LIBRARY}),
	)


def _kv6124() -> Profile:
	return Profile(
		key="kv6124",
		model="DS-KV6124-E1",
		firmware="V3.9.0",
		firmware_released="build 260115",
		digest=DigestFlavour(
			realm="DS-KV6124",
			algorithm_quoted=True,
			dead_nonce=DeadNonce.SILENT,
			nonce_dies_with_stream=True,
		),
		stream=Streaming(boundary=None, inner_headers=True, replay=10),
		wording=Wording(
			zone="Europe/Athens",
			envelope=("channelID", *(name for name in ENVELOPE if name != "channelID")),
			inner_fields=tuple(name for name in TERMINAL_FIELDS if name not in ("mask", "FaceRect")),
			device_name="Entrance",
			verify_mode="cardOrPw",
		),
		history=History(
			positions=1000,
			serial_in_rows=False,
			offset=OffsetForm.NONE,
			separator=" ",
			serials=SerialFilter.IGNORED,
		),
		log_capacity=1000,
	)


def _k2702() -> Profile:
	return Profile(
		key="k2702",
		model="DS-K2702WX-E1(P)",
		firmware="V1.7.4",
		firmware_released="build 230630",
		digest=DigestFlavour(realm="DS-K2702", opaque="", stale="false"),
		connections=ConnectionRule.ONE_REQUEST,
		stream=Streaming(disposition=False, heartbeat_seconds=30.0, replay=0),
		wording=Wording(
			zone="Europe/Berlin",
			offset=OffsetForm.UNPADDED,
			inner_fields=TERMINAL_FIELDS[:15],
			device_name="Controller",
			verify_mode="cardOrPw",
		),
		history=History(page=5, storing=None),
		doors=2,
	)


def _k1t323_push() -> Profile:
	return Profile(
		key="k1t323-push",
		model="DS-K1T323MBFWX-E1",
		firmware="V1.5.0",
		firmware_released="build 250520",
		digest=DigestFlavour(realm="DS-K1T323"),
		connections=ConnectionRule.CLOSE,
		stream=Streaming(supported=False),
		wording=Wording(
			zone="Asia/Riyadh",
			offset=OffsetForm.FACTORY,
			protocol="HTTPS",
			inner_fields=ATTENDANCE_FIELDS,
			current_event=False,
			user_type="custom1",
		),
		push=Pushing(
			boundary="mime_boundary",
			acknowledgement=Acknowledgement.BODY,
			heartbeat_seconds=30.0,
			picture=True,
			remembers=False,
		),
		history=History(offset=OffsetForm.FACTORY),
	)


def _k1t341am_old() -> Profile:
	return Profile(
		key="k1t341am-old",
		model="DS-K1T341AM",
		firmware="V3.2.30",
		firmware_released="build 220210",
		xml_declaration=False,
		digest=DigestFlavour(realm="DS-K1T341AM", algorithm_quoted=None, nonce_seconds=60.0),
		connections=ConnectionRule.CLOSE_AFTER_401,
		stream=Streaming(heartbeat_seconds=10.0, trailing_delimiter=False),
		wording=Wording(
			zone="Asia/Bangkok",
			inner_fields=(*ATTENDANCE_FIELDS[:12], "currentEvent", *ATTENDANCE_FIELDS[12:]),
			verify_mode="cardOrFaceOrFp",
		),
		push=Pushing(form=PushForm.MULTIPART, part_name="event_log"),
		history=History(major_zero=False),
	)


def _nvr_typeb() -> Profile:
	return Profile(
		key="nvr-typeb",
		model="DS-7608NI-K2",
		firmware="V4.30.0",
		firmware_released="build 210104",
		device_type="NVR",
		server="DNVRS-Webs",
		digest=DigestFlavour(
			realm="fe12f37bd1c5a0bbccbbd35f1",
			algorithm_quoted=True,
			opaque="",
			domain="::",
			nonce_with_time=True,
		),
		stream=Streaming(
			boundary="boundary",
			delimiter="--boundary",
			newline="\n",
			trailing_delimiter=False,
			disposition=False,
			heartbeat=Heartbeat.VIDEOLOSS_XML,
			replay=0,
			slots=4,
			seconds=40.0,
		),
		wording=Wording(
			xml=True,
			zone="Europe/London",
			offset=OffsetForm.SIGNLESS,
			channel=1,
			heartbeat_channel=0,
			heartbeat_count=0,
			empty_elements=True,
			namespace="http://www.std-cgi.com/ver20/XMLSchema",
			device_name="Embedded Net DVR",
		),
		push=Pushing(form=PushForm.PLAIN, remembers=False, capabilities=False),
		history=History(supported=False, unsupported=Unsupported.NOT_FOUND),
	)


PROFILES: dict[str, Profile] = {
	profile.key: profile
	for profile in (
		_k1t344(),
		_k1a340(),
		_kv6124(),
		_k2702(),
		_k1t323_push(),
		_k1t341am_old(),
		_nvr_typeb(),
	)
}
