"""What an operation is asked to do, and the form in which it is stored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any
from uuid import UUID

from ...lifecycle import TERMINAL, Status

_MICROSECOND = timedelta(microseconds=1)
_LIVE = frozenset(Status) - TERMINAL
_WAITING = _LIVE - {Status.RUNNING}


class Verb(IntEnum):
    """What is done to each job; the numbers are those of `operation.verb`."""

    RETRY = 1
    CANCEL = 2
    DELETE = 3
    BACKFILL = 4
    UPDATE = 5

    @property
    def method(self) -> str:
        """The name of the method."""
        return "BackfillSchedule" if self is Verb.BACKFILL else f"{self.name.capitalize()}Jobs"

    @property
    def label(self) -> str:
        """Its name in metrics."""
        return self.name.lower()

    @property
    def statuses(self) -> frozenset[Status]:
        """The statuses of the jobs that it can be done to."""
        if self is Verb.UPDATE:
            return _WAITING
        return _LIVE if self is Verb.CANCEL else TERMINAL

    @property
    def default_statuses(self) -> frozenset[Status]:
        """The statuses where none are named: a retry leaves out what has succeeded."""
        return self.statuses - {Status.SUCCEEDED} if self is Verb.RETRY else self.statuses


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: those that match all that is set. `ids` None means any id, empty `statuses` those of the verb."""

    ids: tuple[UUID, ...] | None = None
    queue: str | None = None
    kind: str | None = None
    statuses: frozenset[Status] = frozenset()
    labels: dict[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    reasons: tuple[str, ...] = ()
    error_type: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Backfill:
    """Which ticks of a schedule a backfill fires.

    Attributes:
        schedule_id: The number of the schedule. One that was made anew has another.
        schedule: Its name.
        start: Ticks at this time and later.
        end: Ticks before this time.
        overlap: What becomes of a tick beside a job that has not ended, as the contract numbers it.
    """

    schedule_id: int
    schedule: str
    start: datetime
    end: datetime
    overlap: int


@dataclass(frozen=True, slots=True)
class Request:
    """What an operation is to do.

    Attributes:
        selection: Which jobs.
        per_second: How many of them a second; 0: as fast as it goes.
        max_jobs: After how many it is done; 0: after all.
        spread: Of a retry, an update: over how long their starts are spread.
        reason: Of a cancel: why.
        run_at: Of a retry, an update: the earliest start. None: the change, and `delay`.
        delay: Of a retry, an update: how long after it the earliest start is.
        to_queue: Of a retry, an update: the queue in which the jobs wait then. None: each stays in its own.
        reset_checkpoint: Of a retry: whether each begins anew.
        respect_unique: Of a retry: whether one is left out whose name another job holds.
        backfill: Of a backfill: which ticks; `max_jobs` and `per_second` are of ticks then.
        new_start: Of an update: whether the jobs get the start that `run_at`, `delay` and `spread` say.
        priority: Of an update: theirs from now on. None: each keeps its own.
        max_attempts: Of an update: theirs from now on. None: each keeps its own.
    """

    selection: Selection
    per_second: int = 0
    max_jobs: int = 0
    spread: timedelta = timedelta()
    reason: str = ""
    run_at: datetime | None = None
    delay: timedelta = timedelta()
    to_queue: str | None = None
    reset_checkpoint: bool = False
    respect_unique: bool = False
    backfill: Backfill | None = None
    new_start: bool = False
    priority: int | None = None
    max_attempts: int | None = None


def to_json(request: Request) -> str:
    """As it is stored. The text is the same for equal requests."""
    chosen = request.selection
    stored = {
        "ids": None if chosen.ids is None else [str(each) for each in chosen.ids],
        "queue": chosen.queue,
        "kind": chosen.kind,
        "statuses": sorted(chosen.statuses),
        "labels": chosen.labels,
        "created_after": _text(chosen.created_after),
        "created_before": _text(chosen.created_before),
        "ended_after": _text(chosen.ended_after),
        "ended_before": _text(chosen.ended_before),
        "reasons": list(chosen.reasons),
        "error_type": chosen.error_type,
        "everything": chosen.everything,
        "per_second": request.per_second,
        "max_jobs": request.max_jobs,
        "spread_us": request.spread // _MICROSECOND,
        "reason": request.reason,
        "run_at": _text(request.run_at),
        "delay_us": request.delay // _MICROSECOND,
        "to_queue": request.to_queue,
        "reset_checkpoint": request.reset_checkpoint,
        "respect_unique": request.respect_unique,
        "backfill": _of_backfill(request.backfill),
        "new_start": request.new_start,
        # As text: 0 is a priority, and what is empty is left out.
        "priority": None if request.priority is None else str(request.priority),
        "max_attempts": request.max_attempts,
    }
    return json.dumps({name: value for name, value in stored.items() if value}, sort_keys=True)


def from_json(text: str) -> Request:
    """What `to_json` made."""
    stored: dict[str, Any] = json.loads(text)
    ids = stored.get("ids")
    return Request(
        Selection(
            None if ids is None else tuple(UUID(each) for each in ids),
            stored.get("queue"),
            stored.get("kind"),
            frozenset(Status(each) for each in stored.get("statuses", ())),
            stored.get("labels", {}),
            _moment(stored.get("created_after")),
            _moment(stored.get("created_before")),
            _moment(stored.get("ended_after")),
            _moment(stored.get("ended_before")),
            tuple(stored.get("reasons", ())),
            stored.get("error_type"),
            stored.get("everything", False),
        ),
        stored.get("per_second", 0),
        stored.get("max_jobs", 0),
        stored.get("spread_us", 0) * _MICROSECOND,
        stored.get("reason", ""),
        _moment(stored.get("run_at")),
        stored.get("delay_us", 0) * _MICROSECOND,
        stored.get("to_queue"),
        stored.get("reset_checkpoint", False),
        stored.get("respect_unique", False),
        _backfill(stored.get("backfill")),
        stored.get("new_start", False),
        None if (priority := stored.get("priority")) is None else int(priority),
        stored.get("max_attempts"),
    )


def _of_backfill(backfill: Backfill | None) -> dict[str, Any] | None:
    if backfill is None:
        return None
    return {
        "schedule_id": backfill.schedule_id,
        "schedule": backfill.schedule,
        "start": backfill.start.isoformat(),
        "end": backfill.end.isoformat(),
        "overlap": backfill.overlap,
    }


def _backfill(stored: dict[str, Any] | None) -> Backfill | None:
    if stored is None:
        return None
    return Backfill(
        stored["schedule_id"],
        stored["schedule"],
        datetime.fromisoformat(stored["start"]),
        datetime.fromisoformat(stored["end"]),
        stored["overlap"],
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
