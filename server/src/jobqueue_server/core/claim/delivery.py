"""Delivery: rows that a claim brought become leases on the streams of their sessions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from ...errors import JobQueueError
from ...lifecycle import Event
from ...metrics import Metrics
from ...store.attempt.attempts import AttemptEnd
from ...store.claim.claims import ClaimStore
from ...store.database import Record
from ...store.policy.semaphores import Leased
from ..catalog.catalog import Catalog, Lane
from ..events.flows import Flows
from ..events.wakes import Wakes
from ..lease.attempt_ends import AttemptEnds
from ..lease.early_cancels import EarlyCancels
from ..lease.lease import Lease, LeaseTemplate
from ..lease.session import Session
from .activity import Activity
from .takers import Takers


class Delivery:
    """Hands leases over to their sessions, and gives back those that no session can have."""

    def __init__(
        self,
        store: ClaimStore,
        catalog: Catalog,
        takers: Takers,
        activity: Activity,
        attempts: AttemptEnds,
        cancels: EarlyCancels,
        wakes: Wakes,
        metrics: Metrics,
        flows: Flows,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._takers = takers
        self._activity = activity
        self._attempts = attempts
        self._cancels = cancels
        self._wakes = wakes
        self._metrics = metrics
        self._flows = flows
        self._orphans: list[AttemptEnd] = []

    async def deliver(
        self,
        rows: Sequence[Record | Leased],
        sessions: Mapping[int, Session],
        *,
        isolated: bool = False,
        after: asyncio.Task[None] | None = None,
    ) -> None:
        """Reads the payloads of jobs that were just leased, and hands the leases over.

        Args:
            rows: As `claim.sql` and `claim_isolated.sql` answer them, or of jobs that were let in by their keys.
            sessions: By their ids.
            isolated: Whether the jobs run isolated.
            after: The delivery before this one, whose leases go first.

        Raises:
            DatabaseAway: The leases go back with the next round.
        """
        try:
            bodies = {body[0]: body for body in await self._store.bodies([row[0] for row in rows])}
            again = [row[0] for row in rows if row[4] > 1]
            checkpoints = await self._store.checkpoints(again) if again else {}
        except JobQueueError:
            # They are leased, and no session will hear of them.
            for row in rows:
                self._flows.leased_in_vain(row[1])
            self._orphans += [AttemptEnd(row[0], row[4], row[5], Event.UNDELIVERED) for row in rows]
            raise
        if after is not None and not after.done():
            await asyncio.wait((after,))
        for session, leases in self._leases(rows, sessions, bodies, checkpoints, isolated).items():
            self.hand_over(session, leases)

    def _leases(
        self,
        rows: Iterable[Record | Leased],
        sessions: Mapping[int, Session],
        bodies: Mapping[UUID, Record],
        checkpoints: Mapping[UUID, bytes],
        isolated: bool,
    ) -> dict[Session, list[Lease]]:
        """The leases of each session. What a session can't take goes back."""
        given: dict[Session, list[Lease]] = defaultdict(list)
        weight: dict[Session, int] = defaultdict(int)
        templates: dict[tuple[object, ...], LeaseTemplate] = {}
        waits: dict[Lane, list[float]] = defaultdict(list)
        orphans = len(self._orphans)
        # In the order of the statements' columns: by name each of ten values costs 0.1 us more.
        for job_id, lane_id, _, run_at, attempt, session_id, failures, at in rows:
            session = sessions[session_id]
            body = bodies.get(job_id)
            if body is None:
                self._flows.leased_in_vain(lane_id)
                message = "the job's body is gone"
                self._orphans.append(
                    AttemptEnd(job_id, attempt, session.id, Event.BODY_MISSING, message=message)
                )
                continue
            payload = body[1]
            if session.capacity.bytes:
                if weight[session] and not session.fits(len(payload), also=weight[session]):
                    # The claim took other jobs than those whose sizes were compared.
                    self._flows.leased_in_vain(lane_id)
                    self._orphans.append(AttemptEnd(job_id, attempt, session.id, Event.UNDELIVERED))
                    continue
                weight[session] += len(payload)
            key, terms = body[2], body[3:]
            alike = (lane_id, attempt, failures, terms, key is None)
            template = templates.get(alike)
            if template is None:
                lane = self._catalog.lane_by_id(lane_id)
                assert lane is not None, "a claim names only lanes that are known here"
                keyed = key is not None
                template = LeaseTemplate(lane, attempt, failures, at, terms, isolated, keyed, lane.weight)
                templates[alike] = template
            waits[template.lane].append((at - run_at).total_seconds())
            lease = Lease(session.next_lease_id(), job_id, template, payload)
            if key is not None:
                lease.has_key(key)
            if job_id in checkpoints:
                lease.goes_on_from(checkpoints[job_id])
            given[session].append(lease)
        self._started(waits, given)
        if len(self._orphans) > orphans:
            self._activity.wake()
        return given

    def _started(self, waits: Mapping[Lane, list[float]], given: Mapping[Session, list[Lease]]) -> None:
        """Jobs of these lanes were leased, which had been due for so long."""
        for lane, seconds in waits.items():
            seconds.sort()
            self._flows.started(lane.id, seconds)
            self._metrics.waited(lane.kind, seconds)
            if lane.backlog is not None:
                lane.backlog.went(len(seconds))
            if lane.fair:
                leases = (lease for some in given.values() for lease in some)
                keys = [lease.key for lease in leases if lease.key and lease.template.lane is lane]
                self._wakes.started(lane.queue_id, keys)

    def hand_over(self, session: Session, leases: list[Lease]) -> None:
        """Puts committed leases on the session's stream. If that is gone or takes no more they go back."""
        if session not in self._takers or not session.takes_jobs:
            self.undelivered(leases, session.id)
            return
        session.add_all(leases)
        if session.link is not None:
            session.handed_over(leases)
            session.link.deliver(leases)
        self._cancels.handed_over(session, leases)

    def undelivered(self, leases: Iterable[Lease], session_id: int) -> None:
        """Committed leases that no worker will be told of: they go back with the next round."""
        self._orphans += [
            AttemptEnd(lease.job_id, lease.attempt, session_id, Event.UNDELIVERED) for lease in leases
        ]
        self._activity.wake()

    async def return_orphans(self) -> None:
        """Gives back the leases that could not be handed over. What can't be given back now is, later.

        Raises:
            DatabaseAway, DatabaseFull: They are kept.
        """
        if not self._orphans:
            return
        orphans, self._orphans = self._orphans, []
        try:
            await self._attempts.end(orphans)
        except JobQueueError:
            self._orphans += orphans
            raise
