"""The site of the documents: it builds without a dead link, asks no other host, and can be read and searched."""

from __future__ import annotations

import contextlib
import http.server
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tools.site import links, llms
from tools.site.source import ROOT, adapted, pages

from . import driver
from .conftest import Tab

pytestmark = [pytest.mark.browser, pytest.mark.any_engine]

#: Where compilers and downloads keep what is to be used again.
OTHERS = ROOT / ".cache" / "of-others"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves as hosts of sites do: what is not there is the page 404.html."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("content-type", "text/html")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def html() -> Path:
    """The site, built beside a file that something else has made."""
    OTHERS.parent.mkdir(exist_ok=True)
    OTHERS.touch()
    done = subprocess.run([sys.executable, "-m", "tools.site"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "NO npm" in done.stderr:
        warnings.warn("npm is NOT on PATH: the diagrams of the site were NOT drawn", stacklevel=1)
    return ROOT / ".build/site/html"


def test_what_others_keep_in_the_checkout_stays(html: Path):
    assert OTHERS.is_file()
    OTHERS.unlink()


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    """Where it is served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(html))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_each_page_is_there_and_programs_find_its_text(html: Path):
    listed = (html / "llms.txt").read_text()
    for page in pages():
        folder = page.removesuffix("README.md") if page.endswith("README.md") else page.removesuffix(".md")
        assert (html / folder / "index.html").is_file(), page
        if not page.startswith("docs/decisions/0"):
            assert f"/{page})" in listed
            assert (html / page).read_text() == (ROOT / page).read_text()
    assert listed.startswith("# JobQueue\n\n> JobQueue keeps jobs in PostgreSQL and hands them to workers.")


@pytest.mark.timeout(180)
def test_it_is_read_searched_and_dark_without_a_request_that_leaves(
    html: Path, site: str, open_tab: Callable[..., Tab]
):
    tab: Any = open_tab(site, color_scheme="dark")
    page = tab.page
    page.goto(f"{site}/")
    driver.expect(page.locator("h1").first).to_contain_text("JobQueue")
    driver.expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    if (html / "assets/mermaid.min.js").exists():
        # The picture of the README is drawn, in the colours of the page.
        driver.expect(page.locator("pre.diagram svg").first).to_be_visible(timeout=30_000)
        driver.expect(page.locator("pre.diagram").first).to_have_attribute("data-drawn", "dark")

    page.keyboard.press("/")
    page.keyboard.type("JOBQUEUE_SESSION_TTL")
    driver.expect(page.get_by_text(re.compile(r"^\d+ results"))).to_be_visible(timeout=30_000)
    page.keyboard.press("Enter")
    page.wait_for_url("**/docs/**")

    tab.expected.add("404")
    page.goto(f"{site}/docs/nothing-of-this-name/")
    driver.expect(page.locator("h1")).to_contain_text("404")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("```python greet.py\nx\n```\n", '```python title="greet.py"\nx\n```\n'),
        (
            "- one\n  goes on\n  - two\n\nno item\n  stays\n",
            "- one\n    goes on\n    - two\n\nno item\n  stays\n",
        ),
        ("- one\n\n  ```sh\n  x\n  ```\n", "- one\n\n    ```sh\n    x\n    ```\n"),
        ("```text\n- one\n  two\n```\n  three\n", "```text\n- one\n  two\n```\n  three\n"),
    ],
)
def test_a_page_is_written_as_the_builder_reads_it(given: str, wanted: str):
    assert adapted(given) == wanted


def test_a_dead_link_and_a_file_of_another_host_are_named(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/index.html").write_text('<h1 id="there">x</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="a/#there">1</a><a href="a/#gone">2</a><a href="b/">3</a><a href="https://example.com/">4</a>'
        '<script src="https://example.com/x.js"></script><link rel="canonical" href="https://example.com/">'
    )
    assert list(links.wrong(tmp_path)) == [
        "index.html: a/#gone leads nowhere",
        "index.html: b/ leads nowhere",
        "index.html: https://example.com/x.js would be asked of another host",
    ]


def test_a_list_of_pages_is_read_whatever_it_holds():
    nav = [{"One": ["a.md", {"Within": ["b.md"]}]}, {"Two": "c.md"}]
    assert list(llms.sections(nav)) == [("One", ["a.md", "b.md"]), ("Two", ["c.md"])]
