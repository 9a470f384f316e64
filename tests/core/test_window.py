"""How long an insert waits for more calls: for nobody, for a moment, or while the loop's turns bring some."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue_server.core import window

from .brain import Load

pytestmark = pytest.mark.unit

OFTEN = 1 / window.LINGER


async def turns(waiting: list[int], **load: Any) -> int:
    """How many turns of the loop an insert waits, while so many jobs wait in each; the last number goes on."""
    seen = 0

    async def others() -> None:
        nonlocal seen
        while True:
            seen += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await window.wait_for_company(Load(**load), lambda: waiting[min(seen, len(waiting) - 1)])  # type: ignore[arg-type]
    beside.cancel()
    return seen


@pytest.mark.parametrize(
    ("why", "waiting", "load"),
    [
        ("the loop has time to spare", 1, {"idle": True, "calls": 10 * OFTEN}),
        ("no call is to be expected in time", 1, {"idle": False, "calls": 0.9 * OFTEN}),
        ("enough wait already", window.ENOUGH_ROWS, {"idle": False, "calls": 10 * OFTEN, "busy": True}),
    ],
)
async def test_nobody_is_waited_for_where(why: str, waiting: int, load: dict[str, Any]):
    assert await turns([waiting], **load) == 0


async def test_a_loop_that_is_neither_idle_nor_saturated_waits_for_the_time_in_which_a_call_is_expected(
    monkeypatch,
):
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    await window.wait_for_company(Load(idle=False, calls=OFTEN), lambda: 1)  # type: ignore[arg-type]
    assert slept == [window.LINGER]


async def test_a_saturated_loop_waits_for_so_many_turns_without_a_call(monkeypatch):
    monkeypatch.setattr(window, "MOST_LINGER", 3600.0)
    saturated = {"idle": False, "busy": True, "calls": OFTEN}
    assert await turns([1], **saturated) == pytest.approx(window.QUIET_TURNS, abs=2)
    # Each call that comes begins the count anew.
    coming = [1, *[2] * 10, *[3] * 10, 4]
    assert await turns(coming, **saturated) == pytest.approx(21 + window.QUIET_TURNS, abs=3)


async def test_it_goes_on_as_soon_as_enough_wait(monkeypatch):
    monkeypatch.setattr(window, "MOST_LINGER", 3600.0)
    waiting = [1, 2, 3, window.ENOUGH_ROWS]
    assert await turns(waiting, idle=False, busy=True, calls=OFTEN) <= len(waiting) + 1


async def test_calls_without_end_are_waited_for_so_long_and_no_longer(monkeypatch):
    monkeypatch.setattr(window, "MOST_LINGER", 0.0)
    assert await turns(list(range(1, window.ENOUGH_ROWS)), idle=False, busy=True, calls=OFTEN) <= 1
