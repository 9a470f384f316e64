"""How a handler's end becomes an outcome: the one table from results and exceptions to messages."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from jobqueue.outcomes import Cancelled, Discard, Retry, Snooze
from jobqueue.payload import encode
from jobqueue.v1 import job_pb2
from jobqueue.v1 import lease_pb2 as pb

from .context import Stop

_TYPE_CHARACTERS = 255
_ERROR_BYTES = 8 * 1024
_STACK_BYTES = 32 * 1024
# Refused here with the handler's name on it; a server with a lower limit answers INVALID, which says so as well.
_OUTPUT_BYTES = 1024 * 1024
# A server refuses the outcome of a longer one.
_LONGEST_PAUSE = timedelta(hours=24)


def of_result(value: Any, follow_ups: Sequence[job_pb2.NewJob] = ()) -> pb.Outcome | None:
    """What a handler returned, with its follow-ups. None is a success without either, which travels as a bare number.

    Raises:
        TypeError: It can't be written as JSON.
        ValueError: It can't be written as JSON, or is longer than an output may be.
    """
    if value is None:
        return pb.Outcome(success=pb.Success(follow_ups=follow_ups)) if follow_ups else None
    text = encode(value, "the handler's output")
    check_output(text)
    return pb.Outcome(success=pb.Success(output_json=text, follow_ups=follow_ups))


def check_output(text: bytes) -> None:
    """Returns if an output is not too long.

    Raises:
        ValueError: It is.
    """
    if len(text) > _OUTPUT_BYTES:
        raise ValueError(
            f"the handler's output is {len(text)} bytes of JSON, the limit is {_OUTPUT_BYTES}: "
            "store it elsewhere and return its address"
        )


def of_exception(error: BaseException, stop: Stop | None) -> pb.Outcome:
    """What a handler raised, and what it was told before."""
    if isinstance(error, Cancelled | asyncio.CancelledError) and stop in (Stop.SHUTDOWN, Stop.LOST):
        return released()
    if isinstance(error, Cancelled):
        return cancelled()
    if isinstance(error, asyncio.CancelledError) and stop is not None:
        return cancelled()
    if isinstance(error, Snooze):
        delay = Duration()
        delay.FromTimedelta(error.delay)
        return pb.Outcome(snooze=pb.Snooze(delay=delay))
    outcome = pb.Outcome(failure=_failure(error))
    if isinstance(error, Retry) and error.pause_key and error.after is not None:
        outcome.pause_key.FromTimedelta(min(error.after, _LONGEST_PAUSE))
    return outcome


def cancelled() -> pb.Outcome:
    """The handler stopped because it was asked to."""
    return pb.Outcome(cancellation=pb.Cancellation())


def released() -> pb.Outcome:
    """The job goes back, uncharged."""
    return pb.Outcome(release=pb.Release())


def failed(error_type: str, message: str) -> pb.Outcome:
    """A failure that no exception of the handler's stands for."""
    return pb.Outcome(failure=pb.Failure(error_type=error_type, error=message))


def _failure(error: BaseException) -> pb.Failure:
    # Retry and Discard are words of ours; what was wrong is what they were raised from.
    told = isinstance(error, Retry | Discard)
    cause = error.__cause__ if told else error
    failure = pb.Failure(
        error_type=type(cause or error).__qualname__[:_TYPE_CHARACTERS],
        error=_cut_end(_words(error) or type(error).__qualname__, _ERROR_BYTES),
        stack=_cut_start(_stack(cause), _STACK_BYTES) if cause else "",
        permanent=isinstance(error, Discard),
    )
    if isinstance(error, Retry) and error.after is not None:
        failure.retry_after.FromTimedelta(error.after)
    return failure


def _words(error: BaseException) -> str:
    # A handler's exception may be unable to say what it is; its attempt has failed all the same.
    try:
        return str(error)
    except Exception as second:
        return f"{type(error).__qualname__}, whose text can't be had: {type(second).__qualname__}"


def _stack(error: BaseException) -> str:
    # The first frame is the runtime's own call of the handler.
    trace = error.__traceback__
    inner = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    return "".join(traceback.TracebackException(type(error), error, inner).format())


def _cut_end(text: str, limit: int) -> str:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    note = f" [cut, {len(raw)} bytes in all]"
    return raw[: limit - len(note)].decode("utf-8", "ignore") + note


def _cut_start(text: str, limit: int) -> str:
    """Keeps the end: the innermost frames and the error's own line stand there."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    note = f"[cut, {len(raw)} bytes in all]\n"
    return note + raw[-(limit - len(note)) :].decode("utf-8", "ignore")
