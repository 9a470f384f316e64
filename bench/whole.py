"""Jobs per second through the whole, and WAL bytes a job: enqueue in batches, lease over streams, settle, all durable.

Server, workers and producers are processes of their own on loopback, with an embedded PostgreSQL beside them. A job
counts when its terminal state is committed. The workers are bare streams whose handler does nothing, so that the
server is what is measured; `--runtime` takes the Python Worker instead.

    .venv/bin/python -m bench.whole --jobs 200000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc.aio

from jobqueue.v1 import (
    job_pb2,
    jobqueue_pb2,
    jobqueue_pb2_grpc,
    lease_pb2,
    queue_admin_pb2,
    queue_admin_pb2_grpc,
)
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate

KIND = "noop"


def main() -> None:
    """Runs the measurement and prints one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="at most 5,000,000")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--slots", type=int, default=1000, help="of each stream")
    parser.add_argument(
        "--door",
        choices=["batch", "unary", "rest"],
        default="batch",
        help="how jobs come in: gRPC, many a call; gRPC, one a call; HTTP/JSON, one a request",
    )
    parser.add_argument("--producers", type=int, default=1, help="processes")
    parser.add_argument("--in-flight", type=int, default=8, help="calls, of each producer")
    parser.add_argument("--payload", type=int, default=128, help="bytes")
    parser.add_argument("--backlog", action="store_true", help="store all first, then let the workers come")
    parser.add_argument("--runtime", action="store_true", help="workers are those of the Python client")
    options = parser.parse_args()
    if not 0 < options.jobs <= 5_000_000:
        parser.error("--jobs must be from 1 to 5,000,000")
    print(json.dumps(asyncio.run(measure(options))))


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """One run; every process it starts has ended when it returns."""
    async with EmbeddedPostgres() as postgres:
        await migrate.up(postgres.dsn)
        connection = await asyncpg.connect(postgres.dsn)
        with serving(postgres.dsn) as (target, door, process):
            produce = {"batch": produce_batches, "unary": produce_calls, "rest": produce_requests}[
                options.door
            ]
            door = door if options.door == "rest" else target
            async with grpc.aio.insecure_channel(target) as channel:
                admin = queue_admin_pb2_grpc.QueueAdminStub(channel)
                kind = queue_admin_pb2.Kind(name=KIND)
                await admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
            await connection.execute("checkpoint")
            wal = await connection.fetchval("select pg_current_wal_insert_lsn()")
            commits = await _commits(connection)
            started = time.monotonic()
            if options.backlog:
                with running(produce, options.producers, door, options):
                    await _stored(connection, options.jobs)
                stored = time.monotonic()
                with running(_work_of(options), 1, target, options):
                    await _ended(connection, options.jobs)
                ended = time.monotonic()
                drained = ended - stored
            else:
                with (
                    running(_work_of(options), 1, target, options),
                    running(produce, options.producers, door, options),
                ):
                    await _ended(connection, options.jobs)
                ended = time.monotonic()
                drained = ended - started
            total = await connection.fetchval("select pg_current_wal_insert_lsn() - $1::pg_lsn", wal)
            commits = await _commits(connection) - commits
            twice = await connection.fetchval("select count(*) from finished_job where attempts > 1")
            server_seconds = _cpu_seconds(process)
        await connection.close()
    return {
        "jobs": options.jobs,
        "jobs_per_second": round(options.jobs / drained),
        "wal_bytes_per_job": round(float(total) / options.jobs),
        "commits_per_job": round(commits / options.jobs, 4),
        "server_cpu_us_per_job": round(server_seconds / options.jobs * 1e6, 1),
        "ran_twice": twice,
        "through": "backlog" if options.backlog else "hand-off",
        "door": options.door,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


@contextlib.contextmanager
def serving(dsn: str):  # type: ignore[no-untyped-def]
    """A server process: where it answers gRPC and HTTP, and its number."""
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jobqueue_server",
                "serve",
                "--grpc-addr",
                "127.0.0.1:0",
                "--metrics-addr",
                "off",
            ],
            env={
                **os.environ,
                "DATABASE_URL": dsn,
                "JOBQUEUE_LOG_FORMAT": "json",
                "API_BIND_ADDR": "127.0.0.1:0",
            },
            stderr=log,
            stdout=log,
        )
        try:
            ports = _ports(Path(log.name), server)
            yield f"127.0.0.1:{ports['port']}", f"127.0.0.1:{ports['http_port']}", server.pid
        finally:
            server.terminate()
            server.wait(40)


def _ports(log: Path, server: subprocess.Popen[bytes]) -> dict[str, int]:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        for line in log.read_text().splitlines():
            if "jobqueue-server is ready" in line:
                fields: dict[str, int] = json.loads(line)
                return fields
        time.sleep(0.05)
    raise SystemExit(f"the server did not come up:\n{log.read_text()}")


def _cpu_seconds(process: int) -> float:
    """What the server's process has used, its start included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(work, count: int, *arguments: object):  # type: ignore[no-untyped-def]
    """Processes that do `work` until the block ends."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=work, args=arguments, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _payload(options: argparse.Namespace) -> bytes:
    return json.dumps({"pad": "x" * max(0, options.payload - 10)}, separators=(",", ":")).encode()


