"""The fence: only the session that holds a job's newest lease can settle it, and everybody else is told so."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.lifecycle import Event, Status
from jobqueue_server.store.attempt.attempts import AttemptEnd, Report

from .factories import enqueue, everything, lease, look, until_waiting_for_a_lock
from .stored import SCOPE

WAYS = ["end_plain", "end_succeeded", "end_attempt", "end_and_admit"]


def failures(leases: list[tuple[UUID, int, int]]) -> list[AttemptEnd]:
    return [AttemptEnd(*lease, Event.FAIL) for lease in leases]


async def succeed(s, way, leases):
    """Settles successes in this order, those of one session and attempt that follow each other as a run."""
    outputs = [(*triple, b'{"n":1}') for triple in leases]
    if way == "end_and_admit":
        return await s.attempts.end_and_admit(outputs, 1000)
    if way == "end_succeeded":
        return await s.attempts.end_succeeded(outputs)
    runs = groupby(leases, key=itemgetter(1, 2))
    return await s.attempts.end_plain([([triple[0] for triple in run], *key) for key, run in runs])


async def settle(s, way, leases):
    """Settles by one of the four statements; the ids that counted."""
    if way == "end_attempt":
        rows = await s.attempts.end_attempt(failures(leases))
        return {row["id"] for row in rows}
    _, settled, _ = await succeed(s, way, sorted(leases))
    return {triple[0] for triple in leases} if settled is None else set(settled)


async def snapshot(s, ids):
    return [await everything(s.sql, job_id) for job_id in ids]


@pytest.mark.parametrize("way", WAYS)
async def test_a_batch_ends_whole_and_says_when(s, way):
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 50, session)
    assert await settle(s, way, leases) == {triple[0] for triple in leases}
    assert await s.sql.fetchval("select count(*) from live_job where state = 2") == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", ["earlier attempt", "later attempt", "other session", "unknown session"])
async def test_a_stale_holder_cannot_settle(s, way, wrong):
    job_id, attempt, session_id = await s.running()
    await s.end_attempt(job_id, attempt, session_id, Event.RELEASE)
    attempt, session_id = await s.claim(job_id)
    other, _ = await s.session("another")
    bad = {
        "earlier attempt": (job_id, attempt - 1, session_id),
        "later attempt": (job_id, attempt + 1, session_id),
        "other session": (job_id, attempt, other),
        "unknown session": (job_id, attempt, 1 << 40),
    }[wrong]
    before = await snapshot(s, [job_id])
    assert await settle(s, way, [bad]) == set()
    assert await snapshot(s, [job_id]) == before
    assert await settle(s, way, [(job_id, attempt, session_id)]) == {job_id}


@pytest.mark.parametrize("way", WAYS)
async def test_the_lease_that_was_given_to_another_is_refused_to_the_first(s, way):
    job_id, attempt, first = await s.running()
    await s.end_attempt(job_id, attempt, first, Event.LOST)
    second_attempt, second = await s.claim(job_id, await s.session("another"))
    assert await settle(s, way, [(job_id, attempt, first)]) == set()
    assert await settle(s, way, [(job_id, second_attempt, second)]) == {job_id}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("crossed", ["sessions", "attempts", "both"])
async def test_two_leases_with_their_fences_crossed_are_refused(s, way, crossed):
    """Each id, attempt and session is somebody's: only the triple is wrong."""
    lane, one, two = await s.lane(), await s.session("one"), await s.session("two")
    a, b = await enqueue(s, lane, 2)
    # One attempt more on the first, so that the two differ in it.
    await s.end_attempt(a, *await s.claim(a, one), Event.SNOOZE, after=timedelta())
    await s.claim(b, two)
    await s.claim(a, one)
    right = [(a, 2, one[0]), (b, 1, two[0])]
    wrong = {
        "sessions": [(a, 2, two[0]), (b, 1, one[0])],
        "attempts": [(a, 1, one[0]), (b, 2, two[0])],
        "both": [(a, 1, two[0]), (b, 2, one[0])],
    }[crossed]
    before = await snapshot(s, [a, b])
    assert await settle(s, way, wrong) == set()
    assert await snapshot(s, [a, b]) == before
    assert await settle(s, way, right) == {a, b}


@pytest.mark.parametrize("way", WAYS)
async def test_in_a_mixed_batch_the_good_ones_count_and_the_stale_ones_do_not(s, way):
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 10, session)
    mixed = [(job_id, attempt + index % 2, number) for index, (job_id, attempt, number) in enumerate(leases)]
    good = {triple[0] for triple in mixed[::2]}
    assert await settle(s, way, mixed) == good
    held = await s.sql.fetch("select id from live_job where state = 2")
    assert {row["id"] for row in held} == {triple[0] for triple in mixed[1::2]}


async def test_the_same_settlement_again_changes_nothing(s):
    triple = await s.running()
    assert await s.succeed(*triple, output=b"1")
    before = await snapshot(s, [triple[0]])
    assert not await s.succeed(*triple, output=b"2")
    assert await s.attempts.end_attempt(failures([triple])) == []
    assert await snapshot(s, [triple[0]]) == before


