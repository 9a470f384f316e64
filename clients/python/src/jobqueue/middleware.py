"""Middleware: what goes around each enqueue and each handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from .jobs import VERSION_HEADER, EnqueueResult, NewJob
from .payload import encode
from .v1 import job_pb2

if TYPE_CHECKING:
    from .typed.kind import JobKind
    from .worker.context import JobContext

#: Enqueues, or hands on to the next middleware. Answers a result for each job.
NextEnqueue: TypeAlias = Callable[[Sequence[NewJob]], Awaitable[Sequence[EnqueueResult]]]
#: What `Middleware.handle` answers.
Around: TypeAlias = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]


class Skip(Exception):
    """Raised by `Middleware.handle` before its `yield`: the handler is not run, and the attempt has succeeded.

    Args:
        output: The job's output. None: it has none.
    """

    def __init__(self, output: Any = None) -> None:
        super().__init__("the handler is not run")
        self.output = output


class Middleware:
    """Goes around enqueues and handlers. Inherit, and override one method or both::

        class Tenant(Middleware):
            @contextmanager
            def handle(self, ctx):
                token = tenant.set(ctx.job.headers.get("tenant", ""))
                try:
                    yield
                finally:
                    tenant.reset(token)

            async def enqueue(self, jobs, call_next):
                return await call_next([with_headers(job, tenant=tenant.get()) for job in jobs])

    The same object may be given to clients and workers. The first of a list is the outermost one.
    """

    def handle(self, ctx: JobContext) -> Around:
        """Goes around one attempt: a context manager, entered before the handler and left after it.

        `@contextmanager` goes around handlers of every style, and runs where they run: on the loop, in their thread or
        in their process. `@asynccontextmanager` goes around async handlers alone.

        What it raises counts as raised by the handler: Retry, Discard, Snooze and Cancelled too. `Skip` before its
        `yield` succeeds without the handler. If it catches what the handler raised, the attempt has succeeded without
        an output and without follow-ups.

        Args:
            ctx: The attempt's context. To look at `ctx.job.payload` costs its decoding; typed kinds decode once more.
        """
        return nullcontext()

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        """Goes around one call of `enqueue` or `enqueue_many`, or around all follow-ups of an attempt.

        It is called once for a call, however often the client tries. It calls `call_next` once, and answers what that
        answered. What it raises before ends the call, and nothing was sent; an attempt with follow-ups fails.

        Args:
            jobs: What is enqueued; one job of `enqueue`. Typed kinds have their payload as `payload_json`.
            call_next: Takes the same jobs, whose headers and labels may differ, and nothing else. The results of
                follow-ups have no ids, since they are enqueued with the outcome.
        """
        return await call_next(jobs)


def with_headers(job: NewJob, **headers: str) -> NewJob:
    """The same job with more headers. Underscores in names become hyphens."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(job, headers={**(job.headers or {}), **more})


def for_kinds(middleware: Middleware, *kinds: str | JobKind[Any, Any]) -> Middleware:
    """The same middleware for these kinds alone. Of a call with several kinds it sees its own jobs.

    Args:
        middleware: What is to go around them.
        kinds: Names, or what `define_kind` made, whose aliases it gets as well.
    """
    names: set[str] = set()
    for kind in kinds:
        names.update((kind,) if isinstance(kind, str) else (kind.name, *kind.aliases))
    (inner,) = listed([middleware])
    return _ForKinds(inner, frozenset(names))


class _ForKinds(Middleware):
    def __init__(self, inner: Middleware, kinds: frozenset[str]) -> None:
        self.inner = inner
        self.kinds = kinds

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        places = [place for place, job in enumerate(jobs) if job.kind in self.kinds]
        if not places:
            return await call_next(jobs)
        whole: Sequence[EnqueueResult] = ()

        async def of_all(mine: Sequence[NewJob]) -> Sequence[EnqueueResult]:
            nonlocal whole
            merged = list(jobs)
            for place, job in zip(places, mine, strict=True):
                merged[place] = job
            whole = await call_next(merged)
            return [whole[place] for place in places]

        await _once(self.inner, [jobs[place] for place in places], of_all)
        return whole


