from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.core.events.ends import Ended, Ends
from jobqueue_server.core.jobs import JobService
from jobqueue_server.core.waiters import Waiters
from jobqueue_server.errors import FieldInvalid, JobNotFound, PageTokenInvalid
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import JobFilter
from tests.store.stored import SCOPE, Stored, stored

NEVER = timedelta(hours=1)


@dataclass
class Told:
    cancels: list[tuple[UUID, int, int, str]] = field(default_factory=list)
    ready: list[tuple[int, int]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    @property
    def finished(self) -> list[tuple[str, str]]:
        """Kind and outcome of those that are counted."""
        return [(each.kind, each.outcome) for each in self.ended if each.kind is not None]


@dataclass
class Service:
    store: Stored
    jobs: JobService
    waiters: Waiters
    ends: Ends
    told: Told


@asynccontextmanager
async def service(dsn: str, look_every: timedelta = NEVER) -> AsyncIterator[Service]:
    """The calls over real stores; `look_every` NEVER leaves the waking to memory alone."""
    async with stored(dsn) as s:
        ends, told = Ends(), Told()
        waiters = Waiters(s.reads, ends, look_every=look_every)
        ends.subscribe(told.ended.extend)
        unused: Any = None
        jobs = JobService(
            unused,
            s.reads,
            s.changes,
            waiters,
            ends,
            on_cancel=lambda *what: told.cancels.append(what),
            on_ready=lambda *what: told.ready.append(what),
        )
        looking = asyncio.create_task(waiters.run())
        try:
            yield Service(s, jobs, waiters, ends, told)
        finally:
            looking.cancel()


async def _waiting(waiters: Waiters, count: int) -> None:
    async with asyncio.timeout(10):
        while sum(len(events) for events in waiters._awaited.values()) < count:
            await asyncio.sleep(0.005)


async def _asleep(waiters: Waiters, job_id: UUID) -> None:
    """Returns when the one who waits for the job has read it and sleeps."""
    async with asyncio.timeout(10):
        while not any(event._waiters for event in waiters._awaited.get(job_id, ())):
            await asyncio.sleep(0.005)


async def test_an_ended_job_is_answered_at_once(dsn):
    async with service(dsn) as it:
        job_id = await it.store.succeeded(b"[1]")
        job = await it.jobs.wait(SCOPE, job_id)
        assert (job.status, job.output) == (Status.SUCCEEDED, b"[1]")
        assert not it.waiters._awaited


async def test_all_who_wait_are_woken_by_the_settlement(dsn):
    async with service(dsn) as it:
        job_id, attempt, session_id = await it.store.running()
        waits = [asyncio.create_task(it.jobs.wait(SCOPE, job_id)) for _ in range(5)]
        await _waiting(it.waiters, 5)
        it.ends.tell([Ended([it.store.mint.mint()])])
        assert await it.store.succeed(job_id, attempt, session_id)
        it.ends.tell([Ended([job_id])])
        async with asyncio.timeout(10):
            assert {job.status for job in await asyncio.gather(*waits)} == {Status.SUCCEEDED}
        assert not it.waiters._awaited


async def test_what_another_server_settles_is_found_by_a_look(dsn):
    async with service(dsn, look_every=timedelta(milliseconds=20)) as it:
        one, other = await it.store.running(), await it.store.running(queue="other")
        waits = [asyncio.create_task(it.jobs.wait(SCOPE, job_id)) for job_id, _, _ in (one, other)]
        await _waiting(it.waiters, 2)
        assert await it.store.succeed(*one)
        async with asyncio.timeout(10):
            assert (await waits[0]).status == Status.SUCCEEDED
            assert not waits[1].done()
            assert await it.store.succeed(*other)
            assert (await waits[1]).status == Status.SUCCEEDED


async def test_after_the_timeout_the_job_is_answered_as_it_is(dsn):
    async with service(dsn) as it:
        job_id = await it.store.queued()
        assert (await it.jobs.wait(SCOPE, job_id, timedelta(milliseconds=30))).status == Status.QUEUED
        assert not it.waiters._awaited


async def test_a_wait_for_a_job_that_is_queued_again_goes_on(dsn):
    async with service(dsn) as it:
        job_id, attempt, session_id = await it.store.running()
        wait = asyncio.create_task(it.jobs.wait(SCOPE, job_id))
        await _asleep(it.waiters, job_id)
        assert await it.store.succeed(job_id, attempt, session_id)
        await it.jobs.retry(SCOPE, job_id)
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
            await it.jobs.wait(SCOPE, it.store.mint.mint())
        with pytest.raises(FieldInvalid, match="timeout"):
            await it.jobs.wait(SCOPE, it.store.mint.mint(), timedelta(seconds=-1))
        job_id, attempt, session_id = await it.store.running()
        wait = asyncio.create_task(it.jobs.wait(SCOPE, job_id))
        await _asleep(it.waiters, job_id)
        assert await it.store.succeed(job_id, attempt, session_id)
        await it.jobs.delete(SCOPE, job_id)
        with pytest.raises(JobNotFound):
            async with asyncio.timeout(10):
                await wait


async def test_a_cancel_tells_the_worker_or_those_who_wait(dsn):
    async with service(dsn) as it:
        running, attempt, session_id = await it.store.running()
        job, pending = await it.jobs.cancel(SCOPE, running, "no longer needed")
        assert (job.status, job.cancel_requested, pending) == (Status.RUNNING, True, True)
        assert it.told.cancels == [(running, session_id, attempt, "no longer needed")]
        assert it.told.finished == []
        waiting = await it.store.queued(queue="other")
        wait = asyncio.create_task(it.jobs.wait(SCOPE, waiting))
        await _waiting(it.waiters, 1)
        job, pending = await it.jobs.cancel(SCOPE, waiting)
        assert (job.status, pending) == (Status.CANCELLED, False)
        async with asyncio.timeout(10):
            assert (await wait).status == Status.CANCELLED
        assert len(it.told.cancels) == 1
        assert it.told.finished == [("hello", "cancelled")]


async def test_a_retry_wakes_the_dispatcher(dsn):
    async with service(dsn) as it:
        job_id = await it.store.failed(priority=4)
        assert (await it.jobs.retry(SCOPE, job_id)).status == Status.QUEUED
        assert it.told.ready == [((await it.store.lane()).id, 4)]


async def test_a_list_pages_by_tokens_that_are_good_for_their_filter_alone(dsn):
    async with service(dsn) as it:
        ids = [await it.store.queued() for _ in range(5)][::-1]
        found, token = [], ""
        while True:
            page = await it.jobs.list(SCOPE, JobFilter(kind="hello"), size=2, token=token)
            found += [job.id for job in page.jobs]
            token = page.next_page_token
            if not token:
                break
            last = token
        assert found == ids
        with pytest.raises(PageTokenInvalid):
            await it.jobs.list(SCOPE, JobFilter(), size=2, token=last)
        with pytest.raises(FieldInvalid, match="page_size"):
            await it.jobs.list(SCOPE, JobFilter(), size=-1, token="")
        for wanted in (JobFilter(queue="\x00"), JobFilter(kind="a\x00"), JobFilter(labels={"a": "\x00"})):
            with pytest.raises(FieldInvalid, match="NUL"):
                await it.jobs.list(SCOPE, wanted, size=2, token="")
