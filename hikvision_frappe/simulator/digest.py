"""Digest authentication as the devices do it (RFC 7616, qop=auth), with their quirks and their lock-out."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}
_NONCES_KEPT = 64
_CLIENTS_KEPT = 256


class DeadNonce(str, Enum):
	"""What a device answers to a login with a nonce it no longer takes."""

	STALE = "challenge with stale=true"
	STALE_DENIED = "challenge with stale=FALSE, although only the nonce is old"
	SILENT = "401 without a challenge"


@dataclass(frozen=True, slots=True)
class DigestFlavour:
	"""How a device's challenge looks and how long its nonces live.

	algorithms: one challenge each, in this order. algorithm_quoted: None leaves the parameter out.
	opaque, domain, stale: None leaves the parameter out. nonce_seconds: life of a nonce.
	"""

	realm: str = "IP Camera"
	algorithms: tuple[str, ...] = ("MD5",)
	algorithm_quoted: bool | None = False
	opaque: str | None = None
	domain: str | None = None
	stale: str | None = "FALSE"
	nonce_with_time: bool = False  # "<hex>:<epoch ms>" as some recorders write it
	nonce_seconds: float = 300.0
	dead_nonce: DeadNonce = DeadNonce.STALE
	nonce_dies_with_stream: bool = False
	single_nonce: bool = False  # a new challenge kills the nonce given before, whoever holds it


class Verdict(str, Enum):
	"""What the device thinks of a request's credentials."""

	GRANTED = "granted"
	ANONYMOUS = "no credentials"
	OTHER_SCHEME = "not Digest"
	STALE = "dead nonce"
	REPLAYED = "nonce count did not grow"
	WRONG = "wrong user or password"


@dataclass(slots=True)
class _Nonce:
	made_at: float
	highest_count: int = 0


class DigestGate:
	"""Gives challenges and judges answers for one device with one account."""

	def __init__(self, flavour: DigestFlavour, user: str, password: str) -> None:
		self._flavour = flavour
		self._user = user
		self._password = password
		self._nonces: OrderedDict[str, _Nonce] = OrderedDict()

	def challenges(self, stale: bool = False) -> list[str]:
		"""Values of the WWW-Authenticate headers of one 401; all carry the same fresh nonce."""
		nonce = self._new_nonce()
		return [self._challenge(nonce, algorithm, stale) for algorithm in self._flavour.algorithms]

	def judge(self, method: str, target: str, authorization: str | None) -> Verdict:
		"""Judge an Authorization header; ``target`` is the request's path with its query."""
		if authorization is None:
			return Verdict.ANONYMOUS
		scheme, _, rest = authorization.partition(" ")
		if scheme.lower() != "digest":
			return Verdict.OTHER_SCHEME
		given = parse_parameters(rest)
		nonce = self._nonces.get(given.get("nonce", ""))
		if nonce is None or time.monotonic() - nonce.made_at > self._flavour.nonce_seconds:
			return Verdict.STALE
		return self._judge_answer(method, target, given, nonce)

	def forget(self, authorization: str | None) -> None:
		"""Let the nonce of this Authorization header die."""
		if authorization is not None:
			self._nonces.pop(parse_parameters(authorization).get("nonce", ""), None)

	def forget_all(self) -> None:
		"""Let every nonce die, as a reboot does."""
		self._nonces.clear()

	def _judge_answer(self, method: str, target: str, given: Mapping[str, str], nonce: _Nonce) -> Verdict:
		algorithm = given.get("algorithm", self._flavour.algorithms[-1]).upper()
		count = _hex_number(given.get("nc", ""))
		right = (
			given.get("username") == self._user
			and given.get("realm") == self._flavour.realm
			and given.get("uri") == target
			and given.get("qop", "").lower() == "auth"
			and algorithm in self._flavour.algorithms
			and count is not None
			and self._matches(algorithm, method, given)
		)
		if not right or count is None:
			return Verdict.WRONG
		if count <= nonce.highest_count:
			return Verdict.REPLAYED
		nonce.highest_count = count
		return Verdict.GRANTED

	def _matches(self, algorithm: str, method: str, given: Mapping[str, str]) -> bool:
		expected = digest_response(
			algorithm, method, given["uri"], self._user, self._password, self._flavour.realm, given
		)
		return hmac.compare_digest(expected.encode(), given.get("response", "").lower().encode())

	def _new_nonce(self) -> str:
		text = secrets.token_hex(24)
		if self._flavour.nonce_with_time:
			text = f"{secrets.token_hex(16)}:{int(time.time() * 1000)}"
		if self._flavour.single_nonce:
			self._nonces.clear()
		self._nonces[text] = _Nonce(time.monotonic())
		while len(self._nonces) > _NONCES_KEPT:
			self._nonces.popitem(last=False)
		return text

	def _challenge(self, nonce: str, algorithm: str, stale: bool) -> str:
		flavour = self._flavour
		parts = ['qop="auth"', f'realm="{flavour.realm}"', f'nonce="{nonce}"']
		if flavour.domain is not None:
			parts.insert(1, f'domain="{flavour.domain}"')
		if flavour.opaque is not None:
			parts.append(f'opaque="{flavour.opaque}"')
		if flavour.algorithm_quoted is not None:
			parts.append(f'algorithm="{algorithm}"' if flavour.algorithm_quoted else f"algorithm={algorithm}")
		if stale:
			parts.append('stale="TRUE"')
		elif flavour.stale is not None:
			parts.append(f'stale="{flavour.stale}"')
		return f"Digest {', '.join(parts)}"


