"""The reaper: takes back what nobody holds any more - lost sessions, leases past their deadline, strays."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta

from ..errors import JobQueueError
from ..lifecycle import Event
from ..store.database import Record
from ..store.jobs import JobStore, Leaving
from ..store.sessions import SessionStore
from .lease.attempt_ends import AttemptEnds
from .pace import Pace
from .sessions import Sessions

_log = logging.getLogger(__name__)

EVERY = 0.25
BATCH = 1000
REAPED_AT_ONCE = 200
AUDIT_EVERY = 10.0
# A lease younger than this may be under way between the database and this server's memory.
AUDIT_AGE = 10.0
# A stray commits within seconds of its session's end, and the clock may have been set by an hour since. The first
# audit looks for what no server was there to find.
STRAY_WITHIN = timedelta(hours=2)
STRAY_EVER = timedelta(days=36500)


class Reaper:
    """Each quarter second it looks for deadlines and lost sessions, mostly each 10 s it audits the leases."""

    def __init__(
        self,
        jobs: JobStore,
        store: SessionStore,
        sessions: Sessions,
        attempts: AttemptEnds,
        server_id: Callable[[], int],
    ) -> None:
        self._jobs = jobs
        self._server_id = server_id
        self._store = store
        self._sessions = sessions
        self._attempts = attempts
        self._stray_within = STRAY_EVER

    async def run(self) -> None:
        """Reaps until cancelled. While the database is away it waits."""
        audits = Pace(AUDIT_EVERY)
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.end_due()
                await self.reap_lost()
                await self.give_back_unseen()
                if not audits.left:
                    with audits.done():
                        await self.audit()
            except JobQueueError as error:
                _log.debug("the reaper waits: %s", error)
                # Others may have reaped what is here, while this server alone could not reach the database.
                audits.soon()

    async def end_due(self) -> None:
        """Run timeouts are failures at their deadline; cancel graces end in CANCELLED. The worker is told."""
        rows = await self._jobs.due(self._server_id(), BATCH)
        if not rows:
            return
        leavings = []
        for row in rows:
            if row["timed_out"]:
                seconds = timedelta(milliseconds=row["timeout_ms"]).total_seconds()
                event, message = Event.TIMEOUT, f"the attempt ran longer than its timeout of {seconds:g} s"
            else:
                event, message = (
                    Event.CANCEL_GRACE_ENDED,
                    "the worker did not answer the cancel within its grace",
                )
            leavings.append(Leaving(row["id"], row["attempts"], row["session_id"], event, message=message))
        left = await self._attempts.end(leavings)
        for row in left:
            reason = "TIMED_OUT" if row["event"] == Event.TIMEOUT else "CANCEL_GRACE_ENDED"
            self._sessions.take_back(row["session_id"], row["id"], row["attempts"], reason)

    async def reap_lost(self) -> None:
        """Ends the sessions whose ttl is over."""
        together: list[Record] = []
        leases = 0
        for row in await self._store.expired(self._server_id(), BATCH):
            # Thousands that are lost at once, as with a host, have two seconds; one that holds much goes alone.
            if together and (len(together) >= REAPED_AT_ONCE or leases + row["leases"] > BATCH):
                await self._sessions.reap(together)
                together, leases = [], 0
            together.append(row)
            leases += row["leases"]
        if together:
            await self._sessions.reap(together)

    async def give_back_unseen(self) -> None:
        """Gives back the leases that no receipt came for, where they need not wait for the end of the session."""
        await self._sessions.give_back_unseen()

    async def audit(self) -> None:
        """Compares the leases that the database knows with those that this server knows.

        What slips past a race - a hand-off that commits after its session was resumed or ended - is found here.
        """
        strays = [
            Leaving(row["id"], row["attempts"], row["session_id"], Event.UNDELIVERED)
            for row in await self._jobs.stray(self._stray_within)
        ]
        self._stray_within = STRAY_WITHIN
        await self._sessions.audit()
        linked = {session.id: session for session in self._sessions.all() if session.link is not None}
        old = {
            session_id: {
                (lease.job_id, lease.attempt)
                for lease in session.leases.values()
                if time.monotonic() - lease.terms.since > AUDIT_AGE and not lease.settling
            }
            for session_id, session in linked.items()
        }
        if linked:
            rows = await self._store.held(list(linked))
            known = {
                (session.id, lease.job_id, lease.attempt)
                for session in linked.values()
                for lease in session.leases.values()
            }
            for row in rows:
                session = linked[row["session_id"]]
                old[session.id].discard((row["id"], row["attempts"]))
                if row["epoch"] != session.epoch:
                    continue  # another server's, and that one knows it
                if row["older_than_flight"] and (session.id, row["id"], row["attempts"]) not in known:
                    strays.append(Leaving(row["id"], row["attempts"], session.id, Event.UNDELIVERED))
        for session_id, leases in old.items():
            for job_id, attempt in leases:
                _log.warning("job %s attempt %d is not session %d's any more", job_id, attempt, session_id)
                self._sessions.taken_back(session_id, job_id, attempt, "NOT_HELD")
        if strays:
            # One that was settled since it was read is no stray.
            back = await self._attempts.end(strays)
            if back:
                _log.warning("the audit gives back %d leases that nobody knows of", len(back))
