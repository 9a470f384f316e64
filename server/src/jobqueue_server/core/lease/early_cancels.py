"""Cancels that overtook the delivery of their lease, kept until it is handed over."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from .lease import CancelRequest, Lease
from .session import Session


class EarlyCancels:
    """Cancels whose lease no session here had when they came.

    Args:
        grace: How long a worker has to stop.
        kept: Seconds that a cancel waits for its lease.
    """

    def __init__(self, grace: timedelta, kept: float) -> None:
        self._grace = grace
        self._kept_for = kept
        self._kept: dict[UUID, tuple[int, str, float]] = {}

    def keep(self, job_id: UUID, attempt: int, reason: str) -> None:
        """A cancel of an attempt whose lease is not here, or not yet."""
        self._kept[job_id] = (attempt, reason, time.monotonic())

    def forget_old(self) -> None:
        """Drops what was kept for long: its lease is another server's."""
        now = time.monotonic()
        for job_id in [job_id for job_id, kept in self._kept.items() if now - kept[2] > self._kept_for]:
            del self._kept[job_id]

    def handed_over(self, session: Session, leases: Sequence[Lease]) -> None:
        """Leases were put on a stream: sends after them the cancels that came before."""
        if not self._kept:
            return
        for lease in leases:
            kept = self._kept.pop(lease.job_id, None)
            if kept is not None and kept[0] == lease.attempt:
                session.cancel(lease, CancelRequest(kept[1], self._grace))

    def attached(self, session: Session) -> None:
        """A resumed session has a stream: what it kept and is to stop is told on it."""
        for lease in session.leases.values():
            kept = self._kept.pop(lease.job_id, None)
            if kept is not None:
                session.cancel(lease, CancelRequest(kept[1], self._grace))
            elif lease.asked is not None:
                session.cancel(lease, lease.asked)
