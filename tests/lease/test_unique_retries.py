"""A retry that respects names: a unique job takes its name again as by an enqueue, or is not retried."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import bulk_pb2, job_pb2, jobqueue_pb2
from jobqueue_server.core.intake.digest import name_digest
from jobqueue_server.model import NewJob, Unique

from .place import Caller, Place, Status, eventually
from .test_unique import U, ask, jobs, new, refused, unique

pytestmark = pytest.mark.any_engine


async def retry(place: Caller, job_id: str, respect_unique: bool = True) -> job_pb2.Job:
    answer = await place.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=job_id, respect_unique=respect_unique))
    job: job_pb2.Job = answer.job
    return job


async def cancelled(place: Place, job: job_pb2.NewJob) -> str:
    """The id of a job that has ended, and let go of its name if it holds it for no period."""
    job_id: str = (await ask(place, job)).job.id
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job_id))
    return job_id


async def retry_jobs(place: Place, *ids: str) -> bulk_pb2.BulkMetadata:
    request = bulk_pb2.RetryJobsRequest(filter=bulk_pb2.JobFilter(ids=ids), force=True, respect_unique=True)
    begun = (await place.bulk.RetryJobs(request)).operation
    done = await place.operations.WaitOperation(lro_pb.WaitOperationRequest(name=begun.name))
    assert done.done
    told = bulk_pb2.BulkMetadata()
    assert done.metadata.Unpack(told)
    return told


async def names(place: Place) -> dict[str, int]:
    """How many jobs of each name wait."""
    rows = await place.sql(
        "select j.unique_name ->> 'key' as key, count(*)::int4 as jobs"
        " from live_job l join job j on j.id = l.id where l.state <> 2 group by 1"
    )
    return {row["key"]: row["jobs"] for row in rows}


async def test_a_job_whose_name_another_one_holds_is_not_retried_and_told_which(place: Place) -> None:
    first = await cancelled(place, new())
    second = (await ask(place, new())).job.id
    assert await refused(retry(place, first)) == ("DUPLICATE", {"job_id": second})
    assert (await place.get(first)).status == Status.CANCELLED
    assert (await ask(place, new())).job.id == second
    assert (await retry(place, first, respect_unique=False)).status == Status.QUEUED
    assert await names(place) == {"user-7": 2}


@pytest.mark.cases(2)
@pytest.mark.parametrize("since", ["nothing", "swept", "another one that ended"])
@pytest.mark.parametrize("until", [U.STARTS, U.ENDS])
async def test_a_retried_job_holds_its_name_whatever_became_of_the_name_since(
    place: Place, since: str, until: Any
) -> None:
    once = new(unique=unique(until=until))
    first = await cancelled(place, once)
    if since == "swept":
        await place.sql("delete from unique_hold")
    elif since != "nothing":
        assert await cancelled(place, new(unique=unique(until=U.PERIOD, period=1))) != first
        await place.sql("update unique_hold set holds_until = now()")
    assert (await retry(place, first)).status == Status.QUEUED
    assert (await ask(place, once)).job.id == first
    worker = await place.worker(slots=1)
    assert (await worker.job()).id == first
    # It lets go as it said at its enqueue.
    assert ((await ask(place, once)).job.id == first) == (until == U.ENDS)


async def test_of_a_name_for_a_period_a_retry_is_refused_within_that_of_another_one_alone(
    place: Place,
) -> None:
    throttled = new(unique=unique(until=U.PERIOD, period=600))
    first = await cancelled(place, throttled)
    assert (await retry(place, first)).status == Status.QUEUED
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=first))
    await place.sql("update unique_hold set holds_until = now()")
    second = await cancelled(place, throttled)
    assert await refused(retry(place, first)) == ("DUPLICATE", {"job_id": second})
    await place.sql("update unique_hold set holds_until = now()")
    assert (await retry(place, first)).status == Status.QUEUED
    assert (await ask(place, throttled)).job.id not in (first, second)


async def test_a_job_without_a_name_is_retried_and_one_that_has_not_ended_is_not(place: Place) -> None:
    plain = await cancelled(place, job_pb2.NewJob(kind="work"))
    assert (await retry(place, plain)).status == Status.QUEUED
    assert await place.sql("select from unique_hold") == []
    waits = (await ask(place, new())).job.id
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await retry(place, waits)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.slow
async def test_of_retries_and_enqueues_at_once_one_gets_the_name(place: Place) -> None:
    async with Place(place.dsn) as other:
        for number in range(30):
            name = f"user-{number}"
            ended = [await cancelled(place, new(name)) for _ in range(2)]
            retries = [retry(at, job_id) for at, job_id in zip((place, other), ended, strict=True)]
            answers = await asyncio.gather(
                *retries, *(ask(at, new(name)) for at in (place, other)), return_exceptions=True
            )
            lost = [answer for answer in answers[:2] if isinstance(answer, grpc.aio.AioRpcError)]
            assert {error.code() for error in lost} <= {grpc.StatusCode.ALREADY_EXISTS}
            won = {answer.id for answer in answers if isinstance(answer, job_pb2.Job)}
            won |= {
                answer.job.id for answer in answers if isinstance(answer, jobqueue_pb2.EnqueueJobResponse)
            }
            assert len(won) == 1, answers
            assert (await names(place))[name] == 1


async def test_a_retry_takes_the_name_before_it_locks_its_job(place: Place) -> None:
    """Where names are locked, they are locked first. The other way round two transactions would deadlock."""
    first = await cancelled(place, new())
    digest = name_digest(1, NewJob("work", b"{}"), Unique("user-7"))
    connection = await asyncpg.connect(place.dsn)

    async def waits() -> bool:
        (row,) = await place.sql(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        return bool(row[0])

    try:
        async with connection.transaction():
            await connection.execute("select from unique_hold where digest = $1 for update", digest)
            retrying = asyncio.create_task(retry(place, first))
            await eventually(waits)
            assert await connection.fetch("select id from finished_job for update nowait")
    finally:
        await connection.close()
    assert (await retrying).status == Status.QUEUED


@pytest.mark.slow
async def test_an_operation_retries_one_of_a_name_and_skips_whose_name_is_held(place: Place) -> None:
    three = [await cancelled(place, new("seven")) for _ in range(3)]
    held = await cancelled(place, new("eight"))
    holder = (await ask(place, new("eight"))).job.id
    plain = await cancelled(place, job_pb2.NewJob(kind="work"))
    told = await retry_jobs(place, *three, held, plain)
    assert (told.changed, told.skipped) == (2, 3)
    assert (await place.get(three[0])).status == (await place.get(plain)).status == Status.QUEUED
    for left in (*three[1:], held):
        assert (await place.get(left)).status == Status.CANCELLED
    assert (await ask(place, new("seven"))).job.id == three[0]
    assert (await ask(place, new("eight"))).job.id == holder
    stored = await jobs(place)
    told = await retry_jobs(place, *three[1:], held)
    assert (told.changed, told.skipped) == (0, 3)
    assert await jobs(place) == stored


async def test_an_operation_retries_all_of_a_name_that_was_held_for_a_period(place: Place) -> None:
    throttled = new(unique=unique(until=U.PERIOD, period=600))
    ended = []
    for _ in range(2):
        ended.append(await cancelled(place, throttled))
        await place.sql("update unique_hold set holds_until = now()")
    assert (await retry_jobs(place, *ended)).changed == 2
