from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue_server.errors import JobNotFound, JobTerminal
from jobqueue_server.lifecycle import Event, Hold, Status
from jobqueue_server.store.claim.claims import ClaimTarget

from .stored import GRACE, SCOPE, stored


@pytest.mark.parametrize("status", ["queued", "retrying", "held back"])
async def test_a_waiting_job_is_cancelled_at_once(dsn, status):
    async with stored(dsn) as s:
        hold = Hold.HAND if status == "held back" else None
        job_id = await (s.retrying() if status == "retrying" else s.queued(hold=hold))
        found, answer = await s.changes.cancel(SCOPE, job_id)
        assert not answer.pending
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert job == found
        assert (job.status, job.reason, job.cancel_requested) == (
            Status.CANCELLED,
            "CANCELLED_BY_CALLER",
            True,
        )
        assert job.attempts == (1 if status == "retrying" else 0)
        assert await s.sql.fetchval("select count(*) from live_job") == 0


async def test_a_running_job_is_asked_to_stop_and_a_repeat_changes_nothing(dsn):
    async with stored(dsn) as s:
        job_id, attempt, session_id = await s.running()
        found, answer = await s.changes.cancel(SCOPE, job_id)
        assert (answer.pending, answer.session_id, answer.attempt) == (True, session_id, attempt)
        first = await s.sql.fetchrow("select deadline, cancel_requested_at from live_job")
        assert first["deadline"] - first["cancel_requested_at"] == GRACE
        assert await s.changes.cancel(SCOPE, job_id) == (found, answer)
        assert await s.sql.fetchrow("select deadline, cancel_requested_at from live_job") == first
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert (job.status, job.cancel_requested) == (Status.RUNNING, True)
        assert job.updated_at == first["cancel_requested_at"]


async def test_the_run_timeout_stays_where_it_comes_before_the_grace(dsn):
    async with stored(dsn) as s:
        job_id, _, _ = await s.running(timeout=timedelta(seconds=5))
        before = await s.sql.fetchval("select deadline from live_job")
        await s.changes.cancel(SCOPE, job_id)
        assert await s.sql.fetchval("select deadline from live_job") == before


async def test_an_ended_job_says_in_which_state_it_is(dsn):
    async with stored(dsn) as s:
        for job_id, status in [
            (await s.succeeded(), "SUCCEEDED"),
            (await s.failed(), "FAILED_PERMANENT"),
            (await s.cancelled(), "CANCELLED"),
        ]:
            with pytest.raises(JobTerminal, match=f"^job is already in terminal state {status}$"):
                await s.changes.cancel(SCOPE, job_id)
        with pytest.raises(JobNotFound):
            await s.changes.cancel(SCOPE, s.mint.mint())


async def test_a_cancel_that_waits_for_a_claim_finds_the_job_running(dsn):
    async with stored(dsn) as s:
        job_id = await s.queued()
        session_id, _ = await s.session()
        claim = s.sql.transaction()
        await claim.start()
        await s.sql.execute(
            "update live_job set state = 2, attempts = 1, session_id = $2 where id = $1", job_id, session_id
        )
        cancelling = asyncio.create_task(s.changes.cancel(SCOPE, job_id))
        await _blocked(s)
        await claim.commit()
        _, answer = await cancelling
        assert (answer.pending, answer.session_id, answer.attempt) == (True, session_id, 1)
        assert await s.sql.fetchval("select count(*) from finished_job") == 0
        assert await s.sql.fetchval("select cancel_requested_at is not null from live_job")


async def test_a_cancel_that_waits_for_a_release_ends_the_job(dsn):
    async with stored(dsn) as s:
        job_id, _, _ = await s.running()
        release = s.sql.transaction()
        await release.start()
        await s.sql.execute("update live_job set state = 1, session_id = null where id = $1", job_id)
        cancelling = asyncio.create_task(s.changes.cancel(SCOPE, job_id))
        await _blocked(s)
        await release.commit()
        assert not (await cancelling)[1].pending
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert job.status == Status.CANCELLED


async def test_a_cancel_that_waits_for_a_settlement_finds_the_job_ended(dsn):
    async with stored(dsn) as s:
        job_id, _, _ = await s.running()
        settle = s.sql.transaction()
        await settle.start()
        await s.sql.execute("delete from live_job where id = $1", job_id)
        await s.sql.execute(
            "insert into finished_job (id, attempts, status, failures, losses) values ($1, 1, 3, 0, 0)",
            job_id,
        )
        cancelling = asyncio.create_task(s.changes.cancel(SCOPE, job_id))
        await _blocked(s)
        await settle.commit()
        with pytest.raises(JobTerminal, match="SUCCEEDED"):
            await cancelling


async def test_of_claims_settlements_and_cancels_that_race_each_job_ends_once(dsn):
    async with stored(dsn) as s:
        session_id, epoch = await s.session()
        ids = [await s.queued() for _ in range(200)]
        lane = await s.lane()
        target = ClaimTarget(lane.id, 0, 5, datetime(2000, 1, 1, tzinfo=UTC), 1)
        succeeded = set()

        async def work():
            while rows := await s.claims.claim([target], [session_id] * 5, {session_id: epoch}):
                for row in rows:
                    assert await s.succeed(row["id"], row["attempts"], session_id)
                    succeeded.add(row["id"])

        async def cancel(job_id):
            try:
                return (await s.changes.cancel(SCOPE, job_id))[1]
            except JobTerminal:
                return None

        *answers, _, _ = await asyncio.gather(*(cancel(job_id) for job_id in reversed(ids)), work(), work())
        await work()
        ended = {row["id"]: row["status"] for row in await s.sql.fetch("select id, status from finished_job")}
        assert await s.sql.fetchval("select count(*) from live_job") == 0
        assert ended == {job_id: 3 if job_id in succeeded else 6 for job_id in ids}
        for job_id, answer in zip(reversed(ids), answers, strict=True):
            at_once = answer is not None and not answer.pending
            assert at_once == (ended[job_id] == Status.CANCELLED)
        assert 0 < len(succeeded) < len(ids)


async def test_a_success_wins_over_a_cancel_that_is_pending_and_a_failure_does_not(dsn):
    async with stored(dsn) as s:
        job_id, attempt, session_id = await s.running()
        await s.changes.cancel(SCOPE, job_id)
        assert await s.succeed(job_id, attempt, session_id)
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert job.status == Status.SUCCEEDED
        job_id, attempt, session_id = await s.running()
        await s.changes.cancel(SCOPE, job_id)
        await s.end_attempt(job_id, attempt, session_id, Event.FAIL, message="m")
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert (job.status, job.reason, job.cancel_requested) == (
            Status.CANCELLED,
            "CANCELLED_BY_CALLER",
            True,
        )


async def test_a_cancel_whose_job_has_no_body_changes_nothing(dsn):
    async with stored(dsn) as s:
        job_id = await s.queued()
        await s.sql.execute("delete from job where id = $1", job_id)
        with pytest.raises(JobNotFound):
            await s.changes.cancel(SCOPE, job_id)
        assert await s.sql.fetchval("select count(*) from live_job") == 1
        assert await s.sql.fetchval("select count(*) from finished_job") == 0


async def _blocked(s):
    """Returns when a statement of this database waits for a lock."""
    async with asyncio.timeout(10):
        while not await s.sql.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
