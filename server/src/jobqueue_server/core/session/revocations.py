"""Tells workers, on any server, of leases that ended while their handlers still run."""

from __future__ import annotations

from uuid import UUID

from ..events.notices import Peers
from .registry import Sessions


class Revocations:
    """Tells a worker that a lease is no longer its own."""

    def __init__(self, sessions: Sessions, peers: Peers) -> None:
        self._sessions = sessions
        self._peers = peers
        peers.hear_taken_back(self.taken_back)

    def take_back(self, session_id: int, job_id: UUID, attempt: int, reason: str) -> None:
        """This server ended a lease. Its worker may be connected to another server."""
        if not self.taken_back(session_id, job_id, attempt, reason):
            self._peers.tell_taken_back(session_id, job_id, attempt, reason)

    def taken_back(self, session_id: int, job_id: UUID, attempt: int, reason: str) -> bool:
        """A lease is no longer its worker's: the worker is told, and its slot stays counted while the handler runs.

        Answers whether it was told here.
        """
        session = self._sessions.get(session_id)
        lease = session.find(job_id, attempt) if session is not None else None
        if session is None or lease is None:
            return False
        session.drop(lease.lease_id, linger=True)
        if session.link is None:
            return False
        session.link.revoke([lease.lease_id], reason)
        return True
