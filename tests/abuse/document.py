"""The table of docs/abuse.md, written by a run of all floods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .watch import Seen

DOCUMENT = Path(__file__).parents[2] / "docs" / "abuse.md"
HEAD = ["flood", "what is sent", "MiB", "connections", "p99 ms", "memory MiB", "statements", "verdict"]


def marks(engine: str) -> tuple[str, str]:
    """Between which the table of an engine stands."""
    return f"<!-- {engine}: made by `make abuse` -->\n", f"<!-- /{engine} -->"


def cells(one: Seen) -> list[str]:
    """A row."""
    memory = f"{one.before:.0f}, {one.most:.0f}, {one.after:.0f}"
    ran = sum(one.statements.values())
    times = f"{one.p99 * 1000:.0f}"
    verdict = "; ".join(one.trouble) or "well"
    return [
        one.flood.name,
        one.flood.about,
        f"{one.sent:.0f}",
        str(one.connections),
        times,
        memory,
        str(ran),
        verdict,
    ]


def write(engine: str, seen: Sequence[Seen]) -> None:
    """Puts a run of all floods into the document."""
    rows = [HEAD, *(cells(one) for one in seen)]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    lines.insert(1, "|---" * len(HEAD) + "|")
    begin, end = marks(engine)
    before, found, rest = DOCUMENT.read_text().partition(begin)
    assert found, f"{DOCUMENT.name} has no {begin!r}"
    DOCUMENT.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2])


def floods_told(engine: str) -> list[str]:
    """The names in the table that the document has now."""
    begin, end = marks(engine)
    rows = DOCUMENT.read_text().partition(begin)[2].partition(end)[0].splitlines()
    return [row.split("|")[1].strip() for row in rows[2:]]
