"""Settlement: outcomes find their leases, and stand in line to be committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from ..catalog.catalog import Catalog
from ..lease.lease import Lease
from ..lease.session import Session
from ..policy.keyed_ends import KeyedEnds
from .follow_ups import FollowUps
from .outcome import SUCCEEDED, Answer, Outcome, PendingOutcome, SettleReply, SuccessBatch
from .settlement_line import SettlementLine


class Settler:
    """Puts outcomes in their lines.

    Args:
        line: For all outcomes but those of limited keys.
        keyed: For those of limited keys. While jobs wait for their key, a settlement lets them in, too. That costs
            PostgreSQL thrice as much, so with one line a core of two would be half idle. Each key stands in one of
            them: two settlements of one key would wait for each other. While no job waits, all stand in the first: two
            smaller settlements would cost more than one.
    """

    def __init__(
        self,
        catalog: Catalog,
        keyed_ends: KeyedEnds,
        line: SettlementLine,
        keyed: Sequence[SettlementLine],
        follow_ups: FollowUps,
    ) -> None:
        self._catalog = catalog
        self._keyed_ends = keyed_ends
        self._line = line
        self._keyed = keyed
        self._follow_ups = follow_ups

    def settle(
        self, session: Session, succeeded: Iterable[int], outcomes: Sequence[Outcome], reply: SettleReply
    ) -> None:
        """Puts outcomes in line. Each is answered through `reply` after its commit."""
        leases = session.leases
        fresh, again, unheld = Lease.settle(leases, succeeded)
        for lease_id in unheld:
            self._unheld(session, lease_id, SUCCEEDED, reply)
        if fresh:
            self._put_all(session, fresh, reply)
        for one in again:
            self._put(PendingOutcome(session, one.job_id, one.attempt, one.lease_id, one, SUCCEEDED, reply))
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

    def _put_all(self, session: Session, leases: list[Lease], reply: SettleReply) -> None:
        """Plain successes of one frame, in the lines of their keys."""
        if not self._catalog.limits:
            self._line.put(SuccessBatch(session, leases, reply))
            return
        parts: dict[SettlementLine, list[Lease]] = {}
        for lease in leases:
            parts.setdefault(self._line_of(lease), []).append(lease)
        for line, part in parts.items():
            line.put(SuccessBatch(session, part, reply))

    def _put(self, item: PendingOutcome) -> None:
        if item.outcome.follow_ups:
            self._follow_ups.put(item)
        else:
            self._line_of(item.lease).put(item)

    def _line_of(self, lease: Lease | None) -> SettlementLine:
        """Where its key stands. What is not held by its session has none here; its statement finds out by itself."""
        if lease is None or not lease.template.lane.limits:
            return self._line
        return self._keyed[hash(lease.key) % len(self._keyed) if self._keyed_ends.some_wait else 0]

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

    async def drained(self) -> None:
        """Waits until every outcome in line is answered."""
        lines = (self._line, *self._keyed)
        # One may get more while the next is waited for.
        while not all(line.idle for line in lines):
            for line in lines:
                await line.drained()
        await self._follow_ups.drained()
