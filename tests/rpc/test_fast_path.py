"""The fast path of EnqueueJob over gRPC: the same answers as the general path, after the same commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2, jobqueue_pb2, queue_admin_pb2
from jobqueue_server.rpc.fast.servicer import FastPathServicer
from jobqueue_server.store.intake.intake import IntakeStore
from tests.lease.place import Held, Place, leaving_nothing_to_the_collector

PATIENCE = 20.0

pytestmark = pytest.mark.http2


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn) as place:
        yield place


@pytest.fixture
async def general(dsn: str) -> AsyncIterator[Place]:
    """Another server on the same database, which has the general path alone."""
    async with Place(dsn, fast_path="off") as place:
        yield place


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The jobs that took the fast path."""
    jobs: list[Any] = []
    enqueue = FastPathServicer.fast_enqueue

    def noted(self: FastPathServicer, *args: Any) -> Any:
        job = enqueue(self, *args)
        if job is not None:
            jobs.append(job)
        return job

    monkeypatch.setattr(FastPathServicer, "fast_enqueue", noted)
    return jobs


def ask(payload_format: Any = "PAYLOAD_FORMAT_JSON", **fields: Any) -> jobqueue_pb2.EnqueueJobRequest:
    job = job_pb2.NewJob(**{"kind": "work", "payload_json": b'{"n":  1}', **fields})
    return jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=payload_format)


def alike(response: jobqueue_pb2.EnqueueJobResponse) -> str:
    """Without what differs from job to job."""
    job: Any = response.job
    for name in ("id", "created_at", "updated_at", "run_at"):
        assert job.HasField(name) if name != "id" else job.id
        job.ClearField(name)
    assert len(job.headers["x-request-id"]) == 20
    del job.headers["x-request-id"]
    return str(response)


async def test_it_answers_what_the_general_way_answers(fast: list[Any], place: Place, general: Place) -> None:
    await place.stub.EnqueueJob(ask())  # makes the lane
    policy = job_pb2.RetryPolicy(min_backoff=Duration(seconds=2))
    for fields in (
        {"labels": {"b": "", "a": "x y", "B/c": "ü"}},
        {"labels": {"a": "other"}, "headers": {"mine": "1", "a-b": "ü"}},
        {"headers": {"traceparent": "mine", "x-request-id": "x" * 20}},
        {"delay": Duration(seconds=3), "max_attempts": 1},
        {"delay": Duration(), "max_attempts": 2},
        {"run_at": Timestamp(seconds=1_000_000_000)},
        {"timeout": Duration(seconds=9)},
        {"timeout": Duration(seconds=9), "retry_policy": policy},
        {"retry_policy": policy},
        {"hold": True},
        {"hold": True, "priority": 3, "labels": {"a": "b"}, "key": "k"},
        {
            "unique": job_pb2.Unique(
                payload_fields=["/n"], scope=job_pb2.Unique.QUEUE, until=job_pb2.Unique.ENDS
            ),
            "queue": "u{}",
        },
        {"unique": job_pb2.Unique(key="n", scope=job_pb2.Unique.QUEUE), "labels": {"a": "b"}, "queue": "v{}"},
        {"payload_json": b'{"escaped": "\\u0041\\""}'},
        {"payload_json": None, "payload": Value(number_value=1.5)},
        {"payload_json": None},
        {},
        {"queue": "other"},
        {"priority": -10},
        {"priority": 10, "queue": "other", "payload_json": b'"' + b"x" * 70_000 + b'"'},
        {"key": "customer 42"},
        {"key": "ü" * 255, "queue": "other", "priority": 1},
    ):
        # A name is free in a queue of its own.
        queues = [{"queue": str(fields["queue"]).format(at)} if "queue" in fields else {} for at in (1, 2)]
        fast.clear()
        answer = await place.stub.EnqueueJob(ask(**{**fields, **queues[0]}))
        assert len(fast) == 1, fields
        other = await general.stub.EnqueueJob(ask(**{**fields, **queues[1]}))
        other.job.queue = answer.job.queue
        assert len(fast) == 1
        read = await place.stub.GetJob(
            jobqueue_pb2.GetJobRequest(id=answer.job.id, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        )
        assert read.job == answer.job
        assert alike(answer) == alike(other)


async def test_the_first_jobs_of_a_lane_are_answered_as_the_next_ones_are(
    fast: list[Any], place: Place
) -> None:
    for number in range(2):
        await place.stub.EnqueueJob(ask())
        fast.clear()
        first, second = [await place.stub.EnqueueJob(ask(queue=f"new{number}")) for _ in range(2)]
        assert len(fast) == 2
        assert alike(first) == alike(second)
        batch = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[ask(queue=f"newer{number}").job] * 3)
        answers = [await place.stub.BatchEnqueueJobs(batch) for _ in range(2)]
        ids = [result.id for answer in answers for result in answer.results]
        assert len(set(ids)) == 6
        assert await place.value("select count(*) from job where id = any($1)", ids) == 6


