"""Requests about schedules: every way in which each field can be wrong, by its path."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import json_format

from jobqueue.v1 import schedule_pb2 as pb
from jobqueue_server.chain import Call
from jobqueue_server.core.schedule.jobs import job_of
from jobqueue_server.errors import FieldInvalid
from jobqueue_server.model import DEFAULT_NAMESPACE
from jobqueue_server.rpc.schedule_values import schedule_message
from jobqueue_server.rpc.schedules import SchedulesServicer
from jobqueue_server.scope import Scope
from jobqueue_server.store.schedule.values import (
    Schedule,
    job_from_json,
    job_to_json,
    policy_from_json,
    policy_to_json,
    spec_from_json,
    spec_to_json,
)

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SPEC = {"cron": ["0 0 1 1 *"]}
JOB = {"kind": "work"}
SCHEDULE: dict[str, Any] = {"name": "s", "spec": SPEC, "job": JOB}


class Reached(Exception):
    """A request was passed on."""


class Core:
    """Takes what the servicer makes of a request; nothing of it is reached by a bad one."""

    def __init__(self) -> None:
        self.made: list[Schedule] = []

    async def create(self, scope: Any, schedule: Schedule) -> Any:
        self.made.append(schedule)
        raise Reached

    def now(self) -> datetime:
        return NOW


def servicer(core: Core) -> SchedulesServicer:
    whatever: Any = core
    return SchedulesServicer(whatever, whatever, whatever, whatever)


def a_call(method: str) -> Call:
    call = Call(f"/jobqueue.v1.Schedules/{method}", "grpc", {})
    call.scope = Scope(DEFAULT_NAMESPACE, "tests")
    return call


async def ask(method: str, body: dict[str, Any], core: Core | None = None) -> Any:
    request = json_format.ParseDict(body, getattr(pb, f"{method}Request")())
    return await getattr(servicer(core or Core()), method)(request, a_call(method))


def spec(**fields: Any) -> dict[str, Any]:
    return {"schedule": {**SCHEDULE, "spec": fields}}


def job(**fields: Any) -> dict[str, Any]:
    return {"schedule": {**SCHEDULE, "job": {**JOB, **fields}}}


def policy(**fields: Any) -> dict[str, Any]:
    return {"schedule": {**SCHEDULE, "policy": fields}}


LATE = "9999-12-31T23:59:59Z"
LAST = "9899-12-31T23:59:59Z"
WRONG: list[tuple[str, dict[str, Any], set[str]]] = [
    ("CreateSchedule", {}, {"schedule"}),
    ("CreateSchedule", {"schedule": {"name": "s"}}, {"schedule.spec", "schedule.job"}),
    ("CreateSchedule", {"schedule": {**SCHEDULE, "name": "S"}}, {"schedule.name"}),
    ("CreateSchedule", {"schedule": {**SCHEDULE, "labels": {"": "v"}}}, {"schedule.labels['']"}),
    ("CreateSchedule", {"schedule": SCHEDULE, "payload_format": 9}, {"payload_format"}),
    ("CreateSchedule", spec(), {"schedule.spec.cron"}),
    ("CreateSchedule", spec(cron=["* * * * *"] * 21), {"schedule.spec.cron"}),
    ("CreateSchedule", spec(cron=["* * * * *", ""]), {"schedule.spec.cron[1]"}),
    ("CreateSchedule", spec(cron=["*" * 256]), {"schedule.spec.cron[0]"}),
    ("CreateSchedule", spec(cron=["* * * * *"], every="60s"), {"schedule.spec.every"}),
    ("CreateSchedule", spec(every="0.999s"), {"schedule.spec.every"}),
    ("CreateSchedule", spec(every="1.5s"), {"schedule.spec.every"}),
    ("CreateSchedule", spec(every="34560001s"), {"schedule.spec.every"}),
    ("CreateSchedule", spec(every="60s", phase="60s"), {"schedule.spec.phase"}),
    ("CreateSchedule", spec(every="60s", phase="0.5s"), {"schedule.spec.phase"}),
    ("CreateSchedule", spec(cron=["* * * * *"], phase="1s"), {"schedule.spec.phase"}),
    ("CreateSchedule", spec(every="60s", time_zone="z" * 65), {"schedule.spec.time_zone"}),
    ("CreateSchedule", spec(every="60s", jitter="3600.000000001s"), {"schedule.spec.jitter"}),
    ("CreateSchedule", spec(every="60s", starts_at=LAST, ends_at=LAST), {"schedule.spec.ends_at"}),
    *(
        ("CreateSchedule", spec(every="60s", **{name: moment}), {f"schedule.spec.{name}"})
        for name in ("starts_at", "ends_at")
        for moment in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999999Z", "9900-01-01T00:00:00Z", LATE)
    ),
    ("CreateSchedule", job(delay="1s"), {"schedule.job.delay"}),
    ("CreateSchedule", job(run_at=LATE), {"schedule.job.run_at"}),
    ("CreateSchedule", job(idempotency_key="k"), {"schedule.job.idempotency_key"}),
    ("CreateSchedule", job(kind="Work"), {"schedule.job.kind"}),
    ("CreateSchedule", job(priority=11), {"schedule.job.priority"}),
    ("CreateSchedule", job(unique={"on_conflict": "DEBOUNCE"}), {"schedule.job.unique.on_conflict"}),
    ("CreateSchedule", job(unique={"cancel_running": True}), {"schedule.job.unique.cancel_running"}),
    ("CreateSchedule", policy(overlap="BUFFER_ALL"), {"schedule.policy.overlap"}),
    ("CreateSchedule", policy(overlap="CANCEL_RUNNING"), {"schedule.policy.overlap"}),
    ("CreateSchedule", policy(overlap=77), {"schedule.policy.overlap"}),
    ("CreateSchedule", policy(catch_up=77), {"schedule.policy.catch_up"}),
    ("CreateSchedule", policy(catch_up_window="34560001s"), {"schedule.policy.catch_up_window"}),
    ("CreateSchedule", policy(pause_after_failures=1001), {"schedule.policy.pause_after_failures"}),
    ("CreateSchedule", policy(keep_runs=10_001), {"schedule.policy.keep_runs"}),
    ("GetSchedule", {"name": ""}, {"name"}),
    ("GetSchedule", {"name": "s", "payload_format": 9}, {"payload_format"}),
    ("ListSchedules", {"page_size": -1}, {"page_size"}),
    ("ListSchedules", {"kind": "A", "queue": "B"}, {"kind", "queue"}),
    ("ListSchedules", {"labels": ["a"]}, {"labels[0]"}),
    ("UpdateSchedule", {"schedule": {"name": "s"}}, {"update_mask"}),
    ("UpdateSchedule", {"schedule": {"name": "s"}, "update_mask": "paused"}, {"update_mask"}),
    ("UpdateSchedule", {"schedule": {"name": "s"}, "update_mask": "spec.cron"}, {"update_mask"}),
    (
        "UpdateSchedule",
        {"schedule": {"name": "s"}, "update_mask": "spec,job"},
        {"schedule.spec", "schedule.job"},
    ),
    ("UpdateSchedule", {"schedule": {"name": "S", "labels": {"a": "b"}}}, {"schedule.name"}),
    (
        "UpdateSchedule",
        {"schedule": {"name": "s", "labels": {"a": "b"}, "etag": "e" * 65}},
        {"schedule.etag"},
    ),
    (
        "UpdateSchedule",
        {"schedule": {"name": "s", "policy": {"keep_runs": -1}}},
        {"schedule.policy.keep_runs"},
    ),
    ("DeleteSchedule", {"name": "s", "etag": "e" * 65}, {"etag"}),
    ("PauseSchedule", {"name": "s", "note": "n" * 256}, {"note"}),
    ("PauseSchedule", {"name": "s", "note": "\0"}, {"note"}),
    ("ResumeSchedule", {"name": "-"}, {"name"}),
    ("RunSchedule", {"name": "s", "overlap": "BUFFER_ALL"}, {"overlap"}),
    ("RunSchedule", {"name": "s", "request_id": "\n"}, {"request_id"}),
    ("ListScheduleRuns", {"name": "s", "page_size": -1}, {"page_size"}),
    ("ListScheduleRuns", {"name": "s", "page_token": "t" * 65}, {"page_token"}),
    ("BackfillSchedule", {"name": "s"}, {"start_at", "end_at"}),
    (
        "BackfillSchedule",
        {"name": "s", "start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-02T00:00:00Z"},
        {"end_at"},
    ),
    (
        "BackfillSchedule",
        {"name": "s", "start_at": "2025-01-01T00:00:00Z", "end_at": "2026-11-01T00:00:00Z"},
        {"end_at"},
    ),
    (
        "BackfillSchedule",
        {"name": "s", "start_at": "2026-11-01T00:00:00Z", "end_at": "2026-11-28T00:00:00.000001Z"},
        {"end_at"},
    ),
    *(
        (
            "BackfillSchedule",
            {"name": "s", "start_at": "2026-11-01T00:00:00Z", "end_at": "2026-11-02T00:00:00Z", **more},
            {next(iter(more))},
        )
        for more in (
            {"overlap": "BUFFER_ONE"},
            {"overlap": "BUFFER_ALL"},
            {"max_ticks": -1},
            {"per_second": 100_001},
            {"per_second": -1},
            {"request_id": "r" * 256},
        )
    ),
    ("PreviewSchedule", {}, {"spec"}),
    ("PreviewSchedule", {"spec": SPEC, "count": 101}, {"count"}),
    ("PreviewSchedule", {"spec": SPEC, "since": "0001-01-01T00:00:00Z"}, {"since"}),
    ("PreviewSchedule", {"spec": SPEC, "since": "9900-01-01T00:00:00Z"}, {"since"}),
    (
        "BackfillSchedule",
        {"name": "s", "start_at": "0001-01-01T00:00:00Z", "end_at": "0001-01-02T00:00:00Z"},
        {"start_at", "end_at"},
    ),
    ("PreviewSchedule", {"spec": {**SPEC, "every": "1s"}}, {"spec.every"}),
]


@pytest.mark.parametrize(("method", "body", "fields"), WRONG)
async def test_a_field_that_is_wrong_is_named_with_what_would_be_right(
    method: str, body: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(FieldInvalid) as error:
        await ask(method, body)
    assert {violation.field for violation in error.value.violations} == fields
    assert all(violation.description for violation in error.value.violations)


FULL: dict[str, Any] = {
    "name": "s",
    "spec": {
        "cron": ["0 0 1 1 *", "@daily"],
        "time_zone": "Europe/Berlin",
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2030-01-01T00:00:00Z",
        "jitter": "1.5s",
    },
    "job": {
        "kind": "work",
        "queue": "q",
        "payload_json": "MQ==",
        "priority": -3,
        "max_attempts": 7,
        "timeout": "60s",
        "retry_policy": {"min_backoff": "1s", "max_backoff": "2.5s"},
        "labels": {"a": "b"},
        "headers": {"h": "v"},
        "key": "k",
        "hold": True,
        "unique": {
            "payload_fields": ["/a"],
            "scope": "QUEUE_AND_KIND",
            "until": "ENDS",
            "period": "60s",
            "on_conflict": "REPLACE",
            "replace": ["PAYLOAD"],
        },
    },
    "policy": {
        "overlap": "ALLOW",
        "catch_up_window": "60s",
        "catch_up": "ALL",
        "pause_after_failures": 5,
        "keep_runs": 9,
    },
    "labels": {"l": "v"},
    "paused": True,
}


#: What a schedule decides itself, and other ways to say the same.
NOT_SAID = {"job": {"run_at", "delay", "idempotency_key", "payload"}, "spec": {"every", "phase"}}


async def _made() -> Schedule:
    core = Core()
    with pytest.raises(Reached):
        await ask("CreateSchedule", {"schedule": FULL}, core)
    return core.made[0]


@pytest.mark.parametrize("part", ["spec", "job", "policy"])
def test_the_tests_below_hold_each_field_of_a_schedule(part: str) -> None:
    message = getattr(json_format.ParseDict(FULL, pb.Schedule()), part)
    unset = {field.name for field in message.DESCRIPTOR.fields} - {
        field.name for field, _ in message.ListFields()
    }
    assert unset <= NOT_SAID.get(part, set()), "give it a value in FULL: a schedule must not lose it"


async def test_the_job_of_a_tick_has_all_that_its_schedule_says() -> None:
    made = await _made()
    job = job_of(made, NOW, spreads=False)
    of_the_tick = {"run_at", "headers", "labels"}
    changed = {
        each.name for each in fields(job) if getattr(job, each.name) != getattr(made.job, each.name)
    } - of_the_tick
    assert changed == set()
    assert made.job.headers.items() <= job.headers.items()
    assert made.job.labels.items() <= job.labels.items()


async def test_all_that_is_asked_for_is_stored_and_shown_again() -> None:
    made = await _made()
    stored = job_from_json(job_to_json(made.job), made.job.queue, made.job.kind, made.job.payload)
    assert stored == made.job
    assert spec_from_json(spec_to_json(made.spec)) == made.spec
    assert policy_from_json(policy_to_json(made.policy)) == made.policy
    message = schedule_message(made, (), 2, shown=True)
    assert message.job.payload_json == b"1"
    message.ClearField("etag")
    assert message == json_format.ParseDict(FULL, pb.Schedule())
    hidden = schedule_message(made, (), 2, shown=False).job
    assert not hidden.payload_json
    assert not hidden.headers
