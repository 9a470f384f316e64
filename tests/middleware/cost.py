"""What middleware costs, in CPU for each job, without a server: `python -m tests.middleware.cost`.

A handler by the worker's own runners, and an enqueue up to the call, without middleware and with one and three that
do nothing. Best of several rounds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jobqueue import Client, EnqueueResult, JobContext, Middleware, NewJob, NextEnqueue
from jobqueue.v1 import job_pb2
from jobqueue.v1 import jobqueue_pb2 as pb
from jobqueue.v1 import lease_pb2 as lease
from jobqueue.worker.context import JobContext as Context
from jobqueue.worker.handlers import Handlers
from jobqueue.worker.runner import run_plain

JOBS, ROUNDS = 20_000, 7
CHAINS = (0, 1, 3)


class Passes(Middleware):
    """Does nothing."""

    @contextmanager
    def handle(self, ctx: JobContext) -> Iterator[None]:
        yield

    async def enqueue(self, jobs: Sequence[NewJob], call_next: NextEnqueue) -> Sequence[EnqueueResult]:
        return await call_next(jobs)


def plain(ctx: JobContext) -> None:
    """A handler that does nothing."""


async def of_loop(ctx: JobContext) -> None:
    """The same, async."""


def contexts() -> list[Context]:
    """New ones."""
    from jobqueue.jobs import LeasedJob

    message = lease.LeasedJob(lease_id=1, id="1", attempt=1, kind="a", payload_json=b"{}", queue="default")
    return [Context(LeasedJob(message), lambda *_: None, 1, 0.0) for _ in range(JOBS)]


def handled(function: Any, run_in: Any, middleware: Sequence[Middleware]) -> float:
    """Seconds of CPU of a handler."""
    options: dict[str, Any] = {"middleware": middleware} if middleware else {}
    handlers = Handlers(**options)
    handlers.add("a", function, run_in=run_in)
    found = handlers.get("a")
    assert found is not None
    given = contexts()
    began = time.process_time()
    if run_in == "thread":
        for each in given:
            run_plain(found.function, each)
        return time.process_time() - began

    async def all_of() -> None:
        for each in given:
            await found.function(each)

    asyncio.run(all_of())
    return time.process_time() - began


def enqueued(middleware: Sequence[Middleware]) -> float:
    """Seconds of CPU of an enqueue, without the call itself."""
    answer = pb.EnqueueJobResponse(job=job_pb2.Job(id="1", status=job_pb2.Job.QUEUED))

    class Answered(Client):
        """Sends nothing."""

        async def _call(self, *_: object, **__: object) -> Any:
            return answer

    async def all_of() -> float:
        options: dict[str, Any] = {"middleware": middleware} if middleware else {}
        client = Answered("127.0.0.1:1", **options)
        began = time.process_time()
        for _ in range(JOBS):
            await client.enqueue("a", {"n": 1})
        return time.process_time() - began

    return asyncio.run(all_of())


def main() -> None:
    """Prints a row for each place."""
    places: dict[str, Any] = {
        "handler on the loop": lambda chain: handled(of_loop, "loop", chain),
        "handler in a thread": lambda chain: handled(plain, "thread", chain),
        "enqueue": enqueued,
    }
    for name, measured in places.items():
        best = {
            count: min(measured([Passes() for _ in range(count)]) for _ in range(ROUNDS)) for count in CHAINS
        }
        print(f"{name}: " + ", ".join(f"{count}: {best[count] / JOBS * 1e6:.2f} us" for count in CHAINS))


if __name__ == "__main__":
    main()
