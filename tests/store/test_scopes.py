"""A statement that finds a thing by a caller's name or id takes the namespace; the others stand on a list, with why."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import jobqueue_server
from jobqueue_server.store.statements import names, statement

from .stored import SCOPE, Stored

LIST = Path(__file__).with_name("unscoped.toml")
UNSCOPED = [
    (name, entry["because"])
    for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["unscoped"]
    for name in entry["statements"]
]
# What a comment calls a parameter that is one: `$3 int4: namespace`, `$1 namespace int4`, `$11 namespaces int4[]`.
_PARAMETER = re.compile(r"\$(\d+)(?: int4: namespace| namespaces? int4)\b")


def takes_namespace(text: str) -> bool:
    """Whether a parameter is said to be the namespace, and a column of that name is compared or written."""
    comments = " ".join(re.findall(r"--(.*)", text))
    code = re.sub(r"--.*", "", text)
    parameter = _PARAMETER.search(comments)
    return parameter is not None and f"${parameter[1]}" in code and "namespace_id" in code


@pytest.mark.unit
@pytest.mark.parametrize("name", names())
def test_a_statement_takes_the_namespace_or_stands_on_the_list_with_the_reason(name: str) -> None:
    reasons = [because for listed, because in UNSCOPED if listed == name]
    if takes_namespace(statement(name)):
        assert not reasons, f"it takes the namespace, and {LIST.name} says why it does not: {reasons}"
    else:
        assert reasons, f"it takes no namespace: add that, or its name to {LIST.name} with the reason"


@pytest.mark.unit
def test_the_list_names_statements_that_are_there_and_each_once() -> None:
    assert {name for name, _ in UNSCOPED} <= set(names())
    assert not [name for name, count in Counter(name for name, _ in UNSCOPED).items() if count > 1]


@pytest.mark.unit
def test_the_access_step_alone_makes_scopes() -> None:
    server = Path(jobqueue_server.__file__).parent
    makers = {
        str(path.relative_to(server))
        for path in server.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Scope"
    }
    assert makers == {
        "bootstrap.py",
        "chain.py",
        "core/access/access.py",
        "core/access/identities.py",
        # On whose behalf a tick enqueues: its schedule's, whose maker was asked for permissions.
        "core/schedule/jobs.py",
        "gate.py",
    }


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "takes"),
    [
        (
            "-- $1 uuid: the job; $2 int4: namespace\nselect from job where id = $1 and namespace_id = $2",
            True,
        ),
        ("-- $1 namespace int4[]\nselect from unnest($1) as t (namespace_id)", True),
        ("-- $1 uuid: the job, of any namespace\nselect from job where id = $1", False),
        (
            "-- $1 uuid: the job; $2 int4: namespace\nselect from job where id = $1 -- namespace_id = $2",
            False,
        ),
    ],
)
def test_what_counts_as_taking_the_namespace(text: str, takes: bool) -> None:
    assert takes_namespace(text) is takes


#: Of statements that find jobs by id: the arguments before the namespace, of a job that waits and one that ended.
BY_ID: dict[str, Callable[[UUID, UUID], list[Any]]] = {
    "cancel": lambda waiting, ended: [[waiting], timedelta(seconds=30), None, [1, 2, 4]],
    "find_job": lambda waiting, ended: [ended],
    "get_job": lambda waiting, ended: [waiting, True],
    "get_jobs": lambda waiting, ended: [[waiting, ended], True],
    "lock_finished_jobs": lambda waiting, ended: [[ended], ended, ended, [3, 5, 6]],
    "named_jobs": lambda waiting, ended: [[waiting, ended], waiting, ended],
    "settled_before": lambda waiting, ended: [[waiting, ended], [1, 1]],
}


@pytest.mark.cases(4)
@pytest.mark.parametrize("name", BY_ID)
async def test_a_job_is_found_by_its_id_in_its_namespace_alone(s: Stored, name: str) -> None:
    waiting, ended = await s.queued(), await s.succeeded()
    arguments = BY_ID[name](waiting, ended)

    async def found(namespace: int) -> list[Any]:
        transaction = s.sql.transaction()
        await transaction.start()
        of_each: Any = [namespace] * 2 if name == "settled_before" else namespace
        rows: list[Any] = await s.sql.fetch(statement(name), *arguments, of_each)
        await transaction.rollback()
        return rows

    assert len(await found(SCOPE.namespace)) == (len(arguments[0]) if isinstance(arguments[0], list) else 1)
    assert await found(SCOPE.namespace + 1) == []
