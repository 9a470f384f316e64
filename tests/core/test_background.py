"""The parts that run behind a server go on whatever befalls one of them, and end when they are told to."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue_server import background
from jobqueue_server.background import Background

pytestmark = pytest.mark.unit


async def test_a_part_that_overhears_its_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch):
    """As a library does that is cancelled in the moment in which its answer comes."""
    monkeypatch.setattr(background, "CANCEL_AGAIN_AFTER", 0.05)
    overheard = asyncio.Event()

    async def part() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if overheard.is_set():
                    raise
                overheard.set()

    parts = Background({"part": part})
    parts.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await parts.stop()
    assert overheard.is_set()


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_part_that_crashes_is_started_again(error, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background, "RESTART_AFTER", 0.01)
    again = asyncio.Event()
    starts = 0

    async def part() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise error
        again.set()
        await asyncio.sleep(3600)

    parts = Background({"part": part})
    parts.start()
    async with asyncio.timeout(5):
        await again.wait()
        await parts.stop()
