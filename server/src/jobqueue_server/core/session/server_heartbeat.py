"""The server's heartbeat: one row for all of its sessions. It also finds out whether the database is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ... import __version__
from ...errors import JobQueueError
from ...metrics import Metrics
from ...store.database import Record
from ...store.dsn import cause_of
from ...store.session.sessions import SessionStore
from ...store.upkeep.levels import LevelTooLow
from ..events.database_state import DatabaseState
from ..events.this_server import ThisServer
from ..upkeep.expected_clock import ExpectedClocks
from ..upkeep.levels import Levels
from ..upkeep.standstill import Standstill

_log = logging.getLogger(__name__)

EVERY = 2.0
# Retried fast, so that the service resumes within 2 s of the database's return.
EVERY_WHILE_AWAY = 0.5
AWAY_AFTER = 8.0
# A busy machine makes one heartbeat late. A connection that is refused or lost is not late, and decides at once.
LATE_IS_AWAY = 2
TELL_EVERY = 5.0


class ServerHeartbeat:
    """Says that this server lives, and tells `database` whether it can be reached.

    With a heartbeat goes what `load` says of its workers, where that has changed.

    Each heartbeat also reads the database's clock, for `clocks`, whether the queue stands, and the level that the
    database requires. Where that is above this server's, `on_outdated` is called with the reason, once. Heartbeats go
    on while the server drains.

    What it learns of this process in the table of servers it tells `server`.
    """

    def __init__(
        self,
        store: SessionStore,
        server: ThisServer,
        name: str,
        database: DatabaseState,
        on_outdated: Callable[[LevelTooLow], None],
        clocks: ExpectedClocks,
        levels: Levels,
        standstill: Standstill,
        load: Callable[[], Awaitable[str]],
        metrics: Metrics,
    ):
        self._store = store
        self._server = server
        self._name = name
        self._database = database
        self._on_outdated = on_outdated
        self._clocks = clocks
        self._levels = levels
        self._standstill = standstill
        self._load = load
        self._metrics = metrics
        # What was last written of it.
        self._load_told: str | None = None
        self._outdated = False
        self.reachable = True

    async def start(self) -> None:
        """Registers the server, and logs an error if the database may lose what it acknowledged.

        Raises:
            LevelTooLow: The database requires a newer server.
        """
        for setting in await self._store.undurable():
            _log.error("this database may lose acknowledged jobs in a crash: it is set to %s", setting)
        sent = time.monotonic()
        row = await self._store.register_server(self._name, self._levels.own, __version__)
        self._levels.registered(row["min_level"])
        self._load_told = None
        self._server.registered(row["id"])
        self._heard(row, sent)

    async def run(self) -> None:
        """Writes heartbeats until cancelled."""
        last = time.monotonic()
        told = 0.0
        late = 0
        sent_away = False
        while True:
            try:
                async with asyncio.timeout(EVERY):
                    sent = time.monotonic()
                    load = await self._load()
                    news = load if load != self._load_told else None
                    row = await self._store.server_heartbeat(self._server.id, news)
                    if row is None:
                        await self.start()
                    else:
                        self._load_told = load
                        self._server.counted(row["peers"])
                        self._heard(row, sent)
                    await self._store.check_connections()
                last = time.monotonic()
                late = 0
                if not self.reachable:
                    _log.warning("the database is back")
                    self.reachable = True
                    await self._database.is_back()
                sent_away = False
                if row is not None:
                    self._standstill.heard(row["standing_since"])
                    self._levels.heard(row["min_level"])
            except LevelTooLow as error:
                if not self._outdated:
                    self._outdated = True
                    self._on_outdated(error)
            except (JobQueueError, TimeoutError) as error:
                now = time.monotonic()
                late = late + 1 if _is_late(error) else LATE_IS_AWAY
                if self.reachable and late >= LATE_IS_AWAY:
                    self.reachable = False
                    await self._database.went_away(_told(error))
                if not self.reachable and now - told > TELL_EVERY:
                    told = now
                    _log.error("the database is away: %s", cause_of(error))
                if now - last > AWAY_AFTER and not sent_away:
                    sent_away = True
                    await self._database.is_long_away()
            await asyncio.sleep(EVERY_WHILE_AWAY if late else EVERY)

    async def stop(self) -> None:
        """Takes the server's row away; its sessions count as silent from now."""
        try:
            async with asyncio.timeout(EVERY):
                await self._store.retire_server(self._server.id)
        except (JobQueueError, TimeoutError) as error:
            _log.warning("the server could not sign off: %s", cause_of(error))

    def _heard(self, row: Record, sent: float) -> None:
        # It took 2 s at most, so its middle is less than a second off.
        middle = (sent + time.monotonic()) / 2
        self._clocks.heard(row["at"], middle)
        if row["amnesty"]:
            self._metrics.amnesty()
            _log.warning(
                "no server could hear a worker for a while: no session is lost before its ttl is over anew"
            )


def _is_late(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)


def _told(error: BaseException) -> str:
    """What balancers are told: what callers are."""
    return error.message if isinstance(error, JobQueueError) else "the database does not answer"
