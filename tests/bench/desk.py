"""The desk in a real browser: log in, open a screen, look at it. Whatever goes wrong on the page is kept."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import frappe
from frappe.utils.password import update_password
from playwright.sync_api import (
	Browser,
	BrowserContext,
	ConsoleMessage,
	Locator,
	Page,
	Request,
	Response,
	Route,
	expect,
	sync_playwright,
)

from tests.bench.harness import find_chromium
from tests.bench.users import create_test_user
from tests.bench.web import WebServer

PATIENCE = 20  # seconds for anything on a busy machine
PASSWORD = "Screens-1-only-for-tests"
WINDOW = {"width": 1440, "height": 900}
FLAGS = (
	"--no-sandbox",
	"--disable-gpu",
	"--disable-quic",
	"--no-first-run",
	"--disable-background-networking",
	"--disable-component-update",
	"--disable-sync",
	"--disable-dev-shm-usage",
	"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost , EXCLUDE *.localhost",
)
# Nobody answers there in these tests: the process of Frappe that pushes news to open pages.
REALTIME = "/socket.io/"


class Desk:
	"""One user's browser session with a site."""

	def __init__(self, context: BrowserContext, base: str, screenshots: Path) -> None:
		self._context = context
		self.base = base
		self._screenshots = screenshots

	def log_in(self, user: str) -> None:
		"""By the login page, as people do."""
		page = self._context.new_page()
		page.goto(f"{self.base}/login", wait_until="domcontentloaded")
		page.fill("#login_email", user)
		page.fill("#login_password", PASSWORD)
		page.click(".form-login .btn-login")
		page.wait_for_url(re.compile(r"/(app|desk)"), wait_until="commit")
		page.close()

	@contextmanager
	def screen(self) -> Iterator[Screen]:
		"""A new tab; at its end, whatever went wrong in it fails the test."""
		page = self._context.new_page()
		screen = Screen(page, self.base, self._screenshots)
		try:
			yield screen
			screen.wait_until_quiet()
			problems = list(screen.problems)
		finally:
			page.close()
		assert not problems, "\n".join(problems)


