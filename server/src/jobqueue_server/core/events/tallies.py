"""What happened to the jobs of each lane since it was last written: numbers in memory, raised by the batch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta

from ...histogram import add_ascending
from ...lifecycle import Event
from .ends import Ended

#: Of how long attempts waited and ran: at most 1, 2, 4 ... ms, and the last one what is longer, 70 minutes and more.
BUCKETS = 24
BOUNDS = tuple((1 << n) / 1000 for n in range(BUCKETS - 1))

# They end an attempt that was given back, or never reached a worker.
_GIVEN_BACK = frozenset(
    {Event.SNOOZE, Event.RELEASE, Event.REVOKE, Event.UNDELIVERED, Event.UNSEEN, Event.BODY_MISSING}
)


class Tally:
    """Of one lane. The numbers are those of `StatTotals` in the contract.

    Attributes:
        waits: Started attempts by how long they had been due. None: none was counted.
        runs: Ended attempts by how long they ran, likewise.
    """

    __slots__ = (
        "cancelled", "enqueued", "failed", "lost", "released", "retried", "runs", "started", "succeeded", "timed_out",
        "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.enqueued = self.started = self.succeeded = self.retried = self.failed = 0
        self.cancelled = self.lost = self.timed_out = self.released = 0
        self.waits: list[int] | None = None
        self.runs: list[int] | None = None

    @property
    def jobs(self) -> int:
        """How much happened."""
        return sum(getattr(self, name) for name in COUNTS)

    def came(self, jobs: int) -> None:
        """Jobs were stored."""
        self.enqueued += jobs

    def waited(self, seconds: Sequence[float]) -> None:
        """Attempts began that had been due for so long each, in ascending order."""
        self.started += len(seconds)
        if self.waits is None:
            self.waits = [0] * BUCKETS
        add_ascending(self.waits, BOUNDS, seconds)

    def waited_not(self, jobs: int) -> None:
        """Attempts began in the statement that stored their jobs."""
        self.started += jobs
        if self.waits is None:
            self.waits = [0] * BUCKETS
        self.waits[0] += jobs

    def leased_in_vain(self, jobs: int) -> None:
        """Attempts began that no worker will hear of."""
        self.started += jobs

    def ended(self, ended: Ended) -> None:
        """Attempts, or jobs without one, ended alike."""
        jobs = len(ended.job_ids)
        if ended.ran is not None:
            if self.runs is None:
                self.runs = [0] * BUCKETS
            self.runs[bisect_left(BOUNDS, ended.ran)] += jobs
        event = ended.event
        if event is Event.LOST:
            self.lost += jobs
        elif event is Event.TIMEOUT:
            self.timed_out += jobs
        if ended.outcome == "succeeded":
            self.succeeded += jobs
        elif ended.outcome == "failed_permanent":
            self.failed += jobs
        elif ended.outcome == "cancelled":
            self.cancelled += jobs
        elif event in _GIVEN_BACK:
            self.released += jobs
        elif event is Event.FAIL:
            self.retried += jobs

    def add(self, other: Tally) -> None:
        """Counts these too."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits = _summed(self.waits, other.waits)
        self.runs = _summed(self.runs, other.runs)


#: The names of what is counted, without the histograms, in the order of the contract.
COUNTS = (
    "enqueued", "started", "succeeded", "retried", "failed", "cancelled", "lost", "timed_out", "released",
)  # fmt: skip


def quantile(histogram: Sequence[int] | None, share: float) -> timedelta | None:
    """How long this share of what a histogram has took at most; None: it has nothing.

    Within a bucket it is taken for spread evenly, so it is right within a factor of two.
    """
    rank = share * sum(histogram or ())
    below = 0
    for bucket, count in enumerate(histogram or ()):
        if count and below + count >= rank:
            low = BOUNDS[bucket - 1] if bucket else 0.0
            high = BOUNDS[bucket] if bucket < len(BOUNDS) else low
            return timedelta(seconds=low + (high - low) * (rank - below) / count)
        below += count
    return None


def _summed(one: list[int] | None, other: list[int] | None) -> list[int] | None:
    if one is None or other is None:
        return one or other
    return [mine + theirs for mine, theirs in zip(one, other, strict=True)]


class Tallies(dict[int, Tally]):
    """By lane. A lane without news has none."""

    def __missing__(self, lane_id: int) -> Tally:
        tally = self[lane_id] = Tally()
        return tally

    def take(self) -> dict[int, Tally]:
        """All of them; counting begins anew."""
        taken = dict(self)
        self.clear()
        return taken
