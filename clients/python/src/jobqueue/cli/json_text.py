"""Jobs, kinds and queues as JSON, in the form that REST gives them; payloads and outputs as they were stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from jobqueue import (
    Explanation,
    FailedAttempt,
    Hold,
    Job,
    JobCount,
    JobProgress,
    KeyOrder,
    KeyPolicy,
    Kind,
    Limits,
    NewJob,
    OnKeyFailure,
    Operation,
    Overview,
    Queue,
    QueueDemand,
    QueueKey,
    Rate,
    Reason,
    Retention,
    RetryPolicy,
    Schedule,
    ScheduleRun,
    ScheduleTick,
    ServerInfo,
    Stats,
    Status,
    WorkerSession,
)
from jobqueue.v1 import insight_pb2, job_pb2


class Raw(str):
    """JSON text that is to stand in a document as it is, so that no digit of a number is lost."""

    __slots__ = ()


def raw(text: bytes) -> Raw:
    """A stored JSON text on one line: outside of strings a line break is only space, and inside there is none."""
    return Raw(text.decode("utf-8", "replace").replace("\n", " ").replace("\r", " "))


def write(value: Any) -> str:
    """The value on one line, in which Raw stands as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(
                f"{json.dumps(name, ensure_ascii=False)}: {write(each)}" for name, each in value.items()
            )
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def job(each: Job, *, full: bool = True) -> dict[str, Any]:
    """A job; what is not set is left out, and of one that was not read in full what a list does not carry."""
    told = {name: _value(getattr(each, name)) for name in _JOB}
    for name, text in (("payload", each.payload_json), ("output", each.output_json)):
        told[name] = raw(text) if text is not None else None
    if not full:
        told["headers"] = told["failed_attempts"] = None
    return _set(**told)


# In the order of the contract, as REST gives them.
_JOB = [field.name for field in job_pb2.Job.DESCRIPTOR.fields if not field.name.endswith("_json")]


def _value(value: Any) -> Any:
    """A value of a job's field as JSON has it."""
    match value:
        case datetime():
            return moment(value)
        case timedelta():
            return _span(value)
        case RetryPolicy():
            return _policy(value)
        case JobProgress():
            return _progress(value)
        case Status() | Hold():
            return str(value)
        case Mapping():
            return dict(value)
        case tuple():
            return [_failed_attempt(attempt) for attempt in value]
    return value


def kind(each: Kind) -> dict[str, Any]:
    """A kind."""
    return _set(
        name=each.name,
        schema=Raw(json.dumps(each.schema, ensure_ascii=False)) if each.schema is not None else None,
        retry_policy=_policy(each.retry_policy),
        max_attempts=each.max_attempts or 0,
        timeout=_span(each.timeout),
        limits=_limits(each.limits),
        slot_weight=each.slot_weight if each.slot_weight > 1 else 0,
        version=each.version,
        output_schema=Raw(json.dumps(each.output_schema, ensure_ascii=False))
        if each.output_schema is not None
        else None,
        annotations=dict(each.annotations),
    )


def _limits(limits: Limits | None) -> dict[str, Any] | None:
    return None if limits is None else _set(max_running=limits.max_running, rate=_rate(limits.rate))


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {
        "count": rate.count,
        "period": _span(rate.period),
        "burst": rate.burst,
        "most_in_a_period": rate.most_in_a_period,
    }


