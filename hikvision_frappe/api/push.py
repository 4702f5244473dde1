"""The site's two doors for notifications: POST /hikvision/event/<token>, and a whitelisted method behind it."""

from __future__ import annotations

import frappe
from werkzeug.exceptions import abort
from werkzeug.wrappers import Response

from hikvision_frappe.ledger import kept_connection
from hikvision_frappe.ledger.devices import PUSH_PATH
from hikvision_frappe.ledger.push import Notification, receive

ROUTE = f"/{PUSH_PATH}"


def answer_notification() -> None:
	"""Hook before each request: answer those under /hikvision/event here, and leave the others alone.

	A page renderer could do it too, after the rules of all pages have been compiled: five times the work of storing
	the event. And the page for what is not found would keep the URL, with the token in it, in Redis.
	"""
	path = frappe.request.path
	if path == ROUTE or path.startswith(f"{ROUTE}/"):
		abort(_respond_on_kept_connection(path[len(ROUTE) + 1 :]))


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


def _respond_on_kept_connection(token: str) -> Response:
	"""The answer, from a connection kept since an earlier push where there is one; once more if that was lost.

	Frappe gets no connection back: it would roll back what is committed, and answer with an error page of its own in
	place of ours when the database is gone.
	"""
	kept = kept_connection.take()
	response = respond(token)
	if kept and response.status_code == 503:
		kept_connection.drop()
		response = respond(token)
	if response.status_code == 200:
		kept_connection.keep()
	else:
		kept_connection.drop()
	frappe.local.db = None
	return response


def peer_address() -> str:
	"""The sender's address: what the proxy says where there is one, as Frappe reads it, else the connection's own."""
	forwarded = frappe.request.headers.get("X-Forwarded-For", "")
	return forwarded.split(",", 1)[0].strip() or frappe.request.remote_addr or ""
