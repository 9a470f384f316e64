"""A standstill: nothing is handed out and no schedule fires, on any server, until an operator resumes.

After a restore the world is ahead of the queue: what ran since would run again at once. So an operator starts servers
with JOBQUEUE_START=paused, looks, and then resumes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ... import logs
from ...store.upkeep.standstill import StandstillStore

_log = logs.get(__name__)

#: What ends it.
REMEDY = "jobqueue-server resume"


class Standstill:
    """What the database says of it, as last heard: with each heartbeat, so that all servers know within 2 s.

    Args:
        store: The statements.
    """

    def __init__(self, store: StandstillStore) -> None:
        self._store = store
        self._since: datetime | None = None
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def since(self) -> datetime | None:
        """Since when nothing is handed out; None: it is."""
        return self._since

    def subscribe(self, listener: Callable[[bool], None]) -> None:
        """Calls it with whether it stands, whenever that changes."""
        self._listeners.append(listener)

    async def start(self, *, paused: bool, by: str) -> None:
        """Before anything is handed out: reads it, and with `paused` begins it.

        Raises:
            DatabaseAway: It can't be read.
        """
        row = await self._store.read_standstill()
        if paused and row["since"] is None:
            if not await self._store.begin_standstill(by):
                _log.warning(
                    "JOBQUEUE_START=paused has no effect, since an operator has resumed: take it away",
                    resumed_at=row["resumed_at"],
                    resumed_by=row["resumed_by"],
                )
            row = await self._store.read_standstill()
        self.heard(row["since"])

    def heard(self, since: datetime | None) -> None:
        """Takes what was read."""
        if (since is None) == (self._since is None):
            return
        self._since = since
        if since is None:
            _log.warning("jobs are handed out and schedules fire again")
        else:
            _log.warning(
                "nothing is handed out and no schedule fires until an operator resumes",
                since=since,
                do=REMEDY,
            )
        for listener in self._listeners:
            listener(since is not None)
