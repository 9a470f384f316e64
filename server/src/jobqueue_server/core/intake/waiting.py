"""How many jobs wait to be stored. The number has a limit, beyond which new work is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ...errors import QueueFull


class Waiting:
    """Counts the jobs of all lines, and those that wait for something else before they are in line.

    Args:
        most: How many jobs may wait.

    Attributes:
        jobs: How many wait now.
    """

    def __init__(self, most: int) -> None:
        self.jobs = 0
        self._most = most

    def has_room(self, jobs: int) -> bool:
        """Whether so many more may wait."""
        return self.jobs + jobs <= self._most

    def check(self, jobs: int) -> None:
        """Refuses jobs that there is no room for.

        Raises:
            QueueFull: Too many wait to be stored.
        """
        if not self.has_room(jobs):
            message = f"{self.jobs} jobs wait to be stored, as many as the server holds"
            raise QueueFull(message, retry_after=timedelta(milliseconds=200))

    def enter(self, jobs: int) -> None:
        """Counts jobs as waiting. `check` or `has_room` goes before."""
        self.jobs += jobs

    def leave(self, jobs: int) -> None:
        """They wait no longer."""
        self.jobs -= jobs

    @contextmanager
    def held(self, jobs: int) -> Iterator[None]:
        """Room for jobs, around what they wait for.

        Raises:
            QueueFull: Too many wait.
        """
        self.check(jobs)
        self.enter(jobs)
        try:
            yield
        finally:
            self.leave(jobs)
