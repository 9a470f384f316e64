"""What the bench asks in the place of viewers is what the pages ask, and as often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from bench import pages
from bench.gates.ui_size import places
from bench.pages import Ask
from tests.conftest import Cluster

from .conftest import Tab
from .driver import expect
from .jobs import JobWorker, ended, enqueued, serving
from .servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

#: The values are of the moment, or of the server.
_VARIES = ("since", "created_before", "page_token")

#: How long a path was not asked for after each answer, in seconds. What follows at once is of the same reading.
_WAITS = """(path) => performance.getEntriesByType("resource")
    .filter((each) => new URL(each.name).pathname === path)
    .map((each, index, all) => index ? (each.startTime - all[index - 1].responseEnd) / 1000 : 0)
    .filter((wait) => wait > 1)"""

Call = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture(scope="module")
def server(cluster: Cluster, template: str) -> Iterator[Server]:
    with serving(cluster, template) as server:
        yield server


def call_of(target: str) -> Call:
    parts = urlsplit(target)
    pairs = [(name, "" if name in _VARIES else value) for name, value in parse_qsl(parts.query)]
    # A page that finds fewer rows than it shows asks for the rest.
    return parts.path, frozenset(pair for pair in pairs if pair[0] not in ("page_token", "page_size"))


def test_a_viewer_of_the_bench_makes_the_calls_of_each_page(server: Server, tab: Tab):
    worker = JobWorker(server)
    ids = {
        "waiting": enqueued(server, "later", queue="backlog-1"),
        "failed": enqueued(server, "fails", max_attempts=1),
        "succeeded": enqueued(server, "works", queue="default"),
    }
    enqueued(server, "later", queue="queue-7")
    ended(server, ids["failed"], ids["succeeded"])
    worker.kill()
    tab.expected = {"away"}
    asked: set[Call] = set()
    tab.page.on("request", lambda request: asked.add(call_of(request.url)))
    for place, asks in places(ids).items():
        tab.page.goto("about:blank")
        asked.clear()
        tab.go(place)
        expect(tab.page.locator("main h1")).to_be_visible()
        expect(tab.page.locator("main .loading")).to_have_count(0)
        wanted = {call_of(ask.target) for ask in asks}
        for _ in range(400):
            if wanted <= asked:
                break
            tab.page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 50))")
        found = {call for call in asked if call[0].startswith(("/v1/", "/version"))}
        # The rows in view are followed by their ids.
        rows = {call for call in found if call[0] == f"/{pages.FOLLOWED}" and place.startswith("jobs?")}
        rows |= {call for call in found if call[0] == f"/{pages.FOLLOWED}" and place == "jobs"}
        # So is a worker that is silent asked for, once: ours was killed.
        rows |= {call for call in found if call[0].startswith("/v1/workers/")}
        assert found - rows == wanted, place


@pytest.mark.parametrize(
    ("place", "asks", "path"), [("", pages.overview(), "v1/stats"), ("jobs", pages.jobs(), pages.LIST)]
)
def test_a_viewer_of_the_bench_asks_as_often_as_the_page(
    server: Server, tab: Tab, place: str, asks: tuple[Ask, ...], path: str
):
    enqueued(server, "later", queue="backlog-1")
    every = next(ask.every for ask in asks if ask.path == path)
    assert every is not None

    tab.go(place)
    # By the browser's own clock: this process may be late with what it is told.
    ends = time.monotonic() + every + 60
    while not (waits := tab.page.evaluate(_WAITS, f"/{path}")):
        assert time.monotonic() < ends, "it is not asked again"
        tab.page.wait_for_timeout(100)
    # A timer is late where the machine is busy, and never early.
    assert every - 1 < waits[0] < every + 3
