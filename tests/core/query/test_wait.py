"""WaitJob: what wakes it, and what it answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from jobqueue_server.core.events.ends import Ended
from jobqueue_server.core.query.waiters import Waiters
from jobqueue_server.errors import FieldInvalid, JobNotFound
from jobqueue_server.lifecycle import Status
from tests.core.calls import service, so_many_wait
from tests.store.stored import SCOPE


async def _asleep(waiters: Waiters, job_id: UUID) -> None:
    """Returns when the one who waits for the job has read it and sleeps."""
    async with asyncio.timeout(10):
        while not any(event._waiters for event in waiters._awaited.get(job_id, ())):
            await asyncio.sleep(0.005)


async def test_an_ended_job_is_answered_at_once(dsn):
    async with service(dsn) as it:
        job_id = await it.store.succeeded(b"[1]")
        job = await it.reads.wait(SCOPE, job_id)
        assert (job.status, job.output) == (Status.SUCCEEDED, b"[1]")
        assert not it.waiters._awaited


async def test_all_who_wait_are_woken_by_the_settlement(dsn):
    async with service(dsn) as it:
        job_id, attempt, session_id = await it.store.running()
        waits = [asyncio.create_task(it.reads.wait(SCOPE, job_id)) for _ in range(5)]
        await so_many_wait(it.waiters, 5)
        it.ends.tell([Ended([it.store.mint.mint()])])
        assert await it.store.succeed(job_id, attempt, session_id)
        it.ends.tell([Ended([job_id])])
        async with asyncio.timeout(10):
            assert {job.status for job in await asyncio.gather(*waits)} == {Status.SUCCEEDED}
        assert not it.waiters._awaited


async def test_what_another_server_settles_is_found_by_a_look(dsn):
    async with service(dsn, look_every=timedelta(milliseconds=20)) as it:
        one, other = await it.store.running(), await it.store.running(queue="other")
        waits = [asyncio.create_task(it.reads.wait(SCOPE, job_id)) for job_id, _, _ in (one, other)]
        await so_many_wait(it.waiters, 2)
        assert await it.store.succeed(*one)
        async with asyncio.timeout(10):
            assert (await waits[0]).status == Status.SUCCEEDED
            assert not waits[1].done()
            assert await it.store.succeed(*other)
            assert (await waits[1]).status == Status.SUCCEEDED


async def test_waits_that_come_at_once_are_read_together(dsn, monkeypatch):
    async with service(dsn) as it:
        read: list[int] = []
        some = it.store.reads.get_some

        async def counted(namespace, ids, *, full):
            read.append(len(ids))
            return await some(namespace, ids, full=full)

        monkeypatch.setattr(it.store.reads, "get_some", counted)
        ids = [await it.store.succeeded(b"[1]") for _ in range(10)]
        jobs = await asyncio.gather(*(it.reads.wait(SCOPE, job_id) for job_id in ids for _ in range(20)))
        assert [job.id for job in jobs] == [job_id for job_id in ids for _ in range(20)]
        assert read == [10]


async def test_after_the_timeout_the_job_is_answered_as_it_is(dsn):
    async with service(dsn) as it:
        job_id = await it.store.queued()
        assert (await it.reads.wait(SCOPE, job_id, timedelta(milliseconds=30))).status == Status.QUEUED
        assert not it.waiters._awaited


async def test_a_wait_for_a_job_that_is_queued_again_goes_on(dsn):
    async with service(dsn) as it:
        job_id, attempt, session_id = await it.store.running()
        wait = asyncio.create_task(it.reads.wait(SCOPE, job_id))
        await _asleep(it.waiters, job_id)
        assert await it.store.succeed(job_id, attempt, session_id)
        await it.changes.retry(SCOPE, job_id)
        it.ends.tell([Ended([job_id])])
        attempt, session_id = await it.store.claim(job_id)
        assert not wait.done()
        assert await it.store.succeed(job_id, attempt, session_id)
        it.ends.tell([Ended([job_id])])
        async with asyncio.timeout(10):
            assert (await wait).attempts == 2


async def test_a_wait_for_no_job_says_so_and_one_that_is_deleted_meanwhile_too(dsn):
    async with service(dsn) as it:
        with pytest.raises(JobNotFound):
            await it.reads.wait(SCOPE, it.store.mint.mint())
        with pytest.raises(FieldInvalid, match="timeout"):
            await it.reads.wait(SCOPE, it.store.mint.mint(), timedelta(seconds=-1))
        job_id, attempt, session_id = await it.store.running()
        wait = asyncio.create_task(it.reads.wait(SCOPE, job_id))
        await _asleep(it.waiters, job_id)
        assert await it.store.succeed(job_id, attempt, session_id)
        await it.changes.delete(SCOPE, job_id)
        with pytest.raises(JobNotFound):
            async with asyncio.timeout(10):
                await wait
