"""The frame of the page: links, the keyboard, colours, the connection, and places below a proxy's path."""

from __future__ import annotations

import http.client
import re
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from .conftest import Tab
from .driver import expect
from .jobs import enqueued
from .servers import Server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def test_a_place_is_the_same_after_a_reload_and_by_its_link(server: Server, tab: Tab):
    server.enqueue("hello", "reload-mail")
    server.enqueue("hello", "stay-news")
    tab.go("queues?name=reload")
    expect(tab.row("reload-mail")).to_be_visible()
    expect(tab.row("stay-news")).to_have_count(0)
    tab.page.reload()
    expect(tab.page.get_by_label("Name")).to_have_value("reload")
    tab.page.get_by_role("link", name="reload-mail").click()
    tab.heading("reload-mail")
    assert tab.page.url.endswith("/ui/queues/reload-mail")
    tab.page.reload()
    tab.heading("reload-mail")
    tab.page.go_back()
    tab.heading("Queues")
    expect(tab.page.get_by_label("Name")).to_have_value("reload")


def test_what_is_filtered_is_in_the_address(tab: Tab, server: Server):
    server.enqueue("hello", "filtered")
    tab.go("queues")
    tab.page.get_by_label("Name").fill("zzz")
    expect(tab.page.get_by_text("No queue's name begins with zzz")).to_be_visible()
    assert tab.page.url.endswith("?name=zzz")


def test_a_queue_is_paused_with_a_reason_and_resumed_in_place(server: Server, tab: Tab):
    server.enqueue("hello", "held", 12)
    tab.go("queues?name=held")
    tab.page.get_by_role("button", name="Pause").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("deploy")
    dialog.get_by_role("button", name="Pause").click()
    expect(tab.page.get_by_role("status").filter(has_text="held is paused")).to_be_visible()
    expect(tab.row("held")).to_contain_text("paused")
    job = server.call("GET", "/v1/jobs?queue=held&page_size=1")["jobs"][0]["id"]
    explained = server.call("GET", f"/v1/jobs/{job}:explain")
    assert "QUEUE_PAUSED" in str(explained)
    assert "deploy" in str(explained)
    tab.page.get_by_role("button", name="Resume").click()
    expect(tab.row("held")).to_contain_text("open")


def test_the_whole_page_goes_by_keyboard_and_shows_where_the_focus_is(server: Server, tab: Tab):
    server.enqueue("hello", "walk-a")
    server.enqueue("hello", "walk-b")
    tab.go("")
    press = tab.page.keyboard.press
    expect(tab.page.get_by_role("navigation")).to_be_visible()
    for letter, heading in {
        "k": "Kinds",
        "w": "Workers",
        "s": "Schedules",
        "e": "Servers",
        "q": "Queues",
    }.items():
        press("g")
        press(letter)
        tab.heading(heading)
    tab.page.get_by_label("Name").fill("walk-")
    tab.page.get_by_label("Name").blur()
    expect(tab.row("walk-b")).to_be_visible()
    press("j")
    press("j")
    expect(tab.row("walk-b")).to_be_focused()
    press("Enter")
    tab.heading("walk-b")
    press("Escape")
    tab.heading("Queues")
    press("/")
    expect(tab.page.get_by_label("Name")).to_be_focused()
    # In a field a letter is a letter.
    press("g")
    press("k")
    expect(tab.page.get_by_label("Name")).to_have_value("walk-gk")
    tab.page.get_by_label("Name").blur()
    press("?")
    expect(tab.page.get_by_role("dialog")).to_contain_text("go to overview")
    press("Escape")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    tab.go("queues?name=walk-")
    expect(tab.row("walk-a")).to_be_visible()
    seen = set()
    outline = (
        "() => { const e = document.activeElement;"
        " return [e.outerHTML.slice(0, 80), getComputedStyle(e).outlineStyle]; }"
    )
    for _ in range(24):
        press("Tab")
        where, style = tab.page.evaluate(outline)
        if where.startswith("<body"):
            break
        assert style not in ("none", ""), where
        seen.add(where)
    assert len(seen) >= 12


