"""Schedules, their ticks and their runs, and how they are read from messages and written into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from . import convert
from .jobs import NewJob, OnConflict, RetryPolicy, Unique, UniqueField, UniqueScope, Until
from .v1 import job_pb2
from .v1 import schedule_pb2 as pb

Named = TypeVar("Named", bound=StrEnum)


class Overlap(StrEnum):
    """What becomes of a tick while a job of the schedule has not ended."""

    #: `BUFFER_ONE`; or something that this version of the client does not know.
    UNSPECIFIED = "OVERLAP_UNSPECIFIED"
    #: It fires, beside the other.
    ALLOW = "ALLOW"
    SKIP = "SKIP"
    #: It waits for the end of the job. A later one takes its place.
    BUFFER_ONE = "BUFFER_ONE"


class CatchUp(StrEnum):
    """What becomes of ticks that were missed, since no server or no database was there."""

    #: `LATEST`; or something that this version of the client does not know.
    UNSPECIFIED = "CATCH_UP_UNSPECIFIED"
    #: The newest of them fires.
    LATEST = "LATEST"
    #: All of them fire, one after the other. Not together with `Overlap.SKIP`.
    ALL = "ALL"
    NONE = "NONE"


class TickRule(StrEnum):
    """What clocks that are changed mean for a tick."""

    #: Nothing; or something that this version of the client does not know.
    UNSPECIFIED = "RULE_UNSPECIFIED"
    #: It is due at a time of day that is left out, and so right after it.
    AFTER_GAP = "AFTER_GAP"
    #: Its time of day comes twice, and this is the first one.
    FIRST_OF_TWO = "FIRST_OF_TWO"
    #: Its time of day comes twice, and this is the second one.
    SECOND_OF_TWO = "SECOND_OF_TWO"


class RunOutcome(StrEnum):
    """What became of a tick, or of a run by hand."""

    #: Something that this version of the client does not know.
    UNSPECIFIED = "RUN_OUTCOME_UNSPECIFIED"
    #: The job was enqueued, or found by its `unique`.
    FIRED = "FIRED"
    #: A job of the schedule had not ended.
    SKIPPED_OVERLAP = "SKIPPED_OVERLAP"
    #: It was missed, and is not caught up.
    SKIPPED_CATCH_UP = "SKIPPED_CATCH_UP"
    #: The schedule has been paused by its failures before it came to it.
    SKIPPED_PAUSED_BY_FAILURES = "SKIPPED_PAUSED_BY_FAILURES"
    #: It waits for the end of a job.
    BUFFERED = "BUFFERED"
    #: It waited, and a later one took its place.
    REPLACED_IN_BUFFER = "REPLACED_IN_BUFFER"
    #: The job does not fit any more, for example the schema of its kind: `note` says why.
    REFUSED = "REFUSED"


class RunCause(StrEnum):
    """What a run came from."""

    #: It is by hand or of a backfill, and the server did not tell them apart yet.
    UNSPECIFIED = "CAUSE_UNSPECIFIED"
    #: The time of the schedule itself.
    BY_TIME = "BY_TIME"
    #: `run`.
    BY_HAND = "BY_HAND"
    #: `backfill`.
    BY_BACKFILL = "BY_BACKFILL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """When a schedule is due: by `cron` or by `every`, one of them.

    Attributes:
        cron: A line of cron such as `30 2 * * *`, or up to 20 of them, whose union is meant. Read back: always a tuple.
        every: A tick each time this span is over, 1 s to 400 days, counted from 1970-01-01T00:00:00Z.
        phase: Shifts the ticks of `every`, by less than it.
        time_zone: The time zone of `cron`, such as `Europe/Berlin`. Empty: `Etc/UTC`.
        starts_at: It has no tick before. None: from now on.
        ends_at: It has no tick at this time or later. None: for ever.
        jitter: Each job may start so long after its tick, at most 1 h. None: at once.
    """

    cron: str | Sequence[str] = ()
    every: timedelta | None = None
    phase: timedelta | None = None
    time_zone: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    jitter: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePolicy:
    """What becomes of ticks that can't simply fire.

    Attributes:
        overlap: What becomes of a tick while a job of the schedule has not ended. Default `BUFFER_ONE`.
        catch_up_window: How old a tick may be that is caught up, up to 400 days. None: 1 h.
        catch_up: What becomes of ticks that were missed. Default `LATEST`.
        pause_after_failures: After so many failed jobs in a row the schedule is paused, 1..1000. 0: it never is.
        keep_runs: How many of its runs are kept, 1..10000. 0: 100.
    """

    overlap: Overlap = Overlap.UNSPECIFIED
    catch_up_window: timedelta | None = None
    catch_up: CatchUp = CatchUp.UNSPECIFIED
    pause_after_failures: int = 0
    keep_runs: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleTick:
    """A time at which a schedule is due.

    Attributes:
        tick_at: The tick.
        local_time: The same in the schedule's time zone with its offset, such as `2026-10-25T02:30:00+02:00`.
        rule: Whether a change of clocks decided it.
    """

    tick_at: datetime | None
    local_time: str
    rule: TickRule


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """What became of a tick, or of several that were skipped together.

    Attributes:
        tick_at: The tick. Of a run by hand: when it was asked for. Of several: the last of them.
        nth: 0: it is of the schedule itself. 1 and more: by hand or of a backfill.
        decided_at: When it was decided.
        outcome: What became of it.
        job_id: The job that it enqueued. Empty: none.
        note: Why, for people. Empty: the outcome says it all.
        ticks: How many ticks it stands for.
        cause: What it came from.
    """

    tick_at: datetime | None
    nth: int
    decided_at: datetime | None
    outcome: RunOutcome
    job_id: str
    note: str
    ticks: int
    cause: RunCause = RunCause.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A job, and the times at which it is enqueued, as it was when it was read.

    Attributes:
        name: The schedule's name.
        spec: When it is due.
        job: What each tick enqueues. Its payload is in `payload_json`; None: the caller may not see it, or it was read
            by `list`. Its headers are left out then as well, and `update` refuses it. Where it was not decoded,
            `payload` is an `Encoded` and `payload_json` the envelope: `update` of a client with encodings raises the
            former, that of a client without puts the latter back as it is.
        policy: What becomes of ticks that can't simply fire.
        labels: By which schedules can be listed.
        paused: Whether it has no ticks.
        pause_note: Why, for people.
        next_at: Its next tick. None: it is paused, or has none any more.
        last_at: The last tick that was decided. None: there was none yet.
        upcoming: The next 5 ticks, as if it were not paused. Empty in lists.
        last_run: What was decided last. None: nothing, or it is not kept any more.
        fired: How many jobs it has enqueued.
        skipped_in_a_row: How many ticks in a row did not fire, up to now.
        failures_in_a_row: How many of its jobs in a row failed for good, where `policy.pause_after_failures` is set.
        open_job_ids: Its newest jobs, 100 at most, that had not ended at its last tick.
        buffered_at: The tick that waits for the end of a job. None: none does.
        etag: Stands for this version of what callers set. A tick does not change it.
        created_at: When it was made.
        updated_at: When a caller changed it last.
    """

    name: str
    spec: ScheduleSpec
    job: NewJob
    policy: SchedulePolicy
    labels: Mapping[str, str] = field(default_factory=dict)
    paused: bool
    pause_note: str
    next_at: datetime | None
    last_at: datetime | None
    upcoming: tuple[ScheduleTick, ...]
    last_run: ScheduleRun | None
    fired: int
    skipped_in_a_row: int
    failures_in_a_row: int
    open_job_ids: tuple[str, ...]
    buffered_at: datetime | None
    etag: str
    created_at: datetime | None
    updated_at: datetime | None


