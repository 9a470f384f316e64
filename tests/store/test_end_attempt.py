"""Every way out of RUNNING but success: what is kept of the attempt, where the job waits, what each batch may mix."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobqueue_server.lifecycle import EXITS, Event, State, Status
from jobqueue_server.store.attempt.attempts import AttemptEnd

from .factories import everything, lease, look, make_due, pass_deadline
from .stored import SCOPE

UNCHARGED = [event for event, way in EXITS.items() if way.charges is None and Status.RETRYING in way.wanted]


async def test_one_batch_may_mix_every_event(s):
    lane, session = await s.lane(), await s.session()
    events = [event for event in Event if event is not Event.SUCCEED]
    leases = await lease(s, lane, len(events), session)
    for job_id, _, _ in leases:
        await pass_deadline(s.sql, job_id)
    rows = await s.attempts.end_attempt(
        [AttemptEnd(*triple, event) for triple, event in zip(leases, events, strict=True)][::-1]
    )
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(events)
    for (job_id, attempt, session_id), event in zip(leases, events, strict=True):
        row = by_id[job_id]
        assert (row["attempts"], row["session_id"], row["event"]) == (attempt, session_id, event)
        assert row["lane_id"] == lane.id
        stored = await everything(s.sql, job_id)
        ended = bool(stored["finished_job"])
        assert Status(row["status"]).terminal == ended
        assert (row["run_at"] is None) == ended
        if not ended:
            assert stored["live_job"][0]["run_at"] == row["run_at"]


async def test_an_attempt_keeps_its_words(s):
    triple = await s.running()
    await s.end_attempt(
        *triple, Event.FAIL, error_type="ValueError", message="no such file", stack="line 1\nline 2"
    )
    (tried,) = (await everything(s.sql, triple[0]))["attempt"]
    assert (tried["error_type"], tried["message"], tried["stack"]) == (
        "ValueError",
        "no such file",
        "line 1\nline 2",
    )
    assert tried["started_at"] <= tried["ended_at"]


@pytest.mark.parametrize("event", UNCHARGED, ids=lambda event: event.name)
async def test_a_job_that_goes_back_uncharged_is_due_at_once_and_costs_no_try(s, event):
    job_id = await s.queued(max_attempts=1)
    for turn in range(1, 6):
        attempt, session_id = await s.claim(job_id)
        assert attempt == turn, "attempts may pass max_attempts"
        await s.end_attempt(job_id, attempt, session_id, event)
    live = (await everything(s.sql, job_id))["live_job"][0]
    assert (live["failures"], live["losses"], live["state"]) == (0, 0, State.READY)
    assert live["run_at"] == live["changed_at"]


async def test_a_snoozed_job_waits_as_long_as_it_asked(s):
    triple = await s.running()
    await s.end_attempt(*triple, Event.SNOOZE, after=timedelta(minutes=5))
    live = (await everything(s.sql, triple[0]))["live_job"][0]
    assert live["run_at"] - live["changed_at"] == timedelta(minutes=5)
    number, epoch = await s.session()
    assert await s.claims.claim([look(await s.lane())], [number], {number: epoch}) == []
    await make_due(s.sql)
    assert (await s.claim(triple[0]))[0] == 2


async def test_a_first_loss_waits_in_its_line_and_a_second_one_isolated_both_due_at_once(s):
    job_id, attempt, session_id = await s.running()
    await s.end_attempt(job_id, attempt, session_id, Event.LOST, message="the session was lost")
    live = (await everything(s.sql, job_id))["live_job"][0]
    assert (live["state"], live["losses"], live["failures"]) == (State.READY, 1, 0)
    assert live["run_at"] == live["changed_at"]
    await s.end_attempt(job_id, *await s.claim(job_id), Event.LOST, message="the session was lost")
    live = (await everything(s.sql, job_id))["live_job"][0]
    assert (live["state"], live["losses"], live["failures"]) == (State.READY_ISOLATED, 2, 0)
    assert live["run_at"] == live["changed_at"]
    number, epoch = await s.session()
    lane = await s.lane()
    assert await s.claims.claim([look(lane)], [number], {number: epoch}) == [], "not with its neighbours"
    assert len(await s.claims.claim_isolated([lane.id], {number: epoch})) == 1


@pytest.mark.parametrize("event", [Event.FAIL, Event.RELEASE], ids=lambda event: event.name)
async def test_an_isolated_job_stays_isolated(s, event):
    job_id, attempt, session_id = await s.running()
    await s.end_attempt(job_id, attempt, session_id, Event.LOST)
    await s.end_attempt(job_id, *await s.claim(job_id), Event.UNSEEN)
    await s.end_attempt(job_id, *await s.claim(job_id), event, after=timedelta())
    assert (await everything(s.sql, job_id))["live_job"][0]["state"] == State.READY_ISOLATED


async def test_losses_have_a_cap_of_their_own(s):
    """max_attempts of 1 allows no failure more, and says nothing of losses."""
    job_id = await s.queued(max_attempts=1)
    for _ in range(3):
        attempt, session_id = await s.claim(job_id)
        await s.end_attempt(job_id, attempt, session_id, Event.LOST)
    ended = (await everything(s.sql, job_id))["finished_job"][0]
    assert (ended["status"], ended["reason"]) == (Status.FAILED_PERMANENT, "LOST_TOO_OFTEN")
    assert (ended["attempts"], ended["failures"], ended["losses"]) == (3, 0, 3)


async def test_run_at_is_never_stored_in_the_past(s):
    """A worker's `after` below zero would put the job before its neighbours, behind every floor."""
    triple = await s.running()
    await s.end_attempt(*triple, Event.FAIL, after=timedelta())
    live = (await everything(s.sql, triple[0]))["live_job"][0]
    assert live["run_at"] == live["changed_at"]


async def test_the_timeout_counts_from_the_claim(s):
    job_id, _, _ = await s.running(timeout=timedelta(seconds=7))
    live = (await everything(s.sql, job_id))["live_job"][0]
    assert live["deadline"] - live["changed_at"] == timedelta(seconds=7)
    assert await s.sessions.due(0, 10) == []
    await s.sql.execute(
        "update live_job set changed_at = now() - interval '8 s', deadline = now() - interval '1 s'"
    )
    (row,) = await s.sessions.due(0, 10)
    assert (row["id"], row["timed_out"]) == (job_id, True)


async def test_a_cancel_grace_is_due_as_itself_and_not_as_a_timeout(s):
    job_id, _, _ = await s.running(timeout=timedelta(hours=1))
    await s.changes.cancel(SCOPE, job_id)
    await pass_deadline(s.sql, job_id)
    (row,) = await s.sessions.due(0, 10)
    assert (row["id"], row["timed_out"]) == (job_id, False)


async def test_due_leases_come_in_the_order_of_their_deadlines_and_bounded(s):
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 6, session)
    for index, (job_id, _, _) in enumerate(leases):
        await s.sql.execute(
            "update live_job set deadline = now() - $2 * interval '1 s' where id = $1", job_id, index + 1
        )
    rows = await s.sessions.due(0, 4)
    assert [row["id"] for row in rows] == [triple[0] for triple in leases[:1:-1]]


async def test_a_job_that_went_back_can_be_claimed_in_the_same_breath(s):
    triple = await s.running()
    await s.end_attempt(*triple, Event.RELEASE)
    attempt, _ = await s.claim(triple[0])
    assert attempt == triple[1] + 1
