"""The site for programs that read: `llms.txt`, a line for each page, and each page as the text that it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .source import ROOT

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def write(nav: list[Any], url: str, html: Path) -> None:
    """Writes the list, and the pages beside it.

    Args:
        nav: The order of the pages, as mkdocs.yml has it.
        url: Of the site.
        html: Its folder.
    """
    lines = ["# JobQueue", "", f"> {first_sentences((ROOT / 'README.md').read_text())}"]
    for section, pages in sections(nav):
        lines += ["", f"## {section}", ""]
        for page in pages:
            text = (ROOT / page).read_text()
            target = html / page
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            lines.append(f"- [{title(text)}]({url}{page}): {first_sentences(text, 1)}")
    (html / "llms.txt").write_text("\n".join(lines) + "\n")


def sections(nav: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """Each section with its pages, also those of sections within it."""
    for entry in nav:
        ((name, below),) = entry.items()
        yield name, list(leaves(below))


def leaves(below: Any) -> Iterator[str]:
    """The pages of a part of the navigation."""
    if isinstance(below, str):
        yield below
    elif isinstance(below, dict):
        for each in below.values():
            yield from leaves(each)
    else:
        for each in below:
            yield from leaves(each)


def title(text: str) -> str:
    """The first heading."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].strip().replace("`", "") if found else ""


def first_sentences(text: str, count: int = 2) -> str:
    """The beginning of the first paragraph behind the heading."""
    for paragraph in text.partition("\n")[2].split("\n\n"):
        if paragraph.strip() and paragraph.lstrip()[0] not in "#|`-!<>":
            whole = _LINK.sub(r"\1", " ".join(paragraph.split()))
            return " ".join(re.split(r"(?<=[.:]) (?=[A-Z`])", whole)[:count])
    return title(text)
