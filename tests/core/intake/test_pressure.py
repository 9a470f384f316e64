"""Answers to enqueues say how near the server is to refusing more, over both transports; a refusal says which limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2
from tests.http.conftest import Caller
from tests.lease.place import Place, eventually

from .test_overload import WAITING

LIMIT = 50
JOB = {"kind": "work", "payload": {}}


@pytest.fixture
async def place(
    dsn: str, engine: str, fast_path: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    # No insert that is stuck is given up meanwhile.
    monkeypatch.setattr("jobqueue_server.store.database.STATEMENT_TIMEOUT", timedelta(seconds=20))
    async with Place(dsn, http_addr="127.0.0.1:0", enqueue_queue_limit=str(LIMIT)) as place:
        yield place


@pytest.fixture
async def http(place: Place) -> AsyncIterator[Caller]:
    caller = Caller(place.app.http_port)
    yield caller
    await caller.session.close()


@asynccontextmanager
async def stuck(place: Place, jobs: int) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """No insert gets through, and so many jobs wait. They are stored at the end, with what was added to the list."""
    await place.enqueue()
    calls: list[asyncio.Task[Any]] = []
    connection = await asyncpg.connect(place.dsn)
    try:
        async with connection.transaction():
            await connection.execute("lock table job in exclusive mode")
            calls.append(asyncio.create_task(place.batch(jobs)))
            await eventually(lambda: place.value(WAITING))
            yield calls
    finally:
        await connection.close()
    await asyncio.gather(*calls)


def metadata_of(call: Any) -> dict[str, Any]:
    return dict(call or ())


def waiting(place: Place, jobs: int) -> Any:
    async def look() -> bool:
        return place.app.intake.waiting.jobs == jobs

    return eventually(look)


async def two_are_stuck(place: Place) -> bool:
    return bool(await place.value(WAITING) == 2)


def details(error: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    raw = metadata_of(error.trailing_metadata())["grpc-status-details-bin"]
    for detail in status_pb2.Status.FromString(raw).details:
        detail.Unpack(info)
        detail.Unpack(retry)
    return info, retry


async def test_a_full_line_says_which_limit_over_both_transports(place: Place, http: Caller) -> None:
    async with stuck(place, LIMIT):
        for refused in (place.enqueue(), place.batch(2), place.enqueue(idempotency_key="k")):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await refused
            info, retry = details(raised.value)
            assert (info.reason, info.metadata) == ("QUEUE_FULL", {"waiting": "50", "limit": "50"})
            assert 0.2 <= retry.retry_delay.ToTimedelta().total_seconds() <= 30
        answer = await http("POST", "/v1/jobs", JOB)
        assert (answer.status, answer.reason) == (429, "QUEUE_FULL")
        assert answer.detail("ErrorInfo")["metadata"] == {"waiting": "50", "limit": "50"}
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
    text = place.app.metrics.exposition("")[0].decode()
    assert 'jobqueue_enqueue_refused_total{reason="QUEUE_FULL"} 4.0' in text


async def test_an_answer_says_how_near_the_server_is_to_refusing(place: Place, http: Caller) -> None:
    async def enqueued(**fields: Any) -> dict[str, Any]:
        job = job_pb2.NewJob(kind="work", payload_json=b"{}", **fields)
        call = place.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
        await call
        return metadata_of(await call.trailing_metadata())

    async def batch() -> dict[str, Any]:
        jobs = [job_pb2.NewJob(kind="work", payload_json=b"{}") for _ in range(2)]
        call = place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
        await call
        return metadata_of(await call.trailing_metadata())

    async with stuck(place, 1) as calls:
        # These are stored after the one that is stuck, by one insert; the one with a key by another.
        calls.append(asyncio.create_task(place.batch(35)))
        told = [asyncio.create_task(each) for each in (enqueued(), enqueued(max_attempts=7), batch())]
        posted = [
            asyncio.create_task(each)
            for each in (
                http("POST", "/v1/jobs", JOB),
                http("POST", "/v1/jobs", JOB, Idempotency_Key="h"),
                http("POST", "/v1/jobs:batchEnqueue", {"jobs": [JOB]}),
            )
        ]
        calls += [*told, *posted]
        await waiting(place, 43)
        # The insert with the key shares nothing with them: what it tells is that it took long itself.
        await eventually(lambda: two_are_stuck(place))
        await asyncio.sleep(0.6)
    pressures = [float(each.result()["jobqueue-pressure"]) for each in told]
    pressures += [float(each.result().headers["Jobqueue-Pressure"]) for each in posted]
    assert all(0.5 < each <= 1 for each in pressures), pressures
    assert "jobqueue_enqueue_pressure" in place.app.metrics.exposition("")[0].decode()


async def test_an_answer_of_a_server_with_room_says_nothing_of_it(place: Place, http: Caller) -> None:
    for _ in range(3):
        job = job_pb2.NewJob(kind="work", payload_json=b"{}")
        call = place.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
        await call
        if place.app.intake.waiting._commit < 0.5:
            assert "jobqueue-pressure" not in metadata_of(await call.trailing_metadata())
        answer = await http("POST", "/v1/jobs", JOB)
        if place.app.intake.waiting._commit < 0.5:
            assert "Jobqueue-Pressure" not in answer.headers
