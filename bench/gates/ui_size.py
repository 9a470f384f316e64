"""The gate `ui-size`: what the pages of the dashboard ask for where a million jobs wait and millions have ended."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg

from .. import browser, pages, past
from ..errors import BenchError
from ..load.viewers import Connection
from ..pages import Ask
from ..server import Server
from .backlog import fill
from .gate import Found, Part
from .round import Round

# With that of the backlog 20 lanes: of more, fewer than 10,000 jobs of each are counted.
_QUEUES = 19
_BACKLOG = "backlog-1"
_OLDEST, _NEWEST = timedelta(days=6, hours=12), timedelta(hours=1)
_TIMES = 5
_SHOWN = "10,000+"
#: No page looks further than that, and says so.
BOUND = 10_000
_COMES_WITHIN = 30.0
#: A count of all rows of a table that grows.
COUNT = re.compile(
    r"select\s+count\s*\([^)]*\)(\s*::\w+)?(\s+(as\s+)?\w+)?\s+from\s+(job|finished_job|jobs)\b",
    re.IGNORECASE,
)
_RAN = """
select query, calls, max_exec_time, (shared_blks_hit + shared_blks_read) / calls as blocks
from pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = current_database() and query not like '%pg_stat_statements%'
order by max_exec_time desc
"""
_IDS = """
select (select id from live_job order by id limit 1) as waiting,
       (select id from finished_job where status = 5 order by id desc limit 1) as failed,
       (select id from finished_job where status = 3 order by id limit 1) as succeeded
