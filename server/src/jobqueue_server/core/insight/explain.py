"""Why a job waits, and what would start it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ...errors import JobNotFound
from ...grants import Permission
from ...lifecycle import Status
from ...model import KeyHolder
from ...scope import Scope
from ...store.insight.insight import InsightStore
from ..catalog.catalog import Catalog
from ..upkeep.standstill import Standstill
from .estimate import Estimate, estimate_of
from .names import NameOf, name_of
from .reasons import Code, Facts, KeyOf, Pause, Reason, Stuck, reasons_of, starts_at, status_of, summary_of
from .workers import AllWorkers, Fleet

#: How many jobs before a job are counted.
MOST_AHEAD = 10_000
#: How many that wait for the same key are counted, and how many jobs are named that hold it.
MOST_OF_KEY = 1_000
MOST_HOLDERS = 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job waits, or how it runs or ended.

    Attributes:
        job_id: Which one.
        status: Its status.
        summary: One sentence.
        reasons: At least one; what holds it now comes first.
        could_start_at: When it can start, where nothing but time is awaited.
        read_at: When this was so.
        unknown: The servers whose workers are not known.
        estimate: When the job may start, where it waits for its turn alone.
        name: Its name, and which job holds it; None: it is not unique.
    """

    job_id: UUID
    status: Status
    summary: str
    reasons: tuple[Reason, ...]
    could_start_at: datetime | None
    read_at: datetime
    unknown: tuple[str, ...]
    estimate: Estimate | None
    name: NameOf | None = None


class Explain:
    """Explains jobs to callers."""

    def __init__(
        self,
        store: InsightStore,
        catalog: Catalog,
        fleet: Fleet,
        standstill: Standstill,
        *,
        most_ahead: int = MOST_AHEAD,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._fleet = fleet
        self._standstill = standstill
        self._most_ahead = most_ahead

    async def explain(self, scope: Scope, job_id: UUID) -> Explanation:
        """Why the job waits, or how it runs or ended.

        Raises:
            JobNotFound: There is none that the principal may read.
            DatabaseAway: It can't be read now.
        """
        workers = await self._fleet.now()
        # The lanes that workers take jobs from. Jobs of the others go before none, nor do those of kinds that are full,
        # or too heavy for each worker.
        lanes = [
            lane.id
            for place in workers.subscribed(scope)
            if (lane := self._catalog.known_lane(scope, *place)) is not None
            and not (takers := workers.of(scope.namespace, *place)).kind_is_full
            and lane.weight <= max(takers.most_slots, 1)
        ]
        row = await self._store.explain_job(scope, job_id, lanes, most=self._most_ahead)
        if row is None or not scope.grants.may(Permission.READ, row["queue"], row["kind"]):
            raise JobNotFound.of(job_id)
        queue, kind = row["queue"], row["kind"]
        takers = workers.of(scope.namespace, queue, kind)
        key = await self._key(scope, job_id, kind, workers) if row["hold"] is not None else None
        reasons = reasons_of(
            Facts(
                row,
                takers,
                () if takers.sessions or takers.draining else workers.nearest(scope, queue, kind),
                len(workers.unknown),
                scope.grants.may(Permission.READ | Permission.PAYLOADS, queue, kind),
                self._most_ahead,
                key,
                self._standstill.since,
            )
        )
        status = status_of(row)
        starts = row["now"] if reasons[0].code is Code.ABOUT_TO_START else starts_at(reasons)
        estimate = estimate_of(
            reasons, row["ahead"], self._most_ahead, workers.ended(scope, queue), row["now"]
        )
        return Explanation(
            job_id,
            status,
            summary_of(status, reasons),
            reasons,
            starts,
            row["now"],
            workers.unknown,
            estimate,
            name_of(row, shows_holder=self._may_read(scope, row["name_lane"])),
        )

    def _may_read(self, scope: Scope, lane_id: int | None) -> bool:
        """Whether the caller may read jobs of this lane; of none, and of one that is not known yet, it may not."""
        lane = None if lane_id is None else self._catalog.lane_by_id(lane_id)
        return lane is not None and scope.grants.may(Permission.READ, lane.queue, lane.kind)

    async def _key(self, scope: Scope, job_id: UUID, kind: str, workers: AllWorkers) -> KeyOf | None:
        row = await self._store.explain_key(job_id, most_holders=MOST_HOLDERS, most=MOST_OF_KEY)
        if row is None:
            return None
        told = zip(
            row["holders"] or (), row["lanes"] or (), row["workers"] or (), row["since"] or (), strict=True
        )
        holders = [
            (KeyHolder(holder, worker, since), lane)
            for holder, lane_id, worker, since in told
            if (lane := self._catalog.lane_by_id(lane_id)) is not None
            and scope.grants.may(Permission.READ, lane.queue, lane.kind)
        ]
        # Of the job's own kind it is told by itself that no worker takes it.
        stuck = (
            Stuck(holder.job_id, lane.kind)
            for holder, lane in holders
            if not holder.worker
            and lane.kind != kind
            and not workers.of(scope.namespace, lane.queue, lane.kind).sessions
        )
        return KeyOf(
            row["key"],
            row["max_running"],
            row["taken"],
            tuple(holder for holder, _ in holders),
            row["ahead"],
            row["ahead"] >= MOST_OF_KEY,
            row["admit_at"]
            if row["rated"]
            and not row["crowded"]
            and row["paused_at"] is None
            and row["paused_until"] is None
            else None,
            None if row["paused_at"] is None else Pause(row["paused_at"], row["paused_by"] or "", ""),
            row["of_its_own"],
            row["strict"],
            row["blocked_by"] is not None and not row["cancels"],
            row["blocked_by"] if self._may_read(scope, row["blocking_lane"]) else None,
            row["fair"],
            row["paused_until"],
            row["crowded"],
            next(stuck, None),
        )
