from __future__ import annotations

import asyncio

import pytest

from jobqueue_server.errors import JobNotFound, JobNotTerminal
from jobqueue_server.lifecycle import Event, Status

from .stored import SCOPE, stored


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
async def test_an_ended_job_is_queued_again_with_its_attempts(dsn, ending):
    async with stored(dsn) as s:
        job_id = await getattr(s, ending)(priority=2, max_attempts=4)
        before = await s.reads.get(SCOPE, job_id)
        assert before is not None
        lane = await s.lane()
        again, retried = await s.changes.retry(SCOPE, job_id)
        assert (retried.lane_id, retried.priority) == (lane.id, 2)
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert job == again
        assert (job.status, job.failures, job.losses, job.max_attempts) == (Status.QUEUED, 0, 0, 4)
        assert job.attempts == before.attempts
        assert (job.finished_at, job.output, job.reason) == (None, None, None)
        assert not job.cancel_requested
        assert job.last_error == before.last_error
        assert await s.sql.fetchval("select run_at = changed_at from live_job where id = $1", job_id)
        if ending != "cancelled":
            assert (await s.claim(job_id))[0] == 2


async def test_the_attempt_that_succeeded_is_kept_in_the_history(dsn):
    async with stored(dsn) as s:
        job_id = await s.succeeded()
        ended = await s.sql.fetchrow("select started_at, finished_at, session_id from finished_job")
        await s.changes.retry(SCOPE, job_id)
        kept = await s.sql.fetchrow("select * from attempt where job_id = $1", job_id)
        assert (kept["attempt"], kept["outcome"]) == (1, Event.SUCCEED)
        assert (kept["started_at"], kept["ended_at"], kept["session_id"]) == tuple(ended)


async def test_a_failed_attempt_is_not_written_twice_and_keeps_its_words(dsn):
    async with stored(dsn) as s:
        job_id = await s.failed("for good")
        await s.changes.retry(SCOPE, job_id)
        (kept,) = await s.sql.fetch("select attempt, outcome, message from attempt where job_id = $1", job_id)
        assert tuple(kept) == (1, Event.FAIL, "for good")


async def test_a_job_cancelled_before_it_ever_ran_has_no_history(dsn):
    async with stored(dsn) as s:
        await s.changes.retry(SCOPE, await s.cancelled())
        assert await s.sql.fetchval("select count(*) from attempt") == 0


async def test_only_an_ended_job_is_retried(dsn):
    async with stored(dsn) as s:
        running, _, _ = await s.running()
        for job_id in (await s.queued(), await s.retrying(queue="other"), running):
            with pytest.raises(JobNotTerminal):
                await s.changes.retry(SCOPE, job_id)
        with pytest.raises(JobNotFound):
            await s.changes.retry(SCOPE, s.mint.mint())


async def test_of_two_retries_at_once_one_queues_it(dsn):
    async with stored(dsn) as s:
        job_id = await s.failed()
        answers = await asyncio.gather(
            *(s.changes.retry(SCOPE, job_id) for _ in range(6)), return_exceptions=True
        )
        assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [JobNotTerminal] * 5
        assert await s.sql.fetchval("select count(*) from live_job") == 1
        assert await s.sql.fetchval("select count(*) from finished_job") == 0


async def test_a_late_settlement_of_the_attempt_before_a_retry_is_refused(dsn):
    async with stored(dsn) as s:
        job_id, attempt, session_id = await s.running()
        await s.end_attempt(job_id, attempt, session_id, Event.FAIL, permanent=True)
        await s.changes.retry(SCOPE, job_id)
        assert not await s.succeed(job_id, attempt, session_id)
        again, _ = await s.claim(job_id)
        assert again == attempt + 1
        assert not await s.succeed(job_id, attempt, session_id)


async def test_a_retry_that_finds_no_body_changes_nothing(dsn):
    async with stored(dsn) as s:
        job_id = await s.failed()
        await s.sql.execute("delete from job where id = $1", job_id)
        with pytest.raises(JobNotFound):
            await s.changes.retry(SCOPE, job_id)
        assert await s.sql.fetchval("select count(*) from finished_job") == 1
