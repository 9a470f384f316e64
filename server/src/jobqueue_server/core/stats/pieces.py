"""A long time read piece by piece, so that no statement runs into its timeout, however much is kept of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ...store.stats.slices import KEPT

#: How long a piece is to take, in seconds.
PIECE_SECONDS = 0.5
#: The first one is short, since it is not known how many lanes there are; the next ones become twice as long or half.
FIRST, SHORTEST = timedelta(minutes=10), timedelta(seconds=10)


async def read_in_pieces(
    since: datetime,
    until: datetime,
    now: datetime,
    read: Callable[[datetime, datetime], Awaitable[None]],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Reads from a time on until before another, in order.

    Args:
        since: From then on.
        until: Until before then.
        now: What is kept of a time follows from how long it is ago.
        read: Reads a piece.
        clock: Seconds that only grow.
    """
    # Of younger times more slices are kept, so what was learnt of older ones says nothing.
    for end in (*(now - kept for kept in reversed(KEPT[:-1])), until):
        piece = FIRST
        while since < min(end, until):
            began, upto = clock(), min(since + piece, end, until)
            await read(since, upto)
            took = clock() - began
            since = upto
            if took > PIECE_SECONDS:
                piece = max(piece / 2, SHORTEST)
            elif took < PIECE_SECONDS / 2:
                piece *= 2
