"""The Client against a real server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from jobqueue import (
    AUTO,
    Hold,
    HoldDepth,
    IdempotencyKeyReused,
    InvalidRequest,
    JobNotFound,
    JobNotHeld,
    JobNotTerminal,
    JobTerminal,
    Kind,
    NewJob,
    PayloadInvalid,
    QueueNotFound,
    RetryPolicy,
    Status,
    TooLarge,
    WaitTimeout,
)


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
    )
    assert (job.status, job.attempts, job.replayed) == (Status.QUEUED, 0, False)
    read = await client.get(job.id)
    assert read.payload == payload
    assert (read.queue, read.priority, read.max_attempts) == ("q", 3, 5)
    assert read.timeout == timedelta(seconds=90)
    assert read.retry_policy is not None
    assert read.retry_policy.min_backoff == timedelta(seconds=2)
    assert (read.labels, read.headers["x-request-id"]) == ({"team": "a"}, "r-1")
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


async def test_wait_says_how_a_job_stands_when_it_is_not_over_in_time(client):
    job = await client.enqueue("hello")
    with pytest.raises(WaitTimeout) as caught:
        await client.wait(job.id, timeout=timedelta(seconds=0.2))
    assert caught.value.job.status is Status.QUEUED
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
