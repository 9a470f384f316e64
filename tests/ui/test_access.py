"""Who may come in, and what is shown to whom: the page hides what the server refuses, which it does anyway."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Cluster

from .conftest import Tab
from .driver import expect
from .servers import Server, first_key

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


class Guarded:
    """A server that asks for keys, with one of an operator and one of a reader."""

    def __init__(self, dsn: str) -> None:
        self.ops = first_key(dsn)
        self.server = Server(dsn, auth="keys")
        body = {"name": "viewer", "grants": [{"permissions": ["READ"], "queues": ["*"]}]}
        self.reader: str = self.server.call("POST", "/v1/keys", body, self.ops)["secret"]
        job = {"kind": "hello", "queue": "mail"}
        self.server.call("POST", "/v1/jobs", job, self.ops)
        spec = {"name": "nightly", "spec": {"cron": ["0 3 * * *"]}, "job": job}
        self.server.call("POST", "/v1/schedules", spec, self.ops)


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, template: str) -> Iterator[Guarded]:
    database = cluster.create(template)
    guarded = Guarded(cluster.dsn_of(database))
    yield guarded
    guarded.server.kill()
    cluster.drop(database)


def sign_in(tab: Tab, key: str, place: str = "queues") -> None:
    tab.expected.add("401")
    tab.go(place)
    tab.page.get_by_label("API key or token").fill(key)
    tab.page.get_by_role("button", name="Sign in").click()


def test_a_wrong_key_asks_again_and_says_why(guarded: Guarded, open_tab: Callable[..., Tab]):
    tab = open_tab(guarded.server)
    sign_in(tab, "jq_0123456789_nonsense")
    expect(tab.page.get_by_role("alert")).to_contain_text("The server refused the key")
    tab.page.get_by_label("API key or token").fill(guarded.ops)
    tab.page.keyboard.press("Enter")
    # Where the reader wanted to go.
    tab.heading("Queues")
    expect(tab.row("mail")).to_be_visible()


def test_a_key_is_kept_in_its_tab_alone(guarded: Guarded, open_tab: Callable[..., Tab]):
    tab = open_tab(guarded.server)
    sign_in(tab, guarded.ops)
    expect(tab.row("mail")).to_be_visible()
    tab.page.reload()
    expect(tab.row("mail")).to_be_visible()
    kept = "() => JSON.stringify([{...localStorage}, document.cookie, location.href])"
    assert guarded.ops not in tab.page.evaluate(kept)
    assert "jobqueue.key" in tab.page.evaluate("() => Object.keys(sessionStorage)")
    # Another tab of the same browser asks anew.
    other = tab.page.context.new_page()
    other.goto(f"{guarded.server.url}/ui/queues")
    expect(other.get_by_label("API key or token")).to_be_visible()
    tab.page.get_by_role("button", name="Sign out").click()
    expect(tab.page.get_by_label("API key or token")).to_be_visible()


@pytest.mark.parametrize("place", ["queues", "queues/mail", "schedules", "schedules/nightly", "workers"])
def test_a_reader_sees_no_button_that_changes_something(
    guarded: Guarded, open_tab: Callable[..., Tab], place: str
):
    tab = open_tab(guarded.server)
    tab.expected |= {"403", "404", "501"}
    sign_in(tab, guarded.reader, place)
    expect(tab.page.get_by_text("read only", exact=True)).to_be_visible()
    expect(tab.page.locator("main .loading")).to_have_count(0)
    for verb in ("Pause", "Resume", "Run now", "Drain"):
        expect(tab.page.get_by_role("button", name=verb)).to_have_count(0)


def test_an_operator_sees_them(guarded: Guarded, open_tab: Callable[..., Tab]):
    tab = open_tab(guarded.server)
    sign_in(tab, guarded.ops)
    expect(tab.page.get_by_role("button", name="Pause")).to_be_visible()


def test_what_a_reader_posts_by_hand_is_refused_by_the_server(guarded: Guarded):
    with pytest.raises(urllib.error.HTTPError) as refused:
        guarded.server.call("POST", "/v1/queues/mail:pause", {}, guarded.reader)
    assert refused.value.code == 403
    assert b"NOT_ALLOWED" in refused.value.read()


@pytest.fixture
def wall(dsn: str) -> Iterator[Server]:
    """A server whose page is for a screen on a wall."""
    server = Server(dsn, ui="read-only")
    yield server
    server.kill()


def test_a_read_only_page_has_no_buttons_for_whoever_comes(wall: Server, open_tab: Callable[..., Tab]):
    wall.enqueue("hello", "mail")
    tab = open_tab(wall)
    tab.go("queues")
    expect(tab.row("mail")).to_be_visible()
    expect(tab.page.get_by_text("read only", exact=True)).to_be_visible()
    expect(tab.page.locator("main").get_by_role("button", name="Pause")).to_have_count(0)
