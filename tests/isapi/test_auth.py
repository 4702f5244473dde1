"""Digest against the challenges that devices were seen to send."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.isapi.auth import DigestLogin, NoUsableChallenge, read_challenge

QUOTED = (
	'Digest realm="fe12f37bd", domain="::", qop="auth", nonce="300b7e:1685000004756", opaque="", '
	'algorithm="MD5", stale="FALSE"'
)
BARE = 'Digest qop="auth", realm="IP Camera(C2183)", nonce="4e6a", stale="FALSE"'


def fields(header):
	return {
		name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)
	}


def login(*headers, user="admin", password="Secret-77"):
	result = DigestLogin(user, password)
	result.take(headers)
	return result


def test_the_example_of_the_standard_comes_out_right(monkeypatch):
	monkeypatch.setattr(
		"hikvision_frappe.isapi.auth.secrets.token_hex",
		lambda _: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
	)
	header = login(
		'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
		'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
		user="Mufasa",
		password="Circle of Life",
	).header("GET", "/dir/index.html")
	assert fields(header)["response"] == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
	assert fields(header)["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


@pytest.mark.parametrize("challenge", [QUOTED, BARE])
def test_a_devices_challenge_is_answered_as_it_wants(challenge):
	def md5(*parts):
		return hashlib.md5(":".join(parts).encode()).hexdigest()

	answer = fields(login(challenge).header("GET", "/ISAPI/System/time?a=b"))
	realm, nonce = answer["realm"], answer["nonce"]
	expected = md5(
		md5("admin", realm, "Secret-77"),
		nonce,
		"00000001",
		answer["cnonce"],
		"auth",
		md5("GET", "/ISAPI/System/time?a=b"),
	)
	assert answer["response"] == expected
	assert ("algorithm" in answer) == ("algorithm" in challenge)
	assert "opaque" not in answer


def test_each_use_of_a_nonce_is_counted_and_a_new_one_begins_anew():
	session = login(BARE)
	counts = [fields(session.header("GET", "/"))["nc"] for _ in range(3)]
	session.take([QUOTED])
	assert [*counts, fields(session.header("GET", "/"))["nc"]] == [
		"00000001",
		"00000002",
		"00000003",
		"00000001",
	]


def test_the_servers_order_of_challenges_counts():
	sha, md5 = (
		'Digest realm="r", nonce="1", algorithm=SHA-256, qop="auth"',
		'Digest realm="r", nonce="2", qop="auth"',
	)
	assert read_challenge([sha, md5]).nonce == "1"
	assert read_challenge([md5, sha]).nonce == "2"
	assert read_challenge([f"{sha}, {md5}"]).nonce == "1"
	assert read_challenge(['Digest realm="r", nonce="0", algorithm=WHIRLPOOL', md5]).nonce == "2"


def test_basic_before_digest_does_not_end_the_login():
	assert read_challenge(['Basic realm="x, Digest nonce=9"', BARE]).nonce == "4e6a"
	assert read_challenge([f'Basic realm="x", {BARE}']).nonce == "4e6a"


def test_a_challenge_without_qop_is_answered_in_the_old_way():
	answer = fields(login('Digest realm="r", nonce="n"').header("GET", "/"))
	assert "nc" not in answer
	assert "cnonce" not in answer


def test_a_session_algorithm_and_a_hashed_body_are_known_too():
	header = login('Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth-int"').header(
		"PUT", "/", b"body"
	)
	assert fields(header)["qop"] == "auth-int"


@pytest.mark.parametrize(
	"headers", [(), ("Basic realm=x",), ("Digest realm=r",), ("Digest",), ("",), ('Digest realm="r',)]
)
def test_without_a_usable_challenge_it_says_so(headers):
	with pytest.raises(NoUsableChallenge):
		read_challenge(headers)


def test_a_quote_in_the_user_name_is_escaped():
	header = login(BARE, user='a"b\\c').header("GET", "/")
	assert 'username="a\\"b\\\\c"' in header


def test_the_password_is_nowhere_to_be_seen():
	session = login(BARE)
	assert "Secret-77" not in repr(session) + session.header("GET", "/")


@given(st.lists(st.text(max_size=300), max_size=4))
def test_no_header_does_any_harm(headers):
	for prefix in ("", "Digest ", 'Digest realm="r", nonce="n", '):
		try:
			login(*(prefix + header for header in headers)).header("GET", "/")
		except NoUsableChallenge:
			continue
