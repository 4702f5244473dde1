"""Which devices refused our login, kept beside the spool: a listener that is restarted again and again must not lock
a terminal by trying a wrong password once per start."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger("hikvision.stream")


class RefusedLogins:
	"""By device: the revision of the configuration that was refused, and why in words. Holds no secret.

	A file that cannot be read or written costs one more try after a restart, and nothing else. path: None keeps them
	in memory.
	"""

	def __init__(self, path: Path | None) -> None:
		self._path = path
		self._refused = _read(path) if path else {}

	def why(self, device: str, revision: str) -> str:
		"""Why this configuration of the device need not be tried; "" when it may be."""
		refused, reason = self._refused.get(device, ("", ""))
		return reason if refused == revision else ""

	def remember(self, device: str, revision: str, reason: str) -> None:
		self._refused[device] = (revision, reason)
		self._write()

	def forget_others(self, revisions: Mapping[str, str]) -> None:
		"""Keep only what holds for these devices in these revisions."""
		kept = {
			device: (revision, reason)
			for device, (revision, reason) in self._refused.items()
			if revisions.get(device) == revision
		}
		if kept != self._refused:
			self._refused = kept
			self._write()

	def _write(self) -> None:
		if self._path is None:
			return
		beside = self._path.with_name(self._path.name + ".new")
		try:
			with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
				json.dump(self._refused, file)
			beside.replace(self._path)
		except OSError as error:
			logger.error("refused logins are not kept for a restart: %s", error.strerror)


def _read(path: Path) -> dict[str, tuple[str, str]]:
	try:
		kept = json.loads(path.read_bytes())
		return {str(device): (str(revision), str(reason)) for device, (revision, reason) in kept.items()}
	except FileNotFoundError:
		return {}
	except (OSError, ValueError, TypeError, AttributeError):
		logger.error("what %s says of refused logins cannot be read", path)
		return {}
