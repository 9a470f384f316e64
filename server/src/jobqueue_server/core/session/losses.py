"""Ends sessions whose ttl is over, and gives back leases without a receipt."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from ...lifecycle import Event
from ...metrics import Metrics
from ...store.attempt.attempts import AttemptEnd
from ...store.database import Record
from ...store.session.sessions import SessionStore
from ..events.notices import Peers
from ..lease.attempt_ends import AttemptEnds
from ..lease.lease import Lease
from ..lease.session import Session
from ..lease.states import SessionState
from ..tuning import Tuning
from .registry import Sessions
from .silences import Silences

_log = logging.getLogger(__name__)


class Losses:
    """Ends lost sessions and gives back leases. It knows the receipts of the sessions that this server had."""

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        silences: Silences,
        attempts: AttemptEnds,
        peers: Peers,
        metrics: Metrics,
        tuning: Tuning | None = None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._silences = silences
        self._attempts = attempts
        self._peers = peers
        self._metrics = metrics
        self._tuning = tuning or Tuning()

    async def reap(self, expired: Sequence[Record], read_at: float) -> None:
        """Ends sessions whose ttl is over, in one transaction.

        What a worker was seen to hold is lost; the rest goes back as `Session.end_of` says. `read_at`, of
        `time.monotonic`, is when it was asked which sessions these are.
        """
        silent: dict[int, Session | None] = {}
        for row in expired:
            session = self._sessions.get(row["id"])
            if session is None or session.epoch != row["epoch"]:
                silent[row["id"]] = None
            elif session.link is None:
                silent[row["id"]] = session
        # Where a stream was here, this server knows what was delivered on it.
        known = {
            session_id: {lease.job_id: session.end_of(lease) for lease in session.leases.values()}
            for session_id, session in silent.items()
            if session is not None and session.had_stream
        }
        told = {row["id"]: row for row in expired if row["id"] in silent}
        if not told:
            return

        def decide(row: Record) -> AttemptEnd:
            session_id = row["session_id"]
            event = Event.LOST
            if session_id in known:
                event = known[session_id].get(row["id"], Event.UNDELIVERED)
            message = f"the session of worker {told[session_id]['name']} was lost"
            return AttemptEnd(
                row["id"],
                row["attempts"],
                session_id,
                event,
                message=message if event is Event.LOST else None,
            )

        ended, rows = await self._store.reap({id: row["epoch"] for id, row in told.items()}, decide)
        since_read = time.monotonic() - read_at
        for session_id in ended:
            session = silent[session_id]
            if session is not None:
                self._sessions.forget(session)
            row = told[session_id]
            self._peers.tell_ended(session_id, row["epoch"])
            self._metrics.session_lost(row["late"] + since_read)
            _log.warning(
                "session %d of worker %s is lost, with %d leases", session_id, row["name"], row["leases"]
            )
        self._attempts.ended(rows)

    async def give_back_unseen(self) -> None:
        """Gives back the leases without a receipt, of streams that broke and of workers that do not read.

        Raises:
            DatabaseAway: It is tried again with the next look.
        """
        together: dict[Session, list[Lease]] = {}
        leases = 0
        for session in self._sessions.all():
            unseen = self._unseen(session)
            if not unseen:
                continue
            if together and (
                len(together) >= self._tuning.unseen_sessions
                or leases + len(unseen) > self._tuning.unseen_leases
            ):
                await self._give_back(together)
                together, leases = {}, 0
            together[session] = unseen
            leases += len(unseen)
        if together:
            await self._give_back(together)

    def _unseen(self, session: Session) -> list[Lease]:
        """The leases that are to go back now."""
        if session.link is not None:
            return session.unseen_for(self._tuning.unseen_intervals) if session.receipts.wanted else []
        if session.state is SessionState.OPENING or session in self._silences:
            return []
        if (
            session.ttl <= self._tuning.unseen_after
            or time.monotonic() - session.heard_at < self._tuning.unseen_after.total_seconds()
        ):
            return []
        return session.unseen_without_stream()

    async def _give_back(self, unseen: Mapping[Session, Sequence[Lease]]) -> None:
        silent = {session for session in unseen if session.link is None}
        ends = [
            AttemptEnd(
                lease.job_id,
                lease.attempt,
                session.id,
                session.end_of(lease) if session in silent else Event.UNDELIVERED,
            )
            for session, leases in unseen.items()
            for lease in leases
        ]
        rows = await self._store.give_back(
            [(session.id, session.epoch, session in silent) for session in unseen], ends
        )
        back = {(row["session_id"], row["id"], row["attempts"]) for row in rows}
        for session, leases in unseen.items():
            gone = [lease for lease in leases if (session.id, lease.job_id, lease.attempt) in back]
            if not gone:
                continue
            _log.warning(
                "session %d of worker %s sent no receipt for %d leases; they go back",
                session.id,
                session.name,
                len(gone),
            )
            for lease in gone:
                session.drop(lease.lease_id, linger=session.link is not None)
            if session.link is not None:
                session.link.revoke([lease.lease_id for lease in gone], "UNSEEN")
        self._attempts.ended(rows)
