"""The chromium of the machine, for tests of the desk's screens. Standard library only."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
	"""The program named by HIKVISION_CHROMIUM, else the machine's own; None when there is none."""
	wanted = os.environ.get("HIKVISION_CHROMIUM")
	candidates = (wanted,) if wanted else NAMES
	return next((found for name in candidates if (found := shutil.which(name))), None)
