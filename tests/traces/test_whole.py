"""A call with a `traceparent`, through a server to a worker and what its jobs make, as a collector sees it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import Process, ServerProcess

from .collector import Collector
from .conftest import SPAN, TRACE, post

pytestmark = pytest.mark.any_engine

PROGRAM = Path(__file__).parent / "worker_program.py"
SERVER, INTERNAL, CONSUMER = 2, 1, 5


def the(span_kind, /, **attributes):
    """Whether a span is of that kind and has these attributes, named without what stands before the last dot."""
    return lambda span: (
        span.kind == span_kind
        and all(
            any(
                name.rpartition(".")[2] == wanted and value == given
                for name, given in span.attributes.items()
            )
            for wanted, value in attributes.items()
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("parent", ["", "parent"])
async def test_a_trace_goes_from_a_caller_through_the_server_and_a_worker_to_the_jobs_that_follow(
    server: ServerProcess,
    collector: Collector,
    processes: list[Process],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parent: str,
):
    monkeypatch.setenv("JOBQUEUE_TRACE_PARENT", parent)
    worker = Process([sys.executable, str(PROGRAM), server.address, "traced"], tmp_path / "worker.log", {})
    processes.append(worker)
    await worker.line("ready")
    job_id = await asyncio.to_thread(post, server, "first")

    async def span(span_kind, /, **attributes):
        return await asyncio.to_thread(collector.span, the(span_kind, **attributes))

    # The caller's call.
    enqueue = await span(SERVER, method="jobqueue.v1.JobQueue/EnqueueJob", id=job_id)
    assert (enqueue.service, enqueue.trace, enqueue.parent) == ("jobqueue-server", TRACE, SPAN)
    assert enqueue.attributes["rpc.system.name"] == "http_json"
    insert = await asyncio.to_thread(
        collector.span, lambda span: span.parent == enqueue.id and span.kind == INTERNAL
    )
    assert insert.name == "insert jobs"

    # Its job.
    first = await span(CONSUMER, kind="first")
    assert (first.service, first.name) == ("jobqueue-worker", "process traced")
    assert first.links == [(TRACE, SPAN)]
    assert (first.trace == TRACE, first.parent) == ((True, SPAN) if parent else (False, ""))
    assert first.attributes["messaging.message.id"] == job_id
    assert first.attributes["jobqueue.outcome"] == "succeeded"
    assert 0 <= first.attributes["jobqueue.wait_ms"] < 60_000

    # What its handler enqueued with its own end: two attempts, of which one failed.
    failed = await span(CONSUMER, kind="in_thread", attempt=1)
    again = await span(CONSUMER, kind="in_thread", attempt=2)
    assert failed.links == again.links == [(first.trace, first.id)]
    assert (failed.failed, again.failed) == (True, False)
    assert failed.attributes["jobqueue.outcome"] == "failed"
    [(name, event)] = failed.events
    assert (name, event["exception.type"], event["exception.message"]) == (
        "exception",
        "RuntimeError",
        "the first attempt fails",
    )
    assert "worker_program.py" in event["exception.stacktrace"]

    # What it enqueued by a call, whose span is the handler's child; and what that job enqueued, from its process.
    called = await span(SERVER, kind="in_process")
    assert (called.trace, called.parent) == (first.trace, first.id)
    process = await span(CONSUMER, kind="in_process")
    assert process.links == [(first.trace, first.id)]
    called = await span(SERVER, kind="last")
    assert (called.trace, called.parent) == (process.trace, process.id)
    last = await span(CONSUMER, kind="last")
    assert last.links == [(process.trace, process.id)]
    if parent:
        assert {span.trace for span in (failed, again, process, last)} == {TRACE}
    # The handler's lines have its trace.
    assert await worker.line(f"the last one runs [{last.trace} {last.id}]")

    # Who is not sampled leaves nothing, in server and worker.
    seen = len(collector.spans)
    await asyncio.to_thread(post, server, "first", "00")
    await worker.line("the last one runs [ ]")
    worker.terminate()
    assert await worker.ended() == 0
    server.terminate()
    assert await server.ended() == 0
    assert len(collector.spans) == seen


@pytest.mark.slow
async def test_a_collector_that_is_away_holds_no_server_up(
    processes: list[Process], dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    server = ServerProcess(dsn, tmp_path / "server.log", http_addr="127.0.0.1:0")
    processes.append(server)
    await server.ready()
    await asyncio.to_thread(post, server, "first")
    server.terminate()
    assert await server.ended(20) == 0


@pytest.mark.slow
async def test_a_server_without_the_extra_says_what_to_install(
    processes: list[Process], dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A package that hides the SDK's, as if it were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path)]))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    server = ServerProcess(dsn, tmp_path / "server.log", http_addr="127.0.0.1:0")
    processes.append(server)
    await server.ready()
    assert "jobqueue-server[otel]" in await server.line("traces are asked for")
    await asyncio.to_thread(post, server, "first")
