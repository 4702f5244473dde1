"""The site with its assets, which nginx serves beside it in production; ours come from this checkout."""

from __future__ import annotations

from pathlib import Path

from frappe.app import application as site
from werkzeug.middleware.shared_data import SharedDataMiddleware

PUBLIC = Path(__file__).resolve().parents[2] / "hikvision_frappe" / "public"

application = SharedDataMiddleware(
	site, {"/assets/hikvision_frappe": str(PUBLIC), "/assets": str(Path("assets").resolve())}
)
