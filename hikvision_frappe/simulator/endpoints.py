"""The ISAPI paths of a device, apart from login and the alertStream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from hikvision_frappe.simulator.answers import (
	SubStatus,
	json_answer,
	unsupported,
	user_check,
	xml_document,
	xml_status,
)
from hikvision_frappe.simulator.clock import FACTORY_ZONE, OffsetForm
from hikvision_frappe.simulator.history import History
from hikvision_frappe.simulator.hosts import HOST_LIMITS, HostError, ListeningHost, NotXml, read_hosts
from hikvision_frappe.simulator.http import Request, Response
from hikvision_frappe.simulator.profile import History as HistoryStyle
from hikvision_frappe.simulator.profile import Lie, Profile, Unsupported
from hikvision_frappe.simulator.state import DeviceState

HOSTS_PATH = "/ISAPI/Event/notification/httpHosts"
_MOTION_EVENTS = ("VMD", "linedetection", "fielddetection", "IO")

Endpoint = Callable[[Request], "Response | Awaitable[Response]"]


class Endpoints:
	"""Answers what is asked of a logged-in client.

	armed: addresses of the clients that hold a stream. host_written, host_tested: what the device does then.
	"""

	def __init__(
		self,
		state: DeviceState,
		armed: Callable[[], list[str]],
		host_written: Callable[[ListeningHost], None],
		host_tested: Callable[[ListeningHost], Awaitable[bool]],
	) -> None:
		self._state = state
		self._armed = armed
		self._host_written = host_written
		self._host_tested = host_tested
		self._history = History(state)
		self._routes = self._paths(state.profile)

	def knows(self, path: str) -> bool:
		"""Whether the path exists at all."""
		return path in self._routes

	def answer(self, request: Request) -> Response | Awaitable[Response]:
		"""The answer to a request of a path that exists."""
		methods = self._routes[request.path]
		endpoint = methods.get(request.method)
		if endpoint is None:
			json = "format=json" in request.target
			return unsupported(Unsupported.METHOD_NOT_ALLOWED, json)
		return endpoint(request)

	def _paths(self, profile: Profile) -> dict[str, dict[str, Endpoint]]:
		routes: dict[str, dict[str, Endpoint]] = {
			"/ISAPI/System/deviceInfo": {"GET": self._device_info},
			"/ISAPI/System/time": {"GET": self._time, "PUT": self._set_time},
			"/ISAPI/System/time/timeZone": {"GET": self._zone, "PUT": self._set_zone},
			"/ISAPI/Security/userCheck": {"GET": self._user_check},
			"/ISAPI/Security/illegalLoginLock": {"GET": self._login_lock},
			HOSTS_PATH: {"GET": self._hosts, "PUT": self._put_hosts},
			f"{HOSTS_PATH}/capabilities": {"GET": self._hosts_capabilities},
		}
		for number in self._state.hosts:
			routes[f"{HOSTS_PATH}/{number}"] = {"GET": self._host, "PUT": self._put_hosts}
			routes[f"{HOSTS_PATH}/{number}/test"] = {"POST": self._test_host}
		if profile.device_type == "ACS":
			routes |= self._access_control_paths(profile)
		if profile.wording.xml:
			routes["/ISAPI/Event/triggers"] = {"GET": self._triggers}
		return routes

	def _access_control_paths(self, profile: Profile) -> dict[str, dict[str, Endpoint]]:
		routes: dict[str, dict[str, Endpoint]] = {
			"/ISAPI/AccessControl/capabilities": {"GET": self._capabilities},
			"/ISAPI/AccessControl/DeployInfo": {"GET": self._deploy_info},
		}
		if profile.history.supported or profile.history.unsupported is not Unsupported.NOT_FOUND:
			routes |= self._history_paths(profile.history)
		return routes

	def _history_paths(self, history: HistoryStyle) -> dict[str, dict[str, Endpoint]]:
		base = "/ISAPI/AccessControl/AcsEvent"
		routes: dict[str, dict[str, Endpoint]] = {base: {"POST": self._search}}
		if history.capabilities:
			routes[f"{base}/capabilities"] = {"GET": self._search_capabilities}
		if history.counts:
			routes[f"{base}TotalNum"] = {"POST": self._count}
		if history.storing is not None:
			routes[f"{base}/StorageCfg"] = {"GET": self._storage}
		return routes

	def _device_info(self, request: Request) -> Response:
		profile, identity = self._state.profile, self._state.identity
		access = profile.device_type == "ACS"
		body = xml_document(
			"DeviceInfo",
			{
				"deviceName": profile.wording.device_name,
				"deviceID": "255" if access else identity.serial_number[-20:],
				"model": profile.model,
				"serialNumber": identity.serial_number,
				"macAddress": identity.mac_address,
				"firmwareVersion": profile.firmware,
				"firmwareReleasedDate": profile.firmware_released,
				"deviceType": profile.device_type,
				"subDeviceType": "accessControlTerminal" if access else None,
				"telecontrolID": 1,
				"electroLockNum": profile.doors if access else None,
				"RS485Num": 1 if access else None,
				"alarmOutNum": 0,
				"manufacturer": "hikvision",
				"OEMCode": 1,
			},
			declared=profile.xml_declaration,
		)
		return Response(200, body if profile.xml_declaration else body.replace(b"\n", b"\n\n"))

	def _time(self, request: Request) -> Response:
		clock = self._state.clock
		members = {
			"timeMode": clock.mode,
			"localTime": clock.text(clock.now(), self._clock_form()),
			"timeZone": self._zone_text(),
		}
		return _xml("Time", members)

	def _clock_form(self) -> OffsetForm:
		"""Odd texts in events are the firmware's; a wrong zone is the whole device's."""
		factory = self._state.profile.wording.offset is OffsetForm.FACTORY
		return OffsetForm.FACTORY if factory else OffsetForm.COLON

	def _zone_text(self) -> str:
		if self._clock_form() is OffsetForm.FACTORY:
			return FACTORY_ZONE
		return self._state.clock.posix_zone()

	def _set_time(self, request: Request) -> Response:
		texts = _texts(request.body)
		if texts is None:
			return xml_status(SubStatus.BAD_XML_FORMAT, 400, request.path)
		clock = self._state.clock
		zone = texts.get("timeZone", "")
		if zone and zone != self._zone_text() and not clock.set_posix_zone(zone):
			return xml_status(SubStatus.BAD_XML_CONTENT, 400, request.path, "timeZone")
		local = texts.get("localTime", "")
		if local:
			try:
				clock.set(datetime.fromisoformat(local.replace("Z", "+00:00")))
			except ValueError:
				return xml_status(SubStatus.BAD_XML_CONTENT, 400, request.path, "localTime")
		clock.mode = texts.get("timeMode") or clock.mode
		return xml_status(SubStatus.OK, path=request.path)

	def _zone(self, request: Request) -> Response:
		return Response(200, self._zone_text().encode(), "text/plain")

	def _set_zone(self, request: Request) -> Response:
		if not self._state.clock.set_posix_zone(request.body.decode("latin-1").strip()):
			return xml_status(SubStatus.BAD_PARAMETERS, 400, request.path, "timeZone")
		return xml_status(SubStatus.OK, path=request.path)

	def _user_check(self, request: Request) -> Response:
		return Response(200, user_check(200, self._state.lock_out.tries_left(request.client)))

	def _login_lock(self, request: Request) -> Response:
		lock = self._state.lock_out
		members = {
			"enabled": True,
			"maxIllegalLoginTimes": lock.max_tries,
			"maxIllegalLoginLockTime": int(lock.seconds),
		}
		return _xml("IllegalLoginLock", members)

	def _hosts(self, request: Request) -> Response:
		with_url = self._state.profile.push.reads_back_url
		hosts = [host.members(with_url) for host in self._state.hosts.values()]
		return _xml("HttpHostNotificationList", {"HttpHostNotification": hosts})

	def _host(self, request: Request) -> Response:
		host = self._state.hosts[int(request.path.rpartition("/")[2])]
		return _xml("HttpHostNotification", host.members(self._state.profile.push.reads_back_url))

	def _put_hosts(self, request: Request) -> Response:
		tail = request.path.rpartition("/")[2]
		takes_names = self._state.profile.push.supported
		try:
			hosts = read_hosts(request.body, int(tail) if tail.isdigit() else 1, takes_names)
		except NotXml:
			return xml_status(SubStatus.BAD_XML_FORMAT, 400, request.path)
		except HostError as error:
			return xml_status(SubStatus.BAD_XML_CONTENT, 400, request.path, str(error))
		if any(host.number not in self._state.hosts for host in hosts):
			return xml_status(SubStatus.BAD_PARAMETERS, 400, request.path, "id")
		for host in hosts:
			self._host_written(self._as_kept(host))
		return xml_status(SubStatus.OK, path=request.path)

	def _as_kept(self, host: ListeningHost) -> ListeningHost:
		"""Recorders answer OK and keep 0.0.0.0:80."""
		if self._state.profile.device_type == "ACS":
			return host
		return replace(ListeningHost(host.number), port=80)

	def _hosts_capabilities(self, request: Request) -> Response:
		if not self._state.profile.push.capabilities:
			return unsupported(self._refusal(), json=False)
		return _xml("HttpHostNotificationCap", {"hostNumber": len(self._state.hosts), **HOST_LIMITS})

	async def _test_host(self, request: Request) -> Response:
		if not self._state.profile.push.capabilities:
			return xml_status(SubStatus.INVALID_OPERATION, 403, request.path)
		host = self._state.hosts[int(request.path.split("/")[-2])]
		reached = host.is_set and await self._host_tested(host)
		return _xml("HttpHostTestResult", {"errorDescription": "ok" if reached else "connectFailed"})

	def _refusal(self) -> Unsupported:
		access = self._state.profile.device_type == "ACS"
		return Unsupported.OK_200 if access else Unsupported.FORBIDDEN

	def _capabilities(self, request: Request) -> Response:
		lies = self._state.profile.lies
		return _xml(
			"AccessControl",
			{
				"isSupportAcsEvent": self._state.profile.history.supported,
				"isSupportAcsEventTotalNum": self._state.profile.history.supported,
				"isSupportEventStorageCfg": self._state.profile.history.storing is not None,
				"isSupportUserInfo": True,
				"isSupportCardInfo": Lie.CARD_INFO not in lies,
				"isSupportFDLib": Lie.FACE_LIBRARY in lies,
				"isSupportRemoteControlDoor": True,
				"isSupportDeployInfo": True,
			},
		)

	def _deploy_info(self, request: Request) -> Response:
		content = [
			{"deployNo": number, "deployType": 0, "ipAddr": address}
			for number, address in enumerate(self._armed(), start=1)
		]
		return _xml("DeployInfo", {"DeployList": {"Content": content}})

	def _search(self, request: Request) -> Response:
		if not self._state.profile.history.supported:
			return unsupported(self._state.profile.history.unsupported, json=True)
		return self._history.search(request.body)

	def _search_capabilities(self, request: Request) -> Response:
		if not self._state.profile.history.supported:
			return unsupported(self._state.profile.history.unsupported, json=True)
		return self._history.capabilities()

	def _count(self, request: Request) -> Response:
		if not self._state.profile.history.supported:
			return unsupported(self._state.profile.history.unsupported, json=True)
		return self._history.count(request.body)

	def _storage(self, request: Request) -> Response:
		storing = self._state.profile.history.storing
		if storing is None or not self._state.profile.history.supported:
			return unsupported(self._state.profile.history.unsupported, json=True)
		settings: dict[str, object] = {"mode": storing.mode}
		if storing.period is not None:
			settings["period"] = storing.period
		return json_answer({"EventStorageCfg": settings})

	def _triggers(self, request: Request) -> Response:
		triggers = [_trigger(event, channel) for event in _MOTION_EVENTS for channel in (1, 2)]
		return _xml("EventTriggerList", {"EventTrigger": triggers})


def _trigger(event: str, channel: int) -> dict[str, object]:
	notification = {"id": "center", "notificationMethod": "center", "notificationRecurrence": "beginning"}
	return {
		"id": f"{event}-{channel}",
		"eventType": event,
		"videoInputChannelID": channel,
		"EventTriggerNotificationList": {"EventTriggerNotification": notification},
	}


def _xml(root: str, members: Mapping[str, object]) -> Response:
	return Response(200, xml_document(root, members))


def _texts(body: bytes) -> dict[str, str] | None:
	"""Texts of the root's children by local name, None for what is no XML."""
	try:
		root = fromstring(body)
	except (ParseError, DefusedXmlException):
		return None
	return {str(child.tag).rpartition("}")[2]: (child.text or "").strip() for child in root}
