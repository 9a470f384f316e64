"""A collector, and a server process that sends to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Process, ServerProcess

from .collector import Collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """What is started within the test sends its spans there, at once."""
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield collector


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Those that a test has started; they are ended after it."""
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.kill()
        print(f"--- {process.log.name}\n{process.tail()}")


@pytest.fixture
async def server(collector: Collector, processes: list[Process], dsn: str, tmp_path: Path) -> ServerProcess:
    server = ServerProcess(dsn, tmp_path / "server.log", http_addr="127.0.0.1:0")
    processes.append(server)
    return await server.ready()


def post(server: ServerProcess, kind: str, flags: str = "01") -> str:
    """Enqueues a job over HTTP, as curl would with a `traceparent`; its id."""
    host, _, port = server.http_address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    body = json.dumps({"kind": kind, "queue": "traced", "payload": {}})
    headers = {"content-type": "application/json", "traceparent": f"00-{TRACE}-{SPAN}-{flags}"}
    connection.request("POST", "/v1/jobs", body, headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["job"]["id"] if "job" in answer else answer["id"])
