"""Schedules over several servers: each tick once, whichever servers are killed, stopped or cut off."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import schedule_pb2
from jobqueue.v1.schedule_pb2 import SchedulePolicy
from jobqueue_server.store.schedule.fires import FireStore
from tests.lease.hand_worker import PATIENCE, reason_of, span
from tests.lease.place import Caller, Place, eventually

from .schedules import (
    Outcome,
    create,
    due_now,
    get,
    moment,
    outcomes,
    pause,
    policy,
    resume,
    runs,
    spec,
)
from .server_process import ServerProcess

pytestmark = pytest.mark.any_engine

Make = Callable[..., ServerProcess]
EACH_TICK = """
select x.schedule, x.tick, count(*) as jobs from (
    select convert_from(headers, 'UTF8')::jsonb ->> 'x-schedule' as schedule,
        (convert_from(headers, 'UTF8')::jsonb ->> 'x-schedule-tick')::timestamptz as tick
    from job
) x group by 1, 2
"""


async def many(dsn: str, count: int, every: int) -> None:
    """Schedules that are due each `every` seconds, spread over that time, as CreateSchedule makes them."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            """
            insert into schedule (namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at)
            select 1, 's' || i, 'default', 'work',
                jsonb_build_object('every_us', $2::int8 * 1000000, 'phase_us', (i % $2) * 1000000::int8), '{}', '1',
                '{"overlap": 1, "catch_up_window_us": 3600000000, "catch_up": 2, "pause_after_failures": 0,'
                ' "keep_runs": 1000}', '9999a',
                to_timestamp((floor(extract(epoch from now()) / $2) + 1) * $2 + (i % $2))
            from generate_series(0, $1::int4 - 1) i
            """,
            count,
            every,
        )
    finally:
        await connection.close()


async def each_tick_once(dsn: str, every: int) -> int:
    """Returns how many ticks fired, each once, and none left out between the first and the last of a schedule."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(EACH_TICK)
        twice = [row for row in rows if row["jobs"] != 1]
        assert not twice, f"fired more than once: {twice[:5]}"
        ticks: dict[str, list[Any]] = {}
        for row in rows:
            ticks.setdefault(row["schedule"], []).append(row["tick"])
        for name, found in ticks.items():
            found.sort()
            expected = (found[-1] - found[0]) // timedelta(seconds=every) + 1
            assert len(found) == expected, f"{name} lost ticks: {len(found)} of {expected}"
        fired = await connection.fetchval("select count(*) from schedule_run where outcome = 1")
        assert fired == len(rows), "each job has its run, and each run its job"
        return len(rows)
    finally:
        await connection.close()


@pytest.mark.long
async def test_each_tick_fires_once_while_servers_are_killed_amid_fires(dsn: str, processes: Make) -> None:
    """Quick; `make faults ONLY=killed_amid_fire` has 1,000 schedules a minute for five minutes."""
    await many(dsn, 120, every=2)
    servers = [processes(dsn) for _ in range(4)]
    for server in servers:
        await server.launch()
    await asyncio.gather(*(ready(server) for server in servers))
    draw = random.Random(7)
    for _ in range(8):
        await asyncio.sleep(draw.uniform(0.5, 2))
        place = draw.randrange(4)
        await servers[place].kill()
        servers[place] = processes(dsn)
        await servers[place].launch()
    # What the last kills have left behind is caught up by those that live.
    await asyncio.gather(*(ready(server) for server in servers))
    await asyncio.sleep(3)
    for server in servers:
        await server.kill()
    assert await each_tick_once(dsn, every=2) > 600


async def ready(server: ServerProcess) -> None:
    """Several that start at once take longer than one."""
    await server.said("jobqueue-server is ready", timeout=6 * PATIENCE)


@pytest.mark.slow
async def test_a_server_that_is_stopped_amid_a_fire_loses_it_to_another(dsn: str, processes: Make) -> None:
    """Its rows are locked until the database ends its transaction, 5 s later; then another server fires."""
    await many(dsn, 40, every=1)
    stopped, other = processes(dsn), processes(dsn)
    await stopped.launch()
    await ready(stopped)
    await asyncio.sleep(2)
    stopped.send(signal.SIGSTOP)
    await other.launch()
    await ready(other)
    await asyncio.sleep(9)
    stopped.send(signal.SIGCONT)
    await asyncio.sleep(3)
    for server in (stopped, other):
        await server.kill()
    assert await each_tick_once(dsn, every=1) > 400