async def test_of_two_settlements_at_once_one_counts(s):
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 200, session)
    succeeded, failed = await asyncio.gather(settle(s, "end_plain", leases), settle(s, "end_attempt", leases))
    assert succeeded | failed == {triple[0] for triple in leases}
    assert not succeeded & failed
    assert await s.sql.fetchval("select count(*) from finished_job") == len(succeeded)
    assert await s.sql.fetchval("select count(*) from attempt") == len(failed)


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
async def test_two_batches_in_opposite_order_lock_in_the_order_of_ids(s, module_dsn, first, second):
    """A third party holds the middle: whoever comes first waits there, and has locked what is smaller only."""
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 9, session)
    other = await asyncpg.connect(module_dsn)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("select from live_job where id = $1 for update", leases[4][0])
        tasks = []
        for way, ordered in ((first, leases), (second, leases[::-1])):
            if way == "end_attempt":
                work = s.attempts.end_attempt(failures(ordered))
            else:
                work = succeed(s, way, ordered)
            tasks.append(asyncio.create_task(work))
            await until_waiting_for_a_lock(s.sql, len(tasks))
        free = await s.sql.fetch("select id from live_job order by id for update skip locked")
        assert [row["id"] for row in free] == [triple[0] for triple in leases[5:]]
        await transaction.commit()
        await asyncio.gather(*tasks)
    finally:
        await other.close()


async def test_outputs_go_to_their_own_jobs(s):
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 5, session)
    outputs = [b"0", None, b'"two"', None, b'{"four":4}']
    await s.attempts.end_succeeded(
        [(*triple, output) for triple, output in zip(leases, outputs, strict=True)]
    )
    stored = await s.sql.fetch("select output, status from finished_job order by id")
    assert [tuple(row) for row in stored] == [(output, Status.SUCCEEDED) for output in outputs]


async def test_a_claim_does_not_bring_back_what_was_settled(s):
    lane, session = await s.lane(), await s.session()
    await settle(s, "end_plain", await lease(s, lane, 3, session))
    assert await s.claims.claim([look(lane)], [session[0]] * 3, dict([session])) == []


async def before(s, job_id, attempt):
    (row,) = await s.attempts.settled_before([(SCOPE, job_id, attempt)])
    return row


async def test_a_success_that_was_applied_is_told_by_the_finished_row(s):
    job_id, attempt, session_id = await s.running()
    await s.succeed(job_id, attempt, session_id)
    row = await before(s, job_id, attempt)
    assert (row["live"], row["finished"], row["status"]) == (False, True, Status.SUCCEEDED)
    assert (row["finished_attempt"], row["finished_session"]) == (attempt, session_id)
    assert row["outcome"] is None


async def test_a_success_that_was_applied_is_still_told_after_a_retry(s):
    job_id, attempt, session_id = await s.running()
    await s.succeed(job_id, attempt, session_id)
    await s.changes.retry(SCOPE, job_id)
    row = await before(s, job_id, attempt)
    assert (row["live"], row["finished"]) == (True, False)
    assert (row["outcome"], row["tried_session"]) == (Event.SUCCEED, session_id)


@pytest.mark.parametrize(
    "event", [Event.FAIL, Event.SNOOZE, Event.RELEASE, Event.CANCELLED, Event.LOST], ids=lambda e: e.name
)
async def test_an_outcome_that_was_applied_is_told_by_the_attempt(s, event):
    job_id, attempt, session_id = await s.running()
    await s.end_attempt(job_id, attempt, session_id, event)
    row = await before(s, job_id, attempt)
    assert (row["outcome"], row["tried_session"]) == (event, session_id)
    assert row["finished"] == (event is Event.CANCELLED)


async def test_an_earlier_attempt_is_told_from_the_present_one(s):
    job_id, attempt, session_id = await s.running()
    await s.end_attempt(job_id, attempt, session_id, Event.FAIL, after=timedelta())
    _, second = await s.claim(job_id)
    row = await before(s, job_id, attempt)
    assert (row["live"], row["outcome"], row["tried_session"]) == (True, Event.FAIL, session_id)
    row = await before(s, job_id, attempt + 1)
    assert (row["live"], row["outcome"], row["tried_session"]) == (True, None, None)
    assert second != session_id


async def test_a_job_that_is_gone_is_told_as_gone(s):
    job_id = await s.succeeded()
    await s.changes.delete(SCOPE, job_id)
    assert await s.attempts.settled_before([(SCOPE, job_id, 1)]) == []


async def test_every_question_about_a_job_that_is_there_has_its_answer(s):
    one, two = await s.succeeded(), s.mint.mint()
    rows = await s.attempts.settled_before([(SCOPE, one, 1), (SCOPE, one, 2), (SCOPE, two, 1)])
    assert {(row["id"], row["attempt"]) for row in rows} == {(one, 1), (one, 2)}


async def test_progress_counts_from_the_holder_alone(s):
    job_id, attempt, session_id = await s.running()
    other, _ = await s.session("another")
    await s.attempts.report_progress([Report(job_id, attempt, other, 0.9, "stolen")])
    await s.attempts.report_progress([Report(job_id, attempt + 1, session_id, 0.9, "stolen")])
    assert (await everything(s.sql, job_id))["job_progress"] == []
    await s.attempts.report_progress([Report(job_id, attempt, session_id, 0.25, "a quarter")])
    await s.attempts.report_progress([Report(job_id, attempt, session_id, 0.5, "half")])
    (said,) = (await everything(s.sql, job_id))["job_progress"]
    assert (said["attempt"], said["fraction"], said["message"]) == (attempt, 0.5, "half")
