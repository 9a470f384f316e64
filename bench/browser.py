"""The real pages in the machine's chromium, where `make browser` has installed what drives it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# What the page may still ask for after it has shown what it has.
_REST_MS = 1500
_PATIENCE_MS = 30_000


@dataclass(slots=True)
class Visit:
    """One page.

    Attributes:
        place: Below /ui/.
        requests: Each call of the server, with its path, and the milliseconds until its answer was whole; of a stream,
            until it began.
    """

    place: str
    requests: list[tuple[str, float]] = field(default_factory=list)


def missing() -> str:
    """Why no browser can be driven here; empty: it can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ModuleNotFoundError:
        return "playwright is not installed"
    return "" if _chromium() else "there is no chromium on PATH"


def _chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), "")


def visit(base: str, places: Iterable[str], shown: str, opened: int) -> tuple[list[Visit], list[float]]:
    """Opens each of these pages once.

    Args:
        base: Of the server, such as `http://127.0.0.1:8080`.
        places: Below /ui/.
        shown: A text of the overview.
        opened: How often the overview is opened until it shows that, before all else.

    Returns:
        What each page asked for, and how many milliseconds it took each time until the text was shown.
    """
    from playwright.sync_api import sync_playwright

    visits: list[Visit] = []
    took: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(_PATIENCE_MS)
        # The first time its files are fetched; then the browser has them.
        for number in range(opened + 1):
            began = time.monotonic()
            page.goto(f"{base}/ui/", wait_until="commit")
            page.locator("main .figures").get_by_text(shown, exact=True).first.wait_for()
            if number:
                took.append(round(1000 * (time.monotonic() - began), 1))
        _listen(page, visits)
        for place in places:
            visits.append(Visit(place))
            page.goto(f"{base}/ui/{place}")
            page.locator("main h1").wait_for()
            page.locator("main .loading").wait_for(state="detached")
            page.wait_for_timeout(_REST_MS)
        browser.close()
    return visits, took


def _listen(page: Any, visits: list[Visit]) -> None:
    """Notes the calls of the page that is open."""
    asked: dict[Any, float] = {}

    def begun(request: Any) -> None:
        asked[request] = time.monotonic()

    def finished(request: Any) -> None:
        timing = request.timing
        _note(visits, request, timing["responseEnd"] - timing["requestStart"])

    def answered(response: Any) -> None:
        if urlsplit(response.url).path.endswith(":watch"):
            _note(visits, response.request, 1000 * (time.monotonic() - asked[response.request]))

    page.on("request", begun)
    page.on("requestfinished", finished)
    page.on("response", answered)


def _note(visits: list[Visit], request: Any, ms: float) -> None:
    parts = urlsplit(request.url)
    if visits and parts.path.startswith(("/v1/", "/version")):
        query = f"?{parts.query}" if parts.query else ""
        visits[-1].requests.append((parts.path + query, round(ms, 1)))
