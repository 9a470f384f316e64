"""Every pair of status and event, through real PostgreSQL, compared with the table in lifecycle.py."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from jobqueue_server.errors import JobNotFound, JobNotTerminal, JobTerminal
from jobqueue_server.lifecycle import (
    CANCELLABLE,
    DELETABLE,
    EXITS,
    ISOLATED_FROM,
    RETRYABLE,
    TERMINAL,
    Event,
    Reason,
    State,
    Status,
    status_of,
)
from jobqueue_server.store.attempt.attempts import AttemptEnd

from .factories import everything, look, pass_deadline
from .stored import SCOPE, Stored, stored

# One loop and one database for all pairs: each pair makes jobs of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_LOSSES = 3
NEEDS_DEADLINE = {Event.TIMEOUT, Event.CANCEL_GRACE_ENDED}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def s(module_dsn: str) -> AsyncIterator[Stored]:
    async with stored(module_dsn) as made:
        yield made


@dataclass(frozen=True)
class Past:
    """What a job went through before: counters that stand in its row."""

    failures: int
    losses: int
    max_attempts: int = 3
    unseen: int = 0

    def __str__(self) -> str:
        return f"{self.failures} failures of {self.max_attempts}, {self.losses} losses, {self.unseen} unseen"


FRESH = Past(0, 0)
PASTS = (
    FRESH,
    Past(1, 0),
    Past(2, 0),
    Past(0, 1),
    Past(0, 2),
    Past(2, 2),
    Past(0, 0, max_attempts=1),
    Past(0, 0, unseen=1),
    Past(0, 1, unseen=1),
)


async def waiting(s: Stored, past: Past) -> UUID:
    """A job that waits, first in a line of its own, with this past behind it."""
    job_id = await s.queued(queue=f"q{s.mint.mint().hex}", max_attempts=past.max_attempts)
    for event, times in (
        (Event.FAIL, past.failures),
        (Event.LOST, past.losses),
        (Event.UNSEEN, past.unseen),
    ):
        for _ in range(times):
            attempt, session_id = await s.claim(job_id)
            await s.end_attempt(job_id, attempt, session_id, event, after=timedelta())
    return job_id


async def in_status(s: Stored, status: Status) -> tuple[UUID, int, int]:
    """A job in a status, and its newest lease (attempt, session), which holds only if it runs."""
    queue = f"q{s.mint.mint().hex}"
    if status is Status.QUEUED:
        job_id, attempt, session_id = await s.running(queue=queue)
        await s.end_attempt(job_id, attempt, session_id, Event.RELEASE)
        return job_id, attempt, session_id
    job_id, attempt, session_id = await s.running(queue=queue)
    match status:
        case Status.SUCCEEDED:
            assert await s.succeed(job_id, attempt, session_id)
        case Status.RETRYING:
            await s.end_attempt(job_id, attempt, session_id, Event.FAIL, after=timedelta())
        case Status.FAILED_PERMANENT:
            await s.end_attempt(job_id, attempt, session_id, Event.FAIL, permanent=True)
        case Status.CANCELLED:
            await s.end_attempt(job_id, attempt, session_id, Event.CANCELLED)
    return job_id, attempt, session_id


async def status_in(s: Stored, job_id: UUID) -> Status | None:
    """By the rows themselves, so that the statement that reads jobs proves nothing to itself."""
    rows = await everything(s.sql, job_id)
    assert len(rows["live_job"]) + len(rows["finished_job"]) <= 1, "a job is live or finished, never both"
    if rows["finished_job"]:
        return Status(rows["finished_job"][0]["status"])
    if rows["live_job"]:
        live = rows["live_job"][0]
        return status_of(live["state"], live["failures"], live["losses"])
    return None


async def drive(s: Stored, job_id: UUID, attempt: int, session_id: int, event: Event, **more: Any) -> bool:
    """The event, with this lease as its fence. Whether it counted."""
    if event is Event.SUCCEED:
        return await s.succeed(job_id, attempt, session_id)
    return bool(await s.attempts.end_attempt([AttemptEnd(job_id, attempt, session_id, event, **more)]))


def expected_end(event: Event, past: Past, cancel: bool, permanent: bool) -> Status:
    """The one status of the table's that this job has to get, by the rules of the lifecycle in words."""
    way = EXITS[event]
    if cancel:
        return way.with_cancel
    failures = past.failures + (way.charges == "failures")
    losses = past.losses + (way.charges == "losses")
    if way.wanted == {Status.RETRYING, Status.FAILED_PERMANENT}:
        used_up = (
            permanent or failures >= past.max_attempts if way.charges == "failures" else losses >= MAX_LOSSES
        )
        return Status.FAILED_PERMANENT if used_up else Status.RETRYING
    if way.wanted == {Status.QUEUED, Status.RETRYING}:
        return Status.RETRYING if failures + losses > 0 else Status.QUEUED
    (only,) = way.wanted
    return only


