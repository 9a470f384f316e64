"""Some seconds of `make fuzz`, the same cases each time."""

from __future__ import annotations

import random
import time

import pytest
import uvloop

from .kinds import KINDS

pytestmark = pytest.mark.fuzz

SECONDS = 5.0
CASES = 500


@pytest.mark.parametrize("kind", KINDS)
def test_some_seconds_of_changed_conversations_finds_nothing(kind: str) -> None:
    async def story() -> None:
        began, seed = time.monotonic(), 0
        async with KINDS[kind]() as fuzzed:
            # It would find nothing if it did nothing: a machine that is slow takes longer.
            while time.monotonic() < began + SECONDS or seed < CASES:
                seed += 1
                assert await fuzzed.case(random.Random(seed)) == [], f"{kind}, seed {seed}"

    uvloop.run(story())
