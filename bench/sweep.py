"""1,000,000 jobs that ended, in two queues: how long a sweep takes, and how long its statements do.

python -m bench.sweep     one of the queues keeps its jobs shorter: they are swept
python -m bench.sweep longer     all are due, and one of the queues keeps its failures longer: those are kept
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

import asyncpg

from jobqueue_server.core.upkeep.retention import Retention
from jobqueue_server.store.connect import Connector
from jobqueue_server.store.database import Database
from jobqueue_server.store.lineage import Lineage
from jobqueue_server.store.upkeep.retention import RetentionStore

from . import past
from .postgres import Cluster

JOBS = 1_000_000
DAY = timedelta(days=1)
_STATEMENTS = """
select substring(query from 'merge_partitions|drop_partition|shortest|looked') as statement,
    calls, mean_exec_time, max_exec_time
from pg_stat_statements
where query ~ 'retention|merge_partitions|drop_partition' and query !~ 'pg_stat_statements'
order by max_exec_time desc limit 4
"""


async def measure(*, longer: bool) -> None:
    """Makes the jobs, and sweeps until what is due is gone."""
    kept_for = 1.5 * DAY if longer else 7 * DAY
    async with Cluster() as cluster, cluster.fresh(ours=True) as dsn:
        connector = Connector(dsn, name="bench", lineage=Lineage())
        database = Database(connector, pool_size=2, acquire_timeout=timedelta(seconds=5))
        await database.open()
        connection = await asyncpg.connect(dsn)
        try:
            lanes = await past.lanes_of(connection, 2, "work")
            await past.ended(connection, lanes, JOBS, 2.5 * DAY, 2 * DAY)
            times = (None, 30 * DAY) if longer else (DAY, DAY)
            await connection.execute(
                "update queue set retention_succeeded = $1, retention_failed_permanent = $2, retention_cancelled = $1 "
                "where name = 'queue-1'",
                *times,
            )
            await connection.execute("vacuum analyze")
            await connection.execute("select pg_stat_statements_reset()")
            store = RetentionStore(database, retention=kept_for, expected=lambda: datetime.now(UTC))
            retention = Retention(store, retention=kept_for)
            started, left = time.monotonic(), JOBS
            while left > JOBS // 2:
                await retention.sweep()
                left = await connection.fetchval("select count(*) from finished_job")
                print(f"{time.monotonic() - started:.1f} s: {left:,} left")
            for row in await connection.fetch(_STATEMENTS):
                print(
                    f"{row['statement']}: {row['calls']:,} times, {row['mean_exec_time']:.1f} ms on average, "
                    f"{row['max_exec_time']:.0f} ms at most"
                )
            await connection.execute("update job_partition set swept_at = null")
            started = time.monotonic()
            await retention.sweep()
            print(f"to look through what stays: {time.monotonic() - started:.1f} s")
        finally:
            await connection.close()
            await database.close()


if __name__ == "__main__":
    asyncio.run(measure(longer=sys.argv[1:] == ["longer"]))
