"""Where a case happens: its processes, databases, proxies and callers, its journals, and what it measured."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc.aio

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.lifecycle import Event as Exit
from jobqueue_server.store import migrate
from tests.conftest import Cluster
from tests.lease.hand_worker import HandWorker, StreamEnded, reason_of
from tests.standby import Pair, a_primary_and_its_standby

from .database import EndWatch, read_history
from .frames import JournalledStub
from .history import History
from .journal import Event, Journal, Journals
from .processes import THIS, FaultyProcess, FaultyWorker, Server, Version
from .producer import Producer
from .proxy import Proxy

LOOK = 0.02
_Process = TypeVar("_Process", bound=FaultyProcess)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured. It is well where it is at most the limit; without one it only informs."""

    name: str
    value: float
    limit: float | None = None
    unit: str = "s"

    @property
    def ok(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or self.value <= self.limit


class Stage:
    """What a case is given.

    Attributes:
        folder: Journals and logs.
        seed: Of `random`; the same seed makes the same choices.
        scale: Factor of every count; 1 is what `make faults` does.
        journal: The case's own.
        journals: Those of all.
        figures: What was measured.
        explained: What may make a job run again in this case.
        all_jobs_over: Whether every job must have ended when the case has.
        dsn: The database that is checked.
    """

    def __init__(self, folder: Path, cluster: Cluster, template: str, seed: int, scale: float = 1.0) -> None:
        self.folder = folder
        self.seed = seed
        self.scale = scale
        self.random = random.Random(seed)
        self.journal = Journal(folder, "case")
        self.journals = Journals(folder)
        self.figures: list[Figure] = []
        self.explained: set[Exit] = set()
        self.all_jobs_over = True
        self.dsn = ""
        self.tell: Callable[[str], None] = lambda _: None
        self._cluster = cluster
        self._template = template
        self._processes: list[FaultyProcess] = []
        self._things = AsyncExitStack()
        self._watch: EndWatch | None = None
        self._hands: dict[str, tuple[Journal, dict[int, tuple[str, int]]]] = {}
        self._connection: asyncpg.Connection | None = None

    # ---- databases

    async def database(self) -> str:
        """A migrated database of the case's own on the run's cluster; its DSN."""
        name = await asyncio.to_thread(self._cluster.create, self._template)
        self._things.push_async_callback(asyncio.to_thread, self._cluster.drop, name)
        return self.use(self._cluster.dsn_of(name))

    async def own_cluster(self, *, migrated: bool = True) -> EmbeddedPostgres:
        """A PostgreSQL of the case's own on a port that stays the same when it is started again.

        Its database is migrated, and checked in the end. Where it is not, the case says what to `use`.
        """
        postgres = EmbeddedPostgres(listen=True)
        await self._things.enter_async_context(postgres)
        if migrated:
            await migrate.up(postgres.dsn)
            self.use(postgres.dsn)
        return postgres

    async def own_pair(self) -> Pair:
        """A primary and its synchronous standby, migrated. The standby is looked at and checked: it is promoted."""
        pair = await self._things.enter_async_context(a_primary_and_its_standby(synchronous=True))
        await migrate.up(pair.old.dsn)
        self.use(pair.new.dsn)
        return pair

    def use(self, dsn: str) -> str:
        """Checks this database in the end, and looks at it meanwhile."""
        self.dsn = dsn
        self._watch = EndWatch(dsn, self.journal)
        self._watch.start()
        return dsn

    async def sql(self, query: str, *arguments: object) -> list[Any]:
        """Runs a statement behind the servers' back, on one connection that is kept."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.dsn)
        return list(await self._connection.fetch(query, *arguments))

    async def value(self, query: str, *arguments: object) -> Any:
        """The first value of a statement."""
        rows = await self.sql(query, *arguments)
        return rows[0][0] if rows else None

    async def connection(self) -> asyncpg.Connection:
        """A connection to hold locks with."""
        connection = await asyncpg.connect(self.dsn)
        self._things.callback(connection.terminate)
        return connection

    # ---- processes

    async def server(
        self, name: str, dsn: str | None = None, version: Version = THIS, /, **settings: str
    ) -> Server:
        """A server that serves."""
        server = Server(name, dsn or self.dsn, self.folder, version, **settings)
        return await self.keep(server).ready()

    def worker(self, name: str, *addresses: str, **options: Any) -> FaultyWorker:
        """A worker that has just been started."""
        return self.keep(FaultyWorker(name, addresses, self.folder, **options))

    async def workers(self, names: Iterable[str], *addresses: str, **options: Any) -> list[FaultyWorker]:
        """Workers whose sessions are open."""
        return [
            await worker.ready() for worker in [self.worker(name, *addresses, **options) for name in names]
        ]

    def keep(self, process: _Process) -> _Process:
        """Kills a process at the end, where it still runs."""
        self._processes.append(process)
        return process

    # ---- connections

    async def proxy(self, address: str) -> Proxy:
        """A proxy before a server."""
        host, _, port = address.rpartition(":")
        return await self._things.enter_async_context(Proxy(host, int(port)))

    async def database_proxy(self) -> tuple[Proxy, str]:
        """A proxy before the database, and the DSN that leads through it."""
        parts = urlsplit(self.dsn)
        proxy = await self._things.enter_async_context(Proxy(str(parts.hostname), int(parts.port or 5432)))
        credentials = parts.netloc.rpartition("@")[0]
        return proxy, urlunsplit(parts._replace(netloc=f"{credentials}@{proxy.address}"))

    def producer(self, address: str) -> Producer:
        """A caller whose calls and answers are noted."""
        producer = Producer(address, self.journal)
        self._things.push_async_callback(producer.close)
        return producer

    async def hand(self, caller: Producer, name: str, **hello: Any) -> HandWorker:
        """A worker by hand that has its Welcome, in this process, with a journal. One name has one session."""
        if name not in self._hands:
            self._hands[name] = (Journal(self.folder, name), {})
        worker = HandWorker(JournalledStub(caller.stub, *self._hands[name]), name=name, **hello)
        self._things.push_async_callback(worker.close)
        return await worker.connect()

    async def hand_back(self, caller: Producer, name: str, **hello: Any) -> HandWorker:
        """A worker by hand that comes back, again and again while no server answers."""
        while True:
            try:
                return await self.hand(caller, name, **hello)
            except StreamEnded as end:
                if end.error is None or not _cut(end.error):
                    raise
            except grpc.aio.AioRpcError as error:
                if not _cut(error):
                    raise
            await asyncio.sleep(self.random.uniform(0.05, 0.5))

    # ---- the course of a case

    def fault(self, what: str, **more: object) -> float:
        """Notes what is done to the system; when."""
        self.tell(what)
        self.journal.note("fault", did=what, **more)
        return time.time()

    def figure(self, name: str, value: float, limit: float | None = None, unit: str = "s") -> None:
        """Notes a figure, with the most that it may be."""
        self.figures.append(Figure(name, value, limit, unit))

    def count(self, usual: int, least: int = 1) -> int:
        """A number of things, by the scale of the run."""
        return max(least, round(usual * self.scale))

    async def until(self, look: Callable[[], Any], what: str, within: float = 30.0) -> Any:
        """Looks again and again until what it sees is true, and answers that."""
        ends = time.monotonic() + within
        while True:
            seen = look()
            if isinstance(seen, Awaitable):
                seen = await seen
            if seen:
                return seen
            assert time.monotonic() < ends, f"within {within:g} s there was not: {what}"
            await asyncio.sleep(LOOK)

    def events(self, *what: str, who: str | None = None, since: float = 0.0) -> list[Event]:
        """What the journals say by now."""
        return [event for event in self.journals.of(*what) if who in (None, event.who) and event.at >= since]

    async def started(self, count: int, *, who: str | None = None, within: float = 30.0) -> list[Event]:
        """The starts of handlers, once there are so many."""
        found: list[Event] = await self.until(
            lambda: len(events := self.events("started", who=who)) >= count and events,
            f"{count} starts of handlers",
            within,
        )
        return found

    async def heard(self, who: str) -> None:
        """Waits until the server has surely heard a worker after all that it was handed: it is seen to hold that."""
        at = max((event.at for event in self.events("delivered", who=who)), default=0.0)

        def look() -> bool:
            beats = {event.seq for event in self.events("beat", who=who, since=at)}
            return any(event.seq in beats for event in self.events("pong", who=who, since=at))

        await self.until(look, f"an answer to a heartbeat of {who}")

    async def over(self, within: float = 60.0) -> None:
        """Waits until every job has ended."""

        async def look() -> bool:
            return not await self.value("select exists (select from live_job)")

        await self.until(look, "an end of every job", within)

    async def history(self) -> History:
        """All that is to be checked, once the case is through."""
        return await read_history(
            self.dsn, self.journals.read(), explained=self.explained, all_over=self.all_jobs_over
        )

    async def end(self) -> None:
        """Ends all that the case has started."""
        if self._watch is not None:
            await self._watch.stop()
        # Workers first, or each of them would still say that its server is gone.
        for process in reversed(self._processes):
            await asyncio.to_thread(process.kill)
        if self._connection is not None:
            self._connection.terminate()
        await self._things.aclose()
        for journal, _ in self._hands.values():
            journal.close()
        self.journal.close()


async def refused(opening: Awaitable[HandWorker], reason: str = "SESSION_UNKNOWN") -> None:
    """Fails unless a session is refused for that reason."""
    try:
        await opening
    except StreamEnded as end:
        if end.reason != reason:
            raise AssertionError(f"refused as {end.reason or end!r}, not as {reason}") from end
    else:
        raise AssertionError(f"a session was taken that should be refused as {reason}")


def _cut(error: grpc.aio.AioRpcError) -> bool:
    """Whether a stream ended so since its connection did: where it was writing just then, gRPC says INTERNAL."""
    code = error.code()
    return code is grpc.StatusCode.UNAVAILABLE or (code is grpc.StatusCode.INTERNAL and not reason_of(error))


def last_frame(events: Sequence[Event], who: str, before: float) -> float:
    """When a worker said last what is noted: heartbeats and settlements. Bare receipts are not."""
    return max(
        event.at
        for event in events
        if event.who == who
        and event.at <= before
        and event.what in ("beat", "settling", "delivered", "welcome")
    )


def redelivered(stage: Stage, victim: str, killed_at: float) -> tuple[float, float]:
    """The longest and the shortest time from a victim's last frame to the start of its jobs elsewhere."""
    heard = last_frame(stage.journals.read(), victim, killed_at)
    starts = [event.at - heard for event in stage.events("started") if event.attempt == 2]
    return max(starts), min(starts)
