"""The site's two doors for notifications: POST /hikvision/event/<token>, and a whitelisted method behind it."""

from __future__ import annotations

import frappe
from werkzeug.wrappers import Response

from hikvision_frappe.ledger.devices import PUSH_PATH
from hikvision_frappe.ledger.push import Notification, receive


class PushRoute:
	"""Page renderer for everything under /hikvision/event.

	It answers every such path itself: Frappe's page for what is not found would keep the URL, and with it the
	token, in Redis.
	"""

	def __init__(self, path: str | None = None, http_status_code: int | None = None) -> None:
		self.path = (path or "").strip("/ ")

	def can_render(self) -> bool:
		return self.path == PUSH_PATH or self.path.startswith(f"{PUSH_PATH}/")

	def render(self) -> Response:
		return respond(self.path[len(PUSH_PATH) :].strip("/"))


@frappe.whitelist(allow_guest=True, methods=["POST"])
def event() -> Response:
	"""Take a notification whose token is in the query: ?token=<push key>.<secret>."""
	return respond(frappe.request.args.get("token") or "")


def respond(token: str) -> Response:
	"""The answer to the current request."""
	request = frappe.request
	answer = receive(
		Notification(
			token=token,
			method=request.method,
			peer=peer_address(),
			body=request.get_data(),
			content_type=request.headers.get("Content-Type", ""),
			length=request.content_length,
		)
	)
	response = Response(answer.body, status=answer.status, content_type=answer.content_type)
	if answer.retry_after is not None:
		response.headers["Retry-After"] = str(answer.retry_after)
	return response


def peer_address() -> str:
	"""The sender's address: from the proxy where there is one (as Frappe reads it), else the connection's own."""
	if frappe.get_request_header("X-Forwarded-For"):
		return str(frappe.local.request_ip)
	return frappe.request.remote_addr or ""
