"""The workers in other languages, whose programs do what `worker_program.py` does, as a collector sees it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.conformance.languages import languages
from tests.e2e.processes import Process, ServerProcess
from tests.go_programs import ENVIRONMENT

from .collector import Collector
from .conftest import SPAN, TRACE, post

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients/typescript"
SERVER, CONSUMER = 2, 5

pytestmark = [pytest.mark.any_engine, pytest.mark.timeout(600)]


def built_in_go(folder: Path) -> list[str]:
    program = folder / "traced"
    command = ["go", "build", "-o", str(program), "."]
    source = ROOT / "tests/traces/go"
    done = subprocess.run(
        command, cwd=source, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [str(program)]


def built_in_typescript(_folder: Path) -> list[str]:
    trouble = languages()["typescript"].make()
    assert not trouble, trouble
    return ["node", str(CLIENT / "test/programs/traced.mjs")]


def built_in_java(_folder: Path) -> list[str]:
    reactor = ["-f", "clients/java/reactor/pom.xml", "-pl", ":jobqueue-opentelemetry", "-am"]
    command = ["mvn", "-B", "-q", *reactor, "process-test-classes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    java = "clients/java/"
    places = [f"{java}opentelemetry/target/{name}" for name in ("test-classes", "classes", "lib/*")]
    path = ":".join(str(ROOT / place) for place in [*places, f"{java}target/classes"])
    return [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        path,
        "dev.jobqueue.programs.Traced",
    ]


def built_in_rust(_folder: Path) -> list[str]:
    trouble = languages()["rust"].make()
    assert not trouble, trouble
    return [str(ROOT / ".cache/rust/debug/traced")]


@pytest.mark.parametrize("parent", ["", "parent"])
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(built_in_go, marks=pytest.mark.language("go"), id="go"),
        pytest.param(built_in_typescript, marks=pytest.mark.language("typescript"), id="typescript"),
        pytest.param(built_in_java, marks=pytest.mark.language("java"), id="java"),
        pytest.param(built_in_rust, marks=pytest.mark.language("rust"), id="rust"),
    ],
)
async def test_a_worker_goes_on_with_the_trace_of_its_jobs(
    server: ServerProcess,
    collector: Collector,
    processes: list[Process],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    build,
    parent: str,
):
    monkeypatch.setenv("JOBQUEUE_TRACE_PARENT", parent)
    program = await asyncio.to_thread(build, tmp_path)
    worker = Process([*program, server.address, "traced"], tmp_path / "worker.log", {})
    processes.append(worker)
    await worker.line("ready")
    # Who is not sampled comes first, and leaves nothing.
    await asyncio.to_thread(post, server, "first", "00")
    job_id = await asyncio.to_thread(post, server, "first")

    async def span(kind, job, attempt=None):
        def is_it(span):
            told = span.attributes
            right = told.get("jobqueue.kind") == job and told.get("jobqueue.attempt") == attempt
            return span.kind == kind and right

        return await asyncio.to_thread(collector.span, is_it)

    first = await span(CONSUMER, "first", 1)
    assert first.name == "process traced"
    assert first.links == [(TRACE, SPAN)]
    assert (first.trace == TRACE, first.parent) == ((True, SPAN) if parent else (False, ""))
    assert first.attributes["messaging.message.id"] == job_id
    assert first.attributes["jobqueue.outcome"] == "succeeded"
    assert 0 <= first.attributes["jobqueue.wait_ms"] < 60_000
    assert first.attributes["jobqueue.lease_id"] > 0

    failed, again = await span(CONSUMER, "follow_up", 1), await span(CONSUMER, "follow_up", 2)
    assert failed.links == again.links == [(first.trace, first.id)]
    assert (failed.failed, again.failed) == (True, False)
    assert failed.attributes["jobqueue.outcome"] == "failed"
    [(name, event)] = failed.events
    assert (name, event["exception.message"]) == ("exception", "the first attempt fails")
    assert event["exception.type"] == failed.attributes["error.type"]

    # The call of the handler is its child, and what it enqueued follows it.
    call = await span(SERVER, "called")
    assert (call.trace, call.parent) == (first.trace, first.id)
    called = await span(CONSUMER, "called", 1)
    assert called.links == [(first.trace, first.id)]
    if parent:
        assert {span.trace for span in (failed, again, called)} == {TRACE}
