"""The site's push doors over HTTP, through the web server that a bench runs in production."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import frappe
import pytest
import redis

from hikvision_frappe.ledger.push import FAULT_KEY, MAX_BODY, forget_device
from tests.bench.factories import create_test_device
from tests.bench.processes import Outage
from tests.bench.web import Reply, WebServer

OK_JSON = {"statusCode": 1, "statusString": "OK", "subStatusCode": "ok"}
METHOD = "/api/method/hikvision_frappe.api.push.event?token="


@pytest.fixture(scope="module")
def server(site_connection: str) -> Iterator[WebServer]:
	with WebServer() as running:
		yield running


@pytest.fixture
def device() -> Any:
	return create_test_device(mode="Push", host="", user="", password="")


def token_of(device: Any) -> str:
	return f"{device.push_key}.{device.get_password('push_secret')}"


def path_of(device: Any) -> str:
	return f"/hikvision/event/{token_of(device)}"


def notification(serial_no: int = 1, **fields: Any) -> dict[str, Any]:
	moment = datetime(2026, 3, 2, 8, 0, tzinfo=timezone(timedelta(hours=1))) + timedelta(seconds=serial_no)
	return {
		"ipAddress": "192.0.2.60",
		"dateTime": moment.isoformat(),
		"eventType": "AccessControllerEvent",
		"eventState": "active",
		"AccessControllerEvent": {
			"majorEventType": 5,
			"subEventType": 75,
			"serialNo": serial_no,
			"employeeNoString": "1001",
			"name": "Ana Berg",
			"cardReaderNo": 1,
			"doorNo": 1,
			"currentEvent": True,
			**fields,
		},
	}


def as_json(serial_no: int = 1, **fields: Any) -> bytes:
	return json.dumps(notification(serial_no, **fields)).encode()


def as_xml(serial_no: int = 1) -> bytes:
	return f"""<?xml version="1.0" encoding="UTF-8"?>
<EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">
<ipAddress>192.0.2.60</ipAddress><dateTime>2026-03-02T08:00:0{serial_no}+01:00</dateTime>
<eventType>AccessControllerEvent</eventType><eventState>active</eventState>
<AccessControllerEvent><majorEventType>5</majorEventType><subEventType>75</subEventType>
<serialNo>{serial_no}</serialNo><employeeNoString>1001</employeeNoString></AccessControllerEvent>
</EventNotificationAlert>""".encode()


def as_multipart(serial_no: int = 1, picture: bytes = b"") -> tuple[bytes, str]:
	part = b'--MIME_boundary\r\nContent-Disposition: form-data; name="AccessControllerEvent"\r\n'
	part += b"Content-Type: application/json\r\n\r\n" + as_json(serial_no) + b"\r\n"
	if picture:
		part += (
			b'--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\n'
		)
		part += b"Content-Type: image/jpeg\r\n\r\n" + picture + b"\r\n"
	return part + b"--MIME_boundary--\r\n", "multipart/form-data; boundary=MIME_boundary"


def serials() -> list[int]:
	frappe.db.rollback()
	return frappe.get_all("Access Event", pluck="serial_no", order_by="serial_no")


def read_again(device: Any) -> None:
	frappe.db.rollback()
	device.reload()


def assert_tells_nothing(reply: Reply, status: int) -> None:
	assert (reply.status, reply.body) == (status, b"")
	assert serials() == []


def test_a_json_push_is_stored_and_acknowledged_in_json(server: WebServer, device: Any) -> None:
	reply = server.post(path_of(device), as_json(7))
	assert (reply.status, json.loads(reply.body)) == (200, OK_JSON)
	assert reply.headers["Content-Type"].startswith("application/json")
	frappe.db.rollback()
	(row,) = frappe.get_all("Access Event", fields=["*"])
	assert (row.name, row.source, row.person_name) == (f"{device.name}-01-0000000007", "push", "Ana Berg")
	assert row.occurred_at == datetime(2026, 3, 2, 8, 0, 7)


def test_an_xml_push_is_acknowledged_in_xml(server: WebServer, device: Any) -> None:
	reply = server.post(path_of(device), as_xml(3), "application/xml")
	assert reply.status == 200
	assert reply.headers["Content-Type"].startswith("application/xml")
	assert b"<statusCode>1</statusCode>" in reply.body
	assert serials() == [3]


@pytest.mark.parametrize("picture", [b"", b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4000 + b"\xff\xd9"])
def test_a_multipart_push_is_stored_with_and_without_a_picture(
	server: WebServer, device: Any, picture: bytes
) -> None:
	body, content_type = as_multipart(4, picture)
	assert server.post(path_of(device), body, content_type).status == 200
	assert serials() == [4]


def test_the_method_takes_what_the_route_takes(server: WebServer, device: Any) -> None:
	body, content_type = as_multipart(3, b"\xff\xd8\xff")
	assert json.loads(server.post(METHOD + token_of(device), as_json(1)).body) == OK_JSON
	assert b"<statusCode>1<" in server.post(METHOD + token_of(device), as_xml(2), "application/xml").body
	assert server.post(METHOD + token_of(device), body, content_type).status == 200
	assert serials() == [1, 2, 3]


def test_a_repeated_push_is_acknowledged_and_stored_once(server: WebServer, device: Any) -> None:
	for _ in range(3):
		assert server.post(path_of(device), as_json(1)).status == 200
	assert serials() == [1]


def test_a_heartbeat_is_acknowledged_and_shown_on_the_form(server: WebServer, device: Any) -> None:
	body = json.dumps(
		{"dateTime": "2026-03-02T08:00:00+01:00", "eventType": "heartBeat", "eventState": "active"}
	)
	assert server.post(path_of(device), body.encode()).status == 200
	read_again(device)
	assert (device.connection_state, device.last_event) == ("Connected", None)
	assert device.last_heartbeat is not None
	assert serials() == []


def test_a_push_is_shown_on_the_form_without_changing_the_document(server: WebServer, device: Any) -> None:
	before = device.modified
	server.post(path_of(device), as_json(1))
	read_again(device)
	assert device.last_event is not None
	assert str(device.modified) == str(before)


@pytest.mark.parametrize("door", ["/hikvision/event/", METHOD])
@pytest.mark.parametrize(
	"token",
	["", "x", ".", "{key}", "{key}.", "{key}.wrong", "nobody.{secret}", "{key}.{secret}0", "{key}/{secret}"],
)
def test_a_wrong_token_learns_nothing(server: WebServer, device: Any, door: str, token: str) -> None:
	token = token.format(key=device.push_key, secret=device.get_password("push_secret"))
	assert_tells_nothing(server.post(door + token, as_json(1)), 404)


def test_no_path_under_the_prefix_leaves_its_token_in_the_cache(server: WebServer, device: Any) -> None:
	for path in (path_of(device) + "x", "/hikvision/event", path_of(device) + "/more"):
		assert server.request("GET", path).status in (404, 405)
		assert server.post(path, as_json(1)).status == 404
	kept = frappe.cache.hgetall("website_404") or {}
	assert not [url for url in kept if b"hikvision" in (url if isinstance(url, bytes) else url.encode())]


def test_other_methods_than_post_are_refused(server: WebServer, device: Any) -> None:
	assert_tells_nothing(server.request("GET", path_of(device)), 405)
	assert server.request("PUT", path_of(device), as_json(1)).status in (404, 405)
	assert server.request("GET", METHOD + token_of(device)).status == 403
	assert serials() == []


def test_the_old_token_stops_at_once_when_the_secret_is_renewed(server: WebServer, device: Any) -> None:
	old = path_of(device)
	assert server.post(old, as_json(1)).status == 200
	read_again(device)
	device.rotate_push_secret()
	frappe.db.commit()
	assert server.post(old, as_json(2)).status == 404
	read_again(device)
	assert server.post(path_of(device), as_json(2)).status == 200
	assert serials() == [1, 2]


def test_a_disabled_device_is_refused_at_once(server: WebServer, device: Any) -> None:
	assert server.post(path_of(device), as_json(1)).status == 200
	read_again(device)
	device.enabled = 0
	device.save()
	frappe.db.commit()
	assert server.post(path_of(device), as_json(2)).status == 403
	assert serials() == [1]


def test_a_push_of_a_streaming_device_is_refused_and_explained_on_its_form(server: WebServer) -> None:
	device = create_test_device(mode="Stream")
	assert_tells_nothing(server.post(path_of(device), as_json(1)), 403)
	read_again(device)
	assert "set to Stream" in device.last_error


def test_source_networks_keep_others_out(server: WebServer, device: Any) -> None:
	device.source_networks = "192.0.2.0/24\n2001:db8::/32"
	device.save()
	frappe.db.commit()
	assert_tells_nothing(server.post(path_of(device), as_json(1)), 403)
	assert_tells_nothing(server.post(path_of(device), as_json(1), X_Forwarded_For="198.51.100.7"), 403)
	assert server.post(path_of(device), as_json(1), X_Forwarded_For="192.0.2.60").status == 200
	assert server.post(path_of(device), as_json(2), X_Forwarded_For="2001:db8::60").status == 200
	read_again(device)
	assert serials() == [1, 2]


def test_a_body_above_the_limit_is_refused(server: WebServer, device: Any) -> None:
	body, content_type = as_multipart(1, b"\xff\xd8" + b"0" * MAX_BODY)
	assert_tells_nothing(server.post(path_of(device), body, content_type), 413)


def test_a_body_within_the_limit_is_taken(server: WebServer, device: Any) -> None:
	body, content_type = as_multipart(1, b"\xff\xd8" + b"0" * (MAX_BODY - 2_000))
	assert server.post(path_of(device), body, content_type).status == 200


def test_what_frappe_itself_refuses_to_read_never_reaches_us(server: WebServer, device: Any) -> None:
	"""Frappe reads at most 25 MiB and parses JSON before any app: nginx has to keep such bodies out."""
	assert server.post(path_of(device), b"0" * (26 * 1024 * 1024), "application/octet-stream").status == 413
	assert server.post(path_of(device), b'{"eventType": ', "application/json").status == 500
	assert server.post(METHOD + token_of(device), b'{"eventType": ', "application/json").status == 500
	assert serials() == []


@pytest.mark.parametrize(
	"body", [b"", b"{", b'{"a": 1}', b"<x", b"\x00\xff", b"--MIME_boundary\r\n\r\n", b"[]"]
)
def test_a_body_that_is_no_notification_is_a_bad_request(server: WebServer, device: Any, body: bytes) -> None:
	assert_tells_nothing(server.post(path_of(device), body, "text/plain"), 400)


def test_hostile_xml_is_a_bad_request(server: WebServer, device: Any) -> None:
	body = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>'
	assert_tells_nothing(server.post(path_of(device), body, "application/xml"), 400)


def test_a_command_in_the_notification_is_not_obeyed(server: WebServer, device: Any) -> None:
	"""Frappe obeys ``cmd`` in any JSON body whatever its path; the route answers before, the method cannot."""
	body = json.dumps({**notification(1), "cmd": "frappe.client.get_list", "doctype": "User"}).encode()
	assert json.loads(server.post(path_of(device), body).body) == OK_JSON
	assert serials() == [1]
	refused = server.post(METHOD + token_of(device), body)
	assert refused.status in (401, 403)
	assert b"Administrator" not in refused.body


def test_a_device_that_pushes_too_fast_is_told_to_wait(server: WebServer, device: Any) -> None:
	frappe.db.set_single_value("Hikvision Settings", "push_rate_limit", 3)
	frappe.db.commit()
	replies = [server.post(path_of(device), as_json(number)) for number in range(1, 31)]
	refused = [reply for reply in replies if reply.status == 429]
	assert refused and {reply.status for reply in replies} == {200, 429}
	assert all(reply.body == b"" and reply.headers["Retry-After"] == "5" for reply in refused)
	assert len(serials()) == 30 - len(refused)


def test_a_push_of_a_record_that_the_stream_told_is_no_second_row(server: WebServer, device: Any) -> None:
	server.post(path_of(device), as_json(1))
	server.post(path_of(device), as_json(1, currentEvent=False))
	body, content_type = as_multipart(1)
	server.post(path_of(device), body, content_type)
	assert serials() == [1]


def test_pushes_of_many_clients_at_the_same_time_are_all_stored_once(server: WebServer, device: Any) -> None:
	statuses: list[int] = []
	path = path_of(device)

	def client(start: int) -> None:
		for number in range(start, start + 20):
			statuses.append(server.post(path, as_json(number)).status)

	frappe.db.set_single_value("Hikvision Settings", "push_rate_limit", 0)
	frappe.db.commit()
	threads = [threading.Thread(target=client, args=(start,)) for start in (1, 11, 21, 31)]
	for thread in threads:
		thread.start()
	for thread in threads:
		thread.join()
	assert set(statuses) == {200}
	assert serials() == list(range(1, 51))


def test_a_site_in_maintenance_takes_nothing_and_the_device_repeats(server: WebServer, device: Any) -> None:
	"""Frappe answers before any app: 503 on the method, and on pages a 500 from its own broken error page."""
	from frappe.installer import update_site_config

	update_site_config("maintenance_mode", 1)
	try:
		assert server.post(path_of(device), as_json(1)).status in (500, 503)
		assert server.post(METHOD + token_of(device), as_json(1)).status == 503
		assert serials() == []
	finally:
		update_site_config("maintenance_mode", 0)
	assert server.post(path_of(device), as_json(1)).status == 200


def test_a_database_that_refuses_is_503_with_an_empty_body(server: WebServer, device: Any) -> None:
	assert server.post(path_of(device), as_json(1)).status == 200
	frappe.db.sql_ddl("alter table `tabAccess Event` rename to `hik moved away`")
	frappe.db.sql_ddl("create table `tabAccess Event` like `hik moved away`")
	frappe.db.sql_ddl("alter table `tabAccess Event` drop column occurred_text")
	try:
		reply = server.post(path_of(device), as_json(2))
		assert (reply.status, reply.body) == (503, b"")
	finally:
		frappe.db.sql_ddl("drop table `tabAccess Event`")
		frappe.db.sql_ddl("alter table `hik moved away` rename to `tabAccess Event`")
	assert server.post(path_of(device), as_json(2)).status == 200
	assert serials() == [1, 2]


def test_a_database_that_is_gone_is_503_with_an_empty_body(device: Any) -> None:
	path = path_of(device)
	with Outage(frappe.conf.db_host, int(frappe.conf.db_port)) as outage:
		database = {"FRAPPE_DB_HOST": "127.0.0.1", "FRAPPE_DB_PORT": str(outage.port)}
		with WebServer(environment=database) as server:
			assert server.post(path, as_json(1)).status == 200
			outage.begin()
			reply = server.post(path, as_json(2))
			assert (reply.status, reply.body, reply.headers["Retry-After"]) == (503, b"", "5")
			outage.end()
			assert server.post(path, as_json(2)).status == 200
	assert serials() == [1, 2]


def test_a_kept_connection_that_the_server_has_closed_costs_no_push(server: WebServer, device: Any) -> None:
	for serial_no in range(1, 9):
		assert server.post(path_of(device), as_json(serial_no)).status == 200
	close_the_connections_of_others()
	for serial_no in range(9, 17):
		assert server.post(path_of(device), as_json(serial_no)).status == 200
	assert serials() == list(range(1, 17))


def close_the_connections_of_others() -> None:
	own = frappe.db.sql("select connection_id()")[0][0]
	for row in frappe.db.sql("show processlist", as_dict=True):
		if row.Id != own and row.User == frappe.conf.db_name:
			frappe.db.sql(f"kill {int(row.Id)}")


def test_a_fault_of_ours_is_500_with_an_empty_body_and_a_log_without_the_token(
	server: WebServer, device: Any
) -> None:
	"""A zone that the document would refuse stands for any fault."""
	frappe.db.set_value("Hikvision Device", device.name, "time_zone", "Nowhere/At_All")
	frappe.db.commit()
	frappe.cache.delete(frappe.cache.make_key(FAULT_KEY))
	for _ in range(3):  # the device repeats it, the log does not
		assert_tells_nothing(server.post(path_of(device), as_json(1)), 500)
	(log,) = frappe.get_all("Error Log", {"method": "Hikvision push"}, ["error"])
	assert "Traceback" in log.error
	assert device.get_password("push_secret") not in log.error
	assert "1001" not in log.error


def test_a_fault_on_a_connection_that_the_server_has_closed_tells_nothing_either(
	server: WebServer, device: Any
) -> None:
	for serial_no in range(1, 9):
		assert server.post(path_of(device), as_json(serial_no)).status == 200
	frappe.db.delete("Access Event")
	frappe.db.set_value("Hikvision Device", device.name, "time_zone", "Nowhere/At_All")
	frappe.db.commit()
	forget_device(device.push_key)
	close_the_connections_of_others()
	for _ in range(8):  # whichever thread of the server answers
		assert_tells_nothing(server.post(path_of(device), as_json(1)), 500)


def test_without_redis_the_door_still_takes_a_push(device: Any) -> None:
	from hikvision_frappe.ledger.push import Notification, receive

	working = frappe.cache
	broken = type(working).from_url("redis://127.0.0.1:1")
	frappe.cache = broken
	try:
		with pytest.raises(redis.exceptions.ConnectionError):
			broken.ping()
		answer = receive(Notification(token_of(device), "POST", "127.0.0.1", as_json(1)))
	finally:
		frappe.cache = working
	assert answer.status == 200
	assert serials() == [1]
