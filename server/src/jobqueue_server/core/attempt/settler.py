"""Settlement: the outcomes of all streams share one statement, and are answered after its commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from ..claim.activity import Activity
from ..claim.admission import Admission
from ..lease.lease import Lease
from ..lease.session import Session
from .commits import Commits
from .follow_ups import FollowUps
from .outcome import SUCCEEDED, Answer, Outcome, PendingOutcome, SettleReply, SuccessBatch

MAX_BATCH = 2000


class Settler:
    """Gathers outcomes and commits them, one batch at a time: while one commits, the next gathers."""

    def __init__(
        self, commits: Commits, follow_ups: FollowUps, activity: Activity, admission: Admission
    ) -> None:
        self._commits = commits
        self._follow_ups = follow_ups
        self._activity = activity
        self._admission = admission
        self._pending: list[PendingOutcome | SuccessBatch] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def settle(
        self, session: Session, succeeded: Iterable[int], outcomes: Sequence[Outcome], reply: SettleReply
    ) -> None:
        """Puts outcomes in line. Each is answered through `reply` after its commit."""
        leases = session.leases
        fresh, again, unheld = Lease.settle(leases, succeeded)
        for lease_id in unheld:
            self._unheld(session, lease_id, SUCCEEDED, reply)
        if fresh:
            self._pending.append(SuccessBatch(session, fresh, reply))
        for one in again:
            self._pending.append(
                PendingOutcome(session, one.job_id, one.attempt, one.lease_id, one, SUCCEEDED, reply)
            )
        by_name: dict[tuple[UUID, int], Lease] | None = None
        for outcome in outcomes:
            lease = leases.get(outcome.lease_id) if outcome.lease_id else None
            if lease is None and outcome.job_id is not None:
                if by_name is None:
                    # Once a frame: each lease against each outcome is ten million steps, half a second.
                    by_name = {(one.job_id, one.attempt): one for one in leases.values()}
                lease = by_name.get((outcome.job_id, outcome.attempt))
            if lease is not None:
                lease.settles()
                self._put(
                    PendingOutcome(
                        session, lease.job_id, lease.attempt, lease.lease_id, lease, outcome, reply
                    )
                )
            else:
                self._unheld(session, outcome.lease_id, outcome, reply)
        self._signal()

    def _put(self, item: PendingOutcome) -> None:
        if item.outcome.follow_ups:
            self._follow_ups.put(item)
        else:
            self._pending.append(item)

    def _unheld(self, session: Session, lease_id: int, outcome: Outcome, reply: SettleReply) -> None:
        """An outcome for a lease that the session does not hold: the database knows what became of it."""
        known = session.remembered.get(lease_id) if lease_id else None
        lingering = session.lingering.get(lease_id)
        if known is None and lingering is not None and lingering.job_id is not None:
            known = (lingering.job_id, lingering.attempt)
        if known is None and outcome.job_id is not None:
            known = (outcome.job_id, outcome.attempt)
        if known is None:
            message = (
                "this session has no such lease; name the job and the attempt to learn what became of it"
            )
            reply.done(Answer(lease_id, outcome.job_id, outcome.attempt, "STALE_LEASE", message=message))
            return
        self._put(PendingOutcome(session, known[0], known[1], lease_id, None, outcome, reply))

    def _signal(self) -> None:
        if self._pending:
            self._activity.settlements(wait=True)
            self._idle.clear()
            self._wake.set()

    async def drained(self) -> None:
        """Waits until every outcome in line is answered."""
        await self._idle.wait()
        await self._follow_ups.drained()

    async def run(self) -> None:
        """Commits what is in line, until cancelled."""
        # After a crash there may be outcomes for which no wake-up comes again.
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batches, items = self._next_batch()
                self._activity.settlements(wait=bool(self._pending))
                with self._activity.settling_now():
                    try:
                        await self._commits.commit(batches, items)
                    finally:
                        self._admission.ended(sum(len(batch.leases) for batch in batches) + len(items))
            self._idle.set()

    def _next_batch(self) -> tuple[list[SuccessBatch], list[PendingOutcome]]:
        """The next outcomes, each job once: the same settlement again must see the first one committed."""
        batches: list[SuccessBatch] = []
        items: list[PendingOutcome] = []
        later: list[PendingOutcome | SuccessBatch] = []
        taken: set[UUID] = set()
        room = MAX_BATCH
        for entry in self._pending:
            ids = entry.ids if isinstance(entry, SuccessBatch) else (entry.job_id,)
            if room < len(ids):
                room = 0  # what came later must not overtake it
            if room == 0 or not taken.isdisjoint(ids):
                later.append(entry)
            else:
                room -= len(ids)
                if isinstance(entry, SuccessBatch):
                    batches.append(entry)
                else:
                    items.append(entry)
            taken.update(ids)
        self._pending = later
        return batches, items
