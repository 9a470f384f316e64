"""What a move does where it can't come to its end: the cell stays where it was."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import asyncpg
import pytest
from rich.console import Console

from jobqueue_server.cell import move as moving
from jobqueue_server.cell.command import move
from jobqueue_server.cell.errors import MoveRefused, TargetAway
from jobqueue_server.cell.move import Move
from jobqueue_server.cell.side import _STARTING, Reached, connected, for_libpq, for_owner
from jobqueue_server.cell.source import Source
from jobqueue_server.cell.target import Target
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.conftest import run_apart

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


class Said:
    """What was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def copied(self, rows: int, of: int) -> None:
        assert rows <= of


class Pair:
    """Two databases, and how to move from the one to the other."""

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.said = Said()

    async def follow(self) -> bool:
        async with (
            connected(self.source, "the source") as source,
            connected(self.target, "the target") as target,
        ):
            return await self._move(source, target).follow()

    async def cut_over(self) -> moving.Moved:
        async with (
            connected(self.source, "the source") as source,
            connected(self.target, "the target") as target,
        ):
            move = self._move(source, target)
            await move.follow()
            return await move.cut_over()

    def _move(self, source: Reached, target: Reached) -> Move:
        return Move(Source(source), Target(target), self.target, for_libpq(self.source), None, self.said)


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    with ExitStack() as up:
        source = up.enter_context(EmbeddedPostgres(settings={"wal_level": "logical"}))
        yield source, up.enter_context(EmbeddedPostgres())


@pytest.fixture
async def pair(clusters: tuple[EmbeddedPostgres, EmbeddedPostgres]) -> AsyncIterator[Pair]:
    """Of databases of its own; both take what it left with them."""
    for postgres in clusters:
        await execute(postgres.dsn, "create database cell")
    pair = Pair(*(postgres.dsn_of("cell") for postgres in clusters))
    run_apart(migrate.up(pair.source))
    await execute(
        pair.source, "select ensure_partitions('6 hours', 1, 2), ensure_audit_partitions('1 day', 1, 2)"
    )
    yield pair
    async with connected(pair.source, "the source") as source, connected(pair.target, "the target") as target:
        if await Target(target).subscribed():
            await Target(target).unsubscribe()
        await Source(source).forget()
    for postgres in clusters:
        await execute(postgres.dsn, "drop database cell with (force)")


async def execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def owner(dsn: str, sql: str) -> None:
    async with connected(dsn, "it") as connection:
        await connection.execute(sql)


async def takes_writes(dsn: str) -> bool:
    try:
        await execute(dsn, "update requirement set min_level = min_level")
    except asyncpg.ReadOnlySQLTransactionError:
        return False
    return True


async def test_a_target_that_does_not_come_to_the_end_leaves_the_source_open(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "CATCH_UP", 0.5)
    assert await pair.follow()
    await owner(pair.target, "alter subscription jobqueue_move disable")
    await execute(pair.source, "update requirement set min_level = min_level + 1")
    with pytest.raises(
        MoveRefused, match=r"did not come to the end of the source's log in 0.5 s, \d+ bytes are left"
    ):
        await pair.cut_over()
    assert await takes_writes(pair.source)
    assert not await takes_writes(pair.target)
    # And it goes on once the target does.
    await owner(pair.target, "alter subscription jobqueue_move enable")
    monkeypatch.undo()
    assert (await pair.cut_over()).seconds > 0
    assert not await takes_writes(pair.source)
    assert await takes_writes(pair.target)


async def test_rows_that_are_missing_on_the_target_keep_it_closed(pair: Pair) -> None:
    assert await pair.follow()
    await owner(pair.target, "delete from namespace")
    with pytest.raises(MoveRefused, match=r"other numbers of rows on the target: namespace \(1 and 0\)"):
        await pair.cut_over()
    assert await takes_writes(pair.source)
    assert not await takes_writes(pair.target)


async def test_a_migration_of_the_source_since_keeps_it_from_cutting_over(pair: Pair) -> None:
    assert await pair.follow()
    await execute(
        pair.source, "insert into schema_migration (version, name, checksum) values (9999, 'new', 'x')"
    )
    with pytest.raises(MoveRefused, match="of one version on both"):
        await pair.cut_over()
    assert await takes_writes(pair.source)


async def test_a_run_that_was_killed_before_it_opened_the_target_is_ended_by_the_next(pair: Pair) -> None:
    assert await pair.follow()
    async with connected(pair.source, "the source") as source, connected(pair.target, "the target") as target:
        await Source(source).close()
        await Target(target).unsubscribe()
    assert not await takes_writes(pair.source)
    assert not await takes_writes(pair.target)
    assert not await pair.follow()
    assert await pair.cut_over() == moving.Moved()
    assert await takes_writes(pair.target)
    assert not await takes_writes(pair.source)


