"""A job that is held back is in no line: it is seen everywhere, and only a release lets it start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.core.catalog.depths import Depths
from jobqueue_server.errors import JobNotFound, JobNotHeld
from jobqueue_server.lifecycle import Hold, State, Status
from jobqueue_server.model import HoldDepth, JobFilter, NewJob, WatchFilter
from jobqueue_server.scope import Scope
from jobqueue_server.store.claim.claims import ClaimTarget
from jobqueue_server.store.query.watch import FAR_AHEAD, FIRST_ID, NOTHING, Change, Snapshot, WatchStore

from .stored import SCOPE, Stored

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVERYTHING = WatchFilter()
NEVER = Change(FAR_AHEAD, FIRST_ID)


async def held(s: Stored, **fields: Any) -> UUID:
    return await s.queued(hold=Hold.HAND, **fields)


async def live(s: Stored, job_id: UUID) -> asyncpg.Record:
    return await s.sql.fetchrow("select * from live_job where id = $1", job_id)


async def lost_twice(s: Stored, job_id: UUID) -> None:
    """What no caller can bring about yet: a job that has a past is held back."""
    await s.sql.execute("update live_job set attempts = 2, losses = 2 where id = $1", job_id)


async def claimable(s: Stored) -> set[UUID]:
    """Every job that a claim could take now."""
    lane, (number, epoch) = await s.lane(), await s.session()
    targets = [ClaimTarget(lane.id, priority, 100, LONG_AGO, 100) for priority in range(-10, 11)]
    rows = await s.claims.claim(targets, [number] * 100, {number: epoch})
    rows += await s.claims.claim_isolated([lane.id], {number: epoch})
    return {row["id"] for row in rows}


# ---- in no line


async def test_a_held_job_is_stored_held_back_and_shown_queued(s: Stored) -> None:
    job_id = await held(s)
    row = await live(s, job_id)
    assert (row["state"], row["hold"], row["attempts"]) == (State.HELD_BACK, Hold.HAND, 0)
    job = await s.reads.get(SCOPE, job_id)
    assert job is not None
    assert (job.status, job.hold) == (Status.QUEUED, Hold.HAND)
    assert (
        await s.sql.fetchval("select status || ' ' || hold from jobs where id = $1", job_id) == "queued hand"
    )


async def test_a_held_job_with_a_past_is_shown_retrying(s: Stored) -> None:
    job_id = await held(s)
    await lost_twice(s, job_id)
    job = await s.reads.get(SCOPE, job_id)
    assert job is not None
    assert (job.status, job.hold) == (Status.RETRYING, Hold.HAND)


async def test_no_claim_and_no_sweep_finds_a_held_job(s: Stored) -> None:
    await held(s)
    await held(s, priority=10)
    await lost_twice(s, await held(s))
    lane = await s.lane()
    everywhere = [(lane.id, priority, LONG_AGO) for priority in range(-10, 11)]
    assert not await s.claims.heads(everywhere)
    assert not await s.claims.heads_isolated([lane.id])
    assert await claimable(s) == set()


async def test_jobs_beside_held_ones_in_one_insert_are_not_held(s: Stored) -> None:
    rows = [
        await s.row(NewJob("hello", b"{}", priority=priority, hold=hold))
        for priority in (0, 1)
        for hold in (None, Hold.HAND)
    ]
    await s.intake.enqueue(rows)
    assert await claimable(s) == {rows[0].id, rows[2].id}


@pytest.mark.parametrize("values", ["state = 3", "hold = 4", "state = 3, hold = 5", "state = 3, hold = 0"])
async def test_a_state_without_its_hold_and_a_hold_without_its_state_are_refused(
    s: Stored, values: str
) -> None:
    job_id = await s.queued()
    with pytest.raises(asyncpg.CheckViolationError, match="held back for a reason"):
        await s.sql.execute(f"update live_job set {values} where id = $1", job_id)


# ---- released


async def test_a_released_job_is_at_the_end_of_its_line(s: Stored) -> None:
    job_id = await held(s)
    other = await s.queued()
    job, released = await s.changes.release(SCOPE, job_id)
    row = await live(s, job_id)
    assert (row["state"], row["hold"]) == (State.READY, None)
    assert row["run_at"] == row["changed_at"] == released.run_at > (await live(s, other))["run_at"]
    assert (released.lane_id, released.priority, released.isolated) == ((await s.lane()).id, 0, False)
    assert (job.status, job.hold) == (Status.QUEUED, None)
    assert job == await s.reads.get(SCOPE, job_id)
    assert await claimable(s) == {other, job_id}


async def test_a_released_job_that_was_lost_twice_is_isolated(s: Stored) -> None:
    job_id = await held(s)
    await lost_twice(s, job_id)
    job, released = await s.changes.release(SCOPE, job_id)
    assert released.isolated
    assert job.status == Status.RETRYING
    assert (await live(s, job_id))["state"] == State.READY_ISOLATED


@pytest.mark.parametrize("when", ["run_at", "delay"])
async def test_a_held_job_waits_for_the_later_of_its_time_and_its_release(s: Stored, when: str) -> None:
    asked = datetime.now(UTC) + HOUR if when == "run_at" else HOUR
    later = await held(s, **{when: asked})
    before = (await live(s, later))["run_at"]
    job, released = await s.changes.release(SCOPE, later)
    assert released.run_at == job.run_at == before > datetime.now(UTC) + timedelta(minutes=59)
    assert await claimable(s) == set()
    past = await held(s, **{when: timedelta() if when == "delay" else LONG_AGO})
    job, released = await s.changes.release(SCOPE, past)
    assert released.run_at == (await live(s, past))["changed_at"]


async def test_of_two_releases_one_is_refused(s: Stored) -> None:
    job_id = await held(s)
    answers = await asyncio.gather(
        *(s.changes.release(SCOPE, job_id) for _ in range(2)), return_exceptions=True
    )
    (refused,) = (answer for answer in answers if isinstance(answer, JobNotHeld))
    assert refused.metadata == {"job_id": str(job_id), "status": "QUEUED"}
    assert len(await claimable(s)) == 1


@pytest.mark.parametrize("status", ["queued", "retrying", "running", "succeeded", "failed", "cancelled"])
async def test_only_a_held_job_is_released(s: Stored, status: str) -> None:
    made = await getattr(s, status)()
    job_id = made[0] if isinstance(made, tuple) else made
    before = await s.reads.get(SCOPE, job_id)
    assert before is not None
    with pytest.raises(JobNotHeld) as refused:
        await s.changes.release(SCOPE, job_id)
    assert refused.value.metadata == {"job_id": str(job_id), "status": before.status.name}
    assert await s.reads.get(SCOPE, job_id) == before


async def test_a_job_that_is_not_there_or_another_namespaces_is_not_found(s: Stored) -> None:
    with pytest.raises(JobNotFound):
        await s.changes.release(SCOPE, s.mint.mint())
    job_id = await held(s)
    await s.sql.execute("insert into namespace (id, name) overriding system value values (2, 'other')")
    with pytest.raises(JobNotFound):
        await s.changes.release(Scope(2, "tests"), job_id)
    assert (await live(s, job_id))["hold"] == Hold.HAND


# ---- cancelled, retried


async def test_a_cancelled_held_job_can_be_released_no_longer_and_a_retry_does_not_hold_it(s: Stored) -> None:
    job_id = await held(s)
    job, cancelled = await s.changes.cancel(SCOPE, job_id)
    assert (cancelled.pending, job.status, job.hold) == (False, Status.CANCELLED, None)
    with pytest.raises(JobNotHeld):
        await s.changes.release(SCOPE, job_id)
    assert (await s.changes.retry(SCOPE, job_id))[0].hold is None
    assert await claimable(s) == {job_id}


async def test_of_a_release_and_a_cancel_at_once_both_are_answered_and_one_end_comes_of_it(s: Stored) -> None:
    job_id = await held(s)
    released, cancelled = await asyncio.gather(
        s.changes.release(SCOPE, job_id), s.changes.cancel(SCOPE, job_id), return_exceptions=True
    )
    assert not isinstance(cancelled, BaseException)
    if not isinstance(released, JobNotHeld):
        assert not isinstance(released, BaseException)
        assert released[0].status == Status.QUEUED
    assert await s.sql.fetchval("select count(*) from live_job") == 0


# ---- seen


async def test_lists_show_held_jobs(s: Stored) -> None:
    job_id, other = await held(s), await s.queued()
    for wanted in (JobFilter(), JobFilter(statuses=frozenset({Status.QUEUED}))):
        jobs = (await s.reads.list(SCOPE, wanted, size=10, before=None, full=False)).jobs
        assert {job.id: job.hold for job in jobs} == {job_id: Hold.HAND, other: None}


async def test_a_watch_tells_of_a_held_job_and_of_its_release(s: Stored) -> None:
    watch = WatchStore(s.database)

    async def looked() -> tuple[Snapshot, Change]:
        found = await watch.watch_changes(SCOPE, EVERYTHING, NOTHING, None, after=NEVER, most=0)
        return found.snapshot, Change(found.at, FIRST_ID)

    async def changed_since(before: tuple[Snapshot, Change]) -> list[UUID]:
        snapshot, since = before
        found = await watch.watch_changes(SCOPE, EVERYTHING, snapshot, None, after=since, most=100)
        return [change.job_id for change in found.changes]

    before = await looked()
    job_id = await held(s, delay=HOUR)
    assert await changed_since(before) == [job_id]
    (told,) = await watch.watch_jobs([job_id], Snapshot(3, 3), Snapshot(1 << 62, 1 << 62), full=False)
    assert told is not None
    assert told.hold == Hold.HAND
    before = await looked()
    assert await changed_since(before) == []
    await s.changes.release(SCOPE, job_id)
    assert await changed_since(before) == [job_id]


async def test_depths_count_held_jobs_in_their_status_and_by_their_hold(s: Stored) -> None:
    await s.queued(queue="q")
    oldest = await held(s, queue="q")
    await held(s, queue="q", delay=HOUR)
    await lost_twice(s, await held(s, queue="q"))
    await held(s, queue="other")
    await s.sql.execute("update live_job set run_at = now() - interval '1 hour' where id = $1", oldest)
    queue = await s.queues.get_queue(SCOPE, "q")
    depths = {depth.status: depth for depth in queue.depths}
    assert {status: depth.jobs for status, depth in depths.items()} == {
        Status.QUEUED: 3,
        Status.RETRYING: 1,
        Status.RUNNING: 0,
    }
    assert queue.held == (HoldDepth(Hold.HAND, 3, False),)
    age = depths[Status.QUEUED].oldest_age
    assert age is not None
    assert age < timedelta(minutes=1), "what is held back is not late"
    assert depths[Status.RETRYING].oldest_age is None
    metrics = (await Depths(s.catalog, s.catalog_store).read()).held
    assert {(lane.queue, hold): jobs for lane, hold, jobs in metrics} == {
        ("q", Hold.HAND): 3,
        ("other", Hold.HAND): 1,
    }


async def test_counts_of_held_jobs_stop_at_their_bound_and_say_so(s: Stored) -> None:
    await s.queued()
    for _ in range(5):
        await held(s)
    lane = await s.lane()
    depths = await s.catalog_store.waiting_depths([lane.id], per_lane=3)
    assert {(depth.status, depth.hold): (depth.jobs, depth.capped) for depth in depths} == {
        (Status.QUEUED, None): (4, True),
        (None, Hold.HAND): (3, True),
    }
    exact = await s.catalog_store.waiting_depths([lane.id], per_lane=5)
    assert [(depth.jobs, depth.capped) for depth in exact] == [(6, False), (5, False)]


async def test_queues_without_held_jobs_have_no_holds(s: Stored) -> None:
    await s.queued()
    assert (await s.queues.get_queue(SCOPE, "default")).held == ()
    assert (await Depths(s.catalog, s.catalog_store).read()).held == []