async def test_a_fire_that_is_silent_is_ended_by_the_database(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue_server.store.schedule.fires.MOST_SILENT", timedelta(milliseconds=200))
    await create(place, policy=policy(overlap=SchedulePolicy.ALLOW))
    writes = FireStore.write
    silent, goes_on = asyncio.Event(), asyncio.Event()

    async def late(self: FireStore, *args: Any, **more: Any) -> Any:
        if not silent.is_set():
            silent.set()
            await goes_on.wait()
        return await writes(self, *args, **more)

    monkeypatch.setattr(FireStore, "write", late)
    await place.sql("update schedule set next_at = now()")
    place.app.schedule.firer.wake()
    await asyncio.wait_for(silent.wait(), PATIENCE)
    # The one that is silent is silent still when another one has fired.
    async with Place(place.dsn) as other:
        await eventually(lambda: fired(other, 1))
        goes_on.set()
        await due_now(place)
        await eventually(lambda: fired(other, 2))
    assert await place.value("select count(*) from job") == 2


async def fired(place: Caller, count: int, name: str = "s") -> bool:
    return (await get(place, name)).fired >= count


@pytest.mark.slow
async def test_servers_that_fire_at_once_fire_each_tick_once(dsn: str) -> None:
    async with Place(dsn) as here, Place(dsn) as there:
        await many(dsn, 500, every=3600)
        # By their specs they are due half an hour from now, whatever the time is.
        await here.sql(
            "update schedule set next_at = now() + interval '1 second', spec = jsonb_set(spec, '{phase_us}', "
            "to_jsonb(((extract(epoch from now()) + 1800) * 1000000)::int8 % 3600000000))"
        )
        for place in (here, there):
            place.app.schedule.firer.wake()

        async def all_fired() -> bool:
            return bool(await here.value("select count(*) = 500 from job"))

        await eventually(all_fired)
        await asyncio.sleep(0.5)
        assert await here.value("select count(*) from job") == 500
        assert await here.value("select count(*) from schedule_run where outcome = 1") == 500


@pytest.mark.slow
@pytest.mark.parametrize("again", ["next_at", "buffered_at"])
async def test_a_tick_has_one_run_whatever_went_wrong_before(place: Place, again: str) -> None:
    """The second line of defence: without the lock and with `next_at` set back, the primary key holds.

    A tick that waited is written by another statement.
    """
    await create(place, when=spec(every=3600), policy=policy(overlap=SchedulePolicy.ALLOW))
    await place.sql("update schedule set next_at = now()")
    place.app.schedule.firer.wake()
    await eventually(lambda: fired(place, 1))
    await place.sql(
        f"update schedule set {again} = (select tick from schedule_run), last_tick = null, open = '{{}}'"
    )
    place.app.schedule.firer.wake()
    await asyncio.sleep(1)
    assert await place.value("select count(*) from job") == 1
    assert await outcomes(place) == ["FIRED"]


async def test_what_was_missed_while_the_database_was_away_goes_by_the_catch_up_window(place: Place) -> None:
    """90 s away, with a window of 60 s: as if the clock had been set on meanwhile."""
    await create(place, when=spec(every=5), policy=policy(60, overlap=SchedulePolicy.ALLOW))
    await place.sql("update schedule set next_at = next_at - interval '90 seconds'")
    place.app.schedule.firer.wake()
    await eventually(lambda: fired(place, 1))
    found = [each for each in reversed(await runs(place)) if each.outcome == Outcome.SKIPPED_CATCH_UP]
    assert len(found) == 2
    assert 4 <= found[0].ticks <= 8
    assert 8 <= found[1].ticks <= 11
    assert (await get(place)).fired <= 4


# ---- backfills


async def backfill(place: Caller, start: Any, end: Any, name: str = "s", **fields: Any) -> lro_pb.Operation:
    request = schedule_pb2.BackfillScheduleRequest(
        name=name, start_at=moment(start), end_at=moment(end), **fields
    )
    begun: lro_pb.Operation = (await place.schedules.BackfillSchedule(request, timeout=PATIENCE)).operation
    return begun


async def done(place: Caller, operation: lro_pb.Operation) -> lro_pb.Operation:
    request = lro_pb.WaitOperationRequest(name=operation.name, timeout=span(60))
    ended: lro_pb.Operation = await place.operations.WaitOperation(request, timeout=90)
    assert ended.done, ended
    return ended


def told(operation: lro_pb.Operation) -> schedule_pb2.BackfillMetadata:
    found = schedule_pb2.BackfillMetadata()
    assert operation.metadata.Unpack(found)
    return found


@pytest.mark.slow
async def test_a_backfill_fires_each_tick_of_its_span_once(place: Place) -> None:
    await create(place, when=spec("*/5 * * * *"), policy=policy(keep_runs=10_000))
    await pause(place)
    end = await place.value("select date_trunc('day', now())")
    start = end - timedelta(days=7)
    counted = told(await backfill(place, start, end, validate_only=True))
    assert (counted.estimate, counted.validate_only) == (2016, True)
    assert await place.value("select count(*) from job") == 0
    begun = await backfill(place, start, end)
    # It does not matter to it whether the schedule is paused; so no tick of now is among those that are counted.
    await resume(place)
    await pause(place)
    ended = await done(place, begun)
    metadata = told(ended)
    assert (metadata.fired, metadata.skipped, metadata.looked, metadata.estimate) == (2016, 0, 2016, 2016)
    rows = await place.sql(EACH_TICK)
    assert len(rows) == 2016
    assert {row["jobs"] for row in rows} == {1}
    assert min(row["tick"] for row in rows) == start
    assert max(row["tick"] for row in rows) == end - timedelta(minutes=5)
    again = await done(place, await backfill(place, start, start + timedelta(minutes=10)))
    assert told(again).fired == 2
    assert {run.nth for run in await runs(place)} == {1, 2}
    assert (await get(place)).fired == 2018


@pytest.mark.slow
async def test_a_backfill_goes_on_where_a_killed_server_left_it(
    dsn: str, place: Place, processes: Make
) -> None:
    await create(place, when=spec(every=60), policy=policy(keep_runs=10_000))
    await pause(place)
    end = await place.value("select date_trunc('day', now())")
    server = processes(dsn)
    await server.launch()
    await ready(server)
    other = Caller(await server.address())
    begun = await backfill(other, end - timedelta(days=1), end, per_second=200)

    async def under_way() -> bool:
        return bool(await place.value("select changed between 200 and 1200 from operation"))

    await eventually(under_way)
    await server.kill()
    await other.close()
    assert told(await done(place, begun)).fired == 1440
    rows = await place.sql(EACH_TICK)
    assert (len(rows), {row["jobs"] for row in rows}) == (1440, {1})


async def test_a_backfill_with_skip_fires_one_and_says_of_the_others_why_not(place: Place) -> None:
    await create(place, when=spec(every=60))
    await pause(place)
    end = await place.value("select date_trunc('hour', now())")
    operation = await backfill(place, end - timedelta(minutes=10), end, overlap=SchedulePolicy.SKIP)
    metadata = told(await done(place, operation))
    assert (metadata.fired, metadata.skipped) == (1, 9)
    assert Counter(await outcomes(place)) == {"FIRED": 1, "SKIPPED_OVERLAP": 9}


async def test_a_backfill_can_be_bounded_and_asked_for_again(place: Place) -> None:
    await create(place, when=spec(every=60))
    end = await place.value("select date_trunc('hour', now())")
    some = [
        await backfill(place, end - timedelta(hours=1), end, max_ticks=7, request_id="r") for _ in range(2)
    ]
    assert some[0].name == some[1].name
    assert told(await done(place, some[0])).fired == 7
    with pytest.raises(Exception) as error:
        await backfill(place, end - timedelta(hours=2), end, max_ticks=7, request_id="r")
    assert reason_of(error.value) == "REQUEST_ID_REUSED"  # type: ignore[arg-type]


async def test_a_backfill_of_a_schedule_that_is_deleted_ends(place: Place) -> None:
    await create(place, when=spec(every=1))
    end = await place.value("select date_trunc('hour', now())")
    begun = await backfill(place, end - timedelta(days=1), end, per_second=10)
    await place.schedules.DeleteSchedule(schedule_pb2.DeleteScheduleRequest(name="s"))
    ended = await done(place, begun)
    assert "deleted" in ended.error.message
