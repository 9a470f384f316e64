"""The worker that is a shell script with curl holds its leases as any other."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import ServerProcess

from .conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.curl, pytest.mark.timeout(120)]

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def address(dsn: str, tmp_path: Path) -> Iterator[str]:
    """Where a server answers over HTTP, to which every kind is known."""
    process = ServerProcess(dsn, tmp_path / "server.log", http_addr="127.0.0.1:0")
    try:
        asyncio.run(process.ready())
        yield process.http_address
    finally:
        process.kill()
        print(process.tail())


@pytest.fixture
def call(address: str) -> Call:
    """Calls a method over HTTP."""

    def make(path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://{address}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    return make


@pytest.fixture
def worker(address: str) -> Iterator[subprocess.Popen[str]]:
    """The script, which has said that it is ready."""
    assert shutil.which("curl"), "curl is missing: `make check` needs it, `make test` does not"
    running = subprocess.Popen(
        ["sh", ROOT / "examples/worker.sh"],
        env={**os.environ, "JOBQUEUE_HTTP": f"http://{address}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield running
    finally:
        running.terminate()
        running.wait(20)


def shout(call: Call, payload: object, **fields: object) -> str:
    job: str = call("jobs", {"kind": "shout", "payload": payload, **fields})["id"]
    return job


def test_it_settles_as_succeeded_and_as_failed(call: Call, worker: subprocess.Popen[str]) -> None:
    good = shout(call, {"text": "hello"})
    bad = shout(call, {"text": 7}, max_attempts=1)
    done = call(f"jobs/{good}:wait?timeout=30s")
    assert (done["status"], done["output"]) == ("SUCCEEDED", {"text": "HELLO"})
    failed = call(f"jobs/{bad}:wait?timeout=30s")
    assert failed["status"] == "FAILED_PERMANENT"
    assert "no attribute 'upper'" in failed["last_error"]


def test_a_cancel_reaches_it_while_its_handler_runs(call: Call, worker: subprocess.Popen[str]) -> None:
    job = shout(call, {"text": "long", "seconds": 60})
    assert worker.stdout is not None
    assert job in worker.stdout.readline()
    assert call(f"jobs/{job}:cancel", {})["pending"]
    ended = call(f"jobs/{job}:wait?timeout=20s")
    assert (ended["status"], ended["reason"]) == ("CANCELLED", "CANCELLED_BY_CALLER")


def test_when_it_is_told_to_end_its_job_goes_back_uncharged(
    call: Call, worker: subprocess.Popen[str]
) -> None:
    job = shout(call, {"text": "long", "seconds": 60})
    assert worker.stdout is not None
    assert job in worker.stdout.readline()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert worker.stdout.read().splitlines()[-1] == "left"
    back = call(f"jobs/{job}")
    assert (back["status"], back["failures"], back["losses"]) == ("QUEUED", 0, 0)
