"""The session's thread. It has all communication with the server, apart from the loop that runs handlers.

There are two loops, because a handler may block its loop: a CPU-bound coroutine, a blocking call, or many threads that
want the interpreter. A thread that runs no other code sends heartbeats and receipts. A thread that waits for the
interpreter gets it within a few milliseconds, but a coroutine on a blocked loop never runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from jobqueue.observer import Observing
from jobqueue.traces import Traces
from jobqueue.v1 import lease_pb2 as pb

from .clock import Clock, new_loop
from .handlers import Handlers, RunIn
from .lease import Lease
from .link import Link
from .logs import log
from .loop_runner import LoopRunner
from .options import WorkerOptions
from .process_runner import ProcessRunner
from .runner import Runner
from .session import Session
from .status import StatusBook
from .thread_runner import ThreadRunner

# How often the session's loop shows that it runs, where health is asked for. Health looks back 30 s at least.
_TICK = 1.0
# So long further ends gather after one that was taken at once. Each wake-up lets go of the interpreter, and then this
# thread and that of the handlers wait for each other: short handlers woke it for each job.
_TOGETHER = 0.002


class Engine:
    """Runs a worker's session in a thread of its own.

    Args:
        options: The worker's settings.
        handlers: What runs each kind.
        observing: Tells the observer of starts and ends. None: there is none.
        user_loop: Where async handlers run.
        on_end: Called on the session's thread when it is over, with the error if it failed.
        book: Where the worker's status is written.
        traces: Makes spans of handlers; None: there are none.
        paused: Whether the worker takes no jobs until it is resumed.
        ticking: Whether `StatusBook.ticked` is kept, which health looks at.
    """

    def __init__(
        self,
        options: WorkerOptions,
        handlers: Handlers,
        observing: Observing | None,
        user_loop: asyncio.AbstractEventLoop,
        on_end: Callable[[BaseException | None], None],
        book: StatusBook,
        traces: Traces | None = None,
        *,
        paused: bool = False,
        ticking: bool = False,
    ) -> None:
        self._options = options
        self._handlers = handlers
        self._observing = observing
        self._user_loop = user_loop
        self._on_end = on_end
        self._book = book
        self._traces = traces
        self._paused = paused
        self._ticking = ticking
        self._loop = new_loop()
        self._ended: deque[Lease] = deque()
        self._collecting = False
        self._leaving: asyncio.Task[None] | None = None
        self._early_stop: tuple[float, str] | None = None
        self._link: Link | None = None
        self._session: Session | None = None

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._thread, name="jobqueue-session", daemon=True).start()

    def stop(self, grace: float, reason: str) -> None:
        """Drains, from any thread. A second call shortens the grace to its own."""
        self._call(self._stop, grace, reason)

    def pause(self, paused: bool) -> None:
        """Takes no more jobs for a while, from any thread."""
        self._call(self._pause, paused)

    def finish(self, lease: Lease, outcome: pb.Outcome | None) -> None:
        """Takes the outcome of a lease, from any thread; one wake-up of the session's loop for all that gathers."""
        lease.result = outcome
        self._ended.append(lease)
        if not self._collecting:
            self._collecting = True
            self._call(self._collect)

    def _collect(self) -> None:
        ended = self._gathered()
        if ended:
            self._loop.call_later(_TOGETHER, self._collect)
        else:
            # First the flag: what is appended after the last look wakes the loop again.
            self._collecting = False
            ended = self._gathered()
        if ended:
            assert self._session is not None
            self._session.ended(ended)

    def _gathered(self) -> list[Lease]:
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def _thread(self) -> None:
        error: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except BaseException as raised:
            error = raised
        self._book.ended(error)
        self._on_end(error)

    async def _main(self) -> None:
        runners: dict[RunIn, Runner] = {
            "loop": LoopRunner(self._user_loop, self.finish, self._traces),
            "thread": ThreadRunner(self.finish, self._traces),
            "process": ProcessRunner(self._loop, self.finish, self._traces),
        }
        self._session = Session(self._options, self._handlers, runners, self._observing, self._book)
        self._session.pause(self._paused)
        self._link = Link(self._options, self._session, self._book)
        tick = self._loop.create_task(self._tick()) if self._ticking else None
        if self._early_stop is not None:
            self._stop(*self._early_stop)
        try:
            await self._link.run()
        finally:
            for runner in runners.values():
                runner.close()
            if self._leaving is not None:
                await asyncio.wait([self._leaving])
            if tick is not None:
                tick.cancel()

    async def _tick(self) -> None:
        """Says that the loop runs."""
        while True:
            self._book.ticked = Clock.monotonic()
            await asyncio.sleep(_TICK)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._session is not None:
            self._session.pause(paused)

    def _stop(self, grace: float, reason: str) -> None:
        if self._link is None:
            self._early_stop = (grace, reason)
            return
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = self._loop.create_task(self._link.leave(grace, reason))

    def _call(self, method: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(method, *arguments)
        except RuntimeError:
            log.debug("the session is over already")
