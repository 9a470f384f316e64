"""Who sees which button on the pages of jobs, and what the server answers to who has none."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Cluster

from .conftest import Tab
from .driver import expect
from .jobs import JobWorker, ended, enqueued
from .servers import Server, first_key

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

#: All that changes something, by what their buttons say.
ACTIONS = ("Retry", "Cancel", "Delete", "Release", "Enqueue a copy", "Stop", "Select all")


class Guarded:
    """A server that asks for keys, with a job of each sort and an operation that goes on."""

    def __init__(self, dsn: str) -> None:
        self.ops = first_key(dsn)
        self.server = Server(dsn, auth="keys")
        self.reader = self._key("READ")
        self.partly = self._key("READ", "OPERATE", queues=["mail"])
        worker = JobWorker(self.server, "mail", token=self.ops)
        self.failed = enqueued(
            self.server, "fails", '{"card": "4111"}', key=self.ops, queue="mail", max_attempts=1
        )
        ended(self.server, self.failed, key=self.ops)
        worker.kill()
        self.held = enqueued(self.server, "works", key=self.ops, queue="mail", hold=True)
        self.other = enqueued(self.server, "works", key=self.ops, queue="news")

    def _key(self, *permissions: str, queues: list[str] | None = None) -> str:
        grant = {"permissions": [*permissions], "queues": queues or ["*"]}
        return str(
            self.server.call("POST", "/v1/keys", {"name": "some", "grants": [grant]}, self.ops)["secret"]
        )


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, template: str) -> Iterator[Guarded]:
    name = cluster.create(template)
    guarded = Guarded(cluster.dsn_of(name))
    yield guarded
    guarded.server.kill()
    cluster.drop(name)


@pytest.fixture
def signed_in(guarded: Guarded, open_tab: Callable[..., Tab]) -> Callable[[str, str], Tab]:
    """Opens a place with a key."""

    def opened(key: str, place: str) -> Tab:
        tab = open_tab(guarded.server)
        tab.page.add_init_script(f"sessionStorage.setItem('jobqueue.key', '{key}')")
        tab.go(place)
        expect(tab.page.locator("main h1")).to_be_visible()
        expect(tab.page.locator("main .loading")).to_have_count(0)
        return tab

    return opened


@pytest.mark.parametrize("place", ["jobs", "jobs/failed", "jobs/held", "dead", "operations"])
def test_a_reader_sees_no_button(guarded: Guarded, signed_in: Callable[[str, str], Tab], place: str):
    where = {"jobs/failed": f"jobs/{guarded.failed}", "jobs/held": f"jobs/{guarded.held}"}.get(place, place)
    tab = signed_in(guarded.reader, where)
    expect(tab.page.get_by_text("read only", exact=True)).to_be_visible()
    for verb in ACTIONS:
        expect(tab.page.locator("main").get_by_role("button", name=verb)).to_have_count(0)
    expect(tab.page.locator("main").get_by_role("checkbox")).to_have_count(0)
    # Keys do no more than buttons.
    tab.page.keyboard.press("r")
    tab.page.keyboard.press("c")
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    assert guarded.server.call("GET", f"/v1/jobs/{guarded.held}", key=guarded.ops)["status"] == "QUEUED"
    assert guarded.server.call("GET", f"/v1/jobs/{guarded.failed}", key=guarded.ops)["attempts"] == 1


def test_an_operator_of_one_queue_sees_the_buttons_of_its_jobs_alone(
    guarded: Guarded, signed_in: Callable[[str, str], Tab]
):
    tab = signed_in(guarded.partly, f"jobs/{guarded.held}")
    expect(tab.page.get_by_role("button", name="Release")).to_be_visible()
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_visible()
    # To enqueue takes ENQUEUE.
    expect(tab.page.get_by_role("button", name="Enqueue a copy")).to_have_count(0)
    tab = signed_in(guarded.partly, f"jobs/{guarded.failed}")
    expect(tab.page.get_by_role("button", name="Retry")).to_be_visible()


def test_what_a_reader_posts_by_hand_is_refused(guarded: Guarded):
    for path in (f"/v1/jobs/{guarded.held}:cancel", f"/v1/jobs/{guarded.failed}:retry", "/v1/jobs:retry"):
        body = {"filter": {"queue": "mail"}, "force": True} if path == "/v1/jobs:retry" else {}
        with pytest.raises(urllib.error.HTTPError) as refused:
            guarded.server.call("POST", path, body, guarded.reader)
        assert refused.value.code == 403
        assert b"NOT_ALLOWED" in refused.value.read()


def test_a_payload_that_may_not_be_seen_is_not_shown_and_the_page_says_so(
    guarded: Guarded, signed_in: Callable[[str, str], Tab]
):
    tab = signed_in(guarded.reader, f"jobs/{guarded.failed}")
    expect(tab.page.get_by_text("the key does not permit payloads")).to_be_visible()
    expect(tab.page.locator("main")).not_to_contain_text("4111")
    expect(tab.page.locator("main")).not_to_contain_text("no such customer")


def test_the_audit_log_is_for_administrators_alone(guarded: Guarded, signed_in: Callable[[str, str], Tab]):
    tab = signed_in(guarded.reader, "audit")
    expect(tab.page.get_by_text("The audit log is for administrators")).to_be_visible()
    expect(tab.page.get_by_role("link", name="Audit")).to_have_count(0)
    tab = signed_in(guarded.ops, "audit")
    expect(tab.row("CreateKey").first).to_be_visible()
    tab.page.get_by_label("Action").fill("CreateKey")
    tab.page.get_by_role("button", name="Show").click()
    expect(tab.row("CreateKey")).to_have_count(2)
    assert "action=CreateKey" in tab.page.url