"""


class FullSize:
    """The pages at full size."""

    name = "ui-size"
    title = "pages of the dashboard: 1 M jobs wait, 5 M have ended"
    method = (
        "Written by SQL, as enqueues and ends would leave them: a million waiting jobs in one lane; five million that "
        f"have ended, of 6 days, in {_QUEUES} queues, of which one of 100 failed and one was cancelled; statistics of "
        f"90 days. Nothing of it is left to autovacuum or to the next checkpoint. Each call of each page {_TIMES} "
        "times, one after the other, the first times as well: until its answer is whole, of a stream until its first "
        "message. Where a browser is there, the real pages too, and the overview is from its opening until it shows "
        f"{_SHOWN}, the median; else until its first message. Counts: statements over job or finished_job that count "
        "all rows, as pg_stat_statements has them."
    )
    leaves_out = (
        "Tables that do not fit into memory; the count before a bulk action, which a person asks for and which ends "
        "after 2 s: it is in the details."
    )
    parts = (
        Part("slowest request", 300, 100, "ms", less=True),
        Part("overview", 500, 300, "ms", less=True),
        Part("counts", 0, 0, "statements", less=True),
    )

    async def measure(self, bench: Round) -> Found:
        """Writes, then asks."""
        async with bench.cluster.fresh(ours=True) as dsn:
            connection = await asyncpg.connect(dsn)
            try:
                await _written(bench, dsn, connection)
                ids = await connection.fetchrow(_IDS)
                async with Server(dsn) as server:
                    return await _asked(
                        bench, server, connection, {name: str(id) for name, id in ids.items()}
                    )
            finally:
                await connection.close()


async def _written(bench: Round, dsn: str, connection: Any) -> None:
    """All that the pages will look at."""
    ended, waiting = bench.scale.jobs(bench.scale.ended_jobs), bench.scale.jobs(bench.scale.waiting_jobs)
    bench.tell(f"ui-size, writing {ended:,} jobs that have ended")
    lanes = await past.lanes_of(connection, _QUEUES, "work")
    backlog = await past.lanes_of(connection, 1, "slow", "backlog")
    await connection.execute("select ensure_partitions($1, $2, 2)", past.WIDTH, _OLDEST // past.WIDTH + 1)
    middle = _NEWEST + (_OLDEST - _NEWEST) / 2

    async def half(since: timedelta, until: timedelta) -> None:
        other = await asyncpg.connect(dsn)
        try:
            await past.ended(other, lanes, ended // 2, since, until)
        finally:
            await other.close()

    await asyncio.gather(half(_OLDEST, middle), half(middle, _NEWEST))
    bench.tell(f"ui-size, writing {waiting:,} jobs that wait")
    await fill(dsn, backlog[0], waiting)
    await past.history(connection, lanes + backlog, timedelta(days=90))
    await connection.execute("vacuum (analyze)", timeout=1200)
    await connection.execute("checkpoint", timeout=600)


async def _asked(bench: Round, server: Server, connection: Any, ids: Mapping[str, str]) -> Found:
    overview = await _counted(server, wanted=min(BOUND, bench.scale.jobs(bench.scale.waiting_jobs)))
    await connection.execute("select pg_stat_statements_reset()")
    bench.tell("ui-size, calls")
    calls: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for _ in range(_TIMES):
        for place, asks in places(ids).items():
            for ask in asks:
                calls[place].setdefault(ask.target, []).extend(await timed(server.http, ask))
    first = list(calls[""][pages.OVERVIEW.target])
    detail: dict[str, Any] = {
        "calls": {
            place: {target: _told(ms) for target, ms in asked.items()} for place, asked in calls.items()
        },
        "depth": overview["depth"],
    }
    slowest = max(max(ms) for asked in calls.values() for ms in asked.values())
    if why := browser.missing():
        detail["browser"] = {"missing": why}
    else:
        bench.tell("ui-size, pages")
        shown = _SHOWN if overview["depth"].get("capped") else f"{int(overview['depth']['queued']):,}"
        visits, first = await asyncio.to_thread(
            browser.visit, f"http://{server.http}", list(places(ids)), shown, _TIMES
        )
        seen = {each.place: sorted(each.requests, key=lambda one: -one[1]) for each in visits}
        slowest = max(slowest, *(ms for requests in seen.values() for _, ms in requests))
        detail["browser"] = {"requests": seen, "overview_ms": first}
    detail["preview"] = await _preview(server)
    ran = [dict(row) for row in await connection.fetch(_RAN)]
    if not any("candidate as not materialized" in each["query"] for each in ran):
        raise BenchError("PostgreSQL has counted no list of jobs")
    counts = [each["query"] for each in ran if COUNT.search(each["query"])]
    detail["statements"] = {
        "counts": counts,
        "slowest": [
            {**each, "query": each["query"][:160], "blocks": int(each["blocks"])} for each in ran[:8]
        ],
    }
    values: dict[str, float | None] = {
        "slowest request": round(slowest, 1),
        "overview": round(median(first), 1),
        "counts": len(counts),
    }
    return Found(values, detail)


def places(ids: Mapping[str, str]) -> dict[str, tuple[Ask, ...]]:
    """Pages by their place below /ui/, with what each asks for. `ids`: of a waiting, a failed and a succeeded job."""
    week = (datetime.now(UTC) - timedelta(days=7)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    before = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    waiting = "status=QUEUED&status=RETRYING"
    return {
        "": pages.overview(),
        "?range=7d": pages.overview(week),
        "queues": pages.queues(),
        f"queues/{_BACKLOG}": pages.queue(_BACKLOG),
        "queues/queue-7": pages.queue("queue-7"),
        "kinds": pages.kinds(),
        "jobs": pages.jobs(),
        "jobs?q=status:failed": pages.jobs("status=FAILED_PERMANENT"),
        "jobs?q=status:cancelled": pages.jobs("status=CANCELLED"),
        "jobs?q=status:succeeded": pages.jobs("status=SUCCEEDED"),
        "jobs?q=status:running": pages.jobs("status=RUNNING"),
        "jobs?q=status:queued,retrying": pages.jobs(waiting),
        f"jobs?q=queue:{_BACKLOG}": pages.jobs(f"queue={_BACKLOG}"),
        "jobs?q=queue:queue-7": pages.jobs("queue=queue-7"),
        "jobs?q=queue:queue-7+status:failed": pages.jobs("queue=queue-7&status=FAILED_PERMANENT"),
        "jobs?q=kind:nothing": pages.jobs("kind=nothing"),
        "jobs?q=label:tenant=7": pages.jobs("labels=tenant%3D7"),
        "jobs?q=label:tenant=none": pages.jobs("labels=tenant%3Dnone"),
        "jobs?q=created:>3d": pages.jobs(f"created_before={before}"),
        f"jobs/{ids['waiting']}": pages.job(ids["waiting"], ended=False),
        f"jobs/{ids['failed']}": pages.job(ids["failed"], ended=True),
        f"jobs/{ids['succeeded']}": pages.job(ids["succeeded"], ended=True),
        "dead": pages.dead(),
        **pages.others(),
    }


async def timed(place: str, ask: Ask) -> list[float]:
    """Milliseconds of a call; of a list those of each of the calls that make a page of it.

    Raises:
        BenchError: It was refused.
    """
    connection = Connection(place)
    found = []
    token = ""
    try:
        for _ in range(pages.MOST_CALLS if ask.path == pages.LIST else 1):
            began = time.monotonic()
            if ask.stream:
                async for _ in connection.lines(ask.target):
                    break
                body = b"{}"
            else:
                status, body = await connection.get(ask.target + (f"&page_token={token}" if token else ""))
                if status != 200:
                    raise BenchError(f"{ask.target} was answered by {status}: {body[:500].decode()}")
            found.append(1000 * (time.monotonic() - began))
            answer = json.loads(body)
            token = answer.get("next_page_token", "") if ask.path == pages.LIST else ""
            if not token or len(answer.get("jobs", ())) >= pages.ROWS:
                break
    finally:
        connection.close()
    return found


async def _counted(server: Server, wanted: int) -> dict[str, Any]:
    """The overview, once the server has counted what waits: it does so each 5 s."""
    connection = Connection(server.http)
    try:
        async with asyncio.timeout(_COMES_WITHIN):
            while True:
                found: dict[str, Any] = json.loads((await connection.get("/v1/overview"))[1])
                if int(found["depth"].get("queued", 0)) >= wanted:
                    break
                await asyncio.sleep(0.5)
    finally:
        connection.close()
    if int(found["depth"]["queued"]) > BOUND:
        raise BenchError(f"the overview counted {found['depth']['queued']} jobs")
    return found


async def _preview(server: Server) -> dict[str, float]:
    """Milliseconds of the count before a bulk action, which ends after 2 s or 100,000 jobs."""
    found = {}
    for name, chosen in {
        "failed": {"status": ["FAILED_PERMANENT"]},
        "succeeded of a queue": {"status": ["SUCCEEDED"], "queue": "queue-7"},
    }.items():
        began = time.monotonic()
        status, body = await Connection(server.http).post("/v1/jobs:retry", {"filter": chosen})
        if status != 200:
            raise BenchError(f"a dry run was answered by {status}: {body[:500].decode()}")
        found[name] = round(1000 * (time.monotonic() - began), 1)
    return found


def _told(ms: Sequence[float]) -> dict[str, float]:
    return {"most": round(max(ms), 1), "median": round(median(ms), 1), "calls": len(ms)}
