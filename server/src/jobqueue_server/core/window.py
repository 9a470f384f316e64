"""The batching window: how long an insert waits for more calls, which then share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .load import Load

# Calls of one job that share an insert share its delivery and its settlement too, each of which costs as much as all
# else that a call does. So an insert waits for company where the loop has less than half of its time to spare: so long
# where a call more is to be expected in that time; while it is saturated, until so many of its turns brought none,
# which costs no idle time; else for nobody.
LINGER = 0.002
QUIET_TURNS = 20
MOST_LINGER = 0.012
ENOUGH_ROWS = 200


async def wait_for_company(load: Load, waiting: Callable[[], int]) -> None:
    """Waits a little for more calls, where they are to be expected.

    Args:
        load: How busy the event loop is.
        waiting: How many jobs wait to be stored.
    """
    if load.idle or load.calls * LINGER < 1 or waiting() >= ENOUGH_ROWS:
        return
    if not load.busy:
        await asyncio.sleep(LINGER)
        return
    loop = asyncio.get_running_loop()
    until = loop.time() + MOST_LINGER
    seen = quiet = 0
    while quiet < QUIET_TURNS and waiting() < ENOUGH_ROWS and loop.time() < until:
        quiet = 0 if seen < waiting() else quiet + 1
        seen = waiting()
        await asyncio.sleep(0)
