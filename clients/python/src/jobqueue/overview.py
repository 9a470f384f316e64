"""How the queues are doing, and what happened to jobs, as Python values."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from .backoff import Backoff
from .calls import of_stream, pause_after
from .channel import Access
from .errors import JobQueueError, Unavailable, from_rpc
from .insight import PauseDetail
from .v1 import overview_pb2 as pb
from .v1 import stats_pb2

# The server answers every 2 s.
_SILENCE = timedelta(seconds=30)


class WarningCode(enum.StrEnum):
    """What is wrong, or may be."""

    #: Something that this version of the client does not know.
    UNSPECIFIED = "WARNING_CODE_UNSPECIFIED"
    PAUSED_WITH_JOBS = "PAUSED_WITH_JOBS"
    WORKERS_MISSING = "WORKERS_MISSING"
    SLOTS_TAKEN = "SLOTS_TAKEN"
    WORKERS_LOST = "WORKERS_LOST"
    SERVER_SILENT = "SERVER_SILENT"
    SERVERS_DIFFER = "SERVERS_DIFFER"
    LONG_SNAPSHOT = "LONG_SNAPSHOT"
    KEYS_BLOCKED = "KEYS_BLOCKED"
    STATS_BEHIND = "STATS_BEHIND"
    STANDING_STILL = "STANDING_STILL"


class GroupBy(enum.StrEnum):
    """By what statistics are split into series."""

    QUEUE = "QUEUE"
    KIND = "KIND"
    QUEUE_AND_KIND = "QUEUE_AND_KIND"


@dataclass(frozen=True, slots=True)
class Flow:
    """What happens to jobs, each as a number per second; the names are those of StatTotals."""

    enqueued: float
    started: float
    succeeded: float
    retried: float
    failed: float
    cancelled: float
    lost: float
    timed_out: float
    released: float


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs have not ended.

    Attributes:
        queued: Those that wait and did not fail yet.
        retrying: Those that wait for another attempt.
        running: Those that run.
        held: Of those that wait, the ones that are held back.
        capped: Whether the server stopped counting somewhere, so that there may be more.
        oldest_due_age: For how long the first of the waiting jobs has been due. None: none is due.
    """

    queued: int
    retrying: int
    running: int
    held: int
    capped: bool
    oldest_due_age: timedelta | None


@dataclass(frozen=True, slots=True)
class QueueOverview:
    """How a queue is doing. `pause`: who paused it, and when; None: it is not paused."""

    queue: str
    paused: bool
    pause: PauseDetail | None
    depth: Depth
    flow: Flow
    workers: int
    slots: int
    free_slots: int


@dataclass(frozen=True, slots=True)
class WorkersOverview:
    """The sessions of workers of all servers; `silent` ones are not connected, and may come back."""

    sessions: int
    silent: int
    draining: int
    slots: int
    free_slots: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that runs on the database. `self`: it is the one that answered."""

    id: str
    name: str
    version: str
    level: int
    started_at: datetime | None
    heard_at: datetime | None
    heartbeat_age: timedelta | None
    self: bool
    sessions: int
    slots: int
    free_slots: int


@dataclass(frozen=True, slots=True)
class OverviewWarning:
    """Something that is wrong, or may be, and what would end it."""

    code: WarningCode
    message: str
    queue: str
    since: datetime | None
    remedy: str


@dataclass(frozen=True, slots=True)
class Overview:
    """How the queues are doing, at most 2 s ago.

    Attributes:
        read_at: When it was so, by the database's clock.
        window: Over how much time flows are counted.
        flow: Of all queues together, as `depth`.
        depth: How many jobs have not ended.
        queues: At most 200, the one whose job has been due for longest first.
        queues_left_out: How many more there are.
        workers: Those of all servers.
        servers: All that have not signed off.
        warnings: What is wrong, the worst first.
    """

    read_at: datetime | None
    window: timedelta | None
    flow: Flow
    depth: Depth
    queues: tuple[QueueOverview, ...]
    queues_left_out: int
    workers: WorkersOverview
    servers: tuple[ServerInfo, ...]
    warnings: tuple[OverviewWarning, ...]


@dataclass(frozen=True, slots=True)
class StatTotals:
    """How many jobs or attempts went which way, and how long they waited and ran: p50 and p99.

    Attributes:
        enqueued: Jobs that were stored.
        started: Attempts that began.
        succeeded: Jobs that succeeded.
        retried: Attempts that failed, and whose job waits for another one.
        failed: Jobs that failed for good.
        cancelled: Jobs that were cancelled.
        lost: Attempts that were lost with their worker.
        timed_out: Attempts that ran into their timeout.
        released: Attempts that were given back, or never reached a worker.
        wait_p50: Right within a factor of two, as the others. None: there are none.
    """

    enqueued: int
    started: int
    succeeded: int
    retried: int
    failed: int
    cancelled: int
    lost: int
    timed_out: int
    released: int
    wait_p50: timedelta | None
    wait_p99: timedelta | None
    run_p50: timedelta | None
    run_p99: timedelta | None


@dataclass(frozen=True, slots=True)
class Point:
    """A step: where it begins, and what happened in it."""

    at: datetime | None
    totals: StatTotals


@dataclass(frozen=True, slots=True)
class Series:
    """Statistics of a queue, of a kind, of both, or of all. Steps in which nothing happened are left out."""

    queue: str
    kind: str
    points: tuple[Point, ...]
    totals: StatTotals


@dataclass(frozen=True, slots=True)
class Stats:
    """What happened from `since` on, in steps. At most 20 series, those with most jobs first."""

    since: datetime | None
    step: timedelta | None
    series: tuple[Series, ...]
    series_left_out: int
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs there are; not `exact`: at least so many."""

    count: int
    exact: bool
    read_at: datetime | None


