"""One attempt of one job in this process: the worker's own way from a leased job to an outcome."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..calls import seconds
from ..jobs import LeasedJob
from ..new_jobs import new_job_of
from ..payload import JsonText, decode, encode
from ..v1 import lease_pb2 as pb
from ..worker.context import JobContext, Stop
from ..worker.handlers import Handler, HandlerFunction, Handlers, RunIn
from ..worker.lease import Lease
from ..worker.loop_runner import LoopRunner
from ..worker.process_runner import ProcessRunner
from ..worker.runner import Runner
from ..worker.thread_runner import ThreadRunner
from ..worker.worker import Worker
from .performed import Ending, Performed, Report

if TYPE_CHECKING:
    from ..middleware import Middleware
    from ..typed.kind import JobKind

#: A job whose kind nothing names.
_KIND = "performed"
# What a style that can stop a handler by force waits for.
_STOPS_WITHIN = 5.0


class HandlerFailed(Exception):
    """A handler that ran in a process of its own has failed: its exception stayed there.

    Attributes:
        performed: What the attempt came to.
    """

    def __init__(self, performed: Performed) -> None:
        super().__init__(f"{performed.error_type}: {performed.error}\n{performed.stack}".rstrip())
        self.performed = performed


class StillRunning(Exception):
    """A handler has not ended in the time that the test gives it."""


@dataclass(frozen=True, slots=True)
class _Given:
    """The job and its attempt, as a test gives them."""

    payload: Any
    attempt: int = 1
    failures: int | None = None
    max_attempts: int = 3
    checkpoint: bytes = b""
    queue: str = "default"
    priority: int = 0
    labels: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    key: str = ""
    timeout: timedelta | None = None
    created_at: datetime | None = None
    id: str | None = None
    state: Any = None

    @property
    def failed_before(self) -> int:
        """How many failures there were: unless it is said, each earlier attempt was one."""
        return self.attempt - 1 if self.failures is None else self.failures

    def message(self, kind: str | JobKind[Any, Any]) -> pb.LeasedJob:
        """The lease, as a server would send it."""
        if self.attempt < 1:
            raise ValueError(f"attempt={self.attempt}: attempts count from 1")
        headers = dict(self.headers or {})
        if isinstance(kind, str):
            name, payload = kind, encode(self.payload, "payload")
        elif isinstance(self.payload, JsonText):
            # As it is stored: of any version, and of any shape.
            name, payload = kind.name, self.payload.raw
        else:
            job = kind.new(self.payload, headers=headers)
            assert job.payload_json is not None
            name, payload, headers = kind.name, job.payload_json, dict(job.headers or {})
        message = pb.LeasedJob(
            lease_id=1,
            id=self.id or str(uuid.uuid4()),
            attempt=self.attempt,
            kind=name,
            payload_json=payload,
            queue=self.queue,
            max_attempts=self.max_attempts,
            failures=self.failed_before,
            priority=self.priority,
            labels=self.labels,
            headers=headers,
            checkpoint=self.checkpoint,
            key=self.key,
        )
        message.created_at.FromDatetime(self.created_at or datetime.now(UTC))
        if self.timeout is not None:
            message.timeout.FromTimedelta(self.timeout)
        return message


class _Attempt:
    """One run of a handler, with what it told meanwhile."""

    def __init__(
        self, handler: Handler, message: pb.LeasedJob, state: Any, stop: Stop, stop_at: _StopAt
    ) -> None:
        self.progress: list[Report] = []
        self.checkpoints: list[bytes] = []
        self.raised: list[BaseException] = []
        self._loop = asyncio.get_running_loop()
        self._stop_why = stop
        self._stop_at = stop_at
        self._ended: asyncio.Future[pb.Outcome | None] = self._loop.create_future()
        seen = handler if handler.run_in == "process" else replace(handler, function=self._watched(handler))
        context = JobContext(LeasedJob(message), self._report, 1, state=state)
        self._lease = Lease(1, message, seen, context, time.monotonic())
        self._runner = self._new_runner(handler.run_in)

    def _new_runner(self, run_in: RunIn) -> Runner:
        if run_in == "loop":
            return LoopRunner(self._loop, self._finish)
        return ThreadRunner(self._finish) if run_in == "thread" else ProcessRunner(self._loop, self._finish)

    async def run(self, within: float) -> pb.Outcome:
        """Runs it to its outcome."""
        try:
            self._runner.start([self._lease])
            if self._stop_at == "start":
                self._stop()
            elif isinstance(self._stop_at, timedelta):
                self._loop.call_later(self._stop_at.total_seconds(), self._stop)
            done, _ = await asyncio.wait([self._ended], timeout=within)
            if not done:
                raise StillRunning(
                    f"the handler of {self._lease.message.kind} still runs after {within:g} s"
                    + (", though it was told to stop" if self._lease.context.cancelled else "")
                )
        finally:
            if not self._ended.done():
                # A task or a process of it must not outlive the test; a thread that ignores the flag can't be ended.
                self._lease.context.stop_reason = Stop.SHUTDOWN
                self._runner.stop(self._lease, 0)
            self._runner.close()
        return self._ended.result() or pb.Outcome(success=pb.Success())

    def _finish(self, lease: Lease, outcome: pb.Outcome | None) -> None:
        def ended() -> None:
            if not self._ended.done():
                self._ended.set_result(outcome)

        try:
            self._loop.call_soon_threadsafe(ended)
        except RuntimeError:
            pass  # the test is over

    def _report(
        self, context: JobContext, fraction: float | None, message: str, checkpoint: bytes | None
    ) -> None:
        if checkpoint is not None:
            self.checkpoints.append(checkpoint)
            return
        self.progress.append(Report(fraction, message))
        if self._stop_at == len(self.progress):
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        context = self._lease.context
        if context.stop_reason is None and not self._ended.done():
            context.cancel_reason = f"{self._stop_why.value}, by the test"
            context.stop_reason = self._stop_why
            self._runner.stop(self._lease, _STOPS_WITHIN)

    def _watched(self, handler: Handler) -> HandlerFunction:
        """The handler, of which is kept what it raises: the outcome has but its words."""
        function = handler.function
        if handler.run_in == "loop":

            async def watched(context: JobContext) -> Any:
                try:
                    return await function(context)
                except BaseException as error:
                    self.raised.append(error)
                    raise

            return watched

        def watched_plain(context: JobContext) -> Any:
            try:
                return function(context)
            except BaseException as error:
                self.raised.append(error)
                raise

        return watched_plain


_StopAt = timedelta | int | str | None


async def perform(
    handler: Worker | Callable[..., Any],
    payload: Any = None,
    *,
    kind: str | JobKind[Any, Any] | None = None,
    run_in: RunIn | None = None,
    middleware: Sequence[Middleware] = (),
    stop: Stop = Stop.CANCEL,
    stop_at: _StopAt = None,
    within: timedelta = timedelta(seconds=10),
    catch: bool = False,
    **given: Any,
) -> Performed:
    """Performs one attempt of a job, by the code that a worker runs, without a server.

        done = await perform(deliver, Mail("ada@example.org"), kind=send_mail, attempt=2)
        assert done.output == Sent("m1")

    The payload goes through JSON, the handler runs in the style that it would run in, processes too, and the limits of
    outputs, checkpoints and follow-ups hold. What it is not held to is what only a server knows: the kind's schema and
    the slots.

    Args:
        handler: A handler, or a worker that has one of the `kind`.
        payload: Of a typed kind, of its type; `JsonText` goes as it is, as if another program had enqueued it.
        kind: The kind: its name, or what `define_kind` made. A worker needs it. Default: an untyped one.
        run_in: As in `Worker.handler`; of a worker, as was said there.
        middleware: What goes around the handler, the outermost first. A worker has its own.
        stop: Why the handler is to stop, with `stop_at`.
        stop_at: When it is told to: "start", at the nth call of `ctx.progress`, or after a time. None: never.
        within: How long it may take.
        catch: Whether an ordinary failure is answered and not raised.
        given: Of the job: `attempt` (from 1), `failures` (default: all attempts before), `max_attempts`, `checkpoint`,
            `queue`, `priority`, `labels`, `headers`, `key`, `timeout`, `created_at`, `id`. And `state`, that of the
            context: what the worker's `lifespan` would make, which is not entered.

    Raises:
        Exception: What the handler raised, itself, if it is an ordinary failure. Retry, Discard, Snooze and Cancelled
            are outcomes.
        HandlerFailed: The same of a handler in a process of its own.
        StillRunning: It has not ended in time.
        PayloadInvalid: The payload is not of the kind's type.
        ValueError: The worker has no handler of the kind.
        TypeError: An argument is not known, or the function can't run where it is to run.
    """
    entry = _entry(handler, kind, run_in, middleware)
    job = _Given(payload, **given)
    message = job.message(kind if kind is not None else _KIND)
    if entry.coding is not None:
        await entry.coding.seal(message)
    attempt = _Attempt(entry, message, job.state, stop, stop_at)
    outcome = await attempt.run(seconds(within, "within"))
    if entry.coding is not None:
        await entry.coding.open(message, outcome, attempt.checkpoints)

    async def following(before: Performed, changes: dict[str, Any]) -> Performed:
        options = {"run_in": run_in, "middleware": middleware, "within": within, "catch": catch}
        next_given = {
            **given,
            "id": message.id,
            "attempt": before.attempt + 1,
            "failures": before.failures + (before.outcome == "failed"),
            "checkpoint": before.checkpoint,
        }
        merged = {"payload": payload, "kind": kind, **options, **next_given, **changes}
        return await perform(handler, merged.pop("payload"), **merged)

    done = _performed(outcome, attempt, job, kind, following)
    if done.outcome == "failed" and not catch and not _asked_for(attempt.raised):
        if attempt.raised:
            raise attempt.raised[-1]
        raise HandlerFailed(done)
    return done


def attempt(payload: Any = None, *, kind: str | JobKind[Any, Any] = _KIND, **given: Any) -> JobContext:
    """The context of an attempt, for code that is called with one. What it reports is dropped; `perform` keeps it.

    Args:
        payload: As in `perform`.
        kind: As in `perform`.
        given: As in `perform`.
    """
    job = _Given(payload, **given)
    return JobContext(LeasedJob(job.message(kind)), lambda *_: None, 1, state=job.state)


def _entry(
    handler: Worker | Callable[..., Any],
    kind: str | JobKind[Any, Any] | None,
    run_in: RunIn | None,
    middleware: Sequence[Middleware],
) -> Handler:
    name = _KIND if kind is None else kind if isinstance(kind, str) else kind.name
    if not isinstance(handler, Worker):
        handlers = Handlers(middleware=middleware)
        handlers.add(_KIND if kind is None else kind, handler, run_in=run_in)
        (found, *_) = handlers
        return found
    if middleware:
        raise TypeError("middleware beside a worker: a worker has its own")
    entry = handler.handlers.get(name) if kind is not None else None
    if entry is None:
        has = ", ".join(handler.handlers.kinds()) or "none"
        raise ValueError(f"the worker has no handler of kind {kind!r}; it has: {has}")
    return entry


def _asked_for(raised: list[BaseException]) -> bool:
    from ..outcomes import Discard, Retry

    return bool(raised) and isinstance(raised[-1], Retry | Discard)


def _performed(
    outcome: pb.Outcome,
    attempt: _Attempt,
    job: _Given,
    kind: str | JobKind[Any, Any] | None,
    following: Any,
) -> Performed:
    failure, success = outcome.failure, outcome.success
    which = outcome.WhichOneof("outcome")
    output_json = success.output_json if which == "success" and success.output_json else None
    output = None
    if output_json is not None:
        typed = None if kind is None or isinstance(kind, str) else kind.output
        output = decode(output_json) if typed is None else typed.decode(output_json)
    ending: Mapping[str | None, Ending] = {
        "success": "succeeded",
        "failure": "discarded" if failure.permanent else "failed",
        "snooze": "snoozed",
        "cancellation": "cancelled",
        "release": "released",
    }
    return Performed(
        ending[which],
        output,
        output_json,
        # As a server keeps it.
        failure.error.replace("\0", "\ufffd"),
        failure.error_type,
        failure.stack,
        failure.retry_after.ToTimedelta() if failure.HasField("retry_after") else None,
        outcome.snooze.delay.ToTimedelta() if which == "snooze" else None,
        outcome.pause_key.ToTimedelta() if outcome.HasField("pause_key") else None,
        tuple(attempt.progress),
        tuple(attempt.checkpoints),
        tuple(new_job_of(each) for each in success.follow_ups),
        job.attempt,
        job.failed_before,
        following,
        job.checkpoint,
    )
