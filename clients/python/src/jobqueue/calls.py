"""One call: its deadline, its retries and its errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import grpc

from .backoff import Backoff
from .channel import Access
from .errors import DeadlineExceeded, JobQueueError, Overloaded, Unavailable, from_rpc
from .window import Turn

Answer = TypeVar("Answer")

# A stream that ended so, and without a reason, was cut by something in between.
_CUT = frozenset({"CANCELLED", "INTERNAL", "UNKNOWN"})
# What gRPC says of an address on which nothing listens; a failed handshake has other words.
_NOTHING_THERE = re.compile(
    r"connection refused|actively refused|no route to host|network is unreachable|"
    r"(name|dns) resolution|domain name not found|timed? ?out",
    re.IGNORECASE,
)


def seconds(value: timedelta, what: str) -> float:
    """How many seconds it has.

    Raises:
        TypeError: It is not a timedelta, for example a number.
    """
    if not isinstance(value, timedelta):
        raise TypeError(f"{what} is {value!r}; it must be a timedelta, for example timedelta(seconds=30)")
    return value.total_seconds()


async def call(
    method: Callable[..., Any],
    request: Any,
    access: Access,
    *,
    deadline: timedelta,
    retry: bool,
    answer: type[Answer],
    turn: Turn | None = None,
) -> Answer:
    """Makes a call, again and again while it may be repeated and there is time.

    Repeated are UNAVAILABLE, and RESOURCE_EXHAUSTED where the server says when to come back.

    Args:
        method: A method of a stub.
        request: Its request.
        access: Gives the metadata.
        deadline: For all tries together.
        retry: Whether a second call does no harm where the first one was done.
        answer: What the method answers.
        turn: Hears how the server answers; None: no turns are taken.

    Raises:
        JobQueueError: It failed; the class says how.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds(deadline, "deadline")
    backoff = Backoff(base=0.05, cap=2.0)
    while True:
        try:
            left = max(0.0, ends - loop.time())
            made = method(request, timeout=left, metadata=access.metadata())
            answered = cast(Answer, await made)
            if turn is not None:
                turn.answered(await made.trailing_metadata())
            return answered
        except grpc.aio.AioRpcError as raised:
            error = from_rpc(raised)
        if turn is not None:
            turn.refused(error)
        wait = pause_after(error, backoff) if retry else None
        if wait is None:
            raise error
        if loop.time() + wait >= ends:
            raise _last(error, deadline)
        await asyncio.sleep(wait)


class FirstUse:
    """Says once what to do where nothing answers, as long as nothing ever did.

    Args:
        target: The server's address.

    Attributes:
        of_environment: Whether the environment said it.
    """

    def __init__(self, target: str) -> None:
        self.of_environment = False
        self._target = target
        self._over = False

    def answered(self) -> None:
        """A server has answered."""
        self._over = True

    def failed(self, error: JobQueueError) -> None:
        """A call has failed: the error gets the hint, if this is the moment for it."""
        if self._over:
            return
        if error.reason:
            self._over = True
        elif not error.hint and isinstance(error, Unavailable) and _NOTHING_THERE.search(error.message):
            self._over = True
            error.hint = (
                f'nothing answers at {self._target}; start a server by "make run" or "jobqueue-server"'
                + (", or set JOBQUEUE_SERVER" if self.of_environment else "")
            )


def of_stream(error: JobQueueError) -> JobQueueError:
    """What ended a stream: Unavailable where it was cut, and not by a server that had something to say."""
    if error.code in _CUT and not error.reason:
        return Unavailable(error.message, code=error.code)
    return error


def pause_after(error: JobQueueError, backoff: Backoff) -> float | None:
    """How long to wait before another try. None: another try is of no use."""
    asked = error.retry_after.total_seconds() if error.retry_after is not None else None
    if isinstance(error, Unavailable):
        # At least what the server asks for, and never all callers at the same moment.
        return (asked or 0.0) + backoff.next()
    if isinstance(error, Overloaded) and asked is not None:
        return asked + backoff.next()
    return None


def _last(error: JobQueueError, deadline: timedelta) -> JobQueueError:
    # The cause says more than "deadline exceeded" would.
    if not isinstance(error, DeadlineExceeded):
        error.add_note(f"tried again until the deadline of {deadline.total_seconds():g} s")
    return error
