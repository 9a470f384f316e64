"""Servers killed in the middle of the fire of schedules."""

from __future__ import annotations

import asyncio
import time

from tests.faults.case import case
from tests.faults.processes import Server
from tests.faults.stage import Stage

#: In its full size: so many schedules, each due once a minute, for so many minutes.
SCHEDULES, MINUTES, SERVERS = 1000, 5, 4
_MAKE = """
insert into schedule (namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at)
select 1, 's' || i, 'default', 'work',
    jsonb_build_object('every_us', 60000000::int8, 'phase_us', (i % 60) * 1000000::int8), '{}', '1',
    '{"overlap": 1, "catch_up_window_us": 3600000000, "catch_up": 2, "pause_after_failures": 0,'
    ' "keep_runs": 1000}', '9999a',
    to_timestamp((floor(extract(epoch from now()) / 60) + 1) * 60 + (i % 60))
from generate_series(0, $1::int4 - 1) i
"""
_TICKS = """
select count(*) as ticks, coalesce(sum(jobs - 1), 0)::int8 as again, coalesce(max(late), 0)::float8 as latest from (
    select count(*) as jobs, extract(epoch from min(uuid_time(j.id)) - min(h.tick)) as late
    from job j, lateral (
        select (convert_from(j.headers, 'UTF8')::jsonb ->> 'x-schedule') as name,
            (convert_from(j.headers, 'UTF8')::jsonb ->> 'x-schedule-tick')::timestamptz as tick
    ) h
    group by h.name, h.tick
) t
"""
# What the specs say, counted here by themselves: each minute since the first one, until the schedules were paused.
_LOST = """
select count(*) from schedule s
cross join lateral generate_series(
    to_timestamp((floor(extract(epoch from s.created_at) / 60) + 1) * 60 + substr(s.name, 2)::int4 % 60),
    s.paused_at - interval '3 seconds', '1 minute'
) as tick
where not exists (select from schedule_run r where r.schedule_id = s.id and r.tick = tick)
"""


@case(
    "killed_amid_fire",
    "kill -9 of servers in the middle of fires, 1,000 schedules a minute for 5 minutes: each tick enqueues one job",
    bound=MINUTES * 60 + 240,
)
async def killed_amid_fire(stage: Stage) -> None:
    await stage.database()
    stage.all_jobs_over = False
    await stage.sql(_MAKE, stage.count(SCHEDULES, least=60))
    names = [f"server-{number}" for number in range(SERVERS)]
    servers: dict[str, Server] = {name: await stage.server(name) for name in names}
    until = time.monotonic() + max(75, MINUTES * 60 * stage.scale)
    kills = 0
    while time.monotonic() < until:
        await asyncio.sleep(stage.random.uniform(1, 4))
        # At any moment of its round: before the lock, between it and the commit, after it.
        name = stage.random.choice(names)
        stage.fault(f"kill -9 of {name}")
        servers[name].kill()
        kills += 1
        again = f"{name.partition('.')[0]}.{kills}"
        names[names.index(name)] = again
        servers[again] = await stage.server(again)
    await asyncio.sleep(5)
    await stage.sql("update schedule set paused_at = now()")
    await asyncio.sleep(1)
    [row] = await stage.sql(_TICKS)
    stage.figure("ticks that fired", row["ticks"], unit="")
    stage.figure("jobs beyond one a tick", row["again"], 0, "")
    stage.figure("ticks lost", await stage.value(_LOST), 0, "")
    unmatched = await stage.value(
        "select count(*) from schedule_run r full join job j on j.id = r.job_id where r.job_id is null or j.id is null"
    )
    stage.figure("runs without a job, or jobs without a run", unmatched, 0, "")
    stage.figure("servers killed", kills, unit="")
    # The rules of histories are about jobs that a producer has asked for.
    await stage.sql("truncate job, live_job")
