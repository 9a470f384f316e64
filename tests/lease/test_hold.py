"""A job that is held back by hand: only a release starts it, whichever way it came, and on whichever server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2
from jobqueue_server.core.tuning import Tuning

from .hand_worker import PATIENCE, reason_of
from .place import Caller, Place, eventually

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict
HAND = job_pb2.Job.HAND


async def release(place: Caller, job_id: str) -> job_pb2.Job:
    request = jobqueue_pb2.ReleaseJobRequest(id=job_id)
    job: job_pb2.Job = (await place.stub.ReleaseJob(request, timeout=PATIENCE)).job
    return job


async def held(place: Caller, **fields: Any) -> str:
    job = await place.enqueue(hold=True, **fields)
    assert (job.status, job.hold) == (job_pb2.Job.QUEUED, HAND)
    return job.id


async def is_held(place: Caller, job_id: str) -> bool:
    job = await place.get(job_id)
    return job.HasField("hold") and job.hold == HAND


@pytest.fixture
async def unswept(dsn: str) -> AsyncIterator[Place]:
    """A server that looks for nothing by itself."""
    async with Place(dsn, tuning=Tuning(sweep_every=3600.0)) as place:
        yield place


# ---- not started


@pytest.mark.slow
async def test_a_held_job_is_not_handed_off_and_not_claimed_and_others_pass_it(place: Place) -> None:
    worker = await place.worker(slots=5)
    job_id = await held(place)
    behind = await place.enqueue()
    assert (await worker.job()).id == behind.id
    # A session that opens makes the server claim from the beginning of each line.
    other = await place.worker(slots=5)
    await other.no_job(1.3)
    assert not worker.has_job
    assert await is_held(place, job_id)


@pytest.mark.slow
async def test_a_held_job_survives_the_end_of_its_server(dsn: str) -> None:
    async with Place(dsn) as place:
        job_id = await held(place)
    async with Place(dsn) as place:
        worker = await place.worker()
        await worker.no_job(1.3)
        await release(place, job_id)
        assert (await worker.job()).id == job_id


async def test_a_batch_holds_only_those_of_its_jobs_that_say_so(place: Place) -> None:
    jobs = [
        job_pb2.NewJob(kind="work", payload_json=b"1", hold=hold, idempotency_key=key)
        for hold in (True, False)
        for key in ("", f"k{hold}")
    ]
    response = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
    ids = [result.id for result in response.results]
    worker = await place.worker(slots=5)
    assert {job.id for job in await worker.jobs(2)} == set(ids[2:])
    await worker.no_job()
    for job_id in ids[:2]:
        assert await is_held(place, job_id)
        await release(place, job_id)
    assert {job.id for job in await worker.jobs(2)} == set(ids[:2])


@pytest.mark.slow
async def test_a_follow_up_is_held_too(place: Place) -> None:
    worker = await place.worker(kinds=["work", "next"], slots=5)
    await place.enqueue()
    leased = await worker.job()
    new = job_pb2.NewJob(kind="next", payload_json=b"1", hold=True)
    outcome = lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=[new]))
    assert await worker.settle(outcomes=[outcome]) == []
    await worker.no_job()
    (row,) = await place.sql("select id from live_job where state = 3 and hold = 4")
    await release(place, str(row["id"]))
    assert (await worker.job()).kind == "next"


async def test_the_same_key_with_and_without_hold_are_two_requests(place: Place) -> None:
    first = await place.enqueue(hold=True, idempotency_key="k")
    again = await place.enqueue(hold=True, idempotency_key="k")
    assert (again.id, again.hold) == (first.id, HAND)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await place.enqueue(idempotency_key="k")
    assert reason_of(refused.value) == "IDEMPOTENCY_KEY_REUSED"


# ---- started by a release, and once


async def test_a_release_starts_the_job_at_once(unswept: Place) -> None:
    worker = await unswept.worker(slots=2)
    job_id = await held(unswept, priority=3)
    job = await release(unswept, job_id)
    assert (job.status, job.HasField("hold")) == (job_pb2.Job.QUEUED, False)
    leased = await worker.job()
    assert (leased.id, leased.attempt, leased.priority) == (job_id, 1, 3)
    assert await worker.succeed(leased) == []
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await release(unswept, job_id)
    assert reason_of(refused.value) == "JOB_NOT_HELD"
    await worker.no_job()


async def test_a_release_by_one_server_starts_the_job_with_the_other_at_once(dsn: str) -> None:
    tuning = Tuning(sweep_every=3600.0)
    async with Place(dsn, tuning=tuning) as one, Place(dsn, tuning=tuning) as other:

        async def acquainted() -> bool:
            return all(place.app.events.peers.listen for place in (one, other))

        await eventually(acquainted)
        worker = await other.worker()
        job_id = await held(one)
        await release(one, job_id)
        assert (await worker.job()).id == job_id


@pytest.mark.slow
async def test_a_released_job_still_waits_for_its_time(unswept: Place) -> None:
    worker = await unswept.worker(slots=2)
    job_id = await held(unswept, delay=4.0)
    job = await release(unswept, job_id)
    assert job.run_at.ToMicroseconds() > job.updated_at.ToMicroseconds()
    leased = await worker.job()
    assert leased.id == job_id
    row = await unswept.value("select changed_at >= run_at from live_job")
    assert row, "it did not start before its time"


async def test_a_job_that_was_held_fails_and_is_retried_as_any(place: Place) -> None:
    worker = await place.worker()
    job_id = await held(place, max_attempts=1)
    await release(place, job_id)
    await worker.fail(await worker.job())
    assert (await place.until(job_id, "FAILED_PERMANENT")).attempts == 1
    assert not (await place.retry(job_id)).HasField("hold")
    assert (await worker.job()).id == job_id
