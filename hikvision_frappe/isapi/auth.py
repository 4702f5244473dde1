"""HTTP Digest as devices practise it.

aiohttp's DigestAuthMiddleware was tried first and does not fit, for reasons of the field:

* A nonce that died (another client logged in, a stream was closed) is answered with 401 *without* a challenge. The
  middleware then gives up and sends the dead nonce for ever; here it is dropped and the handshake done anew.
* ``domain="::"``, which recorders send, is no URL: the middleware raises or never sends its nonce again.
* It reads only the first of several WWW-Authenticate headers, so Basic before Digest ends the login.
* It cannot tell a refusal of a fresh nonce (wrong password: stop, the device counts) from that of an old one, and
  cannot lend a ready header to the alert stream, which must be opened once and not after a 401 of its own.
* It exists from aiohttp 3.12 on; 3.10 is enough for everything else.

Only the arithmetic of RFC 7616 and 2617 is here; who sends what and when is in ``client``.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

MAX_HEADER = 8 * 1024

_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9_-]*)(?=\s+[A-Za-z0-9_-]+\s*=|\s*(?:,|$))")
# MD5 is what the protocol says, not our choice.
_HASHES: Mapping[str, Callable[[bytes], hashlib._Hash]] = {
	"MD5": hashlib.md5,
	"SHA-256": hashlib.sha256,
	"SHA256": hashlib.sha256,
	"SHA-512-256": lambda data: hashlib.new("sha512_256", data),
}


class NoUsableChallenge(Exception):
	"""The server asks for a login in no way that is known here. schemes: what it offered instead."""

	def __init__(self, schemes: tuple[str, ...]) -> None:
		super().__init__(", ".join(schemes))
		self.schemes = schemes


@dataclass(frozen=True, slots=True)
class Challenge:
	"""What a server wants proven. algorithm: as it wrote it, "" for none. qop: "auth", "auth-int" or "".

	stale: it says that only the nonce was at fault. False means nothing: some say so of a dead nonce as well.
	"""

	realm: str
	nonce: str
	algorithm: str = ""
	qop: str = ""
	opaque: str = ""
	stale: bool = False


class DigestLogin:
	"""User, password and the one nonce in use with a device; ``header`` counts its uses.

	accepted: a request with this nonce has succeeded, so a later refusal is the nonce's fault and not the password's.
	"""

	__slots__ = ("_challenge", "_password", "_user", "_uses", "accepted")

	def __init__(self, user: str, password: str) -> None:
		self._user = user
		self._password = password
		self._challenge: Challenge | None = None
		self._uses = 0
		self.accepted = False

	def __repr__(self) -> str:
		return f"<DigestLogin {self._user!r}>"

	@property
	def ready(self) -> bool:
		"""Whether there is a nonce to build a header with."""
		return self._challenge is not None

	def take(self, headers: Iterable[str]) -> None:
		"""Use the challenge of these WWW-Authenticate headers from now on; raises NoUsableChallenge."""
		self._challenge = read_challenge(headers)
		self._uses = 0
		self.accepted = False

	def forget(self) -> None:
		"""Drop the nonce; the next request has to fetch another one."""
		self._challenge = None
		self.accepted = False

	def header(self, method: str, target: str, body: bytes = b"") -> str:
		"""The Authorization header for one request. target: path and query exactly as sent."""
		challenge = self._challenge
		if challenge is None:
			raise RuntimeError("no challenge to answer")
		self._uses += 1
		return _answer(challenge, self._user, self._password, method, target, body, self._uses)


def read_challenge(headers: Iterable[str]) -> Challenge:
	"""The first Digest challenge with a known algorithm: the server lists them in its order of preference.

	Raises NoUsableChallenge.
	"""
	schemes: list[str] = []
	for scheme, parameters in _challenges(headers):
		schemes.append(scheme)
		challenge = _digest_challenge(parameters) if scheme.lower() == "digest" else None
		if challenge is not None:
			return challenge
	raise NoUsableChallenge(tuple(schemes))


def _challenges(headers: Iterable[str]) -> Iterable[tuple[str, dict[str, str]]]:
	"""Scheme and parameters of each challenge; one header may hold several."""
	for header in headers:
		header = header[:MAX_HEADER]
		blanked = re.sub(r'"(?:[^"\\]|\\.)*"', lambda quoted: '"' + "x" * (len(quoted[0]) - 2) + '"', header)
		starts = [match for match in _SCHEME.finditer(blanked)]
		for number, match in enumerate(starts):
			end = starts[number + 1].start() if number + 1 < len(starts) else len(header)
			yield match[1], _parameters(header[match.end() : end])


def _parameters(text: str) -> dict[str, str]:
	return {
		name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
		for name, quoted, bare in _PARAMETER.findall(text)
	}


def _digest_challenge(parameters: Mapping[str, str]) -> Challenge | None:
	nonce, algorithm = parameters.get("nonce", ""), parameters.get("algorithm", "")
	offered = [quality.strip().lower() for quality in parameters.get("qop", "").split(",") if quality.strip()]
	qop = next((quality for quality in ("auth", "auth-int") if quality in offered), "")
	if not nonce or _base_algorithm(algorithm) not in _HASHES or (offered and not qop):
		return None
	stale = parameters.get("stale", "").lower() == "true"
	return Challenge(parameters.get("realm", ""), nonce, algorithm, qop, parameters.get("opaque", ""), stale)


def _base_algorithm(algorithm: str) -> str:
	return (algorithm or "MD5").upper().removesuffix("-SESS")


def _answer(
	challenge: Challenge, user: str, password: str, method: str, target: str, body: bytes, uses: int
) -> str:
	hash_function = _HASHES[_base_algorithm(challenge.algorithm)]

	def digest(*parts: str) -> str:
		return hash_function(":".join(parts).encode()).hexdigest()

	count, client_nonce = f"{uses:08x}", secrets.token_hex(8)
	secret = digest(user, challenge.realm, password)
	if challenge.algorithm.upper().endswith("-SESS"):
		secret = digest(secret, challenge.nonce, client_nonce)
	request = [method, target]
	if challenge.qop == "auth-int":
		request.append(hash_function(body).hexdigest())
	quality = (count, client_nonce, challenge.qop) if challenge.qop else ()
	response = digest(secret, challenge.nonce, *quality, digest(*request))
	return _header(challenge, user, target, response, count, client_nonce)


def _header(
	challenge: Challenge, user: str, target: str, response: str, count: str, client_nonce: str
) -> str:
	fields = [
		f"username={_quoted(user)}",
		f"realm={_quoted(challenge.realm)}",
		f"nonce={_quoted(challenge.nonce)}",
		f"uri={_quoted(target)}",
		f'response="{response}"',
	]
	if challenge.algorithm:
		fields.append(f"algorithm={challenge.algorithm}")
	if challenge.opaque:
		fields.append(f"opaque={_quoted(challenge.opaque)}")
	if challenge.qop:
		fields += [f"qop={challenge.qop}", f"nc={count}", f'cnonce="{client_nonce}"']
	return "Digest " + ", ".join(fields)


def _quoted(text: str) -> str:
	escaped = text.replace("\\", "\\\\").replace('"', '\\"')
	return f'"{escaped}"'
