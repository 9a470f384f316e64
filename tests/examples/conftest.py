"""A server that the examples may use, and how they are run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import ServerProcess

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(dsn: str, tmp_path: Path) -> Iterator[str]:
    """The address of a server with a database of its own, where the kinds are the declared ones."""
    process = ServerProcess(dsn, tmp_path / "server.log", kinds="declared")
    try:
        asyncio.run(process.ready())
        yield process.address
    finally:
        process.kill()
        print(process.tail())


@pytest.fixture
def run_program(tmp_path: Path) -> Callable[..., str]:
    """Runs a program as a reader would, in a folder of its own, and gives what it printed."""

    def run(path: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, ROOT / path, *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
