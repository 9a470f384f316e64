"""A server process for the tests that leave it alone, and a bench where others start and end their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from jobqueue import Client, Job
from tests.conftest import Cluster

from .journals import Journals
from .processes import Process, ServerProcess, SimulatorProcess, WorkerProcess


class Bench:
    """Starts processes in a folder of the test, and ends what still runs after it.

    Attributes:
        folder: Theirs and the test's.
        journals: What the workers' handlers noted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journals = Journals(folder)
        self._processes: list[Process] = []

    async def server(self, dsn: str, **settings: str) -> ServerProcess:
        """A server that serves."""
        server = ServerProcess(dsn, self.folder / f"server-{len(self._processes)}.log", **settings)
        self._processes.append(server)
        return await server.ready()

    def worker(self, address: str, name: str, **options: Any) -> WorkerProcess:
        """A worker that has just been started."""
        worker = WorkerProcess(address, self.folder, name=name, **options)
        self._processes.append(worker)
        return worker

    async def workers(self, address: str, *names: str, **options: Any) -> list[WorkerProcess]:
        """Workers whose sessions are open."""
        return [await worker.ready() for worker in [self.worker(address, name, **options) for name in names]]

    def simulator(self, address: str, queue: str) -> SimulatorProcess:
        """`jobqueue-worker --simulate`."""
        simulator = SimulatorProcess(address, self.folder, queue=queue)
        self._processes.append(simulator)
        return simulator

    def end(self) -> None:
        """Kills what runs. What each said last is shown where the test failed."""
        # Workers first, or each of them would still say that its server is gone.
        for process in reversed(self._processes):
            process.kill()
            print(f"--- {process.log.name}\n{process.tail()}")


@pytest.fixture(scope="session")
def shared(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A server for the run, and its database: (address, dsn)."""
    name = cluster.create(template)
    dsn = cluster.dsn_of(name)
    server = ServerProcess(dsn, tmp_path_factory.mktemp("server") / "server.log")
    try:
        asyncio.run(server.ready())
        yield server.address, dsn
    finally:
        server.kill()
        print(server.tail())
        cluster.drop(name)


@pytest.fixture
def address(shared: tuple[str, str]) -> str:
    """Where the run's server answers."""
    return shared[0]


@pytest.fixture
def queue() -> str:
    """A queue of the test's own on the run's server."""
    return f"q-{uuid4().hex[:12]}"


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    async with Client(address) as client:
        yield client


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.end()


async def ends(client: Client, *ids: str, within: float = 30) -> list[Job]:
    """Each job once it is over."""
    timeout = timedelta(seconds=within)
    return list(await asyncio.gather(*(client.wait(id, timeout=timeout) for id in ids)))


async def select(dsn: str, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    """Rows of the view `jobs`, which operators may read as well."""
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *arguments)]
    finally:
        await connection.close()
