"""Strict order: jobs of a key start as their enqueues were answered; a failed one may stop its key."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.lifecycle import EXITS, Event, Hold, State, Status
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.bulk.requests import Verb
from jobqueue_server.store.policy.semaphores import SemaphoreStore, semaphore_of

from .factories import new_row, pass_deadline, until_waiting_for_a_lock
from .ordered_crowd import GOES_ON, OrderedCrowd
from .stored import SCOPE, Stored, stored
from .test_bulk import opened, step
from .test_semaphore import Key

SECONDS = float(os.environ.get("CROWD_SECONDS", "3"))
HOLD, CANCEL_REST = 2, 3


@pytest.fixture
async def key(s: Stored) -> Key:
    made = Key(s, await s.lane(), await s.session(), SemaphoreStore(s.database))
    await made.policy(key_max_running=1, key_order=1)
    return made


async def blocked_by(key: Key) -> UUID | None:
    found: UUID | None = await key.s.sql.fetchval(
        "select blocked_by from semaphore where id = $1", key.semaphore_id
    )
    return found


async def end(key: Key, job_id: UUID, event: Event = Event.FAIL, **fields: Any) -> Any:
    attempt, session_id = await key.s.claim(job_id, key.session)
    [row] = await key.s.attempts.end_attempt([AttemptEnd(job_id, attempt, session_id, event, **fields)])
    return row


async def fail(key: Key, job_id: UUID) -> Any:
    return await end(key, job_id, permanent=True)


async def succeed(key: Key, job_id: UUID) -> None:
    attempt, session_id = await key.s.claim(job_id, key.session)
    await key.s.attempts.end_plain([([job_id], attempt, session_id)])


async def run_all(key: Key) -> list[UUID]:
    """Runs what is there, one after the other, in the order in which they start."""
    started: list[UUID] = []
    while True:
        await key.semaphores.release_due(100)
        await key.admit()
        [*ready] = [job_id for job_id, hold in (await key.holds()).items() if hold is None]
        if not ready:
            return started
        [job_id] = ready
        await succeed(key, job_id)
        started.append(job_id)


# ---- the order


async def test_jobs_of_a_key_start_in_the_order_in_which_they_were_stored(key: Key) -> None:
    order = await key.enqueue(3)
    for count in (1, 4, 2):
        order += await key.enqueue(count)
    assert await run_all(key) == order


async def test_a_clock_that_was_set_back_changes_no_order(key: Key) -> None:
    order = await key.enqueue(3)
    await key.s.sql.execute("update live_job set run_at = run_at + interval '1 hour' where hold = 1")
    await key.s.sql.execute("update semaphore set last_at = last_at + interval '1 hour'")
    order += await key.enqueue(2)
    assert await run_all(key) == order


async def test_who_has_the_lock_first_goes_first_whoever_asked_first(key: Key) -> None:
    order = await key.enqueue()
    async with stored(key.s.database._connector.dsn) as others:
        blocker = key.s.sql.transaction()
        await blocker.start()
        await key.s.sql.execute("select from semaphore for update")
        # Its time is that of its statement, which begins before that of the next one.
        early = key.row()
        waits = asyncio.create_task(others.intake.enqueue_limited([early]))
        await until_waiting_for_a_lock(key.s.sql, 1)
        late = new_row(key.s, key.lane, key="one")
        await key.s.sql.execute(
            "insert into live_job (id, run_at, lane_id, priority, max_attempts, state, hold, semaphore_id, attempts)"
            " values ($1, clock_timestamp() + interval '1 second', $2, 0, 3, 3, 1, $3, 0)",
            late.id, key.lane.id, key.semaphore_id,
        )  # fmt: skip
        await key.s.sql.execute(
            "update semaphore set waiting = waiting + 1, last_at = clock_timestamp() + interval '1 second'"
        )
        await blocker.commit()
        await waits
    runs = await key.s.sql.fetch("select id from live_job where hold = 1 order by run_at, id")
    assert [row["id"] for row in runs] == [late.id, early.id]
    assert order


async def test_none_overtakes_the_first_one_while_that_is_locked(key: Key) -> None:
    first, head, second = await key.enqueue(3)
    await succeed(key, first)
    cancel = key.s.sql.transaction()
    await cancel.start()
    await key.s.sql.execute("select from live_job where id = $1 for update", head)
    async with stored(key.s.database._connector.dsn) as others:
        admitted = await SemaphoreStore(others.database).admit([key.semaphore_id], 1000)
    await cancel.rollback()
    assert not admitted.lines
    assert list(admitted.again) == [key.semaphore_id]
    await key.admit()
    assert await key.holds() == {head: None, second: Hold.KEY}


@pytest.mark.parametrize("event", GOES_ON, ids=str)
async def test_a_job_that_goes_on_keeps_its_token_and_its_place(key: Key, event: Event) -> None:
    first, second = await key.enqueue(2)
    attempt, session_id = await key.s.claim(first, key.session)
    await pass_deadline(key.s.sql, first)
    [row] = await key.s.attempts.end_attempt(
        [AttemptEnd(first, attempt, session_id, event, after=timedelta(seconds=9))]
    )
    assert row["semaphore_id"] is None, "no key may let one in"
    await key.admit()
    assert await key.holds() == {first: None, second: Hold.KEY}
    assert await key.counts() == (1, 1)
    state = await key.s.sql.fetchval("select state from live_job where id = $1", first)
    assert state == State.READY


async def test_a_job_that_lost_its_worker_twice_waits_alone_with_its_token(key: Key) -> None:
    first, second = await key.enqueue(2)
    for _ in range(2):
        await end(key, first, Event.LOST)
    assert await key.s.sql.fetchval("select state from live_job where id = $1", first) == State.READY_ISOLATED
    await key.admit()
    assert (await key.holds())[second] == Hold.KEY


async def test_a_key_with_a_limit_of_its_own_is_in_order_too(key: Key) -> None:
    order = await key.enqueue(2)
    await key.s.sql.execute("update semaphore set own_limit = 5")
    order += await key.enqueue(2)
    await key.semaphores.call_keys(-(2**63), 100)
    await key.admit()
    assert await key.counts() == (1, 3)
    assert await run_all(key) == order
    await key.s.sql.execute("update semaphore set own_limit = 0")
    [late] = await key.enqueue()
    assert await key.holds() == {late: Hold.KEY}, "it is paused"


async def test_a_queue_without_an_order_takes_tokens_back_as_before(key: Key) -> None:
    await key.policy(key_order=None)
    first, second = await key.enqueue(2)
    await end(key, first, after=timedelta(hours=1))
    await key.admit()
    assert await key.holds() == {first: Hold.TIME, second: None}
    assert await key.s.sql.fetchval("select last_at from semaphore") is None


# ---- failures


@pytest.mark.parametrize("event", [Event.FAIL, Event.CANCELLED, Event.BODY_MISSING], ids=str)
async def test_without_more_the_next_one_goes_after_a_failure(key: Key, event: Event) -> None:
    first, second = await key.enqueue(2)
    row = await end(key, first, event, permanent=True)
    assert row["semaphore_id"] == key.semaphore_id
    await key.admit()
    assert await key.holds() == {second: None}


async def block(key: Key, way: str) -> tuple[UUID, UUID]:
    """The first of two jobs ends by that, which blocks the key; both."""
    await key.policy(key_on_failure=HOLD)
    first, second = await key.enqueue(2)
    await stop(key, first, way)
    await key.admit()
    assert await blocked_by(key) == first
    assert await key.holds() == {second: Hold.KEY}
    assert await key.counts() == (0, 1)
    return first, second


async def stop(key: Key, first: UUID, way: str) -> None:
    """Makes the job that has the token end for good."""
    if way == "fails":
        await fail(key, first)
    elif way == "is cancelled by its worker":
        await end(key, first, Event.CANCELLED)
    elif way == "is cancelled in line":
        await key.s.changes.cancel(SCOPE, first)
    elif way == "is cancelled with others":
        await step(key.s, await opened(key.s, Verb.CANCEL, statuses=frozenset({Status.QUEUED})), most=1)
    elif way == "lost its worker too often":
        for _ in range(3):
            row = await end(key, first, Event.LOST)
            if row["status"] == Status.FAILED_PERMANENT:
                break


WAYS = [
    "fails",
    "is cancelled by its worker",
    "is cancelled in line",
    "is cancelled with others",
    "lost its worker too often",
]


@pytest.mark.parametrize("way", WAYS)
async def test_hold_blocks_the_key_of_a_job_that(key: Key, way: str) -> None:
    _, second = await block(key, way)
    # Nothing that happens lets one in: an enqueue, a sweep, the audit, a job whose time has come.
    third = await key.enqueue()
    row = key.row()
    await key.s.intake.enqueue_limited([row], later=True)
    await key.semaphores.release_due(10)
    await key.semaphores.call_keys(-(2**63), 100)
    await key.semaphores.audit_keys(-(2**63), 100, 100)
    await key.admit()
    assert await key.holds() == {second: Hold.KEY, third[0]: Hold.KEY, row.id: Hold.KEY}
    assert not (await key.semaphores.calling(10)).semaphore_ids


async def test_a_cancel_of_one_that_waits_blocks_nothing(key: Key) -> None:
    await key.policy(key_on_failure=HOLD)
    first, second, third = await key.enqueue(3)
    await key.s.changes.cancel(SCOPE, second)
    assert await blocked_by(key) is None
    assert await key.counts() == (1, 1)
    assert await run_all(key) == [first, third]


async def test_a_blocked_key_without_jobs_is_not_forgotten_and_keeps_who_comes(key: Key) -> None:
    await key.policy(key_on_failure=HOLD)
    [first] = await key.enqueue()
    await fail(key, first)
    assert (await key.semaphores.audit_keys(-(2**63), 100, 100)).gone == 0
    [late] = await key.enqueue()
    assert await key.holds() == {late: Hold.KEY}


@pytest.mark.parametrize("many", [False, True])
async def test_a_retry_of_the_job_that_blocks_its_key_lets_it_go_on_with_that_job(
    key: Key, many: bool
) -> None:
    first, second = await block(key, "fails")
    if many:
        retried = await step(key.s, await opened(key.s, everything=True))
        assert [each.held for each in retried.retried] == [False]
    else:
        assert not (await key.s.changes.retry(SCOPE, first))[1].held
    assert await blocked_by(key) is None
    assert await key.holds() == {first: None, second: Hold.KEY}
    assert await key.counts() == (1, 1)
    assert await run_all(key) == [first, second]


@pytest.mark.parametrize("many", [False, True])
async def test_a_retry_while_an_operator_pauses_the_key_waits_before_all_others(key: Key, many: bool) -> None:
    first, second = await block(key, "fails")
    await key.s.sql.execute("update semaphore set own_limit = 0 where id = $1", key.semaphore_id)
    if many:
        retried = await step(key.s, await opened(key.s, everything=True))
        assert [each.held for each in retried.retried] == [True]
    else:
        assert (await key.s.changes.retry(SCOPE, first))[1].held
    await key.semaphores.release_due(10)
    await key.admit()
    assert await key.holds() == {first: Hold.KEY, second: Hold.KEY}
    assert await key.counts() == (0, 2)
    assert await blocked_by(key) is None
    await key.s.sql.execute(
        "update semaphore set own_limit = null, admit_at = now() where id = $1", key.semaphore_id
    )
    assert await run_all(key) == [first, second]


async def test_a_retry_into_another_queue_lets_the_key_go_on_here(key: Key) -> None:
    await key.s.lane("elsewhere")
    first, second = await block(key, "fails")
    await step(key.s, await opened(key.s, to_queue="elsewhere", everything=True))
    assert await blocked_by(key) is None
    await key.admit()
    assert await key.holds() == {first: None, second: None}
    moved = await key.s.reads.get(SCOPE, first)
    assert moved is not None
    assert moved.queue == "elsewhere"


async def test_a_retry_into_the_queue_where_it_is_goes_on_with_that_job(key: Key) -> None:
    first, second = await block(key, "fails")
    await step(key.s, await opened(key.s, to_queue=key.lane.queue, everything=True))
    assert await blocked_by(key) is None
    assert await key.holds() == {first: None, second: Hold.KEY}


# ---- a rate


RATE = {"key_rate_count": 1, "key_rate_period_ms": 60_000, "key_rate_burst": 1}
MINUTE = timedelta(minutes=1)


async def used_up(key: Key) -> Any:
    return await key.s.sql.fetchval("select tat from semaphore where id = $1", key.semaphore_id)


@pytest.mark.parametrize("event", GOES_ON, ids=str)
async def test_the_next_start_of_a_job_that_goes_on_counts_at_the_rate_and_waits_for_it(
    key: Key, event: Event
) -> None:
    await key.policy(**RATE)
    [first] = await key.enqueue()
    await key.admit()
    before = await used_up(key)
    [run_at] = [await key.s.sql.fetchval("select run_at from live_job where id = $1", first)]
    assert before - run_at == MINUTE
    attempt, session_id = await key.s.claim(first, key.session)
    if event is Event.TIMEOUT:
        await pass_deadline(key.s.sql, first)
    [ended] = await key.s.attempts.end_attempt([AttemptEnd(first, attempt, session_id, event)])
    assert ended["run_at"] == before
    assert await used_up(key) == before + MINUTE
    # One that waits longer by itself starts then.
    await key.s.sql.execute("update live_job set run_at = now() where id = $1", first)
    ended = await end(key, first, Event.SNOOZE, after=10 * MINUTE)
    assert await used_up(key) == ended["run_at"] + MINUTE


async def test_a_rate_that_is_raised_holds_for_a_job_that_goes_on(key: Key) -> None:
    await key.policy(**{**RATE, "key_rate_period_ms": 3_600_000})
    [first] = await key.enqueue()
    await key.admit()
    await key.policy(**RATE)
    ended = await end(key, first, Event.RELEASE)
    assert ended["run_at"] - ended["at"] <= MINUTE


async def test_a_retry_of_the_job_that_blocks_its_key_counts_at_the_rate(key: Key) -> None:
    await key.policy(**RATE)
    await key.policy(key_on_failure=HOLD)
    [first] = await key.enqueue()
    await key.admit()
    before = await used_up(key)
    await fail(key, first)
    await key.s.changes.retry(SCOPE, first)
    assert await key.s.sql.fetchval("select run_at from live_job where id = $1", first) == before
    assert await used_up(key) == before + MINUTE


async def test_without_a_rate_a_job_that_goes_on_locks_no_semaphore(key: Key) -> None:
    [first] = await key.enqueue()
    version = await key.s.sql.fetchval("select xmin::text from semaphore where id = $1", key.semaphore_id)
    await end(key, first, Event.RELEASE)
    assert (
        await key.s.sql.fetchval("select xmin::text from semaphore where id = $1", key.semaphore_id)
        == version
    )


@pytest.mark.parametrize("many", [False, True])
async def test_a_delete_of_the_job_that_blocks_its_key_lets_the_next_one_go(key: Key, many: bool) -> None:
    first, second = await block(key, "fails")
    if many:
        await step(key.s, await opened(key.s, Verb.DELETE, statuses=frozenset({Status.FAILED_PERMANENT})))
    else:
        await key.s.changes.delete(SCOPE, first)
    assert list((await key.semaphores.calling(10)).semaphore_ids) == [key.semaphore_id]
    assert await run_all(key) == [second]


async def test_the_verb_lets_the_next_one_go_once(key: Key) -> None:
    first, second = await block(key, "fails")
    unblocked = await key.s.catalog_store.unblock_key(SCOPE, key.lane.queue, "one")
    assert unblocked == (first, 1)
    assert await key.s.catalog_store.unblock_key(SCOPE, key.lane.queue, "one") == (None, 0)
    assert await key.s.catalog_store.unblock_key(SCOPE, "never", "one") is None
    assert await run_all(key) == [second]


async def test_retries_and_deletes_of_other_jobs_leave_a_key_blocked(key: Key) -> None:
    await key.policy(key_on_failure=HOLD)
    [done, first, second] = await key.enqueue(3)
    await succeed(key, done)
    await key.admit()
    await fail(key, first)
    assert (await key.s.changes.retry(SCOPE, done))[1].held
    await key.semaphores.release_due(10)
    await key.admit()
    assert await blocked_by(key) == first
    await key.s.changes.cancel(SCOPE, done)
    await key.s.changes.delete(SCOPE, done)
    await key.admit()
    assert await key.holds() == {second: Hold.KEY}


@pytest.mark.parametrize("policy", [{"key_on_failure": None}, {"key_on_failure": None, "key_order": None}])
async def test_a_queue_that_blocks_no_more_lets_its_keys_go_on(key: Key, policy: dict[str, None]) -> None:
    _, second = await block(key, "fails")
    await key.policy(**policy)
    assert list((await key.semaphores.call_keys(-(2**63), 100)).calling) == [key.semaphore_id]
    await key.admit()
    assert await key.holds() == {second: None}


# ---- the rest is cancelled


@pytest.mark.parametrize("way", ["fails", "is cancelled in line", "is cancelled with others"])
async def test_the_rest_is_cancelled_in_steps_and_who_comes_later_starts_anew(key: Key, way: str) -> None:
    await key.policy(key_on_failure=CANCEL_REST)
    first, *rest = await key.enqueue(6)
    if way == "fails":
        await fail(key, first)
    elif way == "is cancelled in line":
        await key.s.changes.cancel(SCOPE, first)
    else:
        await step(key.s, await opened(key.s, Verb.CANCEL, statuses=frozenset({Status.QUEUED})), most=1)
    late = await key.enqueue(2)
    await key.admit()
    assert await key.counts() == (0, 7), "no job starts before the rest is cancelled"
    assert (await key.semaphores.calling(10)).cancels
    done = await key.semaphores.cancel_rest(3)
    assert {job_id for job_id, _ in done.jobs} == set(rest[:3])
    assert (done.more, list(done.calling)) == (True, [])
    done = await key.semaphores.cancel_rest(100)
    assert {job_id for job_id, _ in done.jobs} == set(rest[3:])
    assert (done.more, list(done.calling)) == (False, [key.semaphore_id])
    rows = await key.s.sql.fetch("select status, reason from finished_job where id = any($1)", rest)
    assert {tuple(row) for row in rows} == {(Status.CANCELLED, "KEY_CANCELLED")}
    assert await run_all(key) == late
    assert not (await key.semaphores.calling(10)).cancels


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_was_released_before_the_failure_is_of_the_rest(key: Key, way: str) -> None:
    await key.policy(key_on_failure=CANCEL_REST)
    [first] = await key.enqueue()
    [released] = await key.enqueue(hold=Hold.HAND)
    await key.s.changes.release(SCOPE, released)
    await key.semaphores.release_due(10)
    assert await key.counts() == (1, 1)
    await stop(key, first, way)
    [late] = await key.enqueue()
    rest = await key.semaphores.cancel_rest(100)
    assert [job_id for job_id, _ in rest.jobs] == [released]
    assert await key.holds() == {late: Hold.KEY}


async def test_one_that_waited_for_the_failure_comes_after_it(key: Key) -> None:
    await key.policy(key_on_failure=CANCEL_REST)
    first, second = await key.enqueue(2)
    async with stored(key.s.database._connector.dsn) as others, key.s.sql.transaction():
        await key.s.sql.execute("select from semaphore where id = $1 for update", key.semaphore_id)
        # It began before the failure.
        late = key.row()
        waits = asyncio.create_task(others.intake.enqueue_limited([late]))
        await until_waiting_for_a_lock(key.s.sql)
        await key.s.sql.execute(
            "update semaphore set taken = 0, blocked_by = $2, cancels_to = clock_timestamp() where id = $1",
            key.semaphore_id, first,
        )  # fmt: skip
        await key.s.sql.execute("delete from live_job where id = $1", first)
    await waits
    rest = await key.semaphores.cancel_rest(100)
    assert [job_id for job_id, _ in rest.jobs] == [second]


async def test_without_a_rest_a_failure_cancels_nothing(key: Key) -> None:
    await key.policy(key_on_failure=CANCEL_REST)
    [first] = await key.enqueue()
    await fail(key, first)
    assert await blocked_by(key) is None
    assert await run_all(key) == []
    late = await key.enqueue()
    assert await key.holds() == {late[0]: None}


async def test_one_that_a_cancel_has_is_left_to_it(key: Key) -> None:
    await key.policy(key_on_failure=CANCEL_REST)
    first, second, third = await key.enqueue(3)
    await fail(key, first)
    cancel = key.s.sql.transaction()
    await cancel.start()
    await key.s.sql.execute("select from live_job where id = $1 for update", second)
    async with stored(key.s.database._connector.dsn) as others:
        done = await SemaphoreStore(others.database).cancel_rest(100)
    await cancel.rollback()
    assert ([job_id for job_id, _ in done.jobs], done.more) == ([third], True)
    done = await key.semaphores.cancel_rest(100)
    assert ([job_id for job_id, _ in done.jobs], done.more) == ([second], False)


async def test_a_step_cancels_no_more_than_it_was_told_over_all_keys(key: Key) -> None:
    await key.policy(key_on_failure=CANCEL_REST)
    first = await key.enqueue(4)
    row = new_row(key.s, key.lane, payloads=[b"{}"] * 4, key="two")
    row.of_keys(["two"] * 4, [semaphore_of(key.lane.queue_id, "two")] * 4)
    await key.s.intake.enqueue_limited([row])
    for job_id in (first[0], row.ids[0]):
        await fail(key, job_id)
    sizes = []
    while (await key.semaphores.calling(10)).cancels:
        sizes.append(len((await key.semaphores.cancel_rest(4)).jobs))
    assert sizes == [4, 2]
    assert await key.counts() == (0, 0)


# ---- at random


@pytest.mark.slow
async def test_at_random_no_job_starts_before_one_that_was_answered_before_it(
    s: Stored, module_dsn: str
) -> None:
    lane, session = await s.lane(), await s.session()
    await s.sql.execute("update queue set key_max_running = 1, key_order = 1, key_on_failure = 2")
    await s.sql.execute("update worker_session set ttl = '1 h'")
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = await s.sql.fetchval(deadlocks)
    async with stored(module_dsn) as second, stored(module_dsn) as third:
        crowd = OrderedCrowd([s, second, third], lane, session, asyncio.get_running_loop().time() + SECONDS)
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(crowd.produce(number))
            for store in crowd.stores:
                group.create_task(crowd.work(store))
            group.create_task(crowd.interfere(second))
            group.create_task(crowd.watch(third))
        async with asyncio.timeout(60):
            await crowd.work(s, drain=True)
    assert await s.sql.fetchval(deadlocks) == before
    assert sum(len(jobs) for jobs in crowd.started.values()) > 50
    for semaphore_id, answered in crowd.answered.items():
        started = crowd.started[semaphore_id]
        assert started == [job_id for job_id in answered if job_id in set(started)]
        assert set(answered) - set(started) <= crowd.cancelled


def test_the_events_that_go_on_are_those_of_the_table() -> None:
    assert {
        event
        for event, way in EXITS.items()
        if not way.wanted <= {Status.SUCCEEDED, Status.FAILED_PERMANENT, Status.CANCELLED}
    } == set(GOES_ON)
