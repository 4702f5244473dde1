"""Who may ask a device: its 401 answers, and the failures it counts."""

from __future__ import annotations

from datetime import datetime, timezone

from hikvision_frappe.simulator.answers import html_401, user_check
from hikvision_frappe.simulator.digest import DeadNonce, Verdict
from hikvision_frappe.simulator.http import Request, Response
from hikvision_frappe.simulator.state import DeviceState, LoginFailure


def refuse_login(state: DeviceState, request: Request) -> Response | None:
	"""The 401 a request deserves, None when its login is right."""
	authorization = request.headers.get("authorization")
	if state.lock_out.locked_seconds(request.client):
		if authorization is not None:
			_count_failure(state, request)
		return _unauthorized(state, request)
	verdict = state.gate.judge(request.method, request.target, authorization)
	if verdict is Verdict.GRANTED and not state.faults.takes_login():
		verdict = Verdict.WRONG
	if verdict is Verdict.WRONG:
		_count_failure(state, request)
	if verdict in (Verdict.STALE, Verdict.REPLAYED):
		how = state.profile.digest.dead_nonce
		return _unauthorized(state, request, how is not DeadNonce.SILENT, how is DeadNonce.STALE)
	if verdict is not Verdict.GRANTED or state.faults.storms():
		return _unauthorized(state, request)
	state.lock_out.succeeded(request.client)
	return None


def _count_failure(state: DeviceState, request: Request) -> None:
	state.lock_out.failed(request.client)
	locked = state.lock_out.locked_seconds(request.client) > 0
	now = datetime.now(timezone.utc)
	state.login_failures.append(LoginFailure(now, request.client, request.path, locked))


def _unauthorized(
	state: DeviceState, request: Request, challenged: bool = True, stale: bool = False
) -> Response:
	challenges = state.gate.challenges(stale) if challenged else []
	headers = [("WWW-Authenticate", challenge) for challenge in challenges]
	if state.profile.html_401:
		return Response(401, html_401(), "text/html", headers)
	lock = state.lock_out
	body = user_check(401, lock.tries_left(request.client), lock.locked_seconds(request.client))
	return Response(401, body, headers=headers)
