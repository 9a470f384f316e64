"""docs/seed.md is true: all that its right-hand columns name is here, and no row of the system before is forgotten."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from functools import cache

import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.http import docs as http_docs
from jobqueue_server.http import ops
from jobqueue_server.metrics import Backlog, Metrics
from jobqueue_server.settings import Settings
from jobqueue_server.settings import environment_name as of_server
from jobqueue_worker.metrics import WorkerMetrics
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker

from .log_lines import log_lines
from .markdown import ROOT

pytestmark = pytest.mark.unit

TEXT = (ROOT / "docs/seed.md").read_text()


def rows(section: str) -> list[list[str]]:
    """The cells of the table of a section, without its head."""
    part = TEXT.split(f"\n## {section}\n")[1].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"\|", line)[1:-1]] for line in lines]


def ours() -> set[str]:
    """All that stands in backticks and is no file: what the right-hand columns name."""
    return set(re.findall(r"`([^`\n]+)`", TEXT))


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("node", sorted(word for word in ours() if word.startswith("tests/")))
def test_a_test_that_is_named_exists(node: str) -> None:
    path, _, name = node.partition("::")

    assert (ROOT / path).is_file()
    assert not name or name in functions(path)


def test_each_of_its_46_tests_has_one_here() -> None:
    table = rows("Its tests")

    assert len({name for name, _ in table}) == len(table) == 46
    assert all("`tests/" in here for _, here in table)


def test_every_file_that_is_named_exists() -> None:
    named = {word for word in ours() if re.fullmatch(r"\.?[\w./-]+(/|\.\w+)|[A-Z]{5,}", word)}
    files = {word for word in named if not word.startswith("/") and ("/" in word or word.endswith(".md"))}

    assert len(files) > 15
    assert not {word for word in files if not (ROOT / word).exists()}


def test_every_setting_that_is_named_exists() -> None:
    known = {of_server(name) for name in Settings.model_fields}
    known |= {of_worker(name) for name in WorkerSettings.model_fields}
    named = {word for word in ours() if re.fullmatch(r"(JOBQUEUE|WORKER|API|DATABASE)_[A-Z_]+", word)}

    assert len(named) >= 10
    assert named <= known


def defaults(name: str) -> set[str]:
    """What a variable means when it is not set; server and worker may share its name."""
    found = set()
    for kind, named in ((Settings, of_server), (WorkerSettings, of_worker)):
        for field in (each for each in kind.model_fields if named(each) == name):
            value = kind.model_fields[field].default
            found.add(f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value))
    return found


def test_the_defaults_are_those_of_the_settings() -> None:
    stated = {here.strip("`"): default for _, _, here, default, _ in rows("Environment and defaults") if here}
    checked = {name: default for name, default in stated.items() if default[:1].isdigit()}

    assert len(checked) >= 7
    assert not {name: default for name, default in checked.items() if default not in defaults(name)}


def test_every_metric_that_is_named_exists() -> None:
    server = Metrics()
    server.watch_backlogs(lambda: [Backlog("q", "k", "queued", 1)])
    families = [family for each in (server, WorkerMetrics()) for family in each.registry.collect()]
    # A counter's family has no `_total`; its samples have.
    known = {family.name for family in families} | {f"{family.name}_total" for family in families}
    named = {word for word in ours() if re.fullmatch(r"(jobqueue|worker|grpc_server)_[a-z_]+", word)}

    assert len(named) >= 7
    assert named - {"jobqueue_server", "jobqueue_worker"} <= known
    for seeds, here, _ in rows("Metrics")[:3]:
        assert seeds.partition("{")[0] == here.strip("`"), "its dashboards would have to change"


def test_every_path_that_is_named_answers() -> None:
    bindings = [line.split("\t") for line in (ROOT / "proto/bindings.txt").read_text().splitlines()[1:]]
    known = {f"{method} {path}" for _, method, path, *_ in bindings}
    known |= {f"GET {path}" for path in (*ops.PATHS, *http_docs.PATHS)}
    named = {word for word in ours() if re.match(r"(GET|POST|PUT|DELETE) /", word)}

    assert len(named) >= 9
    assert named <= known


def test_every_field_that_is_named_exists() -> None:
    messages = {
        name: set(message.fields_by_name)
        for module in (job_pb2, jobqueue_pb2)
        for name, message in module.DESCRIPTOR.message_types_by_name.items()
    }
    named = {tuple(word.split(".")) for word in ours() if re.fullmatch(r"[A-Z][a-z]\w+\.[a-z_]+", word)}

    assert len(named) > 20
    for message, field in named:
        assert field in messages[message], f"{message}.{field}"


def test_every_line_that_is_named_is_logged() -> None:
    logged = {text for _, text in log_lines()}
    named = {
        word
        for _, here, *more in rows("Log lines")
        for cell in (here, *more)
        for word in re.findall(r"`([^`]+)`", cell)
        if " " in word or word == "draining"
    }

    assert len(named) > 10
    assert named <= logged
