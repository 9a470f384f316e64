"""Sessions and the credentials that they were opened by: what is revoked ends, what has expired is to be renewed."""

from __future__ import annotations

import asyncio
import logging
import math
import time

from ...errors import CredentialsExpired, JobQueueError, NotAllowed, SessionEnded, SessionSuperseded
from ...lifecycle import Event
from ...metrics import Metrics
from ...scope import Scope
from ...store.attempt.attempts import AttemptEnd
from ...store.database import Record
from ...store.session.sessions import SessionStore
from ..access.access import Access
from ..access.checks import check_subscriptions
from ..claim.takers import Takers
from ..events.notices import Peers
from ..lease.attempt_ends import AttemptEnds
from ..lease.session import Session
from ..tuning import Tuning
from .registry import Sessions

_log = logging.getLogger(__name__)


class Credentials:
    """Looks at all sessions whenever keys change.

    A session whose key was revoked, or may not work on all of its subscriptions any more, gets no job from the moment
    that this server knows, and ends; its leases go back uncharged. One whose key has expired is asked to connect anew,
    which it can with the key's successor; it ends if it has not after `Tuning.renew_within`.
    """

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        takers: Takers,
        attempts: AttemptEnds,
        access: Access,
        peers: Peers,
        metrics: Metrics,
        tuning: Tuning,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._takers = takers
        self._attempts = attempts
        self._access = access
        self._peers = peers
        self._metrics = metrics
        self._tuning = tuning
        self._ending: dict[Session, JobQueueError] = {}
        # Sessions whose key has expired, with the time of the loop's clock when they end.
        self._renewing: dict[Session, float] = {}
        self._wake = asyncio.Event()
        # Whether the sessions of revoked keys that no server holds have to be looked for.
        self._changed = False
        access.hear_change(self.keys_changed)
        sessions.hear_attached(self._attached)

    def keys_changed(self) -> None:
        """Keys have changed: what may not go on gets no more jobs."""
        self._changed = True
        self._look()
        self._wake.set()

    def _attached(self, session: Session) -> None:
        """A key may have ended between the call and its Welcome."""
        self._look_at(session, time.monotonic())
        if self._ending:
            self._wake.set()

    async def run(self) -> None:
        """Ends what has to end, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._tuning.credentials_every if self._renewing else None):
                    await self._wake.wait()
            except TimeoutError:
                self._look()
            self._wake.clear()
            try:
                await self._end_all()
            except JobQueueError as error:
                _log.warning("sessions whose keys were revoked could not be ended yet: %s", error)
                await asyncio.sleep(self._tuning.credentials_every)
                self._wake.set()

    def _look(self) -> None:
        now = time.monotonic()
        held = self._sessions.all()
        for session in list(self._renewing):
            if session not in held:
                del self._renewing[session]
        for session in held:
            self._look_at(session, now)

    def _look_at(self, session: Session, now: float) -> None:
        scope, error = self._access.now(session.scope)
        if error is None and scope is not session.scope:
            error = _falls_away(scope, session)
            if error is None:
                session.act_as(scope)
        if isinstance(error, CredentialsExpired):
            error = self._renew(session, error, now)
        if error is not None:
            self._takers.detach(session)
            self._ending[session] = error

    def _renew(self, session: Session, error: JobQueueError, now: float) -> JobQueueError | None:
        """Asks for a new key once, and answers the error when the time for it is over."""
        ends_at = self._renewing.get(session)
        if ends_at is None:
            self._renewing[session] = now + self._tuning.renew_within
            self._takers.detach(session)
            link = session.link
            if link is not None and session.too_old(math.inf):
                link.go_away("CREDENTIALS_EXPIRED", None)
            return None
        return error if now >= ends_at else None

    async def _end_all(self) -> None:
        while self._ending:
            session, error = next(iter(self._ending.items()))
            link = session.link
            try:
                await self._sessions.end(session, "refused")
                self._peers.tell_ended(session.id, session.epoch)
                _log.info("session %d of worker %s ends: %s", session.id, session.name, error)
            except (SessionEnded, SessionSuperseded):
                pass
            if link is not None:
                link.fail(error)
            self._ending.pop(session, None)
            self._renewing.pop(session, None)
        if self._changed:
            self._changed = False
            try:
                await self._end_unheld()
            except JobQueueError:
                self._changed = True
                raise

    async def _end_unheld(self) -> None:
        """Ends the sessions of revoked keys that have no stream, whichever server heard them last."""
        revoked = self._access.revoked()
        if not revoked:
            return
        for session_id, epoch in await self._store.by_credential(revoked):

            def decide(row: Record, session_id: int = session_id) -> AttemptEnd:
                return AttemptEnd(row["id"], row["attempts"], session_id, Event.RELEASE)

            rows = await self._store.end(session_id, epoch, decide)
            if rows is not None:
                self._attempts.ended(rows)
                self._peers.tell_ended(session_id, epoch)
                self._metrics.session_ended("refused")
                _log.info("session %d ends: its key was revoked", session_id)


def _falls_away(scope: Scope, session: Session) -> NotAllowed | None:
    """Whether grants that have changed no longer are for all that a session subscribes to."""
    try:
        check_subscriptions(scope, session.subscriptions)
    except NotAllowed as error:
        return error
    return None