def expected_reason(event: Event, end: Status, cancel: bool, permanent: bool) -> str | None:
    if end is Status.CANCELLED:
        if event is Event.CANCEL_GRACE_ENDED:
            return Reason.CANCEL_GRACE_ENDED
        return Reason.CANCELLED_BY_CALLER if cancel else Reason.CANCELLED_BY_WORKER
    if end is Status.FAILED_PERMANENT:
        if event is Event.BODY_MISSING:
            return Reason.BODY_MISSING
        if event is Event.LOST:
            return Reason.LOST_TOO_OFTEN
        return Reason.NOT_RETRYABLE if permanent else Reason.ATTEMPTS_EXHAUSTED
    return None


EXPECTED_TRIED = {
    Event.FAIL: (Event.FAIL, Reason.HANDLER_FAILED),
    Event.TIMEOUT: (Event.TIMEOUT, Reason.TIMED_OUT),
    Event.LOST: (Event.LOST, Reason.SESSION_LOST),
    Event.BODY_MISSING: (Event.FAIL, Reason.BODY_MISSING),
    Event.CANCEL_GRACE_ENDED: (Event.CANCELLED, None),
    Event.UNSEEN: (Event.UNDELIVERED, None),
}


@pytest.mark.cases(108)
@pytest.mark.parametrize("permanent", [False, True], ids=["retryable", "permanent"])
@pytest.mark.parametrize("cancel", [False, True], ids=["", "cancel requested"])
@pytest.mark.parametrize("past", PASTS, ids=str)
@pytest.mark.parametrize("event", EXITS, ids=lambda event: event.name)
async def test_a_running_job_leaves_as_the_table_says(s, event, past, cancel, permanent):
    job_id = await waiting(s, past)
    attempt, session_id = await s.claim(job_id)
    assert attempt == past.failures + past.losses + past.unseen + 1
    if cancel:
        await s.changes.cancel(SCOPE, job_id)
    if event in NEEDS_DEADLINE:
        await pass_deadline(s.sql, job_id)
    before = (await everything(s.sql, job_id))["live_job"][0]
    (now,) = await s.sql.fetchrow("select now()")
    assert await drive(s, job_id, attempt, session_id, event, permanent=permanent, message="words")

    rows = await everything(s.sql, job_id)
    end = expected_end(event, past, cancel, permanent)
    assert end in EXITS[event].wanted | {EXITS[event].with_cancel}
    assert await status_in(s, job_id) is end
    (row,) = rows["finished_job"] or rows["live_job"]
    assert row["attempts"] == attempt, "what counts attempts is the claim alone"
    charges = EXITS[event].charges
    assert row["failures"] == past.failures + (charges == "failures")
    assert row["losses"] == past.losses + (charges == "losses")
    if end.terminal:
        assert row["reason"] == expected_reason(event, end, cancel, permanent)
        assert (row["started_at"], row["session_id"]) == (before["changed_at"], session_id)
        assert row["finished_at"] >= now
    else:
        unseen = past.unseen + (charges == "unseen")
        assert row["unseen"] == unseen
        isolated = row["losses"] + unseen >= ISOLATED_FROM
        assert row["state"] == (State.READY_ISOLATED if isolated else State.READY)
        assert (row["session_id"], row["deadline"], row["cancel_requested_at"]) == (None, None, None)
        backs_off = charges == "failures"
        assert (row["run_at"] > row["changed_at"]) == backs_off, "only a failure waits"
        assert row["changed_at"] >= now
    tried = [row for row in rows["attempt"] if row["attempt"] == attempt]
    if event is Event.SUCCEED:
        assert not tried
    else:
        assert [(row["outcome"], row["reason"]) for row in tried] == [
            EXPECTED_TRIED.get(event, (event, None))
        ]
        assert (tried[0]["message"], tried[0]["session_id"]) == ("words", session_id)
        assert tried[0]["started_at"] == before["changed_at"]
    assert len(rows["attempt"]) == past.failures + past.losses + past.unseen + len(tried)


@pytest.mark.parametrize("event", Event, ids=lambda event: event.name)
@pytest.mark.parametrize(
    "status", [status for status in Status if status is not Status.RUNNING], ids=lambda status: status.name
)
async def test_a_job_that_does_not_run_leaves_nothing(s, status, event):
    """The newest lease it had is the most dangerous fence: everything in it matches but that it ended."""
    job_id, attempt, session_id = await in_status(s, status)
    before = await everything(s.sql, job_id)
    assert await status_in(s, job_id) is status
    assert not await drive(s, job_id, attempt, session_id, event, permanent=True, message="late")
    assert await everything(s.sql, job_id) == before


@pytest.mark.parametrize("event", Event, ids=lambda event: event.name)
async def test_a_job_that_never_was_leaves_nothing(s, event):
    job_id = s.mint.mint()
    number, _ = await s.session()
    assert not await drive(s, job_id, 1, number, event)
    assert not any((await everything(s.sql, job_id)).values())


