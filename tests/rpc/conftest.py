"""A gRPC server with the real chain, adapter and servicers, before a core that remembers what it was given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import (
    access_admin_pb2,
    access_admin_pb2_grpc,
    jobqueue_pb2,
    jobqueue_pb2_grpc,
    queue_admin_pb2,
    queue_admin_pb2_grpc,
)
from jobqueue_server.chain import Anybody, Call, Chain
from jobqueue_server.core.intake.ticket import LateTicket
from jobqueue_server.lifecycle import Status
from jobqueue_server.metrics import Metrics
from jobqueue_server.model import Enqueued, Job, JobFilter, Kind, NewJob, NewJobs, Page, Queue, Ticket
from jobqueue_server.rpc.access_admin import AccessAdminServicer
from jobqueue_server.rpc.audit import AuditServicer
from jobqueue_server.rpc.identities import IdentityServicer
from jobqueue_server.rpc.job_queue import JobQueueServicer
from jobqueue_server.rpc.queue_admin import QueueAdminServicer
from jobqueue_server.rpc.queue_keys import QueueKeyServicer
from jobqueue_server.rpc.server import GrpcServer
from jobqueue_server.rpc.union import ServicerUnion
from jobqueue_server.scope import Scope
from jobqueue_server.settings import Settings

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


def a_job(**fields: Any) -> Job:
    """A job as the core answers it; what matters to a test is given by name."""
    known: dict[str, Any] = {
        "id": uuid4(),
        "kind": "send_email",
        "queue": "default",
        "status": Status.QUEUED,
        "priority": 0,
        "attempts": 0,
        "failures": 0,
        "losses": 0,
        "max_attempts": 3,
        "run_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Job(**{**known, **fields})


class Core:
    """Stands where the core does: remembers each call, and answers or raises what a test has set."""

    def __init__(self) -> None:
        self.enqueued: list[NewJob] = []
        self.calls: list[tuple[Any, ...]] = []
        self.job = a_job()
        self.replayed = False
        self.pending = False
        self.error: Exception | None = None
        self.before: Callable[[], Awaitable[object]] | None = None

    async def _called(self, *what: Any) -> None:
        self.calls.append(what)
        if self.before is not None:
            await self.before()
        if self.error is not None:
            raise self.error

    def put(self, scope: Scope, jobs: Sequence[NewJobs], path: str, caller: str) -> Ticket:
        return LateTicket(partial(self._enqueue, jobs, path), scope, caller)

    async def _enqueue(self, jobs: Sequence[NewJobs], path: str) -> Enqueued:
        await self._called("put", path)
        self.enqueued += [some.new for some in jobs]
        if path == "jobs[]":
            return Enqueued([uuid4() for some in jobs for _ in some.payloads])
        return Enqueued([self.job.id], [self.job.id] if self.replayed else (), job=self.job)

    async def get(self, scope: Scope, job_id: UUID) -> Job:
        await self._called("get", job_id)
        return self.job

    async def list(
        self, scope: Scope, wanted: JobFilter, *, size: int, token: str, full: bool, patience: timedelta
    ) -> Page:
        await self._called("list", wanted, size, token, full)
        return Page((self.job,), "more")

    async def cancel(self, scope: Scope, job_id: UUID, reason: str) -> tuple[Job, bool]:
        await self._called("cancel", job_id, reason)
        return self.job, self.pending

    async def retry(self, scope: Scope, job_id: UUID, *, respect_unique: bool = False) -> Job:
        await self._called("retry", job_id, respect_unique)
        return self.job

    async def release(self, scope: Scope, job_id: UUID) -> Job:
        await self._called("release", job_id)
        return self.job

    async def delete(self, scope: Scope, job_id: UUID) -> None:
        await self._called("delete", job_id)

    async def wait(self, scope: Scope, job_id: UUID, timeout: timedelta) -> Job:
        await self._called("wait", job_id, timeout)
        return self.job

    async def list_queues(self, scope: Scope, size: int, token: str) -> tuple[Sequence[Queue], str]:
        await self._called("list_queues", size, token)
        return [Queue("mail", False)], ""

    async def get_queue(self, scope: Scope, name: str) -> Queue:
        await self._called("get_queue", name)
        return Queue(name, False)

    async def pause_queue(self, scope: Scope, name: str, reason: str = "") -> Queue:
        await self._called("pause_queue", name)
        return Queue(name, True)

    async def resume_queue(self, scope: Scope, name: str) -> Queue:
        await self._called("resume_queue", name)
        return Queue(name, False)

    async def put_kind(
        self, scope: Scope, kind: Kind, fields: Collection[str] | None = None, *, only_newer: bool = False
    ) -> tuple[Kind, bool]:
        await self._called("put_kind", kind, fields, only_newer)
        return kind, True

    async def list_kinds(self, scope: Scope, size: int, token: str) -> tuple[Sequence[Kind], str]:
        await self._called("list_kinds", size, token)
        return [Kind("send_email")], ""

    async def create_namespace(self, scope: Scope, name: str) -> None:
        await self._called("create_namespace", name)

    async def disable_namespace(self, scope: Scope, name: str) -> None:
        await self._called("disable_namespace", name)

    async def enable_namespace(self, scope: Scope, name: str) -> None:
        await self._called("enable_namespace", name)


class Decides(Anybody):
    """Access of which memory knows nothing: each call is decided."""

    def __init__(self, decide: Callable[[Call], Awaitable[Scope]]) -> None:
        self._decide = decide

    def verdict(self, call: Call) -> Scope | None:
        return None

    async def decide(self, call: Call) -> Scope:
        return await self._decide(call)


@dataclass
class Served:
    """A running server and a channel to it."""

    core: Any
    chain: Chain
    metrics: Metrics
    server: GrpcServer
    port: int
    channel: grpc.aio.Channel
    jobs: Any = field(init=False)
    admin: Any = field(init=False)
    access: Any = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = jobqueue_pb2_grpc.JobQueueStub(self.channel)
        self.admin = queue_admin_pb2_grpc.QueueAdminStub(self.channel)
        self.access = access_admin_pb2_grpc.AccessAdminStub(self.channel)


@asynccontextmanager
async def serving(job_queue: object = None, **chain_options: Any) -> AsyncIterator[Served]:
    """A server of all services; `job_queue` in place of the real servicer of JobQueue."""
    core: Any = Core()
    metrics = Metrics()
    chain = Chain(metrics, **chain_options)
    clock: Any = FixedClock()
    servicer = job_queue or JobQueueServicer(core, core, core, clock)
    server = GrpcServer(
        chain,
        [
            (jobqueue_pb2.DESCRIPTOR.services_by_name["JobQueue"], servicer),
            (
                queue_admin_pb2.DESCRIPTOR.services_by_name["QueueAdmin"],
                ServicerUnion(QueueAdminServicer(core, core), QueueKeyServicer(core)),
            ),
            (
                access_admin_pb2.DESCRIPTOR.services_by_name["AccessAdmin"],
                ServicerUnion(AccessAdminServicer(core), IdentityServicer(core), AuditServicer(core)),
            ),
        ],
        engine=Settings.load().grpc_engine,
    )
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Served(core, chain, metrics, server, port, channel)
    await server.stop(timedelta(0))


@pytest.fixture
async def served(engine: str) -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


@dataclass
class Refusal:
    """An error as a client sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    violations: dict[str, str]
    retry_seconds: float | None
    trailing: dict[str, Any]


async def refused(call: Awaitable[Any]) -> Refusal:
    """What the call was refused with; it must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal(caught.value)


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Reads the details of an error."""
    trailing: dict[str, Any] = dict(tuple(error.trailing_metadata() or ()))
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_seconds = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            assert detail.Unpack(info) or detail.Unpack(bad), detail.type_url
    if status.code:
        assert status.code == error.code().value[0]
        assert status.message == error.details()
    return Refusal(
        error.code(),
        error.details() or "",
        info.reason,
        info.domain,
        dict(info.metadata),
        {one.field: one.description for one in bad.field_violations},
        retry_seconds,
        trailing,
    )
