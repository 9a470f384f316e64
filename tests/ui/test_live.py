"""What the pages show while jobs run: it comes by itself, and it is true."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import asyncpg
import pytest

from jobqueue import SyncClient
from tests.conftest import run_apart

from .conftest import Tab
from .driver import expect
from .jobs import JobWorker, ended, enqueued
from .servers import PATIENCE, Server, WorkerProcess

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
    expect(tab.row("default")).to_be_visible()
    expect(tab.page.get_by_role("heading", name="No jobs yet")).to_have_count(0)


class Steady:
    """A producer and a worker at one server, at so many jobs a second."""

    def __init__(self, server: Server, queue: str, per_second: float) -> None:
        self._worker = WorkerProcess(server.grpc, f"of-{queue}", queues=(queue,), seconds=0, slots=20)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, args=(server, queue, per_second))
        self._thread.start()

    def _produce(self, server: Server, queue: str, per_second: float) -> None:
        with SyncClient(server.grpc) as client:
            began, sent = time.monotonic(), 0
            while not self._stop.is_set():
                client.enqueue("work", queue=queue)
                sent += 1
                self._stop.wait(max(0.0, began + sent / per_second - time.monotonic()))

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._worker.kill()


def test_the_rate_that_is_shown_is_that_of_the_jobs(own: Server, open_tab: Callable[..., Tab]):
    jobs = Steady(own, "steady", 25)
    try:
        tab = open_tab(own)
        tab.go()
        shown = tab.page.locator(".figure", has=tab.page.get_by_text("Done", exact=True)).locator("dd").first
        # The window of 20 s is full of it: 25 a second, but for what a busy machine delays.
        expect(shown).to_have_text(re.compile(r"^2[2-7]/s$"), timeout=60_000)
        expect(tab.row("steady")).to_contain_text(re.compile(r"2\d/s"))
        chart = tab.page.get_by_role("region", name="Jobs a second").or_(
            tab.page.locator("section.chart").first
        )
        line = chart.locator(".plot path").nth(1)
        drawn = line.get_attribute("d")
        chart.get_by_text("As a table").click()
        rows = chart.locator("tbody tr")
        first = rows.first.text_content()
        # The chart moves by itself, and so does its twin.
        expect(rows.first).not_to_have_text(first)
        expect(line).not_to_have_attribute("d", drawn)
        # What comes live, at other times than the slices of 10 s, has a number for each line.
        live = re.compile(r":\d[1-9][\d.]+/s2[\d.]+/s[\d.]+/s$")
        expect(rows.first).to_have_text(live, timeout=40_000)
        # Under the pointer are the values of that time.
        place = chart.locator(".plot").bounding_box()
        tab.page.mouse.move(place["x"] + place["width"] - 10, place["y"] + 60)
        expect(chart.locator(".plot .at")).to_have_count(1)
        expect(chart.locator(".legend li").nth(1)).to_contain_text(re.compile(r"succeeded 2\d/s"))
    finally:
        jobs.end()


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


def test_a_queue_that_no_worker_takes_is_warned_of(own: Server, open_tab: Callable[..., Tab]):
    # Of a server of its own: warnings beyond the third are folded.
    own.enqueue("hello", "taken-by-none")
    tab = open_tab(own)
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
    # The page looks every 2 s. It must have seen that the worker is silent, or it can't say later that it was lost.
    worker = WorkerProcess(server.grpc, "mortal", queues=("deadly",), ttl=15)
    tab = open_tab(server)
    tab.go("workers?queue=deadly")
    expect(tab.row("mortal")).to_contain_text("connected")
    expect(tab.row("mortal").locator("td").nth(2)).to_have_text("3")
    worker.kill()
    expect(tab.row("mortal")).to_contain_text(re.compile(r"silent \d+ s, lost in \d+ s"))
    expect(tab.row("mortal")).to_contain_text(re.compile(r"lost \d+ s ago, 3 jobs back"), timeout=45_000)
    jobs = server.call("GET", "/v1/jobs?queue=deadly&status=QUEUED&status=RETRYING")["jobs"]
    assert len(jobs) == 3
    # The server knows nothing of it any more; the page has kept which jobs these were.
    lost = tab.row("mortal").locator("td").last.get_by_role("link")
    assert sorted(link.get_attribute("title") for link in lost.all()) == sorted(job["id"] for job in jobs)
    expect(tab.row("mortal").get_by_role("button")).to_have_count(0)
    lost.first.click()
    attempt = tab.page.locator(".timeline > li", has_text="Attempt 1")
    expect(attempt).to_contain_text("SESSION_LOST")
    expect(attempt).to_contain_text("by worker mortal")
    expect(tab.page.locator(".timeline > li").first).to_contain_text("waits for a worker")
    expect(tab.page.locator('[data-fact="Attempts"]')).to_contain_text("1 lost")
    tab.go("jobs?q=queue:deadly")
    expect(tab.row("lost its worker")).to_have_count(3)


def test_a_worker_that_is_heard_again_is_not_lost(server: Server, open_tab: Callable[..., Tab]):
    server.enqueue("work", "frozen", 1)
    # It must not be over before the page has seen that the worker is silent.
    worker = WorkerProcess(server.grpc, "sleeper", queues=("frozen",), ttl=20)
    try:
        tab = open_tab(server)
        tab.go("workers?queue=frozen")
        expect(tab.row("sleeper")).to_contain_text("connected")
        worker.process.send_signal(signal.SIGSTOP)
        expect(tab.row("sleeper")).to_contain_text("silent", timeout=30_000)
        worker.process.send_signal(signal.SIGCONT)
        expect(tab.row("sleeper")).to_contain_text("connected", timeout=30_000)
        expect(tab.row("sleeper")).to_have_count(1)
    finally:
        worker.kill()


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
    expect(tab.page.locator("main tbody tr")).to_contain_text("fired")
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


@pytest.mark.long
def test_rates_are_those_of_all_servers_together(dsn: str, own: Server, open_tab: Callable[..., Tab]):
    other = Server(dsn)
    both = [Steady(own, "left", 12), Steady(other, "right", 12)]
    try:
        tab = open_tab(own)
        tab.go()
        done = tab.page.locator(".figure", has=tab.page.get_by_text("Done", exact=True)).locator("dd").first
        # 12 and 12 a second, but for what a busy machine delays.
        expect(done).to_have_text(re.compile(r"^2[1-6]/s$"), timeout=60_000)
        for queue in ("left", "right"):
            expect(tab.row(queue)).to_contain_text(re.compile(r"1[0-4]/s"))
        # Also by the page of the server that none of the jobs of "left" has met.
        tab = open_tab(other)
        tab.expected.add("away")  # Its server goes before it does.
        tab.go()
        expect(tab.row("left")).to_contain_text(re.compile(r"1[0-4]/s"), timeout=30_000)
    finally:
        for each in both:
            each.end()
        other.kill()


async def as_of_a_minute_ago(dsn: str, succeeded: int) -> None:
    """What is counted of so many jobs, once it is written, which it is each 10 s, is moved back by a minute."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(PATIENCE):
            while await connection.fetchval("select sum(succeeded) from lane_stat") != succeeded:
                await asyncio.sleep(0.1)
        await connection.execute("update lane_stat set at = at - interval '1 minute'")
    finally:
        await connection.close()


