"""The context of a handler."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.convert import new_job
from jobqueue.jobs import EncodingRule, LeasedJob, NewJob
from jobqueue.outcomes import Cancelled
from jobqueue.traces import TRACEPARENT
from jobqueue.v1 import job_pb2

_MESSAGE_BYTES = 1024
_CHECKPOINT_BYTES = 64 * 1024
_FOLLOW_UPS = 100
# With an output of 1 MiB the outcome still fits into a message of 4 MiB.
_FOLLOW_UPS_BYTES = 2 * 1024 * 1024
# One id from the first caller to the last handler.
_INHERITED = ("x-request-id", TRACEPARENT)


class Stop(enum.Enum):
    """Why a handler should stop. A later reason replaces an earlier one."""

    #: A caller asked to cancel the job: the handler's result decides.
    CANCEL = "cancel"
    #: The worker shuts down and its grace has ended: the job goes back, uncharged.
    SHUTDOWN = "shutdown"
    #: The lease is no longer this worker's: the handler's result is dropped.
    REVOKED = "revoked"
    #: With `stop_when_lost`: no server was heard for the session's ttl, so the job may already run elsewhere.
    LOST = "lost"


class _Sent:
    """The result of `progress`. It can be awaited, but need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


_SENT = _Sent()

#: Takes whose it is, a fraction, a message and a checkpoint; None, empty and None: as it was.
ProgressReport = Callable[["JobContext", float | None, str, bytes | None], None]


