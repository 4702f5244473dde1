"""Streams in every kind of framing that devices were seen to use, cut everywhere."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hikvision_frappe.isapi.framing import MAX_LINE_BYTES, PartFramer
from tests.isapi.support import StreamWriter, alert_body, bodies, cut, event_body, framed

BOUNDARIES = ["MIME_boundary", "boundary", "<boundary>", "--myboundary", "7e13971310878"]
EVENT, HEARTBEAT, ALERT = event_body(), b'{"eventType":"videoloss","eventState":"inactive"}', alert_body()

writers = st.builds(
	StreamWriter,
	boundary=st.sampled_from(BOUNDARIES),
	newline=st.sampled_from([b"\r\n", b"\n"]),
	with_length=st.booleans(),
	delimiter_first=st.booleans(),
	nested_headers=st.booleans(),
)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
texts = st.one_of(
	st.builds(lambda serial, name: event_body(serial, name=name), st.integers(1, 10**6), names),
	st.builds(
		lambda name: event_body(name=name, indent=None),
		st.sampled_from(['"\\', "}{][", "\\\\", '"}', "--boundary"]),
	),
	st.sampled_from(
		[HEARTBEAT, ALERT, alert_body(newline="\r\n"), b"<e/>", b'<?xml version="1.0"?>\n<a><b/></a>']
	),
)
# What is in a picture must not matter as long as its length is right.
wild_pictures = st.lists(
	st.one_of(
		st.binary(max_size=40),
		st.sampled_from(
			[
				b"\r\n--MIME_boundary\r\n",
				b"\n--boundary--\n",
				b"\r\n\r\n{}",
				b"\n--",
				b"Content-Length: 5\r\n",
			]
		),
	),
	max_size=6,
).map(lambda pieces: b"\xff\xd8" + b"".join(pieces) + b"\xff\xd9")
tame_pictures = st.binary(max_size=120).map(lambda data: b"\xff\xd8" + data.replace(b"-", b"") + b"\xff\xd9")
positions = st.lists(st.integers(0, 3000), max_size=25)


@given(writers, st.lists(texts, max_size=5), positions)
def test_any_framing_of_texts_gives_the_same_parts_however_it_is_cut(writer, texts, where):
	stream = writer.begin() + b"".join(writer.part(text) for text in texts)
	assert bodies(framed(cut(stream, where))) == texts


@given(writers, st.lists(st.one_of(texts, wild_pictures), max_size=5), positions)
def test_a_picture_of_the_right_length_may_hold_anything(writer, contents, where):
	writer.with_length, writer.nested_headers = True, False
	stream = writer.begin() + b"".join(writer.part(content) for content in contents)
	assert bodies(framed(cut(stream, where))) == contents


@given(
	writers,
	st.lists(
		st.tuples(st.one_of(texts, tame_pictures), st.sampled_from([None, -9, -2, -1, 1, 2, 3, 17, 40])),
		max_size=5,
	),
	positions,
)
def test_a_wrong_or_missing_length_does_no_harm(writer, contents, where):
	writer.with_length, writer.nested_headers = False, False
	stream = writer.begin()
	for content, error in contents:
		stream += writer.part(content, length=None if error is None else max(0, len(content) + error))
	stream += writer.part(HEARTBEAT) * 3 + writer.delimiter
	expected = [content for content, _ in contents] + [HEARTBEAT] * 3
	assert bodies(framed(cut(stream, where))) == expected


@given(st.binary(max_size=400), positions, st.lists(texts, min_size=2, max_size=3))
def test_even_rubbish_is_read_the_same_however_it_is_cut(rubbish, where, texts):
	writer = StreamWriter()
	stream = rubbish + b"\r\n" + writer.begin() + b"".join(writer.part(text) + rubbish[:50] for text in texts)
	whole, pieces = PartFramer(), PartFramer()
	assert framed([stream], whole) == framed(cut(stream, where), pieces)
	assert (whole.dropped_bytes, whole.resyncs) == (pieces.dropped_bytes, pieces.resyncs)


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("delimiter_first", [True, False])
@pytest.mark.parametrize("nested_headers", [True, False])
def test_a_stream_broken_off_at_any_byte_gives_a_prefix_of_its_parts(
	newline, delimiter_first, nested_headers
):
	writer = StreamWriter(newline=newline, delimiter_first=delimiter_first, nested_headers=nested_headers)
	contents = [EVENT, ALERT, HEARTBEAT, event_body(2, name='brace } and "quote"')]
	stream = writer.begin() + b"".join(writer.part(content) for content in contents)
	for position in range(len(stream)):
		found = bodies(framed([stream[:position]]))
		assert found == contents[: len(found)]


@settings(max_examples=60)
@given(st.lists(wild_pictures, min_size=1, max_size=3), st.data())
def test_pictures_broken_off_at_any_byte_give_a_prefix_too(pictures, data):
	writer = StreamWriter()
	contents = [content for picture in pictures for content in (EVENT, picture)]
	stream = writer.begin() + b"".join(writer.part(content) for content in contents)
	position = data.draw(st.integers(0, len(stream)))
	found = bodies(framed([stream[:position]]))
	whole = [
		content for content, end in zip(contents, ends_of(contents, writer), strict=True) if end <= position
	]
	assert found[: len(whole)] == whole
	for body in found[len(whole) :]:  # what stands behind a delimiter of the broken picture's own
		assert body in contents[len(whole)]


def ends_of(contents, writer):
	"""Where each body ends in the stream of a writer."""
	ends, at = [], len(writer.begin())
	for content in contents:
		part = writer.part(content)
		ends.append(at + part.rindex(content) + len(content))
		at += len(part)
	return ends


def test_an_event_is_given_away_with_its_last_byte():
	for with_length in (True, False):
		writer = StreamWriter(with_length=with_length, delimiter_first=True)
		framer = PartFramer()
		stream = writer.part(EVENT)
		end = stream.index(EVENT) + len(EVENT)
		assert framer.feed(stream[: end - 1]) == []
		assert bodies(framer.feed(stream[end - 1 : end])) == [EVENT]


def test_an_xml_event_is_given_away_with_its_last_byte():
	framer = PartFramer()
	assert framer.feed(StreamWriter().begin() + b"Content-Type: application/xml\n\n" + ALERT[:-1]) == []
	assert bodies(framer.feed(b">")) == [ALERT]


def test_several_alerts_in_one_part_become_several_parts():
	stream = StreamWriter().begin() + StreamWriter().part(ALERT + b"\n" + ALERT + ALERT, "application/xml")
	assert bodies(framed([stream])) == [ALERT, ALERT, ALERT]


def test_headers_are_in_lower_case_and_belong_to_the_last_delimiter():
	stream = StreamWriter(nested_headers=True).begin() + StreamWriter(nested_headers=True).part(EVENT)
	(part,) = framed([stream])
	assert part.headers == {"content-type": "application/json", "content-length": str(len(EVENT))}


def test_the_boundary_may_change_its_case():
	stream = b"--mime_BOUNDARY\r\n" + StreamWriter().part(EVENT) + StreamWriter().part(HEARTBEAT)
	assert bodies(framed([stream])) == [EVENT, HEARTBEAT]


def test_a_content_type_line_before_the_first_delimiter_is_no_part():
	stream = b"Content-Type: multipart/form-data; boundary=MIME_boundary\r\n\r\n--MIME_boundary\r\n"
	assert bodies(framed([stream + StreamWriter().part(EVENT)])) == [EVENT]


def test_line_ends_may_be_mixed():
	stream = (
		b"--b\r\nContent-Type: application/json\n\r\n" + EVENT + b"\n--b\nA: b\r\n\n" + ALERT + b"\r\n--b--"
	)
	assert bodies(framed([stream])) == [EVENT, ALERT]


def test_a_body_without_any_header_is_a_part():
	assert bodies(framed([b"--b\r\n\r\n" + EVENT + b"\r\n--b\r\n" + HEARTBEAT])) == [EVENT, HEARTBEAT]


def test_an_empty_part_is_no_part():
	assert framed([b"--b\r\nContent-Length: 0\r\n\r\n\r\n--b\r\nX: y\r\n\r\n\r\n--b--\r\n"]) == []


def test_a_byte_order_mark_is_not_part_of_the_text():
	assert bodies(framed([b"--b\r\nX: y\r\n\r\n\xef\xbb\xbf" + EVENT + b"\r\n--b\r\n"])) == [EVENT]


def test_broken_json_ends_at_the_next_delimiter_and_the_next_event_is_whole():
	stream = StreamWriter().begin() + StreamWriter().part(EVENT[:-30]) + StreamWriter().part(EVENT)
	assert bodies(framed([stream])) == [EVENT[:-30], EVENT]


@given(writers, texts, st.integers(0, 3000), st.lists(texts, min_size=1, max_size=3), positions)
def test_a_body_that_breaks_off_right_before_a_delimiter_costs_no_other_event(
	writer, broken, length, good, where
):
	"""No line end stands between the broken body and the delimiter."""
	writer.delimiter_first = False
	broken = broken[: length % len(broken)]
	head = b"Content-Type: application/json" + writer.newline * 2
	stream = writer.begin() + writer.part(HEARTBEAT) + head + broken + writer.delimiter
	stream += b"".join(writer.part(text) for text in good)
	assert bodies(framed(cut(stream, where)))[-len(good) :] == good


@given(writers, st.binary(max_size=60), st.lists(texts, min_size=1, max_size=3), positions)
def test_a_line_that_is_no_header_costs_no_other_event(writer, rubbish, good, where):
	writer.delimiter_first = False
	rubbish = b"Content-Type application json" + writer.newline * 2 + b"{" + rubbish.replace(b"-", b"")
	stream = writer.begin() + rubbish + writer.delimiter + b"".join(writer.part(text) for text in good)
	assert bodies(framed(cut(stream, where))) == good


def test_a_delimiter_within_a_text_of_json_is_text():
	text = event_body(name="--MIME_boundary", indent=None)
	for body in (text, text.replace(b'y"', b'y--"')):
		stream = StreamWriter().begin() + StreamWriter().part(body) + StreamWriter().part(EVENT)
		for position in range(len(stream)):
			assert bodies(framed([stream[:position], stream[position:]])) == [body, EVENT]


@pytest.mark.parametrize("step", [1, 1000, 100_000])
def test_events_behind_a_picture_that_is_shorter_than_it_says_are_told_at_the_end_at_the_latest(step):
	writer = StreamWriter()
	stream = writer.begin() + writer.part(EVENT)
	stream += writer.part(b"\xff\xd8 a short picture", "image/jpeg", length=50_000)
	stream += writer.part(event_body(2)) + writer.part(event_body(3))
	chunks = [stream[start : start + step] for start in range(0, len(stream), step)]
	assert bodies(framed(chunks)) == [EVENT, event_body(2), event_body(3)]


def test_rubbish_is_counted_and_does_not_stop_the_stream():
	framer = PartFramer()
	stream = (
		b"\x00\xff rubbish\r\n--x\r\nmore rubbish\r\n" + StreamWriter().begin() + StreamWriter().part(EVENT)
	)
	assert bodies(framed([stream], framer)) == [EVENT]
	assert framer.resyncs >= 1
	assert framer.dropped_bytes >= len(b"\x00\xff rubbish\r\n")


@pytest.mark.parametrize(
	"too_long",
	[
		b'{"a":"' + b"x" * 9000 + b'"}',
		b"\xff\xd8" + b"x" * 9000,
		b"<a>" + b"x" * 9000 + b"</a>",
		b'{"never": "closed' + b"x" * 9000,
	],
)
@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("step", [7, 100, 50_000])
def test_a_part_that_is_too_long_is_skipped_and_the_next_one_is_read(too_long, with_length, step):
	writer = StreamWriter(with_length=with_length)
	stream = writer.begin() + writer.part(EVENT) + writer.part(too_long) + writer.part(HEARTBEAT)
	framer = PartFramer(max_part_bytes=1000)
	chunks = (stream[start : start + step] for start in range(0, len(stream), step))
	assert bodies(framed(chunks, framer)) == [EVENT, HEARTBEAT]
	assert framer.dropped_bytes >= len(too_long)
	assert framer.resyncs == 1


@pytest.mark.parametrize(
	"endless",
	[
		b"x",
		b"\n",
		b"--",
		b"--\n",
		b"\r\n",
		b'{"a":"',
		b"<a>",
		b"{",
		b"A: b\r\n",
		b"\n\n--a",
		b"\x00\xff",
		b"--a\r\nB: c\r\n\r\n",
	],
)
@pytest.mark.parametrize(
	"begin", [b"", b"--b\r\nX: y\r\n\r\n", b'--b\r\n\r\n{"', b"--b\r\nContent-Length: 999999999\r\n\r\nx"]
)
def test_never_more_than_a_part_and_a_chunk_is_held(endless, begin):
	limit, chunk = 20_000, endless * (1000 // len(endless))
	framer = PartFramer(max_part_bytes=limit)
	framer.feed(begin)
	for _ in range(100):
		framer.feed(chunk)
		assert framer.held_bytes <= limit + MAX_LINE_BYTES + len(chunk)


@pytest.mark.parametrize(
	"content",
	[
		b'{"a":"' + b"x" * 400_000 + b'"}',
		b'{"a":"' + b"\\\\" * 200_000 + b'"}',
		b"\xff\xd8" + b"\n--" * 130_000,
		b"<a>" + b"<b/>" * 100_000 + b"</a>",
		b"\xff\xd8" + b"\n--MIME_boundary" * 25_000 + b"x",
	],
)
def test_the_work_is_linear_in_what_comes(content):
	stream = StreamWriter().begin() + StreamWriter().part(content)
	began = time.process_time()
	found = framed(stream[start : start + 64] for start in range(0, len(stream), 64))
	assert bodies(found) == [content]
	assert time.process_time() - began < 5  # quadratic work would take minutes


def test_many_documents_in_one_chunk_are_linear_too():
	stream = b"--b\r\n\r\n" + b"<e/>\n" * 60_000
	began = time.process_time()
	assert len(framed([stream])) == 60_000
	assert time.process_time() - began < 10
