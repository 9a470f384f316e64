"""Connections that break all at once, as when a proxy restarts, while the server has its hands full."""

from __future__ import annotations

import asyncio
import time

from tests.faults.proxy import Proxy

from .place import Caller, Place, eventually

# What a large batch keeps the loop from everything else.
BUSY = 0.03


async def test_streams_that_are_cut_are_not_taken_for_drained_however_busy_the_server_is(
    place: Place,
) -> None:
    """The end of what a worker sends and the news that it is gone come one after the other, and look alike."""
    host, _, port = place.address.rpartition(":")
    async with Proxy(host, int(port)) as proxy:
        caller = Caller(proxy.address)
        workers = await asyncio.gather(
            *(caller.worker(name=f"worker-{number}", ttl=60) for number in range(100))
        )
        ids = await place.batch(len(workers))
        await asyncio.gather(*(worker.job() for worker in workers))

        async def busy() -> None:
            while True:
                time.sleep(BUSY)  # noqa: ASYNC251
                await asyncio.sleep(0.001)

        working = asyncio.create_task(busy())
        proxy.reset()

        async def written() -> bool:
            return bool(await place.value("select bool_and(silent_since is not null) from worker_session"))

        await eventually(written)
        working.cancel()
        await caller.close()
    assert await place.value("select count(*) from worker_session where ended_at is not null") == 0
    assert await place.value("select count(*) from live_job where state = 2 and attempts = 1") == len(ids)
