"""A former primary that comes back read-write gets no job, nor does another cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.store import migrate
from jobqueue_server.store.connect import Connector
from jobqueue_server.store.database import Database
from jobqueue_server.store.lineage import Lineage
from tests.lease.hand_worker import reason_of
from tests.lease.place import Place, eventually
from tests.standby import Pair, a_primary_and_its_standby, both, freeze, run, thaw

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]

OURS = "from pg_stat_activity where application_name like 'jobqueue-server %'"
HANG_UP = f"select count(pg_terminate_backend(pid, 5000)) {OURS}"


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with a_primary_and_its_standby() as pair:
        await migrate.up(pair.old.dsn)
        yield pair


async def caught_up(pair: Pair) -> None:
    """Until the standby has all that was written."""
    end = await run(pair.old.dsn, "select pg_current_wal_lsn()::text")

    async def look() -> Any:
        return await run(pair.new.dsn, "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", end)

    await eventually(look)


async def jobs_in(postgres: EmbeddedPostgres) -> set[str]:
    ids = await run(postgres.dsn, "select array_agg(id::text) from job")
    return set(ids or [])


async def acknowledged(place: Place, count: int) -> set[str]:
    """The ids of so many jobs, enqueued again and again while the database is away."""
    ids: set[str] = set()
    async with asyncio.timeout(30):
        while len(ids) < count:
            try:
                ids.add((await place.enqueue()).id)
            except grpc.aio.AioRpcError as error:
                if reason_of(error) != "DATABASE_AWAY":
                    raise
                await asyncio.sleep(0.05)
    return ids


def refusals(place: Place, cause: str) -> float:
    value = place.app.metrics.registry.get_sample_value(
        "jobqueue_connections_refused_total", {"cause": cause}
    )
    assert value is not None
    return value


async def test_a_former_primary_that_comes_back_gets_no_job(pair, caplog):
    async with Place(pair.dsn) as place:
        first = await acknowledged(place, 5)
        await caught_up(pair)
        await asyncio.to_thread(pair.old.kill)
        await pair.promote()
        second = await acknowledged(place, 5)
        await asyncio.to_thread(pair.old.start)
        # Every connection is made anew, and the first host of the DSN takes writes again.
        await run(pair.new.dsn, HANG_UP)
        third = set()
        for _ in range(4):
            third |= await acknowledged(place, 25)
            await run(pair.new.dsn, HANG_UP)
        assert await jobs_in(pair.new) == first | second | third
        assert await jobs_in(pair.old) == first
        assert refusals(place, "timeline") > 0
    told = [
        record
        for record in caplog.records
        if "a connection to the database is refused" in record.getMessage()
    ]
    assert len(told) == 1
    assert told[0].levelname == "ERROR"
    assert "it is a former primary, on timeline 1 where this server has seen 2" in told[0].getMessage()


async def test_connections_to_a_primary_that_thaws_after_a_promotion_are_ended(pair):
    async with Place(pair.dsn) as place:
        first = await acknowledged(place, 5)
        await caught_up(pair)
        frozen = freeze(pair.old)
        try:
            # They wait for the old primary, which would take them when it thaws.
            stuck = [asyncio.create_task(place.enqueue()) for _ in range(20)]
            await asyncio.sleep(0.2)
            await pair.promote()
            second = await acknowledged(place, 20)
        finally:
            thaw(frozen)
        results = await asyncio.gather(*stuck, return_exceptions=True)
        late = {each.id for each in results if not isinstance(each, BaseException)}
        third = await acknowledged(place, 50)
        assert first | second | late | third <= await jobs_in(pair.new)

        async def left() -> bool:
            return not await run(pair.old.dsn, f"select count(*) {OURS}")

        await eventually(left)


async def test_a_newer_timeline_ends_a_transaction_on_the_older_one(pair):
    connector = Connector(pair.dsn, name="test", lineage=Lineage())
    database = Database(connector, pool_size=4, acquire_timeout=timedelta(seconds=5))
    await database.open()
    try:
        with pytest.raises(DatabaseAway):
            async with database.transaction(hot=True) as transaction:
                await transaction.fetchrow("read_clock")
                frozen = freeze(pair.old)
                try:
                    await pair.promote()
                    other = await connector.connect({}, timeout=10)
                finally:
                    thaw(frozen)
                assert not other.is_closed()
                other.terminate()
                await transaction.fetchrow("read_clock")
        assert await database.fetchrow("read_clock", hot=True)
    finally:
        await database.close()


async def test_a_standby_is_not_taken_for_the_database(pair):
    connector = Connector(pair.new.dsn, name="test", lineage=Lineage())
    with pytest.raises(DatabaseAway, match="takes no connection: it is a standby"):
        await connector.connect({}, timeout=10)


async def test_another_cluster_at_the_address_gets_no_job(caplog):
    with EmbeddedPostgres(listen=True) as ours, EmbeddedPostgres(listen=True) as theirs:
        for postgres in (ours, theirs):
            await migrate.up(postgres.dsn)
        secret = ours.dsn.partition("@")[0].rpartition(":")[2]
        await run(theirs.dsn, f"alter role postgres password '{secret}'")
        async with Place(both(ours.dsn, theirs.dsn)) as place:
            first = await acknowledged(place, 5)
            await asyncio.to_thread(ours.kill)
            for _ in range(20):
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await place.enqueue()
                assert reason_of(raised.value) == "DATABASE_AWAY"
                await asyncio.sleep(0.05)
            assert "it is another cluster" in str(raised.value.details())
            assert refusals(place, "cluster") > 0
            await asyncio.to_thread(ours.start)
            second = await acknowledged(place, 5)
            assert await jobs_in(ours) == first | second
        with_password = theirs.dsn.replace(theirs.dsn.partition("@")[0].rpartition(":")[2], secret)
        assert not await run(with_password, "select count(*) from job")


async def test_a_database_that_does_not_tell_its_timeline_is_served_with_one_line(dsn, cluster, caplog):
    """A managed one may forbid to ask, and then guards against a former primary itself."""
    database = urlsplit(dsn).path.lstrip("/")
    role = f"{database}_service"
    await asyncio.to_thread(cluster.execute, f"create role {role} login")
    await asyncio.to_thread(
        cluster.execute, "revoke execute on function pg_control_system() from public", database
    )
    service = cluster.dsn_of(database, user=role)
    try:
        await migrate.up(dsn, role)
        async with Place(service) as place:
            assert (await place.enqueue()).id
        lines = [record for record in caplog.records if "does not tell its timeline" in record.getMessage()]
        assert [record.levelname for record in lines] == ["WARNING"]
        assert "permission denied" in lines[0].getMessage()
    finally:
        await asyncio.to_thread(cluster.execute, f"drop owned by {role}", database)
        await asyncio.to_thread(cluster.execute, f"drop role {role}")
