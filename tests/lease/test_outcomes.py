"""What becomes of an attempt that did not succeed, and what it charges."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import job_pb2, lease_pb2

from .hand_worker import PATIENCE, span
from .place import Status

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict
QUICK = job_pb2.RetryPolicy(min_backoff=Duration(nanos=1_000_000), max_backoff=Duration(nanos=20_000_000))


async def test_a_failure_is_retried_after_its_backoff_and_ends_for_good_at_the_cap(place):
    worker = await place.worker()
    policy = job_pb2.RetryPolicy(min_backoff=span(0.2), max_backoff=span(0.5))
    job = await place.enqueue(max_attempts=2, retry_policy=policy)
    first = await worker.job()
    # It is looked at before it runs again, however short its backoff is.
    await worker.capacity(0)
    result = await worker.fail(first, "no luck", error_type="Luck", stack="line 1\nline 2")
    assert (result.verdict, Status.Name(result.status)) == (Verdict.APPLIED, "RETRYING")
    assert (result.lease_id, result.job_id, result.attempt) == (first.lease_id, job.id, 1)
    retrying = await place.get(job.id)
    assert (Status.Name(retrying.status), retrying.failures, retrying.last_error) == (
        "RETRYING",
        1,
        "no luck",
    )
    assert retrying.run_at == result.run_at
    await worker.capacity(1)
    second = await worker.job()
    claimed_at = await place.value("select changed_at from live_job")
    assert (second.id, second.attempt, second.failures) == (job.id, 2, 1)
    assert second.lease_id != first.lease_id
    assert claimed_at.timestamp() >= result.run_at.ToMicroseconds() / 1e6
    result = await worker.fail(second, "again")
    assert Status.Name(result.status) == "FAILED_PERMANENT"
    assert not result.HasField("run_at")
    done = await place.wait(job.id)
    assert (done.reason, done.failures, done.attempts, done.last_error) == (
        "ATTEMPTS_EXHAUSTED",
        2,
        2,
        "again",
    )
    assert [(each.attempt, each.reason, each.error_type, each.error) for each in done.failed_attempts] == [
        (1, "HANDLER_FAILED", "Luck", "no luck"),
        (2, "HANDLER_FAILED", "", "again"),
    ]
    assert done.failed_attempts[0].worker == "hand"
    assert await place.value("select stack from attempt where attempt = 1") == "line 1\nline 2"


async def test_a_job_that_failed_once_then_succeeds(place):
    worker = await place.worker()
    job = await place.enqueue(retry_policy=QUICK)
    await worker.fail(await worker.job())
    await worker.succeed(await worker.job())
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.attempts, done.failures) == ("SUCCEEDED", 2, 1)


async def test_a_permanent_failure_ends_at_once(place):
    worker = await place.worker()
    job = await place.enqueue()
    result = await worker.fail(await worker.job(), "never", permanent=True)
    assert Status.Name(result.status) == "FAILED_PERMANENT"
    done = await place.wait(job.id)
    assert (done.reason, done.failures, done.attempts) == ("NOT_RETRYABLE", 1, 1)


async def test_retry_after_replaces_the_backoff(place):
    worker = await place.worker(slots=3)
    slow = job_pb2.RetryPolicy(min_backoff=span(3600), max_backoff=span(3600))
    now, soon, later = [await place.enqueue(retry_policy=slow) for _ in range(3)]
    jobs = {job.id: job for job in await worker.jobs(3)}
    result = await worker.fail(jobs[later.id], retry_after=span(400 * 86400))
    assert result.run_at.seconds - later.created_at.seconds >= 400 * 86400 - 1
    await worker.fail(jobs[now.id], retry_after=span(0))
    assert (await worker.job()).id == now.id
    soon_at = (await worker.fail(jobs[soon.id], retry_after=span(0.5))).run_at
    assert (await worker.job()).id == soon.id
    claimed_at = await place.value("select changed_at from live_job where id = $1", soon.id)
    # The backoff is an hour.
    assert 0 <= claimed_at.timestamp() - soon_at.ToMicroseconds() / 1e6 < PATIENCE


async def test_long_texts_are_cut_and_said_to_be_cut_and_nul_is_replaced(place):
    worker = await place.worker()
    job = await place.enqueue(max_attempts=1)
    await worker.fail(await worker.job(), "a\0b" + "é" * 9000, error_type="T" * 300, stack="s" * 40_000)
    done = await place.wait(job.id)
    assert done.last_error.startswith("a\N{REPLACEMENT CHARACTER}b")
    assert len(done.last_error) <= 8 << 10
    assert done.last_error.endswith("(cut)")
    assert len(done.failed_attempts[0].error_type) <= 255
    stack = await place.value("select stack from attempt")
    assert len(stack) <= 32 << 10
    assert stack.endswith("(cut)")


async def test_snooze_and_release_cost_no_try(place):
    worker = await place.worker()
    job = await place.enqueue(max_attempts=1)
    leased = await worker.job()
    await worker.capacity(0)
    result = await worker.snooze(leased, 0.3)
    assert (result.verdict, Status.Name(result.status)) == (Verdict.APPLIED, "QUEUED")
    snoozed = await place.get(job.id)
    assert (Status.Name(snoozed.status), snoozed.run_at) == ("QUEUED", result.run_at)
    await worker.capacity(1)
    again = await worker.job()
    claimed_at = await place.value("select changed_at from live_job")
    assert claimed_at.timestamp() >= result.run_at.ToMicroseconds() / 1e6
    assert (again.attempt, again.failures) == (2, 0)
    result = await worker.release(again)
    assert Status.Name(result.status) == "QUEUED"
    third = await worker.job()
    assert third.attempt == 3
    await worker.succeed(third)
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.attempts, done.failures, done.losses) == ("SUCCEEDED", 3, 0, 0)
    assert list(done.failed_attempts) == []


async def test_a_job_that_failed_before_is_retrying_after_a_snooze(place):
    worker = await place.worker()
    job = await place.enqueue(retry_policy=QUICK)
    await worker.fail(await worker.job())
    assert Status.Name((await worker.snooze(await worker.job(), 60)).status) == "RETRYING"
    assert (await place.get(job.id)).failures == 1


async def test_a_worker_may_cancel_on_its_own(place):
    worker = await place.worker()
    job = await place.enqueue()
    assert Status.Name((await worker.cancelled(await worker.job())).status) == "CANCELLED"
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.reason, done.failures) == ("CANCELLED", "CANCELLED_BY_WORKER", 0)


async def test_who_waits_is_answered_at_the_end_whatever_it_is(place):
    worker = await place.worker(slots=4)
    jobs = [await place.enqueue() for _ in range(4)]
    leased = {job.id: job for job in await worker.jobs(4)}
    waiting = [asyncio.create_task(place.wait(job.id)) for job in jobs]
    await asyncio.sleep(0.1)
    await worker.succeed(leased[jobs[0].id])
    await worker.fail(leased[jobs[1].id], permanent=True)
    await worker.cancelled(leased[jobs[2].id])
    await place.cancel(jobs[3].id)
    await worker.cancelled(leased[jobs[3].id])
    done = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
    assert [Status.Name(job.status) for job in done] == [
        "SUCCEEDED",
        "FAILED_PERMANENT",
        "CANCELLED",
        "CANCELLED",
    ]


async def test_a_malformed_outcome_is_invalid_and_the_others_of_its_frame_are_applied(place):
    worker = await place.worker(slots=12)
    await place.batch(12)
    jobs = await worker.jobs(12)
    good, packed, *rest = jobs
    bad: list[dict[str, Any]] = [
        {},
        {"snooze": lease_pb2.Snooze()},
        {"snooze": lease_pb2.Snooze(delay=span(-1))},
        {"snooze": lease_pb2.Snooze(delay=span(401 * 86400))},
        {"failure": lease_pb2.Failure(retry_after=span(-1))},
        {"success": lease_pb2.Success(output_json=b"{")},
        {"success": lease_pb2.Success(output_json=b'"' + b"x" * (1 << 20) + b'"')},
        {"success": lease_pb2.Success(output_json=b"\xff")},
    ]
    outcomes = [
        lease_pb2.Outcome(lease_id=job.lease_id, **fields) for job, fields in zip(rest, bad, strict=False)
    ]
    outcomes += [
        lease_pb2.Outcome(release=lease_pb2.Release()),
        lease_pb2.Outcome(job_id="no-id", attempt=1, release=lease_pb2.Release()),
        lease_pb2.Outcome(job_id=rest[0].id, attempt=0, release=lease_pb2.Release()),
    ]
    outcomes.append(lease_pb2.Outcome(lease_id=good.lease_id, success=lease_pb2.Success(output_json=b"1")))
    results = await worker.settle([packed.lease_id], outcomes)
    assert len(results) == len(outcomes) - 1
    assert {Verdict.Name(result.verdict) for result in results} == {"INVALID"}
    assert all(result.message for result in results)
    assert all(result.status == 0 for result in results)
    assert (await place.get(good.id)).output_json == b"1"
    assert await place.status(packed.id) == "SUCCEEDED"
    # Their leases go on: they can be settled otherwise.
    assert await worker.succeed(*rest) == []
