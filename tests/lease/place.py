"""A whole server on a database of the test's own, with the stubs that speak to it and a look behind it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import asyncpg
import grpc.aio
import pytest
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobqueue.v1 import (
    access_admin_pb2_grpc,
    bulk_pb2_grpc,
    insight_pb2_grpc,
    job_pb2,
    jobqueue_pb2,
    jobqueue_pb2_grpc,
    queue_admin_pb2,
    queue_admin_pb2_grpc,
    schedule_pb2_grpc,
)
from jobqueue_server.app import App
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.core.upkeep.levels import LEVEL
from jobqueue_server.settings import Settings

from .hand_worker import PATIENCE, HandWorker, StreamEnded, span

Status = job_pb2.Job.Status


async def eventually(look: Callable[[], Awaitable[Any]], timeout: float = PATIENCE) -> Any:
    """Looks until what it sees is true, and answers that."""
    until = time.monotonic() + timeout
    while not (seen := await look()):
        assert time.monotonic() < until, f"it did not come within {timeout:g} s; last seen: {seen!r}"
        await asyncio.sleep(0.02)
    return seen


@contextmanager
def leaving_nothing_to_the_collector() -> Iterator[None]:
    """What the server makes within must go by itself: the collector halts everything for 10 ms when it has work."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        left = {each for each in map(_place_in_the_server, gc.garbage) if each}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not left


def _place_in_the_server(each: object) -> str:
    """Of which type of the server's it is, or for a frame of which function; empty where it is of others."""
    if isinstance(each, FrameType):
        module, name = each.f_globals.get("__name__", ""), each.f_code.co_qualname
    else:
        module, name = type(each).__module__, type(each).__qualname__
    return f"{module}.{name}" if module.startswith(("jobqueue_server", "grpc_http2")) else ""


