"""One measurement of ours: producers, servers and workers as processes, until every job has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import asyncpg

from jobqueue_server.bootstrap import first_key

from .beside import Beside
from .checkout import Checkout
from .errors import BenchError
from .latency import Latencies
from .load import Load, grpc_calls, rest, wire
from .meter import Meter, per_job
from .postgres import Cluster
from .processes import DONE, MESSAGES, Processes, merged
from .server import Server, declare, limit_keys, limit_queue
from .workers import Workers, work

GRAIN = 0.25
# Nothing is measured for longer than that, whatever hangs.
_LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is measured.

    Attributes:
        load: The producers.
        workers: The workers.
        drain: Whether all jobs are stored before the workers come; what counts then begins with them.
        servers: Processes on the same database. Producers and streams are spread evenly, unless `uneven`.
        uneven: Whether all streams but one of each other server are at the first.
        keys: Whether the servers ask for keys, which all callers then show.
        of_a_key: How many jobs of one job key run at once in the default queue. None: any number.
        of_the_queue: How many jobs of the default queue run at once. None: any number.
        beside: What goes on meanwhile, on the same servers.
    """

    load: Load
    workers: Workers = field(default_factory=Workers)
    drain: bool = False
    servers: int = 1
    uneven: bool = False
    keys: bool = False
    of_a_key: int | None = None
    of_the_queue: int | None = None
    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it.

    Attributes:
        jobs: That ended, all of them committed.
        seconds: From the first enqueue to the last end; at a drain from the workers' first word.
        costs: For each job: CPU by whose, WAL bytes, commits, statements, messages; at a drain those of filling apart.
        ended: Jobs that ended in each quarter of a second.
        acks: From when a call was due to its answer.
        starts: From when a job's enqueue was due to the beginning of its handler, where that was asked for.
        dead_tuples: Of live_job, at the end.
        ran_twice: Jobs with more than one attempt.
        warnings: What the servers logged as such.
        beside: What came of that which went on beside it.
    """

    jobs: int
    seconds: float
    costs: dict[str, Any]
    ended: list[int]
    acks: Latencies
    starts: Latencies | None
    dead_tuples: int
    ran_twice: int
    warnings: list[str]
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "jobs": self.jobs,
            "seconds": round(self.seconds, 2),
            "jobs_per_second": round(self.rate),
            **self.costs,
            "ack_ms": self.acks.quantiles(),
            **({"start_ms": self.starts.quantiles()} if self.starts is not None else {}),
            "ended": self.ended,
            "dead_tuples": self.dead_tuples,
            "ran_twice": self.ran_twice,
            **({"beside": self.beside} if self.beside else {}),
            **({"warnings": self.warnings[:5]} if self.warnings else {}),
        }


async def measure(cluster: Cluster, scenario: Scenario, checkout: Checkout | None = None) -> Measured:
    """Runs a scenario on a fresh database; server and schema are those of a checkout, if there is one."""
    migrations = None if checkout is None else checkout.migrations
    async with AsyncExitStack() as up:
        dsn = await up.enter_async_context(cluster.fresh(ours=True, migrations=migrations))
        key = (await first_key(dsn, "bench", force=False)).text if scenario.keys else ""
        staged = stage(dsn, scenario.servers, scenario.workers.kinds, checkout, key)
        servers = await up.enter_async_context(staged)
        if scenario.of_a_key is not None:
            await limit_keys(servers[0], scenario.of_a_key)
        if scenario.of_the_queue is not None:
            await limit_queue(servers[0], scenario.of_the_queue)
        connection = await asyncpg.connect(dsn)
        try:
            return await _measure(cluster, scenario, servers, connection)
        finally:
            await connection.close()


@asynccontextmanager
async def stage(
    dsn: str, count: int = 1, kinds: tuple[str, ...] = (), checkout: Checkout | None = None, key: str = ""
) -> AsyncIterator[list[Server]]:
    """Servers on a database, which know these kinds. `key`: see `Server`; producers and workers show it."""
    async with AsyncExitStack() as up:
        servers = [
            await up.enter_async_context(Server(dsn, checkout=checkout, key=key)) for _ in range(count)
        ]
        await declare(servers[0], kinds)
        yield servers


def producers(servers: list[Server], load: Load) -> Processes:
    """The processes of a load, not started."""
    places = [server.http if load.protocol == "rest" else server.grpc for server in servers]
    work = rest.produce if load.protocol == "rest" else wire.produce if load.bare else grpc_calls.produce
    load = replace(load, key=servers[0].key)
    shares = [(places[number % len(places)], load) for number in range(load.producers)]
    return Processes("the producers", work, shares)


def worker_processes(servers: list[Server], workers: Workers, *, uneven: bool = False) -> Processes:
    """The processes of workers, not started."""
    spread = _spread(workers.streams, len(servers), uneven)
    homes = [server.grpc for server, count in zip(servers, spread, strict=True) for _ in range(count)]
    workers = replace(workers, key=servers[0].key)
    shares = [homes[number :: workers.processes] for number in range(workers.processes)]
    return Processes("the workers", work, [(share, workers) for share in shares])


def _spread(streams: int, servers: int, uneven: bool) -> list[int]:
    """How many streams each server has."""
    if uneven:
        return [streams - servers + 1, *[1] * (servers - 1)]
    return [streams // servers + (number < streams % servers) for number in range(servers)]


async def _measure(cluster: Cluster, scenario: Scenario, servers: list[Server], connection: Any) -> Measured:
    jobs = scenario.load.stored
    async with AsyncExitStack() as up:
        made = await up.enter_async_context(producers(servers, scenario.load))
        done_beside = None
        if scenario.beside is not None:
            done_beside = await up.enter_async_context(scenario.beside.going(servers, connection))
        # What was there before is none of the jobs that are counted.
        since = await connection.fetchval("select uuid_at(now())")
        filling = {}
        if scenario.drain:
            meter = Meter(
                connection, cluster.pid, {"server": [each.pid for each in servers], "client": made.pids}
            )
            empty = await meter.read()
            made.go()
            reports = await made.reports(_LONGEST)
            filling = per_job(empty, await meter.read(), jobs)
        async with worker_processes(servers, scenario.workers, uneven=scenario.uneven) as hired:
            pids = {"server": [each.pid for each in servers], "worker": hired.pids, "client": made.pids}
            if scenario.drain:
                del pids["client"]
            if not scenario.drain:
                # The workers' coming is no part of it.
                hired.go()
                for server, count in zip(
                    servers, _spread(scenario.workers.streams, len(servers), scenario.uneven), strict=True
                ):
                    await server.streams(count, within=120)
            meter = Meter(connection, cluster.pid, pids)
            began_at = await connection.fetchval("select clock_timestamp()")
            before = await meter.read()
            started = time.monotonic()
            (hired if scenario.drain else made).go()
            exact = scenario.workers.sort == "bare"
            await _until_ended(jobs, connection, servers, made, hired, since, exact=exact)
            seconds = time.monotonic() - started
            after = await meter.read()
            beside = {} if done_beside is None else await done_beside()
            messages = hired.count(MESSAGES) + (0 if scenario.drain else made.count(MESSAGES))
            if not scenario.drain:
                reports = await made.reports()
            starts = merged(await hired.stop(), "starts")
    stored = await connection.fetchrow(
        "select count(*) as ended, count(*) filter (where attempts > 1) as twice, "
        "count(*) filter (where status <> 3) as otherwise from finished_job where id >= $1",
        since,
    )
    if stored["ended"] != jobs or stored["otherwise"]:
        raise BenchError(f"of {jobs} jobs {stored['ended']} ended, {stored['otherwise']} not by success")
    dead = await connection.fetchval(
        "select coalesce(n_dead_tup, 0) from pg_stat_user_tables where relname = 'live_job'"
    )
    return Measured(
        jobs,
        seconds,
        {
            **per_job(before, after, jobs),
            "messages_per_job": round(messages / jobs, 4),
            **({"filling": filling} if filling else {}),
        },
        await ended_by_time(connection, began_at),
        Latencies.of(merged(reports, "acks")),
        Latencies.of(starts) if starts else None,
        dead,
        stored["twice"],
        [line for server in servers for line in server.warnings],
        beside,
    )


async def _until_ended(
    jobs: int,
    connection: Any,
    servers: list[Server],
    made: Processes,
    hired: Processes,
    since: UUID,
    *,
    exact: bool,
) -> None:
    """Waits until all jobs have ended: bare workers count what the server answered after its commit, which costs
    nothing; where handlers are counted, the database is asked once all of them have run. `since`: the least id of one.
    """
    count = "select count(*) from finished_job where id >= $1"
    until = time.monotonic() + _LONGEST
    looked = 0.0
    while time.monotonic() < until:
        if hired.count(DONE) >= jobs and (exact or await connection.fetchval(count, since) >= jobs):
            return
        if time.monotonic() - looked > 0.25:
            looked = time.monotonic()
            made.check()
            hired.check()
            for server in servers:
                server.check()
        await asyncio.sleep(0.005)
    raise BenchError(f"of {jobs} jobs {hired.count(DONE)} ended within {_LONGEST:g} s")


async def ended_by_time(connection: Any, since: Any, grain: float = GRAIN) -> list[int]:
    """Jobs that ended in each stretch of so many seconds, by the time of their settlement's transaction."""
    rows = await connection.fetch(
        "select floor(extract(epoch from finished_at - $1) / $2::float8)::int as slot, count(*) as jobs "
        "from finished_job group by 1 order by 1",
        since,
        grain,
    )
    found = [0] * (max((row["slot"] for row in rows), default=-1) + 1)
    for row in rows:
        if row["slot"] >= 0:
            found[row["slot"]] = row["jobs"]
    return found
