"""The Worker: what user code makes, gives handlers, and runs."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import grpc

from jobqueue.channel import Access, Token

from .engine import Engine
from .handlers import HandlerFunction, Handlers, OnCancel, RunIn
from .logs import log
from .observer import Observer
from .options import WorkerOptions, default_name

F = TypeVar("F", bound=HandlerFunction)


class Worker:
    """Runs jobs: holds one stream to a server, is handed jobs over it, and runs a handler for each.

    Making one connects to nothing::

        worker = Worker("127.0.0.1:50051", queues=["default"])

        @worker.handler("hello")
        async def hello(ctx):
            return {"greeting": f"Hello {ctx.job.payload['name']}"}

        if __name__ == "__main__":
            worker.run()

    Args:
        target: The server's address, or several: a worker that loses one goes on with the next.
        queues: Which queues to take jobs from. They take turns.
        concurrency: How many jobs run at once, 1..10,000.
        name: For people; shown as `Job.locked_by`. Default: host and process id.
        labels: The worker's own marks, for people.
        session_ttl: How long the worker may be silent before its jobs are given to others, 5 s to 1 h. Default: the
            server's, 30 s.
        shutdown_grace: How long a drain lets handlers run on before it stops them and gives their jobs back.
        stop_when_lost: Whether a worker that has heard no server for its session's ttl, by its own monotonic clock,
            stops its handlers (`Stop.LOST`): their jobs may run elsewhere by now. What they answer is sent all the same
            if the session can be resumed; one that stopped for it gives its job back. By default they run on.
        handlers: Handlers by kind, beside those of `handler`.
        credentials: TLS, as of `tls_credentials` or `grpc.ssl_channel_credentials`. None: plain text.
        token: Sent as `authorization: Bearer <token>`; a function is asked anew at every connect.
        observer: Is told of starts and ends, for metrics.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        queues: Sequence[str] = ("default",),
        concurrency: int = 8,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        session_ttl: timedelta | None = None,
        shutdown_grace: timedelta = timedelta(seconds=30),
        stop_when_lost: bool = False,
        handlers: Mapping[str, HandlerFunction] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: Token | None = None,
        observer: Observer | None = None,
    ) -> None:
        if isinstance(queues, str):
            raise TypeError(f"queues is {queues!r}; it must be a list, for example [{queues!r}]")
        self._options = WorkerOptions(
            targets=(target,) if isinstance(target, str) else tuple(target),
            access=Access(credentials, token),
            queues=tuple(queues),
            concurrency=concurrency,
            name=name if name is not None else default_name(),
            labels=dict(labels or {}),
            session_ttl=session_ttl,
            shutdown_grace=shutdown_grace,
            stop_when_lost=stop_when_lost,
        )
        self._observer = observer or Observer()
        self._handlers = Handlers()
        for kind, function in (handlers or {}).items():
            self._handlers.add(kind, function)
        self._engine: Engine | None = None
        self._stop_asked = False

    def handler(
        self,
        kind: str,
        *,
        run_in: RunIn | None = None,
        slots: int | None = None,
        cancel: OnCancel | None = None,
    ) -> Callable[[F], F]:
        """Makes the decorated function the handler of a kind. It is returned as it is.

        It takes a `JobContext`. What it returns, if not None, is the job's output. What it raises is a failure, but for
        `Retry`, `Discard`, `Snooze` and `Cancelled`.

        Args:
            kind: The kind.
            run_in: Default: `loop` for async functions, `thread` for plain ones. `process` is for plain CPU-bound ones:
                a spawned process of its own for each job that runs, which can be killed. It imports the function by
                name, and so needs `if __name__ == "__main__":` around `run()`.
            slots: How many jobs of this kind run at once, within the worker's concurrency. Default: no bound.
            cancel: For async functions. `raise`, the default: CancelledError is raised in the handler when its job
                is to stop. `flag`: nothing is raised until the worker's end; the handler looks at `ctx.cancelled`.

        Raises:
            ValueError: The kind has a handler already, or an option is out of its range.
            TypeError: The function can't run where it is to run.
        """

        def add(function: F) -> F:
            self._handlers.add(kind, function, run_in=run_in, slots=slots, cancel=cancel)
            return function

        return add

    @property
    def handlers(self) -> Handlers:
        """The handlers that it has, with what was said of each: for programs that host those of others."""
        return self._handlers

    def run(self) -> None:
        """Serves until a signal or `stop`; blocks.

        SIGTERM and SIGINT (Ctrl-C) drain: no new jobs, running ones finish within the grace, others go back uncharged.
        A second one ends the process at once. Signals are only handled if this is the main thread.

        Raises:
            JobQueueError: The server refused the worker for what no other try will mend, such as a queue's name.
            RuntimeError: There is no handler, or a spawned process of this worker tries to be one.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(
                "a process that was spawned for a handler imports this module and would run the worker again: "
                'put `if __name__ == "__main__":` around worker.run()'
            )
        with self._signals():
            asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serves until `stop`, on the running loop: async handlers run on it. For programs with a loop of their own.

        Cancelling it stops the handlers and gives their jobs back, without a grace.

        Raises:
            JobQueueError: As `run`.
            RuntimeError: There is no handler, or it serves already.
        """
        if not len(self._handlers):
            raise RuntimeError('the worker has no handlers: add one with @worker.handler("kind")')
        if self._engine is not None:
            raise RuntimeError("the worker serves already")
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def on_end(error: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(_settle, ended, error)
            except RuntimeError:
                pass  # the loop is closed: nobody waits

        self._engine = Engine(self._options, self._handlers, self._observer, loop, on_end)
        self._engine.start()
        if self._stop_asked:
            self.stop()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._engine.stop(0, "cancelled")
            await ended
            raise
        finally:
            self._engine = None
            self._stop_asked = False

    def stop(self, *, grace: timedelta | None = None, reason: str = "stopped") -> None:
        """Drains; `run` or `serve` then returns. From any thread, also from a handler. Returns at once.

        Args:
            grace: How long handlers may run on. Default: the worker's. A second call with a shorter one shortens it.
            reason: Why, for the server's log.
        """
        self._stop_asked = True
        engine = self._engine
        if engine is not None:
            seconds = (self._options.shutdown_grace if grace is None else grace).total_seconds()
            engine.stop(seconds, reason)

    def pause(self) -> None:
        """Takes no more jobs until `resume`; running ones run on. From any thread."""
        self._pause(True)

    def resume(self) -> None:
        """Takes jobs again. From any thread."""
        self._pause(False)

    def _pause(self, paused: bool) -> None:
        if self._engine is None:
            raise RuntimeError("the worker does not serve")
        self._engine.pause(paused)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Drains on the first signal, and lets the second do what it would have done without us.

        By `signal.signal` and not by the loop: a handler that blocks the loop would block the signal as well.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}

        def on_signal(number: int, _frame: FrameType | None) -> None:
            name = signal.Signals(number).name
            if self._stop_asked:
                log.warning("%s again: ending at once", name)
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
                return
            grace = self._options.shutdown_grace.total_seconds()
            log.info("%s: draining, for at most %g s; again to end at once", name, grace)
            self.stop(reason=name)

        number: int
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
