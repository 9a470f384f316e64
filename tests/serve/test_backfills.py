"""Backfills beside all else that becomes of a schedule: its ticks, jobs that run, a namespace that is disabled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import schedule_pb2
from jobqueue.v1.schedule_pb2 import SchedulePolicy
from jobqueue_server.core.schedule.firing import Firing
from tests.lease.hand_worker import PATIENCE, span
from tests.lease.place import Place, eventually

from .schedules import (
    create,
    decided,
    due_now,
    end_open,
    fired,
    get,
    minutely,
    moment,
    outcomes,
    pause,
    policy,
    runs,
    spec,
)

pytestmark = pytest.mark.any_engine

Allow = SchedulePolicy.ALLOW
Cause = schedule_pb2.ScheduleRun.Cause


async def begin(place: Place, minutes: int, **fields: Any) -> lro_pb.Operation:
    """Starts a backfill of the last so many minutes."""
    end = await place.value("select now() - interval '1 second'")
    request = schedule_pb2.BackfillScheduleRequest(
        name="s", start_at=moment(end - timedelta(minutes=minutes)), end_at=moment(end), **fields
    )
    begun: lro_pb.Operation = (await place.schedules.BackfillSchedule(request, timeout=PATIENCE)).operation
    return begun


async def done(place: Place, begun: lro_pb.Operation) -> schedule_pb2.BackfillMetadata:
    ended = await place.operations.WaitOperation(
        lro_pb.WaitOperationRequest(name=begun.name, timeout=span(60)), timeout=90
    )
    assert ended.done
    assert not ended.HasField("error"), ended.error
    told = schedule_pb2.BackfillMetadata()
    assert ended.metadata.Unpack(told)
    return told


async def fires_nothing(*_: object, **__: object) -> int:
    return 0


@pytest.mark.parametrize(("overlap", "counts"), [("ALLOW", (3, 0)), ("SKIP", (0, 3))])
async def test_a_tick_that_waited_is_none_of_a_backfill_that_comes_before_its_fire(
    place: Place, monkeypatch: pytest.MonkeyPatch, overlap: str, counts: tuple[int, int]
) -> None:
    """It was counted as one, and with ALLOW the others were one less than none."""
    await create(place, when=minutely())
    await due_now(place)
    await fired(place, 1)
    waits = await due_now(place)
    assert await decided(place, 2) == ["FIRED", "BUFFERED"]
    monkeypatch.setattr(Firing, "round", fires_nothing)
    await end_open(place)
    told = await done(place, await begin(place, 3, overlap=overlap))
    assert (told.fired, told.skipped, told.looked) == (*counts, 3)
    of_time = [run for run in await runs(place) if run.cause == Cause.BY_TIME]
    assert [run.tick_at for run in of_time if run.tick_at == moment(waits)] == [moment(waits)]
    assert (await get(place)).fired == 2 + told.fired


async def test_a_tick_waits_for_a_job_that_has_run_since_before_a_backfill(place: Place) -> None:
    """Of a hundred jobs or more that have not ended the newest alone were known: so two ran at once."""
    worker = await place.worker(slots=1)
    await create(place, when=minutely())
    await due_now(place)
    first = await worker.job()
    await fired(place, 1)
    assert (await done(place, await begin(place, 240))).fired == 240
    assert first.id in (await get(place)).open_job_ids
    await place.sql("delete from live_job where id <> $1", first.id)
    await due_now(place)

    async def waits() -> bool:
        return (await get(place)).HasField("buffered_at")

    await eventually(waits)
    assert await place.value("select count(*) from live_job") == 1


@pytest.mark.slow
async def test_a_backfill_rests_while_its_namespace_is_disabled(place: Place) -> None:
    await create(place, when=spec(every=60), policy=policy(overlap=Allow))
    await pause(place)
    begun = await begin(place, 100, per_second=10)

    async def looked() -> int:
        return int(await place.value("select looked from operation"))

    async def under_way() -> bool:
        return await looked() > 0

    await eventually(under_way)
    await place.sql("update namespace set disabled_at = now()")
    # A step that was under way may have been committed after that.
    before = -1
    while (now := await looked()) != before:
        before = now
        await asyncio.sleep(1.5)
    assert before < 100
    # As if its server had not been heard for a while: it holds the operation until then.
    await place.sql("update operation set heard_at = now() - interval '1 minute'")
    await place.sql("update namespace set disabled_at = null")
    told = await done(place, begun)
    assert (told.fired, told.skipped, await place.value("select count(*) from job")) == (100, 0, 100)


@pytest.mark.slow
async def test_ticks_of_a_schedule_come_in_time_beside_its_backfill_and_each_once(place: Place) -> None:
    """Each second, beside a backfill of the last hour that goes on meanwhile and has the last of these seconds too."""
    # Who is held up for seconds fires them late, and leaves none out.
    each = policy(overlap=Allow, keep_runs=10_000, catch_up=SchedulePolicy.ALL)
    await create(place, when=spec(every=1), policy=each)
    await fired(place, 1, or_more=True)
    told = await done(place, await begin(place, 60))
    assert (told.fired, told.skipped) == (3600, 0)
    await pause(place)
    rows = await place.sql(
        "select tick, outcome, extract(epoch from decided_at - tick) as late from schedule_run where nth = 0 "
        "order by tick"
    )
    ticks = [row["tick"] for row in rows]
    assert ticks == [ticks[0] + timedelta(seconds=number) for number in range(len(ticks))]
    assert {row["outcome"] for row in rows} == {1}
    assert max(row["late"] for row in rows) < 5
    jobs = await place.value("select count(*) from job")
    assert jobs == 3600 + len(rows) == await place.value("select count(distinct job_id) from schedule_run")
    assert set(await outcomes(place)) == {"FIRED"}
