"""The registry of peers, and what their builds are pinned by; nothing is built here."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.peers import PEERS, WORKLOADS, PeerFailed
from bench.peers.program import Program, url_of

HERE = Path(__file__).resolve().parents[2] / "bench" / "peers"
PROGRAMS = [peer for peer in PEERS if isinstance(peer, Program)]

_ADDRESS = re.compile(
    r"resolved\b|registry\S*\.\w+|crates\.io|pypi|pythonhosted|npmjs|(?:proxy|sum)\.golang|git\+|\S+\.(?:tgz|whl|crate)\b"
)


@pytest.fixture(params=PROGRAMS, ids=lambda peer: peer.name)
def peer(request: pytest.FixtureRequest) -> Program:
    found: Program = request.param
    return found


def test_every_peer_says_what_it_does_and_lacks_and_does_known_workloads(peer: Program):
    assert peer.workloads
    assert peer.workloads <= set(WORKLOADS)
    assert peer.does.endswith(".")
    assert peer.lacks.endswith(".")


def test_names_are_told_apart():
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_what_a_peer_is_built_from_is_all_that_lies_in_its_folder(peer: Program):
    # A file that is not named would change without a new build.
    tracked = subprocess.run(["git", "ls-files"], cwd=peer.folder, capture_output=True, text=True, check=True)
    assert set(peer.sources) == set(tracked.stdout.split()) - {"__init__.py"}


def test_no_file_of_a_peer_names_where_its_packages_are_fetched(peer: Program):
    for name in peer.sources:
        assert not _ADDRESS.findall((peer.folder / name).read_text()), name


def test_every_rust_package_is_pinned_by_its_checksum():
    direct = tomllib.loads((HERE / "seed" / "Cargo.toml").read_text())["dependencies"]
    versions = [each if isinstance(each, str) else each["version"] for each in direct.values()]
    assert all(version.startswith("=") for version in versions)
    locked = tomllib.loads((HERE / "seed" / "Cargo.lock").read_text())["package"]
    assert [each["name"] for each in locked if "checksum" not in each] == ["jobqueue-bench-seed"]


def test_every_go_module_is_pinned_by_its_hash():
    wanted = re.findall(r"^\t(\S+) (v\S+)", (HERE / "river" / "go.mod").read_text(), re.MULTILINE)
    sums = (HERE / "river" / "go.sum").read_text()
    assert wanted
    assert all(f"{module} {version} h1:" in sums for module, version in wanted)


@pytest.mark.parametrize("name", ["graphile", "pg_boss"])
def test_every_node_package_is_pinned_by_its_hash(name: str):
    wanted = json.loads((HERE / name / "package.json").read_text())
    versions = [*wanted["dependencies"].values(), *wanted["optionalDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    locked = json.loads((HERE / name / "package-lock.json").read_text())["packages"]
    assert [path for path, package in locked.items() if "integrity" not in package] == [""]
    assert not [path for path, package in locked.items() if "resolved" in package]


@pytest.mark.parametrize("name", ["pgqueuer", "procrastinate"])
def test_every_python_package_is_pinned_by_its_hash(name: str):
    packages = re.split(r"\n(?=\S)", (HERE / name / "requirements.txt").read_text().strip())
    assert any(package.startswith(f"{name}==") for package in packages)
    assert all("==" in package and "--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("postgresql://postgres@/db?host=/tmp/x", "postgresql://postgres@localhost/db?host=/tmp/x"),
        ("postgresql://postgres:p%40@127.0.0.1:5433/db", "postgresql://postgres:p%40@127.0.0.1:5433/db"),
    ],
)
def test_every_driver_reads_the_address_of_a_database_as_a_url(dsn: str, url: str):
    assert url_of(dsn) == url


class Script(Program):
    """A peer that is a line of Python."""

    name = "script"
    workloads = frozenset({"drain"})

    def __init__(self, text: str) -> None:
        self.text = text

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", self.text]


async def test_a_peer_s_own_clock_is_what_counts():
    script = Script(
        'import sys; print(\'a word\'); print(\'{"stage":"stored","seconds":9}\');'
        'print(\'{"stage":"ended","seconds":2,"of":"\' + \' \'.join(sys.argv[1:]) + \'"}\')'
    )

    result = await script.measure("postgresql://a@b/c", "drain", 10, 128)

    assert (result.jobs, result.seconds) == (10, 2.0)
    assert result.detail == {"of": "drain 10 128", "stored_in": 9}


async def test_a_slow_peer_gets_no_more_jobs_than_it_can_do():
    script = Script('import sys; print(\'{"stage":"ended","seconds":1,"of":\' + sys.argv[2] + \'}\')')
    script.most = 500

    result = await script.measure("x://", "drain", 10_000, 16)

    assert (result.jobs, result.detail) == (500, {"of": 500})


async def test_a_peer_that_fails_says_why():
    with pytest.raises(PeerFailed, match=r"(?s)script drain 1 16: ended with 3.*no luck"):
        await Script("import sys; print('no luck', file=sys.stderr); sys.exit(3)").measure(
            "x://", "drain", 1, 16
        )
    with pytest.raises(PeerFailed, match="ended with 0"):
        await Script("pass").measure("x://", "drain", 1, 16)
    with pytest.raises(PeerFailed, match="does not do rest"):
        await Script("pass").measure("x://", "rest", 1, 16)


@pytest.mark.slow
async def test_a_peer_that_takes_too_long_ends_with_all_it_started(tmp_path: Path):
    children = tmp_path / "children"
    script = Script(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(children)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    script.limit = 5

    with pytest.raises(PeerFailed, match="not done in 5 s"):
        await script.measure("x://", "drain", 1, 16)

    child = int(children.read_text())
    until = time.monotonic() + 30
    while _lives(child) and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended, and that nobody has asked about yet, is there in name only.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
