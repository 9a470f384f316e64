"""What runs handlers: the shape that the three styles share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from jobqueue.traces import Traces
from jobqueue.v1 import lease_pb2 as pb

from .context import JobContext
from .ending import of_exception, of_result
from .handlers import HandlerFunction
from .lease import Lease
from .logs import current_job

#: Takes a lease and its outcome, None for a success without output; from any thread.
Finish = Callable[[Lease, pb.Outcome | None], None]


class Runner(Protocol):
    """Runs handlers of one style. Its methods are called on the session's thread and never block."""

    def start(self, leases: list[Lease]) -> None:
        """Runs the handlers of these leases; `Finish` is called once for each."""

    def stop(self, lease: Lease, within: float) -> None:
        """Tells a handler that it should stop.

        The flag in its context is set already. A style that can stop a handler by force does so `within` so many
        seconds.
        """

    def close(self) -> None:
        """Lets go of everything; handlers that still run are left alone or killed."""


def run_plain(
    function: HandlerFunction, context: JobContext, traces: Traces | None = None
) -> pb.Outcome | None:
    """Runs a plain handler in this thread, to its outcome. Raises nothing: also `sys.exit()` is a failure of a job."""
    token = current_job.set(context.job)
    span = None if traces is None else traces.begin(context)
    outcome = None
    try:
        outcome = of_result(function(context), context.follow_ups)
    except BaseException as error:
        outcome = of_exception(error, context.stop_reason)
    finally:
        current_job.reset(token)
        if span is not None:
            span.ended(outcome)
    return outcome
