"""What is said of single keys, in the statements: exact under the semaphore's lock, and never forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.store.policy.queue_keys import KeySet, QueueKeyStore
from jobqueue_server.store.policy.semaphores import SemaphoreStore, semaphore_of

from .crowd import BROKEN, Crowd
from .factories import new_row, until_waiting_for_a_lock
from .stored import SCOPE, Stored, stored
from .test_semaphore import ACTS, SECONDS, deadlocks


class Said:
    """The key `ada` of a queue, of which something is said."""

    def __init__(self, s: Stored, lane: Lane) -> None:
        self.s, self.lane = s, lane
        self.semaphore_id = semaphore_of(lane.queue_id, "ada")
        self.semaphores = SemaphoreStore(s.database)

    async def say(self, **changes: Any) -> KeySet:
        store = QueueKeyStore(self.s.database)
        done = await store.set(SCOPE, self.lane.queue, "ada", changes, revision=None, most=9)
        assert done is not None
        return done

    async def enqueue(self, count: int) -> None:
        row = new_row(self.s, self.lane, payloads=[b"{}"] * count)
        row.of_keys(["ada"] * count, [self.semaphore_id] * count)
        await self.s.intake.enqueue_limited([row])

    async def counts(self) -> tuple[int, int]:
        assert not await self.s.sql.fetch(BROKEN, 1_000_000)
        row = await self.s.sql.fetchrow(
            "select taken, waiting from semaphore where id = $1", self.semaphore_id
        )
        return (0, 0) if row is None else (row["taken"], row["waiting"])


@pytest.fixture
async def ada(s: Stored) -> Said:
    lane = await s.lane()
    await s.sql.execute("update queue set key_max_running = 3 where id = $1", lane.queue_id)
    return Said(s, lane)


async def test_an_admission_that_waited_for_a_pause_lets_nobody_in(ada: Said) -> None:
    await ada.enqueue(5)
    await ada.s.sql.execute("delete from live_job where hold is null")
    await ada.s.sql.execute("update semaphore set taken = 0, admit_at = now()")
    blocker = ada.s.sql.transaction()
    await blocker.start()
    await ada.s.sql.execute("select from semaphore for update")
    async with stored(ada.s.database._connector.dsn) as other:
        pause = asyncio.create_task(Said(other, ada.lane).say(paused=True))
        await until_waiting_for_a_lock(ada.s.sql, 1)
        admit = asyncio.create_task(ada.semaphores.admit([ada.semaphore_id], 1000))
        await until_waiting_for_a_lock(ada.s.sql, 2)
        await blocker.commit()
        await pause
        assert not (await admit).lines
    assert await ada.counts() == (0, 2)


async def test_an_enqueue_that_waited_for_a_limit_keeps_to_it(ada: Said) -> None:
    await ada.enqueue(1)
    blocker = ada.s.sql.transaction()
    await blocker.start()
    await ada.s.sql.execute("select from semaphore for update")
    async with stored(ada.s.database._connector.dsn) as other:
        said = asyncio.create_task(Said(other, ada.lane).say(max_running=2))
        await until_waiting_for_a_lock(ada.s.sql, 1)
        enqueue = asyncio.create_task(ada.enqueue(4))
        await until_waiting_for_a_lock(ada.s.sql, 2)
        await blocker.commit()
        await said
        await enqueue
    assert await ada.counts() == (2, 3)


async def test_a_resume_is_found_by_a_sweep_when_its_server_dies_after_the_commit(ada: Said) -> None:
    await ada.say(paused=True)
    await ada.enqueue(5)
    assert await ada.semaphores.calling(10) == ((), None, False)
    assert (await ada.say(paused=False)).calling == ada.semaphore_id
    # No server was told.
    assert await ada.semaphores.calling(10) == ([ada.semaphore_id], None, False)
    await ada.semaphores.admit([ada.semaphore_id], 1000)
    assert await ada.counts() == (3, 2)


async def test_a_pause_and_a_lowered_limit_call_nobody(ada: Said) -> None:
    await ada.enqueue(5)
    assert (await ada.say(paused=True)).calling is None
    assert (await ada.say(max_running=2, paused=False)).calling is None
    assert (await ada.say(max_running=4)).calling == ada.semaphore_id


async def test_the_semaphore_of_a_key_of_which_something_is_said_is_kept_without_jobs(ada: Said) -> None:
    await ada.say(max_running=1)
    assert (await ada.semaphores.audit_keys(-(2**63), 10, 10)).gone == 0
    await ada.enqueue(2)
    assert await ada.counts() == (1, 1)
    await ada.s.sql.execute("delete from live_job")
    await ada.s.sql.execute("update semaphore set taken = 0, waiting = 0")
    await ada.say(max_running=None)
    assert (await ada.semaphores.audit_keys(-(2**63), 10, 10)).gone == 1


async def test_the_walk_after_a_change_of_a_queue_calls_no_paused_key(ada: Said) -> None:
    await ada.say(paused=True)
    await ada.enqueue(5)
    assert not (await ada.semaphores.call_keys(-(2**63), 10)).calling
    await ada.s.sql.execute("update semaphore set own_limit = 1")
    assert (await ada.semaphores.call_keys(-(2**63), 10)).calling == [ada.semaphore_id]


async def test_a_key_of_a_queue_with_a_rate_is_paused_too(ada: Said) -> None:
    await ada.s.sql.execute(
        "update queue set key_max_running = null, key_rate_count = 9, key_rate_period_ms = 1"
    )
    await ada.say(paused=True)
    await ada.enqueue(2)
    assert not (await ada.semaphores.admit([ada.semaphore_id], 1000)).lines
    await ada.say(paused=False)
    assert (await ada.semaphores.admit([ada.semaphore_id], 1000)).lines
    assert (await ada.counts())[0] > 0


@pytest.mark.slow
async def test_a_crowd_whose_keys_are_paused_and_limited_meanwhile_keeps_to_it_and_leaves_none_behind(
    s: Stored, module_dsn: str
) -> None:
    lane, session = await s.lane(), await s.session()
    await s.sql.execute("update queue set key_max_running = 3 where id = $1", lane.queue_id)
    await s.sql.execute("update worker_session set ttl = '1 h'")
    before = await deadlocks(s)
    async with stored(module_dsn) as others:
        crowd = Crowd([s, others], lane, session, keys=30, limit=3)
        until = asyncio.get_running_loop().time() + SECONDS
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(crowd.rush(until, {**ACTS, "say": 6}))
            group.create_task(crowd.look(module_dsn, until))
        assert crowd.done["said"] > 20
        await crowd.say_nothing()
        await crowd.drain()
    assert await s.sql.fetchval("select count(*) from semaphore where taken <> 0 or waiting <> 0") == 0
    assert await deadlocks(s) == before
