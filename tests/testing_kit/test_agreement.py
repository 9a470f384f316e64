"""`perform` and a worker of a real server agree on each handler of handlers.json, in each style; so does the table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Client, JsonText, Kind, NewJob, Status, Worker
from jobqueue.testing import Performed, TestScope, TestServer, perform
from jobqueue.worker.context import Stop

from . import forty

pytestmark = [pytest.mark.slow, pytest.mark.any_engine, pytest.mark.timeout(240)]

WITHIN = timedelta(seconds=60)
#: An interpreter starts for each, so these are the ones that a process of its own could make other ones.
IN_A_PROCESS = {
    "echo", "fails", "breaks", "retries_now", "discards", "snoozes_later", "gives_up", "no_json", "output_too_long",
    "follows_up", "progresses", "checkpoint_too_long", "stops_when_told", "goes_back", "has_time", "halves",
    "around_answers", "around_changes", "encoded",
}  # fmt: skip
Rows = list[dict[str, Any]]
REASONS = {
    (Status.SUCCEEDED, ""): "succeeded",
    (Status.FAILED_PERMANENT, "ATTEMPTS_EXHAUSTED"): "failed",
    (Status.FAILED_PERMANENT, "NOT_RETRYABLE"): "discarded",
    (Status.CANCELLED, "CANCELLED_BY_WORKER"): "cancelled",
    (Status.CANCELLED, "CANCELLED_BY_CALLER"): "cancelled",
}


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with TestServer.start() as started:
        yield started


@pytest.fixture
async def scope(server: TestServer) -> AsyncIterator[TestScope]:
    async with TestScope(server) as opened:
        yield opened


def test_there_are_forty_handlers_and_what_is_otherwise_in_a_language_has_a_reason():
    assert len(forty.TABLE["handlers"]) == 40
    for row in forty.TABLE["handlers"]:
        assert row.get("except", {}).keys() <= {"python", "go", "typescript", "java", "rust"}
        for otherwise in (*row.get("except", {}).values(), *([row["alone"]] if "alone" in row else ())):
            assert len(otherwise["why"]) > 20, row["name"]


@pytest.mark.parametrize("style", forty.STYLES)
async def test_a_handler_comes_to_the_same_by_itself_and_by_a_worker(scope: TestScope, style: str):
    rows = [row for row in forty.ROWS.values() if style != "process" or row["name"] in IN_A_PROCESS]
    async with asyncio.TaskGroup() as tasks:
        there = tasks.create_task(_there(scope, style, rows))
        # Each process starts an interpreter.
        at_once = asyncio.Semaphore(2)
        alone = [tasks.create_task(_alone(style, row, at_once)) for row in rows]
    wrong = []
    for row, task in zip(rows, alone, strict=True):
        name, by_worker, by_itself = row["name"], there.result()[row["name"]], task.result()
        if "alone" not in row and by_worker != by_itself:
            wrong.append(f"{name}: by a worker {by_worker}, alone {by_itself}")
        expected = {**row["comes_to"], **row.get("except", {}).get("python", {})}
        for found, wanted in ((by_worker, expected), (by_itself, row.get("alone", expected))):
            wanted = {each: value for each, value in wanted.items() if each != "why"}
            if (of_table := _in_table(found, wanted)) != wanted:
                wrong.append(f"{name}: {of_table}, the table has {wanted}")
    assert not wrong, "\n".join(wrong)


# ---- alone


async def _alone(style: Any, row: dict[str, Any], at_once: asyncio.Semaphore) -> dict[str, Any]:
    said = {name: value for name, value in row.get("job", {}).items() if name != "timeout"}
    given: dict[str, Any] = {"max_attempts": 1, "queue": "default", "catch": True, "within": WITHIN, **said}
    if "timeout" in row.get("job", {}):
        given["timeout"] = timedelta(seconds=row["job"]["timeout"])
    if "stop" in row:
        given |= {"stop": Stop(row["stop"]), "stop_at": 1}
    payload = JsonText(row.get("payload_text", "null"))
    kind = forty.HALVES[style] if row.get("typed") else forty.kind_of(style, row)
    if row.get("encoded"):
        worker = Worker("127.0.0.1:1", encodings=forty.ENCODINGS)
        _handle(worker, style, row)
        handler: Any = worker
    else:
        handler = _function(style, row)
        given |= {"run_in": style, "middleware": [forty.around] if "around" in row else []}
    async with at_once:
        done = await perform(handler, payload, kind=kind, **given)
        for _ in row["does"][1:]:
            done = await done.again(stop_at=None)
    return _facts_alone(done, row)


def _facts_alone(done: Performed, row: dict[str, Any]) -> dict[str, Any]:
    after = done.retry_after if done.outcome == "failed" else done.delay
    again = done.outcome == "snoozed" or (
        done.outcome == "failed" and done.failures + 1 < row.get("job", {}).get("max_attempts", 1)
    )
    return {
        "outcome": done.outcome,
        "output_text": (done.output_json or b"").decode(),
        "error": done.error,
        "error_type": done.error_type,
        "after": _about(after if again else None),
        "progress": (done.progress[-1].fraction, done.progress[-1].message) if "stop" in row else None,
        "follow_ups": [
            (each.kind, (each.payload_json or b"").decode(), dict(each.labels or {}), _about(each.delay))
            for each in done.follow_ups
        ],
    }


# ---- by workers of a real server


async def _there(scope: TestScope, style: str, rows: Rows) -> dict[str, dict[str, Any]]:
    for kind in {"next", *(forty.kind_of(style, row) for row in rows)}:
        await scope.client.put_kind(Kind(name=kind))
    plain = scope.worker(concurrency=4)
    around = scope.worker(middleware=[forty.around], concurrency=1)
    encoding = scope.worker(encodings=forty.ENCODINGS, concurrency=1)
    leaving = scope.worker(concurrency=1)

    def of(row: dict[str, Any]) -> Worker:
        if "around" in row:
            return around
        return encoding if row.get("encoded") else leaving if row.get("stop") == "shutdown" else plain

    for row in {forty.kind_of(style, row): row for row in rows}.values():
        _handle(of(row), style, row)
    async with (
        Client(scope.target, token=scope.key, encodings=forty.ENCODINGS) as sealing,
        _served(plain), _served(around), _served(encoding), _served(leaving),
    ):  # fmt: skip
        clients = [sealing if row.get("encoded") else scope.client for row in rows]
        sent = [await client.enqueue(_job(style, row)) for client, row in zip(clients, rows, strict=True)]
        return {
            row["name"]: await _fact_there(client, job.id, row, leaving)
            for client, row, job in zip(clients, rows, sent, strict=True)
        }


@asynccontextmanager
async def _served(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.serve())
    try:
        yield
    finally:
        worker.stop(grace=timedelta(0))
        await task


def _job(style: str, row: dict[str, Any]) -> NewJob:
    said = {"max_attempts": 1, **row.get("job", {})}
    if "timeout" in said:
        said["timeout"] = timedelta(seconds=said["timeout"])
    return NewJob(forty.kind_of(style, row), payload_json=row.get("payload_text", "null").encode(), **said)


async def _fact_there(client: Client, id: str, row: dict[str, Any], leaving: Worker) -> dict[str, Any]:
    progress = None
    if "stop" in row:
        job = await _until(client, id, lambda job: job.progress is not None)
        progress = (job.progress.fraction, job.progress.message)
        if row["stop"] == "cancel":
            await client.cancel(id)
        else:
            leaving.stop(grace=timedelta(0))
    attempts = len(row["does"])
    job = await _until(
        client, id,
        lambda job: job.is_terminal or (job.attempts >= attempts and job.status is not Status.RUNNING),
    )  # fmt: skip
    unfinished = {
        Status.RETRYING: "failed",
        Status.QUEUED: "snoozed" if job.run_at > job.updated_at else "released",
    }
    outcome = unfinished.get(job.status) or REASONS[job.status, job.reason]
    if job.cancel_requested and job.failed_attempts:
        # What an attempt that was to stop has failed with is kept, but there is no next one.
        outcome = "failed"
    failed = job.failed_attempts[-1] if outcome in ("failed", "discarded") else None
    following: Any = await client.list_page(queue=job.kind, full=True, page_size=200)
    return {
        "outcome": outcome,
        "output_text": (job.output_json or b"").decode(),
        "error": failed.error if failed else "",
        "error_type": failed.error_type if failed else "",
        "after": None if job.is_terminal else _about(job.run_at - job.created_at),
        "progress": progress,
        "follow_ups": [
            (
                each.kind,
                (each.payload_json or b"").decode(),
                dict(each.labels),
                _about(each.run_at - each.created_at),
            )
            for each in following.jobs
        ],
    }


async def _until(client: Client, id: str, holds: Any) -> Any:
    async with asyncio.timeout(60):
        while not holds(job := await client.get(id)):
            await asyncio.sleep(0.02)
        return job


# ---- both


def _function(style: str, row: dict[str, Any]) -> Any:
    if row.get("typed"):
        return forty.halve_on_loop if style == "loop" else forty.halve
    return forty.do_on_loop if style == "loop" else forty.do


def _handle(worker: Worker, style: Any, row: dict[str, Any]) -> None:
    kind = forty.HALVES[style] if row.get("typed") else forty.kind_of(style, row)
    worker.handler(kind, run_in=style)(_function(style, row))


def _about(wait: timedelta | None) -> int | None:
    """Whole hours, in seconds: a server adds up to a tenth to a retry. None: less than one.

    The clock of the id, from which it is counted, may be a moment ahead of the one by which it is due.
    """
    return None if wait is None else int((wait + timedelta(minutes=1)) / timedelta(hours=1)) * 3600 or None


def _in_table(facts: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """What the table would say of it, by the names of what it does."""
    text = facts["output_text"]
    ends = expected.get("error_ends", "")
    named = {
        **facts,
        "output": json.loads(text) if text else None,
        "output_bytes": len(text.encode()),
        "error_ends": facts["error"][-len(ends) :],
        "error_type": facts["error_type"].rpartition(".")[2].lower(),
        "follow_ups": [
            {"payload": json.loads(payload), "labels": labels}
            for _, payload, labels, _ in facts["follow_ups"]
        ],
    }
    if facts["progress"]:
        fraction, message = facts["progress"]
        named["progress"] = [fraction, len(message.encode())]
    return {name: named[name] for name in expected}
