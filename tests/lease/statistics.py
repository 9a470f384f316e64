"""What the tables and the answers of statistics say, for the tests of what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.v1 import stats_pb2
from jobqueue_server.core.events.tallies import COUNTS

from .hand_worker import PATIENCE
from .place import Caller, Place, eventually


async def counted(place: Place, **wanted: int) -> dict[str, int]:
    """The sums of what this server and others have written, once they are as wanted; what is not named is 0."""

    all_wanted = {name: wanted.get(name, 0) for name in COUNTS}
    sums: dict[str, int] = {}

    async def look() -> bool:
        nonlocal sums
        # What was counted since the last slice is written at once.
        await place.app.stats.slices.stop()
        sums = await sums_of(place)
        return sums == all_wanted

    try:
        await eventually(look)
    except AssertionError:
        pytest.fail(f"{sums} instead of {all_wanted}")
    return sums


async def sums_of(place: Place, where: str = "true") -> dict[str, int]:
    columns = ", ".join(f"coalesce(sum({name}), 0)::int4 as {name}" for name in COUNTS)
    (row,) = await place.sql(f"select {columns} from lane_stat where {where}")
    return dict(row)


async def stats(place: Caller, **request: Any) -> stats_pb2.QueryStatsResponse:
    answer: stats_pb2.QueryStatsResponse = await place.insight.QueryStats(
        stats_pb2.QueryStatsRequest(**request), timeout=PATIENCE
    )
    return answer
