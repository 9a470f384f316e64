"""Runs plain handlers in threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from jobqueue.traces import Traces

from .lease import Lease
from .runner import Finish, run_plain

#: Something to do. What it returns is called once its thread counts as idle: what comes of that needs no other one.
Work = Callable[[], Callable[[], None] | None]


class Threads:
    """A pool of daemon threads that grows to what runs at once.

    Not `concurrent.futures.ThreadPoolExecutor`: the interpreter waits for its threads when it exits, so that a handler
    that ignores its cancelling would keep a drained worker from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0

    def submit(self, work: Work) -> None:
        """Runs the work in a thread; neither it nor what it returns raises anything."""
        with self._lock:
            self._busy += 1
            grow = self._busy > self._threads
            if grow:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
        self._work.put(work)
        if grow:
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def close(self) -> None:
        """Ends the threads as they become idle."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            after = work()
            with self._lock:
                self._busy -= 1
            if after is not None:
                after()
            del work, after  # a thread that waits should not keep the last job's payload alive


class ThreadRunner:
    """Runs plain handlers, each job in a thread of its own while it runs."""

    def __init__(self, finish: Finish, traces: Traces | None = None) -> None:
        self._finish = finish
        self._traces = traces
        self._threads = Threads("jobqueue-handler")

    def start(self, leases: list[Lease]) -> None:
        """Starts at once: the worker never holds more leases than it has slots."""
        for lease in leases:
            self._threads.submit(lambda lease=lease: self._run(lease))  # type: ignore[misc]

    def stop(self, lease: Lease, within: float) -> None:
        """A thread can't be stopped from outside: the flag is all."""

    def close(self) -> None:
        """Ends the idle threads."""
        self._threads.close()

    def _run(self, lease: Lease) -> Callable[[], None]:
        outcome = run_plain(lease.handler.function, lease.context, self._traces)
        return lambda: self._finish(lease, outcome)
