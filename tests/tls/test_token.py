"""The token travels with every call of the command and the worker service, and is never shown."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.client_cli.programs import Cli, Program

PATIENCE = 20.0


class Listener(grpc.GenericRpcHandler):
    """Refuses every call, and keeps what it was called with."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def service(self, details: Any) -> None:
        metadata = dict(details.invocation_metadata)
        self.heard.put((details.method.rpartition("/")[2], str(metadata.get("authorization"))))


@pytest.fixture
def listener() -> Iterator[tuple[Listener, str]]:
    listener = Listener()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((listener,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield listener, f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.mark.parametrize("way", ["before", "after", "environment"])
def test_the_command_sends_it(listener: tuple[Listener, str], way: str):
    listening, address = listener
    if way == "before":
        done = Cli(address)("--token", "hunter2", "list")
    elif way == "after":
        done = Cli(address)("list", "--token", "hunter2")
    else:
        done = Cli(address, JOBQUEUE_TOKEN="hunter2")("list")
    assert listening.heard.get(timeout=PATIENCE) == ("ListJobs", "Bearer hunter2")
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_worker_sends_it(listener: tuple[Listener, str]):
    listening, address = listener
    options = ["--server", address, "--simulate", "--metrics-bind-addr", "127.0.0.1:0"]
    worker = Program("jobqueue-worker", *options, JOBQUEUE_TOKEN="hunter2")
    try:
        assert listening.heard.get(timeout=PATIENCE) == ("Lease", "Bearer hunter2")
    finally:
        worker.end()
    assert "hunter2" not in worker.text
