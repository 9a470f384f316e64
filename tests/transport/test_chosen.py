"""What an operator chooses serves, is said at the start, and does not pass over settings in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from jobqueue_server.limits import HTTP2_ALONE
from jobqueue_server.rpc.engines import ENGINES, Engine
from jobqueue_server.settings import Settings, environment_name
from tests.lease.place import Caller
from tests.serve.server_process import ServerProcess

from .conftest import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def processes() -> AsyncIterator[Callable[..., ServerProcess]]:
    """Makes server processes, and kills those that a test leaves."""
    made: list[ServerProcess] = []

    def make(dsn: str, **settings: str) -> ServerProcess:
        made.append(ServerProcess(dsn, **settings))
        return made[-1]

    yield make
    for process in made:
        await process.kill()


async def answers_http_1(address: str) -> bool:
    """Whether HTTP/1.1 is told in its own words that this is the wrong port: that is our transport's way."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    try:
        return (await asyncio.wait_for(reader.read(8), PATIENCE)) == b"HTTP/1.1"
    finally:
        writer.close()


@pytest.mark.parametrize("chosen", ENGINES)
async def test_the_engine_that_is_chosen_serves_and_is_logged(
    dsn: str, processes: Callable[..., ServerProcess], chosen: Engine
) -> None:
    process = processes(dsn, grpc_engine=chosen, grpc_reset_burst="5", grpc_max_connections="50")
    await process.start()
    assert (await process.said("jobqueue-server is ready"))["engine"] == chosen
    address = await process.address()
    assert await answers_http_1(address) is (chosen == "http2")
    caller = Caller(address)
    worker = await caller.worker()
    job = await caller.enqueue()
    assert await worker.succeed(await worker.job()) == []
    assert (await caller.wait(job.id)).id == job.id
    await caller.close()
    warned = [
        line["setting"]
        for line in process.log
        if "has no effect" in str(line.get("event", line.get("message")))
    ]
    assert warned == {"http2": [], "grpcio": ["grpc_reset_burst"]}[chosen]


def test_the_document_names_each_setting_that_has_no_effect_with_grpcio() -> None:
    text = (ROOT / "docs/engines.md").read_text()
    for name in Settings.model_fields:
        if name.startswith("grpc_") and name not in ("grpc_addr", "grpc_engine"):
            assert (f"`{environment_name(name)}`" in text) is (name in HTTP2_ALONE), name
