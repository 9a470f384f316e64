"""A cell moves to another PostgreSQL under load, as `jobqueue-server cell move` does it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import asyncpg
import pytest

from jobqueue import Client, JobQueueError, NewJob, Status
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.debian import DebianPostgres
from tests.ports import free_address

from .conftest import Bench, ends, select
from .processes import PROGRAMS, Process, ServerProcess

pytestmark = pytest.mark.slow


_SEQUENCES = "select sequencename::text, last_value from pg_sequences where schemaname = current_schema()"
_LOGICAL = {"wal_level": "logical"}


@pytest.fixture
def databases() -> Iterator[tuple[str, str]]:
    """Two PostgreSQLs, the first of which can be moved away from."""
    with ExitStack() as up:
        source = up.enter_context(EmbeddedPostgres(settings=_LOGICAL))
        target = up.enter_context(EmbeddedPostgres())
        yield source.dsn, target.dsn


@pytest.fixture
def versions() -> Iterator[tuple[str, str]]:
    """The same, of an older and of a newer major version."""
    with ExitStack() as up:
        source = up.enter_context(DebianPostgres(_LOGICAL))
        target = up.enter_context(EmbeddedPostgres(settings=_LOGICAL))
        yield source.dsn, target.dsn


def move(bench: Bench, source: str, target: str, *how: str) -> Process:
    """`jobqueue-server cell move`, as it runs."""
    number = len(list(bench.folder.glob("move-*.log")))
    command = [str(PROGRAMS / "jobqueue-server"), "cell", "move", "--to", target, *how]
    return Process(command, bench.folder / f"move-{number}.log", {"DATABASE_URL": source})


async def moved(bench: Bench, source: str, target: str, *how: str) -> str:
    """What it said, once it has ended well."""
    process = move(bench, source, target, *how)
    assert await process.ended() == 0, process.tail()
    return process.log.read_text()


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def numbers_went_on(source: str, target: str, newest: str) -> None:
    """Ids and sequences of the target are beyond all that the source has given out."""
    assert await select(source, "select 1 from jobs where id >= $1::text::uuid", newest) == []
    lasts = [dict(await select(dsn, _SEQUENCES)) for dsn in (source, target)]
    assert lasts[0].keys() == lasts[1].keys()
    assert [name for name, last in lasts[0].items() if last is not None and lasts[1][name] <= last] == []


async def test_a_cell_moves_under_load_loses_no_job_and_charges_none(
    bench: Bench, databases: tuple[str, str]
) -> None:
    await moves_under_load(bench, *databases)


@pytest.mark.older
@pytest.mark.long
async def test_a_cell_moves_under_load_to_a_newer_major_version_of_postgresql(
    bench: Bench, versions: tuple[str, str]
) -> None:
    source, target = versions
    [[old]], [[new]] = [
        await select(dsn, "select current_setting('server_version_num')::int4 / 10000") for dsn in versions
    ]
    assert old < new
    await moves_under_load(bench, source, target)

    # There is no way to the older one, which is said before anything is done.
    back = move(bench, target, source)
    assert await back.ended() == 1
    assert f"the target is PostgreSQL {old}, older than the source's {new}" in back.tail()
    assert await select(target, "select count(*) from pg_publication") == [(0,)]


async def moves_under_load(bench: Bench, source: str, target: str) -> None:
    """The story of both: workers and producers at work from the first to the last step."""
    await migrate.up(source)
    old = await bench.server(source)
    there = free_address()
    await bench.workers(f"{old.address},{there}", "w0", "w1")
    gate = bench.folder / "gate"
    answered: list[str] = []
    producing = True

    async def produce(first: Client, second: Client) -> None:
        while producing:
            for client in (first, second):
                try:
                    answered.append(str((await client.enqueue("nap", 0.02)).id))
                    break
                except JobQueueError:
                    await asyncio.sleep(0.02)

    async with Client(old.address) as first, Client(there) as second:
        long = await first.enqueue_many(NewJob("hold", {"gate": str(gate)}) for _ in range(4))
        await bench.journals.until(4, "started")
        producers = [asyncio.create_task(produce(first, second)) for _ in range(4)]

        # Ended at any point, it goes on where it was.
        begun = move(bench, source, target)
        await begun.line("copying")
        begun.kill()
        assert "both are in step" in await moved(bench, source, target)

        new = ServerProcess(
            f"{target}&target_session_attrs=read-write", bench.folder / "new.log", grpc_addr=there
        )
        try:
            await new.line("waiting for the database")
            said = await moved(bench, source, target, "--cut-over")
            seconds = float(re.search(r"moved: ([0-9.]+) s", said)[1])  # type: ignore[index]
            assert seconds <= 3, said
            await new.ready()
            old.terminate()
            assert await old.ended() == 0
            await bench.journals.until(len(bench.journals.read("ran")) + 50)
            gate.touch()
            done = await ends(second, *(job.id for job in long))
            producing = False
            await asyncio.gather(*producers)
            assert {(job.status, job.attempts, job.losses) for job in done} == {(Status.SUCCEEDED, 1, 0)}
            async with asyncio.timeout(60):
                while await select(target, "select from jobs where status <> 'succeeded' limit 1"):
                    await asyncio.sleep(0.1)
            ids = {str(id) for (id,) in await select(target, "select id from jobs")}
            assert set(answered) <= ids
            # What a claim had leased whose answer the cut-over cut off goes back as undelivered: it has not run, and is
            # charged nothing.
            assert await select(target, "select * from attempt where outcome not in (4, 6)") == []
            runs = Counter(entry.id for entry in bench.journals.read() if entry.event in ("ran", "ended"))
            assert {id: times for id, times in runs.items() if times > 1} == {}
            assert set(runs) == ids
            await numbers_went_on(source, target, str((await second.enqueue("count", 1)).id))

            # Once more: it is done, and says so; there is no way back.
            assert "The target is the cell's database" in await moved(bench, source, target, "--cut-over")
            back = move(bench, source, target, "--abandon")
            assert await back.ended() == 1
            assert "there is no way back" in back.tail()
            left = "select count(*) from pg_replication_slots union all select count(*) from pg_publication"
            assert await select(source, left) == [(0,), (0,)]
        finally:
            new.kill()
            print(new.tail())


async def test_a_move_that_is_given_up_leaves_the_source_as_it_was_and_a_target_in_use_is_refused(
    bench: Bench, databases: tuple[str, str]
) -> None:
    source, target = databases
    await migrate.up(source)
    server = await bench.server(source)
    async with Client(server.address) as client:
        await client.enqueue("count", 1)
        await moved(bench, source, target)
        # Nothing is said of jobs that came later, and of partitions: these come by themselves.
        await client.enqueue("count", 2)
        # Who writes there by mistake is told that it is closed.
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await execute(target, "delete from job")
        assert "given up" in await moved(bench, source, target, "--abandon")
        await client.enqueue("count", 3)
    assert await select(source, "select count(*) from jobs") == [(3,)]
    assert await select(source, "select count(*) from pg_replication_slots") == [(0,)]
    again = move(bench, source, target)
    assert await again.ended() == 1
    assert "the target holds jobs or keys of its own" in again.tail()


async def test_what_keeps_a_cell_from_moving_is_said_with_what_would_help(
    bench: Bench, databases: tuple[str, str]
) -> None:
    source, target = databases
    # This one has wal_level = replica.
    other = move(bench, target, source)
    assert await other.ended() == 1
    assert "set wal_level = logical" in other.tail()
    gone = move(bench, source, "postgresql://nobody@127.0.0.1:1/none")
    assert await gone.ended() == 1
    assert "the target does not answer (host=127.0.0.1 port=1 database=none)" in " ".join(gone.tail().split())
    both = move(bench, source, target, "--cut-over", "--abandon")
    assert await both.ended() == 2
