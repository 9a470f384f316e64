"""Writes down which sessions have no stream. From then on any server counts their ttl."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from ...errors import JobQueueError
from ...store.session.sessions import SessionStore
from ..lease.session import Session

_log = logging.getLogger(__name__)


class Silences:
    """The silent sessions that are not written yet."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._unwritten: set[Session] = set()
        self._one_came = asyncio.Event()

    def add(self, session: Session) -> None:
        """The stream of this session is gone, or never came."""
        self._unwritten.add(session)
        self._one_came.set()

    def discard(self, session: Session) -> None:
        """The session is not this server's any more."""
        self._unwritten.discard(session)

    def __contains__(self, session: Session) -> bool:
        return session in self._unwritten

    async def one(self) -> None:
        """Waits until a session became silent since the last `write`."""
        await self._one_came.wait()

    async def write(self) -> list[Session]:
        """Writes all in one statement: a proxy that restarts silences thousands.

        Returns:
            Those that were not to be written: they go on with another server, or have ended.
        """
        self._one_came.clear()
        silent = list(self._unwritten)
        if not silent:
            return []
        now = time.monotonic()
        try:
            written = await self._store.silence(
                [(session.id, session.epoch, timedelta(seconds=now - session.heard_at)) for session in silent]
            )
        except JobQueueError as error:
            # They are tried again with the next ones, or once the database is back.
            _log.warning("could not write that %d sessions are silent: %s", len(silent), error)
            return []
        self._unwritten.difference_update(silent)
        return [session for session in silent if session.id not in written]
