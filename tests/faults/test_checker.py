"""The checker itself, on bad histories made by hand: each must be found, by its rule and by no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.lifecycle import Status

from .checker import check
from .history import History, StoredAttempt, StoredJob, StoredSession
from .journal import Event

pytestmark = pytest.mark.unit

A, B = "worker-a", "worker-b"


def said(at: float, who: str, what: str, **more: Any) -> Event:
    return Event(at, who, what, more)


def produced(id: str, token: str, at: float = 0, code: str = "OK") -> list[Event]:
    answer = {"id": id} if code == "OK" else {}
    return [
        said(at, "producer", "enqueuing", token=token),
        said(at + 0.1, "producer", "enqueued", token=token, code=code, **answer),
    ]


def opened(who: str, session: int, at: float = 0.2, slots: int = 1) -> list[Event]:
    return [
        said(at, who, "capacity", slots=slots),
        said(at, who, "welcome", session=session, ttl=5.0, kept=[], revoked=[]),
    ]


def ran(
    who: str,
    session: int,
    id: str,
    token: str,
    *,
    attempt: int = 1,
    at: float = 1,
    outcome: str = "success",
    verdict: str = "APPLIED",
    **answer: Any,
) -> list[Event]:
    lease = {"session": session, "id": id, "attempt": attempt}
    return [
        said(at, who, "delivered", **lease, token=token),
        said(at + 0.1, who, "started", id=id, attempt=attempt, kind="work"),
        said(at + 0.5, who, "ended", id=id, attempt=attempt, kind="work", how="returned"),
        said(at + 0.6, who, "settling", **lease, outcome=outcome),
        said(at + 0.7, who, "settled", **lease, outcome=outcome, verdict=verdict, **answer),
    ]


def done(id: str = "j1", token: str = "t1", attempts: int = 1, session: int = 1, **more: Any) -> StoredJob:
    fields = {"started_at": float(attempts), "finished_at": attempts + 0.65, **more}
    return StoredJob(id, token, Status.SUCCEEDED, attempts, session, **fields)


def history(
    events: list[Event], *jobs: StoredJob, attempts: Any = (), sessions: Any = (), **more: Any
) -> History:
    return History(
        events=events,
        jobs={job.id: job for job in jobs},
        attempts={(row.id, row.attempt): row for row in attempts},
        sessions={row.id: row for row in sessions or [StoredSession(1, 5.0), StoredSession(2, 5.0)]},
        **more,
    )


GOOD = [*opened(A, 1), *opened(B, 2), *produced("j1", "t1"), *ran(A, 1, "j1", "t1")]


def rules(broken: History) -> set[str]:
    """The rules that found something."""
    return {violation.rule for violation in check(broken)}


def test_a_good_history_breaks_no_rule():
    assert check(history(GOOD, done())) == []


def test_a_failure_and_the_attempt_after_its_run_at_break_no_rule():
    events = [
        *opened(A, 1),
        *opened(B, 2),
        *produced("j1", "t1"),
        *ran(A, 1, "j1", "t1", outcome="failure", run_at=3.0),
        *ran(B, 2, "j1", "t1", attempt=2, at=3.1),
    ]
    row = StoredAttempt("j1", 1, 1, Exit.FAIL, 1.0, 1.65)
    stored = done(attempts=2, session=2, started_at=3.05)
    assert check(history(events, stored, attempts=[row])) == []
    early = replace(stored, started_at=2.9)
    assert rules(history(events, early, attempts=[row])) == {"early redelivery"}


def test_an_acknowledged_job_that_is_not_stored_is_lost():
    assert rules(history(produced("j1", "t1"))) == {"lost"}


def test_a_job_that_never_ends_is_lost_where_the_case_waited_for_all():
    waiting = StoredJob("j1", "t1", Status.QUEUED, 0)
    assert rules(history(produced("j1", "t1"), waiting)) == {"lost"}
    assert check(history(produced("j1", "t1"), waiting, all_over=False)) == []


def test_a_job_that_nobody_enqueued_is_unexpected():
    assert rules(history(GOOD, done(), done("j2", "forged"))) == {"unexpected"}


def test_two_jobs_of_one_call_are_unexpected():
    assert rules(history(GOOD, done(), done("j2", "t1"))) == {"unexpected"}


def test_a_job_whose_enqueue_was_refused_is_unexpected_and_one_whose_answer_was_lost_is_not():
    waiting = StoredJob("j2", "t2", Status.QUEUED, 0)
    refused = [*GOOD, *produced("j2", "t2", code="INVALID_ARGUMENT")]
    assert rules(history(refused, done(), waiting, all_over=False)) == {"unexpected"}
    unknown = [*GOOD, *produced("j2", "t2", code="UNAVAILABLE")]
    assert check(history(unknown, done(), waiting, all_over=False)) == []


def test_a_delivery_with_the_payload_of_another_job_is_unexpected():
    events = [*opened(A, 1), *produced("j1", "t1"), *ran(A, 1, "j1", "t2")]
    assert rules(history(events, done())) == {"unexpected"}


def test_a_delivery_of_a_job_that_is_not_stored_is_unexpected():
    stray = said(2, A, "delivered", session=1, id="j9", attempt=1, token="t9")
    assert rules(history([*GOOD, stray], done())) == {"unexpected"}


def test_one_attempt_in_two_hands_is_an_overlap():
    second = said(1.2, B, "delivered", session=2, id="j1", attempt=1, token="t1")
    assert rules(history([*GOOD, second], done())) == {"overlapping leases"}


def test_an_attempt_that_begins_before_the_end_of_the_one_before_is_an_overlap():
    row = StoredAttempt("j1", 1, 1, Exit.FAIL, 1.0, 1.65)
    events = [
        *opened(A, 1),
        *opened(B, 2),
        *produced("j1", "t1"),
        *ran(A, 1, "j1", "t1", outcome="failure"),
        *ran(B, 2, "j1", "t1", attempt=2, at=2),
    ]
    stored = done(attempts=2, session=2, started_at=1.2)
    assert rules(history(events, stored, attempts=[row])) == {"overlapping leases"}


def test_a_success_that_is_taken_after_a_newer_lease_was_given_is_stale():
    lease = {"session": 1, "id": "j1", "attempt": 1}
    events = [
        *opened(A, 1),
        *opened(B, 2),
        *produced("j1", "t1"),
        said(1, A, "delivered", **lease, token="t1"),
        said(7, B, "delivered", session=2, id="j1", attempt=2, token="t1"),
        said(8, A, "settling", **lease, outcome="success"),
        said(8.1, A, "settled", **lease, outcome="success", verdict="APPLIED"),
    ]
    row = StoredAttempt("j1", 1, 1, Exit.LOST, 1.0, 6.5)
    stored = done(attempts=2, session=2, started_at=6.9)
    broken = history(events, stored, attempts=[row], explained=frozenset({Exit.LOST}))
    assert rules(broken) == {"stale settlement accepted"}


def test_a_settlement_that_was_applied_and_is_not_what_is_stored_is_found():
    assert rules(history(GOOD, replace(done(), session=2))) == {"stale settlement accepted"}
    assert rules(history(GOOD, replace(done(), status=Status.CANCELLED))) == {"stale settlement accepted"}
    failed = [*opened(A, 1), *produced("j1", "t1"), *ran(A, 1, "j1", "t1", outcome="failure")]
    row = StoredAttempt("j1", 1, 1, Exit.SNOOZE, 1.0, 1.65)
    stored = StoredJob("j1", "t1", Status.FAILED_PERMANENT, 1, 1)
    assert rules(history(failed, stored, attempts=[row])) == {"stale settlement accepted"}


def test_one_lease_that_was_settled_in_two_ways_is_found():
    lease = {"session": 1, "id": "j1", "attempt": 1}
    events = [
        *GOOD,
        said(3, A, "settling", **lease, outcome="failure"),
        said(3.1, A, "settled", **lease, outcome="failure", verdict="ALREADY_APPLIED"),
    ]
    assert rules(history(events, done())) == {"stale settlement accepted"}


def test_a_session_that_ends_before_its_ttl_is_found_and_one_that_drains_is_not():
    beats = [
        *opened(A, 1),
        said(1, A, "beat", session=1, seq=1),
        said(1.1, A, "pong", session=1, seq=1),
        said(3, A, "beat", session=1, seq=2),
    ]
    assert rules(history(beats, sessions=[StoredSession(1, 5.0, 5.9)])) == {"early redelivery"}
    # The second heartbeat was not answered: nobody knows whether it was heard.
    assert check(history(beats, sessions=[StoredSession(1, 5.0, 6.1)])) == []
    drained = [*beats, said(4, A, "drain", session=1)]
    assert check(history(drained, sessions=[StoredSession(1, 5.0, 4.1)])) == []


def test_an_end_that_changes_is_found_unless_a_retry_was_asked_for():
    ended = said(2, "case", "terminal", id="j1", last=[3, None, 1, 1.65])
    cancelled = said(3, "case", "terminal", id="j1", last=[6, "CANCELLED_BY_CALLER", 1, 2.9])
    stored = replace(done(), status=Status.CANCELLED, reason="CANCELLED_BY_CALLER", finished_at=2.9)
    flipped = [*opened(A, 1), *produced("j1", "t1"), ended, cancelled]
    assert rules(history(flipped, stored)) == {"terminal changed"}
    retried = [*flipped, said(2.5, "case", "retry_asked", id="j1")]
    assert check(history(retried, stored)) == []


def test_an_end_that_vanishes_and_a_delivery_after_it_are_found():
    ended = said(2, "case", "terminal", id="j1", last=[3, None, 1, 1.65])
    waiting = StoredJob("j1", "t1", Status.QUEUED, 1)
    events = [*opened(A, 1), *produced("j1", "t1"), ended]
    assert rules(history(events, waiting, all_over=False)) == {"terminal changed"}
    again = [
        *events,
        said(3, B, "delivered", session=2, id="j1", attempt=1, token="t1"),
        *opened(B, 2, at=2.5),
    ]
    assert "terminal changed" in rules(history(again, done()))


def test_an_attempt_without_a_reason_is_a_duplicate():
    events = [*opened(A, 1), *opened(B, 2), *produced("j1", "t1"), *ran(B, 2, "j1", "t1", attempt=2, at=2)]
    assert rules(history(events, done(attempts=2, session=2))) == {"unexplained duplicate"}


def test_a_lost_worker_explains_a_duplicate_only_where_one_was_lost():
    events = [*opened(B, 2), *produced("j1", "t1"), *ran(B, 2, "j1", "t1", attempt=2, at=9)]
    row = StoredAttempt("j1", 1, 1, Exit.LOST, 1.0, 8.0)
    stored = done(attempts=2, session=2, started_at=8.9)
    assert rules(history(events, stored, attempts=[row])) == {"unexplained duplicate"}
    assert check(history(events, stored, attempts=[row], explained=frozenset({Exit.LOST}))) == []


def test_a_handler_that_starts_twice_or_was_called_undelivered_is_a_duplicate():
    twice = [*GOOD, said(2, A, "started", id="j1", attempt=1, kind="work")]
    assert rules(history(twice, done())) == {"unexplained duplicate"}
    events = [
        *opened(A, 1),
        *opened(B, 2),
        *produced("j1", "t1"),
        said(1, A, "delivered", session=1, id="j1", attempt=1, token="t1"),
        said(1.1, A, "started", id="j1", attempt=1, kind="work"),
        *ran(B, 2, "j1", "t1", attempt=2, at=3),
    ]
    row = StoredAttempt("j1", 1, 1, Exit.UNDELIVERED, 1.0, 2.0)
    stored = done(attempts=2, session=2, started_at=2.9)
    explained = frozenset({Exit.UNDELIVERED})
    assert rules(history(events, stored, attempts=[row], explained=explained)) == {"unexplained duplicate"}
    # Its session lived on, and ended for another reason; or it ended then and there.
    for ended_at, found in ((9.0, {"unexplained duplicate"}), (2.0, set())):
        sessions = [StoredSession(1, 1.0, ended_at), StoredSession(2, 5.0)]
        broken = history(events, stored, attempts=[row], sessions=sessions, explained=explained)
        assert rules(broken) == found
    told = said(2, A, "told", session=1, id="j1", attempt=1, action="revoke", reason="NOT_HELD")
    assert check(history([*events, told], stored, attempts=[row], explained=explained)) == []


def test_a_lease_that_nobody_holds_is_found_once_the_audit_had_its_time():
    running = StoredJob("j1", "t1", Status.RUNNING, 1, 1, leased_for=30.0)
    asked = [*opened(A, 1), *produced("j1", "t1")]
    assert rules(history(asked, running, all_over=False)) == {"lease that nobody holds"}
    assert check(history(asked, replace(running, leased_for=3.0), all_over=False)) == []
    held = [*asked, said(1, A, "delivered", session=1, id="j1", attempt=1, token="t1")]
    assert check(history(held, running, all_over=False)) == []
    ended = [StoredSession(1, 5.0, 20.0)]
    assert rules(history(held, running, sessions=ended, all_over=False)) == {"lease that nobody holds"}


def test_more_leases_than_slots_are_found():
    events = [*opened(A, 1), *produced("j1", "t1"), *produced("j2", "t2")]
    events += [
        said(1 + n / 10, A, "delivered", session=1, id=f"j{n}", attempt=1, token=f"t{n}") for n in (1, 2)
    ]
    jobs = [StoredJob(f"j{n}", f"t{n}", Status.RUNNING, 1, 1, leased_for=1.0) for n in (1, 2)]
    assert rules(history(events, *jobs, all_over=False)) == {"over credit"}
    # One more slot, or one less held, and all is well.
    more = [*opened(A, 1, slots=2), *events[2:]]
    assert check(history(more, *jobs, all_over=False)) == []
