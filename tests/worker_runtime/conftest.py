"""A scripted server, and workers that serve in a thread until the test is over."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from jobqueue import Worker
from jobqueue.worker.logs import log

from .scripted_server import WITHIN, ScriptedServer

# A worker that its test leaves behind drains for seconds more, also when pytest has said its last word: what it says
# then is for nobody, and without any handler logging would print it.
log.addHandler(logging.NullHandler())


class Serving:
    """A worker that serves in a thread of its own."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self.worker.serve())
        except BaseException as error:
            self.error = error

    def serves(self) -> bool:
        """Whether it serves still."""
        return self._thread.is_alive()

    def join(self, within: float = WITHIN) -> None:
        """Waits until it no longer serves."""
        self._thread.join(within)
        assert not self._thread.is_alive(), "the worker still serves"
        if self.error is not None:
            raise self.error


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def serve() -> Iterator[Callable[[Worker], Serving]]:
    serving: list[Serving] = []

    def start(worker: Worker) -> Serving:
        serving.append(Serving(worker))
        return serving[-1]

    yield start
    for each in serving:
        each.worker.stop(grace=timedelta(0))