def test_the_palette_goes_to_what_is_typed_from_everywhere(server: Server, tab: Tab):
    server.enqueue("hello", "palette-mail")
    server.call("PUT", "/v1/kinds/palette-kind", {"timeout": "60s"})
    job = server.call("GET", "/v1/jobs?queue=palette-mail")["jobs"][0]["id"]
    tab.go("queues?name=palette")
    expect(tab.row("palette-mail")).to_be_visible()
    press = tab.page.keyboard.press

    def goes(typed: str, heading: str, place: str) -> None:
        press("Control+k")
        expect(tab.page.get_by_role("dialog").get_by_role("combobox")).to_be_focused()
        tab.page.keyboard.type(typed)
        expect(tab.page.get_by_role("dialog").get_by_role("option").first).to_contain_text(typed)
        press("Enter")
        expect(tab.page.get_by_role("dialog")).to_have_count(0)
        tab.heading(heading)
        assert tab.page.url.endswith(place), tab.page.url
        # A reader of screens goes on at the heading.
        expect(tab.page.locator("h1")).to_be_focused()

    # Also from a field, where a letter alone is a letter.
    tab.page.get_by_label("Name").focus()
    goes("palette-mail", "palette-mail", "/ui/queues/palette-mail")
    goes("palette-kind", "Kinds", "/ui/kinds?name=palette-kind")
    goes("servers", "Servers", "/ui/servers")
    goes(job, "hello", f"/ui/jobs/{job}")
    goes("queue:palette-mail", "Jobs", "/ui/jobs?q=queue%3Apalette-mail")
    press("Control+k")
    expect(tab.page.get_by_role("dialog").get_by_role("option", name="overview")).to_have_attribute(
        "aria-selected", "true"
    )
    press("ArrowDown")
    expect(tab.page.get_by_role("option", name="queues", exact=False).first).to_have_attribute(
        "aria-selected", "true"
    )
    tab.page.keyboard.type("no such thing")
    expect(tab.page.get_by_role("dialog")).to_contain_text("Nothing is called so.")
    press("Escape")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)


def test_single_letters_can_be_turned_off(tab: Tab):
    tab.go("settings")
    tab.page.get_by_label("Turn keys of a single letter off").check()
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("q")
    tab.heading("Settings")
    expect(tab.page.get_by_label("Turn keys of a single letter off")).to_be_checked()


def test_the_scheme_is_that_of_the_system_and_one_that_is_chosen_stays(
    server: Server, open_tab: Callable[..., Tab]
):
    tab = open_tab(server, color_scheme="dark")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    tab.go("settings")
    tab.heading("Settings")
    dark = tab.page.evaluate(ground)
    tab.page.get_by_label("Colours").select_option("light")
    light = tab.page.evaluate(ground)
    assert light != dark
    tab.page.reload()
    tab.heading("Settings")
    assert tab.page.evaluate(ground) == light


def test_a_server_that_stops_is_said_and_one_that_comes_back_needs_no_reload(
    dsn: str, open_tab: Callable[..., Tab]
):
    server, beside = Server(dsn), Server(dsn)
    tab = open_tab(server)
    tab.expected |= {"away", "404", "503"}
    job = enqueued(beside, "hello", queue="mail")
    beside.call("POST", f"/v1/jobs/{job}:cancel", {})
    # A job that has ended is read once. Pages that read again and again would be right soon by that alone.
    tab.go(f"jobs/{job}")
    status = tab.page.locator('[data-fact="Status"]')
    expect(status).to_contain_text("cancelled")
    server.kill()
    band = tab.page.get_by_text("No server, trying again.")
    expect(band).to_be_visible()
    expect(tab.page.locator("main.stale")).to_have_count(1)
    expect(status).to_be_visible()
    tab.page.evaluate("() => { window.sameDocument = true; }")
    beside.call("POST", f"/v1/jobs/{job}:retry", {})
    beside.kill()
    again = Server(dsn, http=urlsplit(server.url).netloc)
    try:
        expect(band).to_have_count(0)
        expect(status).to_contain_text("queued")
        assert tab.page.evaluate("() => window.sameDocument") is True
    finally:
        again.kill()


