"""Schedules at their bounds: too many, too large, no room for jobs, a disabled namespace, other time zones."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest
from google.longrunning import operations_pb2 as lro_pb

from jobqueue.v1 import job_pb2, queue_admin_pb2, schedule_pb2
from jobqueue.v1.schedule_pb2 import Schedule, SchedulePolicy
from jobqueue_server.core.schedule import decisions, firer, firing, ticks, zones
from jobqueue_server.core.schedule.jobs import JobMaker, Planned
from jobqueue_server.core.upkeep import duty_cycle
from tests.lease.hand_worker import PATIENCE, reason_of, span
from tests.lease.place import Place, eventually

from .schedules import (
    SELDOM,
    Outcome,
    create,
    decided,
    due_now,
    end_open,
    fired,
    get,
    moment,
    outcomes,
    pause,
    policy,
    refused,
    run,
    runs,
    spec,
    update,
)

pytestmark = pytest.mark.any_engine

Allow = SchedulePolicy.ALLOW
#: More of the schedule `s`, in a namespace, paused or due since a minute.
_COPIES = """
insert into schedule (namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at, paused_at)
select $1, 'copy-' || i, queue, kind, spec, job, payload, policy, time_zones,
    now() - interval '1 minute', case when $3 then now() end
from schedule, generate_series(1, $2::int4) i where name = 's'
"""


# ---- how many, and how large


@pytest.mark.slow
async def test_a_namespace_has_a_hundred_thousand_schedules_and_no_more(place: Place) -> None:
    await create(place)
    await place.sql(_COPIES, 1, 99_998, True)
    job = job_pb2.NewJob(kind="work", payload_json=b"null")
    answers = await asyncio.gather(
        create(place, "a"),
        update(place, name="b", spec=SELDOM, job=job, allow_missing=True),
        return_exceptions=True,
    )
    (error,) = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    (made,) = [each for each in answers if isinstance(each, Schedule)]
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "SCHEDULES_FULL")
    assert "100000" in (error.details() or "")
    # One that is there can be changed, and is not made anew.
    assert dict((await update(place, labels={"a": "1"})).labels) == {"a": "1"}
    assert reason_of(await refused(create(place))) == "SCHEDULE_EXISTS"
    await place.schedules.DeleteSchedule(schedule_pb2.DeleteScheduleRequest(name=made.name))
    assert (await create(place, "c")).name == "c"


@pytest.mark.slow
async def test_large_jobs_fire_in_several_transactions_none_twice_and_none_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that, 200 schedules that catch up 100 ticks of 1 MiB each would send 20 GB in one statement."""
    for module in (decisions, firing):
        monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    payload = b'"' + b"x" * 3000 + b'"'
    stored: list[int] = []
    stores = JobMaker.store

    async def seen(self: JobMaker, session: Any, plans: list[Planned]) -> Any:
        stored.append(sum(len(payload) for plan in plans if plan.batch is not None))
        return await stores(self, session, plans)

    monkeypatch.setattr(JobMaker, "store", seen)
    catch_up = policy(600, overlap=Allow, catch_up=SchedulePolicy.ALL, keep_runs=1000)
    for name in ("a", "b", "c", "d"):
        await create(place, name, spec(every=3600), payload=payload, policy=catch_up)
    # So each of them has missed ten ticks or so.
    await place.sql(
        "update schedule set next_at = date_trunc('minute', now()) - interval '9 minutes', "
        "spec = jsonb_set(spec, '{every_us}', '60000000')"
    )
    place.app.schedule.firer.wake()

    async def all_fired() -> bool:
        return bool(await place.value("select min(fired) >= 10 from schedule"))

    await eventually(all_fired)
    # The next minute may begin at any time: no more of its ticks while it is counted.
    await place.sql("update schedule set next_at = now() + interval '1 hour'")
    assert max(stored) <= 10_000
    rows = await place.sql(
        "select headers, count(*) from (select convert_from(headers, 'UTF8') as headers from job) j group by 1"
    )
    assert {row["count"] for row in rows} == {1}
    assert len(rows) == await place.value("select sum(fired) from schedule")
    assert Counter(await outcomes(place, "a")) == {"FIRED": (await get(place, "a")).fired}
    # A backfill likewise.
    stored.clear()
    await pause(place, name="a")
    end = await place.value("select date_trunc('hour', now())")
    assert (await _backfilled(place, end - timedelta(minutes=10), end, name="a")).fired == 10
    assert len(stored) > 1
    assert max(stored) <= 10_000


