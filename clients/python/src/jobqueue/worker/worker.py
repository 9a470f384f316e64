"""The Worker, which user code makes, gives handlers and runs."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack, cast, overload

import grpc

from jobqueue.channel import Access, Token
from jobqueue.environment import from_environment, worker_settings
from jobqueue.observer import Observer, Observing
from jobqueue.traces import Traces, traces_of_worker

from .engine import Engine
from .handlers import HandlerFunction, Handlers, OnCancel, RunIn
from .logs import log
from .options import WorkerOptions, default_name
from .status import StatusBook, WorkerStatus

if TYPE_CHECKING:
    from jobqueue.encodings import Encodings
    from jobqueue.middleware import Middleware
    from jobqueue.typed.handler import AddsTyped
    from jobqueue.typed.kind import JobKind

    from .declaring import Declaring
    from .health import HealthServer

F = TypeVar("F", bound=HandlerFunction)
#: Answers what is entered before the worker connects.
Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
P = TypeVar("P")
R = TypeVar("R")


class WorkerKeywords(TypedDict, total=False):
    """The settings of a worker beside its server; `Worker` describes them."""

    queues: Sequence[str]
    concurrency: int
    name: str | None
    labels: Mapping[str, str] | None
    session_ttl: timedelta | None
    shutdown_grace: timedelta
    stop_when_lost: bool
    handlers: Mapping[str, HandlerFunction] | None
    paused: bool
    sync_kinds: bool
    health: str | None
    observer: Observer | None
    traces: Traces | None
    middleware: Sequence[Middleware]
    encodings: Encodings | None
    lifespan: Lifespan | None


class Worker:
    """Runs jobs: it holds one stream to a server, gets jobs over it, and runs a handler for each.

    Making a Worker does not connect to a server::

        worker = Worker("127.0.0.1:50051", queues=["default"])

        @worker.handler("hello")
        async def hello(ctx):
            return {"greeting": f"Hello {ctx.job.payload['name']}"}

        if __name__ == "__main__":
            worker.run()

    Args:
        target: The server's address, or several: a worker that loses one server connects to the next.
        queues: The queues to take jobs from. They take turns.
        concurrency: How many jobs run at the same time, 1..10,000.
        name: The worker's name for people, shown as `Job.locked_by`. Default: host and process id.
        labels: The worker's own labels, for people.
        session_ttl: How long the worker may be silent before its jobs go to other workers, 5 s to 1 h. Default: the
            server's, 30 s.
        shutdown_grace: How long a drain lets handlers continue, before it stops them and gives their jobs back.
        stop_when_lost: Whether the worker stops its handlers (`Stop.LOST`) when it has heard no server for its
            session's ttl, by its own monotonic clock: their jobs may already run elsewhere. Their results are still
            sent if the session can be resumed; a handler that stopped gives its job back. By default handlers continue.
        handlers: Handlers by kind, in addition to those of `handler`.
        credentials: TLS, as of `tls_credentials` or `grpc.ssl_channel_credentials`. None: plain text.
        token: Sent as `authorization: Bearer <token>`. A function is called at every connect.
        paused: Whether the worker takes no jobs until `resume`.
        sync_kinds: Whether the worker tells the server what its typed kinds are, as `Client.sync_kinds` does, before it
            takes jobs. Its key then needs OPERATE on them in all queues. It waits for a server as it does for its
            session.
        health: Where `/livez` and `/readyz` are served, as `host:port`, by a thread of its own. None: nowhere.
        observer: Is told of attempts and of the session, by a thread of its own.
        traces: Makes spans of handlers, `jobqueue.otel.OpenTelemetry`. None: as OpenTelemetry's variables say.
        middleware: What goes around handlers and their follow-ups, the outermost first.
        encodings: What payloads and checkpoints come through before a handler and all middleware, and outputs,
            checkpoints and follow-ups go through after them. A job whose key is not here waits for it, for about half
            an hour, and then fails with `KeyUnknown`. None: nothing is encoded or decoded.
        lifespan: Makes what handlers share, such as a pool of connections: an async context manager, which is entered
            before the worker connects, and left once its last handler has ended. What it answers is `ctx.state` of
            handlers on the loop and in threads. What it raises ends `run`.

    Raises:
        InvalidRequest: An address has no port, or begins with http://.
        ValueError: A setting is out of its range.
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
        paused: bool = False,
        sync_kinds: bool = False,
        health: str | None = None,
        observer: Observer | None = None,
        traces: Traces | None = None,
        middleware: Sequence[Middleware] = (),
        encodings: Encodings | None = None,
        lifespan: Lifespan | None = None,
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
            health=health,
        )
        self._observer = observer
        self._traces = traces
        self._handlers = Handlers(queues, middleware, encodings)
        for kind, function in (handlers or {}).items():
            self._handlers.add(kind, function)
        self._engine: Engine | None = None
        self._stop_asked = False
        self._paused = paused
        self._sync_kinds = sync_kinds
        self._declaring: Declaring | None = None
        self._book: StatusBook | None = None
        self._lifespan = lifespan
        self._serving = False

    @classmethod
    def from_env(cls, **settings: Unpack[WorkerKeywords]) -> Self:
        """A worker for the server that the environment names, with these settings beside.

        It reads the variables of the command: JOBQUEUE_SERVER (127.0.0.1:50051 if it is not set), JOBQUEUE_TOKEN,
        JOBQUEUE_TLS_ROOTS, JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY. Of the worker service it reads
        JOBQUEUE_QUEUES, with commas between them, WORKER_CONCURRENCY and JOBQUEUE_WORKER_NAME. What is given wins.

        Raises:
            ValueError: As Worker; or a file can't be read, a certificate or key is given without what it needs, or a
                number is none.
        """
        found = from_environment()
        said = cast(WorkerKeywords, {**worker_settings(settings), **settings})
        return cls(found.server, credentials=found.credentials, token=found.token, **said)

    @overload
    def handler(
        self,
        kind: str,
        *,
        run_in: RunIn | None = None,
        slots: int | None = None,
        cancel: OnCancel | None = None,
    ) -> Callable[[F], F]: ...
    @overload
    def handler(
        self,
        kind: JobKind[P, R],
        *,
        run_in: RunIn | None = None,
        slots: int | None = None,
        cancel: OnCancel | None = None,
    ) -> AddsTyped[P, R]: ...
    def handler(
        self,
        kind: str | JobKind[Any, Any],
        *,
        run_in: RunIn | None = None,
        slots: int | None = None,
        cancel: OnCancel | None = None,
    ) -> Callable[[Any], Any]:
        """Makes the decorated function the handler of a kind, and returns it unchanged.

        The function gets a `JobContext`. A result that is not None is the job's output. An exception is a failure,
        except `Retry`, `Discard`, `Snooze` and `Cancelled`.

        The function of a typed kind gets the payload and a `JobContext`, and answers the kind's output. A payload that
        is not of its type ends the job as FAILED_PERMANENT, with `PayloadUnreadable`; it is kept as it is. One that is
        of a later version than the kind waits for a newer worker, for about half an hour.

        Args:
            kind: The kind: its name, or what `define_kind` made, whose aliases it gets as well.
            run_in: Where it runs. Default: `loop` for async functions, `thread` for plain ones. `process` is for plain
                CPU-bound functions: each running job has a spawned process, which can be killed. It imports the
                function by name, so the program needs `if __name__ == "__main__":` around `run()`.
            slots: How many jobs of this kind run at the same time, within the concurrency. Default: no limit.
            cancel: For async functions. `raise`, the default, raises CancelledError in the handler when its job must
                stop. `flag` raises nothing until the worker's end: the handler checks `ctx.cancelled`.

        Raises:
            ValueError: The kind has a handler already, or an option is out of its range.
            TypeError: The function takes other parameters, can't run in the way that `run_in` says, or a middleware
                can't go around it; or the kind is none, as in `@worker.handler` without parentheses.
        """
        if not isinstance(kind, str) and not hasattr(kind, "aliases"):
            raise TypeError(
                f'the kind is {kind!r}; write @worker.handler("kind"), or with what define_kind made'
            )

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._handlers.add(kind, function, run_in=run_in, slots=slots, cancel=cancel)
            return function

        return add

    @property
    def handlers(self) -> Handlers:
        """The worker's handlers with their options, for programs that host the handlers of others."""
        return self._handlers

    @property
    def queues(self) -> Sequence[str]:
        """The queues that it takes jobs from."""
        return self._options.queues

    @property
    def concurrency(self) -> int:
        """How many jobs run at the same time."""
        return self._options.concurrency

    def run(self) -> None:
        """Serves until a signal or `stop`; blocks.

        SIGTERM and SIGINT (Ctrl-C) drain: the worker takes no new jobs, handlers may finish within the grace, and the
        remaining jobs go back uncharged. A second signal ends the process at once. Signals are handled only in the main
        thread.

        Raises:
            JobQueueError: The server refused the worker for a reason that another try can't change, such as a malformed
                name of a queue.
            OSError: Nothing can listen at the address of `health`.
            RuntimeError: There is no handler, or a spawned process of this worker runs the worker again.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(
                "a process that was spawned for a handler imports this module and would run the worker again: "
                'put `if __name__ == "__main__":` around worker.run()'
            )
        with self._signals():
            asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serves until `stop`. Async handlers run on the running loop. For programs with their own loop.

        If it is cancelled, it stops the handlers and gives their jobs back, without a grace.

        Raises:
            JobQueueError: As `run`.
            OSError: As `run`.
            RuntimeError: There is no handler, or the worker serves already.
        """
        if not len(self._handlers):
            raise RuntimeError('the worker has no handlers: add one with @worker.handler("kind")')
        if self._serving:
            raise RuntimeError("the worker serves already")
        self._serving = True
        try:
            async with nullcontext() if self._lifespan is None else self._lifespan() as self._handlers.state:
                await self._serve()
        finally:
            self._serving = self._stop_asked = False
            self._handlers.state = None

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def on_end(error: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(_settle, ended, error)
            except RuntimeError:
                pass  # the loop is closed, so nothing waits

        observing = None if self._observer is None else Observing(self._observer)
        book = self._new_book(observing)
        traces = traces_of_worker(self._traces)
        health = self._serve_health(book)
        self._book = book
        try:
            if self._sync_kinds and not await self._declare(book):
                book.ended(None)
                return
            engine = self._engine = Engine(
                self._options,
                self._handlers,
                observing,
                loop,
                on_end,
                book,
                traces,
                paused=self._paused,
                ticking=health is not None,
            )
            engine.start()
            if self._stop_asked:
                self.stop()
            await _ended(engine, ended)
        finally:
            self._engine = self._declaring = None
            if health is not None:
                await asyncio.to_thread(health.close)
            if observing is not None:
                await asyncio.to_thread(observing.close)
            if traces is not None:
                await asyncio.to_thread(traces.flush)

    def stop(self, *, grace: timedelta | None = None, reason: str = "stopped") -> None:
        """Starts a drain and returns at once; `run` or `serve` returns after it. For any thread, also for a handler.

        Args:
            grace: How long handlers may continue. Default: the worker's. A second call can shorten it.
            reason: Why, for the server's log.
        """
        self._stop_asked = True
        if (declaring := self._declaring) is not None:
            declaring.stop()
        engine = self._engine
        if engine is not None:
            seconds = (self._options.shutdown_grace if grace is None else grace).total_seconds()
            engine.stop(seconds, reason)

    def pause(self) -> None:
        """Takes no more jobs until `resume`. Running jobs continue. For any thread, also before `run`."""
        self._pause(True)

    def resume(self) -> None:
        """Takes jobs again. For any thread."""
        self._pause(False)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        engine = self._engine
        if engine is not None:
            engine.pause(paused)

    def status(self) -> WorkerStatus:
        """What the worker does now, by its own clock. For any thread; asks no server."""
        book = self._book
        return (book or self._new_book()).status()

    async def _declare(self, book: StatusBook) -> bool:
        # Loaded here: a worker that syncs nothing does not wait for the import.
        from .declaring import Declaring

        self._declaring = declaring = Declaring(
            self._options, self._handlers.typed(), book, self._handlers.encodings
        )
        if self._stop_asked:
            declaring.stop()
        try:
            synced = await declaring.run()
        except BaseException as error:
            book.ended(error)
            raise
        self._declaring = None
        return synced and not self._stop_asked

    def _new_book(self, observing: Observing | None = None) -> StatusBook:
        slots = 0 if self._paused else self._options.concurrency
        return StatusBook(self._handlers.kinds(), slots, observing)

    def _serve_health(self, book: StatusBook) -> HealthServer | None:
        if self._options.health is None:
            return None
        # Loaded here: a worker without health does not wait for the import.
        from .health import HealthServer

        return HealthServer(self._options.health, book)

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


async def _ended(engine: Engine, ended: asyncio.Future[None]) -> None:
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        engine.stop(0, "cancelled")
        await ended
        raise


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
