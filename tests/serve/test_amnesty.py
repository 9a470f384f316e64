"""The database goes for longer than sessions live, and nobody loses anything: no server could hear the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from jobqueue.v1 import lease_pb2
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.lease.place import Place, Status

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

Verdict = lease_pb2.SettleResult.Verdict
TTL = 10.0
# Longer than the ttl, and than the 12 s after which a server counts as dead.
AWAY = 13.0


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """One of the test's own; it listens on a port, so that it is the same address after a restart."""
    with EmbeddedPostgres(listen=True) as postgres:
        yield postgres


async def test_no_session_is_charged_a_loss_for_the_time_without_a_database(postgres):
    """Of two servers; of workers whose streams stay, and of one whose stream breaks meanwhile."""
    await migrate.up(postgres.dsn)
    async with Place(postgres.dsn) as first, Place(postgres.dsn) as second:
        staying = [
            await place.worker(name=kind, kinds=[kind], ttl=TTL)
            for place, kind in ((first, "one"), (second, "two"))
        ]
        broken = await first.worker(name="three", kinds=["three"], ttl=TTL)
        jobs = [await first.enqueue("one"), await second.enqueue("two"), await first.enqueue("three")]
        held = [await worker.job() for worker in (*staying, broken)]
        await asyncio.gather(*(worker.heartbeat() for worker in (*staying, broken)))
        # Whoever is given a job a second time.
        thief = await second.worker(name="thief", kinds=["one", "two", "three"], slots=0)

        await asyncio.to_thread(postgres.kill)
        broken.cut()
        await asyncio.sleep(AWAY)
        await asyncio.to_thread(postgres.start)

        await thief.capacity(10)
        # Longer than the service needs to resume, and a reaper for what it finds.
        await thief.no_job(2.5)
        again = await second.worker(kinds=["three"], resume=broken.resume(held=[held[2]]))
        for worker, job in zip((*staying, again), held, strict=True):
            while (results := await worker.succeed(job)) and results[0].verdict == Verdict.TRY_AGAIN:
                await asyncio.sleep(0.1)
            assert results == []
        done = [await first.wait(job.id) for job in jobs]
        assert {(Status.Name(job.status), job.attempts, job.losses) for job in done} == {("SUCCEEDED", 1, 0)}
