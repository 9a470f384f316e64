"""What the page costs the browser that shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Cluster

from .conftest import Tab
from .driver import expect
from .jobs import batch
from .servers import Server, WorkerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

#: How much of a core the tab may take. Where nothing else runs it takes a tenth of that.
SHARE = 0.10
#: Each page has read all that it reads again and again.
SECONDS = 10.0
#: Jobs a second from which on the server counts as busy, also beside other tests.
BUSY = 200


@pytest.fixture(scope="module")
def busy(cluster: Cluster, template: str) -> Iterator[Server]:
    """A server through which jobs pass as fast as they come, up to 1,000 a second."""
    database = cluster.create(template)
    server = Server(cluster.dsn_of(database))
    worker = WorkerProcess(server.grpc, "quick", queues=("quick",), seconds=0, slots=200)
    stop = threading.Event()

    def produce() -> None:
        began, sent = time.monotonic(), 0
        while not stop.is_set():
            batch(server, [{"kind": "work", "queue": "quick"}] * 100)
            sent += 100
            stop.wait(max(0.0, began + sent / 1000 - time.monotonic()))

    thread = threading.Thread(target=produce)
    thread.start()
    yield server
    stop.set()
    thread.join()
    worker.kill()
    server.kill()
    cluster.drop(database)


def succeeded(server: Server) -> float:
    """Successes a second that the overview tells: those of its last whole slices, so of a while ago."""
    return server.call("GET", "/v1/overview")["flow"].get("succeeded", 0)


@pytest.mark.parametrize("place", ["", "jobs"])
def test_a_tab_takes_little_of_a_core_while_a_thousand_jobs_a_second_pass(
    busy: Server, open_tab: Callable[..., Tab], record_property: Callable[..., None], place: str
):
    while succeeded(busy) < BUSY:
        time.sleep(0.2)
    tab = open_tab(busy)
    tab.go()
    expect(tab.row("quick")).to_be_visible(timeout=30_000)
    tab.go(place)
    expect(tab.page.locator("main tbody tr").first).to_be_visible()
    browser = tab.page.context.new_cdp_session(tab.page)
    browser.send("Performance.enable")

    def spent() -> dict[str, float]:
        """Seconds that the tab's main thread has worked, and what the time was."""
        found = browser.send("Performance.getMetrics")["metrics"]
        return {
            each["name"]: each["value"] for each in found if each["name"] in ("TaskDuration", "Timestamp")
        }

    before = spent()
    # Nothing of the page tells that the time is over; it is a measurement.
    time.sleep(SECONDS)
    after = spent()
    share = (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])
    rate = succeeded(busy)
    record_property("share", share)
    print(f"{place or 'overview'}: {share:.1%} of a core at {rate:.0f} jobs a second")
    assert rate >= BUSY, "little passed"
    assert share < SHARE
