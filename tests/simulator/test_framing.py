from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hikvision_frappe.simulator import PROFILES, PartLength
from hikvision_frappe.simulator.cjson import print_cjson
from hikvision_frappe.simulator.framing import StreamFramer, jpeg, push_body
from hikvision_frappe.simulator.wording import JSON_TYPE
from tests.simulator.support import PAYLOADS

CAPTURES = sorted((PAYLOADS / "alertstream").glob("dsk1t344*.raw"))


def framer(key: str) -> StreamFramer:
	return StreamFramer(PROFILES[key].stream)


def test_a_terminal_sends_the_delimiter_with_the_part_before_it() -> None:
	part = framer("k1t344").part(b"{}", JSON_TYPE, "AccessControllerEvent")
	assert part == (
		b'Content-Disposition: form-data; name="AccessControllerEvent"\r\n'
		b'Content-Type: application/json; charset="UTF-8"\r\n'
		b"Content-Length: 2\r\n\r\n{}\r\n--MIME_boundary\r\n"
	)


def test_a_recorder_sends_line_feeds_and_counts_the_last_one() -> None:
	part = framer("nvr-typeb").part(b"<a/>\n", "application/xml")
	assert part == b"--boundary\nContent-Type: application/xml\nContent-Length: 5\n\n<a/>\n"


def test_an_intercom_puts_a_second_set_of_headers_before_an_event() -> None:
	part = framer("kv6124").part(b"{}", JSON_TYPE, "AccessControllerEvent")
	assert part.startswith(
		b"\r\nContent-Type: multipart/form-data; boundary=MIME_boundary\r\n--MIME_boundary\r\n"
		b'Content-Disposition: form-data; name="Event"\r\n--MIME_boundary\r\nContent-Type: application/json'
	)
	assert framer("kv6124").content_type() == "multipart/mixed"


def test_a_picture_follows_its_event_as_a_part_of_its_own() -> None:
	picture = jpeg(5000)
	part = framer("k1t344").part(b"{}", JSON_TYPE, "AccessControllerEvent", picture)
	head = (
		b'Content-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\nContent-Type: image/jpeg\r\n'
		b"Content-Length: 5000\r\nContent-ID: pictureImage\r\n\r\n"
	)
	assert part.endswith(head + picture + b"\r\n--MIME_boundary\r\n")
	assert b"\r\n--MIME_bound" in picture
	assert b"--MIME_boundary" not in picture


@pytest.mark.parametrize(("length", "said"), [(PartLength.WRONG, b"19"), (PartLength.MISSING, None)])
def test_the_length_of_a_part_may_lie_or_be_missing(length: PartLength, said: bytes | None) -> None:
	part = framer("k1t344").part(b"{}", JSON_TYPE, "Event", length=length)
	found = re.search(rb"Content-Length: (\d+)", part)
	assert (found and found[1]) == said


def test_a_push_may_disagree_with_its_header_about_the_case_of_the_boundary() -> None:
	style = PROFILES["k1t323-push"].push
	body = push_body(style, b"{}", JSON_TYPE)
	assert style.boundary == "mime_boundary"
	assert body.startswith(b"--MIME_boundary\r\n")
	assert body.endswith(b"\r\n--MIME_boundary--\r\n")


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name)
def test_a_real_stream_is_made_again_byte_for_byte(capture: Path) -> None:
	"""Header lines, lengths, delimiters and JSON layout of a DS-K1T344, from the parsed documents alone."""
	original = capture.read_bytes()
	made = framer("k1t344")
	again = made.opening()
	for part in original.split(b"--MIME_boundary\r\n")[1:-1]:
		document = json.loads(part.split(b"\r\n\r\n", 1)[1])
		name = "AccessControllerEvent" if "AccessControllerEvent" in document else None
		again += made.part(print_cjson(document).encode(), JSON_TYPE, name)
	assert again == original


# Without the captures it is no test of this run, rather than a skipped one.
test_a_real_stream_is_made_again_byte_for_byte.__test__ = bool(CAPTURES)
