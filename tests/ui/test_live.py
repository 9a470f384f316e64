"""What the pages show while jobs run: it comes by itself, and it is true."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from jobqueue import SyncClient

from .conftest import Tab
from .driver import expect
from .servers import Server, WorkerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def own(dsn: str) -> Iterator[Server]:
    """A fresh server."""
    server = Server(dsn)
    yield server
    server.kill()


def figure(tab: Tab, name: str) -> str:
    """What a big number of the page says."""
    shown = tab.page.locator(".figure", has=tab.page.get_by_text(name, exact=True)).locator("dd").first
    return str(shown.inner_text())


def test_a_fresh_server_says_what_to_type_and_the_job_appears_by_itself(
    own: Server, open_tab: Callable[..., Tab]
):
    tab = open_tab(own)
    tab.go()
    expect(tab.page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    line = tab.page.get_by_label("text to copy").inner_text()
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert '"status":"QUEUED"' in done.stdout, done.stdout
    expect(tab.row("default")).to_be_visible(timeout=4_000)
    expect(tab.page.get_by_role("heading", name="No jobs yet")).to_have_count(0)


def test_the_rate_that_is_shown_is_that_of_the_jobs(own: Server, open_tab: Callable[..., Tab]):
    worker = WorkerProcess(own.grpc, "fast", queues=("steady",), seconds=0, slots=20)
    tab = open_tab(own)
    tab.go()
    stop = threading.Event()
    sent = 0

    def produce() -> None:
        nonlocal sent
        with SyncClient(own.grpc) as client:
            began = time.monotonic()
            while not stop.is_set():
                client.enqueue("work", queue="steady")
                sent += 1
                stop.wait(max(0.0, began + sent / 25 - time.monotonic()))

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        shown = tab.page.locator(".figure", has=tab.page.get_by_text("Done", exact=True)).locator("dd").first
        # The window of 20 s is full of it: 25 a second, but for what a busy machine delays.
        expect(shown).to_have_text(re.compile(r"^2[2-7]/s$"), timeout=60_000)
        expect(tab.row("steady")).to_contain_text(re.compile(r"2\d/s"))
        chart = tab.page.get_by_role("region", name="Jobs a second").or_(
            tab.page.locator("section.chart").first
        )
        chart.get_by_text("As a table").click()
        rows = chart.locator("tbody tr")
        first = rows.first.inner_text()
        # The chart moves by itself.
        expect(rows.first).not_to_have_text(first, timeout=6_000)
    finally:
        stop.set()
        thread.join()
        worker.kill()


def test_a_paused_queue_says_since_when_by_whom_and_why(server: Server, open_tab: Callable[..., Tab]):
    server.enqueue("hello", "band", 12)
    server.call("POST", "/v1/queues/band:pause", {"reason": "deploy"})
    tab = open_tab(server)
    tab.go("queues/band")
    band = tab.page.locator(".band", has_text="Paused")
    expect(band).to_contain_text(re.compile(r"Paused .* by anonymous \(deploy\)\."))
    tab.page.get_by_role("button", name="Resume").click()
    expect(band).to_have_count(0)
    expect(tab.page.get_by_role("button", name="Pause")).to_be_visible()


def test_a_queue_that_no_worker_takes_is_warned_of(server: Server, open_tab: Callable[..., Tab]):
    server.enqueue("hello", "taken-by-none")
    tab = open_tab(server)
    tab.go()
    warning = tab.page.locator(".band", has_text="taken-by-none")
    expect(warning).to_be_visible(timeout=30_000)
    warning.get_by_role("link", name="taken-by-none").click()
    tab.heading("taken-by-none")
    expect(tab.page.locator("main")).to_contain_text("no worker takes jobs of the queue taken-by-none")


def test_a_worker_that_is_killed_is_silent_then_lost_and_its_jobs_are_back(
    server: Server, open_tab: Callable[..., Tab]
):
    server.enqueue("work", "deadly", 3)
    worker = WorkerProcess(server.grpc, "mortal", queues=("deadly",), ttl=6)
    tab = open_tab(server)
    tab.go("workers?queue=deadly")
    expect(tab.row("mortal")).to_contain_text("connected")
    expect(tab.row("mortal").locator("td").nth(2)).to_have_text("3")
    worker.kill()
    expect(tab.row("mortal")).to_contain_text(re.compile(r"silent \d s, lost in \d s"), timeout=6_000)
    expect(tab.row("mortal")).to_have_count(0, timeout=20_000)
    jobs = server.call("GET", "/v1/jobs?queue=deadly&status=QUEUED&status=RETRYING")["jobs"]
    assert len(jobs) == 3


def test_a_worker_is_drained_from_the_page_with_a_reason(server: Server, open_tab: Callable[..., Tab]):
    server.enqueue("work", "drained")
    worker = WorkerProcess(server.grpc, "leaving", queues=("drained",))
    try:
        tab = open_tab(server)
        tab.go("workers?queue=drained")
        tab.row("leaving").get_by_role("button", name="Drain").click()
        tab.page.get_by_role("dialog").get_by_label("Why").fill("new version")
        tab.page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        expect(tab.row("leaving")).to_contain_text("draining")
        expect(tab.row("leaving").get_by_role("button", name="Drain")).to_have_count(0)
        tab.page.get_by_role("link", name="leaving").click()
        tab.heading("leaving")
        expect(tab.page.locator(".band")).to_contain_text("new version")
        expect(tab.page.locator("main tbody tr")).to_have_count(1)
    finally:
        worker.kill()


def test_a_schedule_is_paused_and_run_from_the_page(server: Server, open_tab: Callable[..., Tab]):
    job = {"kind": "hello", "queue": "by-clock", "payload": {"big": 1}}
    server.call(
        "POST", "/v1/schedules", {"name": "page-nightly", "spec": {"cron": ["0 3 * * *"]}, "job": job}
    )
    tab = open_tab(server)
    tab.go("schedules/page-nightly")
    expect(tab.page.locator("ol li")).to_have_count(5)
    tab.page.get_by_role("button", name="Run now").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    expect(tab.page.get_by_role("status").filter(has_text="enqueued")).to_be_visible()
    expect(tab.page.locator("main tbody tr")).to_contain_text("fired", timeout=10_000)
    assert len(server.call("GET", "/v1/jobs?queue=by-clock")["jobs"]) == 1
    tab.page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("dialog").get_by_label("Why").fill("holiday")
    tab.page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(tab.page.locator(".band")).to_contain_text("Paused (holiday)")
    tab.page.get_by_role("button", name="Resume").click()
    expect(tab.page.locator(".band")).to_have_count(0)


def test_a_number_of_20_digits_and_a_script_are_shown_as_they_are(
    server: Server, open_tab: Callable[..., Tab]
):
    text = '{"big": 12345678901234567890, "note": "<script>document.title = 1</script><img src=x onerror=alert(1)>"}'
    spec = f'{{"name": "exact", "spec": {{"cron": ["0 3 * * *"]}}, "job": {{"kind": "hello", "payload": {text}}}}}'
    done = subprocess.run(
        ["curl", "-s", f"{server.url}/v1/schedules", "-H", "Content-Type: application/json", "-d", spec],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "12345678901234567890" in done.stdout
    tab = open_tab(server)
    tab.go("schedules/exact")
    payload = tab.page.get_by_label("payload")
    expect(payload).to_contain_text('"big": 12345678901234567890,')
    expect(payload).to_contain_text('"<script>document.title = 1</script><img src=x onerror=alert(1)>"')
    assert tab.page.locator("main img, main script").count() == 0
    assert "exact" in tab.page.title()


def test_two_servers_are_shown_as_one_queue_and_a_dead_one_as_late(
    dsn: str, own: Server, open_tab: Callable[..., Tab]
):
    other = Server(dsn)
    tab = open_tab(own)
    tab.go("servers")
    expect(tab.page.locator("main tbody tr")).to_have_count(2, timeout=15_000)
    expect(tab.page.locator("main tbody tr", has_text="this one")).to_have_count(1)
    other.kill()
    late = tab.page.locator("main tbody tr", has_not_text="this one")
    expect(late).to_contain_text(re.compile(r"heartbeat \d+ s old"), timeout=30_000)


def test_a_hidden_tab_asks_for_nothing(server: Server, open_tab: Callable[..., Tab]):
    tab = open_tab(server)
    tab.go("queues")
    tab.heading("Queues")
    tab.page.wait_for_load_state()
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    tab.page.evaluate(hide, True)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    # Longer than any interval of this page.
    with pytest.raises(Exception, match="Timeout"):
        tab.page.wait_for_event("request", timeout=7_000)
    assert asked == []
    with tab.page.expect_request("**/v1/queues*"):
        tab.page.evaluate(hide, False)