async def _backfill(place: Place, start: datetime, end: datetime, name: str = "s") -> lro_pb.Operation:
    request = schedule_pb2.BackfillScheduleRequest(name=name, start_at=moment(start), end_at=moment(end))
    begun = (await place.schedules.BackfillSchedule(request, timeout=PATIENCE)).operation
    ended: lro_pb.Operation = await place.operations.WaitOperation(
        lro_pb.WaitOperationRequest(name=begun.name, timeout=span(60)), timeout=90
    )
    assert ended.done
    return ended


async def _backfilled(
    place: Place, start: datetime, end: datetime, name: str = "s"
) -> schedule_pb2.BackfillMetadata:
    told = schedule_pb2.BackfillMetadata()
    assert (await _backfill(place, start, end, name)).metadata.Unpack(told)
    return told


@pytest.mark.slow
async def test_a_backfill_of_a_year_fires_each_tick_once_beside_a_change_and_a_pause(place: Place) -> None:
    """Each hour of 365 days. By hand, each minute of a year is 525,600 ticks: docs/decisions/0049-schedules.md."""
    await create(place, when=spec("0 * * * *"), policy=policy(overlap=Allow))
    end = await place.value("select date_trunc('day', now())")
    running = asyncio.create_task(_backfilled(place, end - timedelta(days=365), end))
    await asyncio.sleep(0.2)
    await pause(place)
    await update(place, labels={"a": "1"})
    assert Outcome.Name((await run(place)).outcome) == "FIRED"
    told = await running
    assert (told.fired, told.skipped, told.estimate) == (8760, 0, 8760)
    rows = await place.value(
        "select count(distinct convert_from(headers, 'UTF8')::jsonb ->> 'x-schedule-tick') from job"
    )
    assert (rows, await place.value("select count(*) from job")) == (8761, 8761)
    assert len(await runs(place)) == 100


# ---- no room for their jobs


@pytest.mark.slow
async def test_a_tick_that_finds_its_queue_full_is_refused_and_the_next_one_fires_when_there_is_room(
    place: Place,
) -> None:
    queue = queue_admin_pb2.Queue(name="mail", max_waiting=1)
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    await create(place, queue="mail", policy=policy(overlap=Allow))
    await place.enqueue(queue="mail")

    async def full() -> bool:
        try:
            await place.enqueue(queue="mail")
        except grpc.aio.AioRpcError as error:
            return reason_of(error) == "QUEUE_BACKLOG_FULL"
        return False

    await eventually(full)
    await due_now(place)
    assert await decided(place, 1) == ["REFUSED"]
    last = (await get(place)).last_run
    assert "mail" in last.note
    assert Outcome.Name((await run(place)).outcome) == "REFUSED"
    await end_open(place)

    async def has_room() -> bool:
        return Outcome.Name((await run(place)).outcome) == "FIRED"

    await eventually(has_room)


@pytest.mark.slow
async def test_while_a_job_takes_three_periods_one_tick_waits_and_it_is_the_newest(place: Place) -> None:
    worker = await place.worker(slots=5)
    await create(place, when=spec(every=1))
    first = await worker.job()

    async def replaced() -> bool:
        return (await outcomes(place)).count("REPLACED_IN_BUFFER") >= 5

    await eventually(replaced)
    assert await place.value("select count(*) from live_job") == 1
    await worker.succeed(first)
    second = await worker.job()
    await pause(place)
    rows = {each.job_id: each for each in await runs(place)}
    late = (await place.get(second.id)).created_at.ToDatetime(UTC) - rows[second.id].tick_at.ToDatetime(UTC)
    # The oldest that waited was due more than five seconds ago.
    assert late < timedelta(seconds=5)


# ---- a namespace that is disabled


