"""Keys that a worker has paused: none is let in by any statement before the time, and after it by those that call."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.lifecycle import Event, Hold
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.bulk.requests import Verb
from jobqueue_server.store.policy.queue_keys import Kept, QueueKeyStore
from jobqueue_server.store.policy.semaphores import SemaphoreStore, semaphore_of

from .crowd import Crowd
from .factories import new_row, until_waiting_for_a_lock
from .stored import SCOPE, Stored, stored
from .test_bulk import opened, step
from .test_semaphore import ACTS, SECONDS, Key, deadlocks

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def key(s: Stored) -> Key:
    """A key of which three jobs may run at once."""
    made = Key(s, await s.lane(), await s.session(), SemaphoreStore(s.database))
    await made.policy(key_max_running=3)
    return made


async def pause(key: Key, lease: tuple[UUID, int, int], pause: timedelta = MINUTE, **fields: Any) -> Any:
    """The job fails, is to be tried again at once, and its key is paused."""
    end = AttemptEnd(*lease, **{"event": Event.FAIL, "after": timedelta(), **fields})
    rows = await key.s.attempts.end_and_pause([(end, pause)], 1000)
    return rows[0] if rows else None


async def paused_until(key: Key) -> datetime | None:
    found: datetime | None = await key.s.sql.fetchval(
        "select paused_until from semaphore where id = $1", key.semaphore_id
    )
    return found


async def lasts(key: Key) -> timedelta:
    """How long from now on the key is paused."""
    left: timedelta = await key.s.sql.fetchval(
        "select paused_until - now() from semaphore where id = $1", key.semaphore_id
    )
    return left


async def pass_time(key: Key, by: timedelta = MINUTE) -> None:
    """As if so much time had passed, for the key."""
    await key.s.sql.execute(
        "update semaphore set paused_until = paused_until - $1::interval, admit_at = admit_at - $1::interval",
        by,
    )


async def calling(key: Key) -> list[int]:
    return list((await key.semaphores.calling(10)).semaphore_ids)


async def ready(key: Key) -> set[UUID]:
    """The jobs that may start: those in line."""
    rows = await key.s.sql.fetch("select id from live_job where state in (1, 4) and run_at <= now()")
    return {row["id"] for row in rows}


async def say(key: Key, **changes: Any) -> Any:
    store = QueueKeyStore(key.s.database)
    return await store.set(SCOPE, key.lane.queue, "one", changes, revision=None, most=9)


async def walk(key: Key) -> list[int]:
    """A walk through all keys ends the pauses that are over before their time: the keys that call after it."""
    walked = await key.semaphores.call_keys(-(2**63), 100)
    ended, _ = await key.semaphores.end_pauses(walked.over)
    return [*walked.calling, *ended]


# ---- the whole key waits


async def test_jobs_of_the_key_that_come_meanwhile_wait_and_those_of_another_key_do_not(key: Key) -> None:
    await pause(key, await key.lease())
    late = await key.enqueue(2)
    assert {job_id for job_id, hold in (await key.holds()).items() if hold == Hold.KEY} == set(late)
    other = new_row(key.s, key.lane, key="another")
    other.of_keys(["another"], [key.semaphore_id + 1])
    await key.s.intake.enqueue_limited([other])
    assert await ready(key) == {other.id}


async def test_the_job_itself_waits_for_the_key_though_it_is_due(key: Key) -> None:
    lease = await key.lease()
    row = await pause(key, lease)
    assert row["run_at"] <= row["at"], "its own wait is what its worker said"
    await key.semaphores.release_due(10)
    await key.admit()
    assert await key.holds() == {lease[0]: Hold.KEY}
    await pass_time(key)
    assert await calling(key) == [key.semaphore_id]
    await key.admit()
    assert await ready(key) == {lease[0]}


async def test_who_stands_in_line_waits_again_at_the_place_that_it_had(key: Key) -> None:
    lease = await key.lease()
    first, second = await key.enqueue(2)
    third, fourth = await key.enqueue(2)
    await key.s.sql.execute(
        "update live_job set run_at = now() + interval '1 hour' where id = any($1)", [first, second]
    )
    await pause(key, lease)
    assert not await ready(key)
    assert await key.counts() == (0, 4)
    await key.policy(key_max_running=1)
    await pass_time(key)
    assert (await key.admit()).jobs == 1
    assert first in await ready(key), "before those that never stood in line"
    assert not {third, fourth} & await ready(key)


async def test_what_a_claim_takes_at_that_moment_starts(key: Key) -> None:
    lease = await key.lease()
    taken, left = await key.enqueue(2)
    claim = key.s.sql.transaction()
    await claim.start()
    await key.s.sql.execute("select from live_job where id = $1 for update", taken)
    async with stored(key.s.database._connector.dsn) as others, asyncio.timeout(20):
        end = AttemptEnd(*lease, Event.FAIL, after=timedelta())
        await others.attempts.end_and_pause([(end, MINUTE)], 1000)
    await claim.commit()
    assert await ready(key) == {taken}
    assert (await key.holds())[left] == Hold.KEY
    assert await key.counts() == (1, 1)


async def test_jobs_of_the_key_that_run_go_on_and_let_none_in_when_they_end(key: Key) -> None:
    one, other = await key.lease(), await key.lease()
    await pause(key, one)
    await key.enqueue(2)
    done = await key.s.attempts.end_and_admit([(*other, None)], 1000, key.slots(5))
    assert done.ids is None, "it is settled"
    assert not done.admitted.jobs
    assert await key.counts() == (0, 2)
    assert not await calling(key)
    await pass_time(key)
    assert await calling(key) == [key.semaphore_id]


@pytest.mark.parametrize("event", [Event.FAIL, Event.RELEASE, Event.LOST, Event.SNOOZE])
async def test_ends_of_other_attempts_leave_the_time_as_it_is(key: Key, event: Event) -> None:
    one, other = await key.lease(), await key.lease()
    await key.enqueue(3)
    await pause(key, one)
    before = await key.s.sql.fetchrow("select paused_until, admit_at from semaphore")
    await key.s.attempts.end_attempt([AttemptEnd(*other, event, after=timedelta())])
    await key.semaphores.release_due(10)
    await key.admit()
    assert await key.s.sql.fetchrow("select paused_until, admit_at from semaphore") == before
    assert before["admit_at"] == before["paused_until"]
    assert not await ready(key)


async def test_the_longer_of_two_pauses_holds_whichever_came_first(key: Key) -> None:
    one, two, three = [await key.lease() for _ in range(3)]
    await pause(key, one, MINUTE)
    long = await paused_until(key)
    await pause(key, two, timedelta(seconds=1))
    assert await paused_until(key) == long
    await pause(key, three, timedelta(hours=1))
    assert await lasts(key) > timedelta(minutes=59)


async def test_a_pause_lasts_as_long_as_was_said_from_the_commit_on(key: Key) -> None:
    await pause(key, await key.lease(), timedelta(hours=24))
    assert timedelta(hours=23, minutes=59) < await lasts(key) <= timedelta(hours=24)


async def test_a_lease_that_is_over_pauses_nothing(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.s.attempts.end_attempt([AttemptEnd(job_id, attempt, session_id, Event.RELEASE)])
    assert await pause(key, (job_id, attempt, session_id)) is None
    assert await paused_until(key) is None


async def test_a_last_failure_pauses_the_key_too(key: Key) -> None:
    lease = await key.lease()
    row = await pause(key, lease, permanent=True)
    assert row["run_at"] is None
    assert await lasts(key) > timedelta()


async def test_all_keys_of_a_statement_share_how_many_leave_their_lines(key: Key) -> None:
    lease = await key.lease()
    await key.enqueue(2)
    other = new_row(key.s, key.lane, payloads=[b"{}"] * 2, key="another")
    other.of_keys(["another"] * 2, [semaphore_of(key.lane.queue_id, "another")] * 2)
    await key.s.intake.enqueue_limited([other])
    leased = (other.ids[0], *await key.s.claim(other.ids[0], key.session))
    ends = [AttemptEnd(*each, Event.FAIL, after=timedelta()) for each in (lease, leased)]
    await key.s.attempts.end_and_pause([(end, MINUTE) for end in ends], 2)
    assert len(await ready(key)) == 1, "three stood in line"


async def test_the_semaphore_that_has_the_token_is_locked_in_its_order_also_without_limits(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.policy(key_max_running=None)
    async with key.s.database.transaction() as transaction:
        assert not await transaction.fetch("pause_keys", [job_id], [attempt], [session_id], [1000])
        assert not await key.s.sql.fetch("select from semaphore for update skip locked")
    assert await paused_until(key) is None


# ---- whom it does not concern


async def test_a_job_without_a_key_and_one_of_a_queue_without_limits_go_back_alone(key: Key) -> None:
    plain = await key.s.queued()
    attempt, session_id = await key.s.claim(plain, key.session)
    assert (await pause(key, (plain, attempt, session_id)))["id"] == plain
    lease = await key.lease()
    await key.policy(key_max_running=None)
    assert (await pause(key, lease))["id"] == lease[0]
    assert await paused_until(key) is None


async def test_a_job_of_before_the_limit_pauses_its_key(key: Key) -> None:
    row = new_row(key.s, key.lane, key="one")
    await key.s.intake.enqueue([row])
    await pause(key, (row.id, *await key.s.claim(row.id, key.session)))
    [late] = await key.enqueue()
    assert (await key.holds())[late] == Hold.KEY


# ---- each way in


async def test_a_limit_that_is_raised_and_a_walk_over_all_keys_let_none_in(key: Key) -> None:
    await pause(key, await key.lease())
    await key.enqueue(2)
    await key.policy(key_max_running=9)
    assert not (await key.semaphores.call_keys(-(2**63), 100)).calling
    await key.admit()
    assert not await ready(key)
    await say(key, max_running=20)
    await key.admit()
    assert not await ready(key)
    assert await lasts(key) > timedelta()


async def test_a_queue_that_limits_keys_no_longer_lets_in_what_waits(key: Key) -> None:
    await pause(key, await key.lease())
    late = await key.enqueue(2)
    await key.policy(key_max_running=None)
    assert (await key.semaphores.call_keys(-(2**63), 100)).over == [key.semaphore_id]
    # Also before the walk has come to it.
    await key.s.sql.execute("update semaphore set admit_at = now()")
    await key.admit()
    assert await ready(key) == set(late)


async def test_limits_that_are_taken_back_and_set_again_do_not_bring_the_pause_back(key: Key) -> None:
    await pause(key, await key.lease())
    await key.policy(key_max_running=None)
    await walk(key)
    await key.policy(key_max_running=3)
    assert await paused_until(key) is None
    late = await key.enqueue(2)
    assert await ready(key) == set(late)


async def test_a_pause_that_a_clock_set_back_makes_longer_than_24_hours_ends(key: Key) -> None:
    lease = await key.lease()
    await pause(key, lease, timedelta(hours=24))
    late = await key.enqueue(2)
    assert await walk(key) == []
    await pass_time(key, -MINUTE)
    assert await walk(key) == [key.semaphore_id]
    await key.admit()
    assert await ready(key) == set(late)


async def test_a_queue_of_which_another_key_is_limited_keeps_the_pause(key: Key) -> None:
    await pause(key, await key.lease())
    await key.enqueue(2)
    await key.policy(key_max_running=None)
    store = QueueKeyStore(key.s.database)
    await store.set(SCOPE, key.lane.queue, "another", {"max_running": 1}, revision=None, most=9)
    assert not await walk(key)
    await key.admit()
    assert not await ready(key)


async def test_a_rate_goes_on_after_the_pause_where_it_was(key: Key) -> None:
    await key.policy(key_max_running=None, key_rate_count=1000, key_rate_period_ms=1000, key_rate_burst=2)
    await key.enqueue()
    await key.admit()
    [first] = await ready(key)
    attempt, session_id = await key.s.claim(first, key.session)
    await pause(key, (first, attempt, session_id))
    late = await key.enqueue(3)
    await key.admit()
    assert not await ready(key)
    await pass_time(key)
    await key.admit()
    assert await ready(key) == set(late[:2])


async def test_keys_that_take_turns_take_none_while_paused(key: Key) -> None:
    await key.policy(key_max_running=None, key_fair=True)
    lease = await key.lease()
    await key.enqueue(3)
    await key.semaphores.admit([key.semaphore_id], 1000, in_line=2)
    assert len(await ready(key)) == 2
    await pause(key, lease)
    await key.semaphores.admit([key.semaphore_id], 1000, in_line=2)
    await key.enqueue()
    assert not await ready(key)
    assert await key.counts() == (0, 4)
    await pass_time(key)
    assert (await key.semaphores.admit([key.semaphore_id], 1000, in_line=2)).jobs == 2


async def test_in_strict_order_the_job_keeps_its_place_and_starts_after_the_pause(key: Key) -> None:
    await key.policy(key_max_running=1, key_order=1)
    lease = await key.lease()
    await key.enqueue(2)
    row = await pause(key, lease)
    until = await paused_until(key)
    assert row["run_at"] == until
    assert await key.s.sql.fetchval("select run_at from live_job where id = $1", lease[0]) == until
    await key.admit()
    assert not await ready(key)
    assert await key.counts() == (1, 2), "it holds the token"


async def test_a_retry_of_the_job_that_blocks_a_strict_key_waits_for_the_end_of_the_pause(key: Key) -> None:
    await key.policy(key_max_running=1, key_order=1, key_on_failure=2)
    lease = await key.lease()
    await key.enqueue(1)
    await pause(key, lease, permanent=True)
    await key.s.changes.retry(SCOPE, lease[0])
    assert not await ready(key)
    assert await key.counts() == (1, 1)
    assert await key.s.sql.fetchval("select run_at from live_job where state = 1") == await paused_until(key)


async def test_a_retry_of_many_tells_that_the_job_waits_for_the_end_of_the_pause(key: Key) -> None:
    await key.policy(key_max_running=1, key_order=1, key_on_failure=2)
    lease = await key.lease()
    await pause(key, lease, permanent=True)
    [retried] = (await step(key.s, await opened(key.s, Verb.RETRY, ids=[lease[0]]))).retried
    assert not retried.held
    assert retried.run_at == await paused_until(key)


async def test_an_unblocked_key_stays_paused(key: Key) -> None:
    await key.policy(key_max_running=1, key_order=1, key_on_failure=2)
    lease = await key.lease()
    await key.enqueue(1)
    await pause(key, lease, permanent=True)
    await key.s.sql.fetch(*_unblock(key))
    await key.admit()
    assert not await ready(key)
    await pass_time(key)
    assert (await key.admit()).jobs == 1


def _unblock(key: Key) -> tuple[str, int]:
    return "update semaphore set blocked_by = null, admit_at = now() where id = $1", key.semaphore_id


async def test_a_cancel_of_all_that_wait_leaves_the_pause(key: Key) -> None:
    await pause(key, await key.lease())
    for job_id in await key.enqueue(2):
        await key.s.changes.cancel(SCOPE, job_id)
    assert await key.counts() == (0, 0)
    [late] = await key.enqueue()
    assert (await key.holds())[late] == Hold.KEY
    await pass_time(key)
    assert await calling(key) == [key.semaphore_id], "who came after the cancel calls too"


async def test_the_audit_does_not_forget_a_paused_key_without_jobs_and_finds_no_drift(key: Key) -> None:
    lease = await key.lease()
    await pause(key, lease, permanent=True)
    walked = await key.semaphores.audit_keys(-(2**63), 100, 100)
    assert (walked.gone, walked.drifted) == (0, ())
    [late] = await key.enqueue()
    assert (await key.holds())[late] == Hold.KEY
    await key.s.changes.cancel(SCOPE, late)
    await pass_time(key)
    assert (await key.semaphores.audit_keys(-(2**63), 100, 100)).gone == 1


async def test_a_key_that_is_counted_anew_stays_paused(key: Key) -> None:
    await pause(key, await key.lease())
    await key.enqueue(2)
    await key.semaphores.recount(key.semaphore_id)
    await key.admit()
    assert not await ready(key)


# ---- what operators say


async def test_a_resume_ends_it_though_no_operator_paused_the_key(key: Key) -> None:
    await pause(key, await key.lease())
    late = await key.enqueue(2)
    assert (await say(key, paused=False)).calling == key.semaphore_id
    await key.admit()
    assert await ready(key) == set(late)


@pytest.mark.parametrize("after", [0, 60])
async def test_in_strict_order_a_resume_lets_the_job_start_that_holds_the_token(
    key: Key, after: float
) -> None:
    await key.policy(key_max_running=1, key_order=1)
    lease = await key.lease()
    await key.enqueue(1)
    await pause(key, lease, timedelta(hours=24), after=timedelta(seconds=after))
    [due] = (await say(key, paused=False)).due
    assert (due.lane_id, due.priority, due.isolated) == (key.lane.id, 0, False)
    assert await ready(key) == {lease[0]}


async def test_a_resume_leaves_a_wait_that_is_longer_than_the_pause(key: Key) -> None:
    await key.policy(key_max_running=1, key_order=1)
    lease = await key.lease()
    row = await pause(key, lease, after=timedelta(hours=1))
    assert not (await say(key, paused=False)).due
    assert await key.s.sql.fetchval("select run_at from live_job") == row["run_at"]


async def test_in_strict_order_the_job_starts_where_limits_are_taken_back(key: Key) -> None:
    await key.policy(key_max_running=1, key_order=1)
    lease = await key.lease()
    await pause(key, lease, timedelta(hours=24))
    await key.policy(key_max_running=None, key_order=None)
    await walk(key)
    assert await ready(key) == {lease[0]}


async def test_a_resume_of_a_key_at_its_limit_leaves_it_calling(key: Key) -> None:
    one, other = await key.lease(), await key.lease()
    await pause(key, one, timedelta(hours=24))
    [late] = await key.enqueue(1)
    await say(key, max_running=1, paused=False)
    await key.admit()
    assert not await ready(key), "a job of it runs"
    await key.s.attempts.end_attempt([AttemptEnd(*other, Event.SNOOZE, after=timedelta(hours=1))])
    assert await calling(key) == [key.semaphore_id]
    await key.admit()
    assert await ready(key) == {late}


async def test_a_pause_and_a_limit_by_an_operator_leave_it(key: Key) -> None:
    await pause(key, await key.lease())
    until = await paused_until(key)
    await say(key, max_running=1)
    await say(key, paused=True)
    assert await paused_until(key) == until


async def test_a_key_that_an_operator_paused_too_waits_for_both(key: Key) -> None:
    await pause(key, await key.lease())
    await key.enqueue(1)
    await say(key, paused=True)
    await pass_time(key)
    await key.admit()
    assert not await ready(key)
    await say(key, paused=False)
    assert (await key.admit()).jobs == 1


@pytest.mark.parametrize("only", [0, 2])
async def test_a_list_has_a_key_whose_only_job_has_paused_it(key: Key, only: int) -> None:
    await pause(key, await key.lease(), after=timedelta(hours=1))
    store = QueueKeyStore(key.s.database)
    page, _ = await store.page(SCOPE, key.lane.queue, Kept(only, 100, 100, None, "", 100))
    assert [(each.key, each.taken, each.waiting) for each, _ in page] == [("one", 0, 0)]


# ---- at once


@pytest.mark.parametrize("act", ["admit", "enqueue"])
async def test_who_waited_for_the_pause_of_another_server_lets_nobody_in(key: Key, act: str) -> None:
    lease = await key.lease()
    if act == "admit":
        [gone, _, waiting] = await key.enqueue(3)
        assert (await key.holds())[waiting] == Hold.KEY
        await key.s.changes.cancel(SCOPE, gone)
        assert await calling(key) == [key.semaphore_id]
    blocker = key.s.sql.transaction()
    await blocker.start()
    await key.s.sql.execute("select from semaphore for update")
    async with stored(key.s.database._connector.dsn) as others:
        end = AttemptEnd(*lease, Event.FAIL, after=timedelta())
        pauses = asyncio.create_task(others.attempts.end_and_pause([(end, MINUTE)], 1000))
        await until_waiting_for_a_lock(key.s.sql, 1)
        later = asyncio.create_task(key.admit() if act == "admit" else key.enqueue())
        await until_waiting_for_a_lock(key.s.sql, 2)
        await blocker.commit()
        await pauses
        await later
    assert not await ready(key)
    assert await key.counts() == (0, 2 if act == "admit" else 1)
    assert await calling(key) == []


@pytest.mark.slow
async def test_workers_that_pause_the_same_keys_at_once_do_not_deadlock_and_no_token_is_lost(
    s: Stored, module_dsn: str
) -> None:
    lane, session = await s.lane(), await s.session()
    await s.sql.execute("update queue set key_max_running = 3 where id = $1", lane.queue_id)
    await s.sql.execute("update worker_session set ttl = '1 h'")
    before = await deadlocks(s)
    async with stored(module_dsn) as others:
        crowd = Crowd([s, others], lane, session, keys=20, limit=3)
        until = asyncio.get_running_loop().time() + SECONDS
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(crowd.rush(until, {**ACTS, "pause": 5, "sweep": 4}))
            group.create_task(crowd.look(module_dsn, until))
        assert crowd.done["paused"] > 10
        # The last pauses end, of 100 ms at most.
        await s.sql.execute("select pg_sleep(0.2)")
        await crowd.sweep()
        await crowd.drain()
    assert await s.sql.fetchval("select count(*) from semaphore where taken <> 0 or waiting <> 0") == 0
    assert await deadlocks(s) == before
