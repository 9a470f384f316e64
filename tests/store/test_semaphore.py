"""Semaphores: never more jobs of a key than its limit, none forgotten, whatever many connections do at once."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.core.catalog.catalog import Lane
from jobqueue_server.lifecycle import EXITS, Event, Hold, State, Status
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.bulk.requests import Verb
from jobqueue_server.store.intake.intake import BacklogOfKeys, NewRows
from jobqueue_server.store.policy.semaphores import NO_SLOTS, Admitted, SemaphoreStore, Slots, semaphore_of

from .crowd import BROKEN, Crowd
from .factories import Slot, keyed_row, new_row, pass_deadline, until_waiting_for_a_lock
from .stored import SCOPE, Stored, stored
from .test_bulk import opened, step

SECONDS = float(os.environ.get("CROWD_SECONDS", "5"))
ACTS = {
    "enqueue": 6, "claim": 8, "settle": 10, "end": 2, "cancel": 1, "retry": 1, "admit": 12,
    "release_due": 3, "audit": 1,
}  # fmt: skip


async def deadlocks(s: Stored) -> int:
    return await s.sql.fetchval("select deadlocks from pg_stat_database where datname = current_database()")


@pytest.mark.slow
async def test_a_crowd_never_has_more_tokens_of_a_key_than_its_limit_and_leaves_none_behind(
    s: Stored, module_dsn: str
) -> None:
    lane, session = await s.lane(), await s.session()
    await s.sql.execute("update queue set key_max_running = 3 where id = $1", lane.queue_id)
    await s.sql.execute("update worker_session set ttl = '1 h'")
    before = await deadlocks(s)
    async with stored(module_dsn) as others:
        crowd = Crowd([s, others], lane, session, keys=60, limit=3)
        until = asyncio.get_running_loop().time() + SECONDS
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(crowd.rush(until, ACTS))
            group.create_task(crowd.look(module_dsn, until))
        assert crowd.looks > 10
        await crowd.drain()
    assert await s.sql.fetchval("select count(*) from semaphore where taken <> 0 or waiting <> 0") == 0
    assert await deadlocks(s) == before


# ---- what each statement does to the counts


@dataclass
class Key:
    """A key of a queue that limits it."""

    s: Stored
    lane: Lane
    session: tuple[int, int]
    semaphores: SemaphoreStore

    @property
    def semaphore_id(self) -> int:
        return semaphore_of(self.lane.queue_id, "one")

    async def policy(self, **columns: int | None) -> None:
        names = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
        await self.s.sql.execute(
            f"update queue set {names} where id = $1", self.lane.queue_id, *columns.values()
        )

    def row(self, count: int = 1, **fields: Any) -> NewRows:
        row = new_row(self.s, self.lane, payloads=[b"{}"] * count, key="one", **fields)
        row.of_keys(["one"] * count, [self.semaphore_id] * count)
        return row

    async def enqueue(self, count: int = 1, **fields: Any) -> list[UUID]:
        row = self.row(count, **fields)
        await self.s.intake.enqueue_limited([row])
        return list(row.ids)

    async def counts(self) -> tuple[int, int]:
        """(taken, waiting), which are those of the live rows."""
        assert not await self.s.sql.fetch(BROKEN, 1_000_000)
        row = await self.s.sql.fetchrow(
            "select taken, waiting from semaphore where id = $1", self.semaphore_id
        )
        return (0, 0) if row is None else (row["taken"], row["waiting"])

    async def admit(self, most: int = 1000, slots: Slots = NO_SLOTS) -> Admitted:
        return await self.semaphores.admit([self.semaphore_id], most, slots)

    def slots(self, count: int, *more: Lane) -> Slots:
        """So many slots of its session, for its lane and more lanes."""
        number, epoch = self.session
        lanes = {lane.id: (0, count) for lane in (self.lane, *more)}
        return Slots(lanes, [number] * count, {number: epoch})

    async def lease(self, **fields: Any) -> tuple[UUID, int, int]:
        """A job of the key that runs."""
        [job_id] = await self.enqueue(**fields)
        return (job_id, *await self.s.claim(job_id, self.session))

    async def holds(self) -> dict[UUID, int | None]:
        rows = await self.s.sql.fetch("select id, hold from live_job")
        return {row["id"]: row["hold"] for row in rows}


@pytest.fixture
async def key(s: Stored) -> Key:
    made = Key(s, await s.lane(), await s.session(), SemaphoreStore(s.database))
    await made.policy(key_max_running=1)
    return made


async def test_a_semaphore_has_the_same_number_in_python_and_in_sql(s: Stored) -> None:
    for queue_id, name in ((1, "one"), (2**31 - 1, "ключ ключа"), (7, "x" * 255)):
        found = await s.sql.fetchval("select semaphore_of($1, $2)", queue_id, name)
        assert found == semaphore_of(queue_id, name)


async def test_a_key_below_its_limit_is_handed_off_and_one_at_its_limit_waits(key: Key) -> None:
    row = key.row(3)
    row.slots = [(Slot(*key.session), 3)]
    stored = await key.s.intake.enqueue_limited([row])
    assert stored.kept == set(row.ids[1:])
    assert await key.s.sql.fetchval("select state from live_job where id = $1", row.ids[0]) == State.LEASED
    assert await key.counts() == (1, 2)


async def test_who_comes_while_others_wait_goes_behind_them(key: Key) -> None:
    await key.policy(key_max_running=2)
    first, second, third = await key.enqueue(3)
    attempt, session_id = await key.s.claim(first, key.session)
    await key.s.attempts.end_plain([([first], attempt, session_id)])
    # There is a token, and it is the third one's.
    [late] = await key.enqueue()
    assert (await key.holds())[late] == Hold.KEY
    await key.admit()
    assert await key.holds() == {second: None, third: None, late: Hold.KEY}


async def test_the_highest_priority_is_let_in_first_and_then_who_came_first(key: Key) -> None:
    [first] = await key.enqueue()
    low = await key.enqueue(priority=-1)
    plain = [*await key.enqueue(), *await key.enqueue()]
    high = await key.enqueue(priority=5)
    order = [first]
    for _ in range(5):
        attempt, session_id = await key.s.claim(order[-1], key.session)
        await key.s.attempts.end_plain([([order[-1]], attempt, session_id)])
        await key.admit()
        order += [job_id for job_id, hold in (await key.holds()).items() if hold is None]
    assert order == [first, *high, *plain, *low]


ENDINGS = [(event, permanent) for event in EXITS for permanent in (False, True)]


@pytest.mark.cases(12)
@pytest.mark.parametrize(("event", "permanent"), ENDINGS, ids=str)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_each_end_of_an_attempt_gives_the_token_back(
    key: Key, event: Event, permanent: bool, cancelled: bool
) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.enqueue()
    assert await key.counts() == (1, 1)
    if cancelled:
        await key.s.changes.cancel(SCOPE, job_id)
        assert await key.counts() == (1, 1)
    if event is Event.SUCCEED:
        done = await key.s.attempts.end_succeeded([(job_id, attempt, session_id, None)])
        assert done.ids is None
        assert list(done.admitted.again) == [key.semaphore_id]
    else:
        await pass_deadline(key.s.sql, job_id)
        end = AttemptEnd(job_id, attempt, session_id, event, permanent=permanent, after=timedelta(seconds=9))
        [row] = await key.s.attempts.end_attempt([end])
        assert row["semaphore_id"] == key.semaphore_id
    assert await key.counts() == (0, 1)
    left = (await key.holds()).get(job_id, "ended")
    assert left in ("ended", Hold.TIME)
    if event is not Event.SUCCEED:
        assert (left == Hold.TIME) == (row["run_at"] is not None)
    # The one that waited is let in by that call alone.
    await key.admit()
    assert await key.counts() == (1, 0)


@pytest.mark.parametrize("way", ["line", "key", "time", "hand"])
async def test_a_cancel_takes_a_waiting_job_out_of_the_counts(key: Key, way: str) -> None:
    ways: dict[str, dict[str, Any]] = {"time": {"delay": timedelta(hours=1)}, "hand": {"hold": Hold.HAND}}
    fields = ways.get(way, {})
    first = await key.enqueue(**fields)
    others = await key.enqueue(2)
    job_id = others[-1] if way == "key" else first[0]
    _, cancelled = await key.s.changes.cancel(SCOPE, job_id)
    taken, waiting = await key.counts()
    assert (taken, waiting) == {"line": (0, 2), "key": (1, 1), "time": (1, 1), "hand": (1, 1)}[way]
    assert cancelled.calling == (key.semaphore_id if way == "line" else None)


@pytest.mark.parametrize("one_by_one", [False, True])
async def test_operations_on_many_jobs_give_tokens_back_and_send_retries_to_their_keys(
    key: Key, one_by_one: bool
) -> None:
    s = key.s
    await key.policy(key_max_running=2)
    jobs = await key.enqueue(4)
    jobs += await key.enqueue(delay=timedelta(hours=1))
    await s.claim(jobs[0], key.session)
    assert await key.counts() == (2, 2)
    cancel = await opened(s, Verb.CANCEL, statuses=frozenset({Status.QUEUED}))
    if one_by_one:
        # The first gives a token back, for which the others wait until there is none of them.
        steps = [await step(s, cancel, most=1) for _ in range(4)]
        assert [[each.calling for each in done.cancelled] for done in steps] == [
            [key.semaphore_id],
            [key.semaphore_id],
            [None],
            [None],
        ]
        assert not (await step(s, cancel, most=1)).cancelled, "that was all"
    else:
        [done] = [await step(s, cancel)]
        assert len(done.cancelled) == 4
        # Nobody waits.
        assert {each.calling for each in done.cancelled} == {None}
    assert await key.counts() == (1, 0)
    retried = await step(s, await opened(s, everything=True))
    assert [each.held for each in retried.retried] == [True] * 4
    assert await key.counts() == (1, 0)
    await key.semaphores.release_due(100)
    await key.admit()
    assert await key.counts() == (2, 3)


async def test_a_stale_settlement_gives_nothing_back(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    for bad in ((job_id, attempt + 1, session_id), (job_id, attempt, session_id + 1)):
        assert (await key.s.attempts.end_plain([([bad[0]], *bad[1:])])).ids == frozenset()
        assert not await key.s.attempts.end_attempt([AttemptEnd(*bad, Event.FAIL)])
    assert await key.counts() == (1, 0)


@pytest.mark.parametrize("way", ["retry", "release", "delay", "apart"])
async def test_who_comes_back_or_later_goes_by_its_time_to_its_key(key: Key, way: str) -> None:
    if way == "retry":
        job_id, attempt, session_id = await key.lease()
        await key.s.attempts.end_plain([([job_id], attempt, session_id)])
        assert (await key.s.changes.retry(SCOPE, job_id))[1].held
    elif way == "release":
        [job_id] = await key.enqueue(hold=Hold.HAND)
        assert (await key.s.changes.release(SCOPE, job_id))[1].held
    elif way == "delay":
        [job_id] = await key.enqueue(delay=timedelta(milliseconds=1))
        await asyncio.sleep(0.01)
    else:
        row = key.row()
        await key.s.intake.enqueue_limited([row], later=True)
        job_id = row.id
    assert (await key.holds())[job_id] == Hold.TIME
    assert await key.counts() == (0, 0)
    assert await key.semaphores.release_due(10) == (1, [key.semaphore_id])
    assert (await key.holds())[job_id] == Hold.KEY
    assert await key.counts() == (0, 1)
    await key.admit()
    assert (await key.holds())[job_id] is None
    assert await key.counts() == (1, 0)


async def test_one_whose_time_has_not_come_stays(key: Key) -> None:
    await key.enqueue(delay=timedelta(hours=1))
    assert await key.semaphores.release_due(10) == (0, ())


async def test_two_promotes_at_once_let_in_no_more_than_the_limit(key: Key) -> None:
    await key.enqueue(6)
    await key.s.sql.execute("delete from live_job where hold is null")
    await key.s.sql.execute("update semaphore set taken = 0, admit_at = now()")
    blocker = key.s.sql.transaction()
    await blocker.start()
    await key.s.sql.execute("select from semaphore for update")
    async with stored(key.s.database._connector.dsn) as others:
        both = [
            asyncio.create_task(store.admit([key.semaphore_id], 1000))
            for store in (key.semaphores, SemaphoreStore(others.database))
        ]
        await until_waiting_for_a_lock(key.s.sql, 2)
        await blocker.commit()
        await asyncio.gather(*both)
    assert await key.counts() == (1, 4)


async def test_what_commits_after_the_snapshot_of_a_promote_is_called_again(key: Key) -> None:
    await key.policy(key_max_running=2)
    await key.enqueue(2)
    blocker = key.s.sql.transaction()
    await blocker.start()
    # One ends and another comes while a promote waits for the lock: its snapshot has neither.
    await key.s.sql.execute(
        "update semaphore set taken = 1, waiting = 1, admit_at = now() - interval '1 second'"
    )
    promoting = asyncio.create_task(key.admit())
    await asyncio.sleep(0.2)
    [gone] = await key.s.sql.fetch("select id from live_job limit 1")
    await key.s.sql.execute("delete from live_job where id = $1", gone["id"])
    late = new_row(key.s, key.lane)
    await key.s.intake.enqueue([late])
    await key.s.sql.execute(
        "update live_job set semaphore_id = $1, state = 3, hold = 1 where id = $2", key.semaphore_id, late.id
    )
    await blocker.commit()
    admitted = await promoting
    if not admitted.lines:
        # Its predicate was not true of what it saw, so it is not called: the sweep does it.
        calling, *_ = await key.semaphores.calling(10)
        assert list(calling) == [key.semaphore_id]
        await key.admit()
    assert await key.counts() == (2, 0)


# ---- straight into a lease


async def free_tokens(key: Key) -> None:
    """What was let in is gone, and its tokens are back."""
    await key.s.sql.execute("delete from live_job where hold is null")
    await key.s.sql.execute("update semaphore set taken = 0, admit_at = now()")


async def states(key: Key) -> dict[UUID, State]:
    return {row["id"]: State(row["state"]) for row in await key.s.sql.fetch("select id, state from live_job")}


async def test_who_is_let_in_takes_a_slot_as_by_a_claim(key: Key) -> None:
    _, job_id = await key.enqueue(2, timeout=timedelta(minutes=1))
    await free_tokens(key)
    admitted = await key.admit(slots=key.slots(5))
    assert not admitted.lines
    [(leased, lane_id, priority, run_at, attempt, session_id, failures, at)] = admitted.leased
    assert (leased, lane_id, priority, attempt, session_id, failures) == (
        (job_id, key.lane.id, 0, 1, key.session[0], 0)
    )
    assert run_at == at
    row = await key.s.sql.fetchrow("select * from live_job")
    assert (row["state"], row["hold"], row["attempts"], row["session_id"]) == (2, None, 1, key.session[0])
    assert (row["changed_at"], row["deadline"]) == (at, at + timedelta(minutes=1))
    assert await key.counts() == (1, 0)
    # The lease is one as any other.
    assert (await key.s.attempts.end_plain([([job_id], attempt, session_id)])).ids is None
    assert await key.counts() == (0, 0)


async def test_where_slots_are_few_the_highest_priority_takes_them_and_the_others_stand_in_line(
    key: Key,
) -> None:
    await key.policy(key_max_running=4)
    await key.enqueue(4)
    jobs = {priority: (await key.enqueue(priority=priority))[0] for priority in (1, 3, 2, 0)}
    await free_tokens(key)
    admitted = await key.admit(slots=key.slots(2))
    assert {each[0] for each in admitted.leased} == {jobs[3], jobs[2]}
    assert sorted(admitted.lines) == [(key.lane.id, 0, False, 1), (key.lane.id, 1, False, 1)]
    assert await key.counts() == (4, 0)


async def test_a_lane_takes_of_its_own_slots_alone(key: Key) -> None:
    others, strange = [await key.s.lane("default", kind) for kind in ("other", "strange")]
    second = await key.s.session("worker-2")
    await key.policy(key_max_running=9)
    await key.enqueue(9)
    for lane in (key.lane, others, strange):
        row = new_row(key.s, lane, payloads=[b"{}"] * 3)
        row.of_keys(["one"] * 3, [key.semaphore_id] * 3)
        await key.s.intake.enqueue_limited([row])
    await free_tokens(key)
    number = key.session[0]
    slots = Slots(
        {key.lane.id: (0, 2), others.id: (2, 1)}, [number, number, second[0]], dict([key.session, second])
    )
    admitted = await key.admit(slots=slots)
    taken = sorted((each[1], each[5]) for each in admitted.leased)
    assert taken == sorted([(key.lane.id, number), (key.lane.id, number), (others.id, second[0])])
    assert sorted(admitted.lines) == sorted(
        [(key.lane.id, 0, False, 1), (others.id, 0, False, 2), (strange.id, 0, False, 3)]
    )


@pytest.mark.parametrize("why", ["isolated", "paused", "another epoch", "session ended", "another lane"])
async def test_who_may_not_take_a_slot_stands_in_line(key: Key, why: str) -> None:
    await key.enqueue(2)
    await free_tokens(key)
    slots = key.slots(1)
    if why == "isolated":
        await key.s.sql.execute("update live_job set losses = 2")
    elif why == "paused":
        await key.s.sql.execute("update lane set closed = true where id = $1", key.lane.id)
    elif why == "another epoch":
        slots = Slots(slots.lanes, slots.sessions, {key.session[0]: key.session[1] + 1})
    elif why == "session ended":
        await key.s.sql.execute("update worker_session set ended_at = now()")
    else:
        slots = Slots({(await key.s.lane("default", "other")).id: (0, 1)}, slots.sessions, slots.epochs)
    admitted = await key.admit(slots=slots)
    assert not admitted.leased
    assert admitted.lines == ((key.lane.id, 0, why == "isolated", 1),)
    assert set((await states(key)).values()) == {State.READY_ISOLATED if why == "isolated" else State.READY}
    assert await key.counts() == (1, 0)


async def test_a_job_that_failed_before_is_leased_as_its_next_attempt(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    end = AttemptEnd(job_id, attempt, session_id, Event.FAIL, after=timedelta())
    await key.s.attempts.end_attempt([end])
    await key.semaphores.release_due(10)
    admitted = await key.admit(slots=key.slots(1))
    [(leased, *_, attempt, session_id, failures, _)] = admitted.leased
    assert (leased, attempt, failures) == (job_id, 2, 1)
    assert (await key.s.attempts.end_plain([([job_id], attempt, session_id)])).ids is None


async def test_a_settlement_lets_in_who_waits_for_its_tokens(key: Key) -> None:
    await key.policy(key_max_running=3)
    jobs = await key.enqueue(8)
    leases = [(job_id, *await key.s.claim(job_id, key.session), b"{}") for job_id in jobs[:3]]
    done = await key.s.attempts.end_and_admit(leases[:2], 1000, key.slots(1))
    assert (done.ids, list(done.admitted.again), done.admitted.jobs) == (None, [], 2)
    [(leased, _, _, _, attempt, session_id, _, at)] = done.admitted.leased
    assert (leased in jobs[3:5], attempt, session_id, at) == (True, 1, key.session[0], done.at)
    assert done.admitted.lines == ((key.lane.id, 0, False, 1),)
    assert await key.counts() == (3, 3)
    # No more than it may: the others are called.
    done = await key.s.attempts.end_and_admit([leases[2], (leased, attempt, session_id, None)], 1)
    assert (done.admitted.jobs, list(done.admitted.again)) == (1, [key.semaphore_id])
    assert await key.counts() == (2, 2)
    rows = await key.s.sql.fetch("select id, output from finished_job where output is not null")
    assert {row["id"] for row in rows} == set(jobs[:3])


async def test_a_settlement_that_is_stale_lets_nobody_in(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    await key.enqueue()
    for bad in ((job_id, attempt + 1, session_id), (job_id, attempt, session_id + 1)):
        done = await key.s.attempts.end_and_admit([(*bad, None)], 1000, key.slots(5))
        assert (done.ids, done.admitted.jobs, list(done.admitted.again)) == (frozenset(), 0, [])
    assert await key.counts() == (1, 1)


async def test_a_settlement_lets_in_no_more_than_the_rate_and_the_limit_allow(key: Key) -> None:
    await key.policy(key_max_running=2, key_rate_count=10, key_rate_period_ms=10_000, key_rate_burst=1)
    await key.enqueue(4)
    await key.admit()
    [first] = [job_id for job_id, hold in (await key.holds()).items() if hold is None]
    done = await key.s.attempts.end_and_admit(
        [(first, *await key.s.claim(first, key.session), None)], 1000, key.slots(5)
    )
    assert (done.admitted.jobs, list(done.admitted.again)) == (0, [])
    assert await key.counts() == (0, 3)
    _, next_call, _ = await key.semaphores.calling(10)
    assert next_call is not None
    assert timedelta() < next_call <= timedelta(seconds=1)


async def test_who_comes_while_a_settlement_waits_for_the_lock_is_called_again(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    async with stored(key.s.database._connector.dsn) as others:
        async with others.database.transaction(hot=True) as coming:
            late = key.row()
            await others.intake.enqueue_limited([late], coming)
            settling = asyncio.create_task(
                key.s.attempts.end_and_admit([(job_id, attempt, session_id, None)], 1000, key.slots(5))
            )
            await until_waiting_for_a_lock(key.s.sql)
        done = await settling
    # The snapshot of the settlement has not the late one.
    assert (done.ids, done.admitted.jobs, list(done.admitted.again)) == (None, 0, [key.semaphore_id])
    assert [each[0] for each in (await key.admit(slots=key.slots(1))).leased] == [late.id]


async def test_a_backlog_is_never_longer_than_the_queue_allows_and_a_refused_call_stores_nothing(
    key: Key,
) -> None:
    await key.policy(key_max_waiting=2)
    await key.enqueue(3)
    other = new_row(key.s, key.lane)
    with pytest.raises(BacklogOfKeys) as refused:
        await key.s.intake.enqueue_limited([other, key.row()])
    assert refused.value.semaphore_ids == {key.semaphore_id}
    assert await key.counts() == (1, 2)
    assert await key.s.sql.fetchval("select count(*) from job where id = $1", other.id) == 0
    with pytest.raises(BacklogOfKeys):
        await key.s.intake.enqueue_limited([key.row(4)])


async def test_the_first_call_of_a_key_is_refused_too_where_it_brings_too_many(key: Key) -> None:
    await key.policy(key_max_waiting=2)
    with pytest.raises(BacklogOfKeys):
        await key.enqueue(4)
    assert await key.counts() == (0, 0)
    assert await key.s.sql.fetchval("select count(*) from job") == 0


async def test_a_rate_lets_in_its_burst_and_then_one_after_the_other(key: Key) -> None:
    await key.policy(
        key_max_running=None,
        key_rate_count=10,
        key_rate_period_ms=1000,
        key_rate_burst=3,
        key_max_waiting=None,
    )
    await key.enqueue(10)
    assert await key.counts() == (0, 10), "no job passes the rate with its enqueue"
    admitted = await key.admit()
    assert await key.counts() == (3, 7)
    assert admitted.next_call is not None
    assert timedelta(milliseconds=50) < admitted.next_call <= timedelta(milliseconds=100)
    # Workers are away, and so much time goes by that the rate alone would allow all of them.
    await key.s.sql.execute("update semaphore set admit_at = now(), tat = now() - interval '1 hour'")
    await key.admit()
    assert await key.counts() == (3, 7), "no more than a burst waits in line"
    await key.s.sql.execute("delete from live_job where hold is null")
    await key.s.sql.execute("update semaphore set taken = 0, admit_at = now()")
    await key.admit()
    assert await key.counts() == (3, 4), "after a long time it is a burst, and not an hour's worth"


async def test_a_clock_that_was_set_back_makes_a_rate_wait_for_one_job_alone(key: Key) -> None:
    await key.policy(key_max_running=None, key_rate_count=10, key_rate_period_ms=1000, key_rate_burst=1)
    await key.enqueue(2)
    await key.s.sql.execute("update semaphore set admit_at = now(), tat = now() + interval '1 hour'")
    admitted = await key.admit()
    assert admitted.next_call is not None
    assert admitted.next_call <= timedelta(milliseconds=100)
    await asyncio.sleep(admitted.next_call.total_seconds() + 0.001)
    await key.admit()
    assert await key.counts() == (1, 1)


async def test_a_rate_that_is_raised_is_what_the_next_job_waits_for(key: Key) -> None:
    await key.policy(key_max_running=None, key_rate_count=1, key_rate_period_ms=3_600_000, key_rate_burst=1)
    [first, _] = await key.enqueue(2)
    await key.admit()
    attempt, session_id = await key.s.claim(first, key.session)
    await key.s.attempts.end_plain([([first], attempt, session_id)])
    await key.policy(key_rate_count=10, key_rate_period_ms=1000)
    await key.semaphores.call_keys(-(2**63), 100)
    admitted = await key.admit()
    assert await key.counts() == (0, 1)
    assert admitted.next_call is not None
    await asyncio.sleep(admitted.next_call.total_seconds() + 0.001)
    await key.admit()
    assert await key.counts() == (1, 0)


async def test_what_another_has_used_of_a_rate_meanwhile_is_not_given_back(key: Key) -> None:
    await key.policy(key_max_running=None, key_rate_count=1, key_rate_period_ms=1000, key_rate_burst=1)
    await key.enqueue(2)
    used = "update semaphore set tat = clock_timestamp() + interval '1 second' where id = $1 returning tat"
    async with key.s.sql.transaction():
        await key.s.sql.execute("select from semaphore where id = $1 for update", key.semaphore_id)
        late = asyncio.create_task(key.admit())
        await until_waiting_for_a_lock(key.s.sql)
        # It waits, and its now() stays.
        await asyncio.sleep(0.2)
        tat = await key.s.sql.fetchval(used, key.semaphore_id)
    await late
    assert await key.s.sql.fetchval("select tat from semaphore where id = $1", key.semaphore_id) == tat


async def test_no_more_than_a_burst_stands_in_line_when_two_let_in_at_once(key: Key) -> None:
    await key.policy(key_max_running=None, key_rate_count=1000, key_rate_period_ms=1000, key_rate_burst=3)
    ids = await key.enqueue(6)
    async with key.s.sql.transaction():
        await key.s.sql.execute("select from semaphore where id = $1 for update", key.semaphore_id)
        late = asyncio.create_task(key.admit())
        await until_waiting_for_a_lock(key.s.sql)
        await key.s.sql.execute("update live_job set hold = null, state = 1 where id = any($1)", ids[:2])
        await key.s.sql.execute("update semaphore set taken = 2, waiting = 4 where id = $1", key.semaphore_id)
    await late
    assert await key.counts() == (3, 3)


async def test_what_drifted_is_found_and_counted_anew(key: Key) -> None:
    await key.enqueue(3)
    await key.s.sql.execute("update semaphore set taken = 7, waiting = 9")
    walked = await key.semaphores.audit_keys(-(2**63), 100, 100)
    assert walked.drifted == ((key.semaphore_id, key.lane.queue_id),)
    await key.semaphores.recount(key.semaphore_id)
    assert await key.counts() == (1, 2)
    assert not (await key.semaphores.audit_keys(-(2**63), 100, 100)).drifted


async def test_a_key_without_jobs_is_forgotten_and_one_with_jobs_is_not(key: Key) -> None:
    job_id, attempt, session_id = await key.lease()
    assert (await key.semaphores.audit_keys(-(2**63), 100, 100)).gone == 0
    await key.s.attempts.end_plain([([job_id], attempt, session_id)])
    assert (await key.semaphores.audit_keys(-(2**63), 100, 100)).gone == 1
    await key.enqueue()
    assert await key.counts() == (1, 0)


async def test_one_that_was_held_before_the_first_limit_asks_for_its_key_when_it_is_let_go(key: Key) -> None:
    await key.policy(key_max_running=None)
    held = new_row(key.s, key.lane, key="one", hold=Hold.HAND)
    await key.s.intake.enqueue([held])
    await key.policy(key_max_running=1)
    await key.enqueue()
    assert (await key.s.changes.release(SCOPE, held.id))[1].held
    await key.semaphores.release_due(10)
    await key.admit()
    assert await key.counts() == (1, 1)
    assert (await key.holds())[held.id] == Hold.KEY


async def test_a_raised_limit_makes_keys_call_and_one_without_limit_lets_all_in(key: Key) -> None:
    await key.enqueue(5)
    assert not (await key.semaphores.call_keys(-(2**63), 100)).calling
    for limit, counts in ((3, (3, 2)), (2, (3, 2)), (None, (5, 0))):
        await key.policy(key_max_running=limit)
        await key.semaphores.call_keys(-(2**63), 100)
        await key.admit()
        assert await key.counts() == counts


async def test_a_promote_lets_in_no_more_than_it_was_told_and_asks_to_be_called_again(key: Key) -> None:
    await key.enqueue(8)
    await key.policy(key_max_running=None)
    await key.semaphores.call_keys(-(2**63), 100)
    admitted = await key.admit(3)
    assert await key.counts() == (4, 4)
    assert list(admitted.again) == [key.semaphore_id]


async def test_a_statement_with_and_without_idempotency_keys_counts_what_is_stored_alone(key: Key) -> None:
    await key.policy(key_max_running=2)
    first = keyed_row(key.s, key.lane, "a")
    first.of_keys(["one"], [key.semaphore_id])
    await key.s.intake.enqueue_limited([first])
    again = keyed_row(key.s, key.lane, "a")
    again.of_keys(["one"], [key.semaphore_id])
    stored = await key.s.intake.enqueue_limited([again, key.row(2)])
    assert stored.lost_keys == {again.id}
    assert len(stored.kept) == 1
    assert await key.counts() == (2, 1)
