"""Middleware and handlers of these tests, at the top of a module, where a process of a handler finds them too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobqueue import (
    Discard,
    EnqueueResult,
    JobContext,
    Middleware,
    NewJob,
    NextEnqueue,
    Retry,
    Skip,
    Snooze,
    with_headers,
)

#: What is set around a handler.
tenant: ContextVar[str] = ContextVar("tenant", default="")
ENDS: dict[str, Exception] = {
    "raise": ValueError("no"),
    "retry": Retry("busy", after=timedelta(minutes=1)),
    "discard": Discard("never"),
    "snooze": Snooze(timedelta(seconds=5)),
    "skip": Skip({"by": "skip"}),
}


class Told:
    """What was called, in order: in a file, so that a process of a handler tells it too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, word: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{word}\n")

    def words(self) -> str:
        return " ".join(self._path.read_text().split()) if self._path.exists() else ""


class Traced(Middleware):
    """Tells when it is entered and left, and does what the payload says of its name.

    The payload: `told`, the path of a file; for each name what is done `before` and `after` the handler, and whether
    what is raised within is caught.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def does(self, ctx: JobContext, when: str) -> None:
        what = ctx.job.payload.get(f"{self.name}.{when}")
        if what is not None:
            raise ENDS[what]

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        told = Told(Path(ctx.job.payload["told"]))
        told(f"{self.name}(")
        self.does(ctx, "before")
        try:
            yield
        except ValueError as error:
            told(f"{self.name}!{error}")
            if not ctx.job.payload.get(f"{self.name}.catches"):
                raise
        told(f"){self.name}")
        self.does(ctx, "after")

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        """Adds its name to the header `by`."""
        changed = [with_headers(job, by=(job.headers or {}).get("by", "") + self.name) for job in jobs]
        return await call_next(changed)


class TracedAsync(Traced):
    """The same for handlers on the loop alone."""

    @asynccontextmanager
    async def handle(self, ctx: JobContext) -> AsyncIterator[None]:  # type: ignore[override]
        await asyncio.sleep(0)
        with super().handle(ctx):
            yield
        await asyncio.sleep(0)


class Tenant(Middleware):
    """Sets `tenant` to what a header says, and passes it on with what is enqueued."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        token = tenant.set(ctx.job.headers.get("tenant", ""))
        try:
            yield
        finally:
            tenant.reset(token)

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        return await call_next([with_headers(job, tenant=tenant.get()) for job in jobs])


class Leaves(Middleware):
    """Sets `tenant` and does not put it back."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        if "tenant" in ctx.job.headers:
            tenant.set(ctx.job.headers["tenant"])
        yield


class TenantFilter(logging.Filter):
    """Puts `tenant` into each line of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.tenant = tenant.get()
        return True


outer, middle, inner = Traced("a"), Traced("b"), Traced("c")
outer_async, inner_async = TracedAsync("a"), TracedAsync("c")
of_tenant = Tenant()
leaves = Leaves()


def handled(ctx: JobContext) -> Any:
    """Tells that it ran, follows up as often as it is to, and ends as it is to."""
    told = Told(Path(ctx.job.payload["told"]))
    told(f"handler:{tenant.get()}" if tenant.get() else "handler")
    for number in range(ctx.job.payload.get("follow_ups", 0)):
        ctx.follow_up(NewJob("next", number))
    end = ctx.job.payload.get("handler")
    if end is not None:
        raise ENDS[end]
    return {"by": "handler"}


async def handled_async(ctx: JobContext) -> Any:
    await asyncio.sleep(0)
    return handled(ctx)


HANDLERS: dict[str, Any] = {"loop": handled_async, "thread": handled, "process": handled}
