"""What is wrong with links of a site: those that lead nowhere, and files that a page would take from another host."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

#: By which a browser takes a file without being asked; a link of `a` is followed by a reader alone.
_TAKEN = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "video": "src"}
#: A link that is no file: it says where else a page is.
_SAID = {"canonical", "alternate", "next", "prev", "preconnect", "edit"}


class _Page(HTMLParser):
    """What a page has: its anchors, and what it points to."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.taken: list[str] = []
        self.preconnected: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        rel = set(given.get("rel", "").split())
        if tag == "link" and "preconnect" in rel:
            self.preconnected.append(given.get("href", ""))
        if tag in _TAKEN and given.get(_TAKEN[tag]) and not rel & _SAID:
            self.taken.append(given[_TAKEN[tag]])


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page


def wrong(html: Path) -> Iterator[str]:
    """A line for each link that is."""
    for path in sorted(html.rglob("*.html")):
        name, page = path.relative_to(html).as_posix(), _read(path)
        for link in (*page.links, *page.taken):
            if not urlsplit(link).scheme and not link.startswith("//") and not _leads(html, path, link):
                yield f"{name}: {link} leads nowhere"
        for link in (*page.taken, *page.preconnected):
            if urlsplit(link).netloc:
                yield f"{name}: {link} would be asked of another host"


def _leads(html: Path, path: Path, link: str) -> bool:
    """Whether there is a file, and the heading in it."""
    target, anchor = urldefrag(link)
    target = unquote(target)
    if target.startswith("/"):
        there = html / target.lstrip("/")
    else:
        there = (path.parent / target) if target else path
    if there.is_dir():
        there /= "index.html"
    if not there.is_file():
        return False
    return not anchor or there.suffix != ".html" or unquote(anchor) in _read(there).anchors
