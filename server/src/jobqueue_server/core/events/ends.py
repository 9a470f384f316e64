"""Ends of attempts and of jobs: told in one place, to all who subscribed when they were made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ...lifecycle import Event
from ...metrics import Metrics

_log = logging.getLogger(__name__)


class Waits(NamedTuple):
    """Where the job of an attempt that ended waits for its next one. `held`: in no line, since its key is limited."""

    lane_id: int
    priority: int
    isolated: bool
    run_at: datetime
    held: bool = False


class Ended(NamedTuple):
    """Attempts that ended alike, or jobs that ended without one. It is committed.

    One value may stand for thousands of jobs: an object for each would cost the hot path a twentieth of a job.

    Attributes:
        job_ids: The jobs.
        kind: Theirs; None where nothing is to be counted.
        outcome: What became of them, one of `metrics.OUTCOMES`.
        ran: Seconds from the claim to the end; None where no attempt ran.
        waits: Where the one job waits now; None: the jobs have ended.
        lane_id: Theirs; None where nothing is to be counted.
        event: What ended the attempts, otherwise than by success; None also where there was none.
    """

    job_ids: Collection[UUID]
    kind: str | None = None
    outcome: str = ""
    ran: float | None = None
    waits: Waits | None = None
    lane_id: int | None = None
    event: Event | None = None


# Ends of leases that no worker is known to have begun.
_UNBEGUN = frozenset({Event.UNDELIVERED, Event.UNSEEN})

Listener = Callable[[Sequence[Ended]], None]


class Ends:
    """Tells every subscriber, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Adds a listener. A part calls it in its constructor."""
        self._listeners.append(listener)

    def tell(self, ended: Sequence[Ended]) -> None:
        """These have ended, and that is committed. A listener that fails is logged, and the others are told."""
        for listener in self._listeners:
            try:
                listener(ended)
            except Exception:
                _log.exception("a listener failed to handle the ends of attempts")


def ended_jobs(ended: Sequence[Ended]) -> Iterator[UUID]:
    """The jobs that have ended, without those that wait for another attempt."""
    for each in ended:
        if each.waits is None:
            yield from each.job_ids


class EndCounter:
    """Counts ends in the metrics."""

    def __init__(self, ends: Ends, metrics: Metrics) -> None:
        self._metrics = metrics
        ends.subscribe(self._count)

    def _count(self, ended: Sequence[Ended]) -> None:
        for job_ids, kind, outcome, ran, _, _, event in ended:
            if event is not None:
                self._count_rare(event, kind, outcome, len(job_ids))
            if kind is not None:
                self._metrics.finished(kind, outcome, len(job_ids))
                if ran is not None:
                    self._metrics.ran(kind, ran, len(job_ids))

    def _count_rare(self, event: Event, kind: str | None, outcome: str, jobs: int) -> None:
        if event is Event.LOST and kind is not None:
            self._metrics.lost(kind, outcome, jobs)
        elif event in _UNBEGUN:
            self._metrics.undelivered(jobs)
