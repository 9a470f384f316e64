"""A browser that reaches this machine alone, and pages whose console stays empty."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster

from . import driver
from .servers import Server

# What the browser says by itself of an answer with an error's status; the tests that want one name it.
_STATUS = re.compile(r"Failed to load resource: .* status of (\d+)|net::ERR_")


class Tab:
    """A page of the dashboard.

    Attributes:
        page: Playwright's page.
        said: What the console said, and errors that nobody caught.
        expected: Statuses of answers that the test brings about.
    """

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.said: list[str] = []
        self.expected: set[str] = set(os.environ.get("UI_LENIENT", "").split())
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))

    def _console(self, kind: str, text: str) -> None:
        status = _STATUS.search(text)
        if status and (status[1] or "away") in self.expected:
            return
        # So Chromium says that it went to what a link names, where a page would have had the cursor elsewhere.
        if text.startswith("Autofocus processing was blocked because a document's URL has a fragment"):
            return
        self.said.append(f"{kind}: {text}")

    def go(self, path: str = "") -> None:
        self.page.goto(f"{self.base}/ui/{path}")

    def heading(self, text: str) -> None:
        """The page with this heading is there."""
        driver.expect(self.page.locator("h1")).to_have_text(text, timeout=30_000)

    def row(self, text: str) -> Any:
        return self.page.locator("main tbody tr", has_text=text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's chromium. Its driver has a loop in this thread, so it ends before async tests of other modules."""
    if why := driver.missing():
        pytest.fail(f"tests of the dashboard need a browser: {why}", pytrace=False)
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=driver.chromium(),
            # As root it needs the first; in a container the second.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_tab(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Tab]]:
    """Opens tabs. Each in a browser of its own, without a network but this machine's, whose console stays empty."""
    tabs: list[Tab] = []
    abroad: list[str] = []

    def opened(server: Server | str, **context: Any) -> Tab:
        made = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        made.set_default_timeout(30_000)
        made.tracing.start(snapshots=True)

        def abort(route: Any) -> None:
            abroad.append(route.request.url)
            route.abort()

        made.route(lambda url: not url.startswith(("http://127.0.0.1", "data:")), abort)
        tab = Tab(made.new_page(), server if isinstance(server, str) else server.url)
        tabs.append(tab)
        return tab

    yield opened
    failed = request.session.testsfailed > getattr(request.session, "ui_failed", 0)
    request.session.ui_failed = request.session.testsfailed  # type: ignore[attr-defined]
    for index, tab in enumerate(tabs):
        kept = Path(
            os.environ.get("JOBQUEUE_UI_TRACES", ".build/ui-traces"), f"{request.node.name}-{index}.zip"
        )
        tab.page.context.tracing.stop(path=kept if failed or tab.said else None)
        tab.page.context.close()
    assert not abroad, "the page asked another server"
    assert [line for tab in tabs for line in tab.said] == []


@pytest.fixture(scope="session")
def server(cluster: Cluster, template: str) -> Iterator[Server]:
    """A server that asks for no key, of all tests that don't need one of their own: each has queues of its own."""
    database = cluster.create(template)
    server = Server(cluster.dsn_of(database))
    yield server
    server.kill()
    cluster.drop(database)


@pytest.fixture
def tab(server: Server, open_tab: Callable[..., Tab]) -> Tab:
    return open_tab(server)
