"""What becomes of ticks: overlap, catch-up, failures in a row. Without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.core.schedule.decisions import (
    MOST_FIRED,
    MOST_OPEN,
    MOST_TICKS,
    NEXT_NTH,
    Decision,
    decide,
    decide_by_hand,
    due_ticks,
    kept_open,
    leave_out,
    skipped_where_refused,
)
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import NewJob
from jobqueue_server.store.schedule.values import CatchUp, Outcome, Overlap, Policy, Run, Schedule, Spec

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JOB, OTHER = UUID(int=1), UUID(int=2)


def schedule(policy: Policy | None = None, every: timedelta = MINUTE, **fields: Any) -> Schedule:
    """One that is due each minute, and now."""
    made = Schedule(1, 1, "s", Spec(every=every), NewJob("work", b"1"), policy or Policy(), next_at=NOW)
    return replace(made, **fields)


def decided(given: Schedule, now: datetime = NOW, jobs: dict[UUID, Status | None] | None = None) -> Decision:
    due = due_ticks(given.spec, given.next_at, given.last_tick, now, given.policy.catch_up_window)
    return decide(given, due, dict.fromkeys(given.open) if jobs is None else jobs, now)


def fired(decision: Decision) -> list[datetime]:
    return [tick for tick, _ in decision.fires]


def outcomes(decision: Decision) -> list[tuple[datetime, Outcome, int]]:
    return [(run.tick, run.outcome, run.ticks) for run in decision.runs]


def test_a_tick_fires_and_the_next_one_is_told() -> None:
    decision = decided(schedule())
    assert fired(decision) == [NOW]
    assert decision.runs == []
    assert (decision.schedule.next_at, decision.schedule.last_tick) == (NOW + MINUTE, NOW)


def test_what_is_decided_leaves_the_schedule_as_it_was_read() -> None:
    given = schedule(open=(JOB,), skipped_in_a_row=2, failures_in_a_row=1)
    before = given.copied()
    decided(given, jobs={})
    decide_by_hand(given, [NOW], {}, None)
    due = due_ticks(given.spec, given.next_at, given.last_tick, NOW, given.policy.catch_up_window)
    leave_out(given, due, NOW, "why")
    assert given == before


def test_what_is_not_due_is_left_alone() -> None:
    decision = decided(schedule(), NOW - timedelta(microseconds=1))
    assert not decision.fires
    assert decision.schedule == schedule()


def test_a_tick_that_was_decided_is_not_decided_again() -> None:
    """As after the database's clock was set back."""
    decision = decided(schedule(last_tick=NOW), NOW + timedelta(seconds=1))
    assert not decision.fires
    assert decision.schedule.next_at == NOW + MINUTE


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.ALLOW])
def test_a_tick_whose_job_is_refused_has_no_job_that_a_later_tick_meets(overlap: Overlap) -> None:
    given = schedule(Policy(overlap), timedelta(seconds=1))
    now = NOW + timedelta(seconds=2)
    due = due_ticks(given.spec, given.next_at, None, now, given.policy.catch_up_window)
    decision = decide(given, due, {}, now, refused=True)
    assert fired(decision) == [NOW, NOW + timedelta(seconds=1), now]
    assert not decision.runs
    assert decision.schedule.buffered is None
    by_hand = decide_by_hand(given, [NOW, now], {}, None, refused=True)
    assert fired(by_hand) == [NOW, now]
    met = decide(replace(given, open=(JOB,)), due, {JOB: None}, now, refused=True)
    assert len(fired(met)) == (3 if overlap is Overlap.ALLOW else 0)


