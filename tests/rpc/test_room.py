"""There is room for so many jobs that wait to be stored, whatever they wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.store.catalog.catalog import CatalogStore
from jobqueue_server.store.intake.intake import IntakeStore
from tests.lease.place import Held, Place, leaving_nothing_to_the_collector

PATIENCE = 20.0
ROOM = 100


def batch(jobs: int, **fields: Any) -> jobqueue_pb2.BatchEnqueueJobsRequest:
    job = job_pb2.NewJob(kind="work", queue="new", payload_json=b"{}", **fields)
    return jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[job] * jobs)


@pytest.mark.parametrize("fields", [{}, {"labels": {"a": "b"}}], ids=["plain", "with labels"])
async def test_calls_that_wait_for_their_lane_take_room(
    dsn: str, fast_path: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of a new queue read, checked and kept all that came until its lane was made."""
    async with Place(dsn, enqueue_queue_limit=ROOM) as place:
        held = Held(monkeypatch, CatalogStore, "intern_lane")
        first = place.stub.BatchEnqueueJobs(batch(ROOM, **fields))
        await held.one_waits()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await place.stub.BatchEnqueueJobs(batch(1, **fields), timeout=PATIENCE)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.go_on.set()
        assert len((await asyncio.wait_for(first, PATIENCE)).results) == ROOM
        # All of it is there again.
        await place.stub.BatchEnqueueJobs(batch(ROOM, **fields), timeout=PATIENCE)


async def test_what_is_refused_leaves_nothing_to_the_collector(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Place(dsn, enqueue_queue_limit=ROOM) as place:
        await place.stub.BatchEnqueueJobs(batch(1))
        held = Held(monkeypatch, IntakeStore, "enqueue")
        first = place.stub.BatchEnqueueJobs(batch(ROOM))
        await held.one_waits()
        with leaving_nothing_to_the_collector():
            for _ in range(3):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await place.stub.BatchEnqueueJobs(batch(1), timeout=PATIENCE)
                assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.go_on.set()
        await asyncio.wait_for(first, PATIENCE)


@pytest.mark.parametrize("fields", [{}, {"idempotency_key": "k"}], ids=["plain", "with a key"])
async def test_an_insert_that_failed_leaves_nothing_to_the_collector(
    dsn: str, fast_path: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*args: Any, **more: Any) -> None:
        raise DatabaseAway("it does not answer")

    async with Place(dsn) as place:
        await place.enqueue(queue="new")
        monkeypatch.setattr(IntakeStore, "enqueue", fails)
        with leaving_nothing_to_the_collector():
            for _ in range(3):
                calls = [place.stub.BatchEnqueueJobs(batch(1, **fields), timeout=PATIENCE) for _ in range(2)]
                for call in calls:
                    with pytest.raises(grpc.aio.AioRpcError) as refused:
                        await call
                    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await asyncio.sleep(0.05)
