"""A certificate made on the spot, as the terminals come with one nobody has signed."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Certificate:
	"""A certificate for a simulated device; many devices may share one. fingerprint: hex sha256 of its DER form."""

	fingerprint: str
	_leaf: Any = field(repr=False)

	@classmethod
	def make(cls, *names: str) -> Certificate:
		"""A fresh certificate for host names or addresses, 127.0.0.1 by default.

		Needs the package trustme, which only development installs; raises RuntimeError without it.
		"""
		try:
			import trustme
		except ImportError as error:
			raise RuntimeError("HTTPS needs trustme: pip install trustme") from error
		leaf = trustme.CA().issue_cert(*(names or ("127.0.0.1", "localhost")))
		der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
		return cls(hashlib.sha256(der).hexdigest(), leaf)

	def server_context(self) -> ssl.SSLContext:
		"""A context for a listening socket."""
		context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
		self._leaf.configure_cert(context)
		return context
