"""CancelJob and RetryJob: who is told of them."""

from __future__ import annotations

import asyncio

from jobqueue_server.lifecycle import Status
from tests.core.calls import service, so_many_wait
from tests.store.stored import SCOPE


async def test_a_cancel_tells_the_worker_or_those_who_wait(dsn):
    async with service(dsn) as it:
        running, attempt, session_id = await it.store.running()
        job, pending = await it.changes.cancel(SCOPE, running, "no longer needed")
        assert (job.status, job.cancel_requested, pending) == (Status.RUNNING, True, True)
        assert it.told.cancels == [(running, session_id, attempt, "no longer needed")]
        assert it.told.finished == []
        waiting = await it.store.queued(queue="other")
        wait = asyncio.create_task(it.reads.wait(SCOPE, waiting))
        await so_many_wait(it.waiters, 1)
        job, pending = await it.changes.cancel(SCOPE, waiting)
        assert (job.status, pending) == (Status.CANCELLED, False)
        async with asyncio.timeout(10):
            assert (await wait).status == Status.CANCELLED
        assert len(it.told.cancels) == 1
        assert it.told.finished == [("hello", "cancelled")]


async def test_a_retry_wakes_the_dispatcher(dsn):
    async with service(dsn) as it:
        job_id = await it.store.failed(priority=4)
        assert (await it.changes.retry(SCOPE, job_id)).status == Status.QUEUED
        assert it.told.made_ready == [((await it.store.lane()).id, 4)]
