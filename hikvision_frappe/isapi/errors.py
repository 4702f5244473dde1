"""What can go wrong between us and a device, sorted by what the caller should do.

::

	IsapiError                  what happened, and advice
	├── TryAgain                passes by itself: wait with jitter, then try again
	│   ├── Unreachable         no connection
	│   ├── TimedOut            connected, but no answer in time
	│   ├── ConnectionLost      broken off in the middle
	│   ├── DeviceBusy          the device asks for patience
	│   │   └── SearchTooWide   a search took it too long
	│   ├── StreamSlotTaken     somebody else holds the only alert stream
	│   └── BadAnswer           not understood, or too long
	├── LoginFailed             stop: every further try brings the device's lock nearer
	│   ├── LoginRefused        wrong user or password
	│   ├── AccountLocked       too many wrong tries; ends after ``seconds``
	│   └── NotPermitted        the user lacks the right
	├── SetupWrong              a person must change the configuration
	│   ├── NotHikvision        something else answers there
	│   ├── TlsMismatch         the certificate is not the expected one
	│   ├── TlsUnusable         no common TLS version or cipher, or no TLS at all
	│   └── WrongDevice         a Hikvision device, but another one
	├── NotSupported            this device cannot do it
	└── Rejected                the device understood the request and refuses its content

Texts are English sentences for a person; they never contain a password, a nonce or a response body.
"""

from __future__ import annotations


class IsapiError(Exception):
	"""A failure in words: ``what`` happened and ``advice`` on what to do; ``str()`` is both."""

	def __init__(self, what: str, advice: str = "") -> None:
		super().__init__(what, advice)
		self.what = what
		self.advice = advice

	def __str__(self) -> str:
		return f"{self.what} {self.advice}".strip()


class TryAgain(IsapiError):
	"""Passes by itself: wait with jitter, then try again."""


class Unreachable(TryAgain):
	"""No TCP connection, or the name is unknown."""


class TimedOut(TryAgain):
	"""Connected, but nothing came within the time-out."""


class ConnectionLost(TryAgain):
	"""The device closed or reset the connection in the middle of an exchange."""


class DeviceBusy(TryAgain):
	"""The device says that it is busy, upgrading, or short of memory or connections."""


class SearchTooWide(DeviceBusy):
	"""A search took the device too long: ask for less at once."""


class StreamSlotTaken(TryAgain):
	"""The device gives its alert stream to a limited number of clients, usually one, and it is given."""


class BadAnswer(TryAgain):
	"""An answer that is too long or cannot be read."""


class LoginFailed(IsapiError):
	"""Stop: a person must act before anything is sent with these credentials again."""


class LoginRefused(LoginFailed):
	"""User or password are wrong. tries_left: before the device locks, None when it does not say."""

	def __init__(self, what: str, advice: str = "", tries_left: int | None = None) -> None:
		super().__init__(what, advice)
		self.tries_left = tries_left


class AccountLocked(LoginFailed):
	"""The device has locked this address of ours after too many wrong tries, for ``seconds`` more."""

	def __init__(self, what: str, advice: str = "", seconds: int = 0) -> None:
		super().__init__(what, advice)
		self.seconds = seconds


class NotPermitted(LoginFailed):
	"""The login is right, but the user may not do this."""


class SetupWrong(IsapiError):
	"""A person must change the configuration."""


class NotHikvision(SetupWrong):
	"""Something answers there, but it does not speak ISAPI."""


class TlsMismatch(SetupWrong):
	"""The certificate is not the expected one. fingerprint: hex sha256 of the one seen, "" if unknown."""

	def __init__(self, what: str, advice: str = "", fingerprint: str = "") -> None:
		super().__init__(what, advice)
		self.fingerprint = fingerprint


class TlsUnusable(SetupWrong):
	"""No common TLS version or cipher, or no TLS on that port."""


class WrongDevice(SetupWrong):
	"""A Hikvision device with another serial number than the expected one."""


class NotSupported(IsapiError):
	"""This device or firmware cannot do what was asked."""


class Rejected(IsapiError):
	"""The device understood the request and refuses its content; ``reason`` is its sub-status code."""

	def __init__(self, what: str, advice: str = "", reason: str = "") -> None:
		super().__init__(what, advice)
		self.reason = reason
