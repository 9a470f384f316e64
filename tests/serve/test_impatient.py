"""Callers whose time is short, or who hang up: that is no fault of the server, so it logs nothing of it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import uuid
from collections import Counter
from typing import Any

import grpc
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from tests.lease.hand_worker import span
from tests.lease.place import Caller

pytestmark = pytest.mark.slow

CALLS = 780
ABREAST = 12
KINDS = 50

HELLO = lease_pb2.Hello(
    worker="impatient",
    subscriptions=[lease_pb2.Subscription(kinds=["kind-1"])],
    capacity=lease_pb2.Capacity(slots=2),
    # None is lost while the test runs, which would be worth a warning.
    session_ttl=span(600),
)


def _job(number: int, **fields: Any) -> job_pb2.NewJob:
    return job_pb2.NewJob(kind=f"kind-{number % KINDS}", payload_json=b'{"number": %d}' % number, **fields)


class Impatient:
    """Makes calls of every sort, each with 1 to 30 ms; some are cancelled, or hung up on, before that.

    Attributes:
        ends: How many ended how.
    """

    def __init__(self, caller: Caller, http_port: int, ids: list[str], token: str) -> None:
        self._caller = caller
        self._http_port = http_port
        self._ids = ids
        self._token = token
        self._random = random.Random(7)
        self.ends: Counter[str] = Counter()

    async def run(self, calls: int) -> None:
        """Makes that many, some of them abreast."""
        free = asyncio.Semaphore(ABREAST)
        ways = (self._unary, self._http, self._unary, self._http, self._stream)

        async def one(number: int) -> None:
            async with free:
                self.ends[await ways[number % len(ways)](number)] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(one(number))

    def _seconds(self) -> float:
        return self._random.uniform(0.001, 0.03)

    async def _ended(self, call: Any, number: int) -> str:
        if number % 3 == 0:
            await asyncio.sleep(self._random.uniform(0, 0.01))
            call.cancel()
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code().name
        except asyncio.CancelledError:
            return "CANCELLED"
        return "OK"

    async def _unary(self, number: int) -> str:
        stub, admin, pb = self._caller.stub, self._caller.admin, jobqueue_pb2
        job_id = self._random.choice(self._ids)
        key = str(uuid.uuid4()) if number % 2 else "one for many"
        keyed = [_job(number, idempotency_key=f"{key}-{index}") for index in range(50)]
        mixed = [_job(number, priority=1), _job(number + 1), _job(number + 2, delay=span(60))]
        method, request = self._random.choice(
            [
                (stub.EnqueueJob, pb.EnqueueJobRequest(job=_job(number))),
                (stub.EnqueueJob, pb.EnqueueJobRequest(job=_job(number, labels={"a": "b"}))),
                (stub.EnqueueJob, pb.EnqueueJobRequest(job=_job(7, idempotency_key=key))),
                (stub.EnqueueJob, pb.EnqueueJobRequest(job=job_pb2.NewJob(kind=f"new-{number}"))),
                (stub.BatchEnqueueJobs, pb.BatchEnqueueJobsRequest(jobs=[_job(number)] * 300)),
                (stub.BatchEnqueueJobs, pb.BatchEnqueueJobsRequest(jobs=mixed * 20)),
                (stub.BatchEnqueueJobs, pb.BatchEnqueueJobsRequest(jobs=keyed)),
                (stub.GetJob, pb.GetJobRequest(id=job_id)),
                (stub.ListJobs, pb.ListJobsRequest(page_size=500)),
                (stub.WaitJob, pb.WaitJobRequest(id=job_id)),
                (stub.CancelJob, pb.CancelJobRequest(id=job_id)),
                (stub.RetryJob, pb.RetryJobRequest(id=job_id)),
                (stub.DeleteJob, pb.DeleteJobRequest(id=job_id)),
                (stub.OpenSession, lease_pb2.OpenSessionRequest(hello=HELLO)),
                (stub.ClaimJobs, lease_pb2.ClaimJobsRequest(session_token=self._token, max_jobs=3)),
                (stub.HeartbeatSession, lease_pb2.HeartbeatSessionRequest(session_token=self._token)),
                (admin.ListQueues, queue_admin_pb2.ListQueuesRequest()),
                # These are transactions: more of them.
                *[
                    (
                        admin.PutKind,
                        queue_admin_pb2.PutKindRequest(
                            kind=queue_admin_pb2.Kind(name=f"kind-{number % KINDS}")
                        ),
                    )
                ]
                * 5,
                *[(admin.PauseQueue, queue_admin_pb2.PauseQueueRequest(name=f"queue-{number % 3}"))] * 5,
            ]
        )
        return await self._ended(method(request, timeout=self._seconds()), number)

    async def _stream(self, number: int) -> str:
        stub = self._caller.stub
        if number % 2:
            call = stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(), timeout=self._seconds())
        else:
            call = stub.Lease(iter([lease_pb2.LeaseRequest(hello=HELLO)]), timeout=self._seconds())

        async def read() -> None:
            async for _ in call:
                pass

        reading = asyncio.create_task(read())
        return await self._ended(reading, number)

    async def _http(self, number: int) -> str:
        job = f"/v1/jobs/{self._random.choice(self._ids)}"
        one = {"kind": f"kind-{number % KINDS}", "payload": {"number": number}}
        method, path, body = self._random.choice(
            [
                ("POST", "/v1/jobs", one),
                ("POST", "/v1/jobs", {**one, "labels": {"a": "b"}}),
                ("POST", "/v1/jobs", {**one, "idempotency_key": str(uuid.uuid4())}),
                ("POST", "/v1/jobs:batchEnqueue", {"jobs": [one] * 300}),
                ("GET", job, None),
                ("GET", f"{job}:wait", None),
                ("GET", "/v1/jobs?page_size=500", None),
                ("GET", "/v1/jobs:watch", None),
                ("POST", f"{job}:cancel", {}),
                ("POST", f"{job}:retry", {}),
            ]
        )
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nGrpc-Timeout: {self._random.randint(1, 30)}m\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self._http_port)
        try:
            # Some bodies stop before their end.
            writer.write(head.encode() + (content[:-1] if number % 11 == 0 else content))
            if number % 3 == 0:
                await asyncio.sleep(self._random.uniform(0, 0.01))
                return "hung up"
            async with asyncio.timeout(60):
                return (await reader.readline()).decode().split()[1]
        finally:
            if number % 2:
                writer.transport.abort()
            writer.close()


async def test_780_calls_with_short_deadlines_and_cancels_log_nothing_above_info(dsn, processes):
    server = processes(dsn, http_addr="127.0.0.1:0")
    await server.start()
    caller = Caller(await server.address())
    ready = await server.said("jobqueue-server is ready")
    session = await caller.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=HELLO))
    ids = await caller.batch(100)
    impatient = Impatient(caller, ready["http_port"], ids, session.welcome.session_token)
    await impatient.run(CALLS)
    assert impatient.ends["DEADLINE_EXCEEDED"] > 0, "else nothing was seen"
    assert impatient.ends["504"] > 0
    assert (await caller.enqueue()).id, "it serves as before"
    await caller.close()
    server.send(signal.SIGTERM)
    assert await server.ended() == 0
    # What it warns of as it starts is of the database.
    since = server.log[server.log.index(ready) :]
    assert not [line for line in since if line.get("level") not in ("debug", "info")]