class JobContext:
    """One attempt, for its handler. The same for all three styles of handlers.

    Attributes:
        job: The job.
        stop_reason: Why the handler should stop. None until `cancelled`.
        cancel_reason: The reason as text, for people. Empty until `cancelled`.
        follow_ups: The jobs given to `follow_up`, as messages.
        lease_id: The lease's number, for the runtime.
        traceparent: What follow-ups carry. Empty: what the job has.
        ended_in: The context variables with which the attempt ended. Only there where middleware was around it.
        rules: Whether each follow-up is encoded, by its number. Only there where the worker has encodings.
    """

    # One is made for each job: nothing in here that few handlers look at is made before it is looked at.
    __slots__ = (
        "_begun",
        "_report",
        "_state",
        "cancel_reason",
        "ended_in",
        "follow_ups",
        "job",
        "lease_id",
        "rules",
        "stop_reason",
        "traceparent",
    )

    def __init__(
        self,
        job: LeasedJob,
        report: ProgressReport,
        lease_id: int = 0,
        begun: float | None = None,
        state: Any = None,
    ) -> None:
        self.ended_in: Context
        self.rules: dict[int, EncodingRule]
        self.job = job
        self.lease_id = lease_id
        self.cancel_reason = ""
        self.stop_reason: Stop | None = None
        self.follow_ups: Sequence[job_pb2.NewJob] = ()
        self.traceparent = ""
        self._report = report
        self._state = state
        self._begun = time.time() if begun is None else begun

    @property
    def state(self) -> Any:
        """What the worker's `lifespan` made. None: it has none, or the handler runs in a process of its own."""
        return self._state

    @property
    def deadline(self) -> datetime | None:
        """When the attempt times out, by this host's clock. None: never."""
        timeout = self.job.timeout
        return None if timeout is None else datetime.fromtimestamp(self._begun, UTC) + timeout

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: `stop_reason` says why."""
        return self.stop_reason is not None

    def raise_if_cancelled(self) -> None:
        """Ends the attempt here, if the handler should stop.

        Raises:
            Cancelled: The handler should stop.
        """
        if self.stop_reason is not None:
            raise Cancelled(self.cancel_reason or "cancelled")

    @property
    def remaining(self) -> timedelta | None:
        """The time until the deadline; negative after it. None: no deadline."""
        deadline = self.deadline
        return None if deadline is None else deadline - datetime.now(UTC)

    def report(self, fraction: float | None, message: str, checkpoint: bytes | None) -> None:
        """Takes what `progress` and `save_checkpoint` were told, for the runtime."""
        self._report(self, fraction, message, checkpoint)

    def progress(self, fraction: float | None = None, message: str = "") -> _Sent:
        """Reports how far the attempt is. Returns at once; `await` it or not.

        A report within the next 100 ms replaces it. The last one before a broken connection may be lost.

        Args:
            fraction: The share of the work that is done, 0..1. None: unchanged.
            message: What the attempt does now, for people. Cut at 1024 bytes of UTF-8.

        Raises:
            ValueError: The fraction is not within 0..1.
        """
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"progress({fraction!r}): a fraction is 0..1 of the whole")
        # Of numbers of other sorts here, in the handler's own line: the session's thread has the reports of all jobs.
        fraction = None if fraction is None else float(fraction)
        cut = message.encode("utf-8", "replace")[:_MESSAGE_BYTES].decode("utf-8", "ignore") if message else ""
        self.report(fraction, cut, None)
        return _SENT

    def save_checkpoint(self, value: Any) -> _Sent:
        """Stores a value for the job's next attempt. Returns at once.

        The newest one counts. It is stored for certain when the attempt ends with an outcome of this worker. If the
        worker is lost, a checkpoint of the last tenths of a second may be lost too.

        Args:
            value: Bytes in any form, which the next attempt reads as `ctx.job.checkpoint`; or a value of a type that
                payloads may have, stored as JSON, which it reads by `ctx.job.checkpoint_as(type)`. At most 64 KiB.
                None and empty bytes: remove the stored checkpoint.

        Raises:
            ValueError: It is longer.
            TypeError: JSON has no form for it.
        """
        if value is None:
            data = b""
        elif isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value)
        else:
            from jobqueue.typed.checkpoints import text_of

            data = text_of(value)
        check_checkpoint(data)
        self.report(None, "", data)
        return _SENT

    def encode_checkpoints(self, encode: Callable[[bytes], bytes]) -> None:
        """Lets what `save_checkpoint` is told go through a function, for the runtime."""
        report = self._report

        def encoded(
            context: JobContext, fraction: float | None, message: str, checkpoint: bytes | None
        ) -> None:
            report(context, fraction, message, None if checkpoint is None else encode(checkpoint))

        self._report = encoded

    def follow_up(self, job: NewJob) -> None:
        """Enqueues a job in the transaction that settles this one as succeeded.

        If this job does not succeed, the other one is not enqueued. It gets the request id and the trace of this job,
        unless it has headers with these names. An idempotency key of AUTO counts as no key: the transaction already
        enqueues the job only once.

        Args:
            job: The job. An attempt may enqueue at most 100, of 2 MiB in all.

        Raises:
            ValueError: There are too many, or the job can't be sent.
            EncodingRequired: Its kind takes encrypted payloads alone, and the worker does not encrypt.
        """
        if (rules := getattr(self, "rules", None)) is not None:
            # It is encoded after the handler, as the middleware has left it.
            rules[len(self.follow_ups)] = job.encodings
            job = replace(job, encodings="")
        message = new_job(job, job.idempotency_key if isinstance(job.idempotency_key, str) else "")
        if self.traceparent and TRACEPARENT not in message.headers:
            message.headers[TRACEPARENT] = self.traceparent
        for name in _INHERITED:
            if name in self.job.headers and name not in message.headers:
                message.headers[name] = self.job.headers[name]
        if len(self.follow_ups) >= _FOLLOW_UPS:
            raise ValueError(f"a job has at most {_FOLLOW_UPS} follow-ups")
        follow_ups = [*self.follow_ups, message]
        check_size(follow_ups)
        self.follow_ups = follow_ups


def check_checkpoint(data: bytes) -> None:
    """Returns if a checkpoint is not too long.

    Raises:
        ValueError: It is.
    """
    if len(data) > _CHECKPOINT_BYTES:
        raise ValueError(
            f"save_checkpoint() takes at most {_CHECKPOINT_BYTES} bytes, not {len(data)}: "
            "store it elsewhere and leave its address"
        )


def check_size(follow_ups: Sequence[job_pb2.NewJob]) -> None:
    """Returns if follow-ups fit into the outcome.

    Raises:
        ValueError: They don't.
    """
    size = sum(each.ByteSize() for each in follow_ups)
    if size > _FOLLOW_UPS_BYTES:
        raise ValueError(f"the follow-ups of a job may have {_FOLLOW_UPS_BYTES} bytes in all, not {size}")
