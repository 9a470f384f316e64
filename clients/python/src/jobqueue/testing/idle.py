"""A worker's handlers, run by a real server until it has nothing more for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from ..errors import JobNotFound
from ..insight import ReasonCode
from ..jobs import Job, Status
from ..outcomes import Cancelled, Discard, Retry, Snooze
from ..worker.handlers import Handler, HandlerFunction
from ..worker.worker import Worker
from .performing import StillRunning

if TYPE_CHECKING:
    from .scope import TestScope

Failures = Literal["raise", "keep", "retry"]

_POLL = 0.02
#: A job that waits for one of these starts by itself when a handler ends, or soon.
_SOON = frozenset(
    {
        ReasonCode.IS_RUNNING, ReasonCode.NO_CREDIT, ReasonCode.BEHIND, ReasonCode.ABOUT_TO_START,
        ReasonCode.RUNS_ALONE, ReasonCode.WORKERS_DRAINING, ReasonCode.KEY_TURN, ReasonCode.TERMINAL,
        ReasonCode.NO_WORKER,
    }
)  # fmt: skip
_LATER = frozenset({ReasonCode.NOT_DUE, ReasonCode.BACKOFF})
#: What is due later than this by the clock here is not asked for.
_CLOCKS_DIFFER = timedelta(minutes=1)
# What a handler asks for by raising it is no failure of the test.
_ASKED_FOR = (Retry, Discard, Snooze, Cancelled, asyncio.CancelledError)
_ASKED_FOR_NAMES = frozenset(each.__name__ for each in _ASKED_FOR)


class AttemptFailed(Exception):
    """A handler that ran in a process of its own has failed: its exception stayed there.

    Attributes:
        job: The job, with its failed attempts.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.kind} {job.id}: {job.last_error}")
        self.job = job


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits.

    Attributes:
        job: The job.
        why: The server's words for what it waits for.
    """

    job: Job
    why: str


@dataclass(frozen=True, slots=True)
class Idle:
    """What `run_until_idle` has left.

    Attributes:
        ended: The jobs that ended meanwhile, the oldest first, with payloads, outputs and failed attempts.
        waiting: Those of the scope that wait, the oldest first.
    """

    ended: Sequence[Job]
    waiting: Sequence[Waiting]


class Working:
    """One run of a worker's handlers in a scope.

    Args:
        scope: The scope.
        worker: Whose handlers run.
        failures: As of `TestScope.run_until_idle`.
        limit: As there.
    """

    def __init__(self, scope: TestScope, worker: Worker, failures: Failures, limit: int) -> None:
        if failures not in ("raise", "keep", "retry"):
            raise ValueError(f"failures={failures!r}: it is 'raise', 'keep' or 'retry'")
        self._scope = scope
        self._client = scope.client
        self._failures = failures
        self._limit = limit
        self._raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._worker = self._of_scope(worker)
        self._queues = frozenset(worker.queues)
        self._kinds = frozenset(worker.handlers.kinds())
        self._processes = frozenset(each.kind for each in worker.handlers if each.run_in == "process")

    def _of_scope(self, worker: Worker) -> Worker:
        """A worker of the scope with the same handlers, of which is kept what they raise."""
        made = self._scope.worker(queues=worker.queues, concurrency=worker.concurrency)
        for handler in worker.handlers:
            watched = (
                handler if handler.run_in == "process" else replace(handler, function=self._watched(handler))
            )
            made.handlers.adopt(watched)
        return made

    def _watched(self, handler: Handler) -> HandlerFunction:
        function = handler.function
        if handler.run_in == "loop":

            async def watched(context: Any) -> Any:
                try:
                    return await function(context)
                except Exception as error:
                    self._failed(error)
                    raise

            return watched

        def watched_plain(context: Any) -> Any:
            try:
                return function(context)
            except Exception as error:
                self._failed(error)
                raise

        return watched_plain

    def _failed(self, error: Exception) -> None:
        if self._failures != "raise" or isinstance(error, _ASKED_FOR):
            return

        def told() -> None:
            if not self._raised.done():
                self._raised.set_result(error)

        with contextlib.suppress(RuntimeError):  # the loop is closed: the test is over
            self._loop.call_soon_threadsafe(told)

    async def run(self, within: float) -> Idle:
        """Runs them."""
        ended_before = {job.id for job in await self._jobs(()) if job.is_terminal}
        serving = asyncio.create_task(self._worker.serve())
        idle = asyncio.create_task(self._until_idle())
        try:
            first: set[asyncio.Future[Any]] = {serving, idle, self._raised}
            done, _ = await asyncio.wait(first, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise StillRunning(await self._said(within))
        finally:
            idle.cancel()
            self._worker.stop(reason="the test is done", grace=timedelta(seconds=1))
            served, _ = await asyncio.gather(serving, idle, return_exceptions=True)
        if isinstance(served, BaseException):
            raise served
        if self._raised.done():
            raise self._raised.result()
        jobs = await self._jobs(())
        self._check(jobs)
        ended = [job for job in jobs if job.is_terminal and job.id not in ended_before]
        waiting = [Waiting(job, await self._why(job)) for job in jobs if not job.is_terminal]
        return Idle(tuple(ended), tuple(waiting))

    async def _until_idle(self) -> None:
        while True:
            live = await self._jobs((Status.QUEUED, Status.RUNNING, Status.RETRYING))
            if self._failures == "retry" and (later := [job for job in live if _backs_off(job)]):
                with contextlib.suppress(AssertionError):  # one of them has begun meanwhile
                    await self._scope.make_due(*later)
                await asyncio.sleep(_POLL)
                continue
            ours = [job for job in live if job.kind in self._kinds and job.queue in self._queues]
            waiting = [job for job in ours if job.status is not Status.RUNNING]
            if len(waiting) == len(ours) and not await self._any_starts(waiting):
                return
            await asyncio.sleep(_POLL)

    async def _any_starts(self, jobs: Collection[Job]) -> bool:
        """Whether one of these jobs, which all wait, starts soon by itself. What is due the server says."""
        for job in jobs:
            if job.hold is None and (job.run_at is None or job.run_at <= datetime.now(UTC) + _CLOCKS_DIFFER):
                try:
                    found = await self._client.explain(job.id)
                except JobNotFound:
                    return True
                if found.status is not job.status:  # it went on meanwhile
                    return True
                codes = [reason.code for reason in found.reasons]
                if self._failures == "retry" and ReasonCode.BACKOFF in codes:
                    return True  # it has failed since its backoff was made due
                if codes[0] in _SOON and _LATER.isdisjoint(codes):
                    return True
        return False

    async def _jobs(self, status: Sequence[Status]) -> list[Job]:
        found = await self._scope.enqueued(status=status)
        if len(found) > self._limit:
            raise AssertionError(f"the scope has {len(found)} jobs, and limit is {self._limit}")
        return found

    async def _why(self, job: Job) -> str:
        try:
            return (await self._client.explain(job.id)).summary
        except JobNotFound:
            return "it is gone"

    def _check(self, jobs: Sequence[Job]) -> None:
        """Raises what handlers in processes of their own have left of their failures."""
        if self._failures != "raise":
            return
        for job in jobs:
            if job.kind in self._processes and any(
                each.error_type not in _ASKED_FOR_NAMES for each in job.failed_attempts
            ):
                raise AttemptFailed(job)

    async def _said(self, within: float) -> str:
        status = self._worker.status()
        if status.state != "serving":
            return f"the worker is {status.state} after {within:g} s: {status.last_error or 'no server answers it'}"
        now = datetime.now(UTC)
        lines = []
        for job in await self._jobs((Status.QUEUED, Status.RUNNING, Status.RETRYING)):
            since = f" for {(now - job.locked_at).total_seconds():.1f} s" if job.locked_at is not None else ""
            lines.append(f"  {job.kind} {job.id}: " + (f"runs{since}" if since else await self._why(job)))
        return "\n".join([f"after {within:g} s there is still something to do:", *lines[:20]])


def _backs_off(job: Job) -> bool:
    return job.status is Status.RETRYING and job.run_at is not None and job.run_at > datetime.now(UTC)