@pytest.mark.parametrize("event", sorted(NEEDS_DEADLINE), ids=lambda event: event.name)
async def test_what_ends_at_a_deadline_waits_for_it(s, event):
    for deadline in (None, timedelta(hours=1)):
        job_id, attempt, session_id = await s.running(queue=f"q{s.mint.mint().hex}", timeout=deadline)
        before = await everything(s.sql, job_id)
        assert not await drive(s, job_id, attempt, session_id, event)
        assert await everything(s.sql, job_id) == before


@pytest.mark.parametrize("past", [FRESH, Past(1, 0), Past(0, 1)], ids=str)
async def test_a_claim_takes_what_waits_and_counts_the_attempt(s, past):
    job_id = await waiting(s, past)
    status = Status.RETRYING if past != FRESH else Status.QUEUED
    assert await status_in(s, job_id) is status
    attempt, session_id = await s.claim(job_id)
    assert await status_in(s, job_id) is Status.RUNNING
    assert attempt == past.failures + past.losses + past.unseen + 1
    live = (await everything(s.sql, job_id))["live_job"][0]
    assert (live["session_id"], live["failures"], live["losses"]) == (session_id, past.failures, past.losses)


@pytest.mark.parametrize(
    "status", [Status.RUNNING, *sorted(TERMINAL)], ids=lambda status: Status(status).name
)
async def test_a_claim_takes_nothing_that_does_not_wait(s, status):
    job_id, _, _ = await in_status(s, status)
    lane_id = (await everything(s.sql, job_id))["job"][0]["lane_id"]
    lane = s.catalog.lane_by_id(lane_id)
    before = await everything(s.sql, job_id)
    number, epoch = await s.session()
    assert await s.claims.claim([look(lane)], [number], {number: epoch}) == []
    assert await s.claims.claim_isolated([lane_id], {number: epoch}) == []
    assert await everything(s.sql, job_id) == before


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
async def test_what_people_may_ask_of_a_job(s, status, verb):
    job_id, attempt, session_id = await in_status(s, status)
    before = await everything(s.sql, job_id)
    allowed, refusal = {
        "cancel": (CANCELLABLE, JobTerminal),
        "retry": (RETRYABLE, JobNotTerminal),
        "delete": (DELETABLE, JobNotTerminal),
    }[verb]
    if status not in allowed:
        with pytest.raises(refusal):
            await getattr(s.changes, verb)(SCOPE, job_id)
        assert await everything(s.sql, job_id) == before
        return
    await getattr(s.changes, verb)(SCOPE, job_id)
    after = await everything(s.sql, job_id)
    if verb == "delete":
        assert not any(after.values())
    elif verb == "retry":
        (live,) = after["live_job"]
        assert await status_in(s, job_id) is Status.QUEUED
        assert live["attempts"] == attempt
        assert (live["failures"], live["losses"], live["session_id"]) == (0, 0, None)
        assert (await s.claim(job_id))[0] == attempt + 1
    elif status is Status.RUNNING:
        assert await status_in(s, job_id) is Status.RUNNING
        assert after["live_job"][0]["cancel_requested_at"] is not None
        assert await s.succeed(job_id, attempt, session_id), "its worker may still succeed"
    else:
        assert await status_in(s, job_id) is Status.CANCELLED
        assert after["finished_job"][0]["reason"] == Reason.CANCELLED_BY_CALLER
        assert after["finished_job"][0]["attempts"] == before["live_job"][0]["attempts"]
    assert after["attempt"][: len(before["attempt"])] == before["attempt"] or verb == "delete"


@pytest.mark.parametrize("verb", ["cancel", "retry", "delete"])
async def test_nothing_can_be_asked_of_a_job_that_never_was(s, verb):
    with pytest.raises(JobNotFound):
        await getattr(s.changes, verb)(SCOPE, s.mint.mint())


async def test_attempts_count_every_claim_and_never_go_down(s):
    """Through all that puts a job back: the number of a lease is never given twice."""
    job_id = await s.queued(queue="round and round", max_attempts=100)
    events = [Event.SNOOZE, Event.FAIL, Event.RELEASE, Event.REVOKE, Event.UNDELIVERED, Event.LOST]
    seen = []
    for event in itertools.chain(events, [Event.SUCCEED], events, [Event.CANCELLED], events):
        attempt, session_id = await s.claim(job_id)
        seen.append(attempt)
        assert await drive(s, job_id, attempt, session_id, event, after=timedelta())
        if (status := await status_in(s, job_id)) is not None and status.terminal:
            await s.changes.retry(SCOPE, job_id)
    assert seen == list(range(1, len(seen) + 1))


async def test_the_table_names_every_event_and_every_end():
    assert set(EXITS) == set(Event)
    assert {status for way in EXITS.values() for status in way.wanted} == set(Status) - {Status.RUNNING}
    assert set(Status) == CANCELLABLE | TERMINAL
    assert not CANCELLABLE & TERMINAL