class Held:
    """Calls of a store's method that wait until they are let go.

    Attributes:
        waiting: One has come.
        go_on: Lets all of them go.
        error: What they raise then, instead of being made.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: type, method: str) -> None:
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error: Exception | None = None
        made = getattr(store, method)

        async def held(*args: Any, **more: Any) -> Any:
            self.waiting.set()
            await self.go_on.wait()
            if self.error is not None:
                raise self.error
            return await made(*args, **more)

        monkeypatch.setattr(store, method, held)

    async def one_waits(self) -> None:
        """Returns once one has come."""
        await asyncio.wait_for(self.waiting.wait(), PATIENCE)


class _Shows:
    """Adds the header to each call."""

    def __init__(self, authorization: str) -> None:
        self._header = ("authorization", authorization)

    async def _continued(self, go_on: Any, details: Any, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), self._header)
        return await go_on(details._replace(metadata=metadata), request)


class _Unary(_Shows, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._continued(continuation, client_call_details, request)


class _Watching(_Shows, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._continued(continuation, client_call_details, request)


class _Streaming(_Shows, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await self._continued(continuation, client_call_details, request_iterator)


def showing(authorization: str) -> list[grpc.aio.ClientInterceptor]:
    """What makes a channel show credentials with each call. The channel takes one for each way of calling."""
    return [_Unary(authorization), _Watching(authorization), _Streaming(authorization)]


class Caller:
    """The stubs of a server at an address, and what a test mostly asks them.

    Args:
        address: Where the server answers.
        agent: Begins the user agent.
        authorization: Sent with each call; empty: nothing is.
        credentials: Of TLS; None: plain text.
    """

    def __init__(
        self,
        address: str,
        agent: str = "",
        authorization: str = "",
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.address = address
        options = [("grpc.primary_user_agent", agent)]
        interceptors = showing(authorization) if authorization else None
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options, interceptors=interceptors)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options, interceptors=interceptors)
        self.stub: Any = jobqueue_pb2_grpc.JobQueueStub(self.channel)
        self.admin: Any = queue_admin_pb2_grpc.QueueAdminStub(self.channel)
        self.access: Any = access_admin_pb2_grpc.AccessAdminStub(self.channel)
        self.insight: Any = insight_pb2_grpc.InsightStub(self.channel)
        self.bulk: Any = bulk_pb2_grpc.BulkStub(self.channel)
        self.schedules: Any = schedule_pb2_grpc.SchedulesStub(self.channel)
        self.operations: Any = operations_pb2_grpc.OperationsStub(self.channel)
        self._health: Any = health_pb2_grpc.HealthStub(self.channel)
        self._workers: list[HandWorker] = []

    async def worker(self, **hello: Any) -> HandWorker:
        """A worker that has its Welcome, or raises StreamEnded. Closed with the test."""
        worker = HandWorker(self.stub, **hello)
        self._workers.append(worker)
        return await worker.connect()

    async def worker_within(self, seconds: float, **hello: Any) -> HandWorker:
        """A worker as soon as it is taken, tried again and again."""
        until = time.monotonic() + seconds
        while True:
            try:
                return await self.worker(**hello)
            except StreamEnded:
                assert time.monotonic() < until, f"no Welcome within {seconds:g} s"
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Closes every worker, and the connection."""
        for worker in self._workers:
            await worker.close()
        await self.channel.close()

    async def enqueue(self, kind: str = "work", payload: bytes = b"{}", **fields: Any) -> job_pb2.Job:
        """Enqueues a job; its answer. Seconds are taken for a Duration."""
        for name in ("delay", "timeout"):
            if name in fields:
                fields[name] = span(fields[name])
        job = job_pb2.NewJob(kind=kind, payload_json=payload, **fields)
        response = await self.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job), timeout=PATIENCE)
        answered: job_pb2.Job = response.job
        return answered

    async def batch(self, count: int, kind: str = "work", **fields: Any) -> list[str]:
        """Enqueues jobs whose payload is their place; their ids."""
        jobs = [
            job_pb2.NewJob(kind=kind, payload_json=str(number).encode(), **fields) for number in range(count)
        ]
        response = await self.stub.BatchEnqueueJobs(
            jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs), timeout=PATIENCE
        )
        return [result.id for result in response.results]

    async def get(self, job_id: str) -> job_pb2.Job:
        """The job as it is now, its JSON as bytes."""
        request = jobqueue_pb2.GetJobRequest(id=job_id, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
        job: job_pb2.Job = (await self.stub.GetJob(request, timeout=PATIENCE)).job
        return job

    async def status(self, job_id: str) -> str:
        """The name of its status."""
        return Status.Name((await self.get(job_id)).status)

    async def wait(self, job_id: str) -> job_pb2.Job:
        """The job once it has ended."""
        request = jobqueue_pb2.WaitJobRequest(
            id=job_id, timeout=span(PATIENCE), payload_format=job_pb2.PAYLOAD_FORMAT_JSON
        )
        job: job_pb2.Job = (await self.stub.WaitJob(request)).job
        assert job.HasField("finished_at"), f"it did not end within {PATIENCE:g} s: {job}"
        return job

    async def until(self, job_id: str, status: str) -> job_pb2.Job:
        """The job once it has this status."""

        async def look() -> job_pb2.Job | None:
            job = await self.get(job_id)
            return job if Status.Name(job.status) == status else None

        job: job_pb2.Job = await eventually(look)
        return job

    async def cancel(self, job_id: str, reason: str = "") -> Any:
        """Cancels the job."""
        request = jobqueue_pb2.CancelJobRequest(id=job_id, reason=reason)
        return await self.stub.CancelJob(request, timeout=PATIENCE)

    async def retry(self, job_id: str) -> job_pb2.Job:
        """Queues an ended job again."""
        job: job_pb2.Job = (await self.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=job_id))).job
        return job

    async def pause(self, queue: str, reason: str = "") -> None:
        """Pauses a queue."""
        await self.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name=queue, reason=reason))

    async def unpause(self, queue: str) -> None:
        """Lets a queue's jobs be claimed again."""
        await self.admin.ResumeQueue(queue_admin_pb2.ResumeQueueRequest(name=queue))

    async def health(self, service: str = "") -> str:
        """What the health check answers."""
        answer = await self._health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


class Place(Caller):
    """A server in this process. `async with Place(dsn) as place`."""

    def __init__(
        self, dsn: str, *, level: int = LEVEL, tuning: Tuning | None = None, **settings: object
    ) -> None:
        self.dsn = dsn
        self._settings = Settings.load(
            {
                "database_url": dsn,
                "grpc_addr": "127.0.0.1:0",
                "metrics_addr": "off",
                "kinds": "open",
                "shutdown_grace": "0s",
                **settings,
            }
        )
        self._asking = asyncio.Lock()
        self.app = App(self._settings, level=level, tuning=tuning)
        self._connection: asyncpg.Connection | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the server."""
        await self.app.start()
        Caller.__init__(self, f"127.0.0.1:{self.app.grpc_port}")

    async def stop(self) -> None:
        """Hangs up, and stops the server as SIGTERM does."""
        await self.close()
        await self.app.stop()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def connection(self) -> asyncpg.Connection:
        """A connection to the database of the test's own; one, kept."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.dsn)
        return self._connection

    async def sql(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Runs a statement behind the server's back."""
        # Stories that run at once share the connection.
        async with self._asking:
            rows: list[asyncpg.Record] = await (await self.connection()).fetch(query, *args)
        return rows

    async def value(self, query: str, *args: object) -> Any:
        """The first value of a statement."""
        async with self._asking:
            return await (await self.connection()).fetchval(query, *args)

    async def pause_until_stored(self, payloads: list[bytes], queue: str = "default", **fields: Any) -> None:
        """Enqueues jobs while their queue is paused, so that they are claimed together."""
        for number, payload in enumerate(payloads):
            await self.enqueue(payload=payload, queue=queue, **fields)
            if number == 0:
                await self.pause(queue)
        await self.unpause(queue)
