"""A server and a client on a database of the test's own, and a wire that keeps what goes over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.client.conftest import RunningServer
from tests.client.conftest import client as client
from tests.client.conftest import server as server


class Wire:
    """A proxy to a server, which keeps every byte that was sent to it."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent = b""
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection(self._host, int(self._port))
        for source, sink, keeps in ((reader, there, True), (back, writer, False)):
            task = asyncio.create_task(self._copy(source, sink, keeps=keeps))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, keeps: bool) -> None:
        while data := await source.read(65536):
            if keeps:
                self.sent += data
            sink.write(data)
            await sink.drain()
        sink.close()


@pytest.fixture
async def wire(server: RunningServer) -> AsyncIterator[Wire]:
    wire = Wire(server.address)
    await wire.start()
    yield wire
    await wire.stop()
