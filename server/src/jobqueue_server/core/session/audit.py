"""The audit: compares sessions and leases of this server's memory with those of the database."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from ...lifecycle import Event
from ...metrics import Metrics
from ...store.attempt.attempts import AttemptEnd
from ...store.session.sessions import SessionStore
from ..events.this_server import ThisServer
from ..lease.attempt_ends import AttemptEnds
from ..lease.states import SessionState
from ..tuning import Tuning
from .drains import Drains
from .registry import Sessions
from .revocations import Revocations
from .tokens import ended, superseded

_log = logging.getLogger(__name__)

# A stray commits within seconds of its session's end, and the clock may have been set by an hour since. The first
# audit looks for what no server was there to find.
STRAY_WITHIN = timedelta(hours=2)
STRAY_EVER = timedelta(days=36500)


class Audit:
    """Finds what slips past a race, and what was changed while this server could not reach the database."""

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        revocations: Revocations,
        drains: Drains,
        attempts: AttemptEnds,
        server: ThisServer,
        metrics: Metrics,
        tuning: Tuning | None = None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._revocations = revocations
        self._drains = drains
        self._attempts = attempts
        self._server = server
        self._metrics = metrics
        self._tuning = tuning or Tuning()
        self._stray_within = STRAY_EVER
        self._unheard: set[tuple[int, int]] = set()

    async def audit(self) -> None:
        """Compares the leases that the database knows with those that this server knows.

        What slips past a race - a hand-off that commits after its session was resumed or ended - is found here.
        """
        strays = [
            AttemptEnd(row["id"], row["attempts"], row["session_id"], Event.UNDELIVERED)
            for row in await self._store.stray(self._stray_within)
        ]
        self._stray_within = STRAY_WITHIN
        await self.sessions_here()
        linked = {session.id: session for session in self._sessions.all() if session.link is not None}
        old = {
            session_id: {
                (lease.job_id, lease.attempt)
                for lease in session.leases.values()
                if time.monotonic() - lease.template.since > self._tuning.audit_age and not lease.settling
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
                    strays.append(AttemptEnd(row["id"], row["attempts"], session.id, Event.UNDELIVERED))
        for session_id, leases in old.items():
            for job_id, attempt in leases:
                _log.warning("job %s attempt %d is not session %d's any more", job_id, attempt, session_id)
                self._revocations.taken_back(session_id, job_id, attempt, "NOT_HELD")
        if strays:
            # One that was settled since it was read is no stray.
            back = await self._attempts.end(strays)
            if back:
                self._metrics.strays(len(back))
                _log.warning("the audit gives back %d leases that no session here knows of", len(back))

    async def sessions_here(self) -> None:
        """Compares the sessions that the database counts as heard here with those that this server knows.

        One that was reaped while this server could not reach the database, or that goes on elsewhere, is ended here:
        it would get no more jobs. Of one that is drained the notice may have been lost. A session that is unknown here
        becomes silent, since it would never be reaped: its resume committed, and its caller was gone or the answer was
        lost.
        """
        known = self._sessions.all()
        rows = await self._store.open_sessions(self._server.id, [session.id for session in known])
        epochs = {row["id"]: row["epoch"] for row in rows}
        drains = {row["id"] for row in rows if row["drains"]}
        for session in known:
            if epochs.get(session.id) == session.epoch or self._sessions.get(session.id) is not session:
                if session.id in drains:
                    self._drains.heard(session.id)
                continue
            if session.id in epochs:
                # As after every planned move whose notice was lost, or of a server that sends none.
                _log.info("session %d of worker %s goes on elsewhere", session.id, session.name)
                self._sessions.let_go(session, superseded())
            else:
                # One that is ending has ended by its worker's word, and its stream was cut off before this server knew.
                if session.state is not SessionState.ENDING:
                    _log.warning("session %d of worker %s has ended elsewhere", session.id, session.name)
                self._sessions.let_go(session, ended())
        here = {(session.id, session.epoch) for session in self._sessions.all()}
        unheard = {(row["id"], row["epoch"]) for row in rows if row["counted_on"]} - here
        # Seen twice: a session that is just being opened is in the database first.
        if again := unheard & self._unheard:
            # Each caller was gone before its session was open: no fault of the server.
            _log.info("%d sessions have no stream and were not marked as silent", len(again))
            await self._store.silence([(session_id, epoch, timedelta()) for session_id, epoch in again])
        self._unheard = unheard