async def test_a_writer_that_was_about_to_connect_when_the_source_closed_writes_nothing(pair: Pair) -> None:
    """It has read that the database takes writes, and is not among its sessions yet."""
    async with connected(pair.source, "the source") as source:
        starting = asyncio.create_task(
            asyncpg.connect(pair.source, server_settings={"post_auth_delay": "3"}, timeout=30)
        )
        async with asyncio.timeout(20):
            while not await source.fetchval(_STARTING):
                await asyncio.sleep(0.01)
        end = await Source(source).close()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            late = await starting
            await late.execute("update requirement set min_level = min_level")
        # Nothing came behind the end of the log that the target has to come to.
        wrote = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::int8"
        assert await source.fetchval(wrote, end) < 1_000
        await Source(source).open_again()
    assert await takes_writes(pair.source)


@pytest.mark.parametrize("reachable", [False, True])
async def test_the_password_of_the_source_is_in_no_log_of_the_target(reachable: bool) -> None:
    said = {"log_statement": "all", "log_min_duration_statement": "0", "log_min_error_statement": "debug5"}
    with ExitStack() as up:
        source = up.enter_context(EmbeddedPostgres(settings={"wal_level": "logical"}))
        target = up.enter_context(EmbeddedPostgres(settings=said))
        run_apart(migrate.up(source.dsn))
        way = source.dsn.replace("postgres@", "postgres:s3cret-pass@")
        assert "s3cret-pass" in way
        if not reachable:
            way = way.replace("?host=", "?host=/nowhere")
        console = Console(file=io.StringIO())

        async def moved(*, abandon: bool) -> None:
            await move(source.dsn, target.dsn, way, None, console, cut_over=False, abandon=abandon)

        if reachable:
            await moved(abandon=False)
        else:
            with pytest.raises(MoveRefused, match="could not connect to the publisher"):
                await moved(abandon=False)
        slots = "select count(*)::int4 from pg_replication_slots"
        async with connected(source.dsn, "the source") as connection:
            assert await connection.fetchval(slots) == (1 if reachable else 0)
        await moved(abandon=True)
        log = (target.data_dir / "postgres.log").read_text()
        assert "create subscription" in log or "do $$" in log
        assert "s3cret" not in log


async def test_numbers_go_on_and_partitions_are_those_of_the_source(pair: Pair) -> None:
    await execute(pair.source, "select setval('queue_key_revision', 77)")
    assert await pair.follow()
    # One that comes later, and that replication tells nothing of.
    await execute(pair.source, "select ensure_partitions('6 hours', 1, 9)")
    assert (await pair.cut_over()).not_compared == ()
    async with connected(pair.target, "the target") as target, connected(pair.source, "the source") as source:
        assert await target.fetchval("select nextval('queue_key_revision')") == 1_078
        ranges = [await Source(each).partitions("job_partition") for each in (source, target)]
        assert ranges[0] == ranges[1]
        assert await target.fetchval(
            "select count(*) from pg_inherits where inhparent = 'attempt'::regclass"
        ) == len(ranges[0])


async def test_a_target_that_is_gone_keeps_nothing_of_the_source(pair: Pair) -> None:
    assert await pair.follow()
    gone = "postgresql://postgres@127.0.0.1:1/gone"
    console = Console(file=io.StringIO())
    with pytest.raises(TargetAway, match="the target does not answer"):
        await move(pair.source, gone, None, None, console, cut_over=False, abandon=False)
    await move(pair.source, gone, None, None, console, cut_over=False, abandon=True)
    async with connected(pair.source, "the source") as source:
        assert await Source(source).behind() is None
    assert await takes_writes(pair.source)


async def test_what_a_database_refuses_is_told_with_its_name(pair: Pair) -> None:
    async with connected(pair.source, "the source") as source, connected(pair.target, "the target") as target:
        with pytest.raises(MoveRefused, match=r"^the source \(.*database=cell\) refuses: .*nothing"):
            await source.fetch("select nothing")
        with pytest.raises(MoveRefused, match=r"^the target \(.*database=cell\) refuses: .*nothing"):
            await target.execute("select nothing")


def test_a_url_is_given_on_as_the_other_side_takes_it() -> None:
    url = "postgresql://a:p%40@h1,h2:5433/db?target_session_attrs=read-write&search_path=x&sslmode=require"
    assert for_owner(url).endswith("?target_session_attrs=primary&search_path=x&sslmode=require")
    assert for_libpq(url) == "postgresql://a:p%40@h1,h2:5433/db?sslmode=require&target_session_attrs=primary"
    socket = "postgresql://postgres@/jobqueue?host=/tmp/jq-1"
    assert for_libpq(socket) == socket
