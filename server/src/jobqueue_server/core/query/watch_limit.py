"""How many watches a server serves, of jobs and of the overview together, and their end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ...errors import Draining, TooManyWatches
from ...fair.owner import Owner
from ...fair.share import Share


class WatchLimit:
    """Counts watches while they go on. Principals share them.

    Args:
        most: So many at once.

    Attributes:
        leaving: Set once the server leaves.
    """

    def __init__(self, most: int) -> None:
        self._open = Share(most)
        self.leaving = asyncio.Event()

    def __len__(self) -> int:
        return self._open.taken

    def leave(self) -> None:
        """No watch begins from now on."""
        self.leaving.set()

    @contextmanager
    def taken(self, owner: Owner) -> Iterator[None]:
        """Around a watch of a principal.

        Raises:
            TooManyWatches: There are as many as there may be.
            Draining: The server leaves.
        """
        if self.leaving.is_set():
            raise Draining(
                "this server is leaving; watch on another server", retry_after=timedelta(seconds=1)
            )
        if not self._open.has_room(owner):
            message = f"{self._open.full(owner, 'watches')}; watch on another server, or later"
            raise TooManyWatches(message, retry_after=timedelta(seconds=1))
        self._open.take(owner)
        try:
            yield
        finally:
            self._open.give_back(owner)
