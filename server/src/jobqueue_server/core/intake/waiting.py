"""How many jobs wait to be stored. The number has a limit, which principals share; beyond it new work is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import KeyBacklogFull, QueueBacklogFull, QueueFull
from ...fair.owner import Owner
from ...fair.share import Share
from ...metrics import Metrics
from ..catalog.waiting_limits import WaitingLimit
from ..pace import Pace

# The part of the limit that is free when those come back who were refused.
_ROOM_PART = 4
# A commit that takes so many seconds is as bad as a line that is full.
_SLOW_COMMIT = 1.0
# So many seconds after it a commit says nothing of the database any more.
_FORGOTTEN_AFTER = 5.0


class Waiting:
    """Counts the jobs of all lines, and those that wait for something else before they are in line.

    Args:
        most: How many jobs may wait.
        metrics: Hears of refusals.
        pace: How fast they are stored; tests have one with a clock of theirs.

    Attributes:
        has_room: Whether so many more jobs of a principal may wait.
        enter: Counts jobs of a principal as waiting. `check` or `has_room` goes before.
        leave: They wait no longer.
    """

    def __init__(self, most: int, metrics: Metrics, pace: Pace | None = None) -> None:
        self._share = share = Share(most)
        self.has_room, self.enter, self.leave = share.has_room, share.take, share.give_back
        self._most = most
        self._metrics = metrics
        self._pace = pace or Pace()
        # What stores jobs now, and how long the last commit took.
        self._storing = 0
        self._commit = 0.0

    @property
    def jobs(self) -> int:
        """How many wait now."""
        return self._share.taken

    def is_half_full(self) -> bool:
        """Whether half as many wait as may. What is not urgent rests meanwhile."""
        return self._share.taken * 2 > self._most

    def check(self, owner: Owner, jobs: int) -> None:
        """Refuses jobs that there is no room for.

        Raises:
            QueueFull: Too many wait to be stored.
        """
        if not self.has_room(owner, jobs):
            self._metrics.enqueue_refused(QueueFull.reason)
            of_these = "" if owner is None else f", {self._share.held(owner)} of them of this principal"
            raise QueueFull(
                f"{self.jobs} jobs wait to be stored{of_these}, and the server lets {self._most} wait",
                metadata={"waiting": str(self.jobs), "limit": str(self._most)},
                retry_after=self._pace.room_in(max(jobs, self._most // _ROOM_PART)),
            )

    def refusal(self, limit: WaitingLimit) -> QueueBacklogFull:
        """The error for jobs of a queue that is at its limit. Counts it as a refusal."""
        self._metrics.enqueue_refused(QueueBacklogFull.reason)
        return limit.refusal()

    def refused(self, error: KeyBacklogFull) -> KeyBacklogFull:
        """The error for jobs of a key that is at its limit, counted as a refusal."""
        self._metrics.enqueue_refused(error.reason)
        return error

    @contextmanager
    def held(self, owner: Owner, jobs: int) -> Iterator[None]:
        """Room for jobs, around what they wait for.

        Raises:
            QueueFull: Too many wait.
        """
        self.check(owner, jobs)
        self.enter(owner, jobs)
        try:
            yield
        finally:
            self.leave(owner, jobs)

    # ---- how fast they are stored

    def storing_begins(self) -> None:
        """Something stores jobs as long as some are in its line."""
        if not self._storing:
            self._pace.begins()
        self._storing += 1

    def storing_ends(self) -> None:
        """Its line is empty."""
        self._storing -= 1

    def stored(self, jobs: int, seconds: float) -> float:
        """An insert is committed, whose jobs count as waiting still; called once for each.

        Args:
            jobs: How many it brought.
            seconds: How long it took.

        Returns:
            How near the server is to refusing jobs: 0 to 1. It is the greater of the part of the limit that waits, and
            the part of a second that the insert took.
        """
        waiting = self._share.taken
        if waiting > jobs:
            self._pace.left(jobs)
        else:
            # None waited for it: that says how fast they come.
            self._pace.begins()
        self._commit = min(seconds / _SLOW_COMMIT, 1.0)
        return max(waiting / self._most, self._commit)

    @property
    def pressure(self) -> float:
        """The same as it is now, for who looks from outside: an insert under way counts, one long ago does not."""
        stalled = self._pace.stalled
        if self._storing:
            commit = max(self._commit, stalled / _SLOW_COMMIT)
        else:
            commit = self._commit if stalled < _FORGOTTEN_AFTER else 0.0
        return min(max(self._share.taken / self._most, commit), 1.0)