async def test_a_refusal_names_the_job_by_its_place(fast_path: str, place: Place) -> None:
    await place.stub.EnqueueJob(ask(idempotency_key="k"))
    other = ask(idempotency_key="k", payload_json=b"2").job
    more = ask(idempotency_key="l").job
    for jobs, place_of_it in (([other], "jobs[0]"), ([more, other], "jobs[1]")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
        assert f"{place_of_it}.idempotency_key" in str(refused.value.trailing_metadata())


async def test_a_server_without_the_fast_path_answers_the_same(
    fast: list[Any], place: Place, dsn: str
) -> None:
    await place.stub.EnqueueJob(ask())
    fast.clear()
    with_it = [await place.stub.EnqueueJob(ask(priority=priority)) for priority in (0, 7)]
    batch = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[ask().job] * 3)
    with_it_batch = await place.stub.BatchEnqueueJobs(batch)
    assert len(fast) == 2
    async with Place(dsn, fast_path="off") as other:
        without = [await other.stub.EnqueueJob(ask(priority=priority)) for priority in (0, 7)]
        without_batch = await other.stub.BatchEnqueueJobs(batch)
    assert len(fast) == 2
    assert list(map(alike, with_it)) == list(map(alike, without))
    for answer in (with_it_batch, without_batch):
        assert [len(result.id) for result in answer.results] == [36] * 3
        assert not any(result.replayed for result in answer.results)


async def test_an_answer_has_what_its_kind_says_now(fast: list[Any], place: Place) -> None:
    for max_attempts, seconds in ((3, 0), (7, 0), (3, 9), (7, 8)):
        timeout = Duration(seconds=seconds) if seconds else None
        kind = queue_admin_pb2.Kind(name="work", max_attempts=max_attempts, timeout=timeout)
        await place.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
        await place.stub.EnqueueJob(ask())
        fast.clear()
        answer = await place.stub.EnqueueJob(ask())
        assert len(fast) == 1
        read = await place.stub.GetJob(
            jobqueue_pb2.GetJobRequest(id=answer.job.id, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        )
        assert read.job == answer.job
        assert (answer.job.max_attempts, answer.job.timeout.seconds) == (max_attempts, seconds)


async def test_what_is_unusual_or_wrong_takes_the_general_path(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(ask())
    fast.clear()
    await place.stub.EnqueueJob(ask("PAYLOAD_FORMAT_VALUE"))
    await place.stub.EnqueueJob(ask(idempotency_key="ü"))
    for wrong in (
        ask(kind=".x"),
        ask(priority=11),
        ask(payload_json=b"{"),
        ask(payload_json=b'{"a":1,"a":2}'),
        ask(labels={"": "b"}),
        ask(delay={"seconds": -1}),
        ask(unique=job_pb2.Unique(key="n", on_conflict=job_pb2.Unique.DEBOUNCE)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await place.stub.EnqueueJob(wrong)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fast == []


async def test_it_answers_after_the_commit_and_within_its_time(
    fast: list[Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.stub.EnqueueJob(ask())
    held = Held(monkeypatch, IntakeStore, "enqueue")
    call = place.stub.EnqueueJob(ask())
    await held.one_waits()
    assert not call.done()
    late = place.stub.EnqueueJob(ask(), timeout=0.3)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await late
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    monkeypatch.setattr("jobqueue_server.chain.UNARY_SECONDS", 0.2)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await place.stub.EnqueueJob(ask())
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    held.go_on.set()
    assert (await asyncio.wait_for(call, PATIENCE)).job.id
    async with asyncio.timeout(PATIENCE):
        while place.app.chain.in_flight:
            await asyncio.sleep(0.01)


async def test_a_caller_that_hangs_up_takes_its_job_out_of_line(
    fast: list[Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.stub.EnqueueJob(ask())
    enqueue = IntakeStore.enqueue
    stored: list[Any] = []

    async def noted(store: IntakeStore, rows: Any, *args: Any, **more: Any) -> Any:
        stored.extend(rows)
        return await enqueue(store, rows, *args, **more)

    monkeypatch.setattr(IntakeStore, "enqueue", noted)
    held = Held(monkeypatch, IntakeStore, "enqueue")
    first = place.stub.EnqueueJob(ask())
    await held.one_waits()
    fast.clear()
    second = place.stub.EnqueueJob(ask())
    async with asyncio.timeout(PATIENCE):
        while not fast:
            await asyncio.sleep(0.01)
        second.cancel()
        while not fast[0].done.cancelled():
            await asyncio.sleep(0.01)
    held.go_on.set()
    await asyncio.wait_for(first, PATIENCE)
    await asyncio.wait_for(place.stub.EnqueueJob(ask()), PATIENCE)
    assert len(stored) == 2
    assert place.app.chain.in_flight == 0


async def test_calls_leave_nothing_to_the_collector(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(ask())
    fast.clear()
    with leaving_nothing_to_the_collector():
        for _ in range(3):
            await place.stub.EnqueueJob(ask())
        await asyncio.sleep(0.1)
    assert len(fast) == 3