def test_a_queue_shows_its_last_hour_at_a_glance(dsn: str, own: Server, open_tab: Callable[..., Tab]):
    worker = WorkerProcess(own.grpc, "glance", queues=("hourly",), seconds=0)
    try:
        own.enqueue("work", "hourly", 7)
        own.enqueue("work", "idle")
        # It is shown once its minute is over.
        run_apart(as_of_a_minute_ago(dsn, 7))
        tab = open_tab(own)
        tab.go("queues")
        expect(tab.row("hourly").get_by_role("img")).to_have_attribute(
            "aria-label", re.compile(r"^7 succeeded, at most 0\.\d+/s$"), timeout=30_000
        )
        assert tab.row("hourly").locator("svg path").get_attribute("d").startswith("M1.0 17.0L")
    finally:
        worker.kill()


def test_a_kind_says_how_its_attempts_fail_and_of_how_many_jobs_that_is(
    own: Server, open_tab: Callable[..., Tab]
):
    worker = JobWorker(own, "errors")
    try:
        own.call("PUT", "/v1/kinds/fails", {"timeout": "60s"})
        soon = {"min_backoff": "0.1s", "max_backoff": "0.1s"}
        ids = [enqueued(own, "fails", queue="errors", max_attempts=2, retry_policy=soon) for _ in range(3)]
        ended(own, *ids)
        asked: list[str] = []
        tab = open_tab(own)
        tab.page.on(
            "request", lambda request: asked.append(request.url) if "/v1/jobs?" in request.url else None
        )
        tab.go("kinds?name=fails")
        table = tab.page.get_by_role("table", name="Types of errors")
        expect(table.locator("tbody tr")).to_have_count(1)
        expect(table.locator("td")).to_have_text(["ValueError", "6", "3", "no such customer"])
        expect(tab.page.locator("main")).to_contain_text(
            "Of all 3 jobs that wait after a failure or have failed for good."
        )
        # One bounded read, and not again and again.
        with pytest.raises(Exception, match="Timeout"):
            tab.page.wait_for_event("request", lambda request: "/v1/jobs?" in request.url, timeout=3_000)
        assert len(asked) == 1
        assert "page_size=200" in asked[0]
    finally:
        worker.kill()


def test_two_servers_are_shown_as_one_queue_and_a_dead_one_as_late(
    dsn: str, own: Server, open_tab: Callable[..., Tab]
):
    other = Server(dsn)
    tab = open_tab(own)
    tab.go("servers")
    expect(tab.page.locator("main tbody tr")).to_have_count(2, timeout=30_000)
    expect(tab.page.locator("main tbody tr", has_text="this one")).to_have_count(1)
    other.kill()
    late = tab.page.locator("main tbody tr", has_not_text="this one")
    expect(late).to_contain_text(re.compile(r"heartbeat \d+ s old"), timeout=30_000)


def test_a_hidden_tab_asks_for_nothing(server: Server, open_tab: Callable[..., Tab]):
    tab = open_tab(server)
    tab.go("queues")
    tab.heading("Queues")
    # All that the page asks for at its start has been answered: what is under way would be asked for still.
    expect(tab.page.locator("main .loading")).to_have_count(0)
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
