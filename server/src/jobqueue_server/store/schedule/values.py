"""What a schedule is: when it is due, its job, what becomes of its ticks. And the form in which that is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from ...lifecycle import Hold
from ...model import (
    NOTHING,
    NewJob,
    OnConflict,
    RetryPolicy,
    Unique,
    UniqueField,
    UniqueScope,
    Until,
)
from ...scope import Maker

UTC_NAME = "Etc/UTC"
_MICROSECOND = timedelta(microseconds=1)
#: So many texts of each kind are parsed once: many schedules have the same policy, and the same lines of cron.
_REMEMBERED = 1024
#: Those of jobs that are at most so long: with headers they may have tens of kilobytes.
_SHORT = 1024


class Overlap(IntEnum):
    """What becomes of a tick while a job of the schedule has not ended. The contract has these numbers."""

    ALLOW = 1
    SKIP = 2
    BUFFER_ONE = 3


class CatchUp(IntEnum):
    """What becomes of ticks that were missed. The contract has these numbers."""

    LATEST = 1
    ALL = 2
    NONE = 3


class Outcome(IntEnum):
    """What became of a tick. The contract has these numbers, and `schedule_run.outcome`."""

    FIRED = 1
    SKIPPED_OVERLAP = 2
    SKIPPED_CATCH_UP = 3
    SKIPPED_PAUSED_BY_FAILURES = 4
    BUFFERED = 5
    REPLACED_IN_BUFFER = 6
    REFUSED = 7

    @property
    def skipped(self) -> bool:
        """Whether the tick was left out by the policy of its schedule."""
        return self in (Outcome.SKIPPED_OVERLAP, Outcome.SKIPPED_CATCH_UP, Outcome.REPLACED_IN_BUFFER)


class Cause(IntEnum):
    """What a run came from. The contract has these numbers, and `schedule_run.cause`."""

    UNSPECIFIED = 0
    BY_TIME = 1
    BY_HAND = 2
    BY_BACKFILL = 3


@dataclass(frozen=True, slots=True)
class Spec:
    """When a schedule is due.

    Attributes:
        cron: Lines of cron, whose union is meant; empty: `every` is set.
        every: The time between two ticks, in whole seconds.
        phase: By how much they are shifted from 1970 on.
        time_zone: That of `cron`.
        starts_at: No tick is before it.
        ends_at: No tick is at it or later.
        jitter: Over how long the starts of jobs are spread.
    """

    cron: tuple[str, ...] = ()
    every: timedelta | None = None
    phase: timedelta = timedelta()
    time_zone: str = UTC_NAME
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    jitter: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of ticks that can't simply fire.

    Attributes:
        overlap: While a job has not ended.
        catch_up_window: How old a tick may be that is caught up.
        catch_up: What becomes of those that were missed.
        pause_after_failures: After so many failed jobs in a row it is paused; 0: never.
        keep_runs: How many of its runs are kept.
    """

    overlap: Overlap = Overlap.BUFFER_ONE
    catch_up_window: timedelta = timedelta(hours=1)
    catch_up: CatchUp = CatchUp.LATEST
    pause_after_failures: int = 0
    keep_runs: int = 100


@dataclass(slots=True)
class Run:
    """What became of a tick, or of several that were left out together.

    Attributes:
        tick: The tick, or the last of them.
        nth: 0: of the schedule itself. More: by hand, or of a backfill.
        outcome: What became of it.
        job_id: The job that it enqueued.
        note: Why, for people.
        ticks: How many there are.
        at: When it was decided.
        number: Counts the runs of a schedule.
        cause: What it came from. Of one that is written, the database says it.
    """

    tick: datetime
    outcome: Outcome
    nth: int = 0
    job_id: UUID | None = None
    note: str = ""
    ticks: int = 1
    at: datetime | None = None
    number: int = 0
    cause: Cause = Cause.UNSPECIFIED