def test_ticks_that_were_refused_since_the_last_one_that_fired_are_counted() -> None:
    decision = Decision(schedule(), skipped_before=7)
    ticks = [NOW + MINUTE * number for number in range(5)]
    runs = [
        Run(ticks[0], Outcome.SKIPPED_CATCH_UP, ticks=4),
        Run(ticks[1], Outcome.REFUSED),
        Run(ticks[2], Outcome.BUFFERED),
    ]
    assert skipped_where_refused(decision, runs) == 12
    runs += [Run(ticks[3], Outcome.FIRED, job_id=JOB), Run(ticks[4], Outcome.REFUSED)]
    assert skipped_where_refused(decision, runs) == 1
    assert skipped_where_refused(decision, [*runs, Run(ticks[4], Outcome.REFUSED, nth=1)]) == 1


# ---- overlap


def test_buffer_one_fires_never_beside_a_job_and_keeps_the_newest_tick() -> None:
    held = schedule(open=(JOB,))
    first = decided(held)
    assert not first.fires
    assert outcomes(first) == [(NOW, Outcome.BUFFERED, 1)]
    assert first.schedule.buffered == NOW
    second = decided(first.schedule, NOW + MINUTE)
    assert not second.fires
    assert outcomes(second) == [
        (NOW, Outcome.REPLACED_IN_BUFFER, 1),
        (NOW + MINUTE, Outcome.BUFFERED, 1),
    ]
    assert second.schedule.skipped_in_a_row == 1
    third = decided(second.schedule, NOW + MINUTE, {JOB: Status.SUCCEEDED})
    assert fired(third) == [NOW + MINUTE]
    assert (third.schedule.buffered, third.schedule.skipped_in_a_row) == (None, 0)
    assert third.schedule.open == ()


def test_buffer_one_lets_the_tick_that_waits_go_first() -> None:
    waiting = schedule(open=(JOB,), buffered=NOW - MINUTE)
    decision = decided(waiting, NOW, {JOB: Status.CANCELLED})
    assert fired(decision) == [NOW - MINUTE]
    assert outcomes(decision) == [(NOW, Outcome.BUFFERED, 1)]


def test_of_ticks_that_come_together_the_last_one_waits() -> None:
    decision = decided(schedule(every=timedelta(seconds=1), next_at=NOW - timedelta(seconds=3)))
    assert fired(decision) == [NOW - timedelta(seconds=3)]
    assert [(run.tick, run.outcome) for run in decision.runs] == [
        (NOW - timedelta(seconds=2), Outcome.REPLACED_IN_BUFFER),
        (NOW - timedelta(seconds=1), Outcome.REPLACED_IN_BUFFER),
        (NOW, Outcome.BUFFERED),
    ]


def test_skip_leaves_out_each_tick_beside_a_job() -> None:
    given = schedule(Policy(Overlap.SKIP), open=(JOB, OTHER), skipped_in_a_row=3)
    decision = decided(given, NOW, {OTHER: None})
    assert not decision.fires
    assert outcomes(decision) == [(NOW, Outcome.SKIPPED_OVERLAP, 1)]
    assert str(OTHER) in decision.runs[0].note
    assert (decision.schedule.open, decision.schedule.skipped_in_a_row) == ((OTHER,), 4)


def test_allow_fires_beside_a_job() -> None:
    decision = decided(schedule(Policy(Overlap.ALLOW), open=(JOB,), skipped_in_a_row=3))
    assert fired(decision) == [NOW]
    assert (decision.schedule.open, decision.schedule.skipped_in_a_row) == ((JOB,), 0)


def test_a_job_that_waits_for_a_retry_has_not_ended_and_one_that_is_gone_has() -> None:
    assert not decided(schedule(Policy(Overlap.SKIP), open=(JOB,)), NOW, {JOB: None}).fires
    assert decided(schedule(Policy(Overlap.SKIP), open=(JOB,)), NOW, {}).fires


# ---- what was missed


def away(policy: Policy, minutes: int = 180, **fields: Any) -> tuple[Decision, datetime]:
    """After so many minutes in which nothing could fire."""
    now = NOW + minutes * MINUTE + timedelta(seconds=30)
    return decided(schedule(policy, **fields), now), now