def test_a_server_that_hangs_is_said_within_seconds_and_goes_on_without_a_reload(
    dsn: str, open_tab: Callable[..., Tab]
):
    server = Server(dsn)
    tab = open_tab(server)
    tab.expected |= {"away"}
    band = tab.page.get_by_text("No answer from the server, trying again.")
    try:
        # This page reads nothing again: only a small question finds that nobody answers.
        tab.go("settings")
        tab.heading("Settings")
        expect(tab.page.locator("main")).to_contain_text("Every call, to try out")
        tab.page.evaluate("() => { window.sameDocument = true; }")
        server.process.send_signal(signal.SIGSTOP)
        expect(band).to_be_visible(timeout=30_000)
        said = tab.page.locator("main .band")
        expect(said).to_contain_text("It has said nothing since 2")
        # It counts from the last word, so what it says is that long.
        expect(said).to_contain_text(re.compile(r"What is shown is 1\d s old"))
        expect(tab.page.locator("main.stale")).to_have_count(1)
        server.process.send_signal(signal.SIGCONT)
        expect(band).to_have_count(0)
        assert tab.page.evaluate("() => window.sameDocument") is True
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.kill()


def test_a_server_that_has_little_to_say_counts_as_there(server: Server, tab: Tab):
    # Nothing but the small question goes out: neither the stream of the overview nor a page.
    tab.page.route("**/v1/**", lambda route: None)
    tab.go("settings")
    tab.heading("Settings")
    tab.page.wait_for_function(
        "() => performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/readyz')).length > 2",
        timeout=60_000,
    )
    expect(tab.page.get_by_text("No answer from the server")).to_have_count(0)


def test_on_a_phone_every_section_is_in_sight(server: Server, open_tab: Callable[..., Tab]):
    tab = open_tab(server, viewport={"width": 390, "height": 844})
    tab.go("settings")
    tab.heading("Settings")
    links = tab.page.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(links).to_have_count(11)
    for link in links.all():
        box = link.bounding_box()
        assert 0 <= box["x"] <= 390 - box["width"], link.inner_text()
        assert box["y"] + box["height"] < 160, link.inner_text()
    assert tab.page.evaluate(
        "() => document.querySelector('nav').scrollWidth <= document.querySelector('nav').clientWidth"
    )


class Prefix(BaseHTTPRequestHandler):
    """A proxy that has the server below /queue/, and cuts that off."""

    upstream = ""

    def _pass(self) -> None:
        if not self.path.startswith("/queue/"):
            self.send_error(404)
            return
        size = int(self.headers.get("content-length") or 0)
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        # With its Host: by that the server knows that a call is from its own page.
        connection.request(self.command, self.path[6:], self.rfile.read(size), dict(self.headers))
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        while part := answer.read1(65536):
            self.wfile.write(part)
            self.wfile.flush()

    do_GET = do_POST = _pass

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def proxied(server: Server) -> Iterator[str]:
    handler = type("Handler", (Prefix,), {"upstream": urlsplit(server.url).netloc})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_port}/queue"
    proxy.shutdown()
    proxy.server_close()


def test_it_works_below_the_path_of_a_proxy(server: Server, proxied: str, open_tab: Callable[..., Tab]):
    server.enqueue("hello", "behind")
    tab = open_tab(proxied)
    tab.go("queues/behind")
    tab.heading("behind")
    tab.page.get_by_role("link", name="Queues").click()
    tab.heading("Queues")
    expect(tab.row("behind")).to_be_visible()
    assert tab.page.url == f"{proxied}/ui/queues"


def test_a_place_that_is_not_there_says_so(tab: Tab):
    tab.expected.add("404")
    tab.go("nothing/here")
    tab.heading("Nothing here")
    tab.go("queues/never-used")
    tab.heading("never-used")
    expect(tab.page.locator("main")).to_contain_text("QUEUE_NOT_FOUND")
