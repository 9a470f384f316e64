"""The list of jobs: found by a filter, live, walked through by keys, and changed many at once."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Cluster

from .conftest import Tab
from .driver import expect
from .jobs import JobWorker, batch, cancelled, enqueued, serving
from .servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server(cluster: Cluster, template: str) -> Iterator[Server]:
    with serving(cluster, template) as server:
        yield server


def filter_of(tab: Tab) -> Any:
    return tab.page.get_by_role("combobox", name="Filter of jobs")


def rows(tab: Tab) -> Any:
    return tab.page.locator("main tbody tr[data-id]")


def test_what_is_typed_before_the_next_frame_stays_before_what_is_typed_later(server: Server, tab: Tab):
    enqueued(server, "mail_send", queue="hooks")
    tab.go("jobs")
    expect(rows(tab).first).to_be_visible()
    tab.page.keyboard.press("/")
    expect(filter_of(tab)).to_be_focused()
    tab.page.evaluate(
        """() => {
            const frame = window.requestAnimationFrame;
            window.requestAnimationFrame = (then) => setTimeout(() => frame(then), 300);
        }"""
    )
    tab.page.keyboard.type("sta")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type("wai")
    tab.page.evaluate("() => new Promise((done) => setTimeout(done, 500))")
    tab.page.keyboard.type("t")
    expect(filter_of(tab)).to_have_value("status:wait")


def test_a_filter_is_typed_with_completion_and_is_in_the_address(server: Server, tab: Tab):
    wanted = enqueued(server, "webhook_send", queue="hooks", labels={"tenant": "7"})
    enqueued(server, "webhook_send", queue="other", labels={"tenant": "8"})
    enqueued(server, "mail_send", queue="hooks")
    tab.go("jobs")
    expect(rows(tab).first).to_be_visible()
    tab.page.keyboard.press("/")
    expect(filter_of(tab)).to_be_focused()
    tab.page.keyboard.type("sta")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type("wai")
    expect(tab.page.get_by_role("option", name="waiting")).to_be_visible()
    tab.page.keyboard.press("ArrowDown")
    expect(tab.page.get_by_role("option", name="waiting")).to_have_attribute("aria-selected", "true")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.type("kind:webhook_s*")
    # The list can't be asked for a beginning; the suggestions have the whole names.
    expect(tab.page.get_by_role("option", name="webhook_send")).to_be_visible()
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type("queue:hooks")
    tab.page.keyboard.press("Enter")
    expect(rows(tab)).to_have_count(1)
    expect(rows(tab).first).to_have_attribute("data-id", wanted)
    expect(tab.page.locator("[data-jobs=what]")).to_have_text(
        "Queued or retrying jobs of the queue hooks of the kind webhook_send, newest first."
    )
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(tab.page.url).query)
    assert query == {"q": ["status:waiting kind:webhook_send queue:hooks"]}
    tab.page.reload()
    expect(filter_of(tab)).to_have_value("status:waiting kind:webhook_send queue:hooks")
    expect(rows(tab)).to_have_count(1)
    tab.page.go_back()
    expect(rows(tab).first).to_be_visible()


def test_what_the_list_can_not_do_is_said_and_not_asked_for(server: Server, tab: Tab):
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url) if "/v1/jobs?" in request.url else None)
    tab.go("jobs?q=" + urllib.parse.quote("kind:webh* payload:x"))
    problems = tab.page.locator("#filter-problems li")
    expect(problems).to_have_count(2)
    expect(problems.first).to_contain_text("by a whole kind, not by its beginning")
    expect(filter_of(tab)).to_have_attribute("aria-invalid", "true")
    assert asked == []


def test_links_with_the_parameters_of_the_api_are_filters(server: Server, tab: Tab):
    tab.go("jobs?status=FAILED_PERMANENT&queue=hooks&labels=tenant%3D7")
    expect(filter_of(tab)).to_have_value("status:failed queue:hooks label:tenant=7")


def test_an_id_leads_to_its_job(server: Server, tab: Tab):
    job = enqueued(server, "works", queue="by-id")
    tab.go("jobs")
    filter_of(tab).fill(job)
    tab.page.keyboard.press("Enter")
    tab.heading("works")
    assert tab.page.url.endswith(f"/ui/jobs/{job}")


def test_rows_are_live_by_one_watch_and_a_hidden_tab_has_none(server: Server, tab: Tab):
    ids = batch(server, [{"kind": "works", "queue": "live"} for _ in range(3)])
    watches: list[Any] = []
    ended: list[Any] = []
    tab.page.on("request", lambda request: watches.append(request) if "jobs:watch" in request.url else None)
    tab.page.on("requestfailed", lambda request: ended.append(request) if request in watches else None)
    tab.page.add_init_script(
        "window.away = false; Object.defineProperty(document, 'hidden', {get: () => window.away});"
    )
    tab.go("jobs?q=queue:live")
    expect(rows(tab)).to_have_count(3)
    server.call("POST", f"/v1/jobs/{ids[1]}:cancel", {})
    expect(tab.page.locator(f"tr[data-id='{ids[1]}']")).to_contain_text("cancelled")
    assert set(urllib.parse.parse_qs(urllib.parse.urlsplit(watches[0].url).query)["ids"]) == set(ids)
    assert len(watches) - len(ended) == 1
    with tab.page.expect_event("requestfailed", lambda request: request in watches):
        tab.page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    with tab.page.expect_request(lambda request: "jobs:watch" in request.url):
        assert len(watches) == len(ended), "a hidden tab goes on watching"
        tab.page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    server.call("POST", f"/v1/jobs/{ids[0]}:cancel", {})
    expect(tab.page.locator(f"tr[data-id='{ids[0]}']")).to_contain_text("cancelled")


def test_pages_go_on_where_the_last_one_ended_and_say_how_far_back_they_looked(server: Server, tab: Tab):
    ids = batch(server, [{"kind": "works", "queue": "paged"} for _ in range(60)])
    tab.go("jobs?q=queue:paged")
    expect(rows(tab)).to_have_count(50)
    expect(tab.page.get_by_text(re.compile(r"Looked back to \d{4}-\d\d-\d\d \d\d:\d\d"))).to_be_visible()
    first = [row.get_attribute("data-id") for row in rows(tab).all()]
    tab.page.get_by_role("link", name="Older jobs").click()
    expect(rows(tab)).to_have_count(10)
    assert first + [row.get_attribute("data-id") for row in rows(tab).all()] == ids[::-1]
    expect(tab.page.get_by_text("There are no older ones")).to_be_visible()
    tab.page.reload()
    expect(rows(tab)).to_have_count(10)
    tab.page.get_by_role("link", name="Newest jobs").click()
    expect(rows(tab)).to_have_count(50)


def test_a_view_is_saved_and_forgotten(server: Server, tab: Tab):
    enqueued(server, "works", queue="viewed")
    tab.go("jobs?q=queue:viewed")
    tab.page.get_by_role("button", name="Save this view").click()
    tab.page.get_by_label("Name of the view").fill("Mine")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("link", name="All", exact=True).click()
    tab.page.get_by_role("link", name="Mine", exact=True).click()
    expect(filter_of(tab)).to_have_value("queue:viewed")
    tab.page.reload()
    tab.page.get_by_role("button", name="Forget the view Mine").click()
    expect(tab.page.get_by_role("link", name="Mine", exact=True)).to_have_count(0)


def test_rows_are_selected_by_keys_one_by_one_and_as_a_range(server: Server, tab: Tab):
    batch(server, [{"kind": "works", "queue": "picked"} for _ in range(6)])
    tab.go("jobs?q=queue:picked")
    expect(rows(tab)).to_have_count(6)
    press = tab.page.keyboard.press
    press("j")
    expect(rows(tab).nth(0)).to_be_focused()
    press("x")
    for index in (1, 2, 3):
        press("j")
        expect(rows(tab).nth(index)).to_be_focused()
    press("Shift+X")
    expect(tab.page.get_by_role("toolbar")).to_contain_text("4 selected")
    press("x")
    expect(tab.page.get_by_role("toolbar")).to_contain_text("3 selected")
    press("Escape")
    expect(tab.page.get_by_role("toolbar")).to_have_count(0)


def test_all_in_a_filter_run_again_after_a_dry_run_and_stop_midway(server: Server, tab: Tab):
    cancelled(server, 3214, queue="many")
    changes: list[dict[str, Any]] = []
    tab.page.on(
        "request",
        lambda request: (
            changes.append(json.loads(request.post_data)) if request.url.endswith("jobs:retry") else None
        ),
    )
    tab.go("jobs?q=" + urllib.parse.quote("status:cancelled queue:many"))
    expect(rows(tab)).to_have_count(50)
    tab.page.keyboard.press("j")
    expect(rows(tab).nth(0)).to_be_focused()
    tab.page.keyboard.press("x")
    tab.page.get_by_role("button", name="Select all in the filter").press("Enter")
    expect(tab.page.get_by_role("toolbar")).to_contain_text("All in the filter")
    tab.page.keyboard.press("r")
    dialog = tab.page.get_by_role("dialog")
    expect(dialog.locator("[data-bulk=count]")).to_contain_text(
        "3,214 jobs will run again at 200/s, about 17 s"
    )
    assert [each.get("force", False) for each in changes] == [False], "more than a count was asked for"
    assert waiting(server, "many") == 0
    go = dialog.get_by_role("button", name="Retry", exact=True)
    confirm = dialog.locator("[data-bulk=confirm]")
    expect(confirm).to_be_focused()
    for wrong in ("", "321", "32140"):
        confirm.fill(wrong)
        expect(go).to_be_disabled()
    confirm.fill("3,214")
    tab.page.keyboard.press("Enter")
    expect(dialog.get_by_role("progressbar")).to_be_visible()
    expect(dialog.locator(".bulk-progress b")).to_have_text(re.compile(r"^[1-9][\d,]* of 3,214$"))
    dialog.get_by_role("button", name="Stop it").click()
    expect(dialog).to_contain_text("Stopped.", timeout=20_000)
    asked = changes[-1]
    assert (asked["force"], asked["per_second"], asked["expected"]) == (True, 200, 3214)
    assert asked["filter"] == {"queue": "many", "status": ["CANCELLED"]}
    said = dialog.locator(".bulk-progress b").text_content() or ""
    changed = int(said.split(" of ")[0].replace(",", ""))
    assert 0 < changed < 3214
    assert waiting(server, "many") == changed
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    # The focus is not lost with the dialog and the selection.
    assert tab.page.evaluate("document.activeElement !== document.body")
    tab.go("operations")
    expect(tab.row("RetryJobs").first).to_contain_text(f"{changed:,} of 3,214")
    tab.go("audit")
    expect(tab.row("CancelOperation").first).to_contain_text("done")
    expect(tab.row("RetryJobs").first).to_contain_text("many")


def test_what_has_changed_since_the_count_is_counted_anew(server: Server, tab: Tab):
    tab.expected.add("409")
    cancelled(server, 10, queue="moving")
    tab.go("jobs?q=" + urllib.parse.quote("status:cancelled queue:moving"))
    expect(rows(tab)).to_have_count(10)
    rows(tab).first.get_by_role("checkbox").check()
    tab.page.get_by_role("button", name="Select all in the filter").click()
    tab.page.get_by_role("button", name="Delete…").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog.locator("[data-bulk=count]")).to_contain_text("10 jobs")
    cancelled(server, 10, queue="moving")
    dialog.locator("[data-bulk=confirm]").fill("10")
    tab.page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("FILTER_CHANGED")
    expect(dialog.locator("[data-bulk=count]")).to_contain_text("20 jobs")
    expect(dialog.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    assert len(server.call("GET", "/v1/jobs?queue=moving")["jobs"]) == 20


def waiting(server: Server, queue: str) -> int:
    """How many jobs of a queue wait."""
    listed = server.call("GET", f"/v1/jobs?queue={queue}&status=QUEUED&page_size=1000")
    count = len(listed["jobs"])
    while listed["next_page_token"]:
        token = urllib.parse.quote(listed["next_page_token"])
        listed = server.call("GET", f"/v1/jobs?queue={queue}&status=QUEUED&page_size=1000&page_token={token}")
        count += len(listed["jobs"])
    return count


def test_selected_jobs_are_cancelled_with_a_reason(server: Server, tab: Tab):
    ids = batch(server, [{"kind": "works", "queue": "few"} for _ in range(4)])
    tab.go("jobs?q=queue:few")
    expect(rows(tab)).to_have_count(4)
    for index in (0, 1):
        rows(tab).nth(index).get_by_role("checkbox").check()
    tab.page.get_by_role("button", name="Cancel…").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 jobs will be cancelled")
    dialog.get_by_label("Reason").fill("sent by hand")
    dialog.locator("[data-bulk=confirm]").fill("2")
    dialog.get_by_role("button", name="Cancel them").click()
    expect(dialog).to_contain_text("Done. 2 were changed.")
    dialog.get_by_role("button", name="Close").click()
    for id, status in zip(ids, ["queued", "queued", "cancelled", "cancelled"], strict=True):
        expect(tab.page.locator(f"tr[data-id='{id}']")).to_contain_text(status)


def test_jobs_run_again_in_another_queue_and_spread_over_a_time(server: Server, tab: Tab):
    cancelled(server, 20, queue="crowded")
    enqueued(server, "works", queue="roomy")
    tab.go("jobs?q=" + urllib.parse.quote("status:cancelled queue:crowded"))
    rows(tab).first.get_by_role("checkbox").check()
    tab.page.get_by_role("button", name="Select all in the filter").click()
    tab.page.get_by_role("button", name="Retry…").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog.locator("[data-bulk=count]")).to_contain_text("20 jobs will run again")
    dialog.locator("[data-bulk=confirm]").fill("20")
    go = dialog.get_by_role("button", name="Retry", exact=True)
    dialog.get_by_label("Spread").fill("soon")
    expect(dialog).to_contain_text("It is a time such as 90s or 1h30m")
    expect(go).to_be_disabled()
    dialog.get_by_label("Spread").fill("1h")
    # What the server refuses is said, and nothing is lost of what was typed.
    tab.expected.add("404")
    dialog.get_by_label("In the queue").fill("no-such-queue")
    go.click()
    expect(dialog.get_by_role("alert")).to_contain_text("QUEUE_NOT_FOUND")
    dialog.get_by_label("In the queue").fill("roomy")
    go.click()
    expect(dialog).to_contain_text("Done. 20 were changed.")
    moved = server.call("GET", "/v1/jobs?queue=roomy&page_size=100")["jobs"]
    assert len(moved) == 21
    starts = sorted(job["run_at"] for job in moved)
    assert starts[0][:13] != starts[-1][:13] or starts[0][14:16] != starts[-1][14:16], "they are not spread"
    assert server.call("GET", "/v1/jobs?queue=crowded")["jobs"] == []


def test_jobs_that_wait_are_changed_after_a_dry_run(server: Server, tab: Tab):
    ids = batch(server, [{"kind": "works", "queue": "slow-lane"} for _ in range(5)])
    enqueued(server, "works", queue="fast-lane")
    changes: list[dict[str, Any]] = []
    tab.page.on(
        "request",
        lambda request: (
            changes.append(json.loads(request.post_data)) if request.url.endswith("jobs:update") else None
        ),
    )
    tab.go("jobs?q=" + urllib.parse.quote("status:waiting queue:slow-lane"))
    expect(rows(tab)).to_have_count(5)
    rows(tab).first.get_by_role("checkbox").check()
    tab.page.get_by_role("button", name="Select all in the filter").click()
    tab.page.get_by_role("button", name="Change…").click()
    dialog = tab.page.get_by_role("dialog")
    counting = dialog.get_by_role("button", name="Count them")
    # Nothing is counted before it is said what is to change.
    expect(counting).to_be_disabled()
    expect(dialog.get_by_label("Priority")).to_be_focused()
    dialog.get_by_label("Priority").fill("12")
    expect(dialog).to_contain_text("It is a whole number from -10 to 10.")
    dialog.get_by_label("Priority").fill("7")
    dialog.get_by_label("Start", exact=False).first.fill("10m")
    dialog.get_by_label("In the queue").fill("fast-lane")
    counting.click()
    expect(dialog.locator("[data-bulk=count]")).to_contain_text(
        "5 jobs will be changed: priority 7, start 10m, in the queue fast-lane. Nothing has changed yet."
    )
    assert [each.get("force", False) for each in changes] == [False]
    assert all(server.call("GET", f"/v1/jobs/{id}").get("priority", 0) == 0 for id in ids)
    dialog.locator("[data-bulk=confirm]").fill("5")
    dialog.get_by_role("button", name="Change them").click()
    expect(dialog).to_contain_text("Done. 5 were changed.")
    for id in ids:
        job = server.call("GET", f"/v1/jobs/{id}")
        assert (job["priority"], job["queue"]) == (7, "fast-lane")
        assert job["run_at"] > job["updated_at"]
    dialog.get_by_role("button", name="Close").click()
    tab.go("audit")
    expect(tab.row("UpdateJobs").first).to_contain_text("slow-lane")


def test_without_a_filter_all_can_not_be_selected(server: Server, tab: Tab):
    enqueued(server, "works", queue="any")
    tab.go("jobs")
    rows(tab).first.get_by_role("checkbox").check()
    expect(tab.page.get_by_role("toolbar")).to_contain_text("To select all, choose a filter first")
    expect(tab.page.get_by_role("button", name="Select all in the filter")).to_have_count(0)


def test_dead_jobs_are_grouped_by_cause_and_a_group_runs_again(server: Server, tab: Tab):
    worker = JobWorker(server, "causes")
    try:
        for _ in range(3):
            enqueued(server, "fails", queue="causes", max_attempts=1)
        last = enqueued(server, "fails", '{"seconds": 0.3}', queue="causes", max_attempts=1)
        server.call("GET", f"/v1/jobs/{last}:wait?timeout=30s")
        tab.go("dead")
        expect(tab.page.locator("[data-dead=looked]")).to_contain_text(
            re.compile(r"All \d+ failed jobs were looked at")
        )
        group = tab.row("causes")
        expect(group).to_contain_text("ATTEMPTS_EXHAUSTED")
        expect(group).to_contain_text("ValueError no such customer")
        group.get_by_role("button", name="Retry").click()
        dialog = tab.page.get_by_role("dialog")
        expect(dialog).to_contain_text(
            "Failed jobs of the queue causes and the kind fails that ended by ATTEMPTS_EXHAUSTED with ValueError"
        )
        expect(dialog).to_contain_text("4 jobs will run again")
        dialog.locator("[data-bulk=confirm]").fill("4")
        dialog.get_by_role("button", name="Retry", exact=True).click()
        expect(dialog).to_contain_text("Done. 4 were changed.")
        assert server.call("GET", f"/v1/jobs/{last}:wait?timeout=30s")["attempts"] == 2
    finally:
        worker.kill()


def test_an_empty_list_says_what_to_do(server: Server, tab: Tab):
    tab.go("jobs?q=queue:nothing-here")
    expect(tab.page.get_by_role("heading", name="No job fits the filter")).to_be_visible()


def test_a_page_without_a_job_goes_on_by_itself_until_one_comes(server: Server, tab: Tab):
    job, _ = batch(server, [{"kind": "works", "queue": "rare"} for _ in range(2)])
    token = server.call("GET", "/v1/jobs?queue=rare&page_size=1")["next_page_token"]
    asked = 0

    def unfinished(route: Any) -> None:
        """As a server answers whose time is over: nothing yet, and where it goes on."""
        nonlocal asked
        asked += 1
        if asked <= 20:
            route.fulfill(json={"jobs": [], "next_page_token": token})
        else:
            route.continue_()

    tab.page.route(re.compile(r"/v1/jobs\?.*queue=rare"), unfinished)
    tab.go("jobs?q=queue:rare")
    expect(tab.page.locator(f"tr[data-id='{job}']")).to_be_visible()
    assert asked > 20
    assert not tab.page.get_by_text("Looking further back").count()
