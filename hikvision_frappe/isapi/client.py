"""One device over HTTP(S): requests, the alert stream, and a login that never brings the device's lock nearer.

What devices force upon a client:

* A connection carries one request: some do not answer a second one, others hang in a stream on it.
* A nonce dies without notice. A 401 to a request that carried one is answered by one fresh handshake. A refused
  fresh handshake is a wrong password: nothing is sent with it again by this client (``LoginRefused``), nor while the
  device says that it has locked (``AccountLocked``).
* The alert stream is opened once, with a header made beforehand: a 401 of its own would take its only slot.
* No redirect is followed and no proxy used: a login goes to the configured address or nowhere.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from socket import gaierror
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext, SSLError

import aiohttp
from yarl import URL

from hikvision_frappe.isapi import answers
from hikvision_frappe.isapi.address import DeviceAddress, TlsMode
from hikvision_frappe.isapi.answers import DeviceClock, DeviceInfo
from hikvision_frappe.isapi.auth import DigestLogin, NoUsableChallenge, read_challenge
from hikvision_frappe.isapi.deadline import time_limit
from hikvision_frappe.isapi.errors import (
	AccountLocked,
	BadAnswer,
	ConnectionLost,
	DeviceBusy,
	IsapiError,
	LoginFailed,
	LoginRefused,
	NotHikvision,
	NotPermitted,
	NotSupported,
	Rejected,
	SetupWrong,
	TimedOut,
	TlsMismatch,
	TlsUnusable,
	Unreachable,
)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
STREAM_SILENCE_SECONDS = 90.0
# A stream with an unusual Content-Type may be silent at first; an error body is not.
FIRST_BYTES_SECONDS = 5.0
MAX_BODY_BYTES = 1024 * 1024
# How often in a row a device may blame a fresh nonce before it is the password after all.
MAX_ROBBED = 2
STREAM_BUFFER_BYTES = 16 * 1024

DEVICE_INFO = "/ISAPI/System/deviceInfo"
TIME = "/ISAPI/System/time"
ALERT_STREAMS = ("/ISAPI/Event/notification/alertStream", "/Event/notification/alertStream")

_TARGET = re.compile(r"/[!-~]*")
# How sockets, TLS and HTTP fail.
_FAILURES = (aiohttp.ClientError, SSLError, OSError, UnicodeError, asyncio.TimeoutError)
_ANSWER_TIMEOUT = aiohttp.ClientTimeout(
	total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS
)


def new_session() -> aiohttp.ClientSession:
	"""A session fit for devices, to be shared by any number of clients of one event loop; close it yourself."""
	return aiohttp.ClientSession(
		connector=aiohttp.TCPConnector(force_close=True, limit=0),
		cookie_jar=aiohttp.DummyCookieJar(),
		timeout=_ANSWER_TIMEOUT,
		trust_env=False,
		auto_decompress=False,
		read_bufsize=STREAM_BUFFER_BYTES,
	)


@dataclass(frozen=True, slots=True)
class _Answer:
	status: int
	challenges: tuple[str, ...]
	body: bytes


class AlertStream:
	"""The bytes of an open alert stream, as they come.

	It ends when the connection does: devices give no length, so a broken connection looks like a closed one; only
	in a chunked stream ConnectionLost tells them apart. Raises TimedOut after the silence given to ``alert_stream``.
	"""

	__slots__ = ("_first", "_response")

	def __init__(self, response: aiohttp.ClientResponse, first: bytes = b"") -> None:
		self._response = response
		self._first = first

	def __aiter__(self) -> AsyncIterator[bytes]:
		return self

	async def __anext__(self) -> bytes:
		if self._first:
			first, self._first = self._first, b""
			return first
		try:  # as _our_errors() does, which would be four objects for each of a thousand waiting streams
			data = await self._response.content.readany()
		except _FAILURES as error:
			raise _translated(error) from error
		if not data:
			raise StopAsyncIteration
		return data

	def at_hand(self) -> bytes:
		"""What has come and was not read yet, for one who will not wait for more; nothing of a broken stream."""
		first, self._first = self._first, b""
		with suppress(Exception):  # whatever broke the stream
			return first + self._response.content.read_nowait()
		return first


class DeviceClient:
	"""A logged-in user of one device. Requests are made one at a time; the stream runs beside them.

	session: from ``new_session``, shared; without one the client makes its own and ``close`` closes it. All methods
	raise IsapiError families as ``errors`` tells. After LoginRefused, and during a lock, every method raises it
	again without contacting the device: make a new client when the configuration has changed.
	"""

	def __init__(self, address: DeviceAddress, session: aiohttp.ClientSession | None = None) -> None:
		self._address = address
		self._session = session
		self._owns_session = session is None
		self._login = DigestLogin(address.user, address.password)
		self._lock = asyncio.Lock()
		self._proven = False  # the device has accepted this login
		self._robbed = 0  # handshakes in a row that another client's spoilt
		self._refused: LoginRefused | None = None
		self._locked_until = 0.0  # by time.monotonic()

	def __repr__(self) -> str:
		return f"<DeviceClient {self._address.base_url}>"

	async def close(self) -> None:
		"""Release the connections that belong to this client."""
		if self._owns_session and self._session is not None:
			session, self._session = self._session, None
			await session.close()

	async def knock(self) -> None:
		"""Ask for the device's identity without logging in, to see what answers; no login can fail here."""
		async with self._lock:
			answer = await self._send("GET", DEVICE_INFO)
			if answer.status == 401:
				self._take_challenge(answer)
			elif answer.status == 404:
				raise _not_hikvision()
			else:
				answers.ensure_success(answer.status, answer.body)
				answers.read_device_info(answer.body)

	async def device_info(self) -> DeviceInfo:
		"""Who the device is; raises NotHikvision when it is none."""
		try:
			return answers.read_device_info(await self.request("GET", DEVICE_INFO))
		except (NotSupported, Rejected):
			raise _not_hikvision() from None

	async def clock(self) -> DeviceClock:
		"""The device's clock against ours, accurate to half the time of the answer."""
		began = _now()
		body = await self.request("GET", TIME)
		middle = began + (_now() - began) / 2
		return answers.read_clock(body, self._address.zone, self._address.trust_offset, middle)

	async def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
		"""Make one request and return the body of a successful answer, at most 1 MiB.

		path: with its query, percent-encoded, beginning with a slash. body: JSON or XML.
		"""
		async with self._lock:
			answer = await self._send_logged_in(method, path, body or b"")
		answers.ensure_success(answer.status, answer.body)
		return answer.body

	@asynccontextmanager
	async def alert_stream(self, read_timeout: float = STREAM_SILENCE_SECONDS) -> AsyncGenerator[AlertStream]:
		"""Hold the device's alert stream; its socket is closed on every way out.

		read_timeout: seconds of silence after which reading raises TimedOut.
		"""
		async with self._lock:
			stream, response = await self._open_stream(read_timeout)
		try:
			yield stream
		finally:
			response.close()
			self._login.forget()  # on some devices the nonce dies with the stream

	# Login

	async def _send_logged_in(self, method: str, path: str, body: bytes) -> _Answer:
		self._ensure_may_log_in()
		if self._login.accepted:
			answer = await self._send(method, path, body, with_login=True)
			if answer.status != 401:
				return answer
			self._drop_nonce(answer)
		if not self._login.ready:
			answer = await self._send(method, path, body)
			if answer.status != 401:
				return answer
			self._take_challenge(answer)
		return await self._send_first_login(method, path, body)

	async def _send_first_login(self, method: str, path: str, body: bytes) -> _Answer:
		"""Use a fresh nonce; a refusal means the password, and ends all trying."""
		answer = await self._send(method, path, body, with_login=True)
		if answer.status == 401:
			self._raise_if_robbed(answer)
			raise self._remember(answers.login_failure(answer.body))
		self._proven = True
		self._robbed = 0
		self._login.accepted = self._login.ready  # a stream closed meanwhile may have dropped the nonce
		return answer

	def _raise_if_robbed(self, answer: _Answer) -> None:
		"""Devices with one nonce for all clients take ours back, saying so, when another client logs in at once."""
		try:
			stale = read_challenge(answer.challenges).stale
		except NoUsableChallenge:
			return
		if not stale or self._robbed >= MAX_ROBBED:
			return
		self._robbed += 1
		self._login.forget()
		raise DeviceBusy("The device gave its login to another client at the same moment.")

	def _ensure_may_log_in(self) -> None:
		if self._refused is not None:
			refused = self._refused
			raise LoginRefused(refused.what, refused.advice, refused.tries_left)
		seconds = self._locked_until - time.monotonic()
		if seconds > 0:
			raise answers.lock_of(round(seconds))

	def _drop_nonce(self, answer: _Answer) -> None:
		self._login.forget()
		self._raise_if_locked(answer)

	def _take_challenge(self, answer: _Answer) -> None:
		self._raise_if_locked(answer)
		try:
			self._login.take(answer.challenges)
		except NoUsableChallenge as error:
			raise _no_digest(error.schemes) from None

	def _raise_if_locked(self, answer: _Answer) -> None:
		lock = answers.locked(answer.body)
		if lock is not None:
			raise self._remember(lock)

	def _remember(self, failure: LoginFailed) -> LoginFailed:
		self._login.forget()
		if isinstance(failure, LoginRefused):
			self._refused = failure
		elif isinstance(failure, AccountLocked):
			self._locked_until = time.monotonic() + failure.seconds
		return failure

	# Stream

	async def _open_stream(self, read_timeout: float) -> tuple[AlertStream, aiohttp.ClientResponse]:
		self._ensure_may_log_in()
		for path in ALERT_STREAMS:
			response = await self._begin_stream(path, read_timeout)
			try:
				if response.status != 404:
					return await self._accept_stream(response), response
			except BaseException:
				response.close()
				raise
			response.close()
		raise NotSupported(
			"The device has no alert stream.", "Use push for it, if it can post notifications."
		)

	async def _begin_stream(self, path: str, read_timeout: float) -> aiohttp.ClientResponse:
		"""Send the request for the stream with a header made beforehand, twice at most."""
		await self._warm_up()
		response = await self._begin_stream_once(path, read_timeout)
		if response.status != 401:
			return response
		answer = await self._finish(response)
		if self._login.ready:
			self._drop_nonce(answer)
			answer = await self._send("GET", DEVICE_INFO)
		if answer.status == 401:
			self._take_challenge(answer)
		response = await self._begin_stream_once(path, read_timeout)
		if response.status == 401:
			raise self._stream_login_failure(await self._finish(response))
		self._login.accepted = self._login.ready
		return response

	async def _warm_up(self) -> None:
		"""Have a login that is proven and a nonce that is alive."""
		if not self._login.accepted:
			await self._send_logged_in("GET", DEVICE_INFO, b"")

	def _stream_login_failure(self, answer: _Answer) -> LoginFailed:
		self._raise_if_locked(answer)
		if not self._proven:
			return self._remember(answers.login_failure(answer.body))
		self._login.forget()
		return NotPermitted(
			"The device accepts the login, but not for its event stream.",
			"Give the user the right to be notified remotely, or use an administrator.",
		)

	async def _begin_stream_once(self, path: str, read_timeout: float) -> aiohttp.ClientResponse:
		timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_timeout)
		with _our_errors():
			async with time_limit(ANSWER_SECONDS):
				return await self._begin("GET", path, b"", self._login.ready, timeout)

	async def _accept_stream(self, response: aiohttp.ClientResponse) -> AlertStream:
		if response.status != 200:
			answer = await self._finish(response)
			raise answers.stream_refusal(answer.status, answer.body)
		if response.content_type.startswith("multipart/"):
			return AlertStream(response)
		first = await self._first_bytes(response)
		if first.lstrip()[:1] not in (b"{", b"<"):
			return AlertStream(response, first)
		body = first + (await self._finish(response)).body
		status = answers.read_status(body)
		if status is None:
			raise _not_hikvision()
		raise answers.refusal(response.status, status)

	async def _first_bytes(self, response: aiohttp.ClientResponse) -> bytes:
		with _our_errors(), suppress(asyncio.TimeoutError):
			async with time_limit(FIRST_BYTES_SECONDS):
				return await response.content.readany()
		return b""

	# HTTP

	async def _send(self, method: str, path: str, body: bytes = b"", with_login: bool = False) -> _Answer:
		try:
			with _our_errors():
				response = await self._begin(method, path, body, with_login, _ANSWER_TIMEOUT)
		except TlsMismatch as error:
			error.fingerprint = error.fingerprint or await self._seen_fingerprint()
			raise
		return await self._finish(response)

	async def _begin(
		self, method: str, path: str, body: bytes, with_login: bool, timeout: aiohttp.ClientTimeout
	) -> aiohttp.ClientResponse:
		headers = {"Accept-Encoding": "identity", "Connection": "close"}
		if body:
			headers["Content-Type"] = "application/json" if body[:1] in (b"{", b"[") else "application/xml"
		if with_login:
			headers["Authorization"] = self._login.header(method, path, body)
		return await self._ensure_session().request(
			method,
			self._url(path),
			data=body or None,
			headers=headers,
			timeout=timeout,
			ssl=_tls_option(self._address),
			allow_redirects=False,
		)

	async def _finish(self, response: aiohttp.ClientResponse) -> _Answer:
		"""Read the rest of an answer and close its connection."""
		try:
			with _our_errors():
				async with time_limit(ANSWER_SECONDS):
					body = await _bounded_body(response)
		finally:
			response.close()
		return _Answer(response.status, tuple(response.headers.getall("WWW-Authenticate", ())), body)

	def _url(self, path: str) -> URL:
		if not _TARGET.fullmatch(path):
			raise ValueError(f"not a request target: {path!r}")
		try:
			return URL(self._address.base_url + path, encoded=True)
		except ValueError:
			raise SetupWrong(
				"The device's address is not valid.", "Enter a host name or an IP address."
			) from None

	def _ensure_session(self) -> aiohttp.ClientSession:
		if self._session is None:
			self._session = new_session()
		return self._session

	async def _seen_fingerprint(self) -> str:
		with suppress(IsapiError):
			return await certificate_fingerprint(self._address.host, self._address.port)
		return ""


