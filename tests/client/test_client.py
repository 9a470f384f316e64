"""The Client against a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from jobqueue import (
    AUTO,
    BulkState,
    Duplicate,
    EtagMismatch,
    FilterChanged,
    Hold,
    HoldDepth,
    IdempotencyKeyReused,
    InvalidRequest,
    JobFilter,
    JobNotFound,
    JobNotHeld,
    JobNotTerminal,
    JobTerminal,
    KeyBacklogFull,
    KeyFilter,
    KeyNotBlocked,
    KeyOrder,
    KeyPolicy,
    KeyPolicyConflict,
    Kind,
    Limits,
    NewJob,
    OnConflict,
    OnKeyFailure,
    OperationNotFound,
    Overloaded,
    PauseDetail,
    PayloadInvalid,
    QueueBacklogFull,
    QueueNotFound,
    Rate,
    ReasonCode,
    RequestIdReused,
    Retention,
    RetryPolicy,
    Status,
    TooLarge,
    Unique,
    UniqueAction,
    UniqueField,
    UniqueScope,
    Until,
    WaitTimeout,
    WorkerNotFound,
    WorkersDetail,
    WorkerState,
)
from jobqueue.insight import explanation
from jobqueue.v1 import insight_pb2
from tests.lease.place import Caller


async def test_what_is_enqueued_is_read_back_with_all_its_digits(client):
    payload = {"n": 7, "big": 12345678901234567890, "text": "Ünïcode \u0000"}
    job = await client.enqueue(
        "hello",
        payload,
        queue="q",
        priority=3,
        delay=timedelta(hours=1),
        max_attempts=5,
        timeout=timedelta(seconds=90),
        retry_policy=RetryPolicy(min_backoff=timedelta(seconds=2)),
        labels={"team": "a"},
        headers={"x-request-id": "r-1"},
        key="customer 42",
    )
    assert (job.status, job.attempts, job.replayed) == (Status.QUEUED, 0, False)
    read = await client.get(job.id)
    assert read.payload == payload
    assert (read.queue, read.priority, read.max_attempts) == ("q", 3, 5)
    assert read.timeout == timedelta(seconds=90)
    assert read.retry_policy is not None
    assert read.retry_policy.min_backoff == timedelta(seconds=2)
    assert (read.labels, read.headers["x-request-id"]) == ({"team": "a"}, "r-1")
    assert read.key == "customer 42"
    late = read.run_at - read.created_at - timedelta(hours=1)
    assert (
        timedelta(0) <= late < timedelta(seconds=10)
    )  # one is the database's clock at the insert, one the id's
    assert read.output is None


async def test_payload_text_is_kept_byte_for_byte(client):
    text = b'{ "b" : 1.0, "a":1e2 }'
    job = await client.enqueue("hello", payload_json=text)
    assert (await client.get(job.id)).payload_json == text


async def test_the_same_key_is_the_same_job(client):
    first = await client.enqueue("hello", {"n": 1}, idempotency_key="k")
    again = await client.enqueue("hello", {"n": 1}, idempotency_key="k")
    assert (again.id, again.replayed) == (first.id, True)
    with pytest.raises(IdempotencyKeyReused) as caught:
        await client.enqueue("hello", {"n": 2}, idempotency_key="k")
    assert caught.value.metadata["job_id"] == first.id
    assert caught.value.code == "ALREADY_EXISTS"


async def test_a_job_whose_name_is_held_is_answered_by_the_one_that_holds_it(client):
    first = await client.enqueue("hello", 1, unique=Unique("user-7", until=Until.ENDS))
    again = await client.enqueue("hello", 2, unique=Unique("user-7"))
    assert (again.id, again.unique_action, again.replayed, again.payload) == (
        first.id,
        UniqueAction.KEPT,
        False,
        1,
    )
    assert (first.unique_action, first.unique_key, again.unique_key) == (None, "user-7", "user-7")
    with pytest.raises(Duplicate) as caught:
        await client.enqueue("hello", unique=Unique("user-7", on_conflict=OnConflict.REJECT))
    assert caught.value.metadata["job_id"] == first.id
    await client.cancel(first.id)
    other = await client.enqueue("hello", unique=Unique("user-7"))
    with pytest.raises(Duplicate, match=other.id):
        await client.retry(first.id, respect_unique=True)
    assert (await client.retry(first.id)).id == first.id
    once = Unique(payload_fields=["/user"], scope=UniqueScope.NAMESPACE, period=timedelta(minutes=1))
    many = [NewJob("hello", {"user": user, "n": n}, unique=once) for n, user in enumerate((7, 8, 7))]
    results = await client.enqueue_many(many)
    assert [result.unique_action for result in results] == [None, None, UniqueAction.KEPT]
    assert results[2].id == results[0].id


async def test_a_job_that_waits_is_replaced_and_debounced(client):
    latest = Unique("user-8", on_conflict=OnConflict.REPLACE)
    first = await client.enqueue("hello", 1, unique=latest)
    second = await client.enqueue("hello", 2, unique=latest)
    assert (second.id, second.unique_action, second.payload) == (first.id, UniqueAction.REPLACED, 2)
    later = Unique(
        "user-8",
        on_conflict=OnConflict.DEBOUNCE,
        replace=[UniqueField.PAYLOAD],
        max_delay=timedelta(minutes=10),
    )
    third = await client.enqueue("hello", 3, delay=timedelta(minutes=10), unique=later)
    assert (third.id, third.unique_action, third.payload) == (first.id, UniqueAction.DEBOUNCED, 3)
    assert third.run_at == third.created_at + timedelta(minutes=10)


async def test_what_can_not_be_a_name_is_refused(client):
    with pytest.raises(ValueError, match="'now' is not a valid Until"):
        await client.enqueue("hello", unique=Unique("k", until=cast(Any, "now")))
    with pytest.raises(TypeError, match=r"unique\.period is 5; it must be a timedelta"):
        await client.enqueue("hello", unique=Unique("k", period=cast(Any, 5)))
    with pytest.raises(InvalidRequest) as caught:
        await client.enqueue("hello", unique=Unique("k", until=Until.PERIOD))
    assert caught.value.violations[0].field == "job.unique.period"


async def test_auto_makes_a_key_for_each_call(client):
    one = await client.enqueue("hello", idempotency_key=AUTO)
    two = await client.enqueue("hello", idempotency_key=AUTO)
    assert one.id != two.id
    assert one.idempotency_key != two.idempotency_key != ""


async def test_many_jobs_go_in_batches_and_come_back_in_order(client):
    jobs = (NewJob("hello", {"n": n}, queue="many") for n in range(2500))
    results = await client.enqueue_many(jobs)
    assert len({each.id for each in results}) == 2500
    listed = [job.id async for job in client.list(queue="many", page_size=1000)]
    assert sorted(listed) == sorted(each.id for each in results)
    last = await client.get(results[-1].id)
    assert last.payload == {"n": 2499}


async def test_large_payloads_make_smaller_batches(client):
    results = await client.enqueue_many(NewJob("hello", "x" * 900_000) for _ in range(10))
    assert len(results) == 10


async def test_a_refused_batch_says_which_job_and_what_was_enqueued_before(client):
    jobs = [NewJob("hello") for _ in range(1000)] + [NewJob("hello"), NewJob("hello", priority=99)]
    with pytest.raises(InvalidRequest) as caught:
        await client.enqueue_many(jobs)
    assert [each.field for each in caught.value.violations] == ["jobs[1001].priority"]
    assert len(caught.value.enqueued) == 1000
    assert (await client.get(caught.value.enqueued[0].id)).status is Status.QUEUED


async def test_errors_name_the_field(client):
    with pytest.raises(InvalidRequest) as caught:
        await client.enqueue("Not A Name")
    assert caught.value.reason == "FIELD_INVALID"
    assert caught.value.violations[0].field == "job.kind"
    assert caught.value.request_id


async def test_a_payload_over_its_limit_is_too_large(client):
    with pytest.raises(TooLarge) as caught:
        await client.enqueue("hello", "x" * 1_100_000)
    assert caught.value.reason == "PAYLOAD_TOO_LARGE"
    with pytest.raises(TooLarge):
        await client.enqueue("hello", "x" * 4_500_000)


@pytest.mark.parametrize(
    ("mib", "said"), [(4, "bytes; the most is 4194304"), (6, "a message is too large, the most is 4 MiB")]
)
async def test_a_message_over_its_limit_is_too_large_whoever_finds_it(client, mib, said):
    with pytest.raises(TooLarge, match=said):
        await client.enqueue("hello", "x" * (mib << 20))


async def test_kinds_are_put_and_their_schema_is_checked(client):
    schema = {"type": "object", "required": ["to"], "properties": {"to": {"type": "string", "minLength": 3}}}
    put = await client.put_kind(
        Kind(name="mail", schema=schema, max_attempts=7, timeout=timedelta(seconds=9))
    )
    assert put == Kind(name="mail", schema=schema, max_attempts=7, timeout=timedelta(seconds=9))
    assert put in await client.list_kinds()
    with pytest.raises(PayloadInvalid) as caught:
        await client.enqueue("mail", {"to": 1})
    assert caught.value.violations[0].field == "job.payload.to"
    assert (await client.enqueue("mail", {"to": "abc"})).max_attempts == 7


async def test_the_limits_of_a_kind_are_put_read_and_taken_back_by_a_put_without_them(client):
    limits = Limits(max_running=7, rate=Rate(100, timedelta(seconds=1), burst=5))
    put = await client.put_kind(Kind(name="narrow", limits=limits))
    assert put == Kind(name="narrow", limits=limits)
    assert put.limits.rate.most_in_a_period == 104
    assert put in await client.list_kinds()
    assert (await client.put_kind(Kind(name="narrow"))).limits is None


async def test_how_many_slots_a_job_of_a_kind_takes_is_put_read_and_taken_back(client):
    put = await client.put_kind(Kind(name="wide", slot_weight=4))
    assert put == Kind(name="wide", slot_weight=4)
    assert put in await client.list_kinds()
    assert (await client.put_kind(Kind(name="wide"))).slot_weight == 1
    with pytest.raises(InvalidRequest):
        await client.put_kind(Kind(name="wide", slot_weight=1001))


async def test_a_held_job_says_so_until_it_is_released(client):
    job = await client.enqueue("a", queue="held", hold=True)
    assert (job.status, job.hold) == (Status.QUEUED, Hold.HAND)
    (many,) = await client.enqueue_many([NewJob("b", queue="held", hold=True)])
    assert (await client.get(many.id)).hold is Hold.HAND
    queue = await client.get_queue("held")
    assert queue.held == {Hold.HAND: HoldDepth(2, False)}
    assert queue.depths[Status.QUEUED].jobs == 2
    assert (await client.release(job.id)).hold is None
    with pytest.raises(JobNotHeld):
        await client.release(job.id)
    with pytest.raises(JobNotFound):
        await client.release("0199aaaa-0000-7000-8000-000000000000")


async def test_a_queue_is_changed_with_its_etag(client):
    rate = Rate(10, timedelta(minutes=1), burst=3)
    policy = KeyPolicy(max_running=1, rate=rate, max_waiting=9, require_key=True, fair=True)
    with pytest.raises(QueueNotFound):
        await client.update_queue("limited", policy)
    made = await client.update_queue("limited", policy, allow_missing=True)
    assert made.key_policy == policy
    assert made.key_policy.rate.most_in_a_period == 15
    assert (await client.get_queue("limited")).etag == made.etag
    with pytest.raises(InvalidRequest):
        await client.enqueue("a", queue="limited")
    assert (await client.enqueue("a", queue="limited", key="k")).key == "k"
    less = await client.update_queue("limited", None, fields=["rate", "require_key", "fair"], etag=made.etag)
    assert less.key_policy == KeyPolicy(max_running=1, max_waiting=9)
    with pytest.raises(EtagMismatch) as refused:
        await client.update_queue("limited", None, etag=made.etag)
    assert refused.value.metadata["etag"] == less.etag
    assert (await client.update_queue("limited", None)).key_policy is None


async def test_a_queue_limits_how_many_of_its_jobs_run_and_start(client):
    limits = Limits(max_running=2, rate=Rate(1, timedelta(hours=1), burst=1))
    made = await client.update_queue("slow", limits=limits, allow_missing=True)
    assert made.limits == limits
    assert made.limits.rate.most_in_a_period == 1
    less = await client.update_queue("slow", limits=Limits(), limit_fields=["max_running"])
    assert less.limits == Limits(rate=limits.rate)
    assert (await client.update_queue("slow", limits=Limits())).limits is None


async def test_a_key_in_strict_order_is_blocked_by_a_job_that_ends_badly_and_unblocked(client):
    policy = KeyPolicy(max_running=1, order=KeyOrder.STRICT, on_failure=OnKeyFailure.HOLD)
    made = await client.update_queue("ordered", policy, allow_missing=True)
    assert made.key_policy == policy
    with pytest.raises(KeyPolicyConflict) as refused:
        await client.update_queue("ordered", KeyPolicy(max_running=2), fields=["max_running"])
    assert [each.field for each in refused.value.violations] == ["queue.key_policy.max_running"]
    with pytest.raises(InvalidRequest):
        await client.enqueue("a", queue="ordered", key="k", priority=1)
    first = await client.enqueue("a", queue="ordered", key="k")
    second = await client.enqueue("a", queue="ordered", key="k")
    why = await client.explain(second.id)
    assert why.reasons[0].code is ReasonCode.KEY_ORDER
    await client.cancel(first.id)
    why = await client.explain(second.id)
    assert (why.reasons[0].code, why.reasons[0].detail.blocked_by) == (ReasonCode.KEY_BLOCKED, first.id)
    assert await client.unblock_queue_key("ordered", "k") == first.id
    with pytest.raises(KeyNotBlocked):
        await client.unblock_queue_key("ordered", "k")
    assert (await client.update_queue("ordered", None)).key_policy is None


async def test_how_long_ended_jobs_stay_is_changed_whole_or_by_a_status_and_taken_back(client):
    day = timedelta(days=1)
    made = await client.update_queue("kept", retention=Retention(succeeded=day), allow_missing=True)
    assert made.retention == Retention(succeeded=day)
    both = Retention(failed_permanent=30 * day, cancelled=2 * day)
    changed = await client.update_queue("kept", retention=both, retention_fields=["failed_permanent"])
    assert changed.retention == Retention(succeeded=day, failed_permanent=30 * day)
    limited = await client.update_queue("kept", max_waiting=5, etag=changed.etag)
    assert (await client.get_queue("kept")).retention == limited.retention == changed.retention
    assert (await client.update_queue("kept", retention=both)).retention == both
    none = await client.update_queue("kept", retention=Retention())
    assert (none.retention, none.max_waiting) == (None, 5)


async def test_how_many_jobs_may_wait_is_changed_alone_or_with_the_policy(client):
    made = await client.update_queue("few", KeyPolicy(max_running=2), max_waiting=2, allow_missing=True)
    assert (made.max_waiting, made.key_policy) == (2, KeyPolicy(max_running=2))
    await client.enqueue_many([NewJob("a", queue="few") for _ in range(2)])
    with pytest.raises(QueueBacklogFull) as refused:
        await client.enqueue("a", queue="few")
    assert (refused.value.reason, refused.value.metadata["limit"]) == ("QUEUE_BACKLOG_FULL", "2")
    assert refused.value.retry_after is not None
    more = await client.update_queue("few", max_waiting=3)
    assert (more.max_waiting, more.key_policy) == (3, KeyPolicy(max_running=2))
    await client.enqueue("a", queue="few")
    kept = await client.update_queue("few", None)
    assert (kept.max_waiting, kept.key_policy) == (3, None)
    assert (await client.update_queue("few", max_waiting=0)).max_waiting == 0
    await client.enqueue("a", queue="few")
    with pytest.raises(InvalidRequest, match="update_mask"):
        await client.update_queue("few")


async def test_a_key_of_a_queue_is_read_listed_and_changed_with_its_etag(client):
    with pytest.raises(QueueNotFound):
        await client.get_queue_key("keyed", "ada")
    await client.update_queue("keyed", KeyPolicy(max_running=1), allow_missing=True)
    jobs = [await client.enqueue("a", queue="keyed", key=key) for key in ("ada", "ada", "ada", "bob", "bob")]
    key = await client.get_queue_key("keyed", "ada")
    assert (key.limit, key.taken, key.waiting, key.paused) == (1, 1, 2, False)
    assert [(holder.job_id, holder.worker) for holder in key.holders] == [(jobs[0].id, "")]
    paused = await client.update_queue_key("keyed", "bob", paused=True, max_running=7)
    assert (paused.paused, paused.max_running, paused.paused_at is None) == (True, 7, False)
    reason = (await client.explain(jobs[-1].id)).reasons[0]
    assert (reason.code, reason.detail.pause.since) == (ReasonCode.KEY_PAUSED, paused.paused_at)

    async def names(**options):
        return [key.key for key in await client.list_queue_keys("keyed", **options)]

    assert await names() == ["ada", "bob"]
    assert await names(most=1) == ["ada"]
    assert await names(only=KeyFilter.PAUSED) == ["bob"]
    assert await names(most_waiting_first=True) == ["ada", "bob"]
    resumed = await client.update_queue_key("keyed", "bob", paused=False, etag=paused.etag)
    assert (resumed.paused, resumed.max_running) == (False, 7)
    with pytest.raises(EtagMismatch):
        await client.update_queue_key("keyed", "bob", max_running=0, etag=paused.etag)
    assert (await client.update_queue_key("keyed", "bob", max_running=0)).limit == 1


async def test_how_many_jobs_may_run_is_changed_alone(client):
    made = await client.update_queue(
        "narrow", KeyPolicy(max_running=2), limits=Limits(max_running=4), allow_missing=True
    )
    assert (made.limits, made.key_policy) == (Limits(max_running=4), KeyPolicy(max_running=2))
    more = await client.update_queue("narrow", limits=Limits(max_running=5))
    assert (more.limits, more.key_policy) == (Limits(max_running=5), KeyPolicy(max_running=2))
    assert (await client.update_queue("narrow", None)).limits == Limits(max_running=5)
    assert (await client.update_queue("narrow", limits=Limits())).limits is None
    with pytest.raises(InvalidRequest, match=r"queue\.limits\.max_running"):
        await client.update_queue("narrow", limits=Limits(max_running=-1))


async def test_cancel_retry_delete(client):
    job = await client.enqueue("hello")
    with pytest.raises(JobNotTerminal):
        await client.delete(job.id)
    cancelled = await client.cancel(job.id, reason="not needed")
    assert (cancelled.job.status, cancelled.pending) == (Status.CANCELLED, False)
    with pytest.raises(JobTerminal) as caught:
        await client.cancel(job.id)
    assert caught.value.metadata["status"] == "CANCELLED"
    assert (await client.retry(job.id)).status is Status.QUEUED
    await client.cancel(job.id)
    await client.delete(job.id)
    with pytest.raises(JobNotFound):
        await client.get(job.id)


async def test_lists_filter(client):
    before = datetime.now(UTC) - timedelta(minutes=5)
    one = await client.enqueue("a", labels={"k": "v"})
    two = await client.enqueue("b")
    await client.cancel(two.id)
    assert [job.id async for job in client.list()] == [two.id, one.id]
    assert [job.id async for job in client.list(kind="a")] == [one.id]
    assert [job.id async for job in client.list(status="cancelled")] == [two.id]
    assert [job.id async for job in client.list(status=[Status.QUEUED, Status.RUNNING])] == [one.id]
    assert [job.id async for job in client.list(labels={"k": "v"})] == [one.id]
    assert [job.id async for job in client.list(created_before=before)] == []
    page = await client.list_page(page_size=1)
    assert [job.id for job in page.jobs] == [two.id]
    assert page.jobs[0].payload_json is None
    full = await client.list_page(page_size=1, page_token=page.next_page_token, full=True)
    assert full.jobs[0].payload_json == b"null"


@pytest.mark.slow
async def test_a_wait_of_a_second_that_ends_in_vain_says_why(client):
    job = await client.enqueue("hello")
    with pytest.raises(
        WaitTimeout, match="QUEUED and not over after 1 s; The job waits, since no worker"
    ) as caught:
        await client.wait(job.id, timeout=timedelta(seconds=1))
    assert caught.value.summary == (await client.explain(job.id)).summary


async def test_a_job_of_a_key_for_which_too_many_wait_is_refused_with_its_place(client):
    policy = KeyPolicy(max_running=1, max_waiting=1)
    await client.update_queue("few", policy, allow_missing=True)
    await client.enqueue_many([NewJob("a", queue="few", key="ada") for _ in range(2)])
    with pytest.raises(KeyBacklogFull) as refused:
        await client.enqueue("a", queue="few", key="ada", deadline=timedelta(seconds=1))
    assert isinstance(refused.value, Overloaded)
    assert [each.field for each in refused.value.violations] == ["job.key"]
    assert refused.value.retry_after is not None


async def test_wait_says_how_a_job_stands_when_it_is_not_over_in_time(client):
    job = await client.enqueue("hello")
    with pytest.raises(WaitTimeout) as caught:
        await client.wait(job.id, timeout=timedelta(seconds=0.2))
    assert caught.value.job.status is Status.QUEUED
    assert caught.value.summary == ""
    assert isinstance(caught.value, TimeoutError)
    await client.cancel(job.id)
    assert (await client.wait(job.id)).status is Status.CANCELLED
    with pytest.raises(JobNotFound):
        await client.wait(str(uuid4()))


async def test_queues_are_paused_and_resumed(client):
    with pytest.raises(QueueNotFound):
        await client.get_queue("nobody")
    await client.enqueue("hello", queue="q")
    assert (await client.pause_queue("q")).paused
    assert [queue.name for queue in await client.list_queues()] == ["q"]
    assert not (await client.resume_queue("q")).paused
    assert (await client.get_queue("q")).depths[Status.QUEUED].jobs == 1


async def test_a_job_is_explained_and_a_queues_demand_is_told(client):
    job = await client.enqueue("hello", queue="q")
    found = await client.explain(job.id)
    assert (found.job_id, found.status, found.unknown) == (job.id, Status.QUEUED, ())
    (reason,) = found.reasons
    assert reason.code is ReasonCode.NO_WORKER
    assert reason.unblocked_by == ("a worker that takes kind hello in queue q",)
    assert reason.detail == WorkersDetail(0, 0, 0, 0, 0, 0, 0, ())
    assert found.could_start_at is None
    demand = await client.get_queue_demand("q")
    assert (demand.runnable, demand.wanted_slots, demand.more_workers_would_help) == (1, 1, True)
    assert demand.oldest_runnable_age > timedelta(0)
    await client.pause_queue("q", reason="the printer burns")
    found = await client.explain(job.id)
    assert [each.code for each in found.reasons] == [ReasonCode.QUEUE_PAUSED, ReasonCode.NO_WORKER]
    pause = found.reasons[0].detail
    assert isinstance(pause, PauseDetail)
    assert (pause.by, pause.reason) == ("anonymous", "the printer burns")
    assert found.read_at - pause.since < timedelta(minutes=1)
    await client.cancel(job.id)
    (reason,) = (await client.explain(job.id)).reasons
    assert (reason.code, reason.detail.reason) == (ReasonCode.TERMINAL, "CANCELLED_BY_CALLER")
    with pytest.raises(JobNotFound):
        await client.explain(str(uuid4()))
    with pytest.raises(QueueNotFound):
        await client.get_queue_demand("nobody")


async def test_a_reason_that_this_client_does_not_know_is_told_by_its_words():
    answer = insight_pb2.ExplainJobResponse(reasons=[insight_pb2.Reason(message="the moon is full")])
    answer.reasons[0].code = cast(Any, 999)
    (reason,) = explanation(answer).reasons
    assert (reason.code, reason.message, reason.detail) == (ReasonCode.UNSPECIFIED, "the moon is full", None)


@pytest.mark.cases(3)
@pytest.mark.parametrize(
    ("job", "error", "says"),
    [
        (NewJob("x", {"a": float("nan")}), ValueError, "payload is no JSON"),
        (NewJob("x", {1, 2}), TypeError, "payload is no JSON"),
        (NewJob("x", "\ud800"), ValueError, "surrogate"),
        (NewJob("x", run_at=datetime(2030, 1, 1)), ValueError, "no time zone"),
        (NewJob("x", delay=cast(Any, 5)), TypeError, "must be a timedelta"),
        (NewJob("x", max_attempts=0), ValueError, "max_attempts is 0"),
        (NewJob("x", 1, payload_json=b"1"), ValueError, "both given"),
        (NewJob("x", idempotency_key=""), ValueError, "idempotency_key is empty"),
    ],
)
async def test_what_can_be_seen_here_is_refused_here(client, job, error, says):
    with pytest.raises(error, match=says):
        await client.enqueue_many([job])


@pytest.mark.slow
async def test_many_jobs_are_counted_retried_cancelled_and_deleted(client):
    ids = [(await client.enqueue("hello", queue="q")).id for _ in range(3)]
    chosen = JobFilter(queue="q")
    counted = await client.cancel_jobs(chosen)
    assert (counted.name, counted.done, counted.dry_run, counted.estimate) == ("", True, True, 3)
    assert list(counted.sample_ids) == sorted(ids)
    begun = await client.cancel_jobs(chosen, force=True, reason="enough", request_id="r")
    assert (await client.cancel_jobs(chosen, force=True, reason="enough", request_id="r")).name == begun.name
    with pytest.raises(RequestIdReused):
        await client.cancel_jobs(chosen, force=True, request_id="r")
    done = await client.wait_operation(begun.name)
    assert (done.verb, done.state, done.changed, done.error) == ("CancelJobs", BulkState.SUCCEEDED, 3, "")
    assert done.created_at <= done.updated_at == done.ended_at
    retried = JobFilter(ids=ids[:2], status=[Status.CANCELLED], reason="CANCELLED_BY_CALLER")
    begun = await client.retry_jobs(
        retried, force=True, spread=timedelta(hours=1), per_second=1000, max_jobs=1, to_queue="q",
        delay=timedelta(hours=1), reset_checkpoint=True, respect_unique=True,
    )  # fmt: skip
    assert (await client.wait_operation(begun.name)).changed == 1
    (later,) = (await client.list_page(queue="q", status=Status.QUEUED)).jobs
    assert timedelta(hours=1) <= later.run_at - later.updated_at <= timedelta(hours=2)
    with pytest.raises(QueueNotFound):
        await client.retry_jobs(retried, to_queue="never")
    with pytest.raises(ValueError, match="run_at and delay"):
        await client.retry_jobs(retried, run_at=later.run_at, delay=timedelta(hours=1))
    begun = await client.delete_jobs(JobFilter(everything=True), force=True)
    assert (await client.wait_operation(begun.name, timeout=timedelta(minutes=1))).changed == 2
    assert [each.verb for each in await client.list_operations()] == ["DeleteJobs", "RetryJobs", "CancelJobs"]
    await client.cancel_operation(begun.name)
    await client.delete_operation(begun.name)
    with pytest.raises(OperationNotFound):
        await client.get_operation(begun.name)
    with pytest.raises(InvalidRequest, match="condition"):
        await client.delete_jobs(JobFilter())


async def test_jobs_that_wait_are_changed_and_a_changed_filter_is_said(client):
    job = await client.enqueue("hello", queue="waits")
    chosen = JobFilter(queue="waits")
    counted = await client.update_jobs(chosen, priority=0)
    assert (counted.dry_run, counted.verb, counted.estimate) == (True, "UpdateJobs", 1)
    with pytest.raises(FilterChanged) as error:
        await client.update_jobs(chosen, priority=3, force=True, expected=9)
    assert error.value.metadata["estimate"] == "1"
    begun = await client.update_jobs(
        chosen, priority=3, max_attempts=7, delay=timedelta(hours=1), force=True, expected=1, request_id="u"
    )
    assert (await client.wait_operation(begun.name)).changed == 1
    now = await client.get(job.id)
    assert (now.priority, now.max_attempts) == (3, 7)
    for call in (client.cancel_jobs, client.retry_jobs, client.delete_jobs):
        with pytest.raises(FilterChanged):
            await call(chosen, force=True, expected=9)


async def test_workers_are_listed_read_and_drained(client, server):
    place = Caller(server.address)
    worker = await place.worker(name="seen", queues={"seen": ["hello", "other"]}, slots=2)
    await client.enqueue("hello", queue="seen")
    leased = await worker.job()
    (found,) = await client.list_workers(queue="seen", kind="other", name="se", state=WorkerState.CONNECTED)
    assert (found.name, found.takes, found.slots) == ("seen", {"seen": ("hello", "other")}, 2)
    assert await client.list_workers(state=["draining".upper(), WorkerState.SILENT]) == []
    shown = await client.get_worker(found.session_id)
    assert [job.job_id for job in shown.jobs] == [leased.id]
    drained = await client.drain_worker(found.session_id, reason="enough")
    assert (drained.state, drained.free_slots) == (WorkerState.DRAINING, 0)
    assert drained.drain is not None
    assert (drained.drain.by, drained.drain.reason) == ("anonymous", "enough")
    with pytest.raises(WorkerNotFound):
        await client.get_worker("987654321")
    with pytest.raises(ValueError, match="is no state of a worker"):
        await client.list_workers(state="asleep")
    await place.close()


# ---- usual names of work


async def actions(client, jobs):
    return [each.unique_action for each in await client.enqueue_many(jobs)]


async def test_while_waiting_and_while_live_keep_the_first_one_until_it_starts_or_ends(client):
    for unique in (
        Unique.while_waiting("w"),
        Unique.while_live("l"),
        Unique.throttle(timedelta(hours=1), "t"),
    ):
        first = NewJob("a", 1, unique=unique)
        assert await actions(client, [first, NewJob("a", 2, unique=unique)]) == [None, UniqueAction.KEPT]
    assert Unique.while_waiting() == Unique()
    assert Unique.while_live("l") == Unique("l", until=Until.ENDS)
    assert Unique.throttle(timedelta(minutes=10)) == Unique(until=Until.PERIOD, period=timedelta(minutes=10))


async def test_debounce_puts_the_first_one_off_and_gives_it_the_last_payload(client):
    unique = Unique.debounce(timedelta(seconds=90), "d")
    delay = timedelta(seconds=60)
    first, second = await client.enqueue_many([NewJob("a", n, unique=unique, delay=delay) for n in (1, 2)])
    assert (second.id, second.unique_action) == (first.id, UniqueAction.DEBOUNCED)
    assert (await client.get(first.id)).payload == 2
