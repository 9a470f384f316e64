"""Converts between the messages of the contract and Python values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from .encoded import Encoded, EncodingRequired, shown
from .jobs import (
    FailedAttempt,
    Hold,
    HoldDepth,
    Job,
    JobProgress,
    KeyOrder,
    KeyPolicy,
    Kind,
    Limits,
    NewJob,
    OnConflict,
    OnKeyFailure,
    Queue,
    QueueDepth,
    Rate,
    Retention,
    RetryPolicy,
    Status,
    Unique,
    UniqueAction,
    UniqueField,
    UniqueScope,
    Until,
)
from .payload import decode, encode
from .v1 import job_pb2, jobqueue_pb2, queue_admin_pb2

Named = TypeVar("Named", bound=StrEnum)


def duration(value: timedelta, what: str) -> Duration:
    """A timedelta as a message.

    Raises:
        TypeError: It is not a timedelta, for example a number.
    """
    if not isinstance(value, timedelta):
        raise TypeError(f"{what} is {value!r}; it must be a timedelta, for example timedelta(seconds=30)")
    message = Duration()
    message.FromTimedelta(value)
    return message


def timestamp(value: datetime, what: str) -> Timestamp:
    """A datetime as a message.

    Raises:
        TypeError: It is not a datetime.
        ValueError: It has no time zone.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{what} is {value!r}; it must be a datetime with a time zone")
    if value.tzinfo is None:
        raise ValueError(f"{what} is {value!r}, which has no time zone: use datetime.now(UTC), for example")
    message = Timestamp()
    message.FromDatetime(value)
    return message


def new_job(job: NewJob, key: str, sealed: bytes | None = None) -> job_pb2.NewJob:
    """A job to enqueue, as a message. A key that is AUTO was made by the caller. `sealed`: its payload, if encoded.

    Raises:
        EncodingRequired: Its kind takes encrypted payloads alone, and it was not encoded.
    """
    if job.payload_json is not None and job.payload is not None and not isinstance(job.payload, Encoded):
        raise ValueError("payload and payload_json are both given; one of them is the payload")
    if job.run_at is not None and job.delay is not None:
        raise ValueError("run_at and delay are both given; one of them says when the job starts")
    if job.encodings == "required" and sealed is None:
        raise EncodingRequired(
            f"the kind {job.kind} takes encrypted payloads alone: give the client or the worker `encodings`"
        )
    text = job.payload_json if sealed is None else sealed
    message = job_pb2.NewJob(
        kind=job.kind,
        payload_json=text if text is not None else encode(job.payload, "payload"),
        queue=job.queue,
        priority=job.priority,
        idempotency_key=key,
        labels=job.labels,
        headers=job.headers,
        hold=job.hold,
        key=job.key,
    )
    if job.max_attempts is not None:
        message.max_attempts = _at_least_one(job.max_attempts)
    if job.run_at is not None:
        message.run_at.CopyFrom(timestamp(job.run_at, "run_at"))
    if job.delay is not None:
        message.delay.CopyFrom(duration(job.delay, "delay"))
    if job.timeout is not None:
        message.timeout.CopyFrom(duration(job.timeout, "timeout"))
    if job.retry_policy is not None:
        message.retry_policy.CopyFrom(_policy(job.retry_policy))
    if job.unique is not None:
        message.unique.CopyFrom(_unique(job.unique))
    return message


def _unique(unique: Unique) -> job_pb2.Unique:
    message = job_pb2.Unique(
        key=unique.key,
        payload_fields=unique.payload_fields,
        scope=job_pb2.Unique.Scope.Value(UniqueScope(unique.scope)),
        until=job_pb2.Unique.Until.Value(Until(unique.until)),
        on_conflict=job_pb2.Unique.OnConflict.Value(OnConflict(unique.on_conflict)),
    )
    message.replace.extend(job_pb2.Unique.Field.Value(UniqueField(each)) for each in unique.replace)
    if unique.period is not None:
        message.period.CopyFrom(duration(unique.period, "unique.period"))
    if unique.max_delay is not None:
        message.max_delay.CopyFrom(duration(unique.max_delay, "unique.max_delay"))
    return message


def unique_action(
    answer: jobqueue_pb2.EnqueueJobResponse | jobqueue_pb2.EnqueueResult,
) -> UniqueAction | None:
    """What was done instead of storing a job. What this version does not know is shown as KEPT."""
    if not answer.unique_action:
        return None
    try:
        return UniqueAction(job_pb2.Unique.Action.Name(answer.unique_action))
    except ValueError:
        return UniqueAction.KEPT


