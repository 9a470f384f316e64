"""What the rooms below are told of jobs that callers and operations have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from ...lifecycle import Hold
from ...store.bulk.changes import Released
from ...store.bulk.updates import Updated
from ...store.bulk.verbs import Cancelled, Retried
from ..catalog.catalog import Catalog
from ..claim.lines import Lines
from ..events.ends import Ended, Ends
from ..events.wakes import Wakes
from ..session.cancels import Cancels


class Effects:
    """Tells lines, workers, waiters and metrics, after the commit."""

    def __init__(self, catalog: Catalog, lines: Lines, cancels: Cancels, ends: Ends, wakes: Wakes) -> None:
        self._catalog = catalog
        self._lines = lines
        self._cancels = cancels
        self._ends = ends
        self._wakes = wakes

    def retried(self, jobs: Sequence[Retried]) -> None:
        """These wait again."""
        for lane_id, priority, run_at in {
            (each.lane_id, each.priority, each.run_at) for each in jobs if not each.held
        }:
            self._lines.due_at(lane_id, priority, run_at)
        if any(each.held for each in jobs):
            self._wakes.due()

    def released(self, job: Released) -> None:
        """This one is not held by hand any more."""
        if job.held:
            self._wakes.due()
        else:
            self._lines.due_at(job.lane_id, job.priority, job.run_at, isolated=job.isolated)

    def updated(self, jobs: Sequence[Updated]) -> None:
        """These wait elsewhere, or for another time."""
        for waits in jobs:
            if waits.hold is None:
                self._lines.moved(waits.lane_id, waits.priority, waits.run_at, isolated=waits.isolated)
        if any(each.hold is Hold.TIME for each in jobs):
            self._wakes.due()
        self._wakes.keys_ready(each.calling for each in jobs if each.calling is not None)

    def cancelled(self, jobs: Sequence[Cancelled], reason: str) -> None:
        """These have ended, or are to be asked to stop."""
        self._wakes.keys_ready(each.calling for each in jobs if each.calling is not None)
        ended: defaultdict[int, list[UUID]] = defaultdict(list)
        for each in jobs:
            if each.session_id is not None:
                self._cancels.cancel(each.job_id, each.session_id, each.attempt, reason)
            if not each.pending:
                ended[each.lane_id].append(each.job_id)
        if ended:
            self._ends.tell([self._cancelled(lane_id, ids) for lane_id, ids in ended.items()])

    def deleted(self, ids: Sequence[UUID]) -> None:
        """These are gone: who waits for them learns it."""
        if ids:
            self._ends.tell([Ended(ids)])

    def _cancelled(self, lane_id: int, ids: list[UUID]) -> Ended:
        lane = self._catalog.lane_by_id(lane_id)
        return Ended(ids, None if lane is None else lane.kind, "cancelled", lane_id=lane_id)
