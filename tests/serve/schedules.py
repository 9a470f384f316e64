"""What tests ask of schedules, of a server at an address."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2, schedule_pb2
from jobqueue.v1.schedule_pb2 import Schedule, SchedulePolicy, ScheduleRun, ScheduleSpec
from tests.lease.hand_worker import PATIENCE, span
from tests.lease.place import Caller, Place, eventually

Outcome = ScheduleRun.RunOutcome
JSON = job_pb2.PAYLOAD_FORMAT_JSON


def moment(value: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(value.astimezone(UTC))
    return made


def spec(*cron: str, every: float = 0, phase: float = 0, jitter: float = 0, **fields: Any) -> ScheduleSpec:
    """Seconds are taken for Durations."""
    made = ScheduleSpec(cron=cron, **fields)
    for name, value in (("every", every), ("phase", phase), ("jitter", jitter)):
        if value:
            getattr(made, name).CopyFrom(span(value))
    return made


def minutely() -> ScheduleSpec:
    """Each minute, next in half a minute: no tick falls due by itself while a test looks."""
    return spec(every=60, phase=int(time.time() + 30) % 60)


def policy(window: float | None = None, **fields: Any) -> SchedulePolicy:
    made = SchedulePolicy(**fields)
    if window is not None:
        made.catch_up_window.CopyFrom(span(window))
    return made


#: Due far from now, so that nothing fires by itself.
SELDOM = spec("0 0 1 1 *")


async def create(
    place: Caller,
    name: str = "s",
    when: ScheduleSpec = SELDOM,
    *,
    payload: bytes = b'{"a": 1}',
    **fields: Any,
) -> Schedule:
    """Makes a schedule. What is not a field of it is one of its job."""
    of_schedule = {key: fields.pop(key) for key in ("policy", "labels", "paused") if key in fields}
    job = job_pb2.NewJob(kind=fields.pop("kind", "work"), payload_json=payload, **fields)
    request = schedule_pb2.CreateScheduleRequest(
        schedule=Schedule(name=name, spec=when, job=job, **of_schedule), payload_format=JSON
    )
    made: Schedule = (await place.schedules.CreateSchedule(request, timeout=PATIENCE)).schedule
    return made


async def get(place: Caller, name: str = "s") -> Schedule:
    request = schedule_pb2.GetScheduleRequest(name=name, payload_format=JSON)
    found: Schedule = (await place.schedules.GetSchedule(request, timeout=PATIENCE)).schedule
    return found


async def update(place: Caller, *mask: str, allow_missing: bool = False, **fields: Any) -> Schedule:
    request = schedule_pb2.UpdateScheduleRequest(
        schedule=Schedule(**{"name": "s", **fields}),
        update_mask=FieldMask(paths=mask),
        allow_missing=allow_missing,
        payload_format=JSON,
    )
    changed: Schedule = (await place.schedules.UpdateSchedule(request, timeout=PATIENCE)).schedule
    return changed


async def pause(place: Caller, note: str = "", name: str = "s") -> Schedule:
    request = schedule_pb2.PauseScheduleRequest(name=name, note=note)
    paused: Schedule = (await place.schedules.PauseSchedule(request, timeout=PATIENCE)).schedule
    return paused


async def resume(place: Caller, name: str = "s") -> Schedule:
    request = schedule_pb2.ResumeScheduleRequest(name=name)
    resumed: Schedule = (await place.schedules.ResumeSchedule(request, timeout=PATIENCE)).schedule
    return resumed


async def run(place: Caller, name: str = "s", **fields: Any) -> ScheduleRun:
    request = schedule_pb2.RunScheduleRequest(name=name, **fields)
    done: ScheduleRun = (await place.schedules.RunSchedule(request, timeout=PATIENCE)).run
    return done


async def runs(place: Caller, name: str = "s", size: int = 1000) -> list[ScheduleRun]:
    """All pages, the newest first."""
    request, found = schedule_pb2.ListScheduleRunsRequest(name=name, page_size=size), []
    while True:
        answer = await place.schedules.ListScheduleRuns(request, timeout=PATIENCE)
        found += answer.runs
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def outcomes(place: Caller, name: str = "s") -> list[str]:
    """What became of its ticks, the oldest first."""
    return [Outcome.Name(each.outcome) for each in reversed(await runs(place, name))]


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def due_now(place: Place, name: str = "s", ago: float = 0) -> datetime:
    """Moves the next tick of a schedule to now, or so many seconds ago, as if time had passed. Answers the tick."""
    tick: datetime = await place.value(
        "update schedule set next_at = now() - make_interval(secs => $2) where name = $1 returning next_at",
        name,
        ago,
    )
    place.app.schedule.firer.wake()
    return tick


async def fired(place: Place, count: int, name: str = "s", *, or_more: bool = False) -> Schedule:
    """The schedule once it has enqueued so many jobs. `or_more`: its next ticks may be due before it is looked at."""

    async def look() -> Schedule | None:
        found = await get(place, name)
        return found if found.fired >= count else None

    found: Schedule = await eventually(look)
    assert or_more or found.fired == count
    return found


async def decided(place: Place, count: int, name: str = "s") -> list[str]:
    """What became of its ticks once there are so many runs, the oldest first."""

    async def look() -> list[str] | None:
        found = await outcomes(place, name)
        return found if len(found) >= count else None

    found: list[str] = await eventually(look)
    assert len(found) == count
    return found


async def end_open(place: Place, status: int = 3) -> None:
    """Ends every job that has not ended, as the tables have it; server's parts are not told."""
    await place.sql(
        """
        with gone as (delete from live_job returning id)
        insert into finished_job (id, started_at, attempts, status, failures, losses, reason)
        select id, now(), 1, $1::int2, 0, 0, case when $1 = 5 then 'NOT_RETRYABLE' end from gone
        """,
        status,
    )
