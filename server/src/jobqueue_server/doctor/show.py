"""Findings as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .. import __version__
from .findings import EXIT_CODES, Finding, Grade, worst

_STYLES = {Grade.OK: "green", Grade.NOTE: "cyan", Grade.WARNING: "yellow", Grade.BROKEN: "red"}


def as_json(findings: Sequence[Finding]) -> str:
    """One object: version, grade, exit_code, findings."""
    grade = worst(findings)
    return json.dumps(
        {
            "version": __version__,
            "grade": grade.name.lower(),
            "exit_code": EXIT_CODES[grade],
            "findings": [
                {
                    "about": each.about,
                    "grade": each.grade.name.lower(),
                    "seen": each.seen,
                    "right": each.right,
                    "do": each.do,
                }
                for each in findings
            ],
        },
        indent=2,
    )


def print_table(console: Console, findings: Sequence[Finding]) -> None:
    """The worst first, each with what to do; what is well below."""
    table = Table("", "about", "seen", "right", "do next", box=None, pad_edge=False)
    for each in sorted(findings, key=lambda finding: -finding.grade):
        style = _STYLES[each.grade]
        table.add_row(
            f"[{style}]{each.grade.name.lower()}[/]",
            each.about,
            *map(_plain, (each.seen, each.right, each.do)),
        )
    console.print(table)
    wrong = sum(each.grade >= Grade.WARNING for each in findings)
    console.print(f"{wrong} of {len(findings)} need you" if wrong else f"{len(findings)} looked at, all well")


def _plain(text: str) -> str:
    # Square brackets are no markup here.
    return text.replace("[", r"\[")
