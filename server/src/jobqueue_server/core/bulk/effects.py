"""What the rooms below are told of the jobs that a step has changed."""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from ...lifecycle import Hold
from ...metrics import Metrics
from ...store.bulk.jobs import Step
from ..catalog.catalog import Catalog
from ..claim.lines import Lines
from ..events.ends import Ended, Ends
from ..events.key_calls import KeyCalls
from ..session.cancels import Cancels


class Effects:
    """Tells lines, workers, waiters and metrics, after the commit of a step."""

    def __init__(
        self,
        catalog: Catalog,
        lines: Lines,
        cancels: Cancels,
        ends: Ends,
        key_calls: KeyCalls,
        metrics: Metrics,
    ) -> None:
        self._catalog = catalog
        self._lines = lines
        self._cancels = cancels
        self._ends = ends
        self._key_calls = key_calls
        self._metrics = metrics

    def tell(self, step: Step) -> None:
        """What this step did is committed."""
        operation = step.operation
        for lane_id, priority, run_at in {
            (each.lane_id, each.priority, each.run_at) for each in step.retried if not each.held
        }:
            self._lines.due_at(lane_id, priority, run_at)
        if any(each.held for each in step.retried):
            self._key_calls.ripe()
        for waits in step.updated:
            if waits.hold is None:
                self._lines.moved(waits.lane_id, waits.priority, waits.run_at, isolated=waits.isolated)
        if any(each.hold is Hold.TIME for each in step.updated):
            self._key_calls.ripe()
        calling = [each.calling for each in step.cancelled] + [each.calling for each in step.updated]
        self._key_calls.may_let_in(semaphore_id for semaphore_id in calling if semaphore_id is not None)
        ended: defaultdict[int, list[UUID]] = defaultdict(list)
        for each in step.cancelled:
            if each.session_id is not None:
                self._cancels.cancel(each.job_id, each.session_id, each.attempt, operation.request.reason)
            if not each.pending:
                ended[each.lane_id].append(each.job_id)
        if ended:
            self._ends.tell([self._cancelled(lane_id, ids) for lane_id, ids in ended.items()])
        if step.deleted:
            # Who waits for them learns that they are gone.
            self._ends.tell([Ended(step.deleted)])
        self._metrics.bulk_jobs(operation.verb.label, "changed", step.changed)
        self._metrics.bulk_jobs(operation.verb.label, "skipped", step.skipped)

    def _cancelled(self, lane_id: int, ids: list[UUID]) -> Ended:
        lane = self._catalog.lane_by_id(lane_id)
        return Ended(ids, None if lane is None else lane.kind, "cancelled", lane_id=lane_id)
