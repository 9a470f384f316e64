"""The tables of docs/conformance.md: rules, cases and what each language came to, written by the run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import cases  # noqa: F401 - so that all of them are known
from .case import CASES
from .languages import ROOT, languages
from .rules import RULES

DOCUMENT = ROOT / "docs" / "conformance.md"
_RULES = ("<!-- rules: made by `make conformance` -->\n", "<!-- /rules -->")
_CASES = ("<!-- cases: made by `make conformance` -->\n", "<!-- /cases -->")
#: The mark of a case that a language lacks.
NOT_YET = "not yet"
Results = Mapping[str, Mapping[str, str]]


def rules() -> str:
    """The table of rules."""
    rows = [f"| `{name}` | {says} |" for name, says in RULES.items()]
    return "\n".join(["| rule | what it says |", "|---|---|", *rows]) + "\n"


def table(marks: Mapping[str, Mapping[str, str]]) -> str:
    """The table of cases, with a column for each language."""
    head = ["case", "what a worker does", "from", *marks]
    rows = [
        " | ".join([f"| `{one.id}`", one.says, one.rule, *(found[one.id] for found in marks.values())]) + " |"
        for one in CASES.values()
    ]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]) + "\n"


def between(text: str, marks: tuple[str, str]) -> str:
    """What stands between two marks."""
    return text.partition(marks[0])[2].partition(marks[1])[0]


def replaced(text: str, marks: tuple[str, str], made: str) -> str:
    """The text with something else between two marks."""
    before, begin, rest = text.partition(marks[0])
    assert begin, f"{DOCUMENT.name} has no {marks[0]!r}"
    return before + begin + made + marks[1] + rest.partition(marks[1])[2]


def write(results: Results) -> None:
    """Puts what ran every case into the document. The columns of other languages stay as they are."""
    ran = {
        language: {id: "failed" if fault else "ok" for id, fault in found.items()}
        for language, found in results.items()
    }
    known = {**marks_told(), **ran}
    marks = {
        name: {id: NOT_YET if id in language.lacks else known[name].get(id, "not run") for id in CASES}
        for name, language in languages().items()
        if name in known
    }
    text = replaced(DOCUMENT.read_text(), _RULES, rules())
    DOCUMENT.write_text(replaced(text, _CASES, table(marks)))


def cases_told() -> list[list[str]]:
    """The rows of cases that the document has now, cell by cell."""
    rows = between(DOCUMENT.read_text(), _CASES).splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def marks_told() -> dict[str, dict[str, str]]:
    """What each language came to in the table that the document has now."""
    head = [cell.strip() for cell in between(DOCUMENT.read_text(), _CASES).splitlines()[0].split("|")[1:-1]]
    return {
        language: {row[0].strip("`"): row[column] for row in cases_told()}
        for column, language in enumerate(head)
        if column > 2
    }


def rules_told() -> str:
    """The rules that the document has now."""
    return between(DOCUMENT.read_text(), _RULES)
