"""Every page, in both schemes, on a desk and on a telephone: no rule of axe is broken, and nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from . import driver
from .conftest import Tab
from .driver import expect
from .servers import Server, WorkerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PAGES = {
    "": "Overview",
    "queues": "Queues",
    "queues/axe": "axe",
    "kinds?name=axe-kind": "Kinds",
    "jobs": "Jobs",
    "jobs?q=queue:axe": "Jobs",
    "dead": "Dead jobs",
    "operations": "Operations",
    "audit": "Audit",
    "workers": "Workers",
    "schedules": "Schedules",
    "schedules/axe-schedule": "axe-schedule",
    "servers": "Servers",
    "settings": "Settings",
    "nothing": "Nothing here",
}

#: Of these, test_jobs_looks.py holds each against axe.
OF_JOBS = {"jobs", "jobs?q=queue:axe", "dead", "operations", "audit"}


@pytest.fixture(scope="module")
def filled(server: Server) -> Iterator[Server]:
    """A server with something on each page."""
    server.call("PUT", "/v1/kinds/axe-kind", {"schema": {"type": "object"}, "timeout": "60s"})
    server.enqueue("axe-kind", "axe", 3, {"n": 1})
    server.call("POST", "/v1/queues/axe:pause", {"reason": "a look"})
    job = {"kind": "axe-kind", "queue": "axe", "payload": {"big": 1}}
    server.call(
        "POST", "/v1/schedules", {"name": "axe-schedule", "spec": {"cron": ["0 3 * * *"]}, "job": job}
    )
    worker = WorkerProcess(server.grpc, "axe-worker", kind="axe-kind", queues=("axe", "axe-busy"))
    server.enqueue("axe-kind", "axe-busy", 2, {"n": 1})
    yield server
    worker.kill()


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.long), 375])
def test_no_page_breaks_a_rule_of_axe_in_either_scheme(
    filled: Server, open_tab: Callable[..., Tab], width: int
):
    tab = open_tab(filled, viewport={"width": width, "height": 800})
    axe = driver.Axe()
    broken = {}
    for path, heading in PAGES.items():
        if path in OF_JOBS:
            continue
        tab.go(path)
        tab.heading(heading)
        expect(tab.page.locator("main .loading")).to_have_count(0)
        for scheme in ("dark", "light"):
            tab.page.emulate_media(color_scheme=scheme)
            found = axe.run(tab.page).response["violations"]
            if found:
                broken[scheme, path] = [
                    (each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found
                ]
    assert broken == {}


def test_dialogs_break_none_either(filled: Server, open_tab: Callable[..., Tab]):
    tab = open_tab(filled)
    tab.go("queues/axe-busy")
    tab.page.get_by_role("button", name="Pause").click()
    expect(tab.page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    assert driver.Axe().run(tab.page).response["violations"] == []
    tab.page.keyboard.press("Escape")
    # The focus is where it was.
    expect(tab.page.get_by_role("button", name="Pause")).to_be_focused()
    for opened in ("Control+k", "?"):
        tab.page.keyboard.press(opened)
        expect(tab.page.get_by_role("dialog")).to_be_visible()
        assert driver.Axe().run(tab.page).response["violations"] == [], opened
        tab.page.keyboard.press("Escape")
        expect(tab.page.get_by_role("dialog")).to_have_count(0)


def test_nothing_is_cut_off_on_a_narrow_screen(filled: Server, open_tab: Callable[..., Tab]):
    tab = open_tab(filled, viewport={"width": 320, "height": 640})
    for path, heading in PAGES.items():
        tab.go(path)
        tab.heading(heading)
        expect(tab.page.locator("main .loading")).to_have_count(0)
        wider = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert tab.page.evaluate(wider) <= 0, path
