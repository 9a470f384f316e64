"""Operations on many jobs, as callers see them: over gRPC and REST, on one server and across the death of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb
from google.rpc import code_pb2

from jobqueue.v1 import bulk_pb2, job_pb2
from tests.lease.hand_worker import PATIENCE, reason_of, span
from tests.lease.place import Caller, Place, eventually

from .server_process import ServerProcess

pytestmark = pytest.mark.any_engine

Failed = job_pb2.Job.FAILED_PERMANENT


async def fail(place: Place, count: int, queue: str = "default") -> list[str]:
    """Jobs that have failed for good, as the tables have them after an attempt of an error of the type Oops."""
    ids = await place.batch(count, queue=queue)
    await place.sql(
        """
        with gone as (delete from live_job where id = any($1::uuid[]) returning id),
        tried as (
            insert into attempt (job_id, attempt, started_at, outcome, reason, error_type, message)
            select id, 1, now(), 1, 'NOT_RETRYABLE', 'Oops', 'no luck' from gone
        )
        insert into finished_job (id, started_at, attempts, status, failures, losses, reason)
        select id, now(), 1, 5, 1, 0, 'NOT_RETRYABLE' from gone
        """,
        ids,
    )
    return ids


def metadata(operation: lro_pb.Operation) -> bulk_pb2.BulkMetadata:
    unpacked = bulk_pb2.BulkMetadata()
    assert operation.metadata.Unpack(unpacked)
    return unpacked


def result(operation: lro_pb.Operation) -> bulk_pb2.BulkResult:
    assert operation.done
    unpacked = bulk_pb2.BulkResult()
    assert operation.response.Unpack(unpacked), operation
    return unpacked


async def retry(place: Caller, *, force: bool = True, **asked: Any) -> lro_pb.Operation:
    of_filter = bulk_pb2.JobFilter.DESCRIPTOR.fields_by_name
    more = {name: asked.pop(name) for name in list(asked) if name not in of_filter}
    job_filter = bulk_pb2.JobFilter(**asked)
    request = bulk_pb2.RetryJobsRequest(filter=job_filter, force=force, **more)
    answered: lro_pb.Operation = (await place.bulk.RetryJobs(request, timeout=PATIENCE)).operation
    return answered


async def done(place: Caller, name: str) -> lro_pb.Operation:
    # Who takes over from a server that was killed begins after 10 s.
    request = lro_pb.WaitOperationRequest(name=name, timeout=span(60))
    answered: lro_pb.Operation = await place.operations.WaitOperation(request, timeout=90)
    assert answered.done, answered
    return answered


async def test_without_force_nothing_changes_and_the_answer_has_how_many_match(place: Place) -> None:
    ids = await fail(place, 30)
    rows = "select id, xmin::text, xmax::text from finished_job union all select id, xmin::text, xmax::text from job"
    before = set(map(tuple, await place.sql(rows)))
    operation = await retry(place, force=False, queue="default", status=[Failed])
    told = metadata(operation)
    assert (operation.name, operation.done) == ("", True)
    assert (told.verb, told.dry_run, told.estimate, told.estimate_capped) == ("RetryJobs", True, 30, False)
    assert list(told.sample_ids) == ids[:20]
    assert result(operation) == bulk_pb2.BulkResult()
    assert set(map(tuple, await place.sql(rows))) == before
    assert not await place.sql("select from operation")


@pytest.mark.slow
async def test_a_retry_of_many_queues_each_and_workers_run_them(place: Place) -> None:
    ids = await fail(place, 12)
    worker = await place.worker(slots=20)
    operation = await retry(place, error_type="Oops")
    assert (await done(place, operation.name)).name == operation.name
    assert {(await worker.job()).id for _ in ids} == set(ids)
    finished = await place.operations.GetOperation(lro_pb.GetOperationRequest(name=operation.name))
    told = metadata(finished)
    assert (result(finished).changed, told.changed, told.estimate) == (12, 12, 12)
    assert told.state == bulk_pb2.BULK_STATE_SUCCEEDED
    assert told.HasField("ended_at")


@pytest.mark.slow
async def test_jobs_that_are_retried_into_another_queue_run_there(place: Place) -> None:
    ids = await fail(place, 3)
    await place.pause((await place.get(ids[0])).queue)
    other = await place.worker(queues={"spare": ["work"]}, slots=5)
    for force in (False, True):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await retry(place, queue="default", to_queue="spare", force=force)
        assert reason_of(error.value) == "QUEUE_NOT_FOUND"
    # Of another kind, so that the queue has no lane of theirs yet.
    await place.enqueue("rest", queue="spare", hold=True)
    operation = await retry(place, queue="default", to_queue="spare")
    assert {(await other.job()).id for _ in ids} == set(ids)
    assert result(await done(place, operation.name)).changed == 3
    assert {(await place.get(job_id)).queue for job_id in ids} == {"spare"}


async def test_a_job_that_is_retried_with_a_reset_is_delivered_without_its_checkpoint(place: Place) -> None:
    job_id, kept = await fail(place, 2)
    await place.sql(
        "insert into job_progress (job_id, attempt, fraction, checkpoint) select unnest($1::uuid[]), 1, 0.5, 'c'",
        [job_id, kept],
    )
    worker = await place.worker(slots=2)
    await retry(place, ids=[job_id], reset_checkpoint=True, delay=span(0.2))
    leased = await worker.job()
    assert (leased.id, leased.checkpoint) == (job_id, b"")
    await retry(place, ids=[kept])
    leased = await worker.job()
    assert (leased.id, leased.checkpoint) == (kept, b"c")


async def test_a_cancel_of_many_ends_waiting_jobs_and_asks_workers(place: Place) -> None:
    worker = await place.worker(slots=1)
    running = (await place.enqueue()).id
    leased = await worker.job()
    assert leased.id == running
    waiting = await place.batch(5)
    request = bulk_pb2.CancelJobsRequest(
        filter=bulk_pb2.JobFilter(everything=True), force=True, reason="enough"
    )
    waits = asyncio.create_task(place.wait(waiting[-1]))
    operation = (await place.bulk.CancelJobs(request)).operation
    assert result(await done(place, operation.name)).changed == 6
    asked = (await worker.next("control")).cancel
    assert (list(asked.lease_ids), asked.reason) == ([leased.lease_id], "enough")
    assert (await waits).status == job_pb2.Job.CANCELLED
    for job_id in waiting:
        assert await place.status(job_id) == "CANCELLED"


@pytest.mark.slow
async def test_a_delete_of_many_takes_ended_jobs_away(place: Place) -> None:
    ids = await fail(place, 3)
    kept = (await place.enqueue()).id
    request = bulk_pb2.DeleteJobsRequest(filter=bulk_pb2.JobFilter(everything=True), force=True)
    operation = (await place.bulk.DeleteJobs(request)).operation
    assert result(await done(place, operation.name)).changed == 3
    assert await place.status(kept) == "QUEUED"
    for job_id in ids:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await place.get(job_id)
        assert reason_of(error.value) == "JOB_NOT_FOUND"


async def test_an_operation_is_cancelled_in_the_middle_and_says_what_it_did(place: Place) -> None:
    await fail(place, 40)
    operation = await retry(place, everything=True, per_second=5)

    async def begun() -> bool:
        now = await place.operations.GetOperation(lro_pb.GetOperationRequest(name=operation.name))
        return metadata(now).changed > 0

    await eventually(begun)
    await place.operations.CancelOperation(lro_pb.CancelOperationRequest(name=operation.name))
    ended = await done(place, operation.name)
    assert ended.error.code == code_pb2.CANCELLED
    told = metadata(ended)
    assert told.state == bulk_pb2.BULK_STATE_CANCELLED
    assert 0 < told.changed < 40
    assert await place.value("select count(*) from live_job") == told.changed
    # To ask again changes nothing.
    await place.operations.CancelOperation(lro_pb.CancelOperationRequest(name=operation.name))


async def test_a_request_that_is_sent_again_with_its_id_is_answered_the_same_operation(place: Place) -> None:
    await fail(place, 3)
    first = await retry(place, queue="default", request_id="r1")
    again = await retry(place, queue="default", request_id="r1")
    assert first.name == again.name
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await retry(place, queue="default", request_id="r1", max_jobs=1)
    assert reason_of(error.value) == "REQUEST_ID_REUSED"
    assert (await done(place, first.name)).name == first.name
    assert await place.value("select count(*) from operation") == 1


async def test_a_filter_without_a_condition_is_refused(place: Place) -> None:
    await fail(place, 1)
    for force in (False, True):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await retry(place, force=force)
        assert reason_of(error.value) == "FILTER_EMPTY"
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await place.value("select count(*) from live_job") == 0


async def test_operations_are_listed_newest_first_in_pages_and_deleted_once_they_are_done(
    place: Place,
) -> None:
    names = [(await retry(place, queue=f"q{number}")).name for number in range(5)]
    for name in names:
        await done(place, name)
    listed: list[str] = []
    token = ""
    while True:
        request = lro_pb.ListOperationsRequest(name="operations", page_size=2, page_token=token)
        page = await place.operations.ListOperations(request)
        listed += [each.name for each in page.operations]
        token = page.next_page_token
        if not token:
            break
    assert listed == names[::-1]
    await place.operations.DeleteOperation(lro_pb.DeleteOperationRequest(name=names[0]))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await place.operations.GetOperation(lro_pb.GetOperationRequest(name=names[0]))
    assert reason_of(error.value) == "OPERATION_NOT_FOUND"


async def test_an_operation_that_is_not_done_is_not_deleted(place: Place) -> None:
    await fail(place, 30)
    operation = await retry(place, everything=True, per_second=1)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await place.operations.DeleteOperation(lro_pb.DeleteOperationRequest(name=operation.name))
    assert reason_of(error.value) == "OPERATION_NOT_DONE"


async def test_over_rest_an_operation_is_made_read_waited_for_cancelled_and_deleted(dsn: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{place.app.http_port}/v1"
        await fail(place, 4)
        asked = {"filter": {"status": ["FAILED_PERMANENT"]}}
        async with session.post(f"{base}/jobs:retry", json=asked) as response:
            counted = await response.json()
            assert response.status == 200
        assert counted["metadata"]["@type"] == "type.googleapis.com/jobqueue.v1.BulkMetadata"
        assert (counted["done"], counted["metadata"]["estimate"]) == (True, "4")
        async with session.post(f"{base}/jobs:retry", json=asked | {"force": True}) as response:
            made = await response.json()
            assert response.status == 202
        assert made["done"] is False
        async with session.get(f"{base}/{made['name']}:wait?timeout=30s") as response:
            waited = await response.json()
            assert response.status == 200
        assert waited["response"] == {
            "@type": "type.googleapis.com/jobqueue.v1.BulkResult", "changed": "4", "skipped": "0",
        }  # fmt: skip
        async with session.get(f"{base}/operations") as response:
            assert [each["name"] for each in (await response.json())["operations"]] == [made["name"]]
        async with session.post(f"{base}/{made['name']}:cancel") as response:
            assert (response.status, await response.json()) == (200, {})
        async with session.delete(f"{base}/{made['name']}") as response:
            assert (response.status, await response.json()) == (200, {})
        async with session.get(f"{base}/{made['name']}") as response:
            assert response.status == 404
            assert "OPERATION_NOT_FOUND" in await response.text()


@pytest.mark.slow
async def test_a_filter_that_no_index_serves_ends_and_others_go_on_meanwhile(place: Place) -> None:
    await fail(place, 900)
    operation = await retry(place, error_type="Never")
    worker = await place.worker(slots=1)
    job = await place.enqueue()
    assert (await worker.job()).id == job.id
    told = metadata(await done(place, operation.name))
    assert (told.looked, told.changed) == (900, 0)


@pytest.mark.slow
async def test_an_operation_outlives_its_server_and_each_job_is_retried_once(
    dsn: str, processes: Callable[..., ServerProcess]
) -> None:
    first = processes(dsn)
    await first.start()
    count = 300
    async with Place(dsn) as place:
        ids = await fail(place, count)
    caller = Caller(await first.address())
    try:
        operation = await retry(caller, everything=True, per_second=60)
        connection = await asyncpg.connect(dsn)
        try:

            async def begun() -> bool:
                return int(await connection.fetchval("select count(*) from live_job")) >= 24

            await eventually(begun)
            await first.kill()
            # At one time: what it has sent may be committed after its death.
            killed_at, changed = await connection.fetchrow(
                "select changed, (select count(*) from live_job) from operation"
            )
            assert 0 < killed_at < count
            assert killed_at == changed
            # The kept attempt of a job that is retried twice would be there twice, and this would not be its first.
            second = processes(dsn)
            await second.start()
            other = Caller(await second.address())
            try:
                ended = await done(other, operation.name)
            finally:
                await other.close()
            assert result(ended) == bulk_pb2.BulkResult(changed=count)
            rows = await connection.fetch("select id::text, attempts, failures from live_job")
            assert {row["id"] for row in rows} == set(ids)
            assert {(row["attempts"], row["failures"]) for row in rows} == {(1, 0)}
            assert await connection.fetchval("select count(*) from attempt") == count
            assert await connection.fetchval("select count(*) from finished_job") == 0
        finally:
            await connection.close()
    finally:
        await caller.close()


@pytest.mark.slow
async def test_metrics_tell_of_operations_and_their_jobs(place: Place) -> None:
    await fail(place, 3)
    operation = await retry(place, everything=True)
    await done(place, operation.name)

    async def told() -> bool:
        text = place.app.metrics.exposition("")[0].decode()
        return (
            'jobqueue_bulk_jobs_total{outcome="changed",verb="retry"} 3.0' in text
            and 'jobqueue_operations{state="succeeded",verb="retry"} 1.0' in text
        )

    await eventually(told)


async def test_names_that_are_none_are_refused_and_unknown_ones_not_found(place: Place) -> None:
    for name in ("", "operations", "operations/", "operations/1", str(uuid4()), f"jobs/{uuid4()}"):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await place.operations.GetOperation(lro_pb.GetOperationRequest(name=name))
        assert reason_of(error.value) == "FIELD_INVALID", name
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await place.operations.GetOperation(lro_pb.GetOperationRequest(name=f"operations/{uuid4()}"))
    assert reason_of(error.value) == "OPERATION_NOT_FOUND"
