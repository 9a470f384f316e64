"""A name of unique jobs is held by who may enqueue all jobs among which it stands, by whichever door it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import bulk_pb2, job_pb2, jobqueue_pb2, lease_pb2
from jobqueue_server.grants import Permission
from tests.http.conftest import Caller as RestCaller
from tests.lease.hand_worker import PATIENCE, reason_of, span, violations_of
from tests.lease.place import Caller
from tests.serve import schedules

from .house import House, grant

Unique = job_pb2.Unique
ENQUEUE, OPERATE, READ, WORK = Permission.ENQUEUE, Permission.OPERATE, Permission.READ, Permission.WORK
QUEUE_AND_KIND, KIND, QUEUE, NAMESPACE = (
    Unique.QUEUE_AND_KIND,
    Unique.KIND,
    Unique.QUEUE,
    Unique.NAMESPACE,
)


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn, http_addr="127.0.0.1:0") as house:
        yield house


@pytest.fixture
async def rest(house: House) -> AsyncIterator[RestCaller]:
    caller = RestCaller(house.app.http_port)
    yield caller
    await caller.session.close()


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def enqueue(caller: Caller, scope: Any = None, queue: str = "junk", kind: str = "work") -> job_pb2.Job:
    """A job with a name, which another one may hold already."""
    return await caller.enqueue(kind, queue=queue, unique=Unique(key="daily", scope=scope))


@pytest.mark.parametrize(
    ("scope", "narrow", "wide", "wants"),
    [
        (KIND, grant(ENQUEUE, "junk"), grant(ENQUEUE, kinds="work"), "the kind 'work' in all queues"),
        (None, grant(ENQUEUE, "junk"), grant(ENQUEUE, kinds="w*"), "the kind 'work' in all queues"),
        (QUEUE, grant(ENQUEUE, kinds="work"), grant(ENQUEUE, "junk"), "all kinds of the queue 'junk'"),
        (NAMESPACE, grant(ENQUEUE, "junk"), grant(ENQUEUE), "all kinds in all queues"),
        (NAMESPACE, grant(ENQUEUE, kinds="work"), grant(ENQUEUE), "all kinds in all queues"),
    ],
)
async def test_a_name_wants_a_grant_on_all_jobs_among_which_it_stands(
    house: House, rest: RestCaller, scope: Any, narrow: Any, wide: Any, wants: str
) -> None:
    key = await house.key(narrow)
    caller = house.with_key(key.text)
    error = await refused(enqueue(caller, scope))
    assert (reason_of(error), list(violations_of(error))) == ("NOT_ALLOWED", ["job.unique.scope"])
    said = str(error.details())
    assert wants in said
    assert "QUEUE_AND_KIND" in said, "what would be right"
    over_rest = await rest(
        "POST",
        "/v1/jobs",
        {
            "kind": "work",
            "queue": "junk",
            "unique": {"key": "daily", **({} if scope is None else {"scope": scope})},
        },
        authorization=f"Bearer {key.text}",
    )
    assert over_rest.status == 403
    assert wants in over_rest.text
    assert not await house.value("select count(*) from job")
    mine = await enqueue(caller, QUEUE_AND_KIND)
    theirs = await enqueue(await house.caller(wide), scope)
    assert mine.id != theirs.id
    again = await rest(
        "POST",
        "/v1/jobs",
        {"kind": "work", "queue": "junk", "unique": {"key": "daily", "scope": "QUEUE_AND_KIND"}},
        authorization=f"Bearer {key.text}",
    )
    assert (again.status, again.json["id"]) == (200, mine.id)


async def test_who_may_enqueue_junk_can_not_keep_the_jobs_of_others_from_being_stored(house: House) -> None:
    junk = await house.caller(grant(ENQUEUE, "junk", "junk"))
    assert reason_of(await refused(enqueue(junk, NAMESPACE, kind="junk"))) == "NOT_ALLOWED"
    await enqueue(junk, QUEUE_AND_KIND, kind="junk")
    for scope in (NAMESPACE, KIND, QUEUE, QUEUE_AND_KIND):
        job = await enqueue(house, scope, queue="pay")
        assert (await house.get(job.id)).queue == "pay"
    assert await house.value("select count(*) from job") == 5


async def test_a_batch_with_one_name_that_reaches_too_far_is_refused_whole(house: House) -> None:
    caller = await house.caller(grant(ENQUEUE, "junk"))
    jobs = [job_pb2.NewJob(kind="work", queue="junk", payload_json=b"{}") for _ in range(5)]
    jobs[1].unique.CopyFrom(Unique(key="a", scope=QUEUE))
    jobs[3].unique.CopyFrom(Unique(key="b", scope=NAMESPACE))
    error = await refused(caller.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs)))
    assert (reason_of(error), list(violations_of(error))) == ("NOT_ALLOWED", ["jobs[3].unique.scope"])
    assert not await house.value("select count(*) from job")


@pytest.mark.parametrize("on_conflict", [Unique.REPLACE, Unique.DEBOUNCE])
async def test_a_job_is_changed_by_its_name_only_by_who_may_hold_the_name(
    house: House, on_conflict: Any
) -> None:
    mine = await enqueue(house, KIND)
    caller = await house.caller(grant(ENQUEUE, "junk"))
    changing = Unique(key="daily", scope=KIND, on_conflict=on_conflict)
    call = caller.enqueue(payload=b"7", queue="junk", delay=60, unique=changing)
    assert list(violations_of(await refused(call))) == ["job.unique.scope"]
    assert (await house.get(mine.id)).payload_json == b"{}"


async def test_a_follow_up_holds_no_name_that_its_worker_may_not_hold(house: House) -> None:
    await house.enqueue(queue="junk")
    caller = await house.caller(grant(WORK | ENQUEUE, "junk"))
    worker = await caller.worker(queues={"junk": ["work"]})
    leased = await worker.job()
    new = job_pb2.NewJob(
        kind="work", queue="junk", payload_json=b"{}", unique=Unique(key="a", scope=NAMESPACE)
    )
    outcome = lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=[new]))
    (result,) = await worker.settle(outcomes=[outcome])
    assert lease_pb2.SettleResult.Verdict.Name(result.verdict) == "INVALID"
    assert "follow_ups[0].unique.scope" in result.message
    assert "all kinds in all queues" in result.message
    outcome.success.follow_ups[0].unique.scope = QUEUE
    assert not await worker.settle(outcomes=[outcome])


async def test_a_schedule_is_made_only_by_who_may_hold_the_name_of_its_jobs(house: House) -> None:
    caller = await house.caller(grant(READ | OPERATE | ENQUEUE, "junk"))
    error = await refused(schedules.create(caller, queue="junk", unique=Unique(key="a", scope=NAMESPACE)))
    assert (reason_of(error), list(violations_of(error))) == ("NOT_ALLOWED", ["schedule.job.unique.scope"])
    await schedules.create(caller, queue="junk", unique=Unique(key="a", scope=QUEUE))
    job = job_pb2.NewJob(
        kind="work", queue="junk", payload_json=b"{}", unique=Unique(key="a", scope=NAMESPACE)
    )
    error = await refused(schedules.update(caller, "job", job=job))
    assert list(violations_of(error)) == ["schedule.job.unique.scope"]


async def retried(caller: Caller, job_id: str) -> Any:
    return await caller.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=job_id, respect_unique=True))


async def retried_in_bulk(caller: Caller, queue: str) -> int:
    request = bulk_pb2.RetryJobsRequest(
        filter=bulk_pb2.JobFilter(queue=queue), respect_unique=True, force=True
    )
    name = (await caller.bulk.RetryJobs(request)).operation.name
    done = await caller.operations.WaitOperation(
        lro_pb.WaitOperationRequest(name=name, timeout=span(PATIENCE))
    )
    result = bulk_pb2.BulkResult()
    assert done.response.Unpack(result)
    return result.changed


async def test_a_retry_takes_no_name_that_reaches_beyond_what_its_caller_operates(house: House) -> None:
    jobs = {scope: await enqueue(house, scope) for scope in (NAMESPACE, KIND, QUEUE, QUEUE_AND_KIND)}
    for job in jobs.values():
        await house.cancel(job.id)
    narrow = await house.caller(grant(READ | OPERATE, "junk", "work"))
    for scope in (NAMESPACE, KIND, QUEUE):
        error = await refused(retried(narrow, jobs[scope].id))
        assert reason_of(error) == "NOT_ALLOWED"
        assert "respect_unique" in str(error.details())
    await retried(narrow, jobs[QUEUE_AND_KIND].id)
    await house.cancel(jobs[QUEUE_AND_KIND].id)
    assert await retried_in_bulk(narrow, "junk") == 1
    of_kind = await house.caller(grant(READ | OPERATE, kinds="work"))
    await retried(of_kind, jobs[KIND].id)
    await narrow.retry(jobs[QUEUE].id)
    assert await retried_in_bulk(house, "junk") == 1


async def test_a_retry_that_is_refused_for_its_name_tells_no_job_that_its_caller_may_not_see(
    house: House,
) -> None:
    job = await enqueue(house, NAMESPACE)
    await house.cancel(job.id)
    hidden = await enqueue(house, NAMESPACE, queue="pay")
    narrow = await house.caller(grant(READ | OPERATE, "junk"))
    error = await refused(retried(narrow, job.id))
    assert hidden.id not in str(error.details()) + str(error.trailing_metadata())


async def test_a_name_of_before_does_not_say_how_far_it_reaches_so_its_retry_wants_everything(
    house: House,
) -> None:
    job = await enqueue(house, QUEUE_AND_KIND)
    await house.cancel(job.id)
    await house.sql("update job set unique_name = unique_name - 'scope'")
    narrow = await house.caller(grant(READ | OPERATE, "junk"))
    assert reason_of(await refused(retried(narrow, job.id))) == "NOT_ALLOWED"
    await retried(await house.caller(grant(OPERATE)), job.id)
