"""Unique jobs over the wire: in single calls, batches and follow-ups, beside idempotency keys, holds and limits."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status as RpcStatus

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.core.intake.digest import name_digest
from jobqueue_server.model import NewJob, Unique
from jobqueue_server.store.claim.claims import ClaimStore
from jobqueue_server.store.intake.intake import IntakeStore

from .hand_worker import span
from .place import Caller, Held, Place, Status, eventually

pytestmark = pytest.mark.any_engine

U = job_pb2.Unique


def unique(key: str = "user-7", **fields: Any) -> job_pb2.Unique:
    if "period" in fields:
        fields["period"] = span(fields["period"])
    return U(key=key, **fields)


def new(name: str = "user-7", payload: bytes = b"{}", kind: str = "work", **fields: Any) -> job_pb2.NewJob:
    fields.setdefault("unique", unique(name))
    return job_pb2.NewJob(kind=kind, payload_json=payload, **fields)


async def ask(place: Caller, job: job_pb2.NewJob) -> jobqueue_pb2.EnqueueJobResponse:
    request = jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    response: jobqueue_pb2.EnqueueJobResponse = await place.stub.EnqueueJob(request)
    return response


async def ids(place: Caller, *jobs: job_pb2.NewJob) -> list[tuple[str, bool]]:
    """Of a batch: each id, and whether that job was kept."""
    answer = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
    return [(one.id, one.unique_action == U.KEPT) for one in answer.results]


async def refused(call: Any) -> tuple[str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    trailers = dict(caught.value.trailing_metadata() or ())
    status = RpcStatus.FromString(trailers["grpc-status-details-bin"])
    info = ErrorInfo()
    assert next(detail for detail in status.details if detail.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return info.reason, dict(info.metadata)


async def jobs(place: Place) -> int:
    ((count,),) = await place.sql("select count(*) from job")
    return int(count)


async def waiting(place: Place, jobs: int) -> bool:
    """Whether so many jobs wait to be stored."""
    return place.app.metrics.registry.get_sample_value("jobqueue_enqueue_waiting") == jobs


async def test_a_job_whose_name_is_held_is_answered_by_the_one_that_holds_it(place):
    first = await ask(place, new(payload=b'{"n": 1}'))
    assert first.unique_action == U.ACTION_UNSPECIFIED
    second = await ask(place, new(payload=b'{"n": 2}'))
    assert (second.job.id, second.unique_action, second.replayed) == (first.job.id, U.KEPT, False)
    assert second.job.payload_json == b'{"n": 1}'
    assert (await ask(place, new("user-8"))).job.id != first.job.id
    assert await jobs(place) == 2


async def test_a_job_shows_its_name_wherever_it_is_read_whatever_became_of_it(place):
    stored = (await ask(place, new())).job
    assert stored.unique_key == "user-7"
    of_payload = (await ask(place, new(unique=U()))).job.id
    plain = (await ask(place, job_pb2.NewJob(kind="work"))).job.id
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=stored.id))
    await ask(place, new())
    await place.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=stored.id))
    names = {stored.id: "user-7", of_payload: "", plain: ""}
    assert {each: (await place.get(each)).unique_key for each in names} == names
    listed = (await place.stub.ListJobs(jobqueue_pb2.ListJobsRequest())).jobs
    assert {job.id: job.unique_key for job in listed}.items() >= names.items()


async def test_until_it_starts_one_waits_beside_one_that_runs(place):
    worker = await place.worker(slots=1)
    first = (await ask(place, new())).job.id
    assert (await worker.job()).id == first
    second = (await ask(place, new())).job.id
    assert second != first
    assert (await ask(place, new())).job.id == second


async def test_a_job_whose_name_is_free_runs_as_soon_as_it_is_stored(place, monkeypatch):
    worker = await place.worker(slots=1)
    claims = Held(monkeypatch, ClaimStore, "claim")
    first = (await ask(place, new())).job.id
    leased = await worker.job()
    assert leased.id == first
    # The statement that stores the next one takes its name over; that one waits for a slot.
    second = (await ask(place, new())).job.id
    assert await place.value("select job_id::text from unique_hold") == second
    await worker.succeed(leased)
    claims.go_on.set()
    assert (await worker.job()).id == second


async def test_of_one_name_in_one_insert_the_first_has_its_slot_and_the_next_gives_it_back(
    place, monkeypatch
):
    inserts = Held(monkeypatch, IntakeStore, "enqueue_named")
    claims = Held(monkeypatch, ClaimStore, "claim")
    worker = await place.worker(slots=3)
    other = asyncio.create_task(ask(place, new("user-8")))
    await inserts.one_waits()
    both = [asyncio.create_task(ask(place, new())) for _ in range(2)]
    # They share the next insert. The first one starts in it, so the other one takes its name over, and waits.
    await eventually(lambda: waiting(place, 3))
    inserts.go_on.set()
    ids = [(await call).job.id for call in (other, *both)]
    assert len(set(ids)) == 3
    running = await worker.jobs(2)
    assert await place.value("select count(*) from live_job where state = 2") == 2
    claims.go_on.set()
    assert {job.id for job in [*running, await worker.job()]} == set(ids)


async def test_until_it_ends_a_name_is_held_while_its_job_runs(place):
    worker = await place.worker(slots=1)
    once = new(unique=unique(until=U.ENDS))
    first = (await ask(place, once)).job.id
    leased = await worker.job()
    assert (await ask(place, once)).job.id == first
    await worker.succeed(leased)
    assert (await ask(place, once)).job.id != first


async def test_a_rejected_job_is_told_which_job_is_there_and_nothing_is_stored(place):
    first = (await ask(place, new())).job.id
    reject = new(unique=unique(on_conflict=U.REJECT))
    assert await refused(ask(place, reject)) == ("DUPLICATE", {"job_id": first})
    assert await jobs(place) == 1


async def test_a_batch_is_refused_whole_where_one_of_it_is_rejected(place):
    first = (await ask(place, new())).job.id
    reject = new(unique=unique(on_conflict=U.REJECT))
    batch = ids(place, new("user-8"), new("plain", unique=None), reject)
    assert await refused(batch) == ("DUPLICATE", {"job_id": first})
    assert await jobs(place) == 1
    # It took no name along.
    ((eight, kept),) = await ids(place, new("user-8"))
    assert eight
    assert not kept


async def test_in_a_batch_the_first_of_a_name_is_stored_and_others_are_kept(place):
    first = (await ask(place, new())).job.id
    answers = await ids(
        place, new(), new("user-8"), new("-", unique=None), new("user-8"), new("-", unique=None)
    )
    assert [kept for _, kept in answers] == [True, False, False, True, False]
    assert answers[0][0] == first
    assert answers[3][0] == answers[1][0]
    assert await jobs(place) == 4


@pytest.mark.parametrize(
    ("scope", "same_kind", "same_queue", "third"),
    [
        # That of the same kind in another queue counts.
        (U.SCOPE_UNSPECIFIED, True, False, True),
        (U.KIND, True, False, True),
        (U.QUEUE_AND_KIND, False, False, False),
        (U.QUEUE, False, True, False),
        (U.NAMESPACE, True, True, True),
    ],
)
async def test_a_name_stands_once_within_its_scope(place, scope, same_kind, same_queue, third):
    await ask(place, new(unique=unique(scope=scope)))
    for kind, queue, kept in (
        ("work", "other", same_kind),
        ("next", "default", same_queue),
        ("next", "third", third),
        ("work", "default", True),
    ):
        answer = await ask(place, new(kind=kind, queue=queue, unique=unique(scope=scope)))
        assert (answer.unique_action == U.KEPT) is kept, (kind, queue)


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("pointers", "payload", "kept"),
    [
        ((), b'{"user": {"id": 7}, "n": 1}', True),
        ((), b'{"n":1,"user":{"id":7}}', True),
        ((), b'{"user": {"id": 7}, "n": 1.0}', False),
        ((), b'{"user": {"id": "7"}, "n": 1}', False),
        (("/user/id",), b'{"user": {"id": 7}, "n": 2}', True),
        (("/user/id",), b'{"user": {"id": 8}, "n": 1}', False),
        (("/user/id", "/n"), b'{"user": {"id": 7}, "n": 2}', False),
        (("/nobody",), b"[]", True),
        (("/nobody",), b'{"nobody": null}', False),
    ],
)
async def test_the_payload_makes_the_name_where_there_is_no_key(place, pointers, payload, kept):
    own = U(payload_fields=pointers)
    await ask(place, new(payload=b'{"user": {"id": 7}, "n": 1}', unique=own))
    assert ((await ask(place, new(payload=payload, unique=own))).unique_action == U.KEPT) is kept


async def test_an_idempotency_key_is_judged_first_and_stands_for_the_job_that_was_kept(place):
    first = await ask(place, new(idempotency_key="a"))
    kept = await ask(place, new(idempotency_key="b"))
    assert (kept.job.id, kept.unique_action) == (first.job.id, U.KEPT)
    worker = await place.worker(slots=2)
    assert (await worker.job()).id == first.job.id
    # The name is free now, and the same requests are still answered by the same job.
    for key in ("a", "b"):
        again = await ask(place, new(idempotency_key=key))
        assert (again.job.id, again.replayed, again.unique_action) == (
            first.job.id,
            True,
            U.ACTION_UNSPECIFIED,
        )
    assert (await ask(place, new(idempotency_key="c"))).job.id != first.job.id
    other = new("another name", idempotency_key="a")
    assert (await refused(ask(place, other)))[0] == "IDEMPOTENCY_KEY_REUSED"


async def test_the_same_request_at_once_from_many_is_one_job(place):
    answers = await asyncio.gather(*(ask(place, new(idempotency_key="a")) for _ in range(20)))
    assert len({answer.job.id for answer in answers}) == 1
    assert await jobs(place) == 1


async def test_a_held_job_and_a_limited_one_hold_their_names(place):
    policy = queue_admin_pb2.KeyPolicy(max_running=1)
    await place.admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(name="limited", key_policy=policy), allow_missing=True
        )
    )
    held = (await ask(place, new("held", hold=True))).job.id
    assert (await ask(place, new("held"))).job.id == held
    worker = await place.worker(slots=5, queues={"limited": ["work"]})
    await ask(place, new("one", queue="limited", key="k"))
    await worker.job()
    waits = await ask(place, new("two", queue="limited", key="k"))
    assert (await ask(place, new("two", queue="limited", key="k"))).job.id == waits.job.id
    assert (await place.get(waits.job.id)).hold == job_pb2.Job.KEY


@pytest.mark.parametrize("how", ["CancelJob", "DeleteJob"])
async def test_a_cancelled_or_deleted_job_lets_go_of_its_name(place, how):
    first = (await ask(place, new())).job.id
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=first))
    if how == "DeleteJob":
        await place.stub.DeleteJob(jobqueue_pb2.DeleteJobRequest(id=first))
    second = (await ask(place, new())).job.id
    assert second != first


async def test_a_job_that_holds_its_name_for_a_period_is_answered_by_its_id_after_it_was_deleted(place):
    throttled = new(unique=unique(until=U.PERIOD, period=600))
    first = (await ask(place, throttled)).job.id
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=first))
    assert (await ask(place, throttled)).job.status == Status.CANCELLED
    await place.stub.DeleteJob(jobqueue_pb2.DeleteJobRequest(id=first))
    kept = await ask(place, throttled)
    assert (kept.job, kept.unique_action) == (job_pb2.Job(id=first), U.KEPT)


async def test_a_retry_never_fails_for_a_name(place):
    first = (await ask(place, new())).job.id
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=first))
    second = (await ask(place, new())).job.id
    retried = await place.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=first))
    assert retried.job.status == Status.QUEUED
    assert (await ask(place, new())).job.id == second


# ---- follow-ups


def success(leased: Any, *follow_ups: job_pb2.NewJob) -> lease_pb2.Outcome:
    return lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=follow_ups))


async def test_a_follow_up_is_unique_as_any_job(place):
    worker = await place.worker(kinds=["work"], slots=2)
    waiting = (await ask(place, new(kind="next"))).job.id
    await place.enqueue()
    assert (
        await worker.settle(outcomes=[success(await worker.job(), new(kind="next"), new("8", kind="next"))])
        == []
    )
    rows = await place.sql("select l.id from live_job l order by l.id")
    assert len(rows) == 2
    assert str(rows[0][0]) == waiting


async def test_a_job_that_is_unique_until_it_ends_enqueues_itself_again(place):
    worker = await place.worker(slots=1)
    once = new(unique=unique(until=U.ENDS))
    seen = [(await ask(place, once)).job.id]
    for _ in range(3):
        leased = await worker.job()
        assert leased.id == seen[-1]
        assert await worker.settle(outcomes=[success(leased, once)]) == []
        seen.append((await ask(place, once)).job.id)
    assert len(set(seen)) == 4


async def test_a_rejected_follow_up_leaves_its_job_running(place):
    worker = await place.worker(kinds=["work"], slots=2)
    await ask(place, new(kind="next"))
    await place.enqueue()
    leased = await worker.job()
    reject = new(kind="next", unique=unique(on_conflict=U.REJECT))
    (answer,) = await worker.settle(outcomes=[success(leased, reject)])
    assert answer.verdict == lease_pb2.SettleResult.INVALID
    assert "success.follow_ups[0].unique" in answer.message
    assert (await place.get(leased.id)).status == Status.RUNNING


async def test_a_stale_success_takes_no_name(place):
    worker = await place.worker(slots=1)
    await place.enqueue()
    leased = await worker.job()
    other = await place.worker(name="other")
    throttled = new(kind="next", unique=unique(until=U.PERIOD, period=600))
    stolen = lease_pb2.Outcome(
        job_id=leased.id, attempt=leased.attempt, success=lease_pb2.Success(follow_ups=[throttled])
    )
    (answer,) = await other.settle(outcomes=[stolen])
    assert answer.verdict == lease_pb2.SettleResult.STALE_LEASE
    assert not (await ask(place, throttled)).HasField("unique_action")


async def test_a_follow_up_takes_its_name_before_its_job_ends(place):
    """An enqueue locks names before the semaphores that a settlement locks. The other way round they would deadlock."""
    policy = queue_admin_pb2.KeyPolicy(max_running=1)
    await place.admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(name="limited", key_policy=policy), allow_missing=True
        )
    )
    worker = await place.worker(slots=1, queues={"limited": ["work"]})
    await place.enqueue(queue="limited", key="k")
    leased = await worker.job()
    digest = name_digest(1, NewJob("next", b"{}"), Unique("user-7"))

    async def waits() -> bool:
        (row,) = await place.sql(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        return bool(row[0])

    connection = await asyncpg.connect(place.dsn)
    try:
        async with connection.transaction():
            await connection.execute("insert into unique_hold values ($1, gen_random_uuid(), 2)", digest)
            settling = asyncio.create_task(worker.settle(outcomes=[success(leased, new(kind="next"))]))
            await eventually(waits)
            assert len(await connection.fetch("select id from semaphore for update nowait")) == 1
    finally:
        await connection.close()
    assert await settling == []
    # That job is none, so that the follow-up has the name.
    assert (await ask(place, new(kind="next"))).unique_action == U.KEPT


# ---- many at once


@pytest.mark.slow
async def test_of_a_hundred_names_from_eight_callers_never_two_wait(place):
    """On two servers, while workers take them: of a name at most one waits by an enqueue, at each look."""
    names = [f"user-{number}" for number in range(100)]
    worker = await place.worker(slots=50)
    stop = asyncio.Event()

    async def work() -> None:
        while True:
            await worker.succeed(await worker.job())

    async def call(place: Caller) -> None:
        for _ in range(40):
            name = random.choice(names)
            payload = json.dumps(name).encode()
            if random.random() < 0.5:
                await ask(place, new(name, payload=payload))
            else:
                some = random.sample(names, 5)
                await ids(place, *(new(one, payload=json.dumps(one).encode()) for one in some))

    async def watch() -> int:
        looks = 0
        while not stop.is_set():
            twice = await place.sql(
                "select convert_from(j.payload, 'UTF8') from live_job l join job j on j.id = l.id"
                " where l.state <> 2 and l.attempts = 0 group by 1 having count(*) > 1"
            )
            assert not twice
            looks += 1
        return looks

    working, watching = asyncio.create_task(work()), asyncio.create_task(watch())
    async with Place(place.dsn) as other:
        await asyncio.gather(*(call(one) for one in (place, other) for _ in range(4)))
    stop.set()
    assert await watching > 10
    working.cancel()


@pytest.mark.slow
async def test_a_kept_job_starts_after_the_call_that_it_answers(place):
    """What a caller wrote before its call is seen by the job: of 100 rounds none answers one that had started."""
    worker = await place.worker(slots=1)
    for _ in range(100):
        job = (await ask(place, new())).job.id
        calls = [asyncio.create_task(ask(place, new())) for _ in range(3)]
        leased = await worker.job()
        assert leased.id == job
        # It runs: a call that begins now is never answered by it.
        late = await ask(place, new())
        assert late.job.id != job
        for answer in await asyncio.gather(*calls):
            assert answer.job.id in (job, late.job.id)
        await worker.succeed(leased)
        while (rest := await place.sql("select count(*) from live_job"))[0][0]:
            await worker.succeed(await worker.job())
            assert rest
