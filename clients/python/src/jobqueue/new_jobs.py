"""Jobs to enqueue, read back from their messages."""

from __future__ import annotations

from datetime import UTC

from .jobs import NewJob, OnConflict, RetryPolicy, Unique, UniqueField, UniqueScope, Until
from .v1 import job_pb2


def new_job_of(message: job_pb2.NewJob) -> NewJob:
    """The job that a message enqueues."""
    return NewJob(
        message.kind,
        payload_json=message.payload_json,
        queue=message.queue,
        priority=message.priority,
        run_at=message.run_at.ToDatetime(UTC) if message.HasField("run_at") else None,
        delay=message.delay.ToTimedelta() if message.HasField("delay") else None,
        max_attempts=message.max_attempts or None,
        timeout=message.timeout.ToTimedelta() if message.HasField("timeout") else None,
        retry_policy=_policy(message.retry_policy) if message.HasField("retry_policy") else None,
        idempotency_key=message.idempotency_key or None,
        labels=dict(message.labels) or None,
        headers=dict(message.headers) or None,
        hold=message.hold,
        key=message.key,
        unique=_unique(message.unique) if message.HasField("unique") else None,
    )


def _policy(message: job_pb2.RetryPolicy) -> RetryPolicy:
    return RetryPolicy(
        min_backoff=message.min_backoff.ToTimedelta() if message.HasField("min_backoff") else None,
        max_backoff=message.max_backoff.ToTimedelta() if message.HasField("max_backoff") else None,
    )


def _unique(message: job_pb2.Unique) -> Unique:
    names = job_pb2.Unique
    return Unique(
        key=message.key,
        payload_fields=tuple(message.payload_fields),
        scope=UniqueScope(names.Scope.Name(message.scope)),
        until=Until(names.Until.Name(message.until)),
        period=message.period.ToTimedelta() if message.HasField("period") else None,
        on_conflict=OnConflict(names.OnConflict.Name(message.on_conflict)),
        replace=tuple(UniqueField(names.Field.Name(each)) for each in message.replace),
        max_delay=message.max_delay.ToTimedelta() if message.HasField("max_delay") else None,
    )
