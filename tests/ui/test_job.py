"""The page of one job: its life, its payload to the last digit, and what can be done with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster

from .conftest import Tab
from .driver import expect
from .jobs import JobWorker, ended, enqueued, serving
from .servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

EXACT = {"min_backoff": "0.4s", "max_backoff": "0.4s"}


@pytest.fixture(scope="module")
def server(cluster: Cluster, template: str) -> Iterator[Server]:
    with serving(cluster, template) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: Server) -> Iterator[JobWorker]:
    worker = JobWorker(server)
    yield worker
    worker.kill()


def test_attempts_and_waits_are_bars_in_proportion_newest_first_and_errors_are_folded(
    server: Server, tab: Tab, worker: JobWorker
):
    job = enqueued(server, "fails", '{"seconds": 0.2}', max_attempts=4, retry_policy=EXACT)
    attempts = ended(server, job)[0]["failed_attempts"]
    assert len(attempts) == 4
    tab.go(f"jobs/{job}")
    rows = tab.page.locator(".timeline > li")
    expect(rows).to_have_count(8)
    titles = rows.locator(".span-title").all_text_contents()
    assert titles[0] == "Attempt 4: HANDLER_FAILED"
    assert titles[1::2] == ["backoff", "backoff", "backoff", "waited for a worker"]
    # The newest attempt is open, with its error; the others are closed.
    opened = [row.locator("details").first.get_attribute("open") is not None for row in rows.all()]
    assert opened == [True] + [False] * 7
    expect(rows.first).to_contain_text("ValueError: no such customer")
    expect(rows.first).to_contain_text("worker-1")
    # A stack is folded until it is asked for.
    if rows.first.get_by_role("button", name="Show all").count():
        expect(rows.first.locator(".span-stack")).to_have_count(0)
        rows.first.get_by_role("button", name="Show all").click()
        expect(rows.first.locator(".span-stack")).to_contain_text("Traceback")
    widths = [bar.bounding_box()["width"] for bar in rows.locator(".span-bar").all()][::-1]
    spans = [_seconds(each) for each in _spans(attempts)]
    # The waits and attempts that are long enough to see are as long as their times.
    for width, seconds in zip(widths[1:], spans, strict=True):
        assert width / sum(widths[1:]) == pytest.approx(seconds / sum(spans), abs=0.02)


def _spans(attempts: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for index, attempt in enumerate(attempts):
        if index:
            yield attempts[index - 1]["ended_at"], attempt["started_at"]
        yield attempt["started_at"], attempt["ended_at"]


def _seconds(span: tuple[str, str]) -> float:
    start, end = (datetime.fromisoformat(each) for each in span)
    return (end - start).total_seconds()


HOSTILE = (
    '{"n": 12345678901234567890, "rate": 1.50, '
    '"html": "<script>ran = 1</script><img src=x onerror=\\"ran = 1\\">", "l": [ 1,2 ]}'
)


def test_a_payload_is_shown_byte_for_byte_and_nothing_of_it_runs(
    server: Server, open_tab: Callable[..., Tab], worker: JobWorker
):
    tab = open_tab(server, permissions=["clipboard-read", "clipboard-write"])
    more: dict[str, Any] = {
        "labels": {"a": "<script>ran = 1</script>"},
        "headers": {"x": "<script>ran = 1</script>"},
    }
    job = enqueued(server, "works", HOSTILE, **more)
    ended(server, job)
    tab.go(f"jobs/{job}")
    payload = tab.page.locator('[data-json="payload"]')
    tree = payload.get_by_role("group", name="payload")
    for exact in (
        "12345678901234567890",
        "1.50",
        '"<script>ran = 1</script><img src=x onerror=\\"ran = 1\\">"',
    ):
        expect(tree).to_contain_text(exact)
    payload.get_by_role("button", name="Exact text").click()
    assert payload.locator("pre").text_content() == HOSTILE
    payload.get_by_role("button", name="Copy payload").click()
    expect(payload.get_by_role("button", name="Copied")).to_be_visible()
    assert tab.page.evaluate("navigator.clipboard.readText()") == HOSTILE
    # The worker read the numbers as its language does; the page shows the text that it sent.
    output = tab.page.locator('[data-json="output"]')
    expect(output.get_by_role("group", name="output")).to_contain_text("12345678901234567890")
    tab.page.get_by_text("As curl").click()
    expect(tab.page.get_by_label("as curl")).to_contain_text(HOSTILE)
    tab.go("jobs")
    expect(tab.row("a=<script>ran = 1</script>")).to_be_visible()
    assert tab.page.evaluate("'ran' in window") is False
    assert tab.page.locator("main script, main img").count() == 0


def test_an_encoded_payload_says_by_what_and_folds(server: Server, tab: Tab):
    envelope = (
        '{"$jobqueue.encoded": 1, "content_type": "application/json", "encodings": ["zstd", "aes256gcm"], '
        '"key_id": "<b>2026-11</b>", "data": "6KFz"}'
    )
    job = enqueued(server, "works", envelope, hold=True)
    tab.go(f"jobs/{job}")
    payload = tab.page.locator('[data-json="payload"]')
    expect(payload).to_contain_text("Encoded, zstd + aes256gcm, key <b>2026-11</b>.")
    payload.get_by_role("button", name="Exact text").click()
    assert payload.locator("pre").text_content() == envelope
    hostile = enqueued(server, "works", '{"$jobqueue.encoded": 1, "encodings": [{"toString": 1}]}', hold=True)
    tab.go(f"jobs/{hostile}")
    expect(payload).to_contain_text("Encoded, by nothing that it names.")
    plain = enqueued(server, "works", '{"encoded": 1}', hold=True)
    tab.go(f"jobs/{plain}")
    expect(payload).to_contain_text("encoded")
    expect(payload).not_to_contain_text("Encoded, ")


def test_a_reason_and_what_ends_it_are_two_words_apart(server: Server, tab: Tab):
    job = enqueued(server, "works", queue="two-reasons", hold=True)
    server.call("POST", "/v1/queues/two-reasons:pause", {"reason": "deploy"})
    tab.go(f"jobs/{job}")
    reasons = tab.page.locator("[data-explain] li")
    expect(reasons.nth(1)).to_be_visible()
    assert re.search(r"it is held back by hand\s+ended by: ReleaseJob", reasons.first.inner_text())
    for reason in reasons.all():
        assert re.search(r"\sended by: ", reason.inner_text())
    # Others look at the warnings of this server.
    server.call("POST", "/v1/queues/two-reasons:resume", {})


def test_a_text_of_an_error_is_text(server: Server, tab: Tab, worker: JobWorker):
    text = "<img src=x onerror='ran = 1'>"
    job = enqueued(server, "fails", json.dumps({"text": text}), max_attempts=1)
    ended(server, job)
    tab.go(f"jobs/{job}")
    expect(tab.page.locator(".timeline")).to_contain_text(text)
    tab.go("dead")
    expect(tab.row("fails").filter(has_text=text)).to_be_visible()
    assert tab.page.evaluate("'ran' in window") is False


def test_a_running_job_moves_and_is_cancelled_by_a_key(
    server: Server, tab: Tab, worker: JobWorker, tmp_path: Path
):
    job = enqueued(server, "reports", json.dumps({"until": str(tmp_path / "seen")}))
    tab.go(f"jobs/{job}")
    bar = tab.page.locator("main .running progress")
    expect(bar).to_be_visible()
    first = bar.get_attribute("value")
    # It moves by itself.
    expect(bar).not_to_have_attribute("value", first)
    assert float(bar.get_attribute("value")) > float(first)
    tab.page.keyboard.press("c")
    expect(tab.page.locator('[data-job="cancel-asked"]')).to_be_visible()
    expect(tab.page.locator('[data-fact="Status"]')).to_contain_text("cancel asked")
    # There is nothing to ask for twice.
    expect(tab.page.get_by_role("button", name="Cancel")).to_have_count(0)
    (tmp_path / "seen").touch()
    expect(tab.page.locator('[data-fact="Status"]')).to_contain_text("cancelled CANCELLED_BY_CALLER")
    # Nothing has moved about: what was first is first.
    assert [each.text_content() for each in tab.page.locator("main h1, main h2").all()][:2] == [
        "reports",
        "Timeline",
    ]


def test_a_job_that_waits_says_why_and_starts_when_it_is_released(
    server: Server, tab: Tab, worker: JobWorker
):
    job = enqueued(server, "works", hold=True)
    tab.go(f"jobs/{job}")
    why = tab.page.locator("[data-explain]")
    expect(why).to_have_attribute("data-explain", "HELD_BY_HAND")
    expect(why).to_contain_text("held back by hand")
    tab.page.get_by_role("button", name="Release").click()
    # No reload: the watch tells of its end.
    expect(tab.page.locator('[data-fact="Status"]')).to_contain_text("succeeded")
    expect(why).to_have_count(0)


def test_a_job_of_a_queue_that_no_worker_takes_names_the_nearest(server: Server, tab: Tab, worker: JobWorker):
    job = enqueued(server, "works", queue="elsewhere")
    tab.go(f"jobs/{job}")
    why = tab.page.locator("[data-explain]")
    expect(why).to_have_attribute("data-explain", "NO_WORKER")
    expect(why).to_contain_text("queue default")


def test_a_job_is_retried_and_deleted_after_a_question(server: Server, tab: Tab, worker: JobWorker):
    job = enqueued(server, "works")
    ended(server, job)
    tab.go(f"jobs/{job}")
    status = tab.page.locator('[data-fact="Attempts"]')
    expect(status).to_contain_text("1, of which")
    tab.page.keyboard.press("r")
    expect(status).to_contain_text("2, of which")
    delete = tab.page.get_by_role("button", name="Delete")
    delete.click()
    tab.page.keyboard.press("Escape")
    # It is there, and the focus is where it was.
    expect(delete).to_be_focused()
    delete.click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    tab.heading("Jobs")
    expect(tab.page.get_by_role("status").filter(has_text="was deleted")).to_be_visible()
    tab.expected.add("404")
    tab.go(f"jobs/{job}")
    expect(tab.page.locator("main")).to_contain_text("JOB_NOT_FOUND")


def test_a_copy_has_every_digit_and_may_be_changed(server: Server, tab: Tab):
    job = enqueued(
        server, "works", '{"n": 12345678901234567890, "r": 1.50}', queue="spare", labels={"team": "sales"}
    )
    tab.go(f"jobs/{job}")
    for edit in (False, True):
        tab.go(f"jobs/{job}")
        tab.page.get_by_role("button", name="Enqueue a copy").click()
        field = tab.page.get_by_role("dialog").get_by_label("Payload")
        if edit:
            field.fill('{"n": 2')
            expect(tab.page.get_by_role("dialog").get_by_role("button", name="Enqueue")).to_be_disabled()
            expect(tab.page.get_by_role("dialog")).to_contain_text("the JSON ends too early")
            field.fill('{"n": 2.0}')
        tab.page.get_by_role("dialog").get_by_role("button", name="Enqueue").click()
        expect(tab.page.get_by_role("dialog")).to_have_count(0)
        expect(tab.page.locator('[data-fact="Id"]')).not_to_contain_text(job)
        tab.page.get_by_role("button", name="Exact text").click()
        wanted = '{"n": 2.0}' if edit else '{"n": 12345678901234567890, "r": 1.50}'
        assert tab.page.locator('[data-json="payload"] pre').text_content() == wanted
        expect(tab.page.locator('[data-fact="Labels"]')).to_contain_text("team=sales")


def test_what_the_server_refuses_is_said_with_what_to_do(server: Server, tab: Tab, worker: JobWorker):
    tab.expected.add("409")
    job = enqueued(server, "works", hold=True)
    tab.go(f"jobs/{job}")
    cancel = tab.page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_visible()
    # Somebody else is faster, and this page hears nothing of it.
    tab.page.route("**/v1/jobs:watch**", lambda route: route.abort())
    tab.page.keyboard.press(".")
    server.call("POST", f"/v1/jobs/{job}:cancel", {})
    cancel.click()
    expect(tab.page.get_by_role("alert")).to_contain_text("JOB_TERMINAL")
    expect(tab.page.get_by_role("alert")).to_contain_text("nothing to cancel")
