"""Servers of two levels on one database: what a newer one uses first, and what becomes of an older one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from jobqueue_server.core.upkeep.levels import LEVEL
from jobqueue_server.errors import ServersDiffer
from jobqueue_server.store.statements import statement
from jobqueue_server.store.upkeep.levels import LevelTooLow
from tests.lease.place import Caller, Place, eventually

from .server_process import ServerProcess

pytestmark = pytest.mark.any_engine

NEWER = LEVEL + 1
# How the statement begins that locks the requirement before it is raised.
_RAISE = "-- server: the level that is required -> the same"


async def required(place: Place) -> int:
    level: int = await place.value("select min_level from requirement")
    return level


async def unheard(place: Place, level: int) -> None:
    """A minute goes by for the servers of this level."""
    # One heartbeat may still have been on its way.
    await place.sql("update server set heartbeat_at = now() - interval '61 s' where level = $1", level)


async def test_each_server_writes_its_level(dsn: str):
    async with Place(dsn) as older, Place(dsn, level=NEWER):
        rows = await older.sql("select level from server order by level")
        assert [row["level"] for row in rows] == [LEVEL, NEWER]
        assert await required(older) == 1


async def test_a_capability_is_refused_while_an_older_server_lives(dsn: str):
    async with Place(dsn, level=NEWER) as newer:
        async with Place(dsn) as older:
            with pytest.raises(ServersDiffer) as refused:
                await newer.app.upkeep.levels.require(NEWER, "sorting")
            assert refused.value.metadata == {"servers": older.app.name, "level": str(NEWER)}
            assert f"sorting can be used once all servers have level {NEWER}" in refused.value.message
            assert await required(newer) == 1
            await newer.until((await older.enqueue()).id, "QUEUED")
        # It has signed off.
        await newer.app.upkeep.levels.require(NEWER, "sorting")
        assert await required(newer) == NEWER


async def test_an_older_server_does_not_start_once_a_capability_is_used(dsn: str):
    async with Place(dsn, level=NEWER) as newer:
        await newer.app.upkeep.levels.require(NEWER, "sorting")
        with pytest.raises(
            LevelTooLow, match=f"of level {NEWER} or higher, and this one has level {LEVEL}.*Upgrade"
        ):
            async with Place(dsn):
                pass
        assert await newer.value("select count(*) from server") == 1


async def test_a_level_that_is_required_already_costs_no_statement(dsn: str):
    async with Place(dsn, level=NEWER) as newer:
        levels = newer.app.upkeep.levels
        await levels.require(NEWER, "sorting")
        # A heartbeat that was on its way has read less.
        levels.heard(LEVEL)
        await newer.sql("drop table requirement")
        await levels.require(NEWER, "sorting")
        await levels.require(LEVEL, "counting")


@pytest.mark.slow
async def test_a_server_that_registers_anew_takes_what_the_database_requires_then(dsn: str):
    async with Place(dsn, level=NEWER) as newer:
        levels = newer.app.upkeep.levels
        await levels.require(NEWER, "sorting")
        # As a restore to a time before it does.
        await newer.sql("update requirement set min_level = $1", LEVEL)
        await newer.sql("delete from server")

        async def lowered() -> bool:
            return levels.required == LEVEL

        await eventually(lowered)


async def test_callers_that_come_at_once_raise_a_requirement_once(dsn: str):
    async with Place(dsn, level=NEWER) as newer, held(dsn) as connection:
        await connection.execute("select from requirement for update")
        levels = newer.app.upkeep.levels
        first = [asyncio.ensure_future(levels.require(NEWER, "sorting")) for _ in range(100)]
        await waits(newer, _RAISE)
        assert await waiting(newer, _RAISE) == 1
        # It takes nothing from the others that one hangs up.
        first[0].cancel()
        await connection.execute("rollback")
        await asyncio.gather(*first[1:])
        assert await required(newer) == NEWER


async def test_a_raise_that_failed_is_tried_again_by_the_next_caller(dsn: str):
    async with Place(dsn, level=NEWER) as newer:
        await newer.sql("alter table requirement rename to gone")
        tried = [newer.app.upkeep.levels.require(NEWER, "sorting") for _ in range(3)]
        failures = await asyncio.gather(*tried, return_exceptions=True)
        assert [type(failure).__name__ for failure in failures] == ["UndefinedTableError"] * 3
        await newer.sql("alter table gone rename to requirement")
        await newer.app.upkeep.levels.require(NEWER, "sorting")
        assert await required(newer) == NEWER


@pytest.mark.slow
async def test_a_requirement_is_heard_by_the_other_servers(dsn: str):
    async with Place(dsn, level=NEWER) as one, Place(dsn, level=NEWER) as other:
        await one.app.upkeep.levels.require(NEWER, "sorting")

        async def heard() -> bool:
            return other.app.upkeep.levels.required == NEWER

        await eventually(heard)


@asynccontextmanager
async def held(dsn: str) -> AsyncIterator[Any]:
    """A connection in a transaction, which is rolled back at the end if it is still open."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("begin")
        yield connection
    finally:
        await connection.close()


