"""The tables of docs/interop.md: versions, cases and what each client came to, written by the run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.grpc_http2.test_h2spec import KNOWN

from .cases import CASES, WITHOUT, rows
from .clients import ROOT, clients

DOCUMENT = ROOT / "docs" / "interop.md"
_BEGIN, _END = "<!-- results: made by `make interop` -->\n", "<!-- /results -->"
OK, FAILED, NOT_RUN, CAN_NOT = "ok", "failed", "not run", "–"

# Engine, case as the table names it, client -> OK or FAILED.
Marks = dict[tuple[str, str, str], str]


@dataclass
class Results:
    """What runs came to.

    Attributes:
        marks: Of each case.
        h2spec: How many cases of h2spec there are, and how many fail on the engine `http2`.
    """

    marks: Marks = field(default_factory=dict)
    h2spec: tuple[int, int] | None = None


def row_name(case: str, tls: bool) -> str:
    """The case as the table names it."""
    return f"`{case}` over TLS" if tls else f"`{case}`"


def render(results: Results) -> str:
    """The part of the document that is made."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield "| client | version | cases |"
    yield "|---|---|---|"
    for client in clients().values():
        yield f"| {client.name} | {client.version} | {client.kind} |"
    for engine in WITHOUT:
        yield f"\n### Engine `{engine}`\n"
        yield f"| case | {' | '.join(clients())} |"
        yield "|---" * (len(clients()) + 1) + "|"
        for case, tls in rows():
            name = row_name(case, tls)
            cells = [
                CAN_NOT
                if case in client.without or case in WITHOUT[engine]
                else results.marks.get((engine, name, client.name), NOT_RUN)
                for client in clients().values()
            ]
            yield f"| {name} | {' | '.join(cells)} |"
    yield f"\n### What is not run ({CAN_NOT}), and why\n"
    yield "| where | case | reason |"
    yield "|---|---|---|"
    for client in clients().values():
        for case, reason in client.without.items():
            yield f"| {client.name} | `{case}` | {reason} |"
    for engine, without in WITHOUT.items():
        for case, reason in without.items():
            yield f"| engine `{engine}` | `{case}` | {reason} |"
    yield "\n### What the cases show\n"
    yield "| case | what it shows |"
    yield "|---|---|"
    for case, says in CASES.items():
        yield f"| `{case}` | {says} |"
    yield "\n### h2spec\n"
    if results.h2spec is not None:
        count, failed = results.h2spec
        yield f"On the engine `http2` {count - failed} of {count} cases hold. These do not, and why:\n"
    yield "| section | case | reason |"
    yield "|---|---|---|"
    for (section, title), reason in KNOWN.items():
        yield f"| {section} | {title} | {reason} |"


def told() -> str:
    """The part that the document has now."""
    return DOCUMENT.read_text().partition(_BEGIN)[2].partition(_END)[0]


def read() -> Results:
    """The results that the document tells now."""
    results = Results()
    engine = ""
    names: list[str] = []
    for line in told().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if found := re.fullmatch(r"### Engine `(\w+)`", line):
            engine, names = found[1], []
        elif line.startswith("### "):
            engine = ""
        elif found := re.match(r"On the engine `http2` (\d+) of (\d+) cases hold\.", line):
            results.h2spec = (int(found[2]), int(found[2]) - int(found[1]))
        elif engine and cells and not names:
            names = cells[1:]
        elif engine and cells:
            for name, mark in zip(names, cells[1:], strict=True):
                if mark in (OK, FAILED):
                    results.marks[engine, cells[0], name] = mark
    return results


def write(results: Results) -> None:
    """Puts results into the document. Those of what did not run stay as they are."""
    known = read()
    known.marks.update(results.marks)
    known.h2spec = results.h2spec or known.h2spec
    before, begin, rest = DOCUMENT.read_text().partition(_BEGIN)
    assert begin, f"{DOCUMENT.name} has no {_BEGIN!r}"
    DOCUMENT.write_text(before + begin + render(known) + _END + rest.partition(_END)[2])
