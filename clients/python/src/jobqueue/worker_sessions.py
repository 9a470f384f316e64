"""The workers of a service, as Python values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .v1 import worker_pb2 as pb


class WorkerState(enum.StrEnum):
    """What a worker does."""

    #: Something that this version of the client does not know.
    UNSPECIFIED = "STATE_UNSPECIFIED"
    CONNECTED = "CONNECTED"
    DRAINING = "DRAINING"
    SILENT = "SILENT"


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that a worker holds. `deadline_at` None: it may run as long as it likes."""

    job_id: str
    queue: str
    kind: str
    attempt: int
    since: datetime | None
    deadline_at: datetime | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class WorkerDrain:
    """Since when and why a worker takes no more jobs. `by` empty: it is shutting down by itself."""

    since: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerSession:
    """A worker, as far as the caller may read what it takes.

    Attributes:
        session_id: The number of its session.
        name: Its name, which need not be unique.
        labels: Its own labels.
        client: Its client library.
        address: The IP address from which it connected last.
        principal: On whose behalf it works.
        server: The server that has its stream.
        takes: The kinds, by queue.
        slots: How many slots it has. 0: none, or it makes calls and bounds nothing.
        free_slots: Of these, the free ones.
        held: How many jobs it holds.
        state: What it does.
        opened_at: When its session was opened.
        silent_since: When it was heard last. None: it is heard.
        ends_at: When its session ends if it is not heard before. None: it is heard.
        drain: Why it takes no more jobs. None: it takes some.
        jobs: What it holds, of `get_worker` and `drain_worker` alone.
    """

    session_id: str
    name: str
    labels: Mapping[str, str]
    client: str
    address: str
    principal: str
    server: str
    takes: Mapping[str, tuple[str, ...]]
    slots: int
    free_slots: int
    held: int
    state: WorkerState
    opened_at: datetime | None
    silent_since: datetime | None
    ends_at: datetime | None
    drain: WorkerDrain | None
    jobs: tuple[HeldJob, ...] = ()


def worker_session(message: pb.Worker) -> WorkerSession:
    """A worker of a message."""
    return WorkerSession(
        message.session_id,
        message.name,
        dict(message.labels),
        message.client,
        message.address,
        message.principal,
        message.server,
        {each.queue: tuple(each.kinds) for each in message.takes},
        message.slots,
        message.free_slots,
        message.held,
        _state(message.state),
        _moment(message, "opened_at"),
        _moment(message, "silent_since"),
        _moment(message, "ends_at"),
        WorkerDrain(_moment(message.drain, "since"), message.drain.by, message.drain.reason)
        if message.HasField("drain")
        else None,
        tuple(
            HeldJob(
                job.job_id,
                job.queue,
                job.kind,
                job.attempt,
                _moment(job, "since"),
                _moment(job, "deadline_at"),
                job.cancel_requested,
            )
            for job in message.jobs
        ),
    )


def state_number(state: WorkerState | str) -> pb.Worker.State.ValueType:
    """The number of a state.

    Raises:
        ValueError: It is none.
    """
    try:
        return pb.Worker.State.Value(WorkerState(state).value)
    except ValueError:
        known = ", ".join(each for each in WorkerState if each is not WorkerState.UNSPECIFIED)
        raise ValueError(f"{state!r} is no state of a worker; there are {known}") from None


def _state(number: int) -> WorkerState:
    known = pb.Worker.State.DESCRIPTOR.values_by_number.get(number)
    return WorkerState(known.name) if known is not None else WorkerState.UNSPECIFIED


def _moment(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None
