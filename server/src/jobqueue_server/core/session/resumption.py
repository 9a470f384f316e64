"""A resume: which of the leases that a worker names are still its own, and what it does not name goes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...lifecycle import Event
from ...store.attempt.attempts import AttemptEnd
from ...store.database import Record
from ...store.session.sessions import SessionStore
from ..catalog.catalog import Catalog
from ..lease.attempt_ends import AttemptEnds
from ..lease.lease import CancelRequest, Lease, LeaseTemplate, Lingering, Named
from ..lease.session import Session
from .tokens import superseded


class Resumption:
    """Compares what a worker names with what the database says that its session holds."""

    def __init__(self, store: SessionStore, catalog: Catalog, attempts: AttemptEnds) -> None:
        self._store = store
        self._catalog = catalog
        self._attempts = attempts

    async def reconcile(
        self,
        session: Session,
        held: Sequence[Named],
        unanswered: Sequence[Named],
        goes_on: Callable[[], bool],
    ) -> tuple[list[Named], list[Named]]:
        """Takes up the leases that a worker still holds, in the new epoch of its session.

        Args:
            session: That epoch.
            held: The leases whose handlers run.
            unanswered: The leases whose outcomes were not answered.
            goes_on: Whether no later resume has come meanwhile.

        Returns:
            The leases that it keeps, and those of `held` that are no longer its own.

        Raises:
            SessionSuperseded: A later resume came.
        """
        named = {(lease.job_id, lease.attempt): lease for lease in (*held, *unanswered)}
        rows = await self._store.held([session.id])
        jobs = (
            {
                row["id"]: row
                for row in await self._store.named_jobs(session.scope, [job_id for job_id, _ in named])
            }
            if named
            else {}
        )
        if any(self._catalog.lane_by_id(row["lane_id"]) is None for row in (*rows, *jobs.values())):
            # Another server made the lane since this one looked.
            await self._catalog.refresh()
        if not goes_on() or any(row["epoch"] != session.epoch for row in rows):
            # What is held now is a later resume's to keep or give back, here or with another server.
            raise superseded()
        kept: list[Named] = []
        back: list[AttemptEnd] = []
        for row in rows:
            lease = named.pop((row["id"], row["attempts"]), None)
            if lease is None or not self._keep(session, lease, row, jobs.get(row["id"])):
                back.append(AttemptEnd(row["id"], row["attempts"], session.id, Event.UNDELIVERED))
            else:
                kept.append(lease)
        if back:
            await self._attempts.end(back)
        # A settlement that is sent again names its lease only by its number, which another server gave.
        session.remember(list(named.values()))
        held_names = {(lease.job_id, lease.attempt) for lease in held}
        revoked = [lease for key, lease in named.items() if key in held_names]
        for lease in revoked:
            self._linger(session, lease, jobs.get(lease.job_id))
        return kept, revoked

    def _keep(self, session: Session, lease: Named, row: Record, job: Record | None) -> bool:
        """Takes up a lease, unless its number stands for another one already."""
        lane = self._catalog.lane_by_id(row["lane_id"])
        if lane is None or lease.lease_id in session.leases:
            return False
        template = LeaseTemplate(
            lane, row["attempts"], 0, row["changed_at"], isolated=row["isolated"], weight=lane.weight
        )
        asked = CancelRequest.of(row["cancel_reason"], row["left"]) if row["cancel_requested"] else None
        size = job["size"] if job is not None else 0
        session.add(Lease.taken_over(lease.lease_id, row["id"], template, size, asked))
        return True

    def _linger(self, session: Session, lease: Named, job: Record | None) -> None:
        """The worker is told to stop its handler, which takes up a slot until it has."""
        lane = None if job is None else self._catalog.lane_by_id(job["lane_id"])
        kind, weight = (None, 1) if lane is None else (lane.kind, lane.weight)
        size = job["size"] if job is not None else 0
        session.linger(lease.lease_id, Lingering(lease.job_id, lease.attempt, kind, size, weight))