def kind_message(kind: Kind) -> queue_admin_pb2.Kind:
    """A kind to put, as a message."""
    message = queue_admin_pb2.Kind(name=kind.name)
    if kind.schema is not None:
        message.schema_json = encode(kind.schema, "schema")
    if kind.retry_policy is not None:
        message.retry_policy.CopyFrom(_policy(kind.retry_policy))
    if kind.max_attempts is not None:
        message.max_attempts = _at_least_one(kind.max_attempts)
    if kind.timeout is not None:
        message.timeout.CopyFrom(duration(kind.timeout, "timeout"))
    if kind.limits is not None:
        message.limits.CopyFrom(limits_message(kind.limits))
    if kind.slot_weight != 1:
        message.slot_weight = kind.slot_weight
    message.version = kind.version
    if kind.output_schema is not None:
        message.output_schema_json = encode(kind.output_schema, "output_schema")
    message.annotations.update(kind.annotations)
    return message


def job(message: job_pb2.Job, replayed: bool = False, action: UniqueAction | None = None) -> Job:
    """The job in an answer."""
    payload = message.payload_json if message.WhichOneof("content") == "payload_json" else None
    output = message.output_json if message.WhichOneof("result") == "output_json" else None
    return Job(
        id=message.id,
        kind=message.kind,
        queue=message.queue,
        status=status(message.status),
        priority=message.priority,
        attempts=message.attempts,
        max_attempts=message.max_attempts,
        failures=message.failures,
        losses=message.losses,
        payload=shown(decode(payload or b"")),
        payload_json=payload,
        output=shown(decode(output or b"")),
        output_json=output,
        reason=message.reason,
        last_error=message.last_error,
        run_at=_moment(message, "run_at"),
        created_at=_moment(message, "created_at"),
        updated_at=_moment(message, "updated_at"),
        finished_at=_moment(message, "finished_at"),
        locked_at=_moment(message, "locked_at"),
        locked_by=message.locked_by,
        cancel_requested=message.cancel_requested,
        idempotency_key=message.idempotency_key,
        timeout=_span(message, "timeout"),
        retry_policy=_policy_of(message),
        labels=dict(message.labels),
        headers=dict(message.headers),
        failed_attempts=tuple(
            FailedAttempt(
                attempt=each.attempt,
                reason=each.reason,
                error_type=each.error_type,
                error=each.error,
                worker=each.worker,
                started_at=_moment(each, "started_at"),
                ended_at=_moment(each, "ended_at"),
            )
            for each in message.failed_attempts
        ),
        progress=_progress(message),
        hold=hold(message.hold) if message.HasField("hold") else None,
        key=message.key,
        unique_key=message.unique_key,
        replayed=replayed,
        unique_action=action,
    )


def kind(message: queue_admin_pb2.Kind) -> Kind:
    """The kind in an answer."""
    return Kind(
        name=message.name,
        schema=decode(message.schema_json),
        retry_policy=_policy_of(message),
        max_attempts=message.max_attempts or None,
        timeout=_span(message, "timeout"),
        limits=_limits(message.limits) if message.HasField("limits") else None,
        slot_weight=message.slot_weight or 1,
        version=message.version,
        output_schema=decode(message.output_schema_json) if message.output_schema_json else None,
        annotations=dict(message.annotations),
    )


def queue(message: queue_admin_pb2.Queue) -> Queue:
    """The queue in an answer."""
    depths = {
        status(each.status): QueueDepth(each.jobs, each.capped, _span(each, "oldest_age"))
        for each in message.depths
    }
    held = {hold(each.hold): HoldDepth(each.jobs, each.capped) for each in message.held}
    policy = key_policy(message.key_policy) if message.HasField("key_policy") else None
    return Queue(
        message.name,
        message.paused,
        message.running,
        depths,
        held,
        policy,
        message.etag,
        message.max_waiting,
        _limits(message.limits) if message.HasField("limits") else None,
        _retention(message) if message.HasField("retention") else None,
    )


def _retention(message: queue_admin_pb2.Queue) -> Retention:
    kept = message.retention
    return Retention(
        succeeded=_span(kept, "succeeded"),
        failed_permanent=_span(kept, "failed_permanent"),
        cancelled=_span(kept, "cancelled"),
    )


def retention_message(retention: Retention) -> queue_admin_pb2.Retention:
    """How long a queue is to keep jobs that ended, as a message."""
    given = {name: getattr(retention, name) for name in ("succeeded", "failed_permanent", "cancelled")}
    return queue_admin_pb2.Retention(
        **{name: duration(kept, f"retention.{name}") for name, kept in given.items() if kept is not None}
    )


def _limits(message: queue_admin_pb2.Limits) -> Limits:
    rate = _rate(message.rate) if message.HasField("rate") else None
    return Limits(max_running=message.max_running, rate=rate)


def _rate(message: queue_admin_pb2.Rate) -> Rate:
    period, most = message.period.ToTimedelta(), message.most_in_a_period
    return Rate(message.count, period, burst=message.burst, most_in_a_period=most)


