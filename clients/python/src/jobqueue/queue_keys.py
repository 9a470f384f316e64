"""Single keys of a queue, and how they are read from messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from .insight import KeyHolder
from .v1 import queue_admin_pb2 as pb


class KeyFilter(StrEnum):
    """Which keys of a queue to list."""

    AT_LIMIT = "AT_LIMIT"
    PAUSED = "PAUSED"
    WAITING = "WAITING"
    BLOCKED = "BLOCKED"


@dataclass(frozen=True, slots=True)
class QueueKey:
    """One key of a queue (`NewJob.key`), as it was when it was read.

    Attributes:
        queue: The queue's name.
        key: The key.
        max_running: How many of its jobs run at once, instead of what the queue allows. 0: as many as the queue allows.
        paused: Whether no more of its jobs are let in.
        paused_at: Since when. None: it is not paused.
        paused_by: The principal who paused it. Empty: it is not known.
        limit: How many of its jobs may be in line or run at once. 0: no limit.
        taken: How many were let in: they are in line or run.
        waiting: How many wait for it.
        next_start_at: When the rate lets the next one in. None: an end must come first, or none waits.
        holders: Of those that were let in, at most 20. Empty in lists.
        etag: Stands for this version of `max_running` and `paused`, for `Client.update_queue_key`.
        paused_until: Until when a worker has paused it (`Retry(pause_key=True)`). None: none has.
        blocked_by: The job that failed or was cancelled and blocks it (`OnKeyFailure.HOLD`). None: none does.
    """

    queue: str
    key: str
    max_running: int
    paused: bool
    paused_at: datetime | None
    paused_by: str
    limit: int
    taken: int
    waiting: int
    next_start_at: datetime | None
    holders: tuple[KeyHolder, ...]
    etag: str
    paused_until: datetime | None = None
    blocked_by: str | None = None


def queue_key(message: pb.QueueKey) -> QueueKey:
    """The key in an answer."""
    return QueueKey(
        message.queue,
        message.key,
        message.max_running,
        message.paused,
        _moment(message, "paused_at"),
        message.paused_by,
        message.limit,
        message.taken,
        message.waiting,
        _moment(message, "next_start_at"),
        tuple(KeyHolder(each.job_id, each.worker, _moment(each, "since")) for each in message.holders),
        message.etag,
        _moment(message, "paused_until"),
        message.blocked_by or None,
    )


def _moment(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None
