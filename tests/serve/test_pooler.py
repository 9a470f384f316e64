"""Behind pgbouncer: in session mode the server serves, in any other it does not start."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

import grpc
import pytest

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.lease.hand_worker import reason_of
from tests.lease.place import Place, eventually
from tests.pgbouncer import PgBouncer

pytestmark = [pytest.mark.slow, pytest.mark.pgbouncer, pytest.mark.any_engine]


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(listen=True) as postgres:
        yield postgres


@pytest.fixture
async def migrated(postgres: EmbeddedPostgres) -> str:
    await migrate.up(postgres.dsn)
    return postgres.dsn


async def test_a_server_behind_session_mode_has_its_settings_and_hears_others(migrated):
    # Of its own it has 20 connections, and the two servers may want more where they are slow.
    with PgBouncer(migrated, "session", default_pool_size="60") as pooler:
        async with Place(pooler.dsn) as first, Place(pooler.dsn) as second:
            for hot in (True, False):
                async with first.app.stores.database.session(hot=hot) as session:
                    for name, value in (
                        ("enable_seqscan", "off"),
                        ("jit", "off"),
                        ("statement_timeout", "5s"),
                    ):
                        assert await session._connection.fetchval(f"show {name}") == value
            worker = await first.worker()

            async def acquainted() -> bool:
                return second.app.events.peers.listen

            await eventually(acquainted)
            took = []
            for _ in range(10):
                started = time.monotonic()
                job = await second.enqueue()
                leased = await worker.job()
                assert leased.id == job.id
                assert await worker.succeed(leased) == []
                took.append(time.monotonic() - started)
            # Without notices each job would wait for the next poll.
            assert statistics.median(took) < 1
            assert first.app.events.exchange._echoed


@pytest.mark.alone
async def test_the_service_goes_on_when_the_pooler_is_back(migrated):
    with PgBouncer(migrated, "session") as pooler:
        async with Place(pooler.dsn) as place:
            worker = await place.worker()
            await place.enqueue()
            held = await worker.job()
            await worker.heartbeat()
            await asyncio.to_thread(pooler.kill)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await place.enqueue()
            assert reason_of(raised.value) == "DATABASE_AWAY"

            async def health(expected: str) -> bool:
                return await place.health() == expected

            await eventually(lambda: health("NOT_SERVING"))
            await asyncio.to_thread(pooler.start)
            await eventually(lambda: health("SERVING"), 2)
            assert await worker.succeed(held) == []
            job = await place.enqueue()
            leased = await worker.job()
            assert leased.id == job.id
            assert await worker.succeed(leased) == []


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("transaction", {}),
        # Whose turn a connection is does not depend on who had it last.
        ("transaction", {"server_round_robin": "1", "min_pool_size": "3"}),
        ("statement", {}),
    ],
    ids=["transaction", "transaction, round robin", "statement"],
)
async def test_a_server_behind_another_mode_does_not_start_and_says_why(migrated, processes, mode, settings):
    with PgBouncer(migrated, mode, **settings) as pooler:
        # The second time a connection has the prepared statements of the first time.
        for _ in range(2):
            server = processes(pooler.dsn)
            await server.launch()
            assert await server.ended() == 1
            said = " ".join(str(line.get("event", line.get("message"))) for line in server.log)
            assert "set pool_mode=session in pgbouncer for this database" in said
            assert "Traceback" not in said
