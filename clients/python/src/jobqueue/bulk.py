"""Changes of many jobs: which ones, and the operations that change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from google.longrunning import operations_pb2 as lro_pb

from . import convert
from .jobs import Status
from .v1 import bulk_pb2 as pb

_BACKFILL = "jobqueue.v1.BackfillMetadata"


class BulkState(StrEnum):
    """How an operation stands."""

    UNSPECIFIED = "UNSPECIFIED"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs to change. What is given must all match.

    Attributes:
        ids: These jobs, 1000 at most.
        queue: Of this queue.
        kind: Of this kind.
        status: With this status, or one of these. None: for a retry FAILED_PERMANENT or CANCELLED, for a cancel any
            that has not ended, for a delete any that has, for an update QUEUED or RETRYING.
        labels: With all of these labels.
        created_after: Enqueued at this time or later.
        created_before: Enqueued before this time.
        ended_after: Ended at this time or later.
        ended_before: Ended before this time.
        reason: Ended for this reason, or one of these, such as ATTEMPTS_EXHAUSTED.
        error_type: The last attempt that failed did so with an error of this type.
        everything: All jobs, if nothing else is given.
    """

    ids: Sequence[str] = ()
    queue: str = ""
    kind: str = ""
    status: Status | str | Sequence[Status | str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    reason: str | Sequence[str] = ()
    error_type: str = ""
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A change of many jobs, or a backfill of a schedule. Of a backfill all that is counted is ticks, not jobs.

    Attributes:
        name: `operations/` and an id. Empty in a dry run.
        verb: The method that made it, such as `RetryJobs` or `BackfillSchedule`.
        state: How it stands.
        done: Whether it goes on no more.
        dry_run: Whether nothing is changed.
        looked: How many jobs were looked at.
        changed: How many jobs were changed. Of a backfill: how many ticks fired.
        skipped: How many jobs matched and were changed by another caller just before their turn. Of a backfill: how
            many ticks did not fire.
        estimate: How many jobs matched when they were counted.
        estimate_capped: Whether counting ended at its bound: more may match.
        per_second: The limit that it was given. 0: none.
        max_jobs: The limit that it was given, of jobs or of ticks. 0: none.
        sample_ids: The first jobs that matched, 20 at most.
        created_at: When it was made.
        updated_at: When it last changed jobs, or was changed itself.
        ended_at: When it was done.
        error: Why it ended early; empty: it did not.
        schedule: The schedule of a backfill. None: it is no backfill.
        start_at: The beginning of a backfill.
        end_at: The end of a backfill.
        last_at: The last tick of a backfill that was decided. None: none was yet.
        rests_for: Why it does nothing until a principal resumes it, such as PRINCIPAL_ENDED: the credentials of who
            made it are not good any more. Empty: it does not rest.
    """

    name: str
    verb: str
    state: BulkState
    done: bool
    dry_run: bool
    looked: int
    changed: int
    skipped: int
    estimate: int
    estimate_capped: bool
    per_second: int
    max_jobs: int
    sample_ids: tuple[str, ...]
    created_at: datetime | None
    updated_at: datetime | None
    ended_at: datetime | None
    error: str
    schedule: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    last_at: datetime | None = None
    rests_for: str = ""


def job_filter(given: JobFilter) -> pb.JobFilter:
    """A filter as a message.

    Raises:
        ValueError: A time has no time zone, or a status is none.
    """
    statuses = (given.status,) if isinstance(given.status, str) else given.status
    message = pb.JobFilter(
        ids=given.ids,
        queue=given.queue,
        kind=given.kind,
        status=[convert.status_number(each) for each in statuses],
        labels=[f"{name}={value}" for name, value in given.labels.items()],
        reason=(given.reason,) if isinstance(given.reason, str) else given.reason,
        error_type=given.error_type,
        everything=given.everything,
    )
    for name in ("created_after", "created_before", "ended_after", "ended_before"):
        moment: datetime | None = getattr(given, name)
        if moment is not None:
            getattr(message, name).CopyFrom(convert.timestamp(moment, name))
    return message


def operation(message: lro_pb.Operation) -> Operation:
    """An operation of a message."""
    if message.metadata.TypeName() == _BACKFILL:
        return _backfill(message)
    told = pb.BulkMetadata()
    message.metadata.Unpack(told)
    return Operation(
        message.name,
        told.verb,
        _state(told.state),
        message.done,
        told.dry_run,
        told.looked,
        told.changed,
        told.skipped,
        told.estimate,
        told.estimate_capped,
        told.per_second,
        told.max_jobs,
        tuple(told.sample_ids),
        _moment(told, "created_at"),
        _moment(told, "updated_at"),
        _moment(told, "ended_at"),
        message.error.message if message.HasField("error") else "",
        rests_for=told.rests_for,
    )


def _backfill(message: lro_pb.Operation) -> Operation:
    # Loaded here: a program without schedules does not wait for their messages.
    from .v1.schedule_pb2 import BackfillMetadata

    told = BackfillMetadata()
    message.metadata.Unpack(told)
    return Operation(
        message.name,
        "BackfillSchedule",
        _state(told.state),
        message.done,
        told.validate_only,
        told.looked,
        told.fired,
        told.skipped,
        told.estimate,
        told.estimate_capped,
        told.per_second,
        told.max_ticks,
        (),
        _moment(told, "created_at"),
        _moment(told, "updated_at"),
        _moment(told, "ended_at"),
        message.error.message if message.HasField("error") else "",
        told.schedule,
        _moment(told, "start_at"),
        _moment(told, "end_at"),
        _moment(told, "last_at"),
        told.rests_for,
    )


def _state(number: int) -> BulkState:
    known = pb.BulkState.DESCRIPTOR.values_by_number.get(number)
    return BulkState(known.name.removeprefix("BULK_STATE_")) if known is not None else BulkState.UNSPECIFIED


def limits(
    per_second: int, max_jobs: int, request_id: str, expected: int | None, *, force: bool
) -> dict[str, Any]:
    """The fields that the four requests have in common."""
    return {
        "per_second": per_second,
        "max_jobs": max_jobs,
        "request_id": request_id,
        "expected": expected,
        "force": force,
    }


def starts(spread: timedelta | None, run_at: datetime | None, delay: timedelta | None) -> dict[str, Any]:
    """When the jobs of a retry start, as its fields.

    Raises:
        ValueError: `run_at` and `delay` are both given, or a time has no time zone.
    """
    if run_at is not None and delay is not None:
        raise ValueError("run_at and delay are both given; one of them says when the jobs start")
    fields: dict[str, Any] = {}
    if spread is not None:
        fields["spread"] = convert.duration(spread, "spread")
    if run_at is not None:
        fields["run_at"] = convert.timestamp(run_at, "run_at")
    if delay is not None:
        fields["delay"] = convert.duration(delay, "delay")
    return fields


def _moment(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None
