"""What a handler is given."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.outcomes import Cancelled

from .job import LeasedJob


class Stop(enum.Enum):
    """Why a handler should stop. A later one replaces an earlier one."""

    #: Somebody asked for the job to be cancelled: the handler's answer decides.
    CANCEL = "cancel"
    #: The worker leaves and its grace is over: the job goes back, uncharged.
    SHUTDOWN = "shutdown"
    #: The lease is no longer this worker's: whatever the handler answers is dropped.
    REVOKED = "revoked"


class _Sent:
    """What `progress` returns: may be awaited, and need not be."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


_SENT = _Sent()

#: Takes a fraction and a message.
ProgressReport = Callable[[float | None, str], None]


class JobContext:
    """One attempt, as its handler sees it. The same for all three styles of handlers.

    Attributes:
        job: The job.
        deadline: When the attempt times out, by this host's clock. None: never.
        stop_reason: Why the handler should stop. None until `cancelled`.
        cancel_reason: The same in words, for people. Empty until `cancelled`.
    """

    __slots__ = ("_report", "cancel_reason", "deadline", "job", "stop_reason")

    def __init__(self, job: LeasedJob, report: ProgressReport) -> None:
        self.job = job
        timeout = job.timeout
        self.deadline = None if timeout is None else datetime.now(UTC) + timeout
        self.cancel_reason = ""
        self.stop_reason: Stop | None = None
        self._report = report

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: cancelled by a caller, lease revoked, or the worker's grace is over."""
        return self.stop_reason is not None

    def raise_if_cancelled(self) -> None:
        """Ends the attempt here if the handler should stop.

        Raises:
            Cancelled: It should.
        """
        if self.stop_reason is not None:
            raise Cancelled(self.cancel_reason or "cancelled")

    @property
    def remaining(self) -> timedelta | None:
        """How long until the deadline; negative when it is over. None: no deadline."""
        return None if self.deadline is None else self.deadline - datetime.now(UTC)

    def progress(self, fraction: float | None = None, message: str = "") -> _Sent:
        """Says how far the attempt is. Returns at once; `await` it or not.

        What follows within 100 ms replaces it; the last one before a broken connection may be lost.

        Args:
            fraction: 0..1, of the whole. None: unchanged.
            message: What it does right now, for people; at most 1 KiB.

        Raises:
            ValueError: The fraction is not within 0..1.
        """
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"progress({fraction!r}): a fraction is 0..1 of the whole")
        self._report(fraction, message)
        return _SENT
