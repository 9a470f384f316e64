"""The run timeout: a failure at its deadline, without grace."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import job_pb2, lease_pb2

from .place import Status

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict
QUICK = job_pb2.RetryPolicy(min_backoff=Duration(nanos=1_000_000), max_backoff=Duration(nanos=20_000_000))


@pytest.mark.slow
async def test_an_attempt_that_runs_too_long_fails_at_its_deadline_and_its_lease_is_revoked(place):
    worker = await place.worker(slots=2, receipts=True)
    job = await place.enqueue(timeout=1, max_attempts=2, retry_policy=QUICK)
    patient = await place.enqueue()
    leased = {job.id: job for job in await worker.jobs(2)}
    first = leased[job.id]
    started_at = await place.value("select changed_at from live_job where id = $1", job.id)
    revoke = (await worker.next("control")).revoke
    assert (list(revoke.lease_ids), revoke.reason) == ([first.lease_id], "TIMED_OUT")
    ended_at = await place.value("select ended_at from attempt where job_id = $1", job.id)
    assert 1 <= (ended_at - started_at).total_seconds() < 2

    # Its handler still runs, as the heartbeat says, so the slot is not free for the next attempt.
    await worker.heartbeat()
    await worker.no_job()
    retrying = await place.get(job.id)
    assert (Status.Name(retrying.status), retrying.failures, retrying.attempts) == ("RETRYING", 1, 1)
    assert retrying.failed_attempts[0].reason == "TIMED_OUT"

    # The late answer is stale, and what is not named any more frees its slot.
    assert [result.verdict for result in await worker.succeed(first)] == [Verdict.STALE_LEASE]
    await worker.heartbeat()
    second = await worker.job()
    assert (second.id, second.attempt, second.failures) == (job.id, 2, 1)

    revoke = (await worker.next("control")).revoke
    assert list(revoke.lease_ids) == [second.lease_id]
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.reason, done.failures) == (
        "FAILED_PERMANENT",
        "ATTEMPTS_EXHAUSTED",
        2,
    )
    assert await place.status(patient.id) == "RUNNING"


async def test_an_attempt_that_answers_in_time_is_not_timed_out(place):
    worker = await place.worker()
    job = await place.enqueue(timeout=10)
    await worker.snooze(await worker.job(), 0.1)
    await worker.succeed(await worker.job())
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.failures) == ("SUCCEEDED", 0)


@pytest.mark.slow
async def test_the_earlier_of_run_timeout_and_cancel_grace_decides(dsn):
    from .place import Place

    async with Place(dsn, cancel_grace="60s") as place:
        worker = await place.worker()
        # The cancel comes before it.
        job = await place.enqueue(timeout=4)
        await worker.job()
        await place.cancel(job.id)
        assert (await worker.next("control")).HasField("cancel")
        assert (await worker.next("control")).revoke.reason == "TIMED_OUT"
        done = await place.wait(job.id)
        assert (Status.Name(done.status), done.reason) == ("CANCELLED", "CANCELLED_BY_CALLER")
