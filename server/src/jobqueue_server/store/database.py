"""The connections to PostgreSQL: the pools, and the one place where a driver's error becomes ours."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

import asyncpg

from ..errors import DatabaseAway, DatabaseFull
from ..fair.owner import OWNER, Owner
from ..fair.turns import Turns
from .connect import Connector
from .statements import statement

# A statement that has not ended by then is given up: it also bounds how late a commit may become visible, which
# the floors of the claim rely on (see core/claim/lines.py).
STATEMENT_TIMEOUT = timedelta(seconds=5)

# Seconds for which an unused connection is kept for the next statement, and out of its pool.
KEPT_READY = 60.0
# As many as a pool keeps open while it is not used.
_FEWEST = 1

# A plan made while live_job is small is kept when it has grown: settles of 300 rows went from 2 ms to 370 ms and
# more. Without sequential and bitmap scans the plan is the right one at every size, and locks in the order of ids.
# So it is made once: PostgreSQL by itself planned each claim anew, which of five jobs took longer than the claim.
HOT_SETTINGS = {"enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}

# The reads meet the same trap by partitions that were empty when the plan was made. Their pool keeps bitmap scans,
# which the index of labels needs.
# A read that takes milliseconds is no work for several processes, whose start takes as long.
COLD_SETTINGS = {"enable_seqscan": "off", "max_parallel_workers_per_gather": "0"}

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
)
_FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)

#: What `refuse_backlog` raises.
_BACKLOG = "JQ001"
#: What `refuse_lanes` raises.
_FORGOTTEN = "JQ002"

Record: TypeAlias = asyncpg.Record
UniqueViolation = asyncpg.UniqueViolationError
#: Nothing of the transaction was done; it can be made again.
Deadlock = asyncpg.DeadlockDetectedError
#: A lock was not to be had in the time that the statement had for it. Nothing of the transaction was done.
Locked = asyncpg.LockNotAvailableError
DataError = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


class BacklogRefused(Exception):
    """A statement was ended by `refuse_backlog` of the schema. `semaphore_ids` has those whose keys are full."""

    def __init__(self, semaphore_ids: list[int]) -> None:
        super().__init__("the backlog of a key is full")
        self.semaphore_ids = semaphore_ids


class scrubbed:
    """Turns what the driver raises when the database is away or full into our errors, with the cause kept."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, _FULL):
            raise DatabaseFull("the database has no room left") from error
        if isinstance(error, _AWAY):
            raise DatabaseAway("the database does not answer") from error
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate == _BACKLOG:
            raise BacklogRefused(
                [int(semaphore_id) for semaphore_id in str(error.detail).strip("{}").split(",")]
            ) from error
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate == _FORGOTTEN:
            # The catalog finds out within a second: this server stood still for hours, or the clock was set forward.
            raise DatabaseAway("this server has not made sure of the queue for a day; call again") from error