#: The label of schedules that `apply` has made: whose they are.
OWNER_LABEL = "jobqueue.owner"


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule that a program declares, for `Schedules.apply`.

    Attributes:
        name: Its name, such as `nightly-report`.
        spec: When it is due.
        job: What each tick enqueues, without a time and an idempotency key.
        policy: What becomes of ticks that can't simply fire.
        labels: By which schedules can be listed; those of its jobs stand in `job`.
    """

    name: str
    spec: ScheduleSpec
    job: NewJob
    policy: SchedulePolicy = field(default=SchedulePolicy(), kw_only=True)
    labels: Mapping[str, str] = field(default_factory=dict, kw_only=True)


class Applied(StrEnum):
    """What `Schedules.apply` did with a schedule."""

    CREATED = "CREATED"
    CHANGED = "CHANGED"
    #: It was as the program declares it.
    UNCHANGED = "UNCHANGED"
    #: The program does not declare it any more.
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class AppliedSchedule:
    """What `Schedules.apply` did.

    Attributes:
        schedule: The schedule as it is now; one that was deleted, as it was listed before.
        done: What was done with it.
    """

    schedule: Schedule
    done: Applied


def spec_message(spec: ScheduleSpec) -> pb.ScheduleSpec:
    """A spec, as a message.

    Raises:
        TypeError: A span is no timedelta, or a time no datetime.
        ValueError: A time has no time zone.
    """
    message = pb.ScheduleSpec(
        cron=(spec.cron,) if isinstance(spec.cron, str) else spec.cron, time_zone=spec.time_zone
    )
    for name in ("every", "phase", "jitter"):
        span: timedelta | None = getattr(spec, name)
        if span is not None:
            getattr(message, name).CopyFrom(convert.duration(span, f"spec.{name}"))
    for name in ("starts_at", "ends_at"):
        moment: datetime | None = getattr(spec, name)
        if moment is not None:
            getattr(message, name).CopyFrom(convert.timestamp(moment, f"spec.{name}"))
    # So that an empty one is there, and the server says what it lacks.
    message.SetInParent()
    return message


def policy_message(policy: SchedulePolicy) -> pb.SchedulePolicy:
    """A policy, as a message."""
    message = pb.SchedulePolicy(
        overlap=overlap_number(policy.overlap),
        catch_up=pb.SchedulePolicy.CatchUp.Value(CatchUp(policy.catch_up)),
        pause_after_failures=policy.pause_after_failures,
        keep_runs=policy.keep_runs,
    )
    if policy.catch_up_window is not None:
        window = convert.duration(policy.catch_up_window, "policy.catch_up_window")
        message.catch_up_window.CopyFrom(window)
    return message


def job_message(job: NewJob) -> job_pb2.NewJob:
    """The job of a schedule, as a message.

    Raises:
        ValueError: It has a time or an idempotency key, which are the tick's.
    """
    if job.run_at is not None or job.delay is not None:
        raise ValueError("job.run_at and job.delay can't be given: a tick is the time of its job")
    if job.idempotency_key is not None:
        raise ValueError("job.idempotency_key can't be given: a tick enqueues one job in any case")
    return convert.new_job(job, "")


def changed_job_message(job: NewJob) -> job_pb2.NewJob:
    """The job of a schedule that is changed, as a message; without a payload where it is not known whether it has none.

    Raises:
        ValueError: As `job_message`.
    """
    message = job_message(job)
    if job.payload is None and job.payload_json is None:
        # So are jobs that were listed. The server refuses it, and the schedule keeps the payload that it has.
        message.ClearField("payload_json")
    return message


def overlap_number(overlap: Overlap | None) -> pb.SchedulePolicy.Overlap.ValueType:
    """The contract's number; of None that of the default."""
    return pb.SchedulePolicy.Overlap.Value(Overlap.UNSPECIFIED if overlap is None else Overlap(overlap))