async def certificate_fingerprint(host: str, port: int) -> str:
	"""Hex sha256 of the certificate that a server shows, trusted or not; nothing is sent to it.

	Raises Unreachable, TimedOut, TlsUnusable.
	"""
	context = SSLContext(PROTOCOL_TLS_CLIENT)
	context.check_hostname = False
	context.verify_mode = CERT_NONE
	with _our_errors():
		async with time_limit(CONNECT_SECONDS):
			_, writer = await asyncio.open_connection(host, port, ssl=context)
		certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
		writer.transport.abort()
	return sha256(certificate).hexdigest()


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
	body = bytearray()
	async for chunk in response.content.iter_any():
		body += chunk
		if len(body) > MAX_BODY_BYTES:
			raise BadAnswer("The device's answer is longer than 1 MiB.")
	return bytes(body)


def _tls_option(address: DeviceAddress) -> bool | aiohttp.Fingerprint:
	if address.tls is TlsMode.UNVERIFIED:
		return False
	if address.tls is not TlsMode.PINNED:
		return True
	try:
		return aiohttp.Fingerprint(bytes.fromhex(address.fingerprint.replace(":", "")))
	except ValueError:
		raise TlsMismatch(
			"The certificate's fingerprint is missing or no sha256.",
			"Test the connection, and store the fingerprint that it shows.",
		) from None


