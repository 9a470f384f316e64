"""Only the session that holds a job's newest lease can settle it; all else is refused, and told so."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.v1 import jobqueue_pb2, lease_pb2

from .hand_worker import span
from .place import Status

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict


def verdicts(results):
    return [Verdict.Name(result.verdict) for result in results]


def by_name(job_id, attempt, **outcome):
    """An outcome that names its lease by job and attempt."""
    return lease_pb2.Outcome(job_id=job_id, attempt=attempt, **(outcome or {"success": lease_pb2.Success()}))


async def untouched(place, *job_ids):
    """Whether these jobs still run."""
    return [await place.status(job_id) for job_id in job_ids] == ["RUNNING"] * len(job_ids)


async def test_a_settlement_by_job_and_attempt_counts(place):
    worker = await place.worker(slots=2)
    ids = await place.batch(2)
    leased = {job.id: job for job in await worker.jobs(2)}
    assert await worker.settle(outcomes=[by_name(ids[0], 1)]) == []
    (result,) = await worker.settle(outcomes=[by_name(ids[1], 1, failure=lease_pb2.Failure(permanent=True))])
    assert (Verdict.Name(result.verdict), Status.Name(result.status)) == ("APPLIED", "FAILED_PERMANENT")
    assert (result.job_id, result.attempt) == (ids[1], 1)
    worker.held.clear()
    # Both slots are free again.
    again = await place.batch(2)
    assert {job.id for job in await worker.jobs(2)} == set(again)
    assert len(leased) == 2


async def test_another_session_settles_nothing(place):
    holder, other = await place.worker(name="holder"), await place.worker(name="other", kinds=["none"])
    job = await place.enqueue()
    leased = await holder.job()
    outcomes = [
        by_name(job.id, 1),
        by_name(job.id, 1, failure=lease_pb2.Failure(error="x")),
        by_name(job.id, 1, release=lease_pb2.Release()),
        by_name(job.id, 1, cancellation=lease_pb2.Cancellation()),
        by_name(job.id, 1, snooze=lease_pb2.Snooze(delay=span(1))),
    ]
    assert verdicts(await other.settle(outcomes=outcomes)) == ["STALE_LEASE"] * 5
    # A lease id means nothing in another session.
    assert verdicts(await other.settle([leased.lease_id])) == ["STALE_LEASE"]
    assert await untouched(place, job.id)
    assert await holder.succeed(leased) == []


async def test_swapped_pairs_and_wrong_attempts_are_stale(place):
    worker = await place.worker(slots=2)
    first = await place.enqueue()
    await worker.release(await worker.job())
    leased = {(await worker.job()).id: None}
    second = await place.enqueue()
    leased[(await worker.job()).id] = None
    assert set(leased) == {first.id, second.id}
    # The first runs its attempt 2, the second its attempt 1.
    swapped = [by_name(first.id, 1), by_name(second.id, 2), by_name(second.id, 99)]
    assert verdicts(await worker.settle(outcomes=swapped)) == ["STALE_LEASE"] * 3
    assert await untouched(place, first.id, second.id)
    assert await worker.settle(outcomes=[by_name(first.id, 2), by_name(second.id, 1)]) == []


async def test_a_lease_id_that_was_never_given_is_stale_and_a_job_that_never_was_is_not_found(place):
    worker = await place.worker()
    results = await worker.settle([1 << 32 | 77, -5])
    assert verdicts(results) == ["STALE_LEASE"] * 2
    assert [result.lease_id for result in results] == [1 << 32 | 77, -5]
    nobody = "018f0000-0000-7000-8000-000000000000"
    results = await worker.settle(outcomes=[by_name(nobody, 1)])
    assert verdicts(results) == ["NOT_FOUND"]
    job = await place.enqueue()
    await worker.succeed(await worker.job())
    await place.stub.DeleteJob(jobqueue_pb2.DeleteJobRequest(id=job.id))
    assert verdicts(await worker.settle(outcomes=[by_name(job.id, 1)])) == ["NOT_FOUND"]


async def test_the_same_settlement_again_was_applied_already(place):
    worker = await place.worker(slots=4)
    await place.batch(4)
    jobs = await worker.jobs(4)
    again: list[dict[str, Any]] = [
        {"success": lease_pb2.Success()},
        {"failure": lease_pb2.Failure(error="x")},
        {"snooze": lease_pb2.Snooze(delay=span(60))},
        {"cancellation": lease_pb2.Cancellation()},
    ]
    outcomes = [
        lease_pb2.Outcome(lease_id=job.lease_id, **fields) for job, fields in zip(jobs, again, strict=True)
    ]
    assert verdicts(await worker.settle(outcomes=outcomes)) == ["APPLIED"] * 3
    results = await worker.settle(outcomes=outcomes)
    assert verdicts(results) == ["ALREADY_APPLIED"] * 4
    assert [Status.Name(result.status) for result in results] == [
        "SUCCEEDED",
        "RETRYING",
        "QUEUED",
        "CANCELLED",
    ]
    by_names = [by_name(job.id, 1, **fields) for job, fields in zip(jobs, again, strict=True)]
    assert verdicts(await worker.settle(outcomes=by_names)) == ["ALREADY_APPLIED"] * 4
    assert verdicts(await worker.settle([jobs[0].lease_id])) == ["ALREADY_APPLIED"]
    assert (await place.get(jobs[1].id)).failures == 1


async def test_the_same_lease_twice_in_one_frame_counts_once(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    fail = lease_pb2.Outcome(lease_id=leased.lease_id, failure=lease_pb2.Failure(error="x"))
    results = await worker.settle([leased.lease_id, leased.lease_id], [fail])
    assert sorted(verdicts(results)) == ["ALREADY_APPLIED", "STALE_LEASE"]
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.failures) == ("SUCCEEDED", 0)


async def test_the_same_failure_twice_in_one_frame_counts_once(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    fail = lease_pb2.Outcome(lease_id=leased.lease_id, failure=lease_pb2.Failure(error="x", permanent=True))
    results = await worker.settle(outcomes=[fail, fail])
    assert sorted(verdicts(results)) == ["ALREADY_APPLIED", "APPLIED"]
    assert (await place.wait(job.id)).failures == 1


async def test_another_outcome_after_the_settlement_is_stale(place):
    worker = await place.worker(slots=2)
    done, failed = await place.batch(2)
    leased = {job.id: job for job in await worker.jobs(2)}
    await worker.succeed(leased[done])
    await worker.fail(leased[failed], retry_after=span(60))
    results = [
        await worker.outcome(leased[done], failure=lease_pb2.Failure(error="x")),
        await worker.outcome(leased[done], cancellation=lease_pb2.Cancellation()),
        await worker.outcome(leased[failed], success=lease_pb2.Success()),
        await worker.outcome(leased[failed], release=lease_pb2.Release()),
    ]
    assert verdicts(results) == ["STALE_LEASE"] * 4
    assert all(result.message for result in results)
    assert [await place.status(done), await place.status(failed)] == ["SUCCEEDED", "RETRYING"]
    assert (await place.get(failed)).failures == 1


async def test_a_lease_of_an_earlier_attempt_settles_nothing_of_the_next(place):
    worker = await place.worker()
    job = await place.enqueue()
    first = await worker.job()
    await worker.release(first)
    second = await worker.job()
    assert verdicts(await worker.succeed(first)) == ["STALE_LEASE"]
    assert await untouched(place, job.id)
    assert await worker.succeed(second) == []


async def test_an_operators_retry_is_fenced_from_what_was_before(place):
    worker = await place.worker()
    job = await place.enqueue()
    first = await worker.job()
    await worker.succeed(first)
    await place.retry(job.id)
    second = await worker.job()
    assert (second.id, second.attempt) == (job.id, 2)
    assert verdicts(await worker.succeed(first)) == ["ALREADY_APPLIED"]
    assert verdicts([await worker.outcome(first, failure=lease_pb2.Failure())]) == ["STALE_LEASE"]
    assert await untouched(place, job.id)
    await worker.succeed(second)
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.attempts) == ("SUCCEEDED", 2)


async def test_settling_is_never_an_error_of_the_stream(place):
    worker = await place.worker()
    await worker.settle([0, 1, 2], [lease_pb2.Outcome(), by_name("x" * 100, -1)])
    await worker.heartbeat()
    assert not worker.ended
