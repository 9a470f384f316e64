"""How ends of handlers come to the session's thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobqueue.worker.engine import Engine

WITHIN = 30.0


class Lease:
    """What is set of one."""

    result: Any = None


class Taking:
    """An engine whose loop runs in a thread, and the ends that it took, each time with how many there were."""

    def __init__(self) -> None:
        nothing: Any = None
        self.took: list[int] = []
        self.wakes = 0
        made: Any = Engine(nothing, nothing, nothing, nothing, nothing, nothing)
        made._session, made._call = self, self._counted
        self.engine = made
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.engine._loop.run_forever)
        self._thread.start()

    def _counted(self, *arguments: Any) -> None:
        self.wakes += 1
        Engine._call(self.engine, *arguments)

    def ended(self, leases: list[Any]) -> None:
        """As of Session."""
        with self._changed:
            self.took.append(len(leases))
            self._changed.notify_all()

    def until(self, count: int) -> None:
        """Waits until so many were taken."""
        with self._changed:
            assert self._changed.wait_for(lambda: sum(self.took) >= count, WITHIN), self.took

    def close(self) -> None:
        """Ends the thread."""
        self.engine._loop.call_soon_threadsafe(self.engine._loop.stop)
        self._thread.join()
        self.engine._loop.close()


@pytest.fixture
def taking() -> Iterator[Taking]:
    made = Taking()
    yield made
    made.close()


def test_handlers_that_end_soon_after_another_do_not_wake_the_session(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time over which ends gather is over when the test says so.
    over: list[Any] = []
    monkeypatch.setattr(taking.engine._loop, "call_later", lambda _, collect: over.append(collect))
    taking.engine.finish(Lease(), None)
    taking.until(1)
    for _ in range(100):
        taking.engine.finish(Lease(), None)
    taking.engine._loop.call_soon_threadsafe(over.pop())
    taking.until(101)
    assert (taking.took, taking.wakes) == ([1, 100], 1)


def test_an_end_after_a_quiet_time_is_taken_at_once(taking: Taking) -> None:
    for count in (1, 2, 3):
        began = time.monotonic()
        taking.engine.finish(Lease(), None)
        taking.until(count)
        while taking.engine._collecting:
            assert time.monotonic() - began < WITHIN
            time.sleep(0.001)
    assert taking.wakes == 3


async def test_an_end_is_taken_while_the_loop_of_handlers_is_blocked(taking: Taking) -> None:
    async def ends() -> None:
        taking.engine.finish(Lease(), None)

    task = asyncio.create_task(ends())
    await asyncio.sleep(0)
    # Nothing else runs on this loop from here on.
    taking.until(1)
    await task
