"""One lease in this process: from its delivery until its outcome was answered and its handler has ended."""

from __future__ import annotations

import asyncio
import enum

from jobqueue.v1 import lease_pb2 as pb

from .context import JobContext
from .handlers import Handler


class Place(enum.Enum):
    """Where a lease stands on the way of its outcome."""

    #: No outcome yet.
    RUNNING = "running"
    #: Goes with the next Settle frame.
    WAITING = "waiting"
    #: In a Settle frame that was not answered yet.
    SENT = "sent"
    #: Was told TRY_AGAIN, and waits for its turn.
    HELD_BACK = "held back"
    #: Answered, or dropped.
    DONE = "done"


class Lease:
    """A lease. Only the session's thread changes it, but for `result`, `task` and `entered`, which are the runners'."""

    __slots__ = (
        "alive",
        "context",
        "corrections",
        "entered",
        "handler",
        "id",
        "message",
        "outcome",
        "place",
        "result",
        "seconds",
        "started",
        "task",
    )

    def __init__(
        self, id: int, message: pb.LeasedJob, handler: Handler, context: JobContext, started: float
    ) -> None:
        self.id = id
        self.message = message
        self.handler = handler
        self.context = context
        #: None with a place beyond RUNNING: a success without output.
        self.outcome: pb.Outcome | None = None
        self.place = Place.RUNNING
        #: Whether the handler still runs, and so takes up a slot, whatever became of the lease.
        self.alive = True
        #: As of `Clock.monotonic`.
        self.started = started
        self.seconds = 0.0
        #: How often the server has called an outcome of it INVALID.
        self.corrections = 0
        #: What the handler's end was, until the session takes it. None: a success without output.
        self.result: pb.Outcome | None = None
        self.task: asyncio.Task[None] | None = None
        self.entered = False

    def held(self) -> pb.HeldLease:
        """Its three numbers, for Resume."""
        return pb.HeldLease(lease_id=self.id, job_id=self.message.id, attempt=self.message.attempt)
