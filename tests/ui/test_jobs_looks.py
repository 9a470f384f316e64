"""The pages of jobs for those who use no mouse, a reader of screens, a small screen or a dark one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Cluster

from .conftest import Tab
from .driver import Axe, expect
from .jobs import JobWorker, batch, ended, enqueued, serving
from .servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


class Seeded:
    """A server with jobs of each sort."""

    def __init__(self, server: Server) -> None:
        self.server = server
        worker = JobWorker(server, "mail")
        self.failed = enqueued(
            server, "fails", '{"deep": {"er": [1, null]}}', queue="mail", max_attempts=2,
            retry_policy={"min_backoff": "0.1s", "max_backoff": "0.1s"}, labels={"tenant": "7"},
        )  # fmt: skip
        self.done = enqueued(server, "works", '{"a": "b"}', queue="mail")
        ended(server, self.failed, self.done)
        self.running = enqueued(server, "reports", queue="mail")
        self.waiting = enqueued(server, "works", queue="nobody")
        batch(server, [{"kind": "works", "queue": "spare"} for _ in range(3)])
        body = {"filter": {"queue": "spare"}, "force": True, "max_jobs": 1}
        name = server.call("POST", "/v1/jobs:cancel", body)["name"]
        server.call("GET", f"/v1/{name}:wait?timeout=30s")
        self.worker = worker


@pytest.fixture(scope="module")
def seeded(cluster: Cluster, template: str) -> Iterator[Seeded]:
    with serving(cluster, template) as server:
        seeded = Seeded(server)
        yield seeded
        seeded.worker.kill()


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 375),
        pytest.param("light", 375, marks=pytest.mark.long),
        pytest.param("dark", 1280, marks=pytest.mark.long),
    ],
)
def test_no_page_breaks_a_rule_of_accessibility(
    seeded: Seeded, open_tab: Callable[..., Tab], scheme: str, width: int
):
    tab = open_tab(seeded.server, color_scheme=scheme, viewport={"width": width, "height": 800})
    places = [
        "jobs", "jobs?q=queue:mail%20kind:x*", "jobs?q=queue:none", f"jobs/{seeded.failed}", f"jobs/{seeded.done}",
        f"jobs/{seeded.running}", f"jobs/{seeded.waiting}", "dead", "operations", "audit",
    ]  # fmt: skip
    broken: dict[str, object] = {}
    for place in places:
        tab.go(place)
        expect(tab.page.locator("main h1")).to_be_visible()
        expect(tab.page.locator("main .loading")).to_have_count(0)
        if "/" in place:
            tab.page.get_by_text("As curl").click()
        found = Axe().run(tab.page).response["violations"]
        if found:
            broken[place] = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found]
        # Nothing but tables is wider than the screen.
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
    tab.go("jobs?q=queue:mail")
    tab.page.locator("main tbody").get_by_role("checkbox").first.check()
    for button in ("Retry…", "Change…", "Cancel…"):
        tab.page.get_by_role("button", name=button).click()
        expect(tab.page.get_by_role("dialog").get_by_role("button").last).to_be_visible()
        if found := Axe().run(tab.page).response["violations"]:
            broken[button] = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found]
        tab.page.keyboard.press("Escape")
    assert broken == {}


def test_jobs_are_found_opened_and_changed_without_a_mouse(seeded: Seeded, open_tab: Callable[..., Tab]):
    tab = open_tab(seeded.server)
    press = tab.page.keyboard.press
    tab.go("")
    expect(tab.page.locator("main h1")).to_be_visible()
    press("g")
    press("j")
    tab.heading("Jobs")
    expect(tab.page.locator("main tbody tr").first).to_be_visible()
    press("/")
    tab.page.keyboard.type("status:failed ")
    press("Enter")
    expect(tab.page.locator("main tbody tr")).to_have_count(1)
    press("Escape")
    press("j")
    expect(tab.page.locator("main tbody tr").first).to_be_focused()
    press("Enter")
    tab.heading("fails")
    press("Escape")
    tab.heading("Jobs")
    expect(tab.page.locator("main tbody tr")).to_have_count(1)
    press("j")
    expect(tab.page.locator("main tbody tr").first).to_be_focused()
    press("x")
    press("r")
    expect(tab.page.get_by_role("dialog")).to_contain_text("1 job will run again")
    press("Escape")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    # The focus is back in the row.
    expect(tab.page.locator("main tbody tr").first).to_be_focused()
    press("g")
    press("d")
    tab.heading("Dead jobs")
    expect(tab.row("fails")).to_be_visible()
    press("j")
    press("Enter")
    tab.heading("Jobs")


@pytest.mark.parametrize("place", ["jobs?q=queue:mail", "jobs/failed", "dead"])
def test_each_stop_of_the_tab_key_shows_that_it_has_the_focus(
    seeded: Seeded, open_tab: Callable[..., Tab], place: str
):
    tab = open_tab(seeded.server)
    tab.go(place.replace("failed", seeded.failed))
    expect(tab.page.locator("main h1")).to_be_visible()
    expect(tab.page.locator("main .loading")).to_have_count(0)
    seen = []
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        stop = tab.page.evaluate(
            """() => {
                const at = document.activeElement;
                if (!at || at === document.body) return null;
                const style = getComputedStyle(at), box = at.getBoundingClientRect();
                return {what: at.outerHTML.slice(0, 80), outline: style.outlineStyle, wide: box.width > 0};
            }"""
        )
        if stop is None:
            break
        seen.append(stop)
    assert len(seen) >= 12
    assert [stop["what"] for stop in seen if stop["outline"] == "none" or not stop["wide"]] == []
    # One stop for all rows of a table, however many there are.
    assert sum(stop["what"].startswith("<tr") for stop in seen) <= 1
