"""The runbook is true: its queries name what is measured, its lines are logged, its commands and settings exist."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from jobqueue import Client, Kind, Limits, NewJob
from jobqueue.cli.app import app as client_app
from jobqueue_server.cli import app as server_app
from jobqueue_server.settings import Settings
from jobqueue_server.settings import environment_name as of_server
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker
from tests.conftest import Cluster
from tests.e2e.processes import LOOK, Process, ServerProcess
from tests.faults.case import CASES
from tests.faults.cases import load

from .log_lines import log_lines
from .markdown import ROOT, blocks

TEXT = (ROOT / "docs/runbook.md").read_text()
PROGRAMS = Path(sys.executable).parent


def written_in(language: str) -> list[str]:
    return [block.text for block in blocks(TEXT) if block.language == language]


# ---- metrics

_FUNCTIONS = {"sum", "rate", "max", "histogram_quantile"}
_WORDS = {"by"}


def metrics_of(query: str) -> dict[str, set[str]]:
    """The metrics that a query names, each with the labels that it must have."""
    assert query.count("(") == query.count(")")
    assert query.count("{") == query.count("}")
    grouped = {name.strip() for names in re.findall(r"\bby \(([^)]*)\)", query) for name in names.split(",")}
    bare = re.sub(r'"[^"]*"|\bby \([^)]*\)|\[\w+\]', "", query)
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(
        r"\b([a-z_]{3,})\b(?!\()\s*(\{[^}]*\})?", re.sub(r"(?<=\{)[^}]*", _labels, bare)
    ):
        if name not in _FUNCTIONS | _WORDS and not name.startswith("label_"):
            found[name] = grouped | set(re.findall(r"label_(\w+)", labels))
    assert found, query
    return found


def _labels(inner: re.Match[str]) -> str:
    return " ".join(f"label_{name}" for name in re.findall(r"(\w+)\s*[=!]", inner[0]))


@pytest.fixture(scope="module")
def measured(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[str]]:
    """Every sample of a server and a worker that have done a job, with its labels."""
    folder = tmp_path_factory.mktemp("runbook")
    name = cluster.create(template)
    server = ServerProcess(cluster.dsn_of(name), folder / "server.log", metrics_addr="127.0.0.1:0")
    processes: list[Process] = [server]
    try:
        expositions = asyncio.run(_busy(server, folder, processes))
    finally:
        for process in reversed(processes):
            process.kill()
        cluster.drop(name)
    found: dict[str, set[str]] = {}
    for exposition in expositions:
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def _busy(server: ServerProcess, folder: Path, processes: list[Process]) -> list[str]:
    """What a server and a worker show, when one job is done and another waits."""
    await server.ready()
    port = json.loads(await server.line("metrics are served"))["port"]
    flags = ["--simulate", f"--server={server.address}", "--metrics-bind-addr=127.0.0.1:0"]
    worker = Process([str(PROGRAMS / "jobqueue-worker"), *flags], folder / "worker.log", {})
    processes.append(worker)
    theirs = (await worker.line("metrics are served on")).split()[-1]
    async with Client(server.address) as client:
        await client.enqueue("summarize_text", {"text": "One."}, queue="elsewhere")
        await client.enqueue("summarize_text", {"text": "One."}, hold=True)
        await client.put_kind(Kind(name="summarize_text", limits=Limits(max_running=1)))
        job = await client.enqueue("summarize_text", {"text": "One."})
        await client.wait(job.id)
        await client.put_kind(Kind(name="summarize_text"))
        await client.update_queue("default", limits=Limits(max_running=1))
        for each in await client.enqueue_many([NewJob("summarize_text", {"text": "One."})] * 2):
            await client.wait(each.id)
    late = [f"jobqueue_queue_{each}{{" for each in ("held", "wanted_slots", "at_limit_seconds_total")]
    late.append("jobqueue_kind_at_limit_seconds_total{")
    while not all(each in (ours := _read(f"http://127.0.0.1:{port}/metrics")) for each in late):
        await asyncio.sleep(LOOK)  # depths are read every few seconds
    return [ours, _read(theirs)]


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("query", written_in("promql"))
def test_a_query_names_what_is_measured(query: str, measured: dict[str, set[str]]) -> None:
    for metric, labels in metrics_of(query).items():
        assert metric in measured, f"no such metric: {metric}"
        assert labels <= measured[metric], f"{metric} has the labels {measured[metric]}"


def test_the_queries_of_the_system_before_run_unchanged() -> None:
    queries = [" ".join(query.split()) for query in written_in("promql")]

    assert "sum(worker_jobs_started_total) - sum(worker_jobs_completed_total)" in queries
    assert "histogram_quantile(0.99, rate(worker_job_duration_seconds_bucket[5m]))" in queries


@pytest.mark.parametrize("statement", written_in("sql"))
async def test_a_statement_for_psql_runs(statement: str, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.fetch(statement)
    finally:
        await connection.close()


# ---- lines, commands, settings


def rows(section: str) -> list[list[str]]:
    """The cells of the table of a section."""
    part = TEXT.split(f"\n## {section}\n")[1].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(("level", "line"), [tuple(row[:2]) for row in rows("Log lines to alert on")])
def test_a_line_to_alert_on_is_logged_with_its_level(level: str, line: str) -> None:
    text = line.strip("`")
    # What ends in a colon and more is quoted up to there.
    same = {(each, logged) for each, logged in log_lines() if logged in (text, f"{text}...")}

    assert level in {each for each, _ in same}, text


@pytest.mark.parametrize("row", rows("Disasters"), ids=lambda row: row[0])
def test_a_disaster_is_run_by_what_the_table_names(row: list[str]) -> None:
    load()
    named = re.findall(r"`([^`]+)`", row[-1])

    assert named, "each row says what runs it"
    assert [name for name in named if name not in CASES and not (ROOT / name).is_file()] == []


_COMMAND = re.compile(r"(?=(?:^|\$\(|exec server )(jobqueue(?:-server|-worker)? [^|\n]*))", re.MULTILINE)


def commands() -> list[list[str]]:
    """Our commands in the blocks for a shell, also those within others."""
    texts = (text.partition("$(")[0] for block in written_in("sh") for text in _COMMAND.findall(block))
    return [shlex.split(text) for text in texts]


APPS = {"jobqueue": client_app, "jobqueue-server": server_app}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_exists_with_its_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(APPS[words[0]])
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"{' '.join(words)}: there is no {rest[0]}"
        command = command.commands[rest.pop(0)]

    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def test_every_setting_that_is_named_exists() -> None:
    known = {of_server(name) for name in Settings.model_fields}
    known |= {of_worker(name) for name in WorkerSettings.model_fields}
    named = set(re.findall(r"`((?:JOBQUEUE|WORKER|API|DATABASE)_[A-Z_]+)`", TEXT))

    # What the server answers when its database is away or full, or what ends a job, is no setting.
    assert len(named) > 10
    assert named <= known