async def test_schedules_of_a_disabled_namespace_wait_for_it_and_hold_up_no_other(place: Place) -> None:
    await create(place, policy=policy(overlap=Allow))
    other = await place.value(
        "insert into namespace (name, disabled_at) values ('other', now()) returning id"
    )
    # More than one transaction takes.
    await place.sql(_COPIES, other, 300, False)
    await place.sql("update schedule set buffered_at = now() where name = 'copy-7'")
    await due_now(place)
    await fired(place, 1)
    assert await place.value("select count(*) from job") == 1
    # Nor does the server look for them again and again.
    store = place.app.stores.fires
    soonest = await store.soonest()
    assert not soonest.buffered
    assert soonest.next_at is not None
    assert soonest.next_at > datetime.now(UTC) + timedelta(minutes=1)
    await place.sql("update schedule set buffered_at = null")
    await place.sql("update namespace set disabled_at = null where id = $1", other)
    place.app.schedule.firer.wake()

    async def all_fired() -> bool:
        return bool(await place.value("select count(*) = 300 from schedule where fired = 1 and name <> 's'"))

    await eventually(all_fired)
    assert await place.value("select count(*) from job") == 301


# ---- other time zones


@pytest.mark.slow
async def test_new_time_zones_move_ticks_that_are_not_near(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Berlin had got the time of Tokyo."""
    monkeypatch.setattr(firer, "_RETIME_EVERY", 0.2)
    # On a busy machine it would rest for fifty times what the first took.
    monkeypatch.setattr(duty_cycle, "_SHARE", 0)
    half_past_two = spec("30 2 * * *", time_zone="Europe/Berlin")
    async with Place(dsn) as place:
        for name in ("far", "near", "later", "stopped"):
            await create(place, name, half_past_two)
        await pause(place, name="stopped")
        near = await place.value(
            "update schedule set next_at = now() + interval '30 seconds' where name = 'near' returning next_at"
        )
        later = await place.value(
            "update schedule set time_zones = '9999a' where name = 'later' returning next_at"
        )
    known = zones.zone
    monkeypatch.setattr(ticks, "zone", lambda name: known("Asia/Tokyo" if name == "Europe/Berlin" else name))
    monkeypatch.setattr(zones, "VERSION", "9998z")
    async with Place(dsn) as place:

        async def next_at(name: str) -> Any:
            return await place.value("select next_at from schedule where name = $1", name)

        async def moved(name: str = "far") -> bool:
            found = await next_at(name)
            return (found.hour, found.minute) == (17, 30)

        await eventually(moved)
        await eventually(lambda: moved("stopped"))
        assert (await next_at("near"), await next_at("later")) == (near, later)
        assert await outcomes(place, "far") == []
        # An older server that runs beside has fired it meanwhile, and computed its next tick.
        await place.sql(
            "update schedule set time_zones = '2000a', next_at = now() + interval '3 hours' where name = 'far'"
        )
        await eventually(moved)
        # What this server fires is by its own time zones then, and what changes no tick leaves the version.
        await due_now(place, "near")
        await fired(place, 1, "near")
        await update(place, name="later", labels={"a": "1"})
        rows = await place.sql("select name, time_zones from schedule")
        assert {row["name"]: row["time_zones"] for row in rows} == {
            "far": "9998z",
            "near": "9998z",
            "stopped": "9998z",
            "later": "9999a",
        }


async def test_a_time_zone_that_this_server_does_not_know_harms_no_other_schedule(place: Place) -> None:
    """A server with newer time zones made it, and runs no more; or this one is an older one."""
    await create(place, "odd", policy=policy(overlap=Allow))
    await create(place, "fine")
    await place.sql(
        "update schedule set spec = jsonb_set(spec, '{time_zone}', '\"Mars/Phobos\"'), time_zones = '2000a' "
        "where name = 'odd'"
    )
    for count in (1, 2):
        await place.sql("update schedule set next_at = now(), open = '{}'")
        place.app.schedule.firer.wake()
        await fired(place, count, "fine")
    shown = await get(place, "odd")
    assert (shown.fired, list(shown.upcoming), shown.spec.time_zone) == (0, [], "Mars/Phobos")
    by_hand = await run(place, "odd")
    assert (await place.get(by_hand.job_id)).headers["x-schedule-tick"].endswith("+00:00")
    end = datetime.now(UTC) - timedelta(days=1)
    ended = await _backfill(place, end - timedelta(days=1), end, "odd")
    assert "Mars/Phobos" in ended.error.message
    # A change of the spec mends it.
    await update(place, name="odd", spec=SELDOM)
    await due_now(place, "odd")
    await fired(place, 2, "odd")
