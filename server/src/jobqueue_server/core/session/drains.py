"""Workers that an operator drains, and those that say that they shut down: who gets no more jobs, on any server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from ...errors import JobQueueError
from ...store.session.sessions import SessionStore
from ..claim.takers import Takers
from ..events.notices import Peers
from ..lease.session import Session
from .registry import Sessions

_log = logging.getLogger(__name__)


class Drains:
    """Withholds jobs from sessions. Their rows say which. A notice is for speed, the audit finds the rest."""

    def __init__(self, store: SessionStore, sessions: Sessions, takers: Takers, peers: Peers) -> None:
        self._store = store
        self._sessions = sessions
        self._takers = takers
        self._peers = peers
        # Of workers without a stream, those that wait for jobs in a call.
        self._claiming: dict[int, Session] = {}
        peers.hear_drain(self.heard)

    def drain(self, session_id: int) -> None:
        """The row says so. Its stream, or its call, may be with another server."""
        self.heard(session_id)
        self._peers.tell_drain(session_id)

    def heard(self, session_id: int) -> None:
        """If the session is here it takes no more jobs. Those of a claim that is under way still come."""
        for session in (self._sessions.get(session_id), self._claiming.get(session_id)):
            if session is not None and session.withhold():
                self._takers.detach(session)
                _log.info(
                    "session %d of worker %s gets no more jobs: it is drained", session.id, session.name
                )

    def claims(self, session: Session) -> None:
        """A worker without a stream waits for jobs, in a call."""
        self._claiming[session.id] = session

    def claimed(self, session: Session) -> None:
        """Its call is about to be answered."""
        self._claiming.pop(session.id, None)

    async def said(self, session: Session, reason: str) -> None:
        """A worker that has jobs says that it shuts down: for those who look at workers, by any server."""
        try:
            await self._store.says_drain(session.id, session.epoch, reason)
        except JobQueueError as error:
            _log.debug("that session %d drains is not written: %s", session.id, error)


def takes_text(subscriptions: Iterable[tuple[str, str]], slots: int) -> str:
    """What a worker with a stream takes, as it is stored. A greeting has the same names."""
    return json.dumps({"subscriptions": sorted(subscriptions), "slots": slots})
