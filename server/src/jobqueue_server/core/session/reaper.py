"""The reaper: takes back what no worker holds any more - lost sessions, leases past their deadline."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from ...errors import JobQueueError
from ...lifecycle import Event
from ...store.attempt.attempts import AttemptEnd
from ...store.database import Record
from ...store.session.sessions import SessionStore
from ..events.this_server import ThisServer
from ..lease.attempt_ends import AttemptEnds
from ..tuning import Tuning
from ..upkeep.duty_cycle import DutyCycle
from .audit import Audit
from .losses import Losses
from .revocations import Revocations

_log = logging.getLogger(__name__)


class Reaper:
    """Each quarter second it looks for deadlines and lost sessions, mostly each 10 s it audits the leases."""

    def __init__(
        self,
        store: SessionStore,
        revocations: Revocations,
        losses: Losses,
        audit: Audit,
        attempts: AttemptEnds,
        server: ThisServer,
        tuning: Tuning | None = None,
    ) -> None:
        self._store = store
        self._revocations = revocations
        self._losses = losses
        self._audit = audit
        self._attempts = attempts
        self._server = server
        self._tuning = tuning or Tuning()

    async def run(self) -> None:
        """Reaps until cancelled. While the database is away it waits."""
        audits = DutyCycle(self._tuning.audit_every)
        while True:
            await asyncio.sleep(self._tuning.reap_every)
            try:
                await self.end_due()
                await self.reap_lost()
                await self.give_back_unseen()
                if not audits.left:
                    with audits.done():
                        await self._audit.audit()
            except JobQueueError as error:
                _log.debug("the reaper waits: %s", error)
                # Others may have reaped what is here, while only this server could not reach the database.
                audits.soon()

    async def end_due(self) -> None:
        """Run timeouts are failures at their deadline; cancel graces end in CANCELLED. The worker is told."""
        rows = await self._store.due(self._server.id, self._tuning.reap_most)
        if not rows:
            return
        ends = []
        for row in rows:
            if row["timed_out"]:
                seconds = timedelta(milliseconds=row["timeout_ms"]).total_seconds()
                event, message = Event.TIMEOUT, f"the attempt ran longer than its timeout of {seconds:g} s"
            else:
                event, message = (
                    Event.CANCEL_GRACE_ENDED,
                    "the worker did not answer the cancel within its grace",
                )
            ends.append(AttemptEnd(row["id"], row["attempts"], row["session_id"], event, message=message))
        left = await self._attempts.end(ends)
        for row in left:
            reason = "TIMED_OUT" if row["event"] == Event.TIMEOUT else "CANCEL_GRACE_ENDED"
            self._revocations.take_back(row["session_id"], row["id"], row["attempts"], reason)

    async def reap_lost(self) -> None:
        """Ends the sessions whose ttl is over."""
        together: list[Record] = []
        leases = 0
        read_at = time.monotonic()
        for row in await self._store.expired(self._server.id, self._tuning.reap_most):
            if together and (
                len(together) >= self._tuning.reaped_at_once
                or leases + row["leases"] > self._tuning.reap_most
            ):
                await self._losses.reap(together, read_at)
                together, leases = [], 0
            together.append(row)
            leases += row["leases"]
        if together:
            await self._losses.reap(together, read_at)

    async def give_back_unseen(self) -> None:
        """Gives back the leases that no receipt came for, where they need not wait for the end of the session."""
        await self._losses.give_back_unseen()
