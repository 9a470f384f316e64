"""Places that are taken for a moment, and waited for: principals take turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .owner import Owner
from .share import less


class Turns:
    """A number of places, each given to whose turn it is.

    The next place goes to the principal whose namespace has the fewest, and among equals to the one that had its turn
    the longest ago; the server itself goes first. The last place is for a principal that has none: who takes all it can
    get leaves one for the next who comes. While others wait, none gets more than half.

    Args:
        places: How many there are.
        own: How many of them callers leave to the server itself.

    Attributes:
        taken: How many are taken.
    """

    def __init__(self, places: int, *, own: int = 0) -> None:
        self._places = places
        self._own = own
        self.taken = self._by_callers = 0
        self._held: dict[Owner, int] = {}
        self._of_namespace: dict[int, int] = {}
        self._waiting: OrderedDict[Owner, deque[asyncio.Future[None]]] = OrderedDict()

    def try_take(self, owner: Owner) -> bool:
        """Takes a place if there is one for this principal now, and none of it waits already."""
        if owner in self._waiting or not self._may(owner):
            return False
        self._take(owner)
        return True

    async def take(self, owner: Owner) -> None:
        """Takes a place, and waits for the principal's turn."""
        if self.try_take(owner):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(owner, turn)
            else:
                # Its turn came in the same moment.
                self.give_back(owner)
            raise

    def give_back(self, owner: Owner) -> None:
        """Gives a place back, which whose turn it is gets at once."""
        self.taken -= 1
        if owner is not None:
            self._by_callers -= 1
            less(self._held, owner, 1)
            less(self._of_namespace, owner[0], 1)
        if self._waiting:
            self._call()

    @asynccontextmanager
    async def place(self, owner: Owner) -> AsyncIterator[None]:
        """Around what a place is for."""
        await self.take(owner)
        try:
            yield
        finally:
            self.give_back(owner)

    def waiting(self, owner: Owner) -> int:
        """How many of a principal wait for their turn."""
        return len(self._waiting.get(owner, ()))

    def _may(self, owner: Owner) -> bool:
        """Whether a principal may take a place now. None who could take it waits: that one has it already."""
        free = self._places - self.taken
        if owner is None:
            return free > 0
        free = min(free, self._places - self._own - self._by_callers)
        held = self._held.get(owner, 0)
        if not held:
            return free > 0
        if free < 2:
            return False
        others = len(self._waiting) > (owner in self._waiting)
        return not others or 2 * (held + 1) <= self._places - self._own

    def _take(self, owner: Owner) -> None:
        self.taken += 1
        if owner is not None:
            self._by_callers += 1
            self._held[owner] = self._held.get(owner, 0) + 1
            self._of_namespace[owner[0]] = self._of_namespace.get(owner[0], 0) + 1

    def _call(self) -> None:
        """Gives what is free to whose turn it is."""
        while self._waiting:
            if None in self._waiting and self._may(None):
                owner: Owner = None
            else:
                may = [each for each in self._waiting if each is not None and self._may(each)]
                if not may:
                    return
                # Of equals the first: who had a turn is put at the end.
                owner = min(may, key=lambda each: self._of_namespace.get(each[0], 0))
            turns = self._waiting[owner]
            turn = turns.popleft()
            if turns:
                self._waiting.move_to_end(owner)
            else:
                del self._waiting[owner]
            if not turn.done():
                self._take(owner)
                turn.set_result(None)

    def _leave(self, owner: Owner, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(owner)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[owner]