def _lost(connection: Any) -> bool:
    """Whether it is closed, in which case its pool has taken it back by itself."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


async def _roll_back(connection: Any) -> None:
    """Ends a transaction, also where a call is cancelled twice: its time is up, and then its caller hangs up.

    The pool would end one that it is given back, but logs an error for each. Where the connection is gone, so is the
    transaction.
    """

    async def end() -> None:
        # A connection that was ended meanwhile refuses the call itself.
        with contextlib.suppress(*_AWAY):
            await connection.execute("rollback")

    ending = asyncio.ensure_future(end())
    cancelled = False
    while not ending.done():
        try:
            await asyncio.wait({ending})
        except asyncio.CancelledError:
            cancelled = True
    ending.result()
    if cancelled:
        # A background part that does not hear of it goes on for ever. A new error: the other would hold this frame, and
        # so itself.
        raise asyncio.CancelledError


async def _nothing_to_reset(connection: object) -> None:
    """What was set when the connection was made is to stay, and nothing else is ever set."""


class Reads(Protocol):
    """What runs statements that read: pools, or one connection."""

    async def fetch(self, name: str, *args: object) -> list[Record]:
        """All rows of `<name>.sql`."""

    async def fetchrow(self, name: str, *args: object) -> Record | None:
        """The first row of `<name>.sql`, or None."""


class Session:
    """One connection for as long as its owner has it. It runs statements by name."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, name: str, *args: object) -> list[Record]:
        """All rows of `<name>.sql`."""
        with scrubbed():
            rows: list[Record] = await self._connection.fetch(statement(name), *args)
            return rows

    async def fetchrow(self, name: str, *args: object) -> Record | None:
        """The first row of `<name>.sql`, or None."""
        with scrubbed():
            row: Record | None = await self._connection.fetchrow(statement(name), *args)
            return row

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part of a transaction. An exception takes back what the part did, and the transaction can go on."""
        with scrubbed():
            await self._connection.execute("savepoint part")
        try:
            yield
        except Exception:
            # Where the connection is gone, so is the transaction.
            with contextlib.suppress(*_AWAY):
                await self._connection.execute("rollback to savepoint part")
            raise
        with scrubbed():
            await self._connection.execute("release savepoint part")


class Database:
    """Pools on one database: `hot` for statements that move jobs, another for reads, one connection for the heartbeat.

    Callers take turns by their principals (`OWNER`), and one connection of a pool is the server's own.

    Raises (every method): DatabaseAway when PostgreSQL does not answer, DatabaseFull when it has no room.
    """

    def __init__(self, connector: Connector, *, pool_size: int, acquire_timeout: timedelta) -> None:
        self._connector = connector
        self._acquire_timeout = acquire_timeout.total_seconds()
        self._hot_size = max(2, min(5, pool_size // 2))
        self._cold_size = max(2, pool_size - self._hot_size)
        self._turns = {True: Turns(self._hot_size, own=1), False: Turns(self._cold_size, own=1)}
        self._hot: asyncpg.Pool | None = None
        # Connections, hot and other ones, that wait for their next statement. To hand one back to the pool and to ask
        # for it again costs more than a short statement itself.
        self._ready: dict[bool, list[tuple[Any, float]]] = {True: [], False: []}
        self._asking = 0
        self._closing = False
        self._cold: asyncpg.Pool | None = None
        # The heartbeat has a connection of its own: waiting behind others it would tell of a database that is away.
        self._vital: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Connects. A pool that lost its connections makes new ones by itself, so this is done once."""
        with scrubbed():
            self._hot = await self._pool(self._hot_size, HOT_SETTINGS)
            self._cold = await self._pool(self._cold_size, COLD_SETTINGS)
            self._vital = await self._pool(1, HOT_SETTINGS)

    async def _pool(self, size: int, settings: dict[str, str]) -> asyncpg.Pool:
        timeout = STATEMENT_TIMEOUT.total_seconds()
        every = {"statement_timeout": str(int(timeout * 1000)), "jit": "off", "timezone": "UTC"}

        async def connect(_dsn: None, *, loop: object, **options: Any) -> asyncpg.Connection:
            return await self._connector.connect({**every, **settings}, **options)

        return await asyncpg.create_pool(
            connect=connect,
            min_size=_FEWEST,
            max_size=size,
            timeout=self._acquire_timeout,
            # The server cancels first; under a black-holed connection the client gives up after twice this.
            command_timeout=timeout + 1,
            max_inactive_connection_lifetime=300,
            max_cached_statement_lifetime=0,
            # However long its text is: beyond 15 KiB the driver would prepare one anew for each call.
            max_cacheable_statement_size=0,
            # No statement leaves session state behind, and the default reset is a round trip for each statement. An
            # open transaction is rolled back all the same.
            reset=_nothing_to_reset,
        )

    def connections(self) -> dict[tuple[str, str], int]:
        """How many there are now, by pool (`hot`, `cold`, `vital`) and state (`idle`, `used`). Any thread may ask."""
        found = {}
        for name, pool in (("hot", self._hot), ("cold", self._cold), ("vital", self._vital)):
            if pool is not None:
                kept = 0 if pool is self._vital else len(self._ready[pool is self._hot])
                open_now = pool.get_size()
                idle = min(pool.get_idle_size() + kept, open_now)
                found[name, "idle"], found[name, "used"] = idle, open_now - idle
        return found

    async def check_connections(self) -> None:
        """Returns if connections can be made, as far as is known; tries to make one where the last try was in vain."""
        await self._connector.retry(self._acquire_timeout)

    async def close(self) -> None:
        """Closes the pools; a connection in use is cut after a second."""
        self._closing = True
        for hot, ready in self._ready.items():
            while ready:
                await self._release(self._pool_of(hot), ready.pop()[0])
        for pool in (self._hot, self._cold, self._vital):
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), 1)
                except (TimeoutError, *_AWAY):
                    pool.terminate()

    @asynccontextmanager
    async def session(self, *, hot: bool = False, vital: bool = False) -> AsyncIterator[Session]:
        """A connection, without a transaction: each statement commits by itself. `vital`: of the heartbeat's own."""
        owner = OWNER.get()
        connection = await self._taken(hot, vital, owner)
        ended_well = False
        try:
            yield Session(connection)
            ended_well = True
        finally:
            await self._give_back(connection, hot, vital, ended_well, owner)

    def _pool_of(self, hot: bool, vital: bool = False) -> asyncpg.Pool | None:
        return self._vital if vital else self._hot if hot else self._cold

    async def _taken(self, hot: bool, vital: bool, owner: Owner) -> Any:
        """A connection that is ready, when it is the principal's turn; where there is none, one of the pool."""
        pool = self._pool_of(hot, vital)
        if vital:
            return await self._acquired(pool)
        turns = self._turns[hot]
        if not turns.try_take(owner):
            with scrubbed():
                async with asyncio.timeout(self._acquire_timeout):
                    await turns.take(owner)
        try:
            ready = self._ready[hot]
            while ready:
                connection, since = ready.pop()
                if _lost(connection):
                    continue
                if time.monotonic() - since <= KEPT_READY:
                    return connection
                # A firewall or proxy between may have dropped it silently. The pool ends it after a while.
                await self._release(pool, connection)
            return await self._acquired(pool)
        except BaseException:
            turns.give_back(owner)
            raise

    async def _acquired(self, pool: asyncpg.Pool | None) -> Any:
        if pool is None:
            raise DatabaseAway("the database is not connected yet")
        self._asking += 1
        try:
            with scrubbed():
                return await pool.acquire(timeout=self._acquire_timeout)
        finally:
            self._asking -= 1

    async def _give_back(self, connection: Any, hot: bool, vital: bool, well: bool, owner: Owner) -> None:
        """Keeps a connection ready, unless a call waits for the pool's; one whose statement failed goes back.

        Of those that are not hot it keeps no more than their pool would: the others may end after a while.
        """
        ready = well and not vital and (hot or len(self._ready[hot]) < _FEWEST)
        try:
            if ready and not self._asking and not self._closing and not _lost(connection):
                self._ready[hot].append((connection, time.monotonic()))
            else:
                await self._release(self._pool_of(hot, vital), connection)
        finally:
            if not vital:
                self._turns[hot].give_back(owner)

    @staticmethod
    async def _release(pool: asyncpg.Pool | None, connection: Any) -> None:
        assert pool is not None
        # What a lost connection did until now is decided already; the pool makes a new one.
        with contextlib.suppress(*_AWAY):
            await pool.release(connection, timeout=1)

    @asynccontextmanager
    async def transaction(
        self,
        *,
        hot: bool = False,
        most_silent: timedelta | None = None,
        one_snapshot: bool = False,
        patience: timedelta | None = None,
    ) -> AsyncIterator[Session]:
        """A connection in a transaction, committed at the end and rolled back by an exception.

        Args:
            hot: Whether it is one of the hot statements' connections.
            most_silent: For how long this server may be silent in it before the database ends it.
            one_snapshot: Whether all of its statements, which only read, see what the first one saw.
            patience: How long a statement of it waits for a lock, before it ends with `Locked`; None: no less than for
                all else.
        """
        begin = "begin isolation level repeatable read, read only" if one_snapshot else "begin"
        if most_silent is not None:
            # In the same round trip.
            ms = most_silent // timedelta(milliseconds=1)
            begin = f"{begin}; set local idle_in_transaction_session_timeout = {ms}"
        if patience is not None:
            begin = f"{begin}; set local lock_timeout = {patience // timedelta(milliseconds=1)}"
        async with self.session(hot=hot) as session:
            connection = session._connection
            try:
                with scrubbed():
                    await connection.execute(begin)
                yield session
                with scrubbed():
                    await connection.execute("commit")
            except BaseException:
                # Also where it was cut off before it had begun, or after it had ended: then this changes nothing.
                await _roll_back(connection)
                raise

    async def fetch(self, name: str, *args: object, hot: bool = False) -> list[Record]:
        """All rows of `<name>.sql`, committed when this returns."""
        rows: list[Record] = await self._run("fetch", name, args, hot, False)
        return rows

    async def fetchrow(
        self, name: str, *args: object, hot: bool = False, vital: bool = False
    ) -> Record | None:
        """The first row of `<name>.sql`, or None, committed when this returns."""
        row: Record | None = await self._run("fetchrow", name, args, hot, vital)
        return row

    async def _run(self, way: str, name: str, args: tuple[object, ...], hot: bool, vital: bool) -> Any:
        """As within `session`, without what its context costs: 30 us of each statement."""
        owner = OWNER.get()
        connection = await self._taken(hot, vital, owner)
        ended_well = False
        try:
            with scrubbed():
                found = await getattr(connection, way)(statement(name), *args)
            ended_well = True
            return found
        finally:
            await self._give_back(connection, hot, vital, ended_well, owner)
