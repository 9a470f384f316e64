"""A queue lets so many jobs wait: more are refused, whichever way they come; what ends or repeats a job never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from tests.http.conftest import Caller
from tests.lease.hand_worker import span
from tests.lease.place import Place, eventually

from .test_pressure import details, metadata_of

JOB = {"kind": "work", "payload": {}, "queue": "mail"}


@pytest.fixture
async def place(dsn: str, fast_path: str) -> AsyncIterator[Place]:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        yield place


@pytest.fixture
async def http(place: Place) -> AsyncIterator[Caller]:
    caller = Caller(place.app.http_port)
    yield caller
    await caller.session.close()


async def limited(place: Place, most: int | None, waiting: int) -> list[str]:
    """The queue `mail`, with this limit, and so many jobs that wait."""
    await place.enqueue(queue="mail")
    ids = await place.batch(waiting - 1, queue="mail") if waiting > 1 else []
    await limit(place, most)
    return ids


async def limit(place: Place, most: int | None) -> None:
    queue = queue_admin_pb2.Queue(name="mail", max_waiting=most or 0)
    mask = FieldMask(paths=["max_waiting"])
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, update_mask=mask))


async def refusal(call: Awaitable[Any]) -> error_details_pb2.ErrorInfo:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, retry = details(refused.value)
    assert 0.2 <= retry.retry_delay.ToTimedelta().total_seconds() <= 30
    return info


async def test_every_way_in_is_refused_at_the_limit(place: Place, http: Caller) -> None:
    await limited(place, 5, 5)
    ways = (
        lambda: place.enqueue(queue="mail"),
        lambda: place.enqueue(queue="mail", max_attempts=7),
        lambda: place.enqueue(queue="mail", idempotency_key="new"),
        lambda: place.enqueue(queue="mail", kind="another"),
        lambda: place.batch(2, queue="mail"),
        lambda: batch_with_keys(place, "new 1", "new 2"),
    )
    for way in ways:
        info = await refusal(way())
        assert info.reason == "QUEUE_BACKLOG_FULL"
        assert info.metadata == {"queue": "mail", "waiting": "5", "limit": "5"}
    for path, body in (("/v1/jobs", JOB), ("/v1/jobs:batchEnqueue", {"jobs": [JOB]})):
        answer = await http("POST", path, body)
        assert (answer.status, answer.reason) == (429, "QUEUE_BACKLOG_FULL")
        assert answer.detail("ErrorInfo")["metadata"]["limit"] == "5"
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
    answer = await http("POST", "/v1/jobs", JOB, Idempotency_Key="new")
    assert (answer.status, answer.reason) == (429, "QUEUE_BACKLOG_FULL")
    assert await place.value("select count(*) from job") == 5
    text = place.app.metrics.exposition("")[0].decode()
    assert 'jobqueue_enqueue_refused_total{reason="QUEUE_BACKLOG_FULL"} 9.0' in text
    await place.enqueue(queue="other")


async def batch_with_keys(place: Place, *keys: str) -> list[tuple[str, bool]]:
    jobs = [
        job_pb2.NewJob(kind="work", payload_json=b"{}", queue="mail", idempotency_key=key) for key in keys
    ]
    response = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
    return [(result.id, result.replayed) for result in response.results]


async def test_a_key_that_is_known_is_answered_at_the_limit(place: Place, http: Caller) -> None:
    first = await place.enqueue(queue="mail", idempotency_key="a")
    second = await place.enqueue(queue="mail", idempotency_key="b")
    await limit(place, 2)
    assert (await refusal(place.enqueue(queue="mail"))).reason == "QUEUE_BACKLOG_FULL"
    assert (await place.enqueue(queue="mail", idempotency_key="a")).id == first.id
    assert await batch_with_keys(place, "a", "b") == [(first.id, True), (second.id, True)]
    answer = await http("POST", "/v1/jobs", JOB, Idempotency_Key="b")
    assert (answer.status, answer.json["id"]) == (200, second.id)
    assert (await refusal(batch_with_keys(place, "a", "c"))).reason == "QUEUE_BACKLOG_FULL"


async def test_a_unique_job_whose_name_is_held_is_answered_at_the_limit(place: Place, http: Caller) -> None:
    """Of it nothing is stored."""

    def named(name: str, **fields: Any) -> jobqueue_pb2.EnqueueJobRequest:
        how = {each: fields.pop(each) for each in ("on_conflict", "replace") if each in fields}
        job = job_pb2.NewJob(kind="work", queue="mail", unique=job_pb2.Unique(key=name, **how), **fields)
        return jobqueue_pb2.EnqueueJobRequest(job=job)

    async def batch(*names: str) -> list[tuple[str, int]]:
        jobs = [named(name).job for name in names]
        answer = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
        return [(each.id, each.unique_action) for each in answer.results]

    unique = job_pb2.Unique
    first = (await place.stub.EnqueueJob(named("a"))).job.id
    second = (await place.stub.EnqueueJob(named("b"))).job.id
    await limit(place, 2)
    for refused in (named("c"), named("c", on_conflict=unique.REJECT), named("c", idempotency_key="new")):
        assert (await refusal(place.stub.EnqueueJob(refused))).reason == "QUEUE_BACKLOG_FULL"
    assert (await refusal(batch("a", "c"))).reason == "QUEUE_BACKLOG_FULL"

    kept = await place.stub.EnqueueJob(named("a"))
    assert (kept.job.id, kept.unique_action) == (first, unique.KEPT)
    kept = await place.stub.EnqueueJob(named("a", idempotency_key="another"))
    assert (kept.job.id, kept.unique_action) == (first, unique.KEPT)
    assert await batch("b", "a") == [(second, unique.KEPT), (first, unique.KEPT)]
    replaced = named("b", on_conflict=unique.REPLACE, replace=[unique.PAYLOAD], payload_json=b'{"n": 2}')
    changed = await place.stub.EnqueueJob(replaced)
    assert (changed.job.id, changed.unique_action) == (second, unique.REPLACED)
    assert (await place.get(second)).payload_json == b'{"n": 2}'
    put_off = named("b", on_conflict=unique.DEBOUNCE, delay=span(60))
    assert (await place.stub.EnqueueJob(put_off)).unique_action == unique.DEBOUNCED
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await place.stub.EnqueueJob(named("a", on_conflict=unique.REJECT))
    assert rejected.value.code() is grpc.StatusCode.ALREADY_EXISTS
    answer = await http("POST", "/v1/jobs", {**JOB, "unique": {"key": "a"}})
    assert (answer.status, answer.json["id"]) == (200, first)
    assert await place.value("select count(*) from job") == 2

    # Calls with one key that come at once are one request: the same answer, and no error that is only logged.
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    at_once = [place.stub.EnqueueJob(named("a", idempotency_key="at once")) for _ in range(10)]
    assert {answer.job.id for answer in await asyncio.gather(*at_once)} == {first}
    assert errors == []


async def test_jobs_are_let_in_again_as_soon_as_workers_take_some(place: Place) -> None:
    await limited(place, 3, 3)
    await refusal(place.enqueue(queue="mail"))
    worker = await place.worker(slots=2, queues={"mail": ["work"]})
    await worker.job()
    await worker.job()
    await place.enqueue(queue="mail")
    await place.enqueue(queue="mail")
    assert (await refusal(place.enqueue(queue="mail"))).metadata["waiting"] == "3"


async def test_a_job_that_goes_to_a_worker_at_once_does_not_wait(place: Place) -> None:
    await limited(place, 1, 1)
    worker = await place.worker(slots=50, queues={"mail": ["work"]})
    await worker.job()
    # No count may be what lets them in.
    async with place.app.catalog.catalog.backlogs._counting:
        for _ in range(20):
            await place.enqueue(queue="mail")
            await worker.job()


async def test_the_limit_holds_between_two_counts(place: Place) -> None:
    await limited(place, 10, 1)
    async with place.app.catalog.catalog.backlogs._counting:
        for _ in range(3):
            await place.enqueue(queue="mail")
            await place.enqueue(queue="mail", idempotency_key=str(uuid4()))
        await place.batch(2, queue="mail")
        await batch_with_keys(place, str(uuid4()))
        for _ in range(2):
            assert (await refusal(place.enqueue(queue="mail"))).metadata["waiting"] == "10"
    assert await place.value("select count(*) from job") == 10


@pytest.mark.slow
async def test_what_other_servers_store_is_known_by_the_next_count(place: Place, dsn: str) -> None:
    await limited(place, 10, 1)
    async with Place(dsn) as other:
        await other.batch(20, queue="mail")
    await eventually(lambda: is_refused(place))


async def is_refused(place: Place) -> bool:
    try:
        await place.enqueue(queue="mail")
    except grpc.aio.AioRpcError as error:
        return bool(details(error)[0].reason == "QUEUE_BACKLOG_FULL")
    return False


async def test_calls_at_once_go_over_the_limit_by_no_more_than_one_batch(place: Place) -> None:
    await limited(place, 10, 1)
    calls = [place.batch(5, queue="mail") for _ in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert refused
    assert {details(each)[0].reason for each in refused} == {"QUEUE_BACKLOG_FULL"}
    assert 10 <= await place.value("select count(*) from job") < 15


async def test_keyed_batches_at_once_go_over_the_limit_by_no_more_than_one_batch(place: Place) -> None:
    await limited(place, 10, 1)
    calls = [batch_with_keys(place, *(f"{call} {number}" for number in range(5))) for call in range(20)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert 10 <= await place.value("select count(*) from job") < 15


async def test_what_waits_is_every_job_that_no_worker_has(place: Place) -> None:
    await limited(place, 100, 1)
    await place.enqueue(queue="mail", hold=True)
    await place.enqueue(queue="mail", delay=1000)
    await place.enqueue(queue="mail", kind="another")
    worker = await place.worker(slots=1, queues={"mail": ["work"]})
    await worker.job()
    await limit(place, 3)
    assert (await refusal(place.enqueue(queue="mail"))).metadata["waiting"] == "3"


async def test_settlements_their_follow_ups_retries_releases_and_cancels_are_never_refused(
    place: Place,
) -> None:
    await limited(place, 100, 4)
    held = await place.enqueue(queue="mail", hold=True)
    worker = await place.worker(slots=4, queues={"mail": ["work"]})
    jobs = [await worker.job() for _ in range(4)]
    await limit(place, 1)
    assert (await refusal(place.enqueue(queue="mail"))).reason == "QUEUE_BACKLOG_FULL"
    follow_ups = [job_pb2.NewJob(kind="later", payload_json=b"{}", queue="mail") for _ in range(3)]
    assert await worker.outcome(jobs[0], success=lease_pb2.Success(follow_ups=follow_ups)) is None
    await worker.fail(jobs[1], "again", retry_after=span(60))
    assert (await place.get(jobs[1].id)).status == job_pb2.Job.RETRYING
    assert await worker.succeed(jobs[2]) == []
    await place.stub.ReleaseJob(jobqueue_pb2.ReleaseJobRequest(id=held.id))
    await place.retry(jobs[2].id)
    await place.cancel(held.id)
    stored = "select count(*) from job join lane on lane.id = lane_id join kind on kind.id = kind_id"
    assert await place.value(f"{stored} where kind.name = 'later'") == 3


async def test_a_limit_is_set_shown_and_changes_nothing_else(place: Place, http: Caller) -> None:
    await place.enqueue(queue="mail")
    set_policy = {"key_policy": {"max_running": 3, "max_waiting": 7}}
    first = await http("PATCH", "/v1/queues/mail", set_policy)
    assert (first.status, first.json["max_waiting"]) == (200, 0)
    answer = await http("PATCH", "/v1/queues/mail", {"max_waiting": 5000})
    assert (answer.status, answer.json["max_waiting"]) == (200, 5000)
    assert answer.json["key_policy"] == first.json["key_policy"]
    assert answer.json["etag"] != first.json["etag"]
    stale = await http("PATCH", "/v1/queues/mail", {"max_waiting": 1, "etag": first.json["etag"]})
    assert (stale.status, stale.reason) == (409, "ETAG_MISMATCH")
    again = await http("PATCH", "/v1/queues/mail", {"max_waiting": 5000})
    assert again.json["etag"] == answer.json["etag"]
    shown = await place.admin.GetQueue(queue_admin_pb2.GetQueueRequest(name="mail"))
    assert shown.queue.max_waiting == 5000
    listed = await place.admin.ListQueues(queue_admin_pb2.ListQueuesRequest())
    assert [queue.max_waiting for queue in listed.queues] == [5000]
    keys = await http("PATCH", "/v1/queues/mail", {"key_policy": {"max_running": 4}})
    assert (keys.status, keys.json["max_waiting"]) == (200, 5000)
    await http("PATCH", "/v1/queues/mail", {"key_policy": {"max_running": 3}})
    back = await http("PATCH", "/v1/queues/mail?update_mask=maxWaiting", {})
    assert (back.status, back.json["max_waiting"]) == (200, 0)
    assert back.json["key_policy"] == first.json["key_policy"]


async def test_a_limit_that_is_taken_away_refuses_nothing(place: Place) -> None:
    await limited(place, 1, 1)
    await refusal(place.enqueue(queue="mail"))
    await limit(place, None)
    await place.enqueue(queue="mail")


async def test_an_answer_says_how_near_its_queue_is_to_the_limit(place: Place, http: Caller) -> None:
    async def pressure(queue: str, **more: Any) -> str:
        job = job_pb2.NewJob(kind="work", payload_json=b"{}", queue=queue, **more)
        call = place.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job))
        await call
        return str(metadata_of(await call.trailing_metadata()).get("jobqueue-pressure", ""))

    await limited(place, 200, 120)
    # By how far it is from the limit, or by how long the commit took, if this machine is slow.
    assert float(await pressure("mail")) >= 0.6
    assert float(await pressure("mail", idempotency_key="k")) >= 0.6
    assert float((await http("POST", "/v1/jobs", JOB)).headers["Jobqueue-Pressure"]) >= 0.6