@dataclass(slots=True)
class Schedule:
    """A schedule as it is stored.

    Who reads one does not change it. It is not frozen, so that a fire can have a copy of its own that it changes:
    to make a new one of all its fields for each of them took a seventh of its CPU.

    Attributes:
        id: Its number. One that was deleted and made anew has another.
        namespace: Where its jobs go.
        name: Its name there.
        spec: When it is due.
        job: What is enqueued. Without its payload where a list was asked for.
        policy: What becomes of its ticks.
        labels: The caller's own.
        paused: Whether it has no ticks.
        pause_note: Why.
        next_at: Its next tick; None: it is paused, or there is none.
        last_tick: The last one that was decided.
        open: Its jobs that had not ended then; of many the oldest and the newest.
        buffered: The tick that waits for the end of these.
        buffered_nth: Whether that one is by hand, as in `Run`.
        fired: How many jobs it has enqueued.
        skipped_in_a_row: How many ticks in a row were left out.
        failures_in_a_row: How many of its jobs in a row have failed.
        runs: How many runs it has had.
        revision: Its etag.
        created_at: When it was made.
        updated_at: When a caller changed it last.
        last_run: What was decided last.
        principal: Who made it, gave it its job, or took it over.
        credential: What that showed, if it matters (`Maker`).
    """

    id: int
    namespace: int
    name: str
    spec: Spec
    job: NewJob
    policy: Policy = Policy()
    labels: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False
    pause_note: str = ""
    next_at: datetime | None = None
    last_tick: datetime | None = None
    open: tuple[UUID, ...] = ()
    buffered: datetime | None = None
    buffered_nth: int = 0
    fired: int = 0
    skipped_in_a_row: int = 0
    failures_in_a_row: int = 0
    runs: int = 0
    revision: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_run: Run | None = None
    principal: str = ""
    credential: str = ""

    @property
    def maker(self) -> Maker:
        """Whose it is."""
        return Maker(self.namespace, self.principal, (self.credential,) if self.credential else ())

    def copied(self) -> Schedule:
        """Another one that is alike."""
        return Schedule(
            self.id, self.namespace, self.name, self.spec, self.job, self.policy, self.labels, self.paused,
            self.pause_note, self.next_at, self.last_tick, self.open, self.buffered, self.buffered_nth, self.fired,
            self.skipped_in_a_row, self.failures_in_a_row, self.runs, self.revision, self.created_at, self.updated_at,
            self.last_run, self.principal, self.credential,
        )  # fmt: skip

    # ---- what a fire changes of its copy

    def goes_on(self, next_at: datetime | None, last_tick: datetime | None) -> None:
        """Its next tick, and the last one that was decided."""
        self.next_at = next_at
        self.last_tick = last_tick

    def sees(self, open: tuple[UUID, ...], failures_in_a_row: int) -> None:
        """The jobs that have not ended, and how many of its jobs in a row have failed."""
        self.open = open
        self.failures_in_a_row = failures_in_a_row

    def opens(self, open: tuple[UUID, ...]) -> None:
        """The jobs that have not ended, with those that are enqueued now."""
        self.open = open

    def buffers(self, tick: datetime | None, nth: int) -> None:
        """The tick that waits; None: none does."""
        self.buffered = tick
        self.buffered_nth = nth

    def skips(self, in_a_row: int) -> None:
        """How many ticks in a row were left out by now."""
        self.skipped_in_a_row = in_a_row


def spec_to_json(spec: Spec) -> str:
    """As it is stored."""
    return _json(
        cron=list(spec.cron),
        every_us=_us(spec.every),
        phase_us=_us(spec.phase),
        time_zone=spec.time_zone,
        starts_at=_text(spec.starts_at),
        ends_at=_text(spec.ends_at),
        jitter_us=_us(spec.jitter),
    )