@contextmanager
def _our_errors() -> Iterator[None]:
	"""Say failures of sockets, TLS and HTTP in our words."""
	try:
		yield
	except _FAILURES as error:
		raise _translated(error) from error


def _translated(error: Exception) -> IsapiError:
	if isinstance(error, aiohttp.ServerFingerprintMismatch):
		return _other_certificate(error.got.hex())
	for kinds, make in _TRANSLATIONS:
		if isinstance(error, kinds):
			return make(error)
	return ConnectionLost("The connection to the device broke off.")


def _unreachable(error: Exception) -> Unreachable:
	reason = getattr(error, "strerror", None) or getattr(getattr(error, "os_error", None), "strerror", None)
	detail = f" ({reason})" if reason else ""
	return Unreachable(
		f"The device cannot be reached{detail}.",
		"Check address, port, power and network; the port is 80 for HTTP or 443 for HTTPS, and not 8000.",
	)


def _other_certificate(fingerprint: str) -> TlsMismatch:
	return TlsMismatch(
		"The device shows another certificate than the stored one.",
		"If it was reset or renewed, test the connection and store its new fingerprint; otherwise somebody may be "
		"between you and the device.",
		fingerprint,
	)


def _untrusted_certificate(_: Exception) -> TlsMismatch:
	return TlsMismatch(
		"The device's certificate is not trusted by this server, as with every self-signed one.",
		"Pin its fingerprint, after comparing it with the one on the device's own page.",
	)


