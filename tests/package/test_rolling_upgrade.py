"""The upgrade that docs/upgrades.md describes, under load, from wheels of the version before, and the way back."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from statistics import quantiles

import pytest

from jobqueue_server.lifecycle import Event as Exit
from tests.conftest import Cluster
from tests.faults.checker import check
from tests.faults.processes import THIS, FaultyProcess, FaultyWorker, Server, Version
from tests.faults.stage import Stage
from tests.ports import free_address

from .conftest import ROOT, install
from .history import version_before

pytestmark = [pytest.mark.package, pytest.mark.long, pytest.mark.timeout(480)]

PAGE = (ROOT / "docs" / "upgrades.md").read_text()
# Shorter than the longest of the jobs: a worker takes these along to the other server.
GRACE = "3s"
RATE = 25.0
TTL = 10.0


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Client and server of the version before, installed from wheels of that commit."""
    commit = version_before()
    assert commit is not None, "where it is not there, these tests are left out"
    source, wheels, environment = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "before"))
    return Version(install(commit, source, wheels, environment).programs, source)


@pytest.fixture
async def stage(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path, cluster, "", 1)
    # A delivery that crosses a Drain goes back unstarted.
    stage.explained = {Exit.UNDELIVERED, Exit.RELEASE}
    yield stage
    await stage.end()


def migrate(version: Version, dsn: str) -> str:
    """`jobqueue-server migrate up` of a version; what it prints."""
    done = subprocess.run(
        [version.programs / "jobqueue-server", "migrate", "up"],
        env={**os.environ, **version.environment, "DATABASE_URL": dsn, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Fleet:
    """Two servers, two workers and two producers, which are replaced one by one.

    Attributes:
        producers: One with the client of each version. Each knows both servers.
    """

    def __init__(self, stage: Stage, before: Version) -> None:
        self._stage = stage
        self._before = before
        self._names = Counter[str]()
        self._servers: list[Server] = []
        self._workers: list[FaultyWorker] = []
        self.producers: list[FaultyProcess] = []

    async def begin(self) -> None:
        """Starts all of them, all but one producer of the version before."""
        self._servers = [await self._server(self._before, free_address()) for _ in range(2)]
        self._workers = [await self._worker(number, self._before) for number in range(2)]
        self.producers = [await self._producer(version) for version in (self._before, THIS)]

    async def replace_servers(self, version: Version) -> None:
        """SIGTERM, and another one in its place once it has ended, one by one."""
        for number, server in enumerate(self._servers):
            self._stage.fault(f"SIGTERM of server {number + 1}")
            server.terminate()
            assert await server.ended() == 0, server.tail()
            self._servers[number] = await self._server(version, server.address)
            await self._goes_on()

    async def replace_workers(self, version: Version) -> None:
        """Each gets a successor, then SIGTERM."""
        for number, worker in enumerate(self._workers):
            self._workers[number] = await self._worker(number, version)
            self._stage.fault(f"SIGTERM of {worker.name}")
            worker.terminate()
            assert await worker.ended() == 0, worker.tail()
        await self._goes_on()

    async def end_producers(self) -> None:
        """SIGTERM; they say whether each of their calls was acknowledged."""
        for producer in self.producers:
            producer.terminate()
            assert await producer.ended() == 0, producer.tail()

    async def _goes_on(self) -> None:
        """Waits until each producer was acknowledged what it asked for after now."""
        since = self._stage.fault("it is there")
        for producer in self.producers:
            who = producer.log.stem
            await self._stage.until(partial(self._answered, who, since), f"answers to {who}")

    def _answered(self, who: str, since: float) -> bool:
        return len(self._stage.events("enqueued", who=who, since=since)) > 10

    async def _server(self, version: Version, address: str) -> Server:
        name = self._name("server", version)
        return await self._stage.server(
            name, self._stage.dsn, version, grpc_addr=address, shutdown_grace=GRACE
        )

    async def _worker(self, number: int, version: Version) -> FaultyWorker:
        order = [self._servers[(number + turn) % 2].address for turn in range(2)]
        name = self._name("worker", version)
        return await self._stage.worker(name, *order, slots=16, ttl=TTL, version=version).ready()

    async def _producer(self, version: Version) -> FaultyProcess:
        name = self._name("producer", version)
        target = "ipv4:" + ",".join(server.address for server in self._servers)
        command = [version.programs / "python", ROOT / "tests/package/producer_program.py", target]
        flags = [f"--name={name}", f"--folder={self._stage.folder}", f"--rate={RATE:g}"]
        # The client is that of the version, the journal that of these tests.
        ours = os.environ.get("PYTHONPATH", "") if version is THIS else ""
        folders = {"PYTHONPATH": os.pathsep.join(filter(None, [ours, str(ROOT)]))}
        log = self._stage.folder / f"{name}.log"
        producer = FaultyProcess([*map(str, command), *flags], log, folders, version)
        await self._stage.keep(producer).line("it enqueues")
        return producer

    def _name(self, what: str, version: Version) -> str:
        name = f"{what}-{'this' if version is THIS else 'before'}"
        self._names[name] += 1
        return f"{name}-{self._names[name]}"


async def test_jobs_live_through_a_rolling_upgrade_and_the_way_back(
    before: Version, stage: Stage, empty_dsn: str
) -> None:
    await asyncio.to_thread(migrate, before, empty_dsn)
    stage.use(empty_dsn)
    fleet = Fleet(stage, before)
    await fleet.begin()
    await stage.started(25)

    assert "`jobqueue-server migrate up` applies it" in PAGE
    stage.fault("migrate up")
    applied = await asyncio.to_thread(migrate, THIS, empty_dsn)
    assert "Replace the servers one by one" in PAGE
    await fleet.replace_servers(THIS)
    assert "Replace the workers" in PAGE
    await fleet.replace_workers(THIS)

    # Nothing that only this version can do was asked for.
    assert "## The way back" in PAGE
    await fleet.replace_servers(before)
    await fleet.replace_workers(before)

    await fleet.end_producers()
    await stage.over()
    violations = [str(each) for each in check(await stage.history())]
    assert not violations, "\n".join(violations[:5])
    starts = Counter(event.id for event in stage.events("started"))
    assert set(starts.values()) == {1}, "a job ran twice"
    interrupted = [event for event in stage.events("ended") if event.how != "returned"]
    assert not interrupted
    assert not await stage.value("select count(*) from finished_job where losses + failures > 0")
    took = [event.seconds for event in stage.events("enqueued")]
    print(
        f"{len(re.findall(r'^applied ', applied, re.MULTILINE))} migrations, {len(took)} acknowledged, p99"
        f" {1000 * quantiles(took, n=100)[-1]:.0f} ms, slowest {max(took):.2f} s",
        file=sys.stderr,
    )
