"""Statements wait for rows in one order, which their heads and `docs/locks.md` tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jobqueue_server.store

from .locks import RANKS, declared, first_locks

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
STORE = Path(jobqueue_server.store.__file__).parent
TEXTS = {path.stem: path.read_text() for path in STORE.rglob("sql/*.sql")}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_statement_says_which_rows_it_waits_for_and_comes_to_them_in_order(name: str) -> None:
    waits, has = declared(TEXTS[name])
    found = first_locks(TEXTS[name])
    assert set(has) <= found.keys(), "what its transaction has, it locks again"
    first = [rank for rank, waiting in found.items() if waiting and rank not in has]
    assert first == sorted(first), "a later rank before an earlier one"
    assert waits == first, "the line `-- locks:` of its head"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select 1 from live_job l join queue q on q.id = 1 for update of l", {2: True}),
        ("select 1 from live_job l, (select 1 from semaphore) s for update skip locked", {2: False}),
        ("with a as (select from semaphore t for update) update live_job set state = 1", {6: True, 2: True}),
        ("insert into semaphore (id) select 1 on conflict (id) do nothing", {6: True}),
        ("with a as (insert into live_job select 1) insert into semaphore select 2 on conflict do nothing", {6: True}),
        ("select room from starts_of($1::int4, $2::int4)", {4: True, 5: True}),
        ("select 1 from kind -- for update", {}),
        ("delete from finished_job where id = $1", {2: True}),
    ],
)  # fmt: skip
def test_what_counts_as_a_lock(text: str, found: dict[int, bool]) -> None:
    assert first_locks(text) == found


def test_the_page_ranks_the_tables_that_the_test_knows() -> None:
    page = (ROOT / "docs/locks.md").read_text()
    rows = re.findall(r"^\| (\d) \| .*? \| (.*?) \|", page, re.MULTILINE)
    found = {table: int(rank) for rank, tables in rows for table in re.findall(r"`(\w+)`", tables)}
    assert found == RANKS


def test_the_page_names_each_statement_whose_transaction_has_its_rows_already() -> None:
    page = (ROOT / "docs/locks.md").read_text()
    having = {name for name, text in TEXTS.items() if declared(text)[1]}
    assert {name for name in having if f"`{name}.sql`" in page} == having
