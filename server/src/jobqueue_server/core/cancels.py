"""Cancels of running jobs, on their way to the worker that holds the lease, whichever server its stream is on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from ..errors import JobQueueError
from ..store.sessions import SessionStore
from .peers import Peers
from .session import Asked, Lease, Session
from .sessions import Sessions

_log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
# A cancel may overtake the delivery of its lease; it is kept for that long.
KEPT = 10.0


class Cancels:
    """Tells workers to stop. Where the session is another server's, that one is told, or finds it within a second."""

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        peers: Peers,
        server_id: Callable[[], int],
        *,
        grace: timedelta,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._peers = peers
        self._server_id = server_id
        self._grace = grace
        self._kept: dict[UUID, tuple[int, str, float]] = {}

    def cancel(self, job_id: UUID, session_id: int, attempt: int, reason: str) -> None:
        """Somebody asked this server for it: the worker is told now, or as soon as the lease is handed over."""
        if not self.heard(job_id, session_id, attempt, reason):
            self._kept[job_id] = (attempt, reason, time.monotonic())
            self._peers.tell_cancel(job_id, session_id, attempt, reason)

    def heard(self, job_id: UUID, session_id: int, attempt: int, reason: str) -> bool:
        """Another server was asked for it. Answers whether a worker here was told."""
        session = self._sessions.get(session_id)
        lease = session.find(job_id, attempt) if session is not None else None
        if session is None or lease is None or session.link is None:
            return False
        self._tell(session, lease, Asked(reason, self._grace))
        return True

    def _tell(self, session: Session, lease: Lease, asked: Asked) -> None:
        lease.told_to_stop = True
        if session.link is not None:
            session.link.cancel([lease.lease_id], asked.reason, asked.grace)

    def handed_over(self, session: Session, leases: Sequence[Lease]) -> None:
        """Leases were put on a stream: sends after them the cancels that came before."""
        if not self._kept:
            return
        for lease in leases:
            kept = self._kept.pop(lease.job_id, None)
            if kept is not None and kept[0] == lease.attempt:
                self._tell(session, lease, Asked(kept[1], self._grace))

    def attached(self, session: Session) -> None:
        """A resumed session has a stream: what it kept and is to stop is told on it."""
        for lease in session.leases.values():
            kept = self._kept.pop(lease.job_id, None)
            if kept is not None:
                self._tell(session, lease, Asked(kept[1], self._grace))
            elif lease.asked is not None:
                self._tell(session, lease, lease.asked)

    async def run(self) -> None:
        """Looks once a second for what another server was asked for, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = time.monotonic()
            for job_id in [job_id for job_id, kept in self._kept.items() if now - kept[2] > KEPT]:
                del self._kept[job_id]
            try:
                await self.look()
            except JobQueueError as error:
                _log.debug("the look for cancels waits: %s", error)

    async def look(self) -> None:
        """Tells the workers here what they have not been told on this stream."""
        if not len(self._sessions):
            return
        for row in await self._store.cancelling(self._server_id()):
            session = self._sessions.get(row["session_id"])
            lease = session.find(row["id"], row["attempts"]) if session is not None else None
            if (
                session is not None
                and lease is not None
                and session.link is not None
                and not lease.told_to_stop
            ):
                self._tell(session, lease, Asked.of(row["reason"], row["left"]))