@lru_cache(maxsize=_REMEMBERED)
def spec_from_json(text: str) -> Spec:
    """What `spec_to_json` made."""
    said: dict[str, Any] = json.loads(text)
    return Spec(
        tuple(said.get("cron", ())),
        _span(said.get("every_us")),
        _span(said.get("phase_us")) or timedelta(),
        said.get("time_zone", UTC_NAME),
        _moment(said.get("starts_at")),
        _moment(said.get("ends_at")),
        _span(said.get("jitter_us")) or timedelta(),
    )


def policy_to_json(policy: Policy) -> str:
    """As it is stored. All of it stands there, so that another default does not change what was made before."""
    return json.dumps(
        {
            "overlap": int(policy.overlap),
            "catch_up_window_us": _us(policy.catch_up_window),
            "catch_up": int(policy.catch_up),
            "pause_after_failures": policy.pause_after_failures,
            "keep_runs": policy.keep_runs,
        }
    )


@lru_cache(maxsize=_REMEMBERED)
def policy_from_json(text: str) -> Policy:
    """What `policy_to_json` made."""
    said: dict[str, Any] = json.loads(text)
    return Policy(
        Overlap(said["overlap"]),
        said["catch_up_window_us"] * _MICROSECOND,
        CatchUp(said["catch_up"]),
        said["pause_after_failures"],
        said["keep_runs"],
    )


def job_to_json(job: NewJob) -> str:
    """All but kind, queue and payload, which have columns of their own."""
    retry = job.retry_policy
    return _json(
        priority=job.priority,
        max_attempts=job.max_attempts,
        timeout_us=_us(job.timeout),
        retry=None if retry is None else [_us(retry.min_backoff), _us(retry.max_backoff)],
        labels=dict(job.labels),
        headers=dict(job.headers),
        hold=None if job.hold is None else int(job.hold),
        key=job.key,
        unique=None if job.unique is None else {"is": True, **job.unique.said},
    )


def job_from_json(text: str, queue: str, kind: str, payload: bytes) -> NewJob:
    """What `job_to_json` made, with what it left out."""
    like = _job_known(text) if len(text) <= _SHORT else _job(text)
    return NewJob(
        kind, payload, queue, like.priority, None, None, like.max_attempts, like.timeout, like.retry_policy, None,
        like.labels, like.headers, like.hold, like.key, like.unique,
    )  # fmt: skip


def _job(text: str) -> NewJob:
    """What `job_to_json` made, without what it left out."""
    said: dict[str, Any] = json.loads(text)
    retry = said.get("retry")
    return NewJob(
        "",
        b"",
        "",
        said.get("priority", 0),
        max_attempts=said.get("max_attempts"),
        timeout=_span(said.get("timeout_us")),
        retry_policy=None if retry is None else RetryPolicy(*(each * _MICROSECOND for each in retry)),
        labels=said.get("labels") or NOTHING,
        headers=said.get("headers") or NOTHING,
        hold=Hold(said["hold"]) if "hold" in said else None,
        key=said.get("key"),
        unique=_unique(said["unique"]) if "unique" in said else None,
    )


_job_known = lru_cache(maxsize=_REMEMBERED)(_job)


def _unique(said: Mapping[str, Any]) -> Unique:
    """What `Unique.said` told: all that is not the default."""
    return replace(
        Unique(),
        key=said.get("key"),
        payload_fields=tuple(said.get("payload_fields", ())),
        scope=UniqueScope(said.get("scope", UniqueScope.KIND)),
        until=Until(said.get("until", Until.STARTS)),
        period=_span(said.get("period")),
        on_conflict=OnConflict(said.get("on_conflict", OnConflict.KEEP)),
        replace=tuple(UniqueField(each) for each in said.get("replace", ())),
        max_delay=_span(said.get("max_delay")),
    )


def _json(**said: object) -> str:
    """Without what is not set."""
    return json.dumps({name: value for name, value in said.items() if value not in (None, [], {}, 0, "")})


def _us(span: timedelta | None) -> int | None:
    return None if span is None else span // _MICROSECOND


def _span(us: int | None) -> timedelta | None:
    return None if us is None else us * _MICROSECOND


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
