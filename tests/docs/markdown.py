"""Reads the documents: blocks, headings, links. Enough of Markdown for those of this repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(```+)(.*)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: what stands after the fence, its lines, and the line of its first one, from 1."""

    info: str
    lines: list[str]
    line: int

    @property
    def language(self) -> str:
        """The first word after the fence."""
        return self.info.partition(" ")[0]

    @property
    def title(self) -> str:
        """The rest of it."""
        return self.info.partition(" ")[2].strip()

    @property
    def text(self) -> str:
        """All lines, each ended."""
        return "".join(f"{line}\n" for line in self.lines)


def documents() -> list[Path]:
    """Every document of the repository."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    found += [ROOT / folder / "README.md" for folder in ("server", "worker", "clients/python", "tests")]
    return sorted(found)


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks in order."""
    fence, info, first = "", "", 0
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = _FENCE.match(line)
        if fence and line.strip() == fence:
            yield Block(info, lines, first)
            fence = ""
        elif fence:
            lines.append(line)
        elif match:
            fence, info, lines, first = match[1], match[2].strip(), [], number + 1
    if fence:
        raise ValueError(f"the block that begins at line {first} has no end")


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    kept, fence = [], ""
    for line in text.splitlines():
        match = _FENCE.match(line)
        if fence:
            fence = "" if line.strip() == fence else fence
        elif match:
            fence = match[1]
        else:
            kept.append(line)
    return "\n".join(kept)


def links(text: str) -> list[str]:
    """Where the text points to."""
    return _LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """The names under which the headings can be linked to."""
    found: dict[str, int] = {}
    names = set()
    for line in prose(text).splitlines():
        match = _HEADING.match(line)
        if match:
            name = re.sub(r"[^\w\- ]", "", match[1].lower()).replace(" ", "-")
            count = found.get(name, 0)
            found[name] = count + 1
            names.add(f"{name}-{count}" if count else name)
    return names


def code_words(text: str) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", prose(text))