def test_latest_fires_the_newest_and_says_what_was_left_out() -> None:
    decision, _ = away(Policy())
    assert fired(decision) == [NOW + 180 * MINUTE]
    assert outcomes(decision) == [
        (NOW + 120 * MINUTE, Outcome.SKIPPED_CATCH_UP, 121),
        (NOW + 179 * MINUTE, Outcome.SKIPPED_CATCH_UP, 59),
    ]
    assert "catch-up window of 3600 s" in decision.runs[0].note
    assert decision.schedule.next_at == NOW + 181 * MINUTE
    assert decision.schedule.last_tick == NOW + 180 * MINUTE


def test_latest_gives_way_to_a_tick_that_was_not_missed() -> None:
    now = NOW + 5 * MINUTE + timedelta(seconds=9)
    decision = decided(schedule(), now)
    assert fired(decision) == [NOW + 5 * MINUTE]
    assert outcomes(decision) == [(NOW + 4 * MINUTE, Outcome.SKIPPED_CATCH_UP, 5)]


def test_a_tick_that_is_a_little_late_was_not_missed() -> None:
    decision = decided(
        schedule(Policy(Overlap.ALLOW, timedelta(), CatchUp.NONE), timedelta(seconds=1)),
        NOW + timedelta(seconds=5),
    )
    assert len(fired(decision)) == 6
    assert not decision.runs


def test_all_fires_each_of_them_in_rounds() -> None:
    policy = Policy(Overlap.ALLOW, timedelta(hours=3), CatchUp.ALL)
    first, now = away(policy, 150)
    assert fired(first) == [NOW + each * MINUTE for each in range(MOST_FIRED)]
    assert first.schedule.next_at == NOW + MOST_FIRED * MINUTE
    second = decided(first.schedule, now)
    assert fired(second) == [NOW + each * MINUTE for each in range(MOST_FIRED, 151)]
    assert not first.runs
    assert not second.runs


def test_none_fires_none_of_them() -> None:
    decision, _ = away(Policy(catch_up=CatchUp.NONE))
    assert not decision.fires
    assert sum(ticks for _, _, ticks in outcomes(decision)) == 181
    assert decision.schedule.skipped_in_a_row == 181


def test_a_window_of_nothing_leaves_out_all_that_was_missed() -> None:
    decision, _ = away(Policy(catch_up_window=timedelta()))
    assert not decision.fires
    assert outcomes(decision) == [(NOW + 180 * MINUTE, Outcome.SKIPPED_CATCH_UP, 181)]


def test_a_long_absence_is_not_counted_tick_by_tick() -> None:
    now = NOW + timedelta(days=30)
    decision = decided(schedule(Policy(Overlap.ALLOW), timedelta(seconds=1)), now)
    assert decision.runs[0].ticks == MOST_TICKS
    assert "more than are counted" in decision.runs[0].note
    # The window is walked through in rounds, and the last tick of it fires.
    rounds = 1
    while not decision.fires:
        decision = decided(decision.schedule, now)
        rounds += 1
    assert fired(decision)[-1] == now
    assert 3 <= rounds <= 6


# ---- failures in a row


def test_after_so_many_failures_in_a_row_it_is_paused() -> None:
    given = schedule(Policy(Overlap.ALLOW, pause_after_failures=2), open=(JOB, OTHER))
    decision = decided(given, NOW, {JOB: Status.FAILED_PERMANENT, OTHER: Status.FAILED_PERMANENT})
    assert not decision.fires
    assert decision.paused_for == "2 of its jobs in a row have failed"
    assert outcomes(decision) == [(NOW, Outcome.SKIPPED_PAUSED_BY_FAILURES, 1)]
    assert decision.schedule.failures_in_a_row == 2


