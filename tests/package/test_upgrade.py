"""The one upgrade with a break, from a wheel of the version before: what it wants is done, and what it says happens."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import pytest

from jobqueue.v1 import jobqueue_pb2
from tests.e2e.journals import Journals
from tests.e2e.processes import PROGRAMS, Process, ServerProcess, WorkerProcess
from tests.lease.hand_worker import PATIENCE, reason_of
from tests.lease.place import Caller, Status
from tests.ports import free_address

from .conftest import ROOT, install
from .environments import Environment
from .history import before_the_break

pytestmark = pytest.mark.package

SECTION = (
    (ROOT / "docs" / "upgrades.md").read_text().partition("\n## Migration 0012")[2].partition("\n## ")[0]
)
HELD = 3


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Client and server of the version before the break, installed from wheels of that commit."""
    commit = before_the_break()
    assert commit is not None, "where it is not there, these tests are left out"
    return install(commit, *(tmp_path_factory.mktemp(name) for name in ("source", "wheels", "before")))


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[Process], Process]]:
    """Kills at the end what a test has started."""
    started: list[Process] = []

    def keep(process: Process) -> Process:
        started.append(process)
        return process

    yield keep
    for process in started:
        process.kill()


def migrate(programs: Path, dsn: str) -> subprocess.CompletedProcess[str]:
    """`jobqueue-server migrate up` of that version."""
    return subprocess.run(
        [programs / "jobqueue-server", "migrate", "up"],
        env={**os.environ, "DATABASE_URL": dsn, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


async def page(caller: Caller, token: str = "") -> jobqueue_pb2.ListJobsResponse:
    request = jobqueue_pb2.ListJobsRequest(page_size=2, page_token=token, queue="listed")
    answer: jobqueue_pb2.ListJobsResponse = await caller.stub.ListJobs(request, timeout=PATIENCE)
    return answer


async def watch(caller: Caller, token: str = "") -> tuple[str, str]:
    """The first answer of a watch that is not the one from before: its job, and the token to go on with."""
    request = jobqueue_pb2.WatchJobsRequest(queue="watched", resume_token=token)
    calling = caller.stub.WatchJobs(request, timeout=PATIENCE)
    async for answer in calling:
        if not token or answer.job.id:
            calling.cancel()
            return answer.job.id, answer.resume_token
    raise AssertionError("the watch ended")


def cell_of(job_id: str) -> int:
    return UUID(job_id).int >> 66 & 0x3FF


@pytest.mark.long
async def test_jobs_in_flight_live_through_the_break_and_the_page_says_what_it_wants(
    before: Environment, empty_dsn: str, tmp_path: Path, start: Callable[[Any], Any]
) -> None:
    dsn, old, address = empty_dsn, before.programs, free_address()
    journals, gate = Journals(tmp_path), tmp_path / "gate"
    assert "11 applied" in migrate(old, dsn).stdout
    flags = {"grpc_addr": address, "shutdown_grace": "1s"}
    first = start(ServerProcess(dsn, tmp_path / "first.log", old, **flags))
    await first.ready()
    worker = await start(
        WorkerProcess(address, tmp_path, name="worker", slots=HELD + 1, programs=old)
    ).ready()

    # Jobs in every state, and what callers keep of them.
    caller = Caller(address)
    done = await caller.enqueue("count", b"1")
    assert Status.Name((await caller.wait(done.id)).status) == "SUCCEEDED"
    payload = json.dumps({"gate": str(gate)}).encode()
    held = [await caller.enqueue("hold", payload) for _ in range(HELD)]
    await journals.until(HELD, "started")
    queued = [await caller.enqueue("count", b"1", queue="later") for _ in range(3)]
    keyed = await caller.enqueue("count", b"1", queue="later", idempotency_key="order-7")
    assert (await caller.enqueue("count", b"1", queue="later", idempotency_key="order-7")).id == keyed.id
    listed = [(await caller.enqueue("count", b"1", queue="listed")).id for _ in range(5)]
    first_page = await page(caller)
    _, token = await watch(caller)
    watched = (await caller.enqueue("count", b"1", queue="watched")).id
    of_before = {job.id for job in (done, keyed, *held, *queued)} | {*listed, watched}
    await caller.close()

    # "While a server was heard in the last 10 s, it refuses, names that server, and changes nothing."
    refused = migrate(PROGRAMS, dsn)
    assert refused.returncode == 1
    assert (
        f"heard in the last 10 s, and can not run beside this migration: {socket.gethostname()}:{first.pid}"
        in (refused.stdout)
    )
    assert "heard in the last 10 s" in SECTION

    # "Stop all servers by SIGTERM. Leave the workers alone"
    assert "Stop all servers by SIGTERM. Leave the workers alone" in SECTION
    first.terminate()
    assert await first.ended() == 0
    assert "`jobqueue-server migrate up`" in SECTION
    applied = migrate(PROGRAMS, dsn)
    assert applied.returncode == 0, applied.stdout
    (name,) = re.findall(r"applied (0012_break_\S+)", applied.stdout)
    assert f"`{name}`" in SECTION

    # "An older server refuses to start, and says that the schema is newer."
    assert "An older server refuses to start, and says that the schema is newer" in SECTION
    late = start(ServerProcess(dsn, tmp_path / "late.log", old))
    assert await late.ended() == 1
    assert "the schema is newer than this version of the server, which ends at 0011" in late.tail()
    assert f"{name.removesuffix('.sql')} is nothing that it can run beside. Upgrade the server" in late.tail()

    second = start(ServerProcess(dsn, tmp_path / "second.log", **flags))
    await second.ready()
    caller = Caller(address)

    # Jobs in flight: the worker of before comes back with its session, and each ends in the attempt that it was in.
    new = await caller.enqueue("count", b"1")
    assert (await caller.wait(new.id)).attempts == 1
    gate.touch()
    for job in held:
        ended = await caller.wait(job.id)
        assert (Status.Name(ended.status), ended.attempts, ended.losses) == ("SUCCEEDED", 1, 0)
    assert sorted(entry.id for entry in journals.read("started")) == sorted(job.id for job in held)
    assert sorted(entry.id for entry in journals.read("ended")) == sorted(job.id for job in held)
    assert worker.runs

    # Those that waited, those that ended, and what callers kept of before.
    assert Status.Name((await caller.get(done.id)).status) == "SUCCEEDED"
    other = await start(
        WorkerProcess(address, tmp_path, name="later", queue="later", programs=PROGRAMS)
    ).ready()
    for job in (*queued, keyed):
        assert (await caller.wait(job.id)).attempts == 1
    rest = await page(caller, first_page.next_page_token)
    last = await page(caller, rest.next_page_token)
    assert [job.id for each in (first_page, rest, last) for job in each.jobs] == listed[::-1]
    # What changed after the last answer, when the old server still ran.
    changed, token = await watch(caller, token)
    assert changed == watched
    await caller.cancel(watched)
    assert (await watch(caller, token))[0] == watched

    # "A request with a key that was sent before makes a new job, once."
    assert "A request with a key that was sent before makes a new job, once" in SECTION
    again = [await caller.enqueue("count", b"1", queue="later", idempotency_key="order-7") for _ in range(2)]
    assert keyed.id != again[0].id == again[1].id

    # Ids have their cell from the cut-over on.
    connection = await asyncpg.connect(dsn)
    since = await connection.fetchval("select uuid_at(since) from cell_bits")
    await connection.close()
    assert max(of_before) < str(since) < min(new.id, again[0].id)
    assert cell_of(new.id) == cell_of(again[0].id) == 0
    await caller.close()
    for process in (worker, other, second):
        process.terminate()
        assert await process.ended() == 0


async def freeze_between_transactions(server: ServerProcess, connection: asyncpg.Connection) -> None:
    """Stop the server between its transactions: what it had locked would stay locked for as long as it stands still."""
    states = """select state from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"""
    while True:
        server.send(signal.SIGSTOP)
        seen = {row["state"] for row in await connection.fetch(states)}
        # A statement ends by itself, unless it waits for a lock of a transaction that stands still as well, or for a
        # frame that the server was about to send.
        for _ in range(100):
            if "active" not in seen or "idle in transaction" in seen:
                break
            await asyncio.sleep(0.01)
            seen = {row["state"] for row in await connection.fetch(states)}
        if seen == {"idle"}:
            return
        server.send(signal.SIGCONT)
        await asyncio.sleep(0.01)


async def test_a_server_of_before_that_was_frozen_meanwhile_stores_nothing(
    before: Environment, empty_dsn: str, tmp_path: Path, start: Callable[[Any], Any]
) -> None:
    migrate(before.programs, empty_dsn)
    frozen = start(ServerProcess(empty_dsn, tmp_path / "frozen.log", before.programs))
    await frozen.ready()
    caller = Caller(frozen.address)
    await caller.enqueue("count", b"1")
    connection = await asyncpg.connect(empty_dsn)
    async with asyncio.timeout(60):
        await freeze_between_transactions(frozen, connection)
        # A heartbeat that was on its way is as good as a server that runs.
        while True:
            await connection.execute("update server set heartbeat_at = now() - interval '11 s'")
            if migrate(PROGRAMS, empty_dsn).returncode == 0:
                break
    frozen.send(signal.SIGCONT)

    for key in ("", "order-7"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await caller.enqueue("count", b"1", idempotency_key=key)
        assert reason_of(refused.value) == "INTERNAL"
    log = frozen.tail(400).replace("\\", "")
    assert 'column "digest" of relation "idempotency_key" does not exist' in log
    assert await connection.fetchval("select count(*) from job") == 1
    await connection.close()
    await caller.close()
