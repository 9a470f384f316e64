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
# Of fewer outcomes a second commit beside another costs more than it gains.
LEAST_BESIDE = 100


class Settler:
    """Gathers outcomes and commits them, one batch at a time: while one commits, the next gathers.

    Successes of limited queues are two batches at a time while jobs wait for their keys: the commits let these in, so
    between two of them PostgreSQL would wait for this process. What is locked, and in which order, is what two servers
    do.
    """

    def __init__(
        self, commits: Commits, follow_ups: FollowUps, activity: Activity, admission: Admission
    ) -> None:
        self._commits = commits
        self._follow_ups = follow_ups
        self._activity = activity
        self._admission = admission
        self._pending: list[PendingOutcome | SuccessBatch] = []
        self._under_way = 0
        # The jobs of those commits that let jobs in, and have successes of limited queues alone.
        self._limited: set[UUID] = set()
        self._wake = asyncio.Event()
        self._beside = asyncio.Event()
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
            if self._limited:
                self._beside.set()

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
                if not batches and not items:
                    break  # Their jobs are in the commit beside this one, which wakes this one.
                await self._commit(batches, items)

    async def run_beside(self) -> None:
        """Commits successes of limited queues while another commit of such is under way, until cancelled."""
        while True:
            await self._beside.wait()
            self._beside.clear()
            while self._limited and (batches := self._next_beside()):
                await self._commit(batches, [])

    async def _commit(self, batches: list[SuccessBatch], items: list[PendingOutcome]) -> None:
        limited: list[UUID] = []
        if self._commits.some_wait and not items and self._commits.limited(batches) == batches:
            limited = [id for batch in batches for id in batch.ids]
        self._under_way += 1
        self._limited.update(limited)
        if self._limited and self._pending:
            self._beside.set()
        self._activity.settlements(wait=bool(self._pending))
        with self._activity.settling_now():
            try:
                await self._commits.commit(batches, items)
            finally:
                self._under_way -= 1
                self._limited.difference_update(limited)
                self._admission.ended(sum(len(batch.leases) for batch in batches) + len(items))
                if self._pending:
                    self._wake.set()
                elif not self._under_way:
                    self._idle.set()

    def _next_beside(self) -> list[SuccessBatch]:
        """What a second commit takes: all that is in line, if that is enough, and successes of limited queues alone."""
        batches = [entry for entry in self._pending if isinstance(entry, SuccessBatch)]
        if len(batches) < len(self._pending) or sum(len(batch.leases) for batch in batches) < LEAST_BESIDE:
            return []
        if self._commits.limited(batches) != batches:
            return []
        return self._next_batch()[0]

    def _next_batch(self) -> tuple[list[SuccessBatch], list[PendingOutcome]]:
        """The next outcomes, each job once: the same settlement again must see the first one committed."""
        batches: list[SuccessBatch] = []
        items: list[PendingOutcome] = []
        later: list[PendingOutcome | SuccessBatch] = []
        taken = set(self._limited)
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
