"""What goes on beside a load while that is measured: people who look at the dashboard, an operation on many jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import grpc.aio
from google.longrunning import operations_pb2, operations_pb2_grpc

from jobqueue.v1 import bulk_pb2, bulk_pb2_grpc, job_pb2

from . import pages, past
from .credentials import bearer
from .errors import BenchError
from .load.grpc_calls import enqueue_one
from .load.viewers import Viewers, view
from .processes import DONE, MESSAGES, REFUSED, Processes
from .server import Server, declare

#: Seconds between two readings of the overview.
READ_EVERY = 2.0
# No worker takes them.
SEEN, RETRIED = "seen", "retried"
_COMES_WITHIN = 60.0

#: Tells what came of it, and ends it.
Ended = Callable[[], Awaitable[dict[str, Any]]]


class Beside(Protocol):
    """What goes on. It must be hashable: a scenario is known by it."""

    def going(self, servers: list[Server], connection: Any) -> AbstractAsyncContextManager[Ended]:
        """It goes on from here, at the first server, until it is ended. `connection`: on the database."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """Tabs of the dashboard, in a process of their own. Statistics of an hour are there, also where nobody looks."""

    viewers: Viewers = field(default_factory=Viewers)

    @asynccontextmanager
    async def going(self, servers: list[Server], connection: Any) -> AsyncIterator[Ended]:
        """See `Beside`."""
        await past.history(connection, [await lane(servers[0], connection, SEEN)], timedelta(hours=1))
        count = self.viewers.count
        if not count:
            yield _nothing
            return
        given = (servers[0].http, self.viewers, servers[0].key)
        async with Processes("the viewers", view, [given]) as crowd:
            crowd.go()
            async with asyncio.timeout(_COMES_WITHIN):
                while crowd.count(DONE) < count:
                    crowd.check()
                    self._refused(crowd)
                    await asyncio.sleep(0.05)
            came, before = time.monotonic(), crowd.count(MESSAGES)

            async def ended() -> dict[str, Any]:
                crowd.check()
                self._refused(crowd)
                seconds, messages = time.monotonic() - came, crowd.count(MESSAGES) - before
                tabs = (await crowd.stop())[0]["tabs"]
                return {"seconds": round(seconds, 1), "messages": messages, **told(tabs, seconds)}

            yield ended

    def _refused(self, crowd: Processes) -> None:
        if refused := crowd.count(REFUSED):
            raise BenchError(f"{refused} calls of viewers were refused")


def told(tabs: list[dict[str, int]], seconds: float) -> dict[str, Any]:
    """What tabs got within so many seconds.

    Raises:
        BenchError: One of them got less than half of what it should have.
    """
    least = 1 + int(seconds / READ_EVERY / 2)
    for number, got in enumerate(tabs):
        if got.get(pages.OVERVIEW.path, 0) < least:
            raise BenchError(f"viewer {number} got {got} in {seconds:.1f} s: fewer than {least} overviews")
    paths = sorted({path for got in tabs for path in got})
    return {
        "viewers": len(tabs),
        "got": {path: sum(got.get(path, 0) for got in tabs) for path in paths},
        "fewest_overviews": min(got[pages.OVERVIEW.path] for got in tabs),
    }


@dataclass(frozen=True, slots=True)
class Retrying:
    """Jobs that failed for good are retried by one operation; they then wait, and no worker takes them.

    Attributes:
        jobs: How many there are.
        per_second: How many are retried a second; 0: none is.
    """

    jobs: int
    per_second: int = 0

    @asynccontextmanager
    async def going(self, servers: list[Server], connection: Any) -> AsyncIterator[Ended]:
        """See `Beside`."""
        of = await lane(servers[0], connection, RETRIED)
        hour = timedelta(hours=1)
        await past.ended(connection, [of], self.jobs, 2 * hour, hour, one_of=1)
        await connection.execute("vacuum (analyze) job, finished_job, attempt")
        if not self.per_second:
            yield _nothing
            return
        began = time.monotonic()
        name = await retry(servers[0], self.per_second)
        async with asyncio.timeout(_COMES_WITHIN):
            while not (await changed(servers[0], name))[1]:
                await asyncio.sleep(0.05)

        async def ended() -> dict[str, Any]:
            done, count = await changed(servers[0], name)
            if done:
                raise BenchError(f"the {count} jobs were all retried before the measurement ended")
            return {"retried": count, "retried_per_second": round(count / (time.monotonic() - began))}

        yield ended


async def _nothing() -> dict[str, Any]:
    return {}


async def lane(server: Server, connection: Any, kind: str) -> int:
    """The lane of a kind in the default queue, which one job makes that waits there."""
    await declare(server, (kind,))
    await enqueue_one(server.grpc, kind, server.key)
    found: int = await connection.fetchval(
        "select l.id from lane l join kind k on k.id = l.kind_id where k.name = $1", kind
    )
    return found


async def retry(server: Server, per_second: int = 0) -> str:
    """Begins to retry all that failed of the kind; the name of the operation."""
    wanted = bulk_pb2.JobFilter(kind=RETRIED, status=[job_pb2.Job.FAILED_PERMANENT])
    request = bulk_pb2.RetryJobsRequest(filter=wanted, force=True, per_second=per_second)
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        answer = await bulk_pb2_grpc.BulkStub(channel).RetryJobs(request, metadata=bearer(server.key))
    name: str = answer.operation.name
    return name


async def changed(server: Server, name: str, within: float = 0.0) -> tuple[bool, int]:
    """Whether an operation is done, within so many seconds, and how many jobs it has changed."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = operations_pb2_grpc.OperationsStub(channel)
        if within:
            asked = operations_pb2.WaitOperationRequest(name=name)
            asked.timeout.FromTimedelta(timedelta(seconds=within))
            found = await stub.WaitOperation(asked, metadata=bearer(server.key))
        else:
            found = await stub.GetOperation(
                operations_pb2.GetOperationRequest(name=name), metadata=bearer(server.key)
            )
    metadata = bulk_pb2.BulkMetadata()
    found.metadata.Unpack(metadata)
    if found.HasField("error"):
        raise BenchError(f"the operation failed: {found.error.message}")
    return found.done, metadata.changed
