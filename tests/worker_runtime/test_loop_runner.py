"""The runner of async handlers: when it hands outcomes over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from jobqueue.worker.loop_runner import LoopRunner


async def handed_over(handlers: list[Callable[[Any], Awaitable[None]]]) -> list[int]:
    """How many outcomes came at once, each time, of handlers that start together."""
    came: list[int] = []
    all_came = asyncio.Event()

    def finish(ended: Any) -> None:
        came.append(len(ended))
        if sum(came) == len(handlers):
            all_came.set()

    runner: Any = LoopRunner(asyncio.get_running_loop(), finish)
    context = SimpleNamespace(job=None, follow_ups=[], stop_reason=None)
    runner.start(
        [SimpleNamespace(handler=SimpleNamespace(function=each), context=context) for each in handlers]
    )
    await asyncio.wait_for(all_came.wait(), 60)
    return came


async def test_handlers_that_end_in_one_turn_of_the_loop_wake_the_session_once():
    async def nothing(_: Any) -> None:
        pass

    assert await handed_over([nothing] * 50) == [50]


async def test_an_outcome_waits_for_no_more_than_2_ms_of_other_handlers_of_its_turn():
    async def blocks(_: Any) -> None:
        time.sleep(0.003)  # noqa: ASYNC251

    assert await handed_over([blocks] * 6) == [2, 2, 2]
