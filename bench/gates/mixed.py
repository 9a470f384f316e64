"""Jobs of many sorts at once, over a backlog that is to drain."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from ..errors import BenchError
from ..load import mixed
from ..ours import stage, worker_processes
from ..processes import DONE, Processes
from ..workers import Workers
from .gate import Found, Part
from .round import Round

_BACKLOG = 100_000
_SECONDS = 30.0
_QUEUES = tuple(f"mixed-{number}" for number in range(20))
_BY_QUEUE = """
select q.name, count(f.id)::int as ended
from queue q join lane l on l.queue_id = q.id join job j on j.lane_id = l.id
left join finished_job f on f.id = j.id and f.finished_at between $1 and $2
group by q.name
"""


class Mixed:
    """No sort of job starves, and the backlog drains."""

    name = "mixed"
    title = "mixed load over a backlog"
    method = (
        f"{_BACKLOG:,} jobs are stored; then four streams work while a producer goes on at full speed for "
        f"{_SECONDS:g} s: 20 queues, four priorities, 10 % fail at first, 10 % are scheduled, 5 % keyed. Backlog: "
        "jobs that have not ended at the end of that time, against its beginning. Least queue: what ended of it in "
        "that time, against the mean of all queues. Ended: of all that was stored, once the producer has stopped."
    )
    leaves_out = "Handlers that take time, which would make the workers the bound."
    parts = (
        Part("backlog", 100, 50, "% left", less=True),
        Part("least queue", 50, 80, "% of the mean"),
        Part("ended", 100, 100, "%"),
    )

    async def measure(self, bench: Round) -> Found:
        """Fills, mixes, and waits for all of it."""
        mix = mixed.Mix(_QUEUES)
        workers = Workers(queues=_QUEUES, failing=True)
        backlog = bench.scale.jobs(_BACKLOG)
        seconds = bench.scale.seconds(_SECONDS, least=3)
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            connection = await asyncpg.connect(dsn)
            target = servers[0].grpc
            bench.tell(f"storing {backlog:,} jobs of many sorts")
            async with Processes("the filler", mixed.produce, [(target, mix, backlog, 1)]) as filler:
                filler.go()
                await filler.reports(600)
                stored = filler.count(DONE)
            made = Processes("the producer", mixed.produce, [(target, mix, 100_000_000, 2)])
            async with made, worker_processes(servers, workers) as hired:
                bench.tell(f"mixed load for {seconds:g} s")
                since = await connection.fetchval("select clock_timestamp()")
                hired.go()
                made.go()
                waiting = [stored]
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    await asyncio.sleep(0.5)
                    made.check()
                    hired.check()
                    waiting.append(stored + made.count(DONE) - hired.count(DONE))
                ended = hired.count(DONE)
                end = await connection.fetchval("select clock_timestamp()")
                await made.end()
                stored += made.count(DONE)
                bench.tell("the rest of it")
                await _drained(hired, stored)
                rows = await connection.fetch(_BY_QUEUE, since, end)
            by_queue = {row["name"]: row["ended"] for row in rows if row["name"] in _QUEUES}
            finished = await connection.fetchval("select count(*) from finished_job where status = 3")
            await connection.close()
        mean = sum(by_queue.values()) / len(_QUEUES)
        values: dict[str, float | None] = {
            "backlog": round(100 * waiting[-1] / waiting[0], 1),
            "least queue": round(100 * min(by_queue.values()) / mean, 1),
            "ended": round(100 * finished / stored, 4),
        }
        detail = {
            "ended_per_second": round(ended / seconds),
            "stored_per_second": round((stored - waiting[0]) / seconds),
            "backlog": waiting,
            "ended_by_queue": by_queue,
        }
        return Found(values, detail)


async def _drained(hired: Processes, jobs: int) -> None:
    until = time.monotonic() + 600
    while hired.count(DONE) < jobs:
        if time.monotonic() > until:
            raise BenchError(f"of {jobs} jobs {hired.count(DONE)} have ended: some starve")
        hired.check()
        await asyncio.sleep(0.05)
