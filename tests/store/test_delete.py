from __future__ import annotations

import asyncio

import pytest

from jobqueue_server.errors import JobNotFound, JobNotTerminal

from .stored import SCOPE, stored


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
async def test_an_ended_job_goes_with_all_that_belongs_to_it(dsn, ending):
    async with stored(dsn) as s:
        job_id, other = await getattr(s, ending)(), await s.failed()
        await s.sql.execute(
            "insert into job_progress (job_id, attempt, fraction) values ($1, 1, 0.5)", job_id
        )
        await s.changes.delete(SCOPE, job_id)
        assert await s.reads.get(SCOPE, job_id) is None
        assert await s.reads.get(SCOPE, other) is not None
        for table, column in [
            ("job", "id"),
            ("finished_job", "id"),
            ("attempt", "job_id"),
            ("job_progress", "job_id"),
        ]:
            assert await s.sql.fetchval(f"select count(*) from {table} where {column} = $1", job_id) == 0
        with pytest.raises(JobNotFound):
            await s.changes.delete(SCOPE, job_id)


async def test_only_an_ended_job_is_deleted(dsn):
    async with stored(dsn) as s:
        running, _, _ = await s.running()
        for job_id in (await s.queued(), await s.retrying(queue="other"), running):
            with pytest.raises(JobNotTerminal):
                await s.changes.delete(SCOPE, job_id)
            assert await s.reads.get(SCOPE, job_id) is not None
        with pytest.raises(JobNotFound):
            await s.changes.delete(SCOPE, s.mint.mint())


async def test_of_a_retry_and_a_delete_at_once_one_has_its_way_whole(dsn):
    async with stored(dsn) as s:
        for _ in range(20):
            job_id = await s.failed()
            retried, deleted = await asyncio.gather(
                s.changes.retry(SCOPE, job_id), s.changes.delete(SCOPE, job_id), return_exceptions=True
            )
            live = await s.sql.fetchval("select count(*) from live_job where id = $1", job_id)
            bodies = await s.sql.fetchval("select count(*) from job where id = $1", job_id)
            if isinstance(deleted, Exception):
                assert isinstance(deleted, JobNotTerminal)
                assert (live, bodies) == (1, 1)
                await s.changes.cancel(SCOPE, job_id)
            else:
                assert isinstance(retried, JobNotFound)
                assert (live, bodies) == (0, 0)
