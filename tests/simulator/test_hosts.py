from __future__ import annotations

import pytest
from defusedxml.ElementTree import fromstring

from hikvision_frappe.simulator import PushTiming
from hikvision_frappe.simulator.hosts import host_at
from tests.simulator.conftest import Starter
from tests.simulator.support import Receiver, fetch, wait_until

HOSTS = "/ISAPI/Event/notification/httpHosts"


def settings(
	port: int, addressing: str = "ipaddress", address: str = "127.0.0.1", path: str = "/hook"
) -> bytes:
	field = "hostName" if addressing == "hostname" else "ipAddress"
	return f"""<?xml version="1.0" encoding="UTF-8"?>
	<HttpHostNotification version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">
		<id>1</id><url>{path}</url><protocolType>HTTP</protocolType>
		<parameterFormatType>JSON</parameterFormatType><addressingFormatType>{addressing}</addressingFormatType>
		<{field}>{address}</{field}><portNo>{port}</portNo><userName/>
		<httpAuthenticationMethod>none</httpAuthenticationMethod>
	</HttpHostNotification>""".encode()


def wrapped(host: bytes) -> bytes:
	return b"<HttpHostNotificationList>" + host.split(b"?>", 1)[1] + b"</HttpHostNotificationList>"


@pytest.mark.parametrize("single", [True, False], ids=["one slot", "whole list"])
async def test_a_host_that_is_written_is_pushed_to(start: Starter, single: bool) -> None:
	device = await start("k1t341am-old")
	async with Receiver() as receiver:
		body = settings(receiver.port)
		path = f"{HOSTS}/1" if single else HOSTS
		assert (await fetch(device, path, "PUT", body if single else wrapped(body)))[0] == 200
		device.make_pass("1")
		await wait_until(lambda: receiver.serials == [1])
		assert receiver.requests[0][0].startswith("POST /hook ")


async def test_the_hosts_read_back_without_format_and_password(start: Starter) -> None:
	device = await start("k1t341am-old")
	device.push_to("http://me:secret@192.0.2.7:8080/hook?x=1")
	_, body = await fetch(device, HOSTS)
	first = next(iter(fromstring(body)))
	texts = {item.tag.rpartition("}")[2]: item.text or "" for item in first}
	assert (texts["url"], texts["ipAddress"], texts["portNo"]) == ("/hook?x=1", "192.0.2.7", "8080")
	assert (texts["parameterFormatType"], texts["userName"]) == ("", "me")
	assert b"secret" not in body
	assert (await fetch(device, f"{HOSTS}/2"))[1].count(b"<ipAddress>0.0.0.0</ipAddress>") == 1


@pytest.mark.parametrize(
	("body", "word"),
	[
		(b"{}", b"badXmlFormat"),
		(b"<HttpHostNotificationList/>", b"badXmlContent"),
		(
			b"<HttpHostNotification><portNo>many</portNo></HttpHostNotification>",
			b"<errorMsg>portNo</errorMsg>",
		),
		(b"<HttpHostNotification><id>9</id></HttpHostNotification>", b"badParameters"),
		(
			b'<!DOCTYPE a [<!ENTITY b "c">]><HttpHostNotification><url>&b;</url></HttpHostNotification>',
			b"badXml",
		),
	],
)
async def test_settings_that_cannot_be_read_are_refused(start: Starter, body: bytes, word: bytes) -> None:
	status, answer = await fetch(await start("k1t341am-old"), f"{HOSTS}/1", "PUT", body)
	assert status == 400
	assert word in answer


async def test_a_device_may_refuse_host_names_and_hide_the_path(start: Starter) -> None:
	device = await start("k1a340")
	status, body = await fetch(device, f"{HOSTS}/1", "PUT", settings(80, "hostname", "erp.example"))
	assert (status, b"<errorMsg>ipAddress</errorMsg>" in body) == (400, True)
	assert (await fetch(device, f"{HOSTS}/1", "PUT", settings(80, address="192.0.2.7")))[0] == 200
	_, body = await fetch(device, f"{HOSTS}/1")
	assert b"<ipAddress>192.0.2.7</ipAddress>" in body
	assert b"/hook" not in body


async def test_not_supported_may_come_with_200_or_with_403(start: Starter) -> None:
	status, body = await fetch(await start("k1a340"), f"{HOSTS}/capabilities")
	assert (status, b"notSupport" in body) == (200, True)
	status, body = await fetch(await start("nvr-typeb"), f"{HOSTS}/capabilities")
	assert (status, b"notSupport" in body) == (403, True)
	status, body = await fetch(await start("k1t344"), f"{HOSTS}/capabilities")
	assert b"<hostNumber>2</hostNumber>" in body
	assert b'<urlLen max="128"/>' in body


async def test_a_recorder_says_ok_and_keeps_nothing(start: Starter) -> None:
	device = await start("nvr-typeb")
	assert (await fetch(device, f"{HOSTS}/1", "PUT", settings(8080)))[0] == 200
	assert (device.listening_hosts[1].address, device.listening_hosts[1].port) == ("0.0.0.0", 80)
	assert not device.push_clients


async def test_the_test_of_a_host_says_whether_it_answers(start: Starter) -> None:
	device = await start("k1t344", push_timing=PushTiming(timeout=1))
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		_, body = await fetch(device, f"{HOSTS}/1/test", "POST")
		assert b"<errorDescription>ok</errorDescription>" in body
	_, body = await fetch(device, f"{HOSTS}/2/test", "POST")
	assert b"connectFailed" in body
	assert (await fetch(await start("k1a340"), f"{HOSTS}/1/test", "POST"))[0] == 403


async def test_a_reboot_may_forget_the_hosts_until_they_are_written_again(start: Starter) -> None:
	device = await start("k1t341am-old")
	async with Receiver() as receiver:
		device.push_to(receiver.url)
		device.reboot()
		assert device.listening_hosts[1].is_set
		device.faults.reboot_forgets_hosts = True
		device.reboot()
		assert not device.listening_hosts[1].is_set
		assert not device.push_clients
		device.push_to(receiver.url)
		last = device.make_pass("1").serial_no
		await wait_until(lambda: receiver.serials[-1:] == [last])


def test_a_password_is_never_shown() -> None:
	assert "s3cret" not in repr(host_at("http://me:s3cret@192.0.2.7/"))
