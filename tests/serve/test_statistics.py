"""What a server has written of its statistics survives it, and what it had not is all that is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable

import asyncpg
import pytest

from tests.lease.place import Caller, eventually

from .server_process import ServerProcess

pytestmark = pytest.mark.any_engine

_SUM = "select coalesce(sum(enqueued), 0)::int4 from lane_stat"


@pytest.mark.slow
async def test_a_server_that_is_killed_loses_its_last_slice_at_most(
    dsn: str, processes: Callable[..., ServerProcess]
) -> None:
    process = processes(dsn)
    await process.start()
    caller = Caller(await process.address())
    database = await asyncpg.connect(dsn)
    try:
        await caller.batch(5)
        before = await database.fetchval("select now()")
        await eventually(lambda: database.fetchval(f"select ({_SUM}) = 5"), timeout=40)
        # Ten seconds and what the statement takes; this machine may be busy.
        waited = await database.fetchval("select now() - $1", before)
        assert waited.total_seconds() < 25
        await caller.batch(3)
        await process.kill()
        another = processes(dsn)
        await another.start()
        fresh = Caller(await another.address())
        await fresh.batch(2)
        await fresh.close()
        another.send(signal.SIGTERM)
        assert await another.ended() == 0
        # Those of the killed server's last slice may be in it, if the slice was over in between.
        assert await database.fetchval(_SUM) in (5 + 2, 5 + 3 + 2)
        servers = await database.fetchval("select count(distinct server_id) from lane_stat")
        assert servers == 2
    finally:
        await database.close()
        await caller.close()