def schedule(message: pb.Schedule) -> Schedule:
    """The schedule in an answer."""
    return Schedule(
        name=message.name,
        spec=_spec(message.spec),
        job=_job(message.job),
        policy=_policy(message.policy),
        labels=dict(message.labels),
        paused=message.paused,
        pause_note=message.pause_note,
        next_at=_moment(message, "next_at"),
        last_at=_moment(message, "last_at"),
        upcoming=tuple(tick(each) for each in message.upcoming),
        last_run=run(message.last_run) if message.HasField("last_run") else None,
        fired=message.fired,
        skipped_in_a_row=message.skipped_in_a_row,
        failures_in_a_row=message.failures_in_a_row,
        open_job_ids=tuple(message.open_job_ids),
        buffered_at=_moment(message, "buffered_at"),
        etag=message.etag,
        created_at=_moment(message, "created_at"),
        updated_at=_moment(message, "updated_at"),
    )


def tick(message: pb.ScheduleTick) -> ScheduleTick:
    """The tick in an answer."""
    rule = _named(pb.ScheduleTick.Rule, message.rule, TickRule)
    return ScheduleTick(_moment(message, "tick_at"), message.local_time, rule)


def run(message: pb.ScheduleRun) -> ScheduleRun:
    """The run in an answer."""
    return ScheduleRun(
        _moment(message, "tick_at"),
        message.nth,
        _moment(message, "decided_at"),
        _named(pb.ScheduleRun.RunOutcome, message.outcome, RunOutcome),
        message.job_id,
        message.note,
        message.ticks,
        _named(pb.ScheduleRun.Cause, message.cause, RunCause),
    )


