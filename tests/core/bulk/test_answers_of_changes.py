"""What CancelJob and RetryJob answer of a job that moves on before it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from jobqueue_server.lifecycle import Status
from jobqueue_server.store.claim.claims import ClaimTarget
from tests.core.calls import service
from tests.store.stored import SCOPE, Stored


@asynccontextmanager
async def reads_that_wait(s: Stored) -> AsyncIterator[Any]:
    """Nothing reads a whole job meanwhile, while cancels, retries, claims and settlements go on."""
    lock = s.sql.transaction()
    await lock.start()
    await s.sql.execute("lock table kind in access exclusive mode")
    try:
        yield lambda: _one_waits(s)
    finally:
        await lock.rollback()


async def _one_waits(s: Stored) -> None:
    async with asyncio.timeout(10):
        while not await s.sql.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)


async def _run_to_its_end(s: Stored) -> None:
    """What a worker does that finds the job; nothing where it can't be seen yet."""
    lane, (session_id, epoch) = await s.lane(), await s.session()
    target = ClaimTarget(lane.id, 0, 1, datetime(2000, 1, 1, tzinfo=UTC), 1)
    for row in await s.claims.claim([target], [session_id], {session_id: epoch}):
        assert await s.succeed(row["id"], row["attempts"], session_id)


async def test_a_retry_answers_queued_also_where_the_job_has_ended_again(dsn):
    async with service(dsn) as it:
        job_id = await it.store.failed()
        async with reads_that_wait(it.store) as one_waits:
            retrying = asyncio.create_task(it.changes.retry(SCOPE, job_id))
            await one_waits()
            await _run_to_its_end(it.store)
        job = await retrying
        assert (job.status, job.attempts, job.finished_at) == (Status.QUEUED, 1, None)
        assert it.told.made_ready, "and those who wait for work are told"


@pytest.mark.parametrize("then", ["deleted", "retried"])
async def test_a_cancel_answers_cancelled_also_where_the_job_has_moved_on(dsn, then):
    async with service(dsn) as it:
        job_id = await it.store.queued()
        move = it.store.changes.delete if then == "deleted" else it.changes.retry
        async with reads_that_wait(it.store) as one_waits:
            cancelling = asyncio.create_task(it.changes.cancel(SCOPE, job_id))
            await one_waits()
            moving = asyncio.create_task(move(SCOPE, job_id))
            # It has moved, or is refused or waits because the cancel is not committed.
            await asyncio.wait({moving}, timeout=0.5)
        job, pending = await cancelling
        assert (job.status, job.reason, pending) == (Status.CANCELLED, "CANCELLED_BY_CALLER", False)
        assert it.told.finished == [("hello", "cancelled")]
        await asyncio.gather(moving, return_exceptions=True)


async def test_a_cancel_of_a_running_job_answers_running_also_where_it_has_ended(dsn):
    async with service(dsn) as it:
        job_id, attempt, session_id = await it.store.running()
        async with reads_that_wait(it.store) as one_waits:
            cancelling = asyncio.create_task(it.changes.cancel(SCOPE, job_id, "enough"))
            await one_waits()
            settling = asyncio.create_task(it.store.succeed(job_id, attempt, session_id))
            # It is settled, or waits because the cancel is not committed.
            await asyncio.wait({settling}, timeout=0.5)
        job, pending = await cancelling
        assert (job.status, job.cancel_requested, pending) == (Status.RUNNING, True, True)
        assert it.told.cancels == [(job_id, session_id, attempt, "enough")]
        assert await settling