def produce_batches(target: str, options: argparse.Namespace) -> None:
    """Enqueues this producer's share, many jobs a call."""

    async def run() -> None:
        batches = iter(range(options.jobs // options.batch // options.producers))
        async with grpc.aio.insecure_channel(target) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)
            jobs = [job_pb2.NewJob(kind=KIND, payload_json=_payload(options)) for _ in range(options.batch)]
            request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs)

            async def lane() -> None:
                for _ in batches:
                    await stub.BatchEnqueueJobs(request)

            await asyncio.gather(*(lane() for _ in range(options.in_flight)))

    asyncio.run(run())


def produce_calls(target: str, options: argparse.Namespace) -> None:
    """Enqueues this producer's share, one job a call."""

    async def run() -> None:
        calls = iter(range(options.jobs // options.producers))
        async with grpc.aio.insecure_channel(target) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)
            job = job_pb2.NewJob(kind=KIND, payload_json=_payload(options))
            request = jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)

            async def lane() -> None:
                for _ in calls:
                    await stub.EnqueueJob(request)

            await asyncio.gather(*(lane() for _ in range(options.in_flight)))

    asyncio.run(run())


def produce_requests(target: str, options: argparse.Namespace) -> None:
    """Enqueues this producer's share over HTTP, one job a request; each call in flight has a connection of its own."""
    body = b'{"kind":"%s","payload":%s}' % (KIND.encode(), _payload(options))
    host, port = target.split(":")
    head = f"POST /v1/jobs HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def run() -> None:
        requests = iter(range(options.jobs // options.producers))
        done = [
            await asyncio.get_running_loop().create_connection(
                lambda: _Connection(request, requests), host, int(port)
            )
            for _ in range(options.in_flight)
        ]
        await asyncio.gather(*(connection.ended for _, connection in done))

    asyncio.run(run())


class _Connection(asyncio.Protocol):
    """Sends the next request once the last one is answered. It reads no more of an answer than where that ends."""

    def __init__(self, request: bytes, requests: Iterator[int]) -> None:
        self._request = request
        self._requests = requests
        self._got = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._next()

    def _next(self) -> None:
        if next(self._requests, None) is None:
            self.ended.set_result(None)
        else:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            if not head.startswith(b"HTTP/1.1 201"):
                raise SystemExit(self._got.decode())
            self._got = b""
            self._next()


def work(target: str, options: argparse.Namespace) -> None:
    """Bare streams: each delivery is settled in one frame."""

    async def stream(stub: Any, number: int) -> None:
        hello = lease_pb2.Hello(
            worker=f"bench-{number}",
            subscriptions=[lease_pb2.Subscription(kinds=[KIND])],
            capacity=lease_pb2.Capacity(slots=options.slots),
        )
        call = stub.Lease()
        await call.write(lease_pb2.LeaseRequest(hello=hello))
        seen = seq = 0
        # A call takes one write at a time.
        writing = asyncio.Lock()

        async def beats() -> None:
            for count in range(1, 100_000):
                await asyncio.sleep(5)
                beat = lease_pb2.Heartbeat(seq=count)
                async with writing:
                    await call.write(lease_pb2.LeaseRequest(last_delivery=seen, heartbeat=beat))

        beating = asyncio.create_task(beats())
        async for frame in call:
            if frame.HasField("delivery"):
                seen, seq = frame.delivery.seq, seq + 1
                settle = lease_pb2.Settle(seq=seq, succeeded=[job.lease_id for job in frame.delivery.jobs])
                async with writing:
                    await call.write(lease_pb2.LeaseRequest(last_delivery=seen, settle=settle))
        beating.cancel()

    async def run() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)
            await asyncio.gather(*(stream(stub, number) for number in range(options.streams)))

    asyncio.run(run())


def work_by_runtime(target: str, options: argparse.Namespace) -> None:
    """Workers of the Python client, with a handler that does nothing."""
    from jobqueue import Worker

    async def noop(ctx: object) -> None:
        return None

    async def run() -> None:
        workers = [
            Worker(target, concurrency=options.slots, handlers={KIND: noop}) for _ in range(options.streams)
        ]
        await asyncio.gather(*(worker.serve() for worker in workers))

    asyncio.run(run())


def _work_of(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    return work_by_runtime if options.runtime else work


async def _stored(connection: asyncpg.Connection, jobs: int) -> None:
    while await connection.fetchval("select count(*) from live_job") < jobs:
        await asyncio.sleep(0.2)


async def _ended(connection: asyncpg.Connection, jobs: int) -> None:
    while await connection.fetchval("select count(*) from finished_job") < jobs:
        await asyncio.sleep(0.1)


async def _commits(connection: asyncpg.Connection) -> int:
    # Backends report within a second of their last transaction.
    await asyncio.sleep(1.2)
    return int(
        await connection.fetchval(
            "select xact_commit from pg_stat_database where datname = current_database()"
        )
    )


if __name__ == "__main__":
    main()