def test_a_success_begins_the_count_anew_and_a_cancel_does_not_count() -> None:
    given = schedule(Policy(Overlap.ALLOW, pause_after_failures=2), open=(JOB, OTHER), failures_in_a_row=1)
    decision = decided(given, NOW, {JOB: Status.SUCCEEDED, OTHER: Status.FAILED_PERMANENT})
    assert fired(decision) == [NOW]
    assert decision.schedule.failures_in_a_row == 1
    decision = decided(given, NOW, {JOB: Status.CANCELLED, OTHER: None})
    assert decision.schedule.failures_in_a_row == 1


def test_failures_are_not_counted_where_nobody_asked() -> None:
    decision = decided(schedule(open=(JOB,)), NOW, {JOB: Status.FAILED_PERMANENT})
    assert decision.schedule.failures_in_a_row == 0


# ---- by hand


def test_by_hand_the_overlap_policy_holds_unless_another_is_asked_for() -> None:
    given = schedule(open=(JOB,), next_at=NOW + MINUTE)
    as_it_is = decide_by_hand(given, [NOW], {JOB: None}, None)
    assert outcomes(as_it_is) == [(NOW, Outcome.BUFFERED, 1)]
    assert (as_it_is.schedule.buffered, as_it_is.schedule.buffered_nth) == (NOW, NEXT_NTH)
    beside = decide_by_hand(given, [NOW], {JOB: None}, Overlap.ALLOW)
    assert beside.fires == [(NOW, NEXT_NTH)]
    assert beside.schedule.next_at == NOW + MINUTE
    assert beside.schedule.last_tick is None


def test_by_hand_a_schedule_that_failed_too_often_fires() -> None:
    given = schedule(Policy(pause_after_failures=1), failures_in_a_row=5, paused=True)
    decision = decide_by_hand(given, [NOW], {}, None)
    assert decision.fires == [(NOW, NEXT_NTH)]
    assert decision.paused_for is None


# ---- what is not decided tick by tick


def test_a_schedule_that_failed_too_often_is_paused_and_one_run_stands_for_all_that_was_due() -> None:
    """With ALL the first hundred of them alone were written down, and it never came to the others."""
    policy = Policy(overlap=Overlap.ALLOW, catch_up=CatchUp.ALL, pause_after_failures=1)
    given = schedule(policy, timedelta(seconds=1), next_at=NOW - timedelta(seconds=299), open=(JOB,))
    decision = decided(given, NOW, {JOB: Status.FAILED_PERMANENT})
    assert not decision.fires
    assert outcomes(decision) == [(NOW, Outcome.SKIPPED_PAUSED_BY_FAILURES, 300)]
    assert decision.schedule.last_tick == NOW


@pytest.mark.parametrize(("missed", "counted"), [(5, 5), (59, 59), (90, 90), (5000, 2000)])
def test_what_is_left_out_together_is_one_run_with_its_number(missed: int, counted: int) -> None:
    given = schedule(Policy(), next_at=NOW - (missed - 1) * MINUTE, skipped_in_a_row=1)
    due = due_ticks(given.spec, given.next_at, None, NOW, timedelta(hours=40))
    decision = leave_out(given, due, NOW, "so")
    assert not decision.fires
    (run,) = decision.runs
    assert (run.ticks, run.outcome) == (min(counted, missed), Outcome.SKIPPED_CATCH_UP)
    assert run.note.startswith("so; there were more") == (missed > counted)
    assert (decision.schedule.next_at, decision.schedule.skipped_in_a_row) == (NOW + MINUTE, 1 + counted)


def test_where_nothing_is_due_nothing_is_left_out() -> None:
    due = due_ticks(schedule().spec, NOW + MINUTE, None, NOW, timedelta())
    assert leave_out(schedule(), due, NOW, "so").runs == []


def test_of_many_open_jobs_the_oldest_and_the_newest_are_known() -> None:
    jobs = [UUID(int=number) for number in range(300)]
    assert kept_open(jobs[:MOST_OPEN]) == tuple(jobs[:MOST_OPEN])
    assert kept_open(jobs) == (*jobs[:50], *jobs[-50:])
