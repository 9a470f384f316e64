"""Handles large bodies one after the other, with a turn of the loop for other calls between two of them.

Principals take turns.
"""

from __future__ import annotations

import asyncio

from ..fair.owner import OWNER
from ..fair.turns import Turns

# Smaller bodies, in bytes, are read within two milliseconds.
_LARGE = 256 << 10


class LargeBodies:
    """Admits large bodies one at a time. Four bodies of 4 MiB in one turn of the loop would take 100 ms."""

    def __init__(self) -> None:
        self._turns = Turns(1)

    async def wait(self, size: int) -> None:
        """Waits for the turn to handle a body of `size` bytes."""
        if size >= _LARGE:
            async with self._turns.place(OWNER.get()):
                await asyncio.sleep(0)
