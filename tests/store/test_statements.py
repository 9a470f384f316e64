"""SQL is in files, one statement each; every file is sound, named by what it does, and used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

import jobqueue_server
from jobqueue_server.store.statements import names, statement
from tools.statements import FRAME, forms_of

SERVER = Path(jobqueue_server.__file__).parent
STORE = SERVER / "store"

# These are no part of the running service: they make the schema and the embedded server themselves.
WITH_SQL_OF_THEIR_OWN = {
    STORE / "migrate.py",
    *(SERVER / "cell").glob("*.py"),
    *(SERVER / "embedded").glob("*.py"),
}
SQL = re.compile(
    r"\bselect\b[\s\S]*\bfrom\b|\binsert\s+into\b|\bupdate\s+\w+\s+set\b|\bdelete\s+from\b|\balter\s+table\b",
    re.I,
)
WRITES = re.compile(r"\b(insert into|update|delete from) (live_job|finished_job|worker_session|server)\b")


def source(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string that the code uses, without its docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


async def test_every_statement_prepares_against_the_schema(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        for name in names():
            try:
                await connection.prepare(statement(name))
            except asyncpg.PostgresError as error:
                pytest.fail(f"{name}.sql: {error}")
    finally:
        await connection.close()


@pytest.mark.parametrize("name", names())
def test_the_first_line_says_what_the_statement_does(name):
    text = statement(name)
    first, _, rest = text.partition("\n")
    assert re.fullmatch(r"-- [a-z]+(, [a-z]+)*: \S.*[^.]", first), first
    code = re.sub(r"--.*", "", rest)
    if first.startswith("-- read: "):
        assert not re.search(r"\b(insert|update|delete)\b", code), "a read changes nothing"
    elif WRITES.search(code):
        assert " -> " in first, "it moves something: from where to where?"


@pytest.mark.parametrize("name", names())
def test_a_file_is_one_statement_whose_parameters_are_explained(name):
    comments = " ".join(re.findall(r"--(.*)", statement(name)))
    code = re.sub(r"--.*", "", statement(name))
    assert ";" not in code
    said = {int(number) for number in re.findall(r"\$(\d+)", comments)}
    for first, last in re.findall(r"\$(\d+) \.\. \$(\d+)", comments):
        said.update(range(int(first), int(last)))
    used = {int(number) for number in re.findall(r"\$(\d+)", code)}
    assert used == set(range(1, len(used) + 1)), "parameters are numbered without a gap"
    assert used <= said, f"not explained: {sorted(used - said)}"


def test_no_sql_stands_in_the_code():
    found = [
        f"{path.relative_to(SERVER)}: {text.strip()[:60]!r}"
        for path in sorted(SERVER.rglob("*.py"))
        if path not in WITH_SQL_OF_THEIR_OWN
        for text in texts(source(path))
        if SQL.search(text)
    ]
    assert not found


def test_every_statement_is_used_and_every_name_is_a_statement():
    used: set[str] = set()
    run: set[str] = set()
    for path in STORE.rglob("*.py"):
        tree = source(path)
        used.update(texts(tree))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"fetch", "fetchrow", "fetchval"}
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and path not in WITH_SQL_OF_THEIR_OWN
            ):
                run.add(str(node.args[0].value))
    assert set(names()) <= used, "statements that nothing runs"
    assert run <= set(names()), "names without a file"


@pytest.mark.slow
def test_each_statement_lies_in_the_room_that_runs_it():
    """The forms of a frame lie together, in the room that runs the first of them."""
    beside = {
        frame.with_name(f"{name}.sql")
        for frame in STORE.rglob(f"*{FRAME}")
        for name in forms_of(frame.read_text(), frame.name)[1:]
    }
    astray = [
        str(path.relative_to(STORE))
        for path in set(STORE.rglob("sql/*.sql")) - beside
        if path.stem
        not in {text for module in path.parent.parent.glob("*.py") for text in texts(source(module))}
    ]
    assert not astray
