"""A cluster under Patroni for the whole run, a scene on it for each test, and the table at the end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueue_server.store import migrate
from tests.faults.stage import Stage

from .patroni import Cluster
from .scene import Row, Scene

_ROWS: list[Row] = []
# Journals and logs of a test that failed.
_KEPT = Path(".cache/ha-kept")


@pytest.fixture(scope="session")
def patroni() -> Iterator[Cluster]:
    """An etcd and two members, of which one leads."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
async def scene(patroni: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """A whole cluster; `begin` starts what is on it."""
    stage = Stage(tmp_path, None, "", 1)  # type: ignore[arg-type]
    scene = Scene(stage, patroni, _ROWS)
    scene.leader, scene.standby = await asyncio.to_thread(patroni.whole)
    yield scene
    await stage.end()
    if request.node.stash.get(_FAILED, False):
        shutil.copytree(tmp_path, _KEPT / request.node.name, dirs_exist_ok=True)
        for log in patroni.folder.glob("*.log"):
            shutil.copy(log, _KEPT / request.node.name)


@pytest.fixture
async def database(scene: Scene, request: pytest.FixtureRequest) -> str:
    """A migrated database of the test's own, on the leader; its name."""
    name = request.node.originalname.removeprefix("test_")[:60]
    await scene.cluster.create(name)
    await migrate.up(scene.leader.dsn(name))
    return name


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What `make ha` is for."""
    if not _ROWS:
        return
    terminalreporter.section("faults under load")
    line = "{:<44} {:>6} {:>5} {:>9} {:>7} {:>9}  {}".format
    terminalreporter.write_line(
        line("fault", "acks", "lost", "first OK", "bound", "slowest", "callers were told")
    )
    for row in _ROWS:
        times = (f"{row.first_ok:.1f} s", f"{row.bound:g} s", f"{row.slowest:.1f} s")
        terminalreporter.write_line(line(row.fault, row.acks, row.lost, *times, row.told))
    acks, lost = sum(row.acks for row in _ROWS), sum(row.lost for row in _ROWS)
    terminalreporter.write_line(f"{acks} acknowledged, {lost} lost")
