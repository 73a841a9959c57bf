"""A real browser before the real pages. Whatever it complains of is a failure: scripts, policies, missing files."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT as AXE
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.serving import make_server

from tests.support.chromium import chromium
from tests.support.house import PASSWORD, Database, House, settings_for

SHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"
SECONDS = 20_000
WIDE, PHONE = {"width": 1100, "height": 800}, {"width": 360, "height": 740}
EXPECTED = re.compile(r"status of (401|403|404|422|429) |Autofocus processing was blocked")
"""What Chromium notes of every page with such a status; and of our moving the focus to what has to be corrected."""


@dataclass
class Site:
    """A service with its pages, on a port of the loopback."""

    house: House
    base: str


@contextmanager
def serving(house: House) -> Iterator[Site]:
    """Serve a house, with the clock that the test turns."""
    server = make_server("127.0.0.1", 0, house.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Site(house, f"http://localhost:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module, and no longer: while it is there, this thread has a running event loop."""
    with chromium() as found:
        yield found


@pytest.fixture
def site(sqlite_house: House) -> Iterator[Site]:
    """The pages of a service of this test's own."""
    with serving(sqlite_house) as found:
        yield found


class Person:
    """Somebody with a browser window of their own."""

    def __init__(self, context: BrowserContext, base: str, complaints: list[str]) -> None:
        self.context = context
        self.base = base
        self.complaints = complaints
        self.page: Page = context.new_page()
        self.watch(self.page)

    def watch(self, page: Page) -> None:
        """Note what the browser complains of."""
        page.set_default_timeout(SECONDS)
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure))

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not EXPECTED.search(text):
            self.complaints.append(text)

    def _failed(self, url: str, why: str | None) -> None:
        if why != "net::ERR_ABORTED":  # a page that is left, a download
            self.complaints.append(f"{url}: {why}")

    def open(self, path: str) -> Page:
        """Go to a page."""
        self.page.goto(self.base + path)
        return self.page

    def sign_in(self, name: str = "alice", *, tenant: str = "") -> Page:
        """By the page, as people do."""
        self.open("/sign-in" + (f"?tenant={tenant}" if tenant else ""))
        self.page.get_by_label("E-mail address").fill(f"{name}@example.com")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Sign in")
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        return self.page

    def press(self, name: str) -> None:
        """Press a button of the page, by its name."""
        self.page.get_by_role("main").get_by_role("button", name=name, exact=True).click()

    def sees(self, text: str | re.Pattern[str]) -> None:
        """Some text is to be seen, now or in a moment."""
        expect(self.page.get_by_role("main")).to_contain_text(text)

    def require_accessible(self) -> None:
        """No violation of WCAG that a program can find (axe)."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']}).then(found => found.violations)")
        told = [f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}" for one in found]
        assert told == [], (self.page.url, told)

    def keep_picture(self, name: str) -> None:
        """For people to look at, among the artefacts of the run."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


Someone = Callable[..., Person]


@pytest.fixture
def someone(browser: Browser, site: Site) -> Iterator[Someone]:
    """Makes people. Options are those of Playwright's contexts, such as `color_scheme`, `java_script_enabled`."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Person:
        contexts.append(browser.new_context(**({"viewport": WIDE} | options)))
        return Person(contexts[-1], site.base, complaints)

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


__all__ = ["PHONE", "WIDE", "Database", "Person", "Site", "Someone", "serving", "settings_for"]
