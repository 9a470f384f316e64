"""A real server on a database of the test's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from jobqueue import Client
from jobqueue_server.app import App
from jobqueue_server.settings import Settings


class RunningServer:
    """A server in a thread of its own, as far from the caller's loop as another process."""

    def __init__(self, dsn: str, address: str = "127.0.0.1:0", **more: str) -> None:
        settings = {"database_url": dsn, "grpc_addr": address, "metrics_addr": "off", "kinds": "open"}
        self._settings = Settings.load({**settings, "shutdown_grace": "2s", **more})
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self.address = ""
        self.http_port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the server did not start"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        async def main() -> None:
            app = App(self._settings)
            try:
                await app.start()
                self.address = f"127.0.0.1:{app.grpc_port}"
                self.http_port = app.http_port
                self._ready.set()
                await self._stop.wait()
            finally:
                await app.stop()

        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(main())
        except BaseException as error:
            self._error = error
            self._ready.set()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not stop"


@pytest.fixture
def server(dsn: str) -> Iterator[RunningServer]:
    running = RunningServer(dsn)
    yield running
    running.stop()


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server.address, deadline=timedelta(seconds=20)) as client:
        yield client