_CLASSES: dict[str, type[Any]] = {
    each.__name__: each
    for each in (
        Flow,
        Depth,
        QueueOverview,
        WorkersOverview,
        Overview,
        PauseDetail,
        StatTotals,
        Point,
        Series,
    )
} | {"Server": ServerInfo, "Warning": OverviewWarning}


def overview(message: pb.Overview) -> Overview:
    """The overview in an answer."""
    return Overview(**_fields(message))


def server(message: pb.Server) -> ServerInfo:
    """A server in an answer."""
    return ServerInfo(**_fields(message))


def stats(message: stats_pb2.QueryStatsResponse) -> Stats:
    """The statistics in an answer."""
    return Stats(**_fields(message))


def count(message: stats_pb2.CountJobsResponse) -> JobCount:
    """The count in an answer."""
    return JobCount(**_fields(message))


async def watch(
    method: Callable[[], Callable[..., Any]], access: Access, deadline: timedelta
) -> AsyncIterator[Overview]:
    """The overview again and again, over as many streams as it takes.

    Raises:
        JobQueueError: No server answered within the deadline, or another stream is of no use.
    """
    backoff = Backoff(base=0.05, cap=2.0)
    loop = asyncio.get_running_loop()
    away_since: float | None = None
    while True:
        call = method()(pb.WatchOverviewRequest(), metadata=access.metadata())
        try:
            while True:
                async with asyncio.timeout(_SILENCE.total_seconds()):
                    answer = await call.read()
                if answer is grpc.aio.EOF:
                    error: JobQueueError = Unavailable("the stream has ended", code="UNAVAILABLE")
                    break
                away_since = None
                backoff.reset()
                yield overview(answer.overview)
        except grpc.aio.AioRpcError as raised:
            error = of_stream(from_rpc(raised))
        except TimeoutError:
            silence = f"nothing was heard of the server for {_SILENCE.total_seconds():g} s"
            error = Unavailable(silence, code="UNAVAILABLE")
        finally:
            call.cancel()
        wait = pause_after(error, backoff)
        away_since = away_since or loop.time()
        if wait is None or loop.time() + wait >= away_since + deadline.total_seconds():
            raise error
        await asyncio.sleep(wait)


def _fields(message: Any) -> dict[str, Any]:
    """The fields of a message, by the names that the values have too."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Any, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return WarningCode(known.name) if known is not None else WarningCode.UNSPECIFIED
    if field.message_type is None:
        return value
    if field.message_type.name == "Timestamp":
        return value.ToDatetime(UTC) if message.HasField(field.name) else None
    if field.message_type.name == "Duration":
        return value.ToTimedelta() if message.HasField(field.name) else None
    made = _CLASSES[field.message_type.name]
    if field.is_repeated:
        return tuple(made(**_fields(each)) for each in value)
    return made(**_fields(value)) if message.HasField(field.name) or made is not PauseDetail else None
