"""Runs plain handlers in spawned processes, so that CPU-bound work uses all cores and can be killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

from jobqueue.traces import Traces
from jobqueue.v1 import lease_pb2 as pb

from . import child
from .context import Stop
from .ending import cancelled, failed, of_exception, released
from .lease import Lease
from .logs import JobLog
from .runner import Finish
from .thread_runner import Threads

if TYPE_CHECKING:
    from jobqueue.jobs import EncodingRule

    from .coding import Begun

# Forking a process in which gRPC has threads deadlocks the child sooner or later.
_SPAWN = multiprocessing.get_context("spawn")
_KILL_AFTER = 5.0


class _Child:
    """A process and the parent's end of its pipe."""

    def __init__(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self.process: SpawnProcess = _SPAWN.Process(
            target=child.main, args=(theirs,), name="jobqueue-handler", daemon=True
        )
        self._sending = threading.Lock()
        try:
            self.process.start()
        finally:
            # Or the parent would hold the pipe open, and never see the end of its child.
            theirs.close()

    def send(self, *message: Any) -> None:
        """Tells the process something. A dead one is noticed by `receive`."""
        with self._sending:
            try:
                self._pipe.send(message)
            except OSError:
                pass

    def receive(self) -> tuple[Any, ...]:
        """The next message. EOFError or OSError: the process is dead."""
        message: tuple[Any, ...] = self._pipe.recv()
        return message

    def end(self) -> int | None:
        """Ends the process, by force after a while, and answers its exit code."""
        self._pipe.close()
        self.process.join(_KILL_AFTER)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return self.process.exitcode


class ProcessRunner:
    """Runs each job in a process of its own while it runs; processes are kept for the next job.

    Not `concurrent.futures.ProcessPoolExecutor`: there the death of one process breaks the jobs of all.

    Args:
        loop: The session's loop, for the timers that end what does not stop.
        finish: Takes the outcomes.
        traces: Makes spans of handlers; None: there are none. They are made here and not in the process, so that one
            that dies has its span.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, finish: Finish, traces: Traces | None = None) -> None:
        self._loop = loop
        self._finish = finish
        self._traces = traces
        self._threads = Threads("jobqueue-process")
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: dict[Lease, _Child] = {}
        self._closed = False

    def start(self, leases: list[Lease]) -> None:
        """Each job gets a thread that speaks with its process."""
        for lease in leases:
            self._threads.submit(lambda lease=lease: self._run(lease))  # type: ignore[misc]

    def stop(self, lease: Lease, within: float) -> None:
        """Tells the process, and terminates it if it goes on."""
        running = self._busy.get(lease)
        if running is not None:
            # By a thread: a full pipe blocks, and this one may not.
            self._threads.submit(lambda: self._tell(lease, running))
        self._loop.call_later(within, self._terminate, lease)

    def close(self) -> None:
        """Ends all processes."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy.values())
        for each in busy:
            each.process.terminate()
        for each in idle:
            self._threads.submit(lambda each=each: _end(each))  # type: ignore[misc]
        self._threads.close()

    def _run(self, lease: Lease) -> None:
        handler = lease.handler
        begun = None
        if handler.coding is not None:
            try:
                begun = handler.coding.begin_now(lease.context)
            except Exception as error:
                self._finish(lease, of_exception(error, lease.context.stop_reason))
                return
        try:
            running = self._take()
        except OSError as error:
            self._finish(lease, failed(type(error).__qualname__, f"no process could be started: {error}"))
            return
        self._busy[lease] = running
        span = None if self._traces is None else self._traces.begin(lease.context)
        message = lease.context.job.message.SerializeToString()
        source = handler.source
        name = (source.__module__, source.__qualname__, handler.kind_name)
        coded = (begun is not None, lease.context.job.opened)
        running.send("run", *name, message, lease.context.traceparent, handler.middleware, *coded)
        if lease.context.stop_reason is not None:  # told between the delivery and now
            self._tell(lease, running)
        try:
            broken: BaseException | None = None
            while (answer := running.receive())[0] == "progress":
                try:
                    lease.context.report(*answer[1:])
                except Exception as error:  # an encoding's, of a checkpoint
                    broken = error
            outcome = pb.Outcome.FromString(answer[1]) if answer[1] is not None else None
            if begun is not None:
                outcome = _encoded(begun, outcome, answer[2], broken)
        except (EOFError, OSError):
            del self._busy[lease]
            outcome = _outcome_of_death(lease, running.end())
        else:
            del self._busy[lease]
            self._give_back(running)
        if span is not None:
            span.ended(outcome)
        self._finish(lease, outcome)

    def _tell(self, lease: Lease, running: _Child) -> None:
        reason = lease.context.stop_reason
        if reason is not None and self._busy.get(lease) is running:
            running.send("stop", reason.value, lease.context.cancel_reason)

    def _terminate(self, lease: Lease) -> None:
        running = self._busy.get(lease)
        if running is not None:
            JobLog(lease.context.job).warning("the handler did not stop in time; its process is terminated")
            running.process.terminate()
            self._loop.call_later(_KILL_AFTER, self._kill, lease, running)

    def _kill(self, lease: Lease, running: _Child) -> None:
        if self._busy.get(lease) is running:
            running.process.kill()

    def _take(self) -> _Child:
        with self._lock:
            while self._idle:
                found = self._idle.pop()
                if found.process.is_alive():
                    return found
        return _Child()

    def _give_back(self, running: _Child) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(running)
                return
        running.end()


def _end(running: _Child) -> None:
    running.end()


def _encoded(
    begun: Begun, outcome: pb.Outcome | None, rules: dict[int, EncodingRule], broken: BaseException | None
) -> pb.Outcome | None:
    """What a process answered, encoded; a failure, where that or a checkpoint could not be."""
    try:
        if broken is not None:
            raise broken
        if outcome is not None:
            begun.outcome(outcome, rules)
    except Exception as error:
        return of_exception(error, None)
    return outcome


def _outcome_of_death(lease: Lease, exit_code: int | None) -> pb.Outcome:
    """What the end of a process means: what it was told to do, or a failure of this attempt and of no other."""
    if lease.context.stop_reason is Stop.CANCEL:
        return cancelled()
    if lease.context.stop_reason in (Stop.SHUTDOWN, Stop.LOST):
        return released()
    how = (
        f"by signal {-exit_code}"
        if exit_code is not None and exit_code < 0
        else f"with exit code {exit_code}"
    )
    return failed("ProcessDied", f"the handler's process ended {how} in the middle of the job")
