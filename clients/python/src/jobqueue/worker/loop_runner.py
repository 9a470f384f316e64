"""Runs async handlers as tasks on the loop that called `Worker.serve`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from jobqueue.traces import Traces

from .context import Stop
from .ending import of_exception, of_result
from .handlers import Handler
from .lease import Lease
from .logs import current_job, log
from .runner import Finish


class LoopRunner:
    """Runs async handlers, one task a job.

    Args:
        loop: The user's loop, which is not the one that speaks to the server: a handler that blocks it delays other
            async handlers, but no heartbeat.
        finish: Takes the outcomes.
        traces: Makes spans of handlers; None: there are none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, finish: Finish, traces: Traces | None = None) -> None:
        self._loop = loop
        self._finish = finish
        self._traces = traces
        self._starting: deque[Lease] = deque()
        self._waking = False

    def start(self, leases: list[Lease]) -> None:
        """Hands deliveries over, by one wake-up of the loop for all that gathers."""
        self._starting.extend(leases)
        if not self._waking:
            self._waking = True
            self._call(self._start)

    def stop(self, lease: Lease, within: float) -> None:
        """Raises CancelledError in the handler. One that asked for the flag alone is spared until the worker's end."""
        if lease.handler.cancel == "raise" or lease.context.stop_reason is Stop.SHUTDOWN:
            self._call(self._cancel, lease)

    def close(self) -> None:
        """Nothing to let go of: the loop is the user's."""

    def _start(self) -> None:
        # First the flag: what is appended after the last pop wakes the loop again.
        self._waking = False
        create_task = self._loop.create_task
        while self._starting:
            lease = self._starting.popleft()
            lease.task = create_task(self._run(lease, lease.handler))

    async def _run(self, lease: Lease, handler: Handler) -> None:
        lease.entered = True
        context = lease.context
        current_job.set(context.job)  # the task's own context: nothing to put back
        span = None if self._traces is None else self._traces.begin(context)
        try:
            outcome = of_result(await handler.function(context), context.follow_ups)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            outcome = of_exception(error, context.stop_reason)
        if span is not None:
            span.ended(outcome)
        self._finish(lease, outcome)

    def _cancel(self, lease: Lease) -> None:
        task = lease.task
        if task is None:
            return
        if not lease.entered:
            # Cancelled before its first step, a coroutine never runs, and so would never report its end.
            self._loop.call_soon(self._cancel, lease)
        elif not task.done():
            task.cancel()

    def _call(self, method: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(method, *arguments)
        except RuntimeError:
            # The user closed the loop under a running worker: its session ends and the jobs go back.
            log.error("the loop that serves this worker is closed; its jobs go back when the session ends")
