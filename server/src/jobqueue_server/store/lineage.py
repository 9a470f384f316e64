"""Which PostgreSQL a process writes to: connections to a former primary are refused, and open ones are ended.

A promotion begins a new timeline, and the former primary stays on the old one. What is written there is lost when it
joins the new primary, so a process that has seen a newer timeline writes to no older one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NoReturn
from weakref import WeakKeyDictionary

import asyncpg

from .statements import statement

_log = logging.getLogger(__name__)

TELL_EVERY = 60.0

# What PostgreSQL says to a role that may not ask, and what services that are no plain PostgreSQL say.
_NOT_TOLD = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFunctionError,
)


class LineageRefused(Exception):
    """The PostgreSQL that answers is not the one to write to. The text says why."""


class Lineage:
    """The newest timeline that this process has seen, and its connections, each with the timeline that it is on.

    It lasts as long as the process: one that was just started has seen nothing, and takes what it is given.
    """

    def __init__(
        self,
        on_refused: Callable[[str], None] = lambda cause: None,
        on_promoted: Callable[[], None] = lambda: None,
    ) -> None:
        """Tells refusals to `on_refused`, each with its cause, `timeline` or `cluster`, promotions to `on_promoted`."""
        self._on_refused = on_refused
        self._on_promoted = on_promoted
        self._cluster: int | None = None
        self._timeline = 0
        self._connections: WeakKeyDictionary[asyncpg.Connection, int] = WeakKeyDictionary()
        self._blind = False
        self._told_at = -TELL_EVERY

    async def admit(self, connection: asyncpg.Connection) -> None:
        """Asks a new connection for its cluster and timeline. A newer timeline ends the connections to older ones.

        Raises:
            LineageRefused: It is of a former primary, another cluster, or a standby.
        """
        try:
            row = await connection.fetchrow(statement("identify"))
        except _NOT_TOLD as error:
            if not self._blind:
                self._blind = True
                _log.warning(
                    "this database does not tell its timeline, so a former primary that comes back is not noticed: %s",
                    error,
                )
            return
        assert row is not None
        if row["timeline"] is None:
            raise LineageRefused("it is a standby")
        cluster, timeline = row["cluster"], int(row["timeline"], 16)
        if self._cluster is None:
            self._cluster = cluster
        if cluster != self._cluster:
            self._refuse(
                "cluster",
                f"it is another cluster than the one that this server has worked with: {cluster}, not {self._cluster}",
            )
        if timeline < self._timeline:
            self._refuse(
                "timeline",
                f"it is a former primary, on timeline {timeline} where this server has seen {self._timeline}",
            )
        self._connections[connection] = timeline
        if timeline > self._timeline:
            if self._timeline:
                self._on_promoted()
            self._timeline = timeline
            self._end_older()

    def _refuse(self, cause: str, why: str) -> NoReturn:
        self._on_refused(cause)
        now = time.monotonic()
        if now - self._told_at > TELL_EVERY:
            self._told_at = now
            _log.error("a connection to the database is refused: %s", why)
        raise LineageRefused(why)

    def _end_older(self) -> None:
        """Ends connections to an older timeline, also amid a statement: no caller may hear OK of a commit there."""
        older = [
            connection for connection, timeline in self._connections.items() if timeline < self._timeline
        ]
        for connection in older:
            connection.terminate()
        if older:
            _log.warning(
                "the database has a new primary, on timeline %d: %d connections to the former one are ended",
                self._timeline,
                len(older),
            )
