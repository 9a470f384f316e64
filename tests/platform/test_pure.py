"""What is marked `unit` is held to it: no socket, no process, and nothing else is even imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_CONFTEST = """
from tests.pure import Pure

def pytest_configure(config):
    config.pluginmanager.register(Pure(), "pure")
"""
_TESTS = """
import asyncio, os, socket, subprocess, sys
import pytest

def listens():
    socket.create_server(("127.0.0.1", 0)).close()

def connects():
    with socket.socket() as one:
        one.connect(("127.0.0.1", 1))

def starts():
    subprocess.run([sys.executable, "-c", ""])

def forks():
    os.waitpid(os.fork() or os._exit(0), 0)

@pytest.fixture
def server():
    listens()

@pytest.mark.unit
@pytest.mark.parametrize("act", [listens, connects, starts, forks])
def test_impure(act):
    act()

@pytest.mark.unit
def test_impure_fixture(server): pass

@pytest.mark.unit
def test_pure():
    asyncio.run(asyncio.sleep(0))

def test_not_marked():
    listens()
    starts()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\nmarkers =\n  unit: x\n")
    (tmp_path / "test_some.py").write_text(_TESTS)
    (tmp_path / "test_other.py").write_text("raise AssertionError('imported')")
    return tmp_path


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
def test_a_unit_test_that_opens_a_socket_or_starts_a_process_fails_and_other_files_are_not_imported(
    folder: Path,
):
    out = run(folder, "-m", "unit")
    assert "4 failed, 1 passed, 1 deselected, 1 error" in out.splitlines()[-1], out
    for event in ("socket.bind", "socket.connect", "subprocess.Popen", "os.fork"):
        assert f"is marked `unit`, and those do no {event}" in out


@pytest.mark.slow
def test_the_others_may(folder: Path):
    (folder / "test_other.py").unlink()
    out = run(folder, "-k", "not_marked or test_pure")
    assert "2 passed, 5 deselected" in out.splitlines()[-1], out