def listed(given: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Middleware as it was given, checked.

    Raises:
        TypeError: Something of it is none.
    """
    found = tuple(given)
    for each in found:
        if not isinstance(each, Middleware):
            raise TypeError(
                f"middleware: {each!r} must be an object of a class that inherits jobqueue.Middleware"
            )
    return found


def unwrapped(middleware: Middleware) -> tuple[Middleware, tuple[frozenset[str], ...]]:
    """What is within `for_kinds`, and the kinds of each, from the outside in."""
    kinds: tuple[frozenset[str], ...] = ()
    while isinstance(middleware, _ForKinds):
        kinds += (middleware.kinds,)
        middleware = middleware.inner
    return middleware, kinds


async def enqueue_through(
    middleware: Sequence[Middleware], jobs: Sequence[NewJob], send: NextEnqueue
) -> None:
    """Calls each `enqueue`, and then `send` with the jobs as they have become.

    Args:
        middleware: The outermost first.
        jobs: What is enqueued. Payloads are sent as they are now, also if one is changed in its place.
        send: Enqueues them.

    Raises:
        RuntimeError: A middleware did not keep to what `Middleware.enqueue` says.
        TypeError, ValueError: A payload can't be written as JSON.
    """
    texts = [encode(job.payload, "payload") if job.payload_json is None else None for job in jobs]

    async def last(changed: Sequence[NewJob]) -> Sequence[EnqueueResult]:
        return await send(
            [
                job if text is None else replace(job, payload=None, payload_json=text)
                for job, text in zip(changed, texts, strict=True)
            ]
        )

    call_next: NextEnqueue = last
    for each in reversed(middleware):
        if type(each).enqueue is not Middleware.enqueue:
            call_next = _linked(each, call_next)
    await call_next(jobs)


def amend(messages: Sequence[job_pb2.NewJob], jobs: Sequence[NewJob]) -> None:
    """Puts the headers and labels of jobs into their messages."""
    for message, job in zip(messages, jobs, strict=True):
        _put(message.headers, job.headers or {})
        _put(message.labels, job.labels or {})


def _linked(middleware: Middleware, call_next: NextEnqueue) -> NextEnqueue:
    async def link(jobs: Sequence[NewJob]) -> Sequence[EnqueueResult]:
        return await _once(middleware, jobs, call_next)

    return link


async def _once(
    middleware: Middleware, jobs: Sequence[NewJob], call_next: NextEnqueue
) -> Sequence[EnqueueResult]:
    """Calls one `enqueue`, and holds it to what it promises."""
    name = f"{type(middleware).__qualname__}.enqueue"
    calls = 0
    over = False
    answered: Sequence[EnqueueResult] | None = None
    failed: BaseException | None = None

    async def only_once(changed: Sequence[NewJob]) -> Sequence[EnqueueResult]:
        nonlocal calls, answered, failed
        if over:
            # Its caller has been told by now that nothing was enqueued.
            raise RuntimeError(f"{name} called call_next after it had ended")
        calls += 1
        if calls > 1:
            raise RuntimeError(f"{name} called call_next twice; what it called first with counts")
        try:
            answered = await call_next(_checked(name, jobs, changed))
        except BaseException as error:
            failed = error
            raise
        return answered

    try:
        got = await middleware.enqueue(jobs, only_once)
    finally:
        over = True
    if calls > 1:
        raise RuntimeError(f"{name} called call_next twice; what it called first with counts")
    if answered is None:
        what = "did not call call_next" if failed is None else "has dropped an error of call_next"
        raise RuntimeError(
            f"{name} {what}, so nothing says that the jobs are enqueued: raise an error to refuse them"
        ) from failed
    if got is not answered:
        raise RuntimeError(f"{name} must answer what call_next answered; the jobs are enqueued")
    return answered


def _checked(name: str, jobs: Sequence[NewJob], changed: Sequence[NewJob]) -> Sequence[NewJob]:
    """The jobs as they go on: with other headers and labels, and the version of their payload as it was."""
    if changed is jobs:
        return jobs
    if len(changed) != len(jobs):
        raise RuntimeError(f"{name} called call_next with {len(changed)} jobs, and got {len(jobs)}")
    checked = []
    for before, after in zip(jobs, changed, strict=True):
        # Equality of values that are the same object is not computed, so that a payload costs nothing.
        if after is not before and replace(after, headers=before.headers, labels=before.labels) != before:
            raise RuntimeError(
                f"{name} has changed a job of kind {before.kind}: headers and labels alone may be others, since "
                "another payload under its idempotency key would be another request"
            )
        checked.append(_versioned(before, after))
    return checked


def _versioned(before: NewJob, after: NewJob) -> NewJob:
    version = (before.headers or {}).get(VERSION_HEADER)
    headers = after.headers or {}
    if headers.get(VERSION_HEADER) == version:
        return after
    others = {name: value for name, value in headers.items() if name != VERSION_HEADER}
    return replace(after, headers=others if version is None else {**others, VERSION_HEADER: version})


def _put(into: Any, values: Any) -> None:
    if dict(into) != values:
        into.clear()
        into.update(values)