def digest_response(
	algorithm: str,
	method: str,
	uri: str,
	user: str,
	password: str,
	realm: str,
	given: Mapping[str, str],
) -> str:
	"""The ``response`` value for qop=auth; ``given`` has nonce, nc, cnonce and qop."""

	def digest(text: str) -> str:
		return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()

	secret = digest(f"{user}:{realm}:{password}")
	request = digest(f"{method}:{uri}")
	middle = ":".join(given.get(key, "") for key in ("nonce", "nc", "cnonce", "qop"))
	return digest(f"{secret}:{middle}:{request}")


def answer_challenge(challenge: str, method: str, uri: str, user: str, password: str) -> str | None:
	"""The Authorization header for a receiver's Digest challenge (MD5 or SHA-256), None when it is another."""
	scheme, _, rest = challenge.partition(" ")
	asked = parse_parameters(rest)
	algorithm = asked.get("algorithm", "MD5").upper()
	if scheme.lower() != "digest" or algorithm not in _HASHES or "nonce" not in asked:
		return None
	realm = asked.get("realm", "")
	given = {"nonce": asked["nonce"], "nc": "00000001", "cnonce": secrets.token_hex(8), "qop": "auth"}
	response = digest_response(algorithm, method, uri, user, password, realm, given)
	return (
		f'Digest username="{user}", realm="{realm}", nonce="{given["nonce"]}", uri="{uri}", '
		f'algorithm={algorithm}, qop=auth, nc={given["nc"]}, cnonce="{given["cnonce"]}", '
		f'response="{response}"' + (f', opaque="{asked["opaque"]}"' if "opaque" in asked else "")
	)


def parse_parameters(text: str) -> dict[str, str]:
	"""The ``key=value`` pairs of a Digest header, keys in lower case, quotes gone."""
	return {
		match[1].lower(): match[2] if match[2] is not None else match[3]
		for match in _PARAMETER.finditer(text)
	}


def _hex_number(text: str) -> int | None:
	try:
		return int(text, 16)
	except ValueError:
		return None


@dataclass(slots=True)
class _Tries:
	failed: int = 0
	locked_until: float = 0.0


class LockOut:
	"""Failed logins per client address: the last allowed one locks, and each new try locks anew."""

	def __init__(
		self, max_tries: int = 5, seconds: float = 1800.0, clock: Callable[[], float] = time.monotonic
	) -> None:
		self.max_tries = max_tries
		self.seconds = seconds
		self._now = clock
		self._clients: OrderedDict[str, _Tries] = OrderedDict()

	def locked_seconds(self, client: str) -> int:
		"""How long the client stays locked, 0 when it is not."""
		tries = self._clients.get(client)
		return 0 if tries is None else max(0, round(tries.locked_until - self._now()))

	def tries_left(self, client: str) -> int:
		"""How many more wrong logins the client may make before it is locked."""
		tries = self._clients.get(client)
		if tries is None or (tries.failed >= self.max_tries and not self.locked_seconds(client)):
			return self.max_tries
		return self.max_tries - tries.failed

	def failed(self, client: str) -> None:
		"""Count a wrong login, or any login while locked."""
		tries = self._clients.setdefault(client, _Tries())
		if tries.failed >= self.max_tries and not self.locked_seconds(client):
			tries.failed = 0
		tries.failed = min(tries.failed + 1, self.max_tries)
		if tries.failed >= self.max_tries:
			tries.locked_until = self._now() + self.seconds
		while len(self._clients) > _CLIENTS_KEPT:
			self._clients.popitem(last=False)

	def succeeded(self, client: str) -> None:
		"""A right login wipes the count."""
		self._clients.pop(client, None)

	def unlock(self) -> None:
		"""Forget every client, as a reboot does."""
		self._clients.clear()