def key_policy(message: queue_admin_pb2.KeyPolicy) -> KeyPolicy:
    """A policy in an answer."""
    rate = _rate(message.rate) if message.HasField("rate") else None
    return KeyPolicy(
        max_running=message.max_running,
        rate=rate,
        max_waiting=message.max_waiting,
        require_key=message.require_key,
        order=_named(queue_admin_pb2.KeyOrder, message.order, KeyOrder),
        on_failure=_named(queue_admin_pb2.OnKeyFailure, message.on_failure, OnKeyFailure),
        fair=message.fair,
    )


def _named(enum: Any, number: int, kind: type[Named]) -> Named:
    """A value by its name in the contract. One that this version does not know is UNSPECIFIED."""
    known = enum.DESCRIPTOR.values_by_number.get(number)
    return kind(known.name) if known is not None else kind["UNSPECIFIED"]


def key_policy_message(policy: KeyPolicy) -> queue_admin_pb2.KeyPolicy:
    """A policy to set, as a message."""
    message = queue_admin_pb2.KeyPolicy(
        max_running=policy.max_running, max_waiting=policy.max_waiting, require_key=policy.require_key
    )
    if policy.order is not KeyOrder.UNSPECIFIED:
        message.order = queue_admin_pb2.KeyOrder.Value(policy.order)
    if policy.on_failure is not OnKeyFailure.UNSPECIFIED:
        message.on_failure = queue_admin_pb2.OnKeyFailure.Value(policy.on_failure)
    if policy.fair:
        message.fair = True
    if policy.rate is not None:
        message.rate.CopyFrom(_rate_message(policy.rate))
    return message


def limits_message(limits: Limits) -> queue_admin_pb2.Limits:
    """Limits of a queue to set, as a message."""
    rate = None if limits.rate is None else _rate_message(limits.rate)
    return queue_admin_pb2.Limits(max_running=limits.max_running, rate=rate)


def _rate_message(rate: Rate) -> queue_admin_pb2.Rate:
    period = duration(rate.period, "rate.period")
    return queue_admin_pb2.Rate(count=rate.count, burst=rate.burst, period=period)


def status(number: int) -> Status:
    """A status. One that this version does not know is UNSPECIFIED."""
    known = job_pb2.Job.Status.DESCRIPTOR.values_by_number.get(number)
    return Status(known.name) if known is not None else Status.UNSPECIFIED


def hold(number: int) -> Hold:
    """A hold. One that this version does not know is UNSPECIFIED."""
    known = job_pb2.Job.Hold.DESCRIPTOR.values_by_number.get(number)
    return Hold(known.name) if known is not None else Hold.UNSPECIFIED


def status_number(value: Status | str) -> job_pb2.Job.Status.ValueType:
    """The contract's number of a status, by its name in any case.

    Raises:
        ValueError: There is no such status.
    """
    try:
        return job_pb2.Job.Status.Value(str(value).upper())
    except ValueError:
        names = ", ".join(each for each in Status if each is not Status.UNSPECIFIED)
        raise ValueError(f"status is {value!r}; it is one of {names}") from None


def _at_least_one(max_attempts: int) -> int:
    # On the wire 0 means "unset"; here None does, and 0 is an error.
    if max_attempts < 1:
        raise ValueError(f"max_attempts is {max_attempts}; it is 1 to 1000, or None for the kind's value")
    return max_attempts


def _policy(policy: RetryPolicy) -> job_pb2.RetryPolicy:
    message = job_pb2.RetryPolicy()
    if policy.min_backoff is not None:
        message.min_backoff.CopyFrom(duration(policy.min_backoff, "retry_policy.min_backoff"))
    if policy.max_backoff is not None:
        message.max_backoff.CopyFrom(duration(policy.max_backoff, "retry_policy.max_backoff"))
    return message


def _policy_of(message: job_pb2.Job | queue_admin_pb2.Kind) -> RetryPolicy | None:
    if not message.HasField("retry_policy"):
        return None
    policy = message.retry_policy
    return RetryPolicy(min_backoff=_span(policy, "min_backoff"), max_backoff=_span(policy, "max_backoff"))


def _progress(message: job_pb2.Job) -> JobProgress | None:
    if not message.HasField("progress"):
        return None
    progress = message.progress
    return JobProgress(
        fraction=progress.fraction if progress.HasField("fraction") else None,
        message=progress.message,
        updated_at=_moment(progress, "updated_at"),
    )


def _moment(message: Any, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    value: datetime = getattr(message, field).ToDatetime(UTC)
    return value


def _span(message: Any, field: str) -> timedelta | None:
    if not message.HasField(field):
        return None
    value: timedelta = getattr(message, field).ToTimedelta()
    return value