def _key_policy(policy: KeyPolicy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return _set(
        max_running=policy.max_running,
        rate=_rate(policy.rate),
        max_waiting=policy.max_waiting,
        require_key=policy.require_key,
        order=None if policy.order is KeyOrder.UNSPECIFIED else str(policy.order),
        on_failure=None if policy.on_failure is OnKeyFailure.UNSPECIFIED else str(policy.on_failure),
        fair=policy.fair or None,
    )


def _retention(retention: Retention | None) -> dict[str, Any] | None:
    if retention is None:
        return None
    return _set(
        succeeded=_span(retention.succeeded),
        failed_permanent=_span(retention.failed_permanent),
        cancelled=_span(retention.cancelled),
    )


def queue(each: Queue) -> dict[str, Any]:
    """A queue."""
    depths = [
        _set(status=str(status), jobs=depth.jobs, capped=depth.capped, oldest_age=_span(depth.oldest_age))
        for status, depth in each.depths.items()
    ]
    held = [
        {"hold": str(hold), "jobs": depth.jobs, "capped": depth.capped} for hold, depth in each.held.items()
    ]
    return {
        "name": each.name,
        "paused": each.paused,
        "depths": depths,
        "running": each.running,
        "held": held,
        **_set(limits=_limits(each.limits)),
        **_set(key_policy=_key_policy(each.key_policy)),
        "max_waiting": each.max_waiting,
        **_set(retention=_retention(each.retention)),
        "etag": each.etag,
    }


def queue_key(each: QueueKey) -> dict[str, Any]:
    """A key of a queue."""
    return _fields(each)


def explanation(each: Explanation) -> dict[str, Any]:
    """Why a job waits."""
    return {**_fields(each), "reasons": [_reason(reason) for reason in each.reasons]}


def operation(each: Operation) -> dict[str, Any]:
    """A change of many jobs."""
    return _fields(each)


def schedule(each: Schedule) -> dict[str, Any]:
    """A schedule."""
    return {**_fields(each), "job": _new_job(each.job)}


def schedule_tick(each: ScheduleTick) -> dict[str, Any]:
    """A time at which a schedule is due."""
    return _fields(each)


def schedule_run(each: ScheduleRun) -> dict[str, Any]:
    """What became of a tick."""
    return _fields(each)


def _new_job(each: NewJob) -> dict[str, Any]:
    told = _fields(each)
    stored = told.pop("payload_json", None)
    return told if stored is None else {**told, "payload": raw(stored)}


def worker(each: WorkerSession) -> dict[str, Any]:
    """A worker."""
    shown = _plain(each)
    assert isinstance(shown, dict)
    return shown


def demand(each: QueueDemand) -> dict[str, Any]:
    """How many slots a queue wants."""
    return _fields(each)


def overview(each: Overview) -> dict[str, Any]:
    """How the queues are doing."""
    return _fields(each)


def server(each: ServerInfo) -> dict[str, Any]:
    """A server."""
    return _fields(each)


def stats(each: Stats) -> dict[str, Any]:
    """What happened to jobs."""
    return _fields(each)


def count(each: JobCount) -> dict[str, Any]:
    """How many jobs there are."""
    return _fields(each)


# The field of each detail, by the name of its message, which is that of its class.
_DETAILS = {
    field.message_type.name: field.name
    for field in insight_pb2.Reason.DESCRIPTOR.fields
    if field.message_type is not None
}


def _reason(each: Reason) -> dict[str, Any]:
    told = _fields(each)
    if each.detail is not None:
        told[_DETAILS[type(each.detail).__name__]] = told.pop("detail")
    return told


def _plain(value: Any) -> Any:
    """A value of the client as JSON has it: what is not set is left out."""
    match value:
        case datetime():
            return moment(value)
        case timedelta():
            return _span(value)
        case tuple():
            return [_plain(each) for each in value]
        case StrEnum():
            return str(value)
    return _fields(value) if is_dataclass(value) else value


def _fields(value: Any) -> dict[str, Any]:
    return _set(**{field.name: _plain(getattr(value, field.name)) for field in fields(value)})


def _failed_attempt(each: FailedAttempt) -> dict[str, Any]:
    return _set(
        attempt=each.attempt,
        reason=each.reason,
        error_type=each.error_type,
        error=each.error,
        worker=each.worker,
        started_at=moment(each.started_at),
        ended_at=moment(each.ended_at),
    )


def _progress(each: JobProgress | None) -> dict[str, Any] | None:
    if each is None:
        return None
    return _set(fraction=each.fraction, message=each.message, updated_at=moment(each.updated_at))


def _policy(policy: RetryPolicy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    return _set(min_backoff=_span(policy.min_backoff), max_backoff=_span(policy.max_backoff))


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def moment(value: datetime | None) -> str | None:
    """A time as REST has it."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _span(value: timedelta | None) -> str | None:
    if value is None:
        return None
    seconds, rest = divmod(value, timedelta(seconds=1))
    micros = rest // timedelta(microseconds=1)
    return f"{seconds}.{micros:06}".rstrip("0").rstrip(".") + "s" if micros else f"{seconds}s"
