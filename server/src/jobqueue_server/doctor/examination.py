"""Looks at everything, one thing after the other. What can't be read is a finding too."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta

from ..core.insight.workers import LISTED_FOR, server_seen
from ..core.upkeep.condition import ConditionReader
from ..core.upkeep.levels import LEVEL
from ..core.upkeep.retention import partition_width
from ..errors import DatabaseAway
from ..security import Seen, check, warnings_of
from ..settings import Settings, SettingsInvalid
from ..store import migrate, pooler
from ..store.database import Session
from ..store.insight.insight import InsightStore
from ..store.upkeep.condition import ConditionStore
from ..store.upkeep.examination import UNREADABLE, ExaminationStore, examined, undurable
from ..store.upkeep.role import RoleStore
from ..store.upkeep.standstill import StandstillStore
from ..tls import TlsUnusable, tls_of
from . import rules
from .findings import Finding, Grade

Look = Callable[[], Awaitable[Iterable[Finding]]]


async def examine(settings: Settings, dsn: str | None) -> AsyncIterator[Finding]:
    """All findings.

    Args:
        settings: Those that a server would have.
        dsn: The database; None: there is none, since the embedded one does not run.
    """
    for finding in _of_settings(settings):
        yield finding
    if dsn is None:
        yield Finding(
            "connection",
            Grade.BROKEN,
            "DATABASE_URL is not set, and no server runs with the embedded PostgreSQL of the data folder",
            "a database",
            "set DATABASE_URL as the server has it; or start jobqueue-server, and ask again beside it",
        )
        return
    try:
        async with examined(dsn) as (session, told_pid):
            yield Finding("connection", Grade.OK, "the database takes this login")
            async for finding in _Database(settings, dsn, session, told_pid).findings():
                yield finding
    except DatabaseAway as error:
        yield _unreached(error, "start it; or mend the address in DATABASE_URL, or the network between")
    except migrate.MigrationError as error:
        yield _unreached(error, "mend the login in DATABASE_URL, or pg_hba.conf of PostgreSQL")


def _unreached(error: Exception, do: str) -> Finding:
    return Finding("connection", Grade.BROKEN, str(error), "the database takes this login", do)


def _of_settings(settings: Settings) -> Iterable[Finding]:
    try:
        warnings = check(settings)
    except SettingsInvalid as error:
        yield from rules.of_texts("settings", Grade.BROKEN, str(error).splitlines())
    else:
        if not warnings:
            yield Finding("settings", Grade.OK, "a server would start with them")
        yield from rules.of_texts("settings", Grade.WARNING, warnings)
    try:
        tls = tls_of(settings)
    except TlsUnusable as error:
        yield Finding("certificate", Grade.BROKEN, str(error), "a certificate and its key", "mend the files")
    else:
        if tls is not None:
            yield rules.of_certificate(timedelta(seconds=tls.not_after - time.time()))


class _Database:
    """What is seen over one connection that writes nothing."""

    def __init__(self, settings: Settings, dsn: str, session: Session, told_pid: int) -> None:
        self._settings = settings
        self._dsn = dsn
        self._session = session
        self._told_pid = told_pid
        self._store = ExaminationStore(session)
        self._condition = ConditionStore(session, retention=settings.retention)

    async def findings(self) -> AsyncIterator[Finding]:
        looks: dict[str, Look] = {
            "PostgreSQL": self._postgres,
            "pooler": self._pooler,
            "standby": self._standbys,
            "schema": self._schema,
            "level": self._level,
            "standstill": self._standstill,
            "role": self._role,
            "rights": self._rights,
            "clock": self._clock,
            "servers": self._servers,
            "condition": self._state,
            "tables": self._tables,
            "slots": self._slots,
        }
        for about, look in looks.items():
            try:
                for finding in await look():
                    yield finding
            except UNREADABLE as error:
                said = " ".join(str(error).split()) or type(error).__name__
                yield Finding(
                    about, Grade.WARNING, f"it can't be read: {said}", "it can", "mend what is named above first"
                )  # fmt: skip

    async def _postgres(self) -> Iterable[Finding]:
        row = await self._store.examine_postgres()
        found = list(rules.of_postgres(row, await undurable(self._session)))
        return [*found, rules.of_connections(row, self._settings.db_pool_size), rules.of_xids(row)]

    async def _pooler(self) -> Iterable[Finding]:
        # A pooler greets a client with a number of its own making.
        own = (await self._store.examine_postgres())["pid"] == self._told_pid
        try:
            await pooler.check(self._dsn)
        except pooler.PoolerUnusable as error:
            seen, _, remedy = str(error).partition(": ")
            return [Finding("pooler", Grade.BROKEN, seen, "pool_mode=session, or none", remedy)]
        return [Finding("pooler", Grade.OK, "none" if own else "one, which keeps connections apart")]

    async def _standbys(self) -> Iterable[Finding]:
        row = await self._store.examine_postgres()
        return rules.of_standbys(row["synchronous_standbys"], await self._store.examine_standbys())

    async def _schema(self) -> Iterable[Finding]:
        try:
            await migrate.verify(self._dsn)
        except migrate.MigrationError as error:
            seen, _, remedy = str(error).partition(": ")
            return [Finding("schema", Grade.BROKEN, seen, "the schema of this version", remedy)]
        newest, known = await self._condition.newest_migration(), len(migrate.load())
        if newest > known:
            seen = f"migration {newest:04}, and this version knows {known:04}; it can run with that"
            return [Finding("schema", Grade.NOTE, seen)]
        return [Finding("schema", Grade.OK, f"migration {newest:04}, as this version knows it")]

    async def _level(self) -> Iterable[Finding]:
        required = await self._store.required_level()
        seen = f"the database requires servers of level {required}, and this version has {LEVEL}"
        if required <= LEVEL:
            return [Finding("level", Grade.OK, seen)]
        return [Finding("level", Grade.BROKEN, seen, f"{required} or more", "upgrade jobqueue-server here")]

    async def _standstill(self) -> Iterable[Finding]:
        row = await StandstillStore(self._session).read_standstill()
        return [rules.of_standstill(row, asked=self._settings.start == "paused")]

    async def _role(self) -> Iterable[Finding]:
        if self._settings.dsn is None:
            return [Finding("role", Grade.OK, "the embedded PostgreSQL is the server's own")]
        seen = Seen(await RoleStore(self._session).read_role(), await self._ahead())
        found = list(rules.of_texts("role", Grade.WARNING, warnings_of(self._settings, seen)))
        return found or [Finding("role", Grade.OK, "it owns nothing, and is no superuser")]

    async def _rights(self) -> Iterable[Finding]:
        return [rules.of_rights(await self._store.examine_rights())]

    async def _ahead(self) -> timedelta:
        before = time.time()
        database = await self._store.database_us() / 1e6
        return timedelta(seconds=(before + time.time()) / 2 - database)

    async def _clock(self) -> Iterable[Finding]:
        return [rules.of_clock(await self._ahead())]

    async def _servers(self) -> Iterable[Finding]:
        # No server has the number 0.
        rows = await InsightStore(self._session).server_loads(0)
        return rules.of_fleet(
            [server_seen(row, {}) for row in rows if row["now"] - row["heartbeat_at"] < LISTED_FOR]
        )

    async def _state(self) -> Iterable[Finding]:
        holder = await self._condition.oldest_holder()
        condition = await ConditionReader(
            self._condition,
            width=partition_width(self._settings.retention),
            known_migration=len(migrate.load()),
        ).read()
        return [
            rules.of_snapshot(condition, holder.who),
            rules.of_partitions(condition),
            rules.of_retention(condition),
        ]

    async def _tables(self) -> Iterable[Finding]:
        dead = await self._condition.dead_rows()
        row = await self._store.examine_postgres()
        return rules.of_tables(row["vacuums"], dead, await self._store.examine_bloat(list(dead)))

    async def _slots(self) -> Iterable[Finding]:
        return rules.of_slots(await self._store.examine_slots())
