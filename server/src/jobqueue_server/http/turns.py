"""Large bodies one after the other, with a turn of the loop for everyone else between two of them."""

from __future__ import annotations

import asyncio

# What is smaller is read within a millisecond or two.
_LARGE = 256 << 10


class Turns:
    """Lets large bodies be handled one at a time. Four bodies of 4 MiB in one turn of the loop would take 100 ms."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def wait(self, size: int) -> None:
        """Returns where it is the caller's turn to do what so many bytes are."""
        if size >= _LARGE:
            async with self._one:
                await asyncio.sleep(0)
