"""An end is told once, to all who subscribed, and says what became of the jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobqueue_server.core.events.ends import EndCounter, Ended, Ends, Waits, ended_jobs
from jobqueue_server.core.events.wakes import Wakes
from jobqueue_server.core.lease.attempt_ends import AttemptEnds
from jobqueue_server.lifecycle import Event, Status
from jobqueue_server.metrics import Metrics

from ..brain import NOON, Lanes, lane

pytestmark = pytest.mark.unit

ONE = lane(1, kind="hello")
SOON = NOON + timedelta(seconds=5)


def row(event: Event, status: Status, *, waits: bool, lane_id: int = 1) -> dict[str, Any]:
    """As `end_attempt.sql` answers it."""
    return {
        "id": uuid4(), "lane_id": lane_id, "priority": 3, "isolated": False, "semaphore_id": None,
        "run_at": SOON if waits else None,
        "event": event, "status": status, "at": NOON, "started_at": NOON - timedelta(seconds=2),
    }  # fmt: skip


class Store:
    """Answers rows, and notes what came before."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.said: list[str] = []

    async def end_attempt(self, ends: Any) -> list[dict[str, Any]]:
        self.said.append("end_attempt")
        return self.rows

    async def before_end(self, job_ids: Iterable[UUID]) -> None:
        assert list(job_ids)
        self.said.append("checkpoints")


def attempt_ends(store: Any, ends: Ends) -> AttemptEnds:
    lanes: Any = Lanes(ONE)
    return AttemptEnds(store, lanes, store, ends, Wakes())


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def told(ends: Ends) -> list[Ended]:
    found: list[Ended] = []
    ends.subscribe(found.extend)
    return found


def test_all_who_subscribed_are_told(ends: Ends, told: list[Ended]):
    others: list[Ended] = []
    ends.subscribe(others.extend)
    ends.tell([Ended([uuid4()])])
    assert told == others != []


def test_a_listener_that_fails_keeps_nothing_from_the_others(ends: Ends, caplog: pytest.LogCaptureFixture):
    """The end is committed by then: who reported it must not be told that it failed."""

    def fails(ended: object) -> None:
        raise RuntimeError("of one listener")

    others: list[Ended] = []
    ends.subscribe(fails)
    ends.subscribe(others.extend)
    ends.tell([Ended([uuid4()])])
    assert len(others) == 1
    assert "of one listener" in caplog.text


def test_a_job_that_waits_again_has_not_ended(ends: Ends, told: list[Ended]):
    waiting = row(Event.FAIL, Status.RETRYING, waits=True)
    over = row(Event.FAIL, Status.FAILED_PERMANENT, waits=False)
    attempt_ends(Store(), ends).ended([waiting, over])
    assert [each.waits for each in told] == [Waits(1, 3, False, SOON), None]
    assert list(ended_jobs(told)) == [over["id"]]


async def test_checkpoints_are_written_before_their_attempts_end(ends: Ends, told: list[Ended]):
    store = Store(row(Event.LOST, Status.RETRYING, waits=True))
    leaving: Any = type("AttemptEnd", (), {"id": uuid4()})
    assert await attempt_ends(store, ends).end([leaving]) == store.rows
    assert store.said == ["checkpoints", "end_attempt"]
    assert [each.outcome for each in told] == ["retrying"]


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_attempts_that_no_worker_is_known_to_have_begun_are_not_counted(ends: Ends, told: list[Ended]):
    metrics = Metrics()
    EndCounter(ends, metrics)
    attempt_ends(Store(), ends).ended(
        [
            row(event, Status.RETRYING, waits=True)
            for event in (Event.UNDELIVERED, Event.UNSEEN, Event.LOST, Event.FAIL)
        ]
    )
    assert len(told) == 4
    assert count(metrics, "jobqueue_jobs_finished_total", kind="hello", outcome="retrying") == 2
    assert count(metrics, "jobqueue_job_run_seconds_sum", kind="hello") == 4


def test_what_is_lost_and_what_no_worker_began_is_counted_apart(ends: Ends):
    metrics = Metrics()
    EndCounter(ends, metrics)
    attempt_ends(Store(), ends).ended(
        [
            row(Event.LOST, Status.RETRYING, waits=True),
            row(Event.LOST, Status.RETRYING, waits=True),
            row(Event.LOST, Status.FAILED_PERMANENT, waits=False),
            row(Event.FAIL, Status.FAILED_PERMANENT, waits=False),
            row(Event.UNDELIVERED, Status.RETRYING, waits=True),
            row(Event.UNSEEN, Status.RETRYING, waits=True),
            row(Event.RELEASE, Status.RETRYING, waits=True),
        ]
    )
    assert count(metrics, "jobqueue_jobs_lost_total", kind="hello", outcome="retrying") == 2
    assert count(metrics, "jobqueue_jobs_lost_total", kind="hello", outcome="failed_permanent") == 1
    assert count(metrics, "jobqueue_undelivered_total") == 2


def test_one_value_may_stand_for_many_jobs(ends: Ends):
    metrics = Metrics()
    EndCounter(ends, metrics)
    ends.tell([Ended([uuid4() for _ in range(1000)], "hello", "succeeded", 0.5), Ended([uuid4()])])
    assert count(metrics, "jobqueue_jobs_finished_total", kind="hello", outcome="succeeded") == 1000
    assert count(metrics, "jobqueue_job_run_seconds_count", kind="hello") == 1000
