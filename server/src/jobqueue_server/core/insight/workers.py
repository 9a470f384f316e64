"""The workers of all servers: those of this one from memory, the others' from what they wrote with their heartbeats."""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter

from ...grants import Permission
from ...scope import Scope
from ...store.database import Record
from ...store.insight.insight import InsightStore
from ..cached import Cached
from ..events.this_server import ThisServer
from ..session.load import ANY_SIZE, ANY_SLOTS, Load, Loaded, Workers, places_of, read
from ..session.own_load import OwnLoad
from ..session.unary import UnarySessionOptions

#: Others' heartbeats come each 2 s; to read them more often brings little.
READ_EVERY = 1.0
#: A server that was not heard for so long is listed no longer.
LISTED_FOR = timedelta(hours=1)
#: What was measured here holds for so many times as long as that took: to be asked often costs 2 % of a core.
MEASURE_AGAIN_AFTER = 50
MOST_NEAREST = 5


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A queue and a kind that some sessions take."""

    queue: str
    kind: str
    sessions: int


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """A server that has not signed off.

    Attributes:
        id: Its number.
        name: Its host and process.
        version: That of its program; None: it is too old to say so.
        level: What it knows of the contract.
        started_at: When it started, by the database's clock, as `heard_at`.
        heard_at: When it was last heard.
        silent_for: How long ago that was.
        own: Whether it is this one.
        silent: Whether it was not heard for 5 s.
        workers: Those that are connected to it, by namespace.
    """

    id: int
    name: str
    version: str | None
    level: int
    started_at: datetime
    heard_at: datetime
    silent_for: timedelta
    own: bool
    silent: bool
    workers: Mapping[int, Workers]


@dataclass(frozen=True, slots=True)
class AllWorkers:
    """What the workers of all servers take.

    Attributes:
        loads: That of this server, and those of the others.
        unknown: The servers that were not heard, or do not say.
        servers: All that have not signed off, by name.
        read_at: When the others were read, by the database's clock; None: there is no row of a server.
    """

    loads: Sequence[Loaded]
    unknown: tuple[str, ...] = ()
    servers: tuple[ServerSeen, ...] = ()
    read_at: datetime | None = None

    def of(self, namespace: int, queue: str, kind: str = "") -> Workers:
        """The workers that take a kind from a queue; without a kind, those that take any."""
        found = Workers()
        for load in self.loads:
            workers = load.get((namespace, queue, kind))
            if workers is not None:
                found.add(workers)
        return found

    def ended(self, scope: Scope, queue: str) -> int:
        """How many jobs of a queue ended in the last minute, of kinds that workers take and the principal may read."""
        kinds = [kind for where, kind in self.subscribed(scope) if where == queue]
        return sum(self.of(scope.namespace, queue, kind).ended for kind in kinds)

    def subscribed(self, scope: Scope) -> Iterator[tuple[str, str]]:
        """What sessions take that take jobs, as far as the principal may read its jobs."""
        seen: set[tuple[str, str]] = set()
        for load in self.loads:
            for (namespace, queue, kind), workers in load.items():
                if (
                    kind
                    and workers.sessions
                    and namespace == scope.namespace
                    and (queue, kind) not in seen
                    and scope.grants.may(Permission.READ, queue, kind)
                ):
                    seen.add((queue, kind))
                    yield queue, kind

    def servers_for(self, scope: Scope) -> tuple[ServerSeen, ...]:
        """The servers. Who may not read all of its namespace is not told how many workers each has."""
        if scope.grants.may(Permission.READ, "*", "*"):
            return self.servers
        return tuple(replace(server, workers={}) for server in self.servers)

    def nearest(self, scope: Scope, queue: str, kind: str) -> tuple[Subscribed, ...]:
        """Subscriptions that are easily mistaken for these.

        First those to a like kind of the queue, then those to the kind in a like queue, then in any other one.
        """
        subscribed = sorted(self.subscribed(scope))
        kinds = [other for where, other in subscribed if where == queue]
        queues = [where for where, other in subscribed if other == kind]
        found = [(queue, like) for like in difflib.get_close_matches(kind, kinds, MOST_NEAREST)]
        found += [(like, kind) for like in difflib.get_close_matches(queue, queues, MOST_NEAREST)]
        found += [(where, kind) for where in queues if (where, kind) not in found]
        return tuple(
            Subscribed(where, other, self.of(scope.namespace, where, other).sessions)
            for where, other in found[:MOST_NEAREST]
        )


class Fleet:
    """Answers what the workers of all servers take, at most about 3 s old; of this server, 1 s, and mostly a few ms."""

    def __init__(
        self, store: InsightStore, own: Callable[[], Awaitable[OwnLoad]], server: ThisServer
    ) -> None:
        self._store = store
        self._own = own
        self._server = server
        self._measured_last: OwnLoad | None = None
        self._totals: Mapping[int, Workers] = {}
        self._measured_at = self._took = 0.0
        self._others: Cached[AllWorkers] = Cached(READ_EVERY)

    async def now(self) -> AllWorkers:
        """What they take."""
        others = await self._others.get(None, self._read)
        own = await self._measured()
        servers = tuple(
            replace(server, workers=self._totals) if server.own else server for server in others.servers
        )
        return AllWorkers((own, *others.loads), others.unknown, servers, others.read_at)

    async def _measured(self) -> OwnLoad:
        """That of this server. To count ten thousand sessions takes milliseconds, so many calls share that."""
        began = time.monotonic()
        last = self._measured_last
        # What a caller has laid out of it counts too.
        if last is None or began >= self._measured_at + min(
            MEASURE_AGAIN_AFTER * (self._took + last.laid_out_in), READ_EVERY
        ):
            last = self._measured_last = await self._own()
            self._totals = last.totals()
            self._measured_at = time.monotonic()
            self._took = self._measured_at - began
        return last

    async def _read(self) -> AllWorkers:
        rows = await self._store.server_loads(self._server.id)
        load: Load = {}
        unknown, servers = [], []
        for row in rows:
            theirs = None if row["silent"] or row["load"] is None else _readable(row["load"])
            if row["now"] - row["heartbeat_at"] < LISTED_FOR:
                servers.append(server_seen(row, theirs or {}))
            if theirs is None:
                if not row["own"]:
                    unknown.append(row["name"])
                continue
            for place, workers in theirs.items():
                load.setdefault(place, Workers()).add(workers)
        for row in await self._store.calling_sessions():
            _add_calling(load, row)
        read_at = rows[0]["now"] if rows else None
        return AllWorkers(
            (load,), tuple(unknown), tuple(sorted(servers, key=attrgetter("name", "id"))), read_at
        )


def server_seen(row: Record, load: Load) -> ServerSeen:
    """A server as its row tells of it, and what its workers take."""
    return ServerSeen(
        row["id"],
        row["name"],
        row["version"],
        row["level"],
        row["started_at"],
        row["heartbeat_at"],
        row["now"] - row["heartbeat_at"],
        row["own"],
        row["silent"],
        _totals(load),
    )


def _totals(load: Load) -> Mapping[int, Workers]:
    """All that a server has, by namespace. Of a server that is too old to say so there is nothing."""
    return {namespace: workers for (namespace, queue, _), workers in load.items() if not queue}


def _readable(text: str) -> Load | None:
    """A load; None: it is of a form that this version does not know."""
    try:
        return read(text)
    except (AttributeError, TypeError, ValueError):
        return None


def _add_calling(load: Load, row: Record) -> None:
    """Counts a session without a stream. Where it bounds nothing it has one slot free, for its next call."""
    options = UnarySessionOptions.of(row["greeting"])
    slots = options.slots or row["held"] + 1
    free = max(0, slots - row["held"])
    workers = Workers(
        sessions=1,
        slots=slots,
        free=free,
        largest=ANY_SIZE if free else 0,
        most_slots=options.slots or ANY_SLOTS,
        most_free=free if options.slots else ANY_SLOTS,
    )
    for queue, kind in places_of(options.subscriptions):
        load.setdefault((row["namespace_id"], queue, kind), Workers()).add(workers)
