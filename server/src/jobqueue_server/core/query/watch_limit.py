"""How many watches a server serves, of jobs and of the overview together, and their end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ...errors import Draining, TooManyWatches


class WatchLimit:
    """Counts watches while they go on.

    Args:
        most: So many at once.

    Attributes:
        leaving: Set once the server leaves.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self.leaving = asyncio.Event()

    def __len__(self) -> int:
        return self._open

    def leave(self) -> None:
        """No watch begins from now on."""
        self.leaving.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Around a watch.

        Raises:
            TooManyWatches: There are as many as there may be.
            Draining: The server leaves.
        """
        if self.leaving.is_set():
            raise Draining(
                "this server is leaving; watch on another server", retry_after=timedelta(seconds=1)
            )
        if self._open >= self._most:
            message = (
                f"this server has {self._most} watches, as many as it may; watch on another server, or later"
            )
            raise TooManyWatches(message, retry_after=timedelta(seconds=1))
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
