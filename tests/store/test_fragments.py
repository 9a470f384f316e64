"""What several statements have in common stands once: fragments, frames, and the tool that writes them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tools import statements
from tools.statements import FRAGMENTS, FRAME, STORE, StatementError, form, forms_of, parse_fragment, written

pytestmark = pytest.mark.unit

#: A common table expression of more lines than that stands once.
LINES = 4


def by_hand() -> dict[Path, str]:
    """What a person writes: frames, fragments, and other statements without what the tool puts in."""
    frames = {path: path.read_text() for path in STORE.rglob(f"*{FRAME}")}
    made = {
        path.with_name(f"{name}.sql") for path, text in frames.items() for name in forms_of(text, path.name)
    }
    used = re.compile(r"^( *)-- use ([a-z-]+).*?\n.*?^\1-- end of \2\n", re.MULTILINE | re.DOTALL)
    others = {path: used.sub("", path.read_text()) for path in STORE.rglob("sql/*.sql") if path not in made}
    return {**frames, **others, **{path: path.read_text() for path in FRAGMENTS.glob("*.sql")}}


def tables(text: str) -> list[str]:
    """The common table expressions of a statement, without comments, indents and the numbers of parameters."""
    lines = [re.sub(r"\$\d+", "$", re.sub(r"--.*", "", line)).rstrip() for line in text.splitlines()]
    found: list[str] = []
    inside: list[str] | None = None
    for line in filter(None, lines):
        if inside is None and re.match(r"(with )?\w+( \([^)]*\))? as (materialized )?\($", line):
            inside = []
        elif inside is not None and line in (")", "),"):
            found.append("\n".join(each.strip() for each in inside))
            inside = None
        elif inside is not None:
            inside.append(line)
    return found


def test_the_statements_are_what_their_fragments_frames_and_lists_make() -> None:
    assert not statements.stale()


def test_each_fragment_is_used_at_least_twice() -> None:
    uses: Counter[str] = Counter()
    for path, text in by_hand().items():
        times = len(forms_of(text, path.name)) if path.name.endswith(FRAME) else 1
        whole = path.read_text()
        for name in re.findall(r"^ *-- use ([a-z-]+)", whole, re.MULTILINE):
            uses[name] += times
    assert {path.stem for path in FRAGMENTS.glob("*.sql")} == uses.keys()
    assert [name for name, count in uses.items() if count < 2] == []


def test_no_table_of_a_statement_stands_in_another_one_by_hand() -> None:
    where: defaultdict[str, list[str]] = defaultdict(list)
    for path, text in by_hand().items():
        for table in tables(text):
            if table.count("\n") >= LINES:
                where[table].append(path.name)
    assert [names for names in where.values() if len(names) > 1] == []


# ---- the tool


def known(**texts: str) -> dict[str, Any]:
    return {
        name.replace("_", "-"): parse_fragment(name.replace("_", "-"), text) for name, text in texts.items()
    }


WHOLE = "-- read: one\n-- $1 ids uuid[]  $2 most int4\nselect 1\n-- use look (at = now())\n-- end of look\n"
LOOK = (
    "-- Looks.\n-- blanks: at; more =\nwhere id = any(:ids::uuid[]) and at = {at}\n    {more}\nlimit :most\n"
)


def test_a_use_is_filled_with_the_fragment_its_blanks_and_the_numbers_of_parameters() -> None:
    made = written(WHOLE, "one.sql", known(look=LOOK))
    assert made == WHOLE.replace(
        "-- end of look\n", "where id = any($1::uuid[]) and at = now()\nlimit $2\n-- end of look\n"
    )
    # What was written is written anew.
    assert written(made.replace("limit $2", "limit 3"), "one.sql", known(look=LOOK)) == made


def test_a_fragment_that_uses_another_one_hands_its_blanks_on() -> None:
    outer = "-- Outer.\n-- blanks: at\nselect 2\n    -- use look (at = {at}; more = and true)\n"
    text = WHOLE.replace("look", "outer")
    made = written(text, "one.sql", known(outer=outer, look=LOOK))
    assert "    where id = any($1::uuid[]) and at = now()\n        and true\n    limit $2\n" in made


def test_a_frame_makes_each_of_its_forms_whole() -> None:
    frame = (
        "-- forms: one, two\n-- read: some\n-- if one\n-- $1 ids uuid[]  $2 most int4\n-- else\n"
        "-- $2 ids uuid[]  $1 most int4\n-- end if\n"
        "select 1\n-- use look (at = now())\n-- if two\nfor update\n-- end if\n"
    )
    one, two = (form(frame, name, "one.sql.in", known(look=LOOK)) for name in ("one", "two"))
    assert one.endswith("select 1\nwhere id = any($1::uuid[]) and at = now()\nlimit $2\n")
    assert two.endswith("select 1\nwhere id = any($2::uuid[]) and at = now()\nlimit $1\nfor update\n")
    assert one.startswith("-- read: some\n-- (made of one.sql.in: ")


@pytest.mark.parametrize(
    ("whole", "look", "said"),
    [
        (WHOLE.replace("-- end of look\n", ""), LOOK, "one.sql has no line `-- end of look`"),
        (WHOLE.replace("$2 most", "$2 least"), LOOK, "declares no parameter most; it has ids, least"),
        (
            WHOLE.replace("ids uuid[]", "ids int8[]"),
            LOOK,
            r"declares ids as int8\[\], and uses it as uuid\[\]",
        ),
        (WHOLE.replace("at = now()", "of = now()"), LOOK, "look has no blank of"),
        (WHOLE.replace(" (at = now())", ""), LOOK, "look wants a value for at"),
        (WHOLE.replace("(at = now())", "(at)"), LOOK, "`at` should be NAME = VALUE"),
        (WHOLE, LOOK.replace("-- blanks", "-- needs: placed\n-- blanks"), "uses look, which needs placed"),
        (WHOLE.replace("look", "gaze"), LOOK, r"uses gaze, and there is no fragments/gaze\.sql"),
        (WHOLE, LOOK.split("\n", 2)[2], "begins without a comment that says what it is"),
    ],
)
def test_what_does_not_fit_is_named(whole: str, look: str, said: str) -> None:
    with pytest.raises(StatementError, match=said):
        written(whole, "one.sql", known(look=look))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("-- read: some\nselect 1\n", "does not begin with `-- forms: one, another`"),
        ("-- forms: one\n-- read: some\n-- if one\nselect 1\n", "an `-- if` has no `-- end if`"),
        ("-- forms: one\n-- read: some\n-- if other\nselect 1\n-- end if\n", "names no form"),
        ("-- forms: one\n-- read: some\n-- end if\n", "has no `-- if` before it"),
    ],
)
def test_a_frame_that_can_t_be_read_is_refused(frame: str, said: str) -> None:
    with pytest.raises(StatementError, match=said):
        form(frame, "one", "one.sql.in", {})
