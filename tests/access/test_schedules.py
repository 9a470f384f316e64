"""Schedules by callers that may not do everything: which jobs they schedule, and what they can't overwrite unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, schedule_pb2
from jobqueue_server.grants import Permission
from tests.lease.hand_worker import reason_of, violations_of
from tests.serve.schedules import create, get, refused, update

from .house import House, grant

SCHEDULER = Permission.READ | Permission.OPERATE | Permission.ENQUEUE


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


def job(queue: str, kind: str = "work") -> job_pb2.NewJob:
    return job_pb2.NewJob(kind=kind, queue=queue, payload_json=b"null")


async def test_a_schedule_is_changed_only_to_jobs_that_its_caller_may_operate_and_enqueue(
    house: House,
) -> None:
    caller = await house.caller(
        grant(SCHEDULER, "mail"),
        grant(Permission.READ | Permission.ENQUEUE, "images"),
        grant(Permission.READ | Permission.OPERATE, "notes"),
    )
    await create(caller, queue="mail")
    for queue, permission in (("images", "OPERATE"), ("notes", "ENQUEUE"), ("hidden", "OPERATE")):
        error = await refused(update(caller, "job", job=job(queue)))
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED")
        assert permission in (error.details() or "")
        error = await refused(create(caller, "other", queue=queue))
        assert reason_of(error) == "NOT_ALLOWED"
    assert (await get(caller)).job.queue == "mail"
    assert (await update(caller, "job", job=job("mail", "other"))).job.kind == "other"


async def test_who_is_not_shown_a_payload_does_not_overwrite_it_with_nothing(house: House) -> None:
    await create(house, queue="mail", payload=b'{"secret": 1}', headers={"h": "v"})
    caller = await house.caller(grant(SCHEDULER, "mail"))
    read = await get(caller)
    assert not read.job.HasField("payload")
    assert (read.job.payload_json, dict(read.job.headers)) == (b"", {})
    read.labels["team"] = "a"
    request = schedule_pb2.UpdateScheduleRequest(schedule=read)
    error = await refused(caller.schedules.UpdateSchedule(request))
    assert list(violations_of(error)) == ["schedule.job.payload"]
    read.ClearField("job")
    await caller.schedules.UpdateSchedule(schedule_pb2.UpdateScheduleRequest(schedule=read))
    kept = await get(house)
    assert (kept.job.payload_json, dict(kept.job.headers)) == (b'{"secret": 1}', {"h": "v"})
    assert dict(kept.labels) == {"team": "a"}
