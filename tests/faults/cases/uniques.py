"""Names under load: no fault, but more callers, servers and workers at once than anywhere else."""

from __future__ import annotations

import asyncio

from tests.faults.case import case
from tests.faults.producer import Producer
from tests.faults.stage import Stage

NAMES, CALLS, WORKERS = 100, 10_000, 4
TWICE = """
select j.unique_name ->> 'key' as key, count(*) as jobs
from live_job l join job j on j.id = l.id
where l.state <> 2 and l.attempts = 0
group by 1
having count(*) > 1
"""


@case(
    "unique_names",
    "8 callers on two servers, 10,000 enqueues each of 100 names, 4 workers: of a name never two wait",
    bound=900,
)
async def unique_names(stage: Stage) -> None:
    await stage.database()
    first, second = await stage.server("first"), await stage.server("second")
    callers = [stage.producer(server.address) for server in (first, second) for _ in range(4)]
    names = [f"user-{number}" for number in range(NAMES)]
    await stage.workers(
        [f"worker-{number}" for number in range(WORKERS)], first.address, second.address, slots=2
    )
    calls = stage.count(CALLS, 50)
    done, looks = asyncio.Event(), 0

    async def call(caller: Producer) -> int:
        """How many of its jobs were kept."""
        kept = 0
        for _ in range(calls):
            kept += await caller.put_once(stage.random.choice(names), seconds=0.005)
        return kept

    async def watch() -> None:
        nonlocal looks
        while not done.is_set():
            twice = await stage.sql(TWICE)
            assert not twice, f"two jobs of a name wait: {[tuple(row) for row in twice]}"
            looks += 1
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        kept = sum(await asyncio.gather(*(call(caller) for caller in callers)))
        done.set()
        await watching
    finally:
        # Where the case is over its bound, its database goes; who looked on would say that, and not what was wrong.
        watching.cancel()
    await stage.over()
    stored = await stage.value("select count(*) from job")
    stage.figure("calls", len(callers) * calls, None, "")
    stage.figure("looks", looks, None, "")
    stage.figure("calls that are neither stored nor kept", len(callers) * calls - kept - stored, 0, "")
    assert kept > 0, "no name was ever held"
    assert looks >= 10, f"only {looks} looks"
