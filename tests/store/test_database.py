"""The connections: kept between statements, never kept from who needs one, and let go once they are no good."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from jobqueue_server.store import database
from jobqueue_server.store.database import COLD_SETTINGS, HOT_SETTINGS, _lost
from tests.conftest import of_server
from tests.lease.place import leaving_nothing_to_the_collector

from .factories import until_waiting_for_a_lock

OURS = (
    "select pid, query from pg_stat_activity where application_name = 'test' and datname = current_database()"
)


async def clock(s, **ways):
    return (await s.database.fetchrow("read_clock", **ways))["us"]


async def who(s, *, hot=True):
    """The process of PostgreSQL that a statement runs in now."""
    async with s.database.session(hot=hot) as session:
        return session._connection.get_server_pid()


@pytest.mark.parametrize("hot", [True, False])
async def test_a_statement_goes_over_the_connection_of_the_one_before(s, hot):
    first = await who(s, hot=hot)
    (kept,) = s.database._ready[hot]
    for _ in range(5):
        await clock(s, hot=hot)
        assert await who(s, hot=hot) == first
    (kept_now,) = s.database._ready[hot]
    assert kept_now[0] is kept[0], "the pool would have made a new handle of it"


async def test_of_the_reads_no_more_connections_are_kept_than_their_pool_keeps(s):
    sessions = [s.database.session() for _ in range(2)]
    for session in sessions:
        await session.__aenter__()
    for session in sessions:
        await session.__aexit__(None, None, None)
    assert len(s.database._ready[False]) == 1


async def test_more_statements_at_once_than_connections_are_all_answered(s):
    answers = await asyncio.gather(*[clock(s, hot=True) for _ in range(200)])
    assert len(answers) == 200
    transactions = [s.intake.transaction() for _ in range(3)]
    for transaction in transactions:
        await transaction.__aenter__()
    # One is left, and goes from hand to hand.
    assert len(await asyncio.gather(*[clock(s, hot=True) for _ in range(50)])) == 50
    for transaction in transactions:
        await transaction.__aexit__(None, None, None)


async def test_who_waits_for_a_connection_gets_the_one_that_is_given_back(s):
    """And not who comes later: a connection that is kept ready would be the later one's."""
    sessions = [s.database.session(hot=True) for _ in range(4)]
    for session in sessions:
        await session.__aenter__()
    waiting = asyncio.create_task(clock(s, hot=True))
    await asyncio.sleep(0)
    await sessions.pop().__aexit__(None, None, None)
    assert await asyncio.wait_for(waiting, 20)
    for session in sessions:
        await session.__aexit__(None, None, None)


async def test_the_settings_of_a_connection_outlive_its_return_to_the_pool(s):
    for ways, expected in (
        ({"hot": True}, HOT_SETTINGS),
        ({}, COLD_SETTINGS),
        ({"vital": True}, HOT_SETTINGS),
    ):
        for _ in range(3):
            async with s.database.session(**ways) as session:
                connection = session._connection
                found = {name: await connection.fetchval(f"show {name}") for name in expected}
                assert found == expected
                assert await connection.fetchval("show statement_timeout") == "5s"
            # A hot one goes back to its pool only where its statement fails.
            with pytest.raises(asyncpg.PostgresError):
                async with s.database.session(**ways) as session:
                    await session._connection.execute("select 1 / 0")


@pytest.mark.parametrize("ways", [{"hot": True}, {}, {"vital": True}])
async def test_a_statement_is_prepared_once_on_a_connection_however_long_it_is(s, monkeypatch, ways):
    long = f"-- {'long ' * 20_000}\nselect 1 as us"
    monkeypatch.setattr(database, "statement", lambda name: long)
    async with s.database.session(**ways) as session:
        for _ in range(3):
            await session.fetchrow("long")
        times = "select generic_plans + custom_plans from pg_prepared_statements where statement = $1"
        assert [row[0] for row in await session._connection.fetch(times, long)] == [3]


async def test_a_connection_that_was_lost_while_it_was_kept_is_replaced(s):
    first = await who(s)
    await s.sql.execute("select pg_terminate_backend($1, 5000)", first)
    async with asyncio.timeout(20):
        while not all(_lost(connection) for connection, _ in s.database._ready[True]):
            await asyncio.sleep(0.01)
    assert await clock(s, hot=True)
    assert await who(s) != first


async def test_a_statement_that_was_given_up_leaves_no_connection_in_the_middle_of_it(s):
    await s.lane()
    async with s.sql.transaction():
        await s.sql.execute("lock table job in exclusive mode")
        stuck = asyncio.create_task(s.queued())
        await until_waiting_for_a_lock(s.sql)
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
    assert await s.queued()
    assert len(await asyncio.gather(*[clock(s, hot=True) for _ in range(20)])) == 20


async def test_none_is_left_open_at_the_end(s):
    await asyncio.gather(*[clock(s, hot=True) for _ in range(20)])
    await s.database.close()
    async with asyncio.timeout(20):
        while await s.sql.fetch(OURS):
            await asyncio.sleep(0.01)


async def test_one_that_nobody_used_for_a_minute_goes_back_to_its_pool(s, monkeypatch):
    await clock(s, hot=True)
    (kept,) = s.database._ready[True]
    monkeypatch.setattr("jobqueue_server.store.database.KEPT_READY", -1.0)
    assert await clock(s, hot=True)
    with pytest.raises(asyncpg.InterfaceError):
        kept[0].is_closed()


# A sleep that is never over before it is cut off.
@pytest.mark.parametrize("statement", ["select 1", "select pg_sleep(4)"])
@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_transaction_that_is_cut_off_anywhere_is_rolled_back_without_a_word(
    s, caplog, cancels, statement
):
    """Time is up, and then the caller hangs up. The transaction is open in whatever state that finds it."""

    async def change():
        async with s.database.transaction() as transaction:
            await transaction._connection.execute("select 1")
            await transaction._connection.execute(statement)

    for pause in range(20):
        changing = asyncio.create_task(change())
        for _ in range(cancels):
            await asyncio.sleep(pause / 4000)
            changing.cancel()
        await asyncio.wait({changing})
        assert statement == "select 1" or changing.cancelled(), "it has heard of it"
    # A pool that is given an open transaction has asyncio say so, which tells of the garbage of other tests as well.
    of_asyncio = [record for record in caplog.records if record.name == "asyncio"]
    said = [*of_server(caplog), *(each for each in of_asyncio if "transaction" in each.getMessage())]
    assert not [record for record in said if record.levelname in ("WARNING", "ERROR")]
    open_ones = (
        "select count(*) from pg_stat_activity where application_name = 'test' and state like 'idle in%'"
    )
    async with asyncio.timeout(20):
        # PostgreSQL may be a little later than its client in knowing that a transaction is over.
        while await s.sql.fetchval(open_ones):
            await asyncio.sleep(0.01)


async def test_a_transaction_that_ended_by_an_error_of_ours_is_told_that_its_task_was_cancelled(s):
    """A background part that did not hear of it would go on for ever."""
    begun = asyncio.Event()

    async def change():
        async with s.database.transaction():
            begun.set()
            raise ValueError

    with leaving_nothing_to_the_collector():
        changing = asyncio.create_task(change())
        await begun.wait()
        changing.cancel()
        await asyncio.wait({changing})
        assert changing.cancelled()
        del changing
