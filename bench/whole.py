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
import re
import subprocess
import sys
import tempfile
import time
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
        with serving(postgres.dsn) as target:
            async with grpc.aio.insecure_channel(target) as channel:
                admin = queue_admin_pb2_grpc.QueueAdminStub(channel)
                kind = queue_admin_pb2.Kind(name=KIND)
                await admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
            await connection.execute("checkpoint")
            wal = await connection.fetchval("select pg_current_wal_insert_lsn()")
            commits = await _commits(connection)
            started = time.monotonic()
            if options.backlog:
                with running(produce, options.producers, target, options):
                    await _stored(connection, options.jobs)
                stored = time.monotonic()
                with running(_work_of(options), 1, target, options):
                    await _ended(connection, options.jobs)
                ended = time.monotonic()
                drained = ended - stored
            else:
                with (
                    running(_work_of(options), 1, target, options),
                    running(produce, options.producers, target, options),
                ):
                    await _ended(connection, options.jobs)
                ended = time.monotonic()
                drained = ended - started
            total = await connection.fetchval("select pg_current_wal_insert_lsn() - $1::pg_lsn", wal)
            commits = await _commits(connection) - commits
            twice = await connection.fetchval("select count(*) from finished_job where attempts > 1")
        await connection.close()
    return {
        "jobs": options.jobs,
        "jobs_per_second": round(options.jobs / drained),
        "wal_bytes_per_job": round(float(total) / options.jobs),
        "commits_per_job": round(commits / options.jobs, 4),
        "ran_twice": twice,
        "through": "backlog" if options.backlog else "hand-off",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


@contextlib.contextmanager
def serving(dsn: str):  # type: ignore[no-untyped-def]
    """A server process; its address."""
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
            env={**os.environ, "DATABASE_URL": dsn, "JOBQUEUE_LOG_FORMAT": "json"},
            stderr=log,
            stdout=log,
        )
        try:
            yield f"127.0.0.1:{_port(Path(log.name), server)}"
        finally:
            server.terminate()
            server.wait(40)


def _port(log: Path, server: subprocess.Popen[bytes]) -> int:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        if found := re.search(r'"port": ?(\d+)', log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit(f"the server did not come up:\n{log.read_text()}")


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


def produce(target: str, options: argparse.Namespace) -> None:
    """Enqueues this producer's share."""

    async def run() -> None:
        payload = json.dumps({"pad": "x" * max(0, options.payload - 10)}, separators=(",", ":")).encode()
        batches = iter(range(options.jobs // options.batch // options.producers))
        async with grpc.aio.insecure_channel(target) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)
            jobs = [job_pb2.NewJob(kind=KIND, payload_json=payload) for _ in range(options.batch)]
            request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs)

            async def lane() -> None:
                for _ in batches:
                    await stub.BatchEnqueueJobs(request)

            await asyncio.gather(*(lane() for _ in range(options.in_flight)))

    asyncio.run(run())


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
