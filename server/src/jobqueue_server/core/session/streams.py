"""The streams of this server's sessions: which fell silent, and which are so old that their workers are to move."""

from __future__ import annotations

import asyncio
import logging
import time

from ..claim.takers import Takers
from ..events.database_state import DatabaseChange, DatabaseState
from ..lease.session import Link, Session
from ..tuning import Tuning
from .registry import Sessions
from .silences import Silences
from .tokens import silent

_log = logging.getLogger(__name__)


class Streams:
    """Looks at each of them twice a second, and at once where one broke."""

    def __init__(
        self,
        sessions: Sessions,
        silences: Silences,
        takers: Takers,
        database: DatabaseState,
        tuning: Tuning | None = None,
    ) -> None:
        self._sessions = sessions
        self._takers = takers
        self._silences = silences
        self._tuning = tuning or Tuning()
        database.subscribe(self._database_changed)

    async def _database_changed(self, change: DatabaseChange) -> None:
        """Another server may reach it, before the sessions of this one are lost."""
        if change is DatabaseChange.LONG_AWAY:
            for session in self._sessions.linked():
                session.go_away("DATABASE_AWAY", None)

    async def run(self) -> None:
        """Finds the connections that fell silent, and writes down whose stream is gone, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._tuning.streams_every):
                    await self._silences.one()
                # Many break together.
                await asyncio.sleep(self._tuning.breaks_gather)
            except TimeoutError:
                pass
            self.check()
            for session in await self._silences.write():
                self._sessions.forget(session)

    def check(self) -> None:
        """Checks each stream."""
        now = time.monotonic()
        for session in self._sessions.all():
            link = session.link
            if link is not None and self._is_silent(session, now):
                _log.warning("session %d of worker %s is silent", session.id, session.name)
                link.fail(silent(now - session.heard_at))
                self._sessions.broken(session, link)
            elif link is not None:
                session.receipts.insist()
                self._move_on(session, link, now)

    def _is_silent(self, session: Session, now: float) -> bool:
        return now - session.heard_at > self._tuning.silent_after_intervals * session.heartbeat_seconds

    def _move_on(self, session: Session, link: Link, now: float) -> None:
        """Asks a worker to connect anew before its connection is too old; one that finds no other server stays."""
        if now >= session.leave_at:
            if session.too_old(now + self._tuning.stays_after):
                self._takers.detach(session)
                link.go_away("MAX_AGE", None)
        elif now >= session.stays_at:
            session.stayed(self._sessions.leave_at(now))
            self._sessions.capacity_changed(session)
