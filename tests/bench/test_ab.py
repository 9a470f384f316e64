"""Two checkouts in turns: each side's own code is what runs, and what it costs is seen."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import ab
from bench.checkout import ROOT, Checkout, copied
from bench.errors import BenchError
from bench.postgres import Cluster
from bench.scale import Scale
from bench.server import Server

pytestmark = pytest.mark.slow

PARTS = ("server/src", "clients/python/src", "migrations", "deploy/server.lock")
JOBS = "server/src/jobqueue_server/store/intake/intake.py"
# A millisecond of CPU for each job that is stored, whatever way it came.
BURN = """

import time as _time

_enqueue = IntakeStore.enqueue


async def _burning(self, rows, session=None):
    until = _time.thread_time() + 0.001 * sum(len(row.ids) for row in rows)
    while _time.thread_time() < until:
        pass
    return await _enqueue(self, rows, session)


IntakeStore.enqueue = _burning
"""
NO_BATCHES = """

_enqueue = IntakeStore.enqueue


async def _one_by_one(self, rows, session=None):
    if any(len(row.ids) > 1 for row in rows):
        raise RuntimeError("planted")
    return await _enqueue(self, rows, session)


IntakeStore.enqueue = _one_by_one
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a checkout, which a test may change."""
    folder = tmp_path / "source"
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster() as started:
        yield started


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.long
async def test_a_cost_that_was_planted_in_one_side_is_seen(cluster: Cluster, source: Path):
    with (source / JOBS).open("a") as planted:
        planted.write(BURN)
    told: list[str] = []
    kept: list[int] = []

    def keep(gates: dict[str, Any]) -> None:
        kept.append(len(json.loads(json.dumps(gates))["G3"]["runs"]))

    with copied(str(ROOT)) as base, copied(str(source)) as new:
        sides = {"base": base, "new": new}
        found = await ab.compare(cluster, sides, ["G3"], 2, Scale(factor=0.01), told.append, keep)

    gate = found["G3"]
    assert gate["ratios"]["cpu_us"]["min"] > 1.2
    # The burnt millisecond, and not a tenth of it or ten.
    burnt = [
        run["new"]["cpu_us_per_job"]["server"] - run["base"]["cpu_us_per_job"]["server"]
        for run in gate["runs"]
    ]
    assert all(500 <= each <= 5000 for each in burnt), burnt
    assert gate["verdict"] == "too few pairs"
    assert [each.rpartition(" ")[2] for each in told] == ["base", "new", "new", "base"]
    assert kept == [1, 2]


@pytest.mark.long
async def test_a_gate_that_breaks_leaves_the_others(cluster: Cluster, source: Path):
    with (source / JOBS).open("a") as planted:
        planted.write(NO_BATCHES)
    with copied(str(source)) as broken:
        sides = {"base": broken, "new": broken}
        found = await ab.compare(
            cluster, sides, ["G1", "G3"], 1, Scale(factor=0.003), lambda _: None, lambda _: None
        )

    assert found["G1"]["verdict"] == "broke"
    assert "the producers: a process broke" in found["G1"]["broke"]
    assert len(found["G1"]["runs"]) == 0
    assert len(found["G3"]["runs"]) == 1


async def test_a_server_that_runs_code_from_elsewhere_ends_the_measurement(cluster: Cluster, tmp_path: Path):
    """The editable install is found where a side has no code of its own."""
    nothing = Checkout(tmp_path, "nothing")
    async with cluster.fresh(ours=True) as dsn:
        with pytest.raises(
            BenchError, match=r"the server of nothing ran .*jobqueue_server.*, which is not in"
        ):
            async with Server(dsn, checkout=nothing):
                pass


async def test_a_side_is_served_by_the_engine_that_was_asked_for(cluster: Cluster):
    with copied(str(ROOT)) as tree:
        async with cluster.fresh(ours=True) as dsn:
            async with Server(dsn, checkout=replace(tree, engine="grpcio")) as server:
                assert '"engine": "grpcio"' in server.said


def test_a_revision_is_measured_as_it_was_committed_and_a_folder_as_it_is(source: Path):
    git(source, "init", "--quiet")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message", "one")
    commit = git(source, "rev-parse", "HEAD")
    committed = (source / JOBS).read_text()
    with copied("HEAD", source) as revision, copied(str(source)) as unchanged:
        assert (revision.commit, revision.changed) == (unchanged.commit, unchanged.changed) == (commit, False)
        assert revision.digest == unchanged.digest

    (source / JOBS).write_text(f"{committed}\nchanged = True\n")
    with copied("HEAD", source) as revision, copied(str(source)) as changed:
        assert (revision.folder / JOBS).read_text() == committed
        assert (changed.folder / JOBS).read_text().endswith("changed = True\n")
        assert (changed.commit, changed.changed) == (commit, True)
        assert revision.digest != changed.digest
        # What is changed while it is measured changes nothing.
        (source / JOBS).write_text(committed)
        assert (changed.folder / JOBS).read_text().endswith("changed = True\n")
    assert not revision.folder.exists()
    assert not changed.folder.exists()


def without_migrations(source: Path) -> None:
    shutil.rmtree(source / "migrations")


def with_another_grpcio(source: Path) -> None:
    lock = source / "deploy/server.lock"
    lines = lock.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("grpcio=="))
    lines[at] = "grpcio==1.0.0 \\"
    lock.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (without_migrations, "is no checkout: it has no migrations"),
        (with_another_grpcio, r"is for other packages than are installed here: grpcio==1\.0\.0 \(1\."),
    ],
)
def test_a_folder_that_can_not_be_compared_is_refused(source: Path, harm: Callable[[Path], None], says: str):
    harm(source)
    with pytest.raises(BenchError, match=says):
        with copied(str(source)):
            pass


def test_a_revision_that_is_not_there_is_refused(source: Path):
    git(source, "init", "--quiet")
    with pytest.raises(BenchError, match="no-such-revision"):
        with copied("no-such-revision", source):
            pass


async def test_an_interrupt_leaves_nothing_behind(source: Path):
    with tempfile.TemporaryDirectory() as folder:
        # PostgreSQL runs as another user where this one is root.
        Path(folder).chmod(0o755)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench", "ab", str(source), "G3", "--pairs", "2", "--scale", "0.003"),
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        said = b""
        try:
            async with asyncio.timeout(90):
                while b"pair 1 of 2, G3, base" not in said:
                    more = await process.stdout.readline()
                    assert more, said.decode()
                    said += more
                assert list(Path(folder).glob("jobqueue-ab-*"))
                os.killpg(process.pid, signal.SIGINT)
                await process.stdout.read()
                assert await process.wait() != 0
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        assert not list(Path(folder).glob("jobqueue-*"))
    # A process that has ended keeps its number until its parent has read its exit code.
    async with asyncio.timeout(20):
        with pytest.raises(ProcessLookupError):
            while True:
                os.killpg(process.pid, 0)
                await asyncio.sleep(0.05)
