"""Carries cancels of running jobs to the workers that hold their leases, on any server."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

from ...errors import JobQueueError
from ...store.session.sessions import SessionStore
from ..events.notices import Peers
from ..events.this_server import ThisServer
from ..lease.early_cancels import EarlyCancels
from ..lease.lease import CancelRequest
from ..tuning import Tuning
from .registry import Sessions

_log = logging.getLogger(__name__)


class Cancels:
    """Tells workers to stop. Where the session is another server's, that one is told, or finds it within a second."""

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        peers: Peers,
        server: ThisServer,
        *,
        early: EarlyCancels,
        grace: timedelta,
        tuning: Tuning | None = None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._peers = peers
        self._server = server
        self._early = early
        self._grace = grace
        peers.hear_cancel(self.heard)
        self._every = (tuning or Tuning()).cancels_every

    def cancel(self, job_id: UUID, session_id: int, attempt: int, reason: str) -> None:
        """A caller asked this server for it: the worker is told now, or as soon as the lease is handed over."""
        if not self.heard(job_id, session_id, attempt, reason):
            self._early.keep(job_id, attempt, reason)
            self._peers.tell_cancel(job_id, session_id, attempt, reason)

    def heard(self, job_id: UUID, session_id: int, attempt: int, reason: str) -> bool:
        """Another server took a cancel. Answers whether a worker here was told."""
        session = self._sessions.get(session_id)
        lease = session.find(job_id, attempt) if session is not None else None
        if session is None or lease is None or session.link is None:
            return False
        session.cancel(lease, CancelRequest(reason, self._grace))
        return True

    async def run(self) -> None:
        """Asks once a second for the cancels that other servers took, until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self._early.forget_old()
            try:
                await self.check()
            except JobQueueError as error:
                _log.debug("the search for cancels waits: %s", error)

    async def check(self) -> None:
        """Tells the workers here what they have not been told on this stream."""
        if not len(self._sessions):
            return
        for row in await self._store.cancelling(self._server.id):
            session = self._sessions.get(row["session_id"])
            lease = session.find(row["id"], row["attempts"]) if session is not None else None
            if (
                session is not None
                and lease is not None
                and session.link is not None
                and not lease.cancel_sent
            ):
                session.cancel(lease, CancelRequest.of(row["reason"], row["left"]))
