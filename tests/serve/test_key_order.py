"""Strict order of the jobs of a key: what is refused, what a failure brings, and what lets a key go on."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import aiohttp
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import insight_pb2, job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue.v1.queue_admin_pb2 import (
    KEY_ORDER_STRICT,
    ON_KEY_FAILURE_CANCEL_REST,
    ON_KEY_FAILURE_CONTINUE,
    ON_KEY_FAILURE_HOLD,
    KeyPolicy,
)
from tests.lease.hand_worker import HandWorker, reason_of, violations_of
from tests.lease.place import Caller, Place, eventually

from .test_key_policy import read, refused, update

pytestmark = pytest.mark.any_engine

Only = queue_admin_pb2.ListQueueKeysRequest.Only
KEY = "invoice 7/8: ada"


@pytest.fixture
async def ordered(place: Place) -> Place:
    """A server whose queue `mail` keeps a strict order."""
    await update(place, order=KEY_ORDER_STRICT, make=True)
    return place


async def put(place: Caller, key: str = KEY, **fields: Any) -> str:
    job_id: str = (await place.enqueue(queue="mail", key=key, **fields)).id
    return job_id


async def takes(place: Caller, **hello: Any) -> HandWorker:
    return await place.worker(queues={"mail": ["work"]}, **hello)


async def explained(place: Caller, job_id: str) -> insight_pb2.ExplainJobResponse:
    answer: insight_pb2.ExplainJobResponse = await place.insight.ExplainJob(
        insight_pb2.ExplainJobRequest(id=job_id)
    )
    return answer


async def unblock(place: Caller, key: str = KEY, queue: str = "mail") -> Any:
    return await place.admin.UnblockQueueKey(queue_admin_pb2.UnblockQueueKeyRequest(queue=queue, key=key))


# ---- the policy


async def test_an_order_lets_one_job_of_a_key_run_and_tells_what_follows_a_failure(ordered: Place) -> None:
    strict = KeyPolicy(max_running=1, order=KEY_ORDER_STRICT, on_failure=ON_KEY_FAILURE_CONTINUE)
    assert (await read(ordered)).key_policy == strict
    held = await update(ordered, on_failure=ON_KEY_FAILURE_HOLD)
    assert held.key_policy.on_failure == ON_KEY_FAILURE_HOLD
    taken_back = await update(ordered, "key_policy.order")
    assert taken_back.key_policy == KeyPolicy(max_running=1), "without an order a failure stops no key"


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("before", "mask", "change", "field"),
    [
        ({}, (), {"order": KEY_ORDER_STRICT, "max_running": 2}, "max_running"),
        ({"max_running": 2}, (), {"order": KEY_ORDER_STRICT}, "max_running"),
        ({"order": KEY_ORDER_STRICT}, (), {"max_running": 2, "max_waiting": 9}, "max_running"),
        ({}, (), {"on_failure": ON_KEY_FAILURE_HOLD}, "on_failure"),
        ({"order": KEY_ORDER_STRICT}, ("key_policy.order", "key_policy.on_failure"), {"on_failure": 3}, "on_failure"),
    ],
    ids=["both", "order of more", "more in order", "failure without order", "order taken back"],
)  # fmt: skip
async def test_a_policy_that_contradicts_itself_is_refused_whole(
    place: Place, before: dict[str, Any], mask: tuple[str, ...], change: dict[str, Any], field: str
) -> None:
    first = await update(place, "key_policy", make=True, **before)
    error = await refused(update(place, *mask, **change))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "KEY_POLICY_CONFLICT")
    assert list(violations_of(error)) == [f"queue.key_policy.{field}"]
    assert await read(place) == first


async def test_a_job_that_asks_for_another_place_is_refused_with_each_field(ordered: Place) -> None:
    at = Timestamp(seconds=int(time.time()) + 60)
    wrong: list[tuple[dict[str, Any], set[str]]] = [
        ({"priority": 1}, {"job.priority"}),
        ({"run_at": at}, {"job.run_at"}),
        ({"delay": 1.0, "priority": -1}, {"job.priority", "job.delay"}),
    ]
    for fields, named in wrong:
        error = await refused(put(ordered, **fields))
        assert reason_of(error) == "FIELD_INVALID"
        violations = violations_of(error)
        assert set(violations) == named
        assert all("'mail' keeps the jobs of one key in strict order" in each for each in violations.values())
    jobs = [job_pb2.NewJob(kind="work", queue="mail", payload_json=b"1", key="a", priority=n) for n in (0, 3)]
    error = await refused(ordered.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs)))
    assert set(violations_of(error)) == {"jobs[1].priority"}
    # What has no key has no order.
    assert (await ordered.enqueue(queue="mail", priority=1)).priority == 1


# ---- the order


@pytest.mark.slow
async def test_two_producers_on_two_servers_hand_over_hand_keep_their_order(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        await update(one, order=KEY_ORDER_STRICT, make=True)
        order: list[str] = []
        for number in range(100):
            order += [
                await put(one, idempotency_key=f"k{number}" if number % 5 == 0 else ""),
                await put(other),
            ]
        workers = [await takes(one, slots=10), await takes(other, slots=10)]
        started: list[str] = []
        while len(started) < len(order):
            worker = await eventually(lambda: _with_job(workers))
            leased = await worker.job()
            started.append(leased.id)
            # Some go back, and come again at once.
            if len(started) % 7 == 0:
                await worker.release(leased)
                worker = await eventually(lambda: _with_job(workers))
                leased = await worker.job()
                assert leased.id == started[-1]
            await worker.succeed(leased)
        assert started == order


async def _with_job(workers: list[HandWorker]) -> HandWorker | None:
    return next((worker for worker in workers if worker.has_job), None)


async def test_a_job_that_waits_for_its_retry_lets_none_of_its_key_pass(ordered: Place) -> None:
    worker = await takes(ordered, slots=5)
    first, second = await put(ordered), await put(ordered)
    await worker.fail(await worker.job(), retry_after=Duration(seconds=600))
    other = await put(ordered, key="another")
    assert (await worker.job()).id == other
    await worker.no_job()
    answer = await explained(ordered, second)
    assert [insight_pb2.Reason.Code.Name(reason.code) for reason in answer.reasons] == ["KEY_ORDER"]
    assert answer.summary == (
        f"The job waits, since job {first} of its key {KEY} goes first, in strict order; "
        "the end of that job or UpdateQueue mail would start it."
    )
    assert [holder.job_id for holder in answer.reasons[0].key.holders] == [first]


async def test_a_follow_up_takes_its_place_once_its_job_has_ended(ordered: Place) -> None:
    worker = await takes(ordered, slots=5)
    first = await put(ordered)
    leased = await worker.job()
    second = await put(ordered)
    new = job_pb2.NewJob(kind="work", queue="mail", payload_json=b"1", key=KEY)
    done = lease_pb2.Success(follow_ups=[new])
    await worker.settle(outcomes=[lease_pb2.Outcome(lease_id=leased.lease_id, success=done)])
    following = await worker.job()
    assert (leased.id, following.id) == (first, second)
    await worker.succeed(following)
    assert (await worker.job()).id not in (first, second)


# ---- failures


async def blocked(place: Place) -> tuple[HandWorker, str, str]:
    """A key whose first job failed for good, and whose second one waits."""
    await update(place, on_failure=ON_KEY_FAILURE_HOLD)
    worker = await takes(place, slots=5)
    first, second = await put(place), await put(place)
    await worker.fail(await worker.job(), permanent=True)
    await worker.no_job()
    answer = await explained(place, second)
    assert [insight_pb2.Reason.Code.Name(reason.code) for reason in answer.reasons] == ["KEY_BLOCKED"]
    assert answer.reasons[0].key.blocked_by == first
    assert answer.summary == (
        f"The job waits, since its key {KEY} is blocked, as job {first} failed or was cancelled; "
        f"RetryJob {first} or DeleteJob {first} or UnblockQueueKey mail {KEY} would start it."
    )
    return worker, first, second


async def test_a_blocked_key_goes_on_by_a_retry_with_the_job_that_failed(ordered: Place) -> None:
    worker, first, second = await blocked(ordered)
    await ordered.retry(first)
    again = await worker.job()
    assert again.id == first
    await worker.succeed(again)
    assert (await worker.job()).id == second


@pytest.mark.slow
async def test_a_blocked_key_goes_on_by_a_delete_with_the_next_one(ordered: Place) -> None:
    worker, first, second = await blocked(ordered)
    await ordered.stub.DeleteJob(jobqueue_pb2.DeleteJobRequest(id=first))
    assert (await worker.job()).id == second


@pytest.mark.slow
@pytest.mark.parametrize("rest", [False, True])
async def test_a_blocked_key_goes_on_by_its_verb_with_the_next_one(dsn: str, rest: bool) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place:
        await update(place, order=KEY_ORDER_STRICT, make=True)
        await goes_on_by_its_verb(place, rest=rest)


async def goes_on_by_its_verb(ordered: Place, *, rest: bool) -> None:
    worker, first, second = await blocked(ordered)
    if rest:
        path = f"/v1/queues/mail/keys/{quote(KEY, safe='')}:unblock"
        url = f"http://127.0.0.1:{ordered.app.http_port}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, json={}) as answer:
            assert (answer.status, await answer.json()) == (200, {"blocked_by": first, "waiting": 1})
        async with aiohttp.ClientSession() as session, session.post(url, json={}) as answer:
            assert answer.status == 409
    else:
        unblocked = await unblock(ordered)
        assert (unblocked.blocked_by, unblocked.waiting) == (first, 1)
    assert (await worker.job()).id == second
    assert await ordered.status(first) == "FAILED_PERMANENT"
    error = await refused(unblock(ordered))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "KEY_NOT_BLOCKED")
    assert reason_of(await refused(unblock(ordered, queue="never"))) == "QUEUE_NOT_FOUND"


@pytest.mark.slow
async def test_a_blocked_key_is_listed_with_its_job_also_once_none_waits(ordered: Place) -> None:
    async def listed(only: Only.ValueType) -> list[tuple[str, str, int]]:
        request = queue_admin_pb2.ListQueueKeysRequest(queue="mail", only=only)
        keys = (await ordered.admin.ListQueueKeys(request)).keys
        return [(key.key, key.blocked_by, key.waiting) for key in keys]

    _, first, second = await blocked(ordered)
    await put(ordered, key="other")
    assert await listed(Only.BLOCKED) == [(KEY, first, 1)]
    await ordered.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=second))
    assert await listed(Only.BLOCKED) == [(KEY, first, 0)]
    assert (KEY, first, 0) in await listed(Only.ONLY_UNSPECIFIED)
    one = queue_admin_pb2.GetQueueKeyRequest(queue="mail", key=KEY)
    assert (await ordered.admin.GetQueueKey(one)).queue_key.blocked_by == first
    await unblock(ordered)
    assert await listed(Only.BLOCKED) == []
    assert not (await ordered.admin.GetQueueKey(one)).queue_key.blocked_by


@pytest.mark.slow
async def test_a_policy_that_blocks_no_more_lets_blocked_keys_go_on(ordered: Place) -> None:
    worker, _, second = await blocked(ordered)
    await update(ordered, on_failure=ON_KEY_FAILURE_CONTINUE)
    assert (await worker.job()).id == second


@pytest.mark.slow
async def test_the_metric_counts_the_keys_that_are_blocked(ordered: Place) -> None:
    _, first, _ = await blocked(ordered)

    async def shown() -> Any:
        text = ordered.app.metrics.exposition("")[0].decode()
        return 'jobqueue_queue_blocked_keys{queue="mail"} 1.0' in text

    await eventually(shown)
    assert first


async def test_what_waits_is_cancelled_after_a_failure_and_who_comes_later_starts_anew(
    ordered: Place,
) -> None:
    await update(ordered, on_failure=ON_KEY_FAILURE_CANCEL_REST)
    worker = await takes(ordered, slots=5)
    first, *rest = [await put(ordered) for _ in range(4)]
    leased = await worker.job()
    assert leased.id == first
    await worker.fail(leased, permanent=True)
    late = await put(ordered)
    for job_id in rest:
        job = await ordered.wait(job_id)
        assert (job.status, job.reason, job.attempts) == (job_pb2.Job.CANCELLED, "KEY_CANCELLED", 0)
    assert (await worker.job()).id == late
