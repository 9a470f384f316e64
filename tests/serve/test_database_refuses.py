"""The database refuses logins: that counts as away, with its cause, until it lets them in again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import grpc
import pytest

from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from jobqueue_server.store.statements import statement
from tests.conftest import Cluster
from tests.lease.hand_worker import reason_of
from tests.lease.place import Place, eventually
from tests.login import HOWS, PASSWORD, Login

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Cluster]:
    """A PostgreSQL that asks for passwords."""
    with EmbeddedPostgres(listen=True) as postgres:
        yield Cluster(postgres.dsn)


# How, what callers are told, and what the log says in PostgreSQL's words.
REFUSALS = [
    ("connect revoked", "does not let this role in (SQLSTATE 42501)", "permission denied for database"),
    ("nologin", "refuses the login (SQLSTATE 28000)", "is not permitted to log in"),
    ("renamed", "no database of this name (SQLSTATE 3D000)", "does not exist"),
    ("closed", "takes no connections (SQLSTATE 55000)", "not currently accepting connections"),
    ("password changed", "refuses the password (SQLSTATE 28P01)", "password authentication failed"),
    ("no connection left", "no connection left (SQLSTATE 53300)", "too many connections for role"),
]


def marks(how: str) -> list[pytest.MarkDecorator]:
    """Two ways are held by `make check`, one of the database's and one of the password's; all by `make long`."""
    return [] if how in ("connect revoked", "password changed") else [pytest.mark.long]


@pytest.fixture
async def login(guarded: Cluster) -> Login:
    login = Login(guarded)
    await migrate.up(login.owner_dsn, login.role)
    return login


@pytest.fixture
async def place(login: Login) -> AsyncIterator[Place]:
    # More connections than what runs in the background opens by itself, so that callers want new ones.
    async with Place(login.dsn, http_addr="127.0.0.1:0", db_pool_size=16) as place:
        yield place


async def refused(call: Any) -> str:
    """The text of the call's error, which must come fast and say that the database is away."""
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    # Who waited for a connection would wait for 5 s.
    assert time.monotonic() - started < 4
    assert (raised.value.code(), reason_of(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_AWAY")
    return raised.value.details() or ""


async def readiness(place: Place) -> tuple[int, dict[str, str]]:
    """What /readyz answers."""

    def get() -> tuple[int, dict[str, str]]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{place.app.http_port}/readyz", timeout=5
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return await asyncio.to_thread(get)


async def ready(place: Place) -> bool:
    return (await readiness(place))[0] == 200 and await place.health() == "SERVING"


async def not_ready(place: Place) -> str:
    """Why, once it is not."""

    async def look() -> str:
        status, answer = await readiness(place)
        return answer["reason"] if status == 503 and await place.health() == "NOT_SERVING" else ""

    return str(await eventually(look))


def troubles(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Lines of level error, and those with a traceback."""
    return [
        record
        for record in caplog.records
        if record.name.startswith("jobqueue_server") and (record.levelno >= logging.ERROR or record.exc_info)
    ]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("how", "told", "logged"), [pytest.param(*each, marks=marks(each[0])) for each in REFUSALS]
)
async def test_a_database_that_refuses_logins_is_away_until_it_lets_them_in(
    place, login, how, told, logged, caplog
):
    job = await place.enqueue()
    await asyncio.to_thread(login.refuse, how)
    await asyncio.to_thread(login.hang_up)
    texts = set()
    for _ in range(10):
        for call in (place.enqueue(), place.get(job.id), place.cancel(job.id)):
            texts.add(await refused(call))
    assert all(told in text for text in texts), texts
    assert not [text for text in texts if login.role in text or login.database in text or PASSWORD in text]
    assert told in await not_ready(place)
    lines = troubles(caplog)
    assert len(lines) == 1
    assert lines[0].getMessage().startswith("the database is away: ")
    assert logged in lines[0].getMessage()
    assert lines[0].exc_info is None
    assert PASSWORD not in caplog.text

    await asyncio.to_thread(login.let_in, how)
    back = time.monotonic()
    await eventually(lambda: ready(place), 2)
    assert (await place.get(job.id)).id == job.id
    assert (await place.enqueue()).id != job.id
    assert time.monotonic() - back < 2


@pytest.mark.parametrize("how", [pytest.param(how, marks=marks(how)) for how in HOWS if how != "renamed"])
async def test_connections_that_are_there_serve_on_while_the_server_says_that_it_gets_no_more(
    place, login, how
):
    job = await place.enqueue()
    await place.get(job.id)
    connection = await _connection(login)
    try:
        async with connection.transaction():
            await connection.execute("lock table job in access exclusive mode")
            await asyncio.to_thread(login.refuse, how)
            # Some take the connections that are there; the next would need one more.
            reading = {asyncio.create_task(place.get(job.id)) for _ in range(12)}

            async def told() -> bool:
                """Whether each waits for the lock or has been refused."""
                await connection.execute("select pg_stat_clear_snapshot()")
                locked = await connection.fetchval(
                    "select count(*) from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'",
                    login.role,
                )
                return bool(locked == sum(not each.done() for each in reading))

            await eventually(told, 20)
            done, waiting = await asyncio.wait(reading, timeout=0)
            assert done
            assert waiting
            for each in done:
                await refused(each)
            assert "takes no connection" in await not_ready(place)
        assert {job.id for job in await asyncio.gather(*waiting)} == {job.id}
        assert (await place.get(job.id)).id == job.id

        async def enqueued() -> str | None:
            """What runs in the background may have the connection at the moment."""
            try:
                return str((await place.enqueue()).id)
            except grpc.aio.AioRpcError:
                return None

        assert await eventually(enqueued, 20)
        await asyncio.to_thread(login.let_in, how)
        await eventually(lambda: ready(place))
    finally:
        await connection.close()


async def _connection(login: Login) -> Any:
    return await asyncpg.connect(login.owner_dsn)


async def test_a_statement_that_the_role_may_not_run_is_no_database_that_is_away(place, login):
    job = await place.enqueue()
    connection = await _connection(login)
    try:
        await connection.execute(f"revoke select on finished_job from {login.role}")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await place.get(job.id)
        assert raised.value.code() is grpc.StatusCode.INTERNAL
        before = await connection.fetchval("select max(heartbeat_at) from server")

        async def beaten() -> bool:
            return bool(await connection.fetchval("select max(heartbeat_at) > $1 from server", before))

        await eventually(beaten)
        assert await ready(place)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=marks(how)) for how in HOWS if how != "no connection left"]
)
async def test_a_login_that_is_refused_at_the_start_ends_the_process_with_a_sentence(login, how, processes):
    await asyncio.to_thread(login.refuse, how)
    server = processes(login.dsn)
    await server.launch()
    assert await server.ended() == 1
    said = " ".join(str(line.get("event", line.get("message"))) for line in server.log)
    assert "the database refuses the connection: " in said
    assert "Traceback" not in said
    assert PASSWORD not in said
    await asyncio.to_thread(login.let_in, how)


# ---- the heartbeat


async def beat_waits(connection: Any, waits: bool) -> None:
    """Until the heartbeat waits for a lock, or does not."""

    async def look() -> bool:
        found = await connection.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and wait_event_type = 'Lock' and starts_with(query, $1)",
            statement("server_heartbeat").splitlines()[0],
        )
        return bool(found) is waits

    await eventually(look)


async def test_one_late_heartbeat_leaves_the_server_ready(place, login, caplog):
    connection = await _connection(login)
    try:
        async with connection.transaction():
            await connection.execute("lock table server in exclusive mode")
            await beat_waits(connection, True)
            await beat_waits(connection, False)
        late = await connection.fetchval("select max(heartbeat_at) from server")

        async def beaten() -> bool:
            assert await place.health() == "SERVING"
            return bool(await connection.fetchval("select max(heartbeat_at) > $1 from server", late))

        await eventually(beaten)
        assert await ready(place)
        assert "the database is away" not in caplog.text
    finally:
        await connection.close()


async def test_two_late_heartbeats_do_not_and_the_log_says_why(place, login, caplog):
    connection = await _connection(login)
    try:
        async with connection.transaction():
            await connection.execute("lock table server in exclusive mode")
            await beat_waits(connection, True)
            assert await eventually(lambda: _why(place)) == "the database does not answer"
        assert "the database is away: no answer in time" in caplog.text
        await eventually(lambda: ready(place))
    finally:
        await connection.close()


async def _why(place: Place) -> str:
    status, answer = await readiness(place)
    return answer["reason"] if status == 503 else ""
