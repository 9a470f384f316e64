"""The pages as the site's builder wants them, and the files that they link to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Files of ours that the site adds.
ASSETS = Path(__file__).parent / "assets"

_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^( *)(```+)([\w-]*) *(.*)$")
_ITEM = re.compile(r"^(?:[-*]|\d+\.) ")
_SPOKEN = {"console": "console", "": "text"}


class LinkLeadsOut(Exception):
    """A page links to what the site has not. The text says which."""


def pages() -> list[str]:
    """The pages, by their paths in the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")]
    found += ROOT.glob("examples/*/README.md")
    found += [
        ROOT / folder / "README.md" for folder in ("server", "worker", "tests", "server/src/grpc_http2")
    ]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def lay_out(folder: Path) -> None:
    """Writes all of it.

    Raises:
        LinkLeadsOut: A page links to a folder or to a document that is no page.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ASSETS, folder / "assets")
    there = set(pages())
    for page in there:
        text = (ROOT / page).read_text()
        for file in linked(page, text):
            if file in there:
                continue
            if not (ROOT / file).is_file() or file.endswith(".md"):
                raise LinkLeadsOut(
                    f"{page} links to {file}, which is not on the site: link to a page, or to a file"
                )
            _copy(file, folder)
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(adapted(text))


def linked(page: str, text: str) -> Iterator[str]:
    """What a page links to within the repository."""
    for match in _LINK.finditer(text):
        target = match[1].partition("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            yield (ROOT / page).parent.joinpath(target).resolve().relative_to(ROOT).as_posix()


def adapted(text: str) -> str:
    """The same page in the dialect of the builder.

    A fence says its title as `title=`, and what belongs to an item of a list is indented by four.
    """
    lines: list[str] = []
    fence = ""
    listed = False
    for line in text.splitlines():
        match = _FENCE.match(line)
        if fence:
            fence = "" if line.strip() == fence else fence
        elif match:
            fence = match[2]
            line = f"{match[1]}{match[2]}{_SPOKEN.get(match[3], match[3])}" + _title(match[4])
        elif _ITEM.match(line):
            listed = True
        elif line and not line.startswith("  "):
            listed = False
        lines.append(f"  {line}" if listed and line.startswith("  ") else line)
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    return ' title="{}"'.format(text.replace('"', "'")) if text else ""


def _copy(file: str, folder: Path) -> None:
    target = folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / file, target)
