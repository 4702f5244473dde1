from __future__ import annotations

import asyncio
import re
import signal
import sys

import pytest
import requests
from requests.auth import HTTPDigestAuth

from hikvision_frappe.simulator.__main__ import main

COMMAND = (sys.executable, "-m", "hikvision_frappe.simulator", "--port", "0")


async def test_the_command_says_where_it_listens_and_stops_on_sigterm() -> None:
	process = await asyncio.create_subprocess_exec(
		*COMMAND, "--profile", "k1a340", "--rate", "50", "--backlog", "3", stdout=asyncio.subprocess.PIPE
	)
	assert process.stdout is not None
	first = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
	address = re.search(r"listens on (http://127\.0\.0\.1:\d+)", first)
	assert address is not None
	auth = HTTPDigestAuth("admin", "Sim-12345")
	url = f"{address[1]}/ISAPI/System/deviceInfo"
	answer = await asyncio.to_thread(requests.get, url, auth=auth, timeout=5)
	assert "DS-K1A340FWX" in answer.text

	process.send_signal(signal.SIGTERM)
	rest, _ = await asyncio.wait_for(process.communicate(), 10)
	assert process.returncode == 0
	assert rest.decode().splitlines()[-1].endswith("records were made.")


def test_the_command_ends_by_itself_when_told_how_long(capsys: pytest.CaptureFixture[str]) -> None:
	assert main(["--port", "0", "--count", "2", "--seconds", "0.1", "--persons", "1,2", "--tls"]) == 0
	text = capsys.readouterr().out
	assert text.count("listens on https://127.0.0.1:") == 2
	assert "curl -k" in text


def test_a_taken_port_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
	assert main(["--host", "192.0.2.1", "--seconds", "0.1"]) == 1
	assert "hikvision-simulator:" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--profile", "unknown"], ["--rate", "0"], ["--count", "-1"]])
def test_a_wrong_option_is_refused(arguments: list[str]) -> None:
	with pytest.raises(SystemExit):
		main(arguments)
