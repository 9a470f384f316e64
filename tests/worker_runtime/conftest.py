"""A scripted server, and workers that serve in a thread until the test is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from jobqueue import Worker

from .scripted_server import WITHIN, ScriptedServer


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

    def ended(self, within: float = WITHIN) -> None:
        """Waits until it no longer serves."""
        self._thread.join(within)
        assert not self._thread.is_alive(), "the worker still serves"

    def join(self) -> None:
        """The same, and raises what ended it."""
        self.ended()
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def serving() -> Iterator[list[Serving]]:
    """The workers of the test. None outlives it: it would go on to log, and later tests would take that for theirs.

    They are waited for when the servers have gone, which say Goodbye to them.
    """
    workers: list[Serving] = []
    yield workers
    for each in workers:
        each.ended()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def serve(serving: list[Serving]) -> Iterator[Callable[[Worker], Serving]]:
    def start(worker: Worker) -> Serving:
        serving.append(Serving(worker))
        return serving[-1]

    yield start
    for each in serving:
        each.worker.stop(grace=timedelta(0))
