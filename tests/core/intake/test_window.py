"""How long an insert waits for more calls: not at all, for a moment, or while the loop's turns bring some."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from jobqueue_server.core.intake.window import BatchingWindow
from jobqueue_server.core.tuning import Tuning

from ..brain import Load

pytestmark = pytest.mark.unit

USUAL = Tuning()
PATIENT = replace(USUAL, most_linger=3600.0)
OFTEN = 1 / USUAL.linger


class Waiting:
    """So many jobs wait in each turn of the loop; the last number goes on."""

    def __init__(self, *jobs: int) -> None:
        self.turns = 0
        self._jobs = jobs

    @property
    def jobs(self) -> int:
        return self._jobs[min(self.turns, len(self._jobs) - 1)]

    async def count_turns(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


async def turns(*jobs: int, tuning: Tuning = USUAL, **load: Any) -> int:
    """How many turns of the loop an insert waits."""
    waiting: Any = Waiting(*jobs)
    busy: Any = Load(**load)
    counting = asyncio.create_task(waiting.count_turns())
    await BatchingWindow(busy, waiting, tuning).wait()
    counting.cancel()
    return waiting.turns


@pytest.mark.parametrize(
    ("why", "waiting", "load"),
    [
        ("the loop has time to spare", 1, {"cpu_underused": True, "calls": 10 * OFTEN}),
        ("no call is to be expected in time", 1, {"cpu_underused": False, "calls": 0.9 * OFTEN}),
        (
            "enough wait already",
            USUAL.enough_waiting,
            {"cpu_underused": False, "calls": 10 * OFTEN, "busy": True},
        ),
    ],
)
async def test_an_insert_does_not_wait_where(why: str, waiting: int, load: dict[str, Any]):
    assert await turns(waiting, **load) == 0


async def test_a_loop_that_is_neither_idle_nor_saturated_waits_for_the_time_in_which_a_call_is_expected(
    monkeypatch,
):
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    load: Any = Load(cpu_underused=False, calls=OFTEN)
    waiting: Any = Waiting(1)
    await BatchingWindow(load, waiting, USUAL).wait()
    assert slept == [USUAL.linger]


async def test_a_saturated_loop_waits_for_so_many_turns_without_a_call():
    saturated = {"cpu_underused": False, "busy": True, "calls": OFTEN}
    assert await turns(1, tuning=PATIENT, **saturated) == pytest.approx(USUAL.quiet_turns, abs=2)
    # Each call that comes begins the count anew.
    coming = [1, *[2] * 10, *[3] * 10, 4]
    waited = await turns(*coming, tuning=PATIENT, **saturated)
    assert waited == pytest.approx(21 + USUAL.quiet_turns, abs=3)


async def test_it_goes_on_as_soon_as_enough_wait():
    waiting = [1, 2, 3, USUAL.enough_waiting]
    saturated = {"cpu_underused": False, "busy": True, "calls": OFTEN}
    assert await turns(*waiting, tuning=PATIENT, **saturated) <= len(waiting) + 1


async def test_calls_without_end_are_waited_for_so_long_and_no_longer():
    hasty = replace(USUAL, most_linger=0.0)
    saturated = {"cpu_underused": False, "busy": True, "calls": OFTEN}
    assert await turns(*range(1, USUAL.enough_waiting), tuning=hasty, **saturated) <= 1
