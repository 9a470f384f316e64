"""Makes connections: to the first host of a DSN that takes us, set up as the statements need them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg

from ..errors import DatabaseAway
from .dsn import addresses_of
from .lineage import Lineage, LineageRefused

# A host that says nothing for so long is not waited for: a frozen primary still takes connections.
NEXT_HOST_AFTER = 0.5

#: Whatever may be raised where no connection is to be had.
NO_CONNECTION = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    LineageRefused,
    OSError,
    TimeoutError,
)

# What callers are told of it. What PostgreSQL says itself may name hosts and roles, and is for the log.
_REFUSALS = {
    "28000": "it refuses the login",
    "28P01": "it refuses the password",
    "3D000": "it has no database of this name",
    "42501": "it does not let this role in",
    "53300": "it has no connection left",
    "55000": "the database takes no connections",
    "57P03": "it starts or shuts down",
}

Prepare = Callable[[asyncpg.Connection], Awaitable[None]]


async def dial(
    dsn: str, *, timeout: float, prepare: Prepare | None = None, **options: Any
) -> asyncpg.Connection:
    """A connection to the first host that takes us, as `prepare` left it.

    Args:
        dsn: One host, or several in the order in which they are tried.
        timeout: Seconds for all of it.
        prepare: Is run on the connection. What it raises refuses the host.
        options: Of `asyncpg.connect`.

    Raises:
        NO_CONNECTION: Of the first host that answered, else of the last that did not.
    """

    async def attempt(**address: Any) -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(dsn, timeout=timeout, **address, **options)
        except NO_CONNECTION as error:
            # asyncpg names the error in a frame that it came through.
            error.__traceback__ = None
            raise
        try:
            if prepare is not None:
                await prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    failures: list[BaseException] = []
    try:
        async with asyncio.timeout(timeout):
            addresses = addresses_of(dsn)
            if not addresses:
                return await attempt()
            found = await _first(
                [partial(attempt, host=host, port=port) for host, port in addresses], failures
            )
            if found is not None:
                return found
    except TimeoutError as error:
        failures.append(error)
    answers = [error for error in failures if not isinstance(error, OSError)]
    try:
        raise answers[0] if answers else failures[-1]
    finally:
        # The error has this frame in its traceback, and would hold itself by them.
        failures.clear()
        answers.clear()


async def _first(
    attempts: list[Callable[[], Awaitable[asyncpg.Connection]]], failures: list[BaseException]
) -> asyncpg.Connection | None:
    """The connection of the first attempt that makes one. The next begins when one fails or takes long."""
    running: set[asyncio.Future[asyncpg.Connection]] = set()
    try:
        while attempts or running:
            if attempts:
                running.add(asyncio.ensure_future(attempts.pop(0)()))
            done, running = await asyncio.wait(
                running,
                timeout=NEXT_HOST_AFTER if attempts else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            made = []
            for each in done:
                if error := each.exception():
                    failures.append(error)
                else:
                    made.append(each.result())
            for other in made[1:]:
                other.terminate()
            if made:
                return made[0]
        return None
    finally:
        for each in running:
            each.cancel()
        for late in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(late, asyncpg.Connection):
                late.terminate()


class Connector:
    """Makes the connections of one server, all of them to the same PostgreSQL.

    Attributes:
        dsn: Where it is.
        lineage: Which that is.
        trouble: Why the last try to connect was in vain; None where it was not.
    """

    def __init__(self, dsn: str, *, name: str, lineage: Lineage) -> None:
        self.dsn = dsn
        self._name = name
        self.lineage = lineage
        self.trouble: DatabaseAway | None = None

    async def connect(
        self, settings: Mapping[str, str], *, timeout: float, **options: Any
    ) -> asyncpg.Connection:
        """A connection with these settings of PostgreSQL.

        They are set after the start of the connection: a pooler refuses those that it does not know at the start.

        Raises:
            DatabaseAway: There is none to be had, for whatever reason.
        """

        async def prepare(connection: asyncpg.Connection) -> None:
            if settings:
                await connection.execute(
                    "; ".join(f"set {name} = '{value}'" for name, value in settings.items())
                )
            await self.lineage.admit(connection)

        try:
            connection = await dial(
                self.dsn,
                timeout=timeout,
                prepare=prepare,
                server_settings={"application_name": self._name},
                **options,
            )
        except NO_CONNECTION as error:
            self.trouble = DatabaseAway(_told(error))
            raise self.trouble from error
        self.trouble = None
        return connection

    async def retry(self, timeout: float) -> None:
        """Where the last try to connect was in vain, tries again.

        Raises:
            DatabaseAway: Again there was none to be had.
        """
        if self.trouble is not None:
            connection = await self.connect({}, timeout=timeout)
            with suppress(*NO_CONNECTION):
                await connection.close(timeout=timeout)


def _told(error: BaseException) -> str:
    """What callers are told, and balancers: without what PostgreSQL says of hosts and roles."""
    if isinstance(error, LineageRefused):
        return f"the database takes no connection: {error}"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "the database takes no connection: no host of it takes writes"
    if isinstance(error, asyncpg.PostgresError):
        why = _REFUSALS.get(error.sqlstate or "", "it refuses the connection")
        return f"the database takes no connection: {why} (SQLSTATE {error.sqlstate})"
    return "the database does not answer"