class Screen:
	"""A tab of the desk. ``problems``: exceptions, console errors, failed or forbidden requests, in words."""

	def __init__(self, page: Page, base: str, screenshots: Path) -> None:
		self.page = page
		self.problems: list[str] = []
		self._base = base
		self._screenshots = screenshots
		self._under_way: set[Request] = set()
		page.on("request", self._on_request)
		page.on("requestfinished", lambda request: self._under_way.discard(request))
		page.on("pageerror", lambda error: self.problems.append(f"exception: {error.stack or error}"))
		page.on("console", self._on_console)
		page.on("response", self._on_response)
		page.on("requestfailed", self._on_failed)
		page.route("**/*", self._only_loopback)

	def open(self, path: str) -> None:
		"""Load a page of the desk, for example ``hikvision-device/view/list``."""
		self.wait_until_quiet()
		self.page.goto(f"{self._base}/app/{path}", wait_until="domcontentloaded")

	def go(self, path: str) -> None:
		"""To another page of the loaded desk, as a link on it would lead there."""
		self.wait_until_quiet()
		self.page.evaluate("path => frappe.set_route(path)", path)

	def see(self, *words: str) -> None:
		"""Wait until each text is visible."""
		for text in words:
			expect(self.page.get_by_text(text).locator("visible=true").first).to_be_visible()

	def do_not_see(self, *words: str) -> None:
		"""The page is there already; these texts are not on it."""
		for text in words:
			expect(self.page.get_by_text(text).locator("visible=true")).to_have_count(0)

	def press(self, label: str) -> None:
		"""Click a button of the page, or of the open dialog."""
		self.page.get_by_role("button", name=label, exact=True).locator("visible=true").last.click()

	def buttons(self) -> set[str]:
		"""The labels of all buttons on the page in front, also those in menus that are closed."""
		page = self.page.locator(".page-container:visible")
		labels = page.locator("button, .dropdown-menu .dropdown-item").all_text_contents()
		return {" ".join(label.split()) for label in labels} - {""}

	def dialog(self) -> Locator:
		"""The open dialog, once it stands still."""
		dialog = self.page.locator(".modal.show")
		expect(dialog).to_have_count(1)
		expect(dialog).to_have_css("opacity", "1")
		return dialog

	def choose(self, fieldname: str, value: str) -> None:
		"""Type into a link field of the open dialog, and take what it offers."""
		field = self.dialog().locator(f"[data-fieldname={fieldname}]").first
		field.locator("input").fill(value)
		field.locator("[role=option]", has_text=value).first.click()

	def darken(self) -> None:
		"""The dark theme, as the user menu sets it."""
		self.page.evaluate("frappe.ui.set_theme('dark')")

	def wait_until_quiet(self) -> None:
		"""Until no request was under way for a moment, so that none is cut off and looks like a failed one."""
		deadline = time.monotonic() + PATIENCE
		quiet = 0
		while quiet < 3:
			assert time.monotonic() < deadline, f"still under way: {[each.url for each in self._under_way]}"
			self.page.wait_for_timeout(40)
			quiet = 0 if self._under_way else quiet + 1

	def keep(self, name: str) -> None:
		"""Save what a person would see now."""
		self.wait_until_quiet()
		self.page.screenshot(path=self._screenshots / f"{name}.png", animations="disabled")

	def _only_loopback(self, route: Route) -> None:
		url = urlsplit(route.request.url)
		host = url.hostname or ""
		if url.scheme in ("data", "blob") or host == "127.0.0.1" or host.endswith("localhost"):
			route.continue_()
			return
		self.problems.append(f"request to another host: {route.request.url}")
		route.abort()

	def _on_console(self, message: ConsoleMessage) -> None:
		text = f"{message.text} ({message.location.get('url', '')})"
		if message.type == "error" and "socket.io" not in text:
			self.problems.append(f"console: {text}")

	def _on_response(self, response: Response) -> None:
		if response.status >= 400 and REALTIME not in response.url:
			self.problems.append(f"{response.status}: {response.request.method} {response.url}")

	def _on_request(self, request: Request) -> None:
		if REALTIME not in request.url:
			self._under_way.add(request)

	def _on_failed(self, request: Request) -> None:
		self._under_way.discard(request)
		if REALTIME not in request.url:
			self.problems.append(f"failed: {request.method} {request.url} ({request.failure})")


@contextmanager
def desks(screenshots: Path) -> Iterator[Callable[..., Desk]]:
	"""A function that opens the desk of a user with exactly these roles, all in one browser with one web server.

	screenshots: where they go unless HIKVISION_SCREENSHOTS says another folder.
	"""
	folder = Path(os.environ.get("HIKVISION_SCREENSHOTS") or screenshots)
	folder.mkdir(parents=True, exist_ok=True)
	frappe.clear_cache()  # scripts of forms and lists are cached with their DocTypes
	with ExitStack() as opened:
		server = opened.enter_context(WebServer(application="tests.bench.desk_wsgi:application"))
		chromium = opened.enter_context(browser())

		def desk_of(*roles: str) -> Desk:
			user = create_test_user(*roles)
			update_password(user, PASSWORD)
			frappe.db.commit()
			return opened.enter_context(desk(chromium, f"http://{server.site}:{server.port}", user, folder))

		yield desk_of


@contextmanager
def browser() -> Iterator[Browser]:
	"""The machine's chromium with an empty profile, which can reach this machine alone."""
	expect.set_options(timeout=PATIENCE * 1000)
	with sync_playwright() as playwright:
		chromium = playwright.chromium.launch(
			executable_path=find_chromium(), headless=True, args=list(FLAGS), timeout=60_000
		)
		yield chromium
		chromium.close()


@contextmanager
def desk(chromium: Browser, base: str, user: str, screenshots: Path) -> Iterator[Desk]:
	"""The desk as this user sees it, logged in."""
	context = chromium.new_context(viewport=WINDOW, service_workers="block", timezone_id="Europe/Stockholm")
	context.set_default_timeout(PATIENCE * 1000)
	opened = Desk(context, base, screenshots)
	opened.log_in(user)
	yield opened
	context.close()