def tls_unusable(_: Exception | None = None) -> TlsUnusable:
	"""The error for a port with which no TLS connection comes about."""
	return TlsUnusable(
		"No encrypted connection with the device can be made on this port.",
		"Check that it is the HTTPS port. Old firmwares offer only ciphers that are switched off today: update the "
		"firmware, or use plain HTTP in a network that you trust.",
	)


def _timed_out(_: Exception) -> TimedOut:
	return TimedOut("The device did not answer in time.")


def _no_http(_: Exception) -> NotHikvision:
	return NotHikvision("What answers on this port does not speak HTTP.", "Check the port: 80 or 443.")


def _bad_address(_: Exception) -> SetupWrong:
	return SetupWrong("The device's address is not valid.", "Enter a host name or an IP address.")


def _not_hikvision() -> NotHikvision:
	return NotHikvision(
		"Something answers at this address, but it is not a Hikvision device with ISAPI.",
		"Check address and port; on some devices ISAPI must be switched on in the network settings.",
	)


def _no_digest(schemes: tuple[str, ...]) -> IsapiError:
	if not schemes:
		return NotHikvision(
			"Something asks for a login in a way that Hikvision devices do not use.",
			"Check address and port.",
		)
	return SetupWrong(
		f"The device offers only logins that are not used here ({', '.join(schemes)[:80]}).",
		"Switch its web authentication to digest, in its security settings.",
	)


def _now() -> datetime:
	return datetime.now(timezone.utc)


# The first fitting line counts: aiohttp's certificate and TLS errors are connector errors too.
_TRANSLATIONS: tuple[tuple[tuple[type[Exception], ...], Callable[[Exception], IsapiError]], ...] = (
	((aiohttp.ClientConnectorCertificateError,), _untrusted_certificate),
	((aiohttp.ClientSSLError, SSLError), tls_unusable),
	((aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError), _unreachable),
	((ConnectionRefusedError, gaierror), _unreachable),
	((asyncio.TimeoutError, TimeoutError), _timed_out),
	((aiohttp.InvalidURL, UnicodeError), _bad_address),
	((aiohttp.ClientResponseError,), _no_http),
)
