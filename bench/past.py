"""What a queue has behind it, written by SQL as the server would have left it: jobs that have ended, statistics."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from .load import padded

_FOLDER = Path(__file__).parent
_ENDED = (_FOLDER / "ended.sql").read_text()
_HISTORY = (_FOLDER / "history.sql").read_text()
_CHUNK = 250_000
#: A partition is so wide where the retention is that of 7 days.
WIDTH = timedelta(hours=6)


async def ended(
    connection: Any,
    lanes: list[int],
    jobs: int,
    since: timedelta,
    until: timedelta,
    *,
    one_of: int = 100,
    size: int = 128,
) -> None:
    """Writes jobs that have ended.

    Args:
        connection: One that may make partitions.
        lanes: Of the jobs, in turns.
        jobs: How many.
        since: How long ago the first was enqueued.
        until: How long ago the last was.
        one_of: Of so many one failed for good and one was cancelled; 1: all failed.
        size: Bytes of a payload.
    """
    await connection.execute("select ensure_partitions($1, $2, 2)", WIDTH, since // WIDTH + 1)
    span = since - until
    for start in range(0, jobs, _CHUNK):
        some = min(_CHUNK, jobs - start)
        first, last = (since - span * (number / jobs) for number in (start, start + some))
        await connection.execute(_ENDED, lanes, some, padded(size), first, last, one_of, timeout=600)


async def history(connection: Any, lanes: list[int], back: timedelta) -> None:
    """Writes statistics of a time."""
    await connection.execute(_HISTORY, lanes, back, timeout=600)


async def lanes_of(connection: Any, count: int, kind: str, queue: str = "queue") -> list[int]:
    """Makes queues of one kind, before any server runs; their lanes."""
    kind_id = await connection.fetchval(
        "insert into kind (namespace_id, name, declared_at) values (1, $1, now()) returning id", kind
    )
    rows = await connection.fetch(
        """
        with made as (
            insert into queue (namespace_id, name)
            select 1, $1::text || '-' || n from generate_series(1, $2::int4) n
            returning id, name
        )
        insert into lane (namespace_id, queue_id, kind_id) select 1, id, $3::int4 from made order by name returning id
        """,
        queue,
        count,
        kind_id,
    )
    return [row["id"] for row in rows]
