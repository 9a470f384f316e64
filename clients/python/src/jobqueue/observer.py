"""The observer of a worker or a client, for metrics and reports, and the thread that calls it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .worker.status import WorkerStatus

_log = logging.getLogger("jobqueue.observer")

#: How many calls wait for a slow observer. More are left out.
MOST_WAITING = 10_000
# How long the last calls are waited for at the end.
_LAST_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an observer is told of an attempt. It has no payload.

    Attributes:
        id: The job's id.
        kind: Its kind.
        queue: Its queue.
        attempt: The number of the attempt, from 1.
        failures: How many attempts have failed before.
        labels: The job's labels.
        request_id: The request id that the job was enqueued with. Empty: none.
    """

    id: str
    kind: str
    queue: str
    attempt: int
    failures: int
    labels: Mapping[str, str]
    request_id: str


class Observer:
    """Is told what a worker or a client does. Inherit and override.

    A thread of its own makes the calls, one after the other, so a slow observer delays neither jobs nor heartbeats.
    Up to 10,000 calls wait for it; more are left out and counted in `WorkerStatus.observer_dropped`. What a method
    raises is logged once.

    Outcomes are `succeeded`, `retrying` (it will run again: after a failure that the job may have, a snooze or a
    release), `failed_permanent`, `cancelled` and `error` (no outcome was taken: the lease was revoked or stale, or the
    job is gone).
    """

    def attempt_started(self, attempt: Attempt) -> None:
        """An attempt starts."""

    def attempt_ended(self, attempt: Attempt, outcome: str, seconds: float, error: str) -> None:
        """The server has answered the outcome of an attempt, whose handler ran for so many seconds.

        Args:
            attempt: The attempt.
            outcome: What became of it.
            seconds: How long its handler ran.
            error: What the handler raised, such as `ValueError: no such file`, or why no outcome was taken. Empty:
                nothing.
        """

    def enqueued(self, count: int, kind: str, queue: str, seconds: float, error: str) -> None:
        """A call of `enqueue`, or a batch of `enqueue_many`, has ended.

        Args:
            count: How many jobs it was for.
            kind: Their kind. Empty: they have several.
            queue: Their queue. Empty: they have several.
            seconds: How long it took, with all its tries.
            error: Why it failed, such as `KIND_UNKNOWN: ...`. Empty: it did not.
        """

    def session_changed(self, status: WorkerStatus) -> None:
        """The worker's state, session or server has changed, or the kinds that the server does not know."""


class Observing:
    """Calls an observer from a thread, which begins with the first call.

    Args:
        observer: The observer.

    Attributes:
        observer: The same.
        dropped: How many calls were left out.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.dropped = 0
        self._calls: queue.SimpleQueue[tuple[Callable[..., None], tuple[object, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failed = False

    def tell(self, method: Callable[..., None], *arguments: object) -> None:
        """Has a method of the observer called soon, or counts it where too many wait. Never waits; for any thread."""
        if self._calls.qsize() >= MOST_WAITING:
            with self._lock:
                self.dropped += 1
            return
        self._calls.put((method, arguments))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="jobqueue-observer", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Waits up to 5 s until all calls are made, and lets the thread end. A later call begins another."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            thread.join(_LAST_WITHIN)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            method, arguments = call
            try:
                method(*arguments)
            except Exception:
                if not self._failed:
                    self._failed = True
                    _log.exception("the observer failed in %s; further failures are not logged", method)
