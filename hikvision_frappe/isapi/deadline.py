"""Time limits that never swallow a cancellation.

``asyncio.wait_for`` before Python 3.12 returns the result, and forgets the cancellation, when both arrive in the same
turn of the loop. A stream that is being stopped at that moment would go on for ever.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
	from asyncio import timeout as time_limit
else:  # aiohttp brings the package along for this Python
	from async_timeout import timeout as time_limit  # type: ignore[import-not-found,unused-ignore]

__all__ = ["time_limit"]
