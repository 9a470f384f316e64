"""The spawned process that runs plain handlers of CPU-bound kinds, one job at a time."""

from __future__ import annotations

import importlib
import os
import queue
import signal
import threading
from contextvars import copy_context
from functools import reduce
from multiprocessing.connection import Connection
from typing import Any

from jobqueue.jobs import LeasedJob
from jobqueue.traces import traces_of_environment
from jobqueue.v1 import lease_pb2 as pb

from .context import JobContext, Stop
from .ending import failed
from .handlers import NamedMiddleware
from .runner import run_plain

# What goes over the pipe, as tuples:
#   parent to child   ("run", module, name, kind's name there or "", LeasedJob as bytes, traceparent, middleware,
#                      whether what comes of it is encoded, whether its payload was decoded)
#                     ("stop", Stop's value, reason)
#   child to parent   ("progress", fraction, message, checkpoint)
#                     ("done", Outcome as bytes, None for no output, which follow-ups are encoded)


def main(pipe: Connection) -> None:
    """Runs jobs until the parent closes the pipe or dies."""
    # Ctrl-C goes to all processes of the terminal; what it means is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = _Child(pipe)
    threading.Thread(target=child.listen, name="jobqueue-pipe", daemon=True).start()
    child.run()


#: What runs: its module, its name there, its kind's name there, and the middleware around it.
_Wanted = tuple[str, str, str, tuple[NamedMiddleware, ...]]


class _Child:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[_Wanted, JobContext]] = queue.SimpleQueue()
        self._current: JobContext | None = None

    def listen(self) -> None:
        """Takes the parent's messages; ends the process when the parent is gone, also in the middle of a job."""
        try:
            while True:
                message = self._pipe.recv()
                if message[0] == "run":
                    _, module, name, kind, raw, traceparent, middleware, encodes, opened = message
                    context = JobContext(_job(raw, opened), self._progress)
                    if encodes:
                        context.rules = {}
                    context.traceparent = traceparent
                    self._current = context
                    self._jobs.put(((module, name, kind, middleware), context))
                elif self._current is not None:
                    self._current.cancel_reason = message[2]
                    self._current.stop_reason = Stop(message[1])
        except (EOFError, OSError):
            os._exit(0)

    def run(self) -> None:
        """Runs one job after the other on the process's main thread, as libraries with signals want it."""
        while True:
            wanted, context = self._jobs.get()
            # In a context of its own: a job that is not sampled must not find the span of the one before it.
            outcome = copy_context().run(_run, wanted, context)
            rules = getattr(context, "rules", {})
            self._send("done", outcome.SerializeToString() if outcome is not None else None, rules)

    def _progress(
        self, _: JobContext, fraction: float | None, message: str, checkpoint: bytes | None
    ) -> None:
        self._send("progress", fraction, message, checkpoint)

    def _send(self, *message: Any) -> None:
        with self._sending:
            self._pipe.send(message)


def _job(raw: bytes, opened: bool) -> LeasedJob:
    message = pb.LeasedJob.FromString(raw)
    if not opened:
        return LeasedJob(message)
    from .coding import OpenedJob

    return OpenedJob(message)


def _run(wanted: _Wanted, context: JobContext) -> pb.Outcome | None:
    module, name, kind, middleware = wanted
    if context.traceparent and (traces := traces_of_environment()) is not None:
        traces.enter(context.traceparent)
    try:
        home = importlib.import_module(module)
        function: Any = reduce(getattr, name.split("."), home)
        if kind:
            from jobqueue.typed.handler import taking_a_context

            function = taking_a_context(getattr(home, kind), function, is_async=False)
        if middleware:
            from .around import imported

            function = imported(function, middleware)
    except (ImportError, AttributeError) as error:
        return failed(
            type(error).__qualname__,
            f"the handler {module}.{name} can't be imported in a process of its own ({error}): "
            "define it with `def` at the top of a module",
        )
    return run_plain(function, context)
