"""Attempts that end otherwise than by success: out of RUNNING in one statement, and told once that is committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ...lifecycle import Event, Status
from ...store.attempt.attempts import AttemptEnd, AttemptStore
from ...store.database import Record
from ..catalog.catalog import Catalog
from ..events.ends import Ended, Ends, Waits
from ..events.wakes import Wakes
from .progress import ProgressReports

#: The label `outcome` of what a job became.
_OUTCOMES = {
    Status.QUEUED: "retrying",
    Status.RETRYING: "retrying",
    Status.FAILED_PERMANENT: "failed_permanent",
    Status.CANCELLED: "cancelled",
}

# Ends of attempts that no worker is known to have begun.
_NOT_RUN = frozenset({Event.UNDELIVERED, Event.UNSEEN})


class AttemptEnds:
    """Ends attempts, and tells of attempts that a transaction of others has ended."""

    def __init__(
        self,
        store: AttemptStore,
        catalog: Catalog,
        progress: ProgressReports,
        ends: Ends,
        wakes: Wakes,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._progress = progress
        self._ends = ends
        self._wakes = wakes

    async def end(self, ends: Sequence[AttemptEnd]) -> list[Record]:
        """Takes leases out of RUNNING. Answers a row for each that matched its fence.

        The checkpoints of these jobs are written before, since the next attempts go on from them.

        Raises:
            DatabaseAway, DatabaseFull: Nothing is known of what happened.
        """
        await self._progress.before_end(end.id for end in ends)
        rows = await self._store.end_attempt(ends)
        self.ended(rows)
        return rows

    async def end_and_pause(self, pauses: Sequence[tuple[AttemptEnd, timedelta]], most: int) -> list[Record]:
        """As `end`, and pauses the keys of these jobs in the same transaction, each for so long.

        Args:
            pauses: Each end with the pause.
            most: How many jobs of these keys are taken out of their lines at most.

        Raises:
            DatabaseAway, DatabaseFull: Nothing is known of what happened.
        """
        await self._progress.before_end(end.id for end, _ in pauses)
        rows = await self._store.end_and_pause(pauses, most)
        self.ended(rows)
        return rows

    def ended(self, rows: Sequence[Record]) -> None:
        """Attempts have left RUNNING by `end_attempt.sql`: tells where their jobs wait now, or that they have ended."""
        if rows:
            self._ends.tell([self._told(row) for row in rows])
            freed = [row["semaphore_id"] for row in rows if row["semaphore_id"] is not None]
            if freed:
                self._wakes.keys_ready(freed)
                # Those whose run_at is ahead are found by the sweep, at their time.
                self._wakes.due()

    def _told(self, row: Record) -> Ended:
        run_at = row["run_at"]
        waits = (
            None
            if run_at is None
            else Waits(
                row["lane_id"], row["priority"], row["isolated"], run_at, row["semaphore_id"] is not None
            )
        )
        lane = self._catalog.lane_by_id(row["lane_id"])
        event, outcome = Event(row["event"]), _OUTCOMES[row["status"]]
        if lane is None or event in _NOT_RUN:
            return Ended((row["id"],), None, outcome, None, waits, row["lane_id"], event)
        ran = (row["at"] - row["started_at"]).total_seconds()
        return Ended((row["id"],), lane.kind, outcome, ran, waits, lane.id, event)
