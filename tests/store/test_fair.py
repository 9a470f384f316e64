"""Keys that take turns: how many jobs of one key stand in line, by an enqueue, an end or a turn."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.lifecycle import Event
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.policy.semaphores import SemaphoreStore, semaphore_of

from .factories import new_row
from .stored import SCOPE, Stored
from .test_semaphore import Key


@pytest.fixture
async def key(s: Stored) -> Key:
    made = Key(s, await s.lane(), await s.session(), SemaphoreStore(s.database))
    await made.policy(key_fair=True)
    return made


async def in_line(key: Key) -> list[UUID]:
    rows = await key.s.sql.fetch("select id from live_job where state in (1, 4) order by run_at, id")
    return [row["id"] for row in rows]


async def take_turn(key: Key, in_line: int) -> int:
    return (await key.semaphores.admit([key.semaphore_id], 1000, in_line=in_line)).jobs


async def admit_at(key: Key) -> Any:
    return await key.s.sql.fetchval("select admit_at from semaphore where id = $1", key.semaphore_id)


async def test_of_many_jobs_that_come_at_once_one_stands_in_line(key: Key) -> None:
    first, *_ = await key.enqueue(5)
    assert await in_line(key) == [first]
    assert await key.counts() == (1, 4)
    await key.enqueue(3)
    assert await in_line(key) == [first]
    assert await key.counts() == (1, 7)


async def test_a_first_job_of_a_key_calls_nothing(key: Key) -> None:
    await key.enqueue()
    assert await admit_at(key) is None
    assert await key.counts() == (1, 0)


async def test_the_first_that_waits_calls_and_those_behind_it_do_not(key: Key) -> None:
    await key.lease()
    row = key.row()
    stored = await key.s.intake.enqueue_limited([row])
    assert list(stored.calling) == [key.semaphore_id]
    assert await take_turn(key, 1) == 1
    stored = await key.s.intake.enqueue_limited([key.row()])
    assert list(stored.calling) == [key.semaphore_id]
    assert await take_turn(key, 1) == 0, "its one place is taken"
    assert await admit_at(key) is None
    stored = await key.s.intake.enqueue_limited([key.row()])
    assert list(stored.calling) == []


async def test_a_turn_fills_the_places_of_the_key_and_no_more(key: Key) -> None:
    await key.enqueue(10)
    assert await take_turn(key, 1) == 0
    assert await take_turn(key, 4) == 3
    assert await take_turn(key, 4) == 0
    assert len(await in_line(key)) == 4
    assert await key.counts() == (4, 6)


async def test_jobs_that_run_take_no_place_in_line(key: Key) -> None:
    await key.enqueue(8)
    for _ in range(3):
        [job_id] = await in_line(key)
        await key.s.claim(job_id, key.session)
        assert await take_turn(key, 1) == 1
    [job_id] = await in_line(key)
    await key.s.claim(job_id, key.session)
    assert await take_turn(key, 2) == 2
    assert await key.counts() == (6, 2)


async def test_who_is_let_in_stands_at_the_end_of_the_line(key: Key) -> None:
    await key.enqueue(5)
    other = new_row(key.s, key.lane, key="other")
    other.of_keys(["other"], [semaphore_of(key.lane.queue_id, "other")])
    await key.s.intake.enqueue_limited([other])
    first = (await in_line(key))[0]
    await key.s.claim(first, key.session)
    await take_turn(key, 2)
    assert (await in_line(key))[0] == other.id


async def test_an_end_lets_one_stand_in_line_where_none_does(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.enqueue(5)
    done = await key.s.attempts.end_and_admit([(job_id, attempt, session_id, None)], 1000)
    assert done.admitted.jobs == 1
    assert await key.counts() == (1, 4)


async def test_a_limit_that_is_smaller_rules(key: Key) -> None:
    await key.policy(key_max_running=2)
    await key.enqueue(9)
    assert await take_turn(key, 5) == 1
    assert await key.counts() == (2, 7)


async def test_a_limit_of_its_own_gives_a_key_no_more_places(key: Key) -> None:
    await key.s.sql.execute(
        "insert into semaphore (id, queue_id, taken, waiting, granted, own_limit) values ($1, $2, 0, 0, 0, 7)",
        key.semaphore_id, key.lane.queue_id,
    )  # fmt: skip
    await key.enqueue(9)
    assert await key.counts() == (1, 8)
    assert await take_turn(key, 50) == 6


async def test_a_paused_key_has_no_turn(key: Key) -> None:
    await key.s.sql.execute(
        "insert into semaphore (id, queue_id, taken, waiting, granted, own_limit) values ($1, $2, 0, 0, 0, 0)",
        key.semaphore_id, key.lane.queue_id,
    )  # fmt: skip
    await key.enqueue(9)
    assert await take_turn(key, 50) == 0
    assert await in_line(key) == []


async def test_a_rate_gives_no_more_places_than_its_burst(key: Key) -> None:
    await key.policy(key_rate_count=60_000, key_rate_period_ms=60_000, key_rate_burst=3)
    await key.enqueue(9)
    assert await take_turn(key, 50) == 3


async def test_who_waits_where_the_queue_is_fair_no_longer_is_let_in(key: Key) -> None:
    await key.enqueue(9)
    assert await take_turn(key, 1) == 0
    await key.policy(key_fair=None)
    walked = await key.semaphores.call_keys(-(2**63), 100)
    assert list(walked.calling) == [key.semaphore_id]
    assert await take_turn(key, 1) == 8


@pytest.mark.parametrize("event", [Event.FAIL, Event.LOST, Event.RELEASE, Event.SNOOZE])
async def test_whatever_ends_a_lease_lets_the_key_call(key: Key, event: Event) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.enqueue(2)
    await key.s.attempts.end_attempt([AttemptEnd(job_id, attempt, session_id, event)])
    calling, _, _ = await key.semaphores.calling(10)
    assert list(calling) == [key.semaphore_id]
    assert (await key.admit()).jobs == 1


async def test_a_job_that_is_retried_waits_for_the_turn_of_its_key(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.s.attempts.end_attempt([AttemptEnd(job_id, attempt, session_id, Event.FAIL, permanent=True)])
    await key.enqueue(3)
    assert (await key.s.changes.retry(SCOPE, job_id))[1].held