async def waiting(place: Place, statement: str) -> int:
    """How many statements that begin so wait for a lock."""
    count: int = await place.value(
        "select count(*) from pg_locks l join pg_stat_activity a using (pid)"
        " where not l.granted and starts_with(a.query, $1)",
        statement,
    )
    return count


async def waits(place: Place, statement: str) -> None:
    """Returns once a statement that begins so waits for a lock."""

    async def look() -> bool:
        return bool(await waiting(place, statement))

    await eventually(look)


async def test_a_server_that_registers_while_the_requirement_is_raised_is_refused(dsn: str):
    async with Place(dsn, level=NEWER) as newer, held(dsn) as raising:
        await raising.execute("select from requirement for update")
        await raising.execute(f"update requirement set min_level = {NEWER}")
        late = Place(dsn)
        starting = asyncio.create_task(late.start())
        try:
            await waits(newer, "-- server: - -> alive")
            await raising.execute("commit")
            with pytest.raises(LevelTooLow):
                await starting
        finally:
            starting.cancel()
            await late.app.stop()


async def test_the_requirement_is_raised_after_the_servers_that_are_registering_are_seen(dsn: str):
    async with Place(dsn, level=NEWER) as newer, held(dsn) as registering:
        await registering.fetch(statement("register_server"), "late", LEVEL, "")
        using = asyncio.create_task(newer.app.upkeep.levels.require(NEWER, "sorting"))
        await waits(newer, "-- server: the level that is required -> the same")
        await registering.execute("commit")
        with pytest.raises(ServersDiffer, match="these are older: late"):
            await using


@pytest.mark.slow
async def test_a_server_that_was_not_heard_for_a_minute_leaves_when_it_comes_back(
    dsn: str, processes: Callable[..., ServerProcess]
):
    older = processes(dsn, shutdown_grace="30s")
    await older.start()
    async with Place(dsn, level=NEWER) as newer:
        caller = Caller(await older.address())
        job = await caller.enqueue()
        await caller.close()
        older.send(signal.SIGSTOP)

        async def used() -> bool:
            await unheard(newer, LEVEL)
            with suppress(ServersDiffer):
                await newer.app.upkeep.levels.require(NEWER, "sorting")
            return await required(newer) == NEWER

        await eventually(used)
        older.send(signal.SIGCONT)

        line = await older.said("this server is too old for its database, and leaves")
        assert f"servers of level {NEWER} or higher" in line["cause"]
        await older.said("draining")
        await older.said("jobqueue-server has ended")
        assert await older.ended() == 3
        assert "Upgrade this server" in str(older.log[-1])
        worker = await newer.worker()
        assert (await worker.job()).id == job.id


@pytest.mark.slow
async def test_a_server_inside_another_program_drains_by_itself(dsn: str):
    async with Place(dsn, level=NEWER) as newer, Place(dsn) as older:
        worker = await older.worker(kinds=["count"])
        await older.sql("update requirement set min_level = $1", NEWER)
        assert (await worker.next("go_away")).reason == "DRAINING"
        assert await older.health() == "NOT_SERVING"
        assert await newer.health() == "SERVING"


@pytest.mark.slow
async def test_all_processes_of_a_program_leave(dsn: str, processes: Callable[..., ServerProcess]):
    program = processes(dsn, processes="2", shutdown_grace="5s")
    await program.launch()
    await program.said("all processes are ready")
    async with Place(dsn, level=NEWER) as newer:
        await newer.sql("update requirement set min_level = $1", NEWER)
        await program.said("a server process is too old for its database, and so are all")
        assert await program.ended() == 3
