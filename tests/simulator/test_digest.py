from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.simulator.digest import (
	DigestFlavour,
	DigestGate,
	LockOut,
	Verdict,
	answer_challenge,
	digest_response,
	parse_parameters,
)

PATH = "/ISAPI/System/deviceInfo"


def answered(gate: DigestGate, place: int = 0, password: str = "secret") -> str:
	answer = answer_challenge(gate.challenges()[place], "GET", PATH, "admin", password)
	assert answer is not None
	return answer


def gate(**flavour: object) -> DigestGate:
	return DigestGate(DigestFlavour(**flavour), "admin", "secret")  # type: ignore[arg-type]


@pytest.mark.parametrize(
	("algorithm", "expected"),
	[
		("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
		("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
	],
)
def test_the_example_of_rfc_7616_comes_out(algorithm: str, expected: str) -> None:
	given_values = {
		"nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
		"nc": "00000001",
		"cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
		"qop": "auth",
	}
	response = digest_response(
		algorithm, "GET", "/dir/index.html", "Mufasa", "Circle of Life", "http-auth@example.org", given_values
	)
	assert response == expected


def test_a_right_answer_is_granted_once_per_count() -> None:
	door = gate()
	answer = answered(door)
	assert door.judge("GET", PATH, answer) is Verdict.GRANTED
	assert door.judge("GET", PATH, answer) is Verdict.REPLAYED


@pytest.mark.parametrize("place", [0, 1])
def test_either_of_two_challenges_may_be_answered(place: int) -> None:
	door = gate(algorithms=("SHA-256", "MD5"))
	assert door.judge("GET", PATH, answered(door, place)) is Verdict.GRANTED


def test_another_password_path_or_method_is_wrong() -> None:
	door = gate()
	assert door.judge("GET", PATH, answered(door, password="other")) is Verdict.WRONG
	assert door.judge("PUT", PATH, answered(door)) is Verdict.WRONG
	assert door.judge("GET", "/ISAPI/System/time", answered(door)) is Verdict.WRONG


def test_basic_credentials_are_no_failure_but_no_login_either() -> None:
	assert gate().judge("GET", PATH, "Basic YWRtaW46c2VjcmV0") is Verdict.OTHER_SCHEME


def test_a_nonce_dies_of_age() -> None:
	door = gate(nonce_seconds=-1.0)
	assert door.judge("GET", PATH, answered(door)) is Verdict.STALE


def test_a_device_with_a_single_nonce_forgets_the_one_before() -> None:
	door = gate(single_nonce=True)
	first = answered(door)
	second = answered(door)
	assert door.judge("GET", PATH, first) is Verdict.STALE
	assert door.judge("GET", PATH, second) is Verdict.GRANTED


def test_a_challenge_has_the_texts_of_its_flavour() -> None:
	challenge = gate(
		realm="abc", domain="::", opaque="", algorithm_quoted=True, nonce_with_time=True
	).challenges()[0]
	assert challenge.startswith('Digest qop="auth", domain="::", realm="abc", nonce="')
	assert challenge.endswith('opaque="", algorithm="MD5", stale="FALSE"')
	assert ":" in parse_parameters(challenge.partition(" ")[2])["nonce"]


@given(st.text(max_size=200))
def test_no_authorization_text_breaks_the_gate(text: str) -> None:
	door = gate()
	nonce = parse_parameters(door.challenges()[0])["nonce"]
	assert door.judge("GET", PATH, f'Digest nonce="{nonce}", nc=1, {text}') is not Verdict.GRANTED


class Time:
	"""A clock that the test moves."""

	def __init__(self) -> None:
		self.now = 1000.0

	def __call__(self) -> float:
		return self.now


def test_five_failures_lock_for_half_an_hour() -> None:
	lock = LockOut(clock=Time())
	for left in (4, 3, 2, 1, 0):
		lock.failed("192.0.2.1")
		assert lock.tries_left("192.0.2.1") == left
	assert lock.locked_seconds("192.0.2.1") == 1800
	assert lock.locked_seconds("192.0.2.2") == 0


def test_each_try_while_locked_restarts_the_time() -> None:
	clock = Time()
	lock = LockOut(clock=clock)
	for _ in range(5):
		lock.failed("192.0.2.1")
	clock.now += 1700
	lock.failed("192.0.2.1")
	clock.now += 1700
	assert lock.locked_seconds("192.0.2.1") == 100


def test_the_count_begins_again_when_the_lock_is_over() -> None:
	clock = Time()
	lock = LockOut(clock=clock)
	for _ in range(5):
		lock.failed("192.0.2.1")
	clock.now += 1801
	assert lock.tries_left("192.0.2.1") == 5
	lock.failed("192.0.2.1")
	assert lock.tries_left("192.0.2.1") == 4
	lock.succeeded("192.0.2.1")
	assert lock.tries_left("192.0.2.1") == 5