def _spec(message: pb.ScheduleSpec) -> ScheduleSpec:
    return ScheduleSpec(
        cron=tuple(message.cron),
        every=_span(message, "every"),
        phase=_span(message, "phase"),
        time_zone=message.time_zone,
        starts_at=_moment(message, "starts_at"),
        ends_at=_moment(message, "ends_at"),
        jitter=_span(message, "jitter"),
    )


def _policy(message: pb.SchedulePolicy) -> SchedulePolicy:
    return SchedulePolicy(
        overlap=_named(pb.SchedulePolicy.Overlap, message.overlap, Overlap),
        catch_up_window=_span(message, "catch_up_window"),
        catch_up=_named(pb.SchedulePolicy.CatchUp, message.catch_up, CatchUp),
        pause_after_failures=message.pause_after_failures,
        keep_runs=message.keep_runs,
    )


def _job(message: job_pb2.NewJob) -> NewJob:
    retry = None
    if message.HasField("retry_policy"):
        of = message.retry_policy
        retry = RetryPolicy(min_backoff=_span(of, "min_backoff"), max_backoff=_span(of, "max_backoff"))
    return NewJob(
        message.kind,
        payload_json=message.payload_json if message.WhichOneof("content") == "payload_json" else None,
        queue=message.queue,
        priority=message.priority,
        max_attempts=message.max_attempts or None,
        timeout=_span(message, "timeout"),
        retry_policy=retry,
        labels=dict(message.labels),
        headers=dict(message.headers),
        hold=message.hold,
        key=message.key,
        unique=_unique(message.unique) if message.HasField("unique") else None,
    )


def _unique(message: job_pb2.Unique) -> Unique:
    # Of those that are not set, and of those that this version does not know, the default.
    scope = job_pb2.Unique.Scope.DESCRIPTOR.values_by_number.get(message.scope)
    until = job_pb2.Unique.Until.DESCRIPTOR.values_by_number.get(message.until)
    conflict = job_pb2.Unique.OnConflict.DESCRIPTOR.values_by_number.get(message.on_conflict)
    fields = [job_pb2.Unique.Field.DESCRIPTOR.values_by_number.get(each) for each in message.replace]
    return Unique(
        message.key,
        payload_fields=tuple(message.payload_fields),
        scope=UniqueScope.__members__.get(scope.name if scope else "", UniqueScope.KIND),
        until=Until.__members__.get(until.name if until else "", Until.STARTS),
        period=_span(message, "period"),
        on_conflict=OnConflict.__members__.get(conflict.name if conflict else "", OnConflict.KEEP),
        replace=tuple(
            UniqueField[each.name] for each in fields if each and each.name in UniqueField.__members__
        ),
        max_delay=_span(message, "max_delay"),
    )


def _named(enum: Any, number: int, kind: type[Named]) -> Named:
    """A value by its name in the contract. One that this version does not know is UNSPECIFIED."""
    known = enum.DESCRIPTOR.values_by_number.get(number)
    return kind.__members__.get(known.name if known is not None else "", kind["UNSPECIFIED"])


def _moment(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None


def _span(message: Any, name: str) -> timedelta | None:
    return getattr(message, name).ToTimedelta() if message.HasField(name) else None
