"""A connection does not get older than it may: its worker is asked to connect anew, and loses nothing by that."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobqueue_server.core.tuning import Tuning

from .hand_worker import PATIENCE
from .place import Place, Status

pytestmark = pytest.mark.slow


async def test_a_worker_is_asked_to_leave_shortly_before_its_connection_is_too_old(dsn):
    # Long enough to be given a job first.
    async with Place(dsn, connection_max_age="5s") as place:
        opened = time.monotonic()
        worker = await place.worker(slots=5)
        job = await place.enqueue()
        leased = await worker.job()
        go_away = await worker.next("go_away")
        assert 5 * 0.8 - 0.2 < time.monotonic() - opened < 5 * 0.9 + 1
        assert (go_away.reason, go_away.HasField("drain")) == ("MAX_AGE", False)
        # Nothing more is delivered on it, also where it says what it takes; and what is held can be settled.
        await worker.capacity(6)
        other = await place.enqueue()
        await worker.no_job(0.2)
        again = await place.worker(slots=5, resume=worker.resume(held=[leased]))
        assert (await again.job()).id == other.id
        assert (await worker.end()).reason == "SESSION_SUPERSEDED"
        assert await again.succeed(leased) == []
        done = await place.wait(job.id)
        assert (Status.Name(done.status), done.attempts) == ("SUCCEEDED", 1)


async def test_a_worker_that_finds_no_other_server_stays_and_goes_on(dsn):
    async with Place(dsn, tuning=Tuning(stays_after=0.5), connection_max_age="1s") as place:
        worker = await place.worker()
        await worker.next("go_away")
        job = await place.enqueue()
        leased = await worker.job()
        assert leased.id == job.id
        assert await worker.succeed(leased) == []
        # It is asked again when as much time has passed.
        await worker.next("go_away")


async def test_workers_are_asked_at_different_times(dsn):
    async with Place(dsn) as place:
        for number in range(20):
            await place.worker(name=f"worker-{number}", slots=0)
        moments = {round(session.leave_at - session.heard_at) for session in place.app.session.sessions.all()}
        assert len(moments) > 10
        assert min(moments) > 1800 * 0.8 - 10
        assert max(moments) < 1800 * 0.9 + 10


async def test_a_caller_connects_anew_without_an_error_and_what_is_under_way_goes_on(dsn):
    connections = 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        onward = await asyncio.open_connection("127.0.0.1", place.app.grpc_port)
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    async with (
        Place(dsn, connection_max_age="1s") as place,
        await asyncio.start_server(relay, "127.0.0.1") as between,
    ):
        port = between.sockets[0].getsockname()[1]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            async with asyncio.timeout(PATIENCE):
                while connections < 3:
                    await health.Check(health_pb2.HealthCheckRequest())
                    await asyncio.sleep(0.05)
            # Its connection is the oldest.
            assert not watch.done()
            watch.cancel()
