"""The database's clock is set, and set right again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from jobqueue_server.lifecycle import Event as Exit
from tests.clock_step import make_settable, set_clock
from tests.faults.case import case
from tests.faults.stage import Stage

TTL = 5.0
# A step is noticed by the next heartbeat, and grants an amnesty, of 12 s at least.
BEAT, AMNESTY = 2, 12


@case(
    "clock_set",
    "the database's clock is an hour off for 6 s, either way: nothing ends by it, and the lost are found soon after",
    bound=150,
)
async def clock_set(stage: Stage) -> None:
    stage.explained = {Exit.LOST}
    await make_settable(await stage.database())
    connection = await stage.connection()
    servers = [await stage.server(name) for name in ("first", "second")]
    here, there = (server.address for server in servers)
    producer = stage.producer(here)
    gate = stage.folder / "gate"
    await stage.workers(["keeper"], there, slots=4, ttl=TTL)
    await producer.put_many(4, gate=str(gate))
    await stage.started(4, who="keeper")
    for way, hours in (("forwards", 1), ("back", -1)):
        victim, heir = f"victim-{way}", f"heir-{way}"
        [dying] = await stage.workers([victim], here, slots=8, ttl=TTL)
        await producer.put_many(8, gate="never")
        await stage.started(8, who=victim)
        # Time enough, if the clock is right.
        await stage.sql("update live_job set timeout_ms = 1800000, deadline = now() + interval '30 minutes'")
        await stage.heard(victim)
        [living] = await stage.workers([heir], there, slots=8, ttl=TTL)
        stage.fault(f"the clock goes an hour {way}")
        await set_clock(connection, timedelta(hours=hours))
        dying.kill()
        await asyncio.sleep(6)
        right_at = stage.fault("the clock is right again")
        assert not stage.events("started", who=heir), "a job was given away by a wrong clock"
        await set_clock(connection, timedelta())
        starts = await stage.started(8, who=heir, within=60)
        most = max(event.at for event in starts) - right_at
        stage.figure(f"right again to redelivery, {way}", most, BEAT + AMNESTY + 2)
        living.terminate()
        await living.ended()
    gate.touch()
    await stage.over()
    failures = await stage.value("select sum(failures)::int from finished_job")
    stage.figure("run timeouts", failures, 0, "")
    harmed = await stage.value("select count(*) from finished_job where losses > 1")
    stage.figure("jobs lost more than once", harmed, 0, "")
